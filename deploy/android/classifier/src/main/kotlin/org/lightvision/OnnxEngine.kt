package org.lightvision

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.io.File
import java.nio.FloatBuffer

/** ONNX Runtime, one thread: these networks are too small for more. */
class OnnxEngine(model: ByteArray, private val height: Int, private val width: Int) : Engine {
    private val environment = OrtEnvironment.getEnvironment()
    private val session: OrtSession

    init {
        val options = OrtSession.SessionOptions()
        options.setIntraOpNumThreads(1)
        if (roundsSums()) options.addConfigEntry("session.x64quantprecision", "1")
        session = environment.createSession(model, options)
    }

    override fun logits(planes: FloatArray): FloatArray {
        val shape = longArrayOf(1, 3, height.toLong(), width.toLong())
        val input = OnnxTensor.createTensor(environment, FloatBuffer.wrap(planes), shape)
        try {
            val result = session.run(mapOf(session.inputNames.first() to input))
            try {
                val out = (result.get(0) as OnnxTensor).floatBuffer
                return FloatArray(out.remaining()) { out.get(it) }
            } finally { result.close() }
        } finally { input.close() }
    }

    override fun close() = session.close()

    private companion object {
        /** x86 without VNNI, whose 8-bit sums are not exact without the option; emulators are such. Phones are not. */
        fun roundsSums(): Boolean {
            val cpu = File("/proc/cpuinfo")
            return System.getProperty("os.arch") in setOf("amd64", "x86_64", "x86") && !(cpu.canRead() && "vnni" in cpu.readText())
        }
    }
}
