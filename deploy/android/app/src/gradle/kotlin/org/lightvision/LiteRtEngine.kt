package org.lightvision

import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.roundToInt

/** LiteRT, one thread. Its files may take and give 8-bit integers: then the grids of the file apply. */
class LiteRtEngine(model: ByteArray, height: Int, width: Int) : Engine {
    private val interpreter = Interpreter(direct(model.size).apply { put(model); rewind() }, Interpreter.Options().setNumThreads(1))

    init {
        val wanted = intArrayOf(1, 3, height, width)
        val found = interpreter.getInputTensor(0).shape()
        if (!found.contentEquals(wanted)) throw BundleException("model.tflite takes ${found.toList()}, its Bundle gives ${wanted.toList()}")
    }

    override fun logits(planes: FloatArray): FloatArray {
        val input = interpreter.getInputTensor(0)
        val output = interpreter.getOutputTensor(0)
        val given = direct(input.numBytes())
        for (value in planes) given.write(value, input)
        given.rewind()
        val answer = direct(output.numBytes())
        interpreter.run(given, answer)
        answer.rewind()
        return FloatArray(output.numElements()) { answer.read(output) }
    }

    override fun close() = interpreter.close()
}

private fun direct(bytes: Int): ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())

private fun ByteBuffer.write(value: Float, tensor: Tensor) {
    val grid = tensor.quantizationParams()
    when (tensor.dataType()) {
        DataType.FLOAT32 -> putFloat(value)
        DataType.INT8 -> put(((value / grid.scale).roundToInt() + grid.zeroPoint).coerceIn(-128, 127).toByte())
        DataType.UINT8 -> put(((value / grid.scale).roundToInt() + grid.zeroPoint).coerceIn(0, 255).toByte())
        else -> throw BundleException("model.tflite takes ${tensor.dataType()}, which this app does not write")
    }
}

private fun ByteBuffer.read(tensor: Tensor): Float {
    val grid = tensor.quantizationParams()
    return when (tensor.dataType()) {
        DataType.FLOAT32 -> getFloat()
        DataType.INT8 -> (get() - grid.zeroPoint) * grid.scale
        DataType.UINT8 -> ((get().toInt() and 0xff) - grid.zeroPoint) * grid.scale
        else -> throw BundleException("model.tflite gives ${tensor.dataType()}, which this app does not read")
    }
}
