package org.lightvision

import java.io.File
import javax.imageio.ImageIO
import kotlin.system.exitProcess

/** The app's classifier on a desk: a line an image, as classify_onnx.py prints it. */
fun main(args: Array<String>) {
    if (args.size < 2) fail("usage: classify BUNDLE IMAGE...")
    val folder = File(args[0])
    try {
        Classifier(Bundle(folder.name) { File(folder, it).readBytes() }, mapOf("model.onnx" to ::OnnxEngine)).use { classifier ->
            for (path in args.drop(1)) {
                val image = ImageIO.read(File(path)) ?: fail("$path cannot be read as an image")
                val argb = image.getRGB(0, 0, image.width, image.height, null, 0, image.width)
                val answer = classifier.classify(Pixels.ofArgb(argb, image.width, image.height), 1)[0]
                println("$path: ${answer.label} (${"%.1f".format(java.util.Locale.ROOT, 100 * answer.probability)} %)")
            }
        }
    } catch (e: BundleException) { fail(e.message!!)
    } catch (e: java.io.IOException) { fail("${e.message}: does it exist?") }
}

private fun fail(message: String): Nothing {
    System.err.println(message)
    exitProcess(1)
}
