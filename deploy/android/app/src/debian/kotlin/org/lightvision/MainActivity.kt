package org.lightvision

import android.app.Activity
import android.content.Intent
import android.graphics.Bitmap
import android.provider.MediaStore

/** The app without any library but ONNX Runtime: images from other apps, the gallery and the camera. */
class MainActivity : Activity() {
    private lateinit var screen: ClassifyScreen

    override fun onCreate(state: android.os.Bundle?) {
        super.onCreate(state)
        screen = ClassifyScreen(this, mapOf("model.onnx" to ::OnnxEngine), ::openGallery, ::openCamera)
    }

    private fun openGallery() = ask(Intent(Intent.ACTION_GET_CONTENT).setType("image/*").addCategory(Intent.CATEGORY_OPENABLE), GALLERY)
    private fun openCamera() = ask(Intent(MediaStore.ACTION_IMAGE_CAPTURE), CAMERA)

    /** No camera app, or one that wants a permission which the user has refused. */
    private fun ask(intent: Intent, request: Int) =
        try { startActivityForResult(intent, request) } catch (e: RuntimeException) { screen.noCamera() }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        super.onActivityResult(request, result, data)
        if (result != RESULT_OK) return
        data?.data?.let { screen.show(it) } ?: (data?.extras?.get("data") as? Bitmap)?.let { screen.show(it) }
    }

    override fun onDestroy() {
        screen.close()
        super.onDestroy()
    }

    private companion object {
        const val GALLERY = 1
        const val CAMERA = 2
    }
}
