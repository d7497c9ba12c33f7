plugins {
    id("com.android.application")
    kotlin("android")
}
android {
    namespace = "org.lightvision"
    compileSdk = 35
    defaultConfig {
        applicationId = "org.lightvision"
        minSdk = 26
        targetSdk = 35
        versionCode = 1
        versionName = "1.0"
    }
    sourceSets {
        getByName("main") {
            manifest.srcFile("src/gradle/AndroidManifest.xml")
            java.srcDirs("src/main/kotlin", "src/gradle/kotlin")
            assets.srcDir(layout.buildDirectory.dir("bundles"))
        }
    }
    androidResources {
        noCompress += listOf("onnx", "tflite")
    }
    kotlinOptions {
        jvmTarget = "17"
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}
val copyBundles by tasks.registering(Copy::class) {
    from("../../../zoo")  // or the folder that holds your own Bundles
    into(layout.buildDirectory.dir("bundles/bundles"))
}
tasks.named("preBuild") {
    dependsOn(copyBundles)
}
dependencies {
    implementation(project(":classifier"))
    implementation("com.microsoft.onnxruntime:onnxruntime-android:1.22.0")
    implementation("com.google.ai.edge.litert:litert:1.0.1")
    implementation("androidx.activity:activity-ktx:1.9.3")
    implementation("androidx.camera:camera-camera2:1.4.1")
    implementation("androidx.camera:camera-lifecycle:1.4.1")
    implementation("androidx.camera:camera-view:1.4.1")
}
