package org.lightvision

import android.app.Activity
import android.graphics.Bitmap
import android.net.Uri
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.ImageView
import android.widget.Spinner
import android.widget.TextView
import java.util.Locale
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicBoolean

/** What the screen shows and does, wherever its images come from. The network works on a thread of its own. */
class ClassifyScreen(private val activity: Activity, private val openers: Map<String, Opener>, openGallery: () -> Unit, openCamera: () -> Unit) {
    private val worker = Executors.newSingleThreadExecutor()
    private val names = activity.assets.list(FOLDER).orEmpty().sorted()
    private var classifier: Classifier? = null  // touched by the worker alone
    @Volatile private var bitmap: Bitmap? = null  // the latest image
    private val waiting = AtomicBoolean()  // for the worker to take it up: images that come faster than answers are passed over

    init {
        activity.setContentView(R.layout.main)
        view<Button>(R.id.gallery).setOnClickListener { openGallery() }
        view<Button>(R.id.camera).setOnClickListener { openCamera() }
        if (names.isEmpty()) say(activity.getString(R.string.no_bundles))
        val spinner = view<Spinner>(R.id.network)
        spinner.adapter = ArrayAdapter(activity, android.R.layout.simple_spinner_dropdown_item, names)
        spinner.onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
            override fun onItemSelected(parent: AdapterView<*>?, view: View?, position: Int, id: Long) = open(names[position])
            override fun onNothingSelected(parent: AdapterView<*>?) = Unit
        }
    }

    private fun <T : View> view(id: Int): T = activity.findViewById(id) as T

    /** Work off the screen's thread; whatever goes wrong becomes a sentence, never a crash. */
    private fun work(job: () -> Unit) = worker.execute {
        try { job() } catch (e: Exception) { say(e.message ?: e.javaClass.simpleName) }
    }

    private fun say(text: String) = activity.runOnUiThread { view<TextView>(R.id.answers).text = text }

    private fun open(name: String) = work {
        classifier?.close()
        classifier = null
        val bundle = Bundle(name) { file -> activity.assets.open("$FOLDER/$name/$file").use { it.readBytes() } }
        val opened = Classifier(bundle, openers)
        classifier = opened
        val costs = activity.getString(R.string.costs, opened.file, size(opened.bytes), opened.latency())
        activity.runOnUiThread { view<TextView>(R.id.costs).text = costs }
        bitmap?.let { answer(it) }
    }

    private fun answer(image: Bitmap) {
        val answers = classifier?.classify(pixelsOf(image)) ?: return
        say(answers.joinToString("\n") { String.format(Locale.getDefault(), "%s  %.1f %%", it.label, 100 * it.probability) })
    }

    /** Show an image and say what it is. */
    fun show(image: Bitmap) {
        view<ImageView>(R.id.image).setImageBitmap(image)
        live(image)
    }

    /** Say what an image is that the screen shows already. */
    fun live(image: Bitmap) {
        bitmap = image
        if (!waiting.compareAndSet(false, true)) return
        work {
            waiting.set(false)
            bitmap?.let { answer(it) }
        }
    }

    /** Read an image that the user chose, then show it. */
    fun show(uri: Uri) = work {
        val read = try { decode(activity, uri) } catch (e: java.io.IOException) { null }
        if (read == null) say(activity.getString(R.string.unreadable)) else activity.runOnUiThread { show(read) }
    }

    fun noCamera() = say(activity.getString(R.string.no_camera))

    fun close() {
        worker.execute { classifier?.close() }
        worker.shutdown()
    }

    private companion object {
        const val FOLDER = "bundles"
        fun size(bytes: Int): String = if (bytes < 1_000_000) "${bytes / 1000} KB" else String.format(Locale.getDefault(), "%.1f MB", bytes / 1e6)
    }
}
