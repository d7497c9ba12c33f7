package org.lightvision

import android.Manifest
import android.view.View
import android.widget.FrameLayout
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.Preview
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import androidx.core.content.ContextCompat
import java.util.concurrent.Executors

/** The app with CameraX, which classifies what the camera sees while it sees it, and with LiteRT beside ONNX Runtime. */
class MainActivity : ComponentActivity() {
    private lateinit var screen: ClassifyScreen
    private val frames = Executors.newSingleThreadExecutor()
    private val gallery = registerForActivityResult(ActivityResultContracts.PickVisualMedia()) { uri ->
        if (uri != null) { stopCamera(); screen.show(uri) }
    }
    private val permission = registerForActivityResult(ActivityResultContracts.RequestPermission()) { given ->
        if (given) startCamera() else screen.noCamera()
    }
    private var preview: PreviewView? = null

    override fun onCreate(state: android.os.Bundle?) {
        super.onCreate(state)
        val openers = mapOf<String, Opener>("model.onnx" to ::OnnxEngine, "model.tflite" to ::LiteRtEngine)
        screen = ClassifyScreen(this, openers,
            { gallery.launch(PickVisualMediaRequest(ActivityResultContracts.PickVisualMedia.ImageOnly)) },
            { permission.launch(Manifest.permission.CAMERA) })
    }

    private fun startCamera() {
        val view = preview ?: PreviewView(this).also { findViewById<FrameLayout>(R.id.preview).addView(it); preview = it }
        view.visibility = View.VISIBLE
        val coming = ProcessCameraProvider.getInstance(this)
        coming.addListener({
            try {
                val shown = Preview.Builder().build().apply { setSurfaceProvider(view.surfaceProvider) }
                val analysis = ImageAnalysis.Builder().setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST).build()
                analysis.setAnalyzer(frames) { frame ->
                    frame.use { val image = turned(it.toBitmap(), it.imageInfo.rotationDegrees.toFloat()); runOnUiThread { screen.live(image) } }
                }
                coming.get().unbindAll()
                coming.get().bindToLifecycle(this, CameraSelector.DEFAULT_BACK_CAMERA, shown, analysis)
            } catch (e: Exception) { screen.noCamera() }
        }, ContextCompat.getMainExecutor(this))
    }

    private fun stopCamera() {
        val coming = ProcessCameraProvider.getInstance(this)
        coming.addListener({ coming.get().unbindAll() }, ContextCompat.getMainExecutor(this))
        preview?.visibility = View.GONE
    }

    override fun onDestroy() {
        screen.close()
        frames.shutdown()
        super.onDestroy()
    }
}
