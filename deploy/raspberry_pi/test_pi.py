"""What a Raspberry Pi runs: Bundles of zoo/ in an emulated 64-bit ARM Debian give the classes that they give here; the folder watch."""
import csv
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from lightvision.core import LightVisionError
from lightvision.measure.instructions import CPUS, emulate, prepare_emulator

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
ZOO = sorted((ROOT/"zoo").iterdir())


@pytest.fixture(scope="module")
def images(test_images, tmp_path_factory):
    "Files of test images, some of them enlarged, some as .jpg."
    folder = tmp_path_factory.mktemp("images")
    for n, image in enumerate(test_images):
        (image.resize((150, 100)) if n % 4 == 3 else image).save(folder/f"{n:03}{'.jpg' if n % 4 == 2 else '.png'}", quality=95)
    return folder


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("bundle", ZOO, ids=lambda b: b.name)
def test_the_same_classes_on_an_emulated_pi(bundle, cpu, images, record, tmp_path):
    try: prepare_emulator()
    except LightVisionError as e: pytest.skip(f"no emulated system: {e}")
    shutil.copytree(bundle, tmp_path/"bundle")
    shutil.copytree(images, tmp_path/"images")
    files = sorted(str(p.relative_to(tmp_path)) for p in (tmp_path/"images").iterdir())
    ours = subprocess.run([sys.executable, "-I", "bundle/classify_onnx.py", *files], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    theirs = emulate(["bundle/classify_onnx.py", *files], cpu, cwd=tmp_path)
    pairs = [(a.rpartition(" (")[0], b.rpartition(" (")[0]) for a, b in zip(ours.splitlines(), theirs.splitlines(), strict=True)]
    same = sum(a == b for a, b in pairs)
    print(f"{bundle.name} on {cpu}: the same class for {same} of {len(files)} images, the same line for {sum(a == b for a, b in zip(ours.splitlines(), theirs.splitlines()))}")
    runtime = next(line.replace("==", " ") for line in (HERE/"requirements.txt").read_text().splitlines() if line.startswith("onnxruntime"))
    record(bundle, f"{CPUS[cpu][0]} ({cpu})", ours.splitlines(), theirs.splitlines(), emulated=True, runtime=runtime)
    assert len(files) >= 100 and same >= 0.99*len(files), [p for p in pairs if p[0] != p[1]]


def test_watch_classifies_what_arrives(images, tmp_path):
    folder, log = tmp_path/"photos", tmp_path/"classes.csv"
    folder.mkdir()
    first, second, *_ = sorted(images.iterdir())
    shutil.copy(first, folder/"first.png")
    watch = [sys.executable, HERE/"watch.py", ZOO[0], folder, "--log", log, "--every", "0.1"]
    with subprocess.Popen(watch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline().startswith("first.png: ")
        (folder/"notes.txt").write_text("no image, by its name")
        (folder/"broken.jpg").write_bytes(b"\xff\xd8 no image")
        assert running.stderr.readline().startswith("broken.jpg cannot be read as an image")
        content = second.read_bytes()
        with open(folder/"second.png", "wb") as f:  # written in pieces, as over a network
            for k in range(5):
                f.write(content[k*len(content)//5:(k + 1)*len(content)//5]); f.flush()
                time.sleep(0.05)
        assert running.stdout.readline().startswith("second.png: ")
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0 and running.stderr.read() == ""
    rows = list(csv.DictReader(log.open()))
    assert [r["file"] for r in rows] == ["first.png", "second.png"] and all(float(r["ms"]) > 0 for r in rows)
    wrong = subprocess.run([sys.executable, HERE/"watch.py", folder, folder], capture_output=True, text=True)
    assert wrong.returncode == 1 and "is no Bundle" in wrong.stderr


def test_versions_are_those_that_the_emulated_system_runs():
    pins = {line.split(" ")[0] for line in (ROOT/"lightvision"/"emulator"/"wheels.txt").read_text().splitlines()}
    assert {line for line in (HERE/"requirements.txt").read_text().splitlines() if not line.startswith("#")} <= pins


@pytest.mark.skipif(platform.machine() not in ("aarch64", "x86_64"), reason="no wheels for this machine")
def test_install(tmp_path):
    "The script itself, here: in a copy of the folder, with an environment of its own."
    shutil.copytree(HERE, tmp_path/"pi", ignore=shutil.ignore_patterns("test_*", "__pycache__"))
    done = subprocess.run([tmp_path/"pi"/"install.sh"], capture_output=True, text=True, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
    if "Could not find" in done.stderr or "ConnectionError" in done.stderr: pytest.skip("no network for pip")
    assert done.returncode == 0, done.stderr
    image = tmp_path/"tile.png"
    Image.new("RGB", (64, 64), (20, 90, 40)).save(image)
    shown = subprocess.run([tmp_path/"pi"/".venv"/"bin"/"python", "-I", ZOO[0]/"classify_onnx.py", image], capture_output=True, text=True)
    assert shown.returncode == 0 and shown.stdout.startswith(str(image)), shown.stderr
