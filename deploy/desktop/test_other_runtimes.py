"""The zoo's networks in other runtimes: read back from their .onnx, written for LiteRT, ExecuTorch and TensorFlow Lite Micro, and asked about the same images."""
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from lightvision.core import discover
from lightvision.deploy.converters import litert_python
from lightvision.deploy.export import WRITERS
from lightvision.deploy.reopen import read_onnx
from lightvision.deploy.runtimes import open_artifact

ROOT = Path(__file__).parents[2]
ZOO = sorted((ROOT/"zoo").iterdir())
sys.path.insert(0, str(ROOT/"deploy"/"microcontroller"))
RUNTIMES = {"LiteRT": (".tflite", "ai-edge-litert"), "ExecuTorch": (".pte", "executorch"), "TensorFlow Lite Micro": (".tflite", "tflite-micro")}


def lines_of(logits, classes):
    "What a script of a Bundle says about each image."
    return [f"{classes[row.argmax()]} ({100*row.max():.1f} %)" for row in softmax(logits, axis=1)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    "The file of a Bundle in another format; each is written once."
    folder, done = tmp_path_factory.mktemp("written"), {}
    discover("lightvision.deploy")  # adds the writers
    def write(bundle, suffix):
        if (bundle, suffix) not in done:
            done[bundle, suffix] = path = folder/f"{bundle.name}{suffix}"
            WRITERS[suffix](read_onnx(bundle/"model.onnx"), path)
        return done[bundle, suffix]
    return write


@pytest.mark.parametrize("bundle", ZOO, ids=lambda b: b.name)
@pytest.mark.parametrize("place", RUNTIMES)
def test_the_same_classes_in(place, bundle, written, test_images, record):
    suffix, package = RUNTIMES[place]
    try: runtime = f"{package} {version(package)}"
    except PackageNotFoundError: pytest.skip(f"no {place}: pip install {package}")
    if suffix == ".tflite" and not litert_python(): pytest.skip("no LiteRT converter: make converters")
    path, classes = written(bundle, suffix), (bundle/"labels.txt").read_text(encoding="utf-8").splitlines()
    images, more = np.stack([np.asarray(image).transpose(2, 0, 1) for image in test_images]), {}
    if place == "TensorFlow Lite Micro":
        from micro import Micro
        theirs = Micro(path)
        more = dict(arena=theirs.arena)
    else: theirs = open_artifact(path)
    ours, theirs = (lines_of(run(images), classes) for run in (open_artifact(bundle/"model.onnx"), theirs))
    same = record(bundle, place, ours, theirs, emulated=False, runtime=runtime, bytes=path.stat().st_size, **more)["same_class"]
    print(f"{bundle.name}: the same class for {same} of {len(images)} images in {place}, {path.stat().st_size:,} bytes", more or "")
    assert len(images) >= 200 and same >= 0.98*len(images)
