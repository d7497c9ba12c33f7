// Free of Android's classes, so that the desktop runs the same code in a test.
plugins {
    kotlin("jvm")
}
kotlin {
    jvmToolchain(17)
}
dependencies {
    compileOnly("com.microsoft.onnxruntime:onnxruntime:1.22.0")  // the app and the desktop bring their own build of it
}
