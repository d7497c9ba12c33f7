package org.lightvision

import java.io.Closeable
import kotlin.math.exp

/** A network in a runtime: planes of one image, 0 to 1, to logits. */
interface Engine : Closeable {
    fun logits(planes: FloatArray): FloatArray
}

/** Opens a file of a Bundle for images of a height and a width. */
typealias Opener = (model: ByteArray, height: Int, width: Int) -> Engine

class Answer(val label: String, val probability: Double)

/** The network of a Bundle. [openers]: file name to runtime, the preferred one first. */
class Classifier(val bundle: Bundle, openers: Map<String, Opener>) : Closeable {
    val file: String = openers.keys.firstOrNull { bundle.has(it) } ?: throw BundleException("${bundle.name} holds none of ${openers.keys.joinToString()}")
    val bytes: Int
    private val engine: Engine

    init {
        val model = bundle.file(file)
        bytes = model.size
        engine = openers.getValue(file)(model, bundle.height, bundle.width)
    }

    fun logits(image: Pixels): FloatArray = engine.logits(image.fit(bundle.height, bundle.width).planes())

    /** The most probable classes. */
    fun classify(image: Pixels, n: Int = 3): List<Answer> {
        val p = softmax(logits(image))
        return p.indices.sortedByDescending { p[it] }.take(n).map { Answer(bundle.labels[it], p[it]) }
    }

    /** Milliseconds of the network alone: the median of [runs], after a few to warm up. */
    fun latency(runs: Int = 50): Double {
        val planes = FloatArray(3 * bundle.height * bundle.width) { 0.5f }
        repeat(10) { engine.logits(planes) }
        val times = List(runs) {
            val start = System.nanoTime()
            engine.logits(planes)
            (System.nanoTime() - start) / 1e6
        }
        return times.sorted()[runs / 2]
    }

    override fun close() = engine.close()
}

/** Probabilities from logits. */
fun softmax(logits: FloatArray): DoubleArray {
    var top = logits[0]
    for (logit in logits) top = maxOf(top, logit)
    val e = DoubleArray(logits.size) { exp(logits[it].toDouble() - top) }
    val sum = e.sum()
    return DoubleArray(e.size) { e[it] / sum }
}
