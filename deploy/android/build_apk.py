"""Build the app without Gradle and without Google's SDK, from packages of Debian and npm, with Bundles in it.

    python deploy/android/build_apk.py [--bundle FOLDER ...] [--out build/lightvision.apk]

Without --bundle it takes all of zoo/. The app is the one of src/debian: images from the gallery and the camera app, ONNX Runtime, 64-bit ARM.
It is signed with a key for trials, which is made once and kept in the cache folder; a shop wants a key of your own.
Needs Debian 12: apt-get install kotlin proguard-cli aapt zipalign apksigner default-jdk-headless
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent/"browser"))

import build as page  # it puts Bundles into a program, too
from lightvision.core import LightVisionError, cache_folder, file_hash, writable
from lightvision.data.folders import building

TOOLS = "kotlinc", "javac", "java", "keytool", "aapt", "proguard", "zipalign", "apksigner", "apt-get", "dpkg-deb"
RUNTIME = ("com.github.asus4.onnxruntime", "0.4.9", {  # the npm package that carries ONNX Runtime's archive for Android
    "Plugins/Android/onnxruntime.aar": "98cddbac92640b4a6af72a03c42e0491851f366d3da66bbaeb5dd66310946cf2"})
LIBRARIES = "libonnxruntime.so", "libonnxruntime4j_jni.so"
DEBIAN = "bullseye"  # the last release with these two
PACKAGES = {  # Debian package -> the file that is taken from it, and its SHA-256
    "dalvik-exchange": ("usr/share/java/com.android.dx.jar", "33fa9ae74e3fec5472170bde4e69e96d1fa46408ea4e4c3b657d255ab9199ee5"),
    "libandroid-23-java": ("usr/share/java/com.android.android-23.jar", "4475aa3fe1fc28bdb87ae6351d6ccff58f344a1b9e2fe685f7a6fee41ba68613")}
MIN_SDK, TARGET_SDK = 26, 34


def call(*command, **kwargs):
    "Run a command; what it said last is the error"
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **kwargs)
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines() or ["no message"]
        errors = [line for line in said if "error" in line.lower() or line.startswith("E:")] or said[-1:]
        raise LightVisionError(f"{Path(str(command[0])).name} failed: {errors[0][:300]}")
    return done.stdout


def check_tools():
    missing = [t for t in TOOLS if not shutil.which(t)]
    if missing: raise LightVisionError(f"{', '.join(missing)} not found: apt-get install kotlin proguard-cli aapt zipalign apksigner default-jdk-headless (Debian 12)")


def sources():
    "The machine's own sources of Debian packages, for the older release"
    for path in [*Path("/etc/apt").glob("sources.list.d/*.sources"), *Path("/etc/apt").glob("sources.list"), *Path("/etc/apt").glob("sources.list.d/*.list")]:
        text = path.read_text()
        if "/debian" in text and "bookworm" in text:
            lines = [line.replace("bookworm-updates", "").replace("bookworm", DEBIAN) for line in text.splitlines() if "sid" not in line]
            return path.suffix or ".list", "\n".join(lines) + "\n"
    raise LightVisionError("this machine has no sources of Debian 12 packages, where the Android class library comes from: build on Debian 12, or use Gradle")


def sdk(folder):
    "Android's class library and dx, which makes an app's code; kept in `folder`"
    if folder.exists(): return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with building(folder) as part, tempfile.TemporaryDirectory() as scratch:
        apt = Path(scratch)
        for d in ("lists/partial", "cache/archives/partial", "sources", "debs"): (apt/d).mkdir(parents=True)
        (apt/"status").touch()
        suffix, text = sources()
        (apt/"sources"/f"debian{suffix}").write_text(text)
        (apt/"apt.conf").write_text(f'Dir::State::Lists "{apt}/lists";\nDir::State::status "{apt}/status";\nDir::Cache "{apt}/cache";\nDir::Etc::SourceList "/dev/null";\n'
                                    f'Dir::Etc::SourceParts "{apt}/sources";\nAcquire::Languages "none";\nAPT::Sandbox::User "";\n')
        env = {**os.environ, "APT_CONFIG": str(apt/"apt.conf"), "LC_ALL": "C"}
        call("apt-get", "update", "-q", env=env)
        call("apt-get", "download", "-q", *PACKAGES, env=env, cwd=apt/"debs")
        for deb in sorted((apt/"debs").glob("*.deb")): call("dpkg-deb", "-x", deb, apt/"files")
        for package, (file, known) in PACKAGES.items():
            if file_hash(apt/"files"/file) != known: raise LightVisionError(f"{Path(file).name} of Debian's {package} is not the known file: nothing was kept")
            shutil.copyfile(apt/"files"/file, part/f"{package}.jar")


def trial_key(path):
    "A key to sign with, made once"
    if path.exists(): return path
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    call("keytool", "-genkeypair", "-keystore", part, "-storepass", "android", "-keypass", "android", "-alias", "trial", "-keyalg", "RSA", "-keysize", "2048",
         "-validity", "10000", "-dname", "CN=LightVision trial")
    os.replace(part, path)
    return path


def standard_library():
    "Kotlin's, which the app carries"
    path = Path("/usr/share/java/kotlin-stdlib.jar")
    if not path.exists(): raise LightVisionError(f"{path} not found: apt-get install kotlin")
    return path


def opened(content):
    """A class of Java 17 as one of Java 11 whose private fields and static methods are open to its package: since Java 11 nested classes use each
    other's private members by a rule that Android's older virtual machines do not know"""
    data, at = bytearray(content), 10
    def number(where, size=2): return int.from_bytes(data[where:where + size], "big")
    if number(6) > 61: raise LightVisionError(f"a class of Java {number(6) - 44} in the runtime: this build knows classes up to Java 17")
    data[6:8] = min(number(6), 55).to_bytes(2, "big")
    sizes = {3: 5, 4: 5, 5: 9, 6: 9, 7: 3, 8: 3, 9: 5, 10: 5, 11: 5, 12: 5, 15: 4, 16: 3, 17: 5, 18: 5, 19: 3, 20: 3}
    entry, count = 1, number(8)
    while entry < count:  # of the constant pool; long and double numbers take two
        tag = data[at]
        at, entry = at + (3 + number(at + 1) if tag == 1 else sizes[tag]), entry + (2 if tag in (5, 6) else 1)
    at += 8 + 2*number(at + 6)  # access, names of this class and the one above it, interfaces
    for methods in (False, True):
        members, at = number(at), at + 2
        for _ in range(members):
            flags = number(at)
            if flags & 2 and (flags & 8 or not methods): data[at:at + 2] = (flags & ~2).to_bytes(2, "big")
            attributes, at = number(at + 6), at + 8
            for _ in range(attributes): at += 6 + number(at + 2, 4)
    return bytes(data)


def older(jar, android, out):
    "A .jar for dx, which knows Java 7: lambdas become classes"
    with zipfile.ZipFile(jar) as given, zipfile.ZipFile(out.with_suffix(".part"), "w") as part:
        for name in given.namelist():
            if name.endswith(".class"): part.writestr(name, opened(given.read(name)))
    os.replace(out.with_suffix(".part"), between := out.with_name("between.jar"))
    call("proguard", "-injars", between, "-outjars", out, "-libraryjars", android, "-target", "1.7", "-dontshrink", "-dontoptimize", "-dontobfuscate", "-dontwarn", "-dontnote")
    return out


def compile_kotlin(out, folders, classpath):
    "A .jar of all Kotlin files in some folders"
    call("kotlinc", "-jvm-target", "1.8", "-no-reflect", "-cp", ":".join(map(str, classpath)), "-d", out, *folders)
    return out


def build(bundles, out):
    "Write the signed app; one that was there before is replaced when the new one is whole"
    check_tools()
    page.cards_of(bundles)
    kept = writable(cache_folder())/"android"
    sdk(kept/"sdk")
    android, dx = kept/"sdk"/"libandroid-23-java.jar", kept/"sdk"/"dalvik-exchange.jar"
    app, common = HERE/"app"/"src", HERE/"classifier"/"src"/"main"/"kotlin"
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        (work/"runtime.aar").write_bytes(page.fetch(*RUNTIME)["onnxruntime.aar"])
        with zipfile.ZipFile(work/"runtime.aar") as aar:
            (work/"runtime.jar").write_bytes(aar.read("classes.jar"))
            libraries = {f"lib/arm64-v8a/{name}": aar.read(f"jni/arm64-v8a/{name}") for name in LIBRARIES}
        for bundle in bundles: page.copy_bundle(bundle, work/"assets"/"bundles"/bundle.name)
        for d in ("generated", "classes"): (work/d).mkdir()
        call("aapt", "package", "-f", "-m", "-J", work/"generated", "-M", app/"debian"/"AndroidManifest.xml", "-S", app/"main"/"res", "-A", work/"assets", "-I", android,
             "-0", "onnx", "--min-sdk-version", MIN_SDK, "--target-sdk-version", TARGET_SDK, "--version-code", 1, "--version-name", "1.0", "-F", work/"app.zip")
        call("javac", "-nowarn", "--release", 8, "-d", work/"classes", *(work/"generated").rglob("*.java"))
        compile_kotlin(work/"app.jar", [common, app/"main"/"kotlin", app/"debian"/"kotlin"], [android, work/"runtime.jar", work/"classes"])
        call("java", "-cp", dx, "com.android.dx.command.Main", "--dex", f"--min-sdk-version={MIN_SDK}", f"--output={work/'classes.dex'}",
             work/"classes", work/"app.jar", older(work/"runtime.jar", android, work/"older.jar"), standard_library())
        with zipfile.ZipFile(work/"app.zip", "a", zipfile.ZIP_DEFLATED) as app_file:
            app_file.write(work/"classes.dex", "classes.dex")
            for name, content in libraries.items(): app_file.writestr(name, content)
        call("zipalign", "-p", 4, work/"app.zip", work/"aligned.apk")
        call("apksigner", "sign", "--ks", trial_key(kept/"trial.keystore"), "--ks-pass", "pass:android", "--min-sdk-version", MIN_SDK, "--out", work/"signed.apk", work/"aligned.apk")
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_suffix(".part")
        shutil.copyfile(work/"signed.apk", part)
        os.replace(part, out)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, action="append", help="a Bundle of `lightvision ship`; repeat for several (default: all of zoo/)")
    parser.add_argument("--out", type=Path, default=Path("build/lightvision.apk"))
    args = parser.parse_args()
    try: print(build([b.resolve() for b in args.bundle or page.zoo()], args.out))
    except LightVisionError as e: sys.exit(f"build_apk.py: {e}")


if __name__ == "__main__": main()
