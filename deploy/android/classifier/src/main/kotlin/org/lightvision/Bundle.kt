package org.lightvision

import java.security.MessageDigest

/** What is wrong, in one sentence for the user. */
class BundleException(message: String) : Exception(message)

/** A Bundle of lightvision, from wherever its files are. A file that is not the one that was verified is refused. */
class Bundle(val name: String, private val read: (String) -> ByteArray) {
    private val sums: Map<String, String> = text(read("SHA256SUMS")).lines().filter { it.isNotBlank() }.associate { it.substring(66) to it.substring(0, 64) }
    val labels: List<String> = text(file("labels.txt")).trim().lines()
    val height: Int
    val width: Int

    init {
        val found = SIZE.find(text(file("preprocessing.json"))) ?: throw BundleException("$name: preprocessing.json names no size")
        height = found.groupValues[1].toInt()
        width = found.groupValues[2].toInt()
    }

    fun has(file: String): Boolean = file in sums

    /** The bytes of a file, checked. */
    fun file(file: String): ByteArray {
        val wanted = sums[file] ?: throw BundleException("$name holds no $file")
        val bytes = read(file)
        val found = MessageDigest.getInstance("SHA-256").digest(bytes).joinToString("") { "%02x".format(it) }
        if (found != wanted) throw BundleException("$name: $file is not the file that was verified: copy the Bundle again")
        return bytes
    }

    private fun text(bytes: ByteArray) = String(bytes, Charsets.UTF_8)

    private companion object {
        val SIZE = Regex("\"size\"\\s*:\\s*\\[\\s*(\\d+)\\s*,\\s*(\\d+)\\s*]")
    }
}
