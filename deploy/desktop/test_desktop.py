"""Bundles on an x86 processor without VNNI, emulated: the script that ships answers as it does here; without its option it would not."""
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from lightvision.core import LightVisionError
from lightvision.measure.instructions import emulator_folder, prepare_emulator

ZOO = sorted((Path(__file__).parents[2]/"zoo").iterdir())
LOGITS = """
import sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
np.save(sys.argv[3], np.concatenate([session.run(None, {"image": x[None]})[0] for x in np.load(sys.argv[2])]))
"""


@pytest.fixture(scope="module")
def haswell():
    "Run this Python on an emulated Haswell."
    try: prepare_emulator()
    except LightVisionError as e: pytest.skip(f"no emulator: {e}")
    host = emulator_folder()/"host"
    libraries = ":".join(str(p) for p in sorted((host/"usr"/"lib").glob("*-linux-gnu")))
    def call(*args, cwd):
        command = [host/"usr"/"bin"/"qemu-x86_64", "-cpu", "Haswell", sys.executable, *args]
        env = {**os.environ, "LD_LIBRARY_PATH": libraries, "OMP_NUM_THREADS": "1"}
        return subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, check=True, timeout=600).stdout
    return call


@pytest.mark.parametrize("bundle", ZOO, ids=lambda b: b.name)
def test_the_same_answers_without_vnni(bundle, haswell, test_images, record, tmp_path):
    shutil.copytree(bundle, tmp_path/"bundle")
    script = tmp_path/"bundle"/"classify_onnx.py"
    text = script.read_text()
    assert text.count('"vnni"') == 1
    script.write_text(text.replace('"vnni"', '"no processor says this"'))  # the emulated one reads the list of this machine's processor
    files = []
    for n, image in enumerate(test_images):
        image.save(tmp_path/f"{n:03}.png")
        files.append(f"{n:03}.png")
    ours = subprocess.run([sys.executable, "-I", bundle/"classify_onnx.py", *files], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    theirs = haswell("-I", "bundle/classify_onnx.py", *files, cwd=tmp_path)
    print(f"{bundle.name}: {sum(a == b for a, b in zip(ours.splitlines(), theirs.splitlines()))} of {len(files)} lines are the same on a Haswell")
    record(bundle, "x86 without VNNI (Haswell)", ours.splitlines(), theirs.splitlines(), emulated=True, runtime=f"onnxruntime {version('onnxruntime')}")
    assert len(files) >= 100 and ours == theirs


def test_without_the_option_sums_are_cut_off(haswell, test_images, tmp_path):
    "The control: why the option is there."
    bundle = ZOO[-1]
    np.save(tmp_path/"images.npy", np.stack([np.asarray(i, np.float32).transpose(2, 0, 1)/255 for i in test_images[:100]]))
    subprocess.run([sys.executable, "-c", LOGITS, bundle/"model.onnx", "images.npy", "ours.npy"], cwd=tmp_path, check=True)
    haswell("-c", LOGITS, bundle/"model.onnx", "images.npy", "theirs.npy", cwd=tmp_path)
    far = np.abs(np.load(tmp_path/"ours.npy") - np.load(tmp_path/"theirs.npy")).max()
    print(f"{bundle.name}: without the option, logits are up to {far:.1f} off on a Haswell")
    assert far > 0.1
