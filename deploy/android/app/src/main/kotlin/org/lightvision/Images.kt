package org.lightvision

import android.content.Context
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Matrix
import android.media.ExifInterface
import android.net.Uri
import java.io.File

private val TURNS = mapOf(
    ExifInterface.ORIENTATION_ROTATE_90 to 90f, ExifInterface.ORIENTATION_ROTATE_180 to 180f, ExifInterface.ORIENTATION_ROTATE_270 to 270f)
private const val MOST_PIXELS = 4_000_000  // a photograph of 50 million pixels would take 200 MB

/** An image that the user chose, turned as its EXIF entry says; null: it is none. */
fun decode(context: Context, uri: Uri): Bitmap? {
    val copy = File.createTempFile("image", null, context.cacheDir)  // EXIF entries are read from a file, on old systems too
    try {
        val opened = context.contentResolver.openInputStream(uri) ?: return null
        opened.use { from -> copy.outputStream().use { from.copyTo(it) } }
        val options = BitmapFactory.Options().apply { inJustDecodeBounds = true }
        BitmapFactory.decodeFile(copy.path, options)
        var step = 1
        while (options.outWidth.toLong() * options.outHeight / (step * step) > MOST_PIXELS) step *= 2
        val bitmap = BitmapFactory.decodeFile(copy.path, BitmapFactory.Options().apply { inSampleSize = step }) ?: return null
        return turned(bitmap, TURNS[ExifInterface(copy.path).getAttributeInt(ExifInterface.TAG_ORIENTATION, 1)] ?: 0f)
    } finally { copy.delete() }
}

fun turned(bitmap: Bitmap, degrees: Float): Bitmap {
    if (degrees == 0f) return bitmap
    return Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, Matrix().apply { postRotate(degrees) }, true)
}

fun pixelsOf(bitmap: Bitmap): Pixels {
    val argb = IntArray(bitmap.width * bitmap.height)
    bitmap.getPixels(argb, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
    return Pixels.ofArgb(argb, bitmap.width, bitmap.height)
}
