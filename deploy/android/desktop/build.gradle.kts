plugins {
    kotlin("jvm")
    application
}
kotlin {
    jvmToolchain(17)
}
dependencies {
    implementation(project(":classifier"))
    implementation("com.microsoft.onnxruntime:onnxruntime:1.22.0")
}
application {
    mainClass.set("org.lightvision.MainKt")
}
