"""The app: its classifier on the desktop's Java, with the answers of classify_onnx.py; the APK built, signed, and looked into. No phone takes part."""
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import build_apk
from lightvision.core import LightVisionError, file_hash

ZOO = build_apk.page.zoo()
SIZES = (97, 61), (61, 97), (64, 200), (300, 300), (33, 40), (640, 427), (64, 65)


@pytest.fixture(scope="module")
def desktop(tmp_path_factory):
    "Call the classifier on a Bundle and images, in this machine's Java."
    jar = os.environ.get("ONNXRUNTIME_JAR")
    if not jar: pytest.skip("no ONNX Runtime for Java: get com.microsoft.onnxruntime:onnxruntime, and name its .jar in ONNXRUNTIME_JAR")
    if missing := [t for t in ("java", "kotlinc") if not shutil.which(t)]: pytest.skip(f"no {missing[0]}: apt-get install kotlin default-jdk-headless")
    program = build_apk.compile_kotlin(tmp_path_factory.mktemp("desktop")/"classify.jar", [HERE/"classifier"/"src", HERE/"desktop"/"src"], [jar])
    classpath = ":".join(map(str, (program, jar, build_apk.standard_library())))
    def call(bundle, *files, cwd): return subprocess.run(["java", "-cp", classpath, "org.lightvision.MainKt", bundle, *files], cwd=cwd, capture_output=True, text=True)
    return call


@pytest.fixture(scope="module")
def apk(tmp_path_factory):
    try: build_apk.check_tools()
    except LightVisionError as e: pytest.skip(str(e))
    return build_apk.build(ZOO, tmp_path_factory.mktemp("apk")/"lightvision.apk")


@pytest.mark.parametrize("bundle", ZOO, ids=lambda b: b.name)
def test_the_classifier_answers_as_python_does(bundle, desktop, test_images, record, tmp_path):
    "At the network's size and at others, which are scaled; with transparent pixels."
    odd = [image.resize(size, Image.Resampling.BICUBIC) for image, size in zip(test_images[::len(test_images)//len(SIZES)], SIZES)]
    odd[0].putalpha(Image.linear_gradient("L").resize(odd[0].size).point(lambda a: 255*(a > 99)))
    files = [f"{n:03}.png" for n in range(len(test_images) + len(odd))]
    for file, image in zip(files, [*test_images, *odd]): image.save(tmp_path/file)
    theirs = desktop(bundle, *files, cwd=tmp_path)
    assert theirs.returncode == 0, theirs.stderr
    ours = subprocess.run([sys.executable, "-I", bundle/"classify_onnx.py", *files], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    theirs = theirs.stdout.splitlines()
    same, n = [a == b for a, b in zip(ours, theirs, strict=True)], len(test_images)
    print(f"{bundle.name}: {sum(same)} of {len(files)} lines are the same in Java")
    record(bundle, "the app's classifier (Java)", ours[:n], theirs[:n], emulated=False, runtime="ONNX Runtime for Java")
    assert n >= 100 and all(same[:n])
    # Pillow 13 scales some shapes columns first: then pixels differ by one level, and percents a little
    assert [line.split(" (")[0] for line in ours] == [line.split(" (")[0] for line in theirs]


def test_what_cannot_be_used_is_named(desktop, test_images, tmp_path):
    test_images[0].save(tmp_path/"a.png")
    (tmp_path/"note.txt").write_text("no image")
    damaged = tmp_path/"damaged"
    shutil.copytree(ZOO[0], damaged)
    with open(damaged/"model.onnx", "ab") as f: f.write(b"x")
    for arguments, message in (((damaged, "a.png"), "damaged: model.onnx is not the file that was verified: copy the Bundle again"),
                               ((ZOO[0], "note.txt"), "note.txt cannot be read as an image"), ((ZOO[0],), "usage: classify BUNDLE IMAGE..."),
                               ((tmp_path, "a.png"), "does it exist?")):
        done = desktop(*arguments, cwd=tmp_path)
        assert done.returncode == 1 and not done.stdout and done.stderr.strip().endswith(message), done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_the_app_is_signed_and_holds_the_bundles(apk):
    said = build_apk.call("apksigner", "verify", "--verbose", apk)
    assert "Verified using v2 scheme (APK Signature Scheme v2): true" in said and "Number of signers: 1" in said
    badging = build_apk.call("aapt", "dump", "badging", apk)
    assert "launchable-activity: name='org.lightvision.MainActivity'" in badging and "native-code: 'arm64-v8a'" in badging
    assert "uses-permission" not in badging  # no network, above all
    with zipfile.ZipFile(apk) as z:
        assert z.testzip() is None and len(z.read("classes.dex")) > 500_000
        for bundle in ZOO:
            info = z.getinfo(f"assets/bundles/{bundle.name}/model.onnx")
            assert info.compress_type == zipfile.ZIP_STORED and z.read(info) == (bundle/"model.onnx").read_bytes()
        for library in build_apk.LIBRARIES: assert z.getinfo(f"lib/arm64-v8a/{library}").file_size > 10_000
    print(f"{apk.name}: {apk.stat().st_size/1e6:.1f} MB with {len(ZOO)} Bundles, signed; it was not run: that needs a phone")


def test_a_failed_build_leaves_the_app_that_was_there(apk, tmp_path, monkeypatch):
    old = shutil.copy(apk, tmp_path/"lightvision.apk")
    before = file_hash(old)
    damaged = tmp_path/"damaged"
    shutil.copytree(ZOO[0], damaged)
    with open(damaged/"model.onnx", "ab") as f: f.write(b"x")
    with pytest.raises(LightVisionError, match="is not the file that was verified"): build_apk.build([damaged], old)
    assert file_hash(old) == before and sorted(p.name for p in tmp_path.iterdir()) == ["damaged", "lightvision.apk"]


def test_both_apps_name_only_what_there_is():
    "What Gradle would notice: the files of src/gradle were not compiled here. Identifiers of resources, and the activity of each manifest."
    declared = {"string": set(re.findall(r'name="(\w+)"', (HERE/"app/src/main/res/values/strings.xml").read_text())),
                "id": set(re.findall(r"@\+id/(\w+)", (HERE/"app/src/main/res/layout/main.xml").read_text())), "layout": {"main"}}
    used = [m for p in (HERE/"app/src").rglob("*.kt") for m in re.findall(r"(?<!android\.)\bR\.(\w+)\.(\w+)", p.read_text())]
    assert len(used) > 8 and all(name in declared[kind] for kind, name in used)
    for flavour in ("gradle", "debian"):
        assert 'android:name="org.lightvision.MainActivity"' in (HERE/"app"/"src"/flavour/"AndroidManifest.xml").read_text()
        assert "class MainActivity" in (HERE/"app"/"src"/flavour/"kotlin/org/lightvision/MainActivity.kt").read_text()
