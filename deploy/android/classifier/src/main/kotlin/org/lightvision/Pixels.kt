package org.lightvision

import kotlin.math.abs

/** An image: rows of pixels, three bytes each, red first. */
class Pixels(val width: Int, val height: Int, val rgb: ByteArray) {
    companion object {
        /** From ARGB integers, as Android's Bitmap and Java's BufferedImage give them; what is transparent becomes white. */
        fun ofArgb(argb: IntArray, width: Int, height: Int): Pixels {
            val rgb = ByteArray(3 * width * height)
            for (i in 0 until width * height) {
                val alpha = argb[i] ushr 24
                for (c in 0 until 3) {
                    val value = (argb[i] ushr (16 - 8 * c)) and 0xff
                    rgb[3 * i + c] = ((value * alpha + 255 * (255 - alpha) + 127) / 255).toByte()
                }
            }
            return Pixels(width, height, rgb)
        }
    }

    /** The network's input: red, green and blue planes, 0 to 1. */
    fun planes(): FloatArray {
        val plane = width * height
        return FloatArray(3 * plane) { (rgb[3 * (it % plane) + it / plane].toInt() and 0xff) / 255f }
    }

    /** Scale until the image covers [newHeight] and [newWidth], and cut about the centre: Pillow's ImageOps.fit, bicubic. */
    fun fit(newHeight: Int, newWidth: Int): Pixels {
        if (width == newWidth && height == newHeight) return this
        val ratio = newWidth.toDouble() / newHeight
        val cropWidth = if (width.toDouble() / height > ratio) ratio * height else width.toDouble()
        val cropHeight = if (width.toDouble() / height < ratio) width / ratio else height.toDouble()
        val left = (width - cropWidth) * 0.5
        val top = (height - cropHeight) * 0.5
        return rows(left, left + cropWidth, newWidth).turned().rows(top, top + cropHeight, newHeight).turned()
    }

    private fun turned(): Pixels {
        val out = ByteArray(rgb.size)
        for (y in 0 until height) for (x in 0 until width) for (c in 0 until 3) out[(x * height + y) * 3 + c] = rgb[(y * width + x) * 3 + c]
        return Pixels(height, width, out)
    }

    /** Each row resampled: its pixels between [from] and [to] become [size] pixels. */
    private fun rows(from: Double, to: Double, size: Int): Pixels {
        if (size == width && from == 0.0 && to == width.toDouble()) return this
        val steps = weights(width, from, to, size)
        val out = ByteArray(3 * height * size)
        var o = 0
        for (y in 0 until height) for (step in steps) for (c in 0 until 3) {
            var sum = HALF
            for (k in step.weights.indices) sum += (rgb[(y * width + step.first + k) * 3 + c].toInt() and 0xff) * step.weights[k].toLong()
            out[o++] = (sum shr BITS).coerceIn(0, 255).toByte()
        }
        return Pixels(size, height, out)
    }
}

/** The old pixels that a new one is made of, from the first on. */
private class Step(val first: Int, val weights: IntArray)

private const val BITS = 22  // Pillow counts in whole numbers with so many bits behind the point
private const val HALF = 1L shl (BITS - 1)

private fun bicubic(distance: Double): Double {
    val a = -0.5
    val x = abs(distance)
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a
    return 0.0
}

/** The kernel grows with the reduction, so that small images do not alias. */
private fun weights(oldSize: Int, from: Double, to: Double, size: Int): List<Step> {
    val scale = (to.toFloat() - from.toFloat()).toDouble() / size
    val stretch = maxOf(scale, 1.0)
    return List(size) { i ->
        val centre = from.toFloat() + (i + 0.5) * scale
        val first = maxOf((centre - 2 * stretch + 0.5).toInt(), 0)
        val end = minOf((centre + 2 * stretch + 0.5).toInt(), oldSize)
        val raw = DoubleArray(end - first) { k -> bicubic((k + first - centre + 0.5) / stretch) }
        val sum = raw.sum()
        Step(first, IntArray(raw.size) { k -> (raw[k] / sum * (1 shl BITS)).let { if (it < 0) it - 0.5 else it + 0.5 }.toInt() })
    }
}
