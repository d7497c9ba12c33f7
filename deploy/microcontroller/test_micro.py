"""A network in TensorFlow Lite Micro's interpreter: the answers of LiteRT, and a header that a C compiler takes. On synthetic images, trained for seconds."""
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from lightvision.compress.recipe import Recipe
from lightvision.data.datasets import get_task
from lightvision.deploy.converters import litert_python, to_tflite
from lightvision.deploy.runtimes import ArtifactError, run_artifact
from lightvision.models.classifier import model_for
from lightvision.training import Context, TrainSettings, fit

pytest.importorskip("tflite_micro", reason="no TensorFlow Lite Micro: pip install tflite-micro (Linux on x86)")
pytest.importorskip("ai_edge_litert", reason="no LiteRT: pip install ai-edge-litert")
from micro import Micro, c_header, main


@pytest.fixture(scope="module")
def task(): return get_task("landcover-mini")


@pytest.fixture(scope="module")
def file(task, tmp_path_factory):
    "A small network with 8-bit integers, as .tflite."
    if not litert_python(): pytest.skip("no LiteRT converter: make converters")
    torch.manual_seed(0)
    few, context = task.few(None, 30), Context(device="cpu", progress=False)
    model = fit(model_for(few, "test_resnet", weights="scratch"), few, TrainSettings(epochs=12, batch_size=32, lr=4e-3), context)
    path = tmp_path_factory.mktemp("micro")/"model.tflite"
    to_tflite(Recipe.parse("ptq8").apply(model, few, context), path)
    return path


def test_it_answers_as_litert_does(file, task):
    rows = task.indices("test")[:300]
    images, micro = task.images[rows].numpy(), Micro(file)
    ours, theirs = micro(images), run_artifact(file, images)
    same = (ours.argmax(1) == theirs.argmax(1)).mean()
    steps = np.abs(ours - theirs).max()/micro.logits["quantization"][0]
    right = (ours.argmax(1) == np.asarray(task.labels)[rows]).mean()
    print(f"{len(rows)} images: the same class for {100*same:.1f} %, logits at most {steps:.0f} step(s) of their grid apart; {100*right:.0f} % right (synthetic); "
          f"{len(micro.data):,} bytes, arena {micro.arena:,} bytes")
    assert len(rows) >= 200 and same >= 0.98 and steps < 2.5 and right > 0.5
    assert micro.arena < 2*len(micro.data) + 200_000 and "CONV_2D" in micro.operators


def test_a_compiler_takes_the_header(file, tmp_path):
    gcc = shutil.which("gcc") or pytest.skip("no C compiler: install gcc")
    micro, labels = Micro(file), [f'class "{i}" \\ ä' for i in range(10)]
    (tmp_path/"model.h").write_text(c_header(micro, labels), encoding="utf-8")
    (tmp_path/"main.c").write_text('#include <stdio.h>\n#include "model.h"\nint main(void) {\n'
                                   "  fwrite(lightvision_model, 1, lightvision_model_bytes, stdout);\n"
                                   '  fprintf(stderr, "%d %d %d %s %g %d %lu", LIGHTVISION_HEIGHT, LIGHTVISION_CLASSES, LIGHTVISION_ARENA_BYTES, lightvision_labels[9], '
                                   "LIGHTVISION_OUTPUT_SCALE, LIGHTVISION_OUTPUT_ZERO_POINT, (unsigned long)lightvision_model % 16);\n  return 0;\n}\n")
    subprocess.run([gcc, "-Wall", "-Werror", "-o", tmp_path/"a", tmp_path/"main.c"], check=True)
    done = subprocess.run([tmp_path/"a"], capture_output=True, check=True)
    assert done.stdout == file.read_bytes()
    scale, zero = micro.logits["quantization"]
    assert done.stderr.decode() == f"{micro.size[0]} 10 {micro.arena} {labels[9]} {scale:g} {zero} 0"


def test_the_command(file, task, tmp_path, capsys):
    image = tmp_path/"photo.png"
    Image.fromarray(task.images[0].permute(1, 2, 0).numpy()).resize((70, 50)).save(image)
    (tmp_path/"labels.txt").write_text("\n".join(task.classes))
    main([str(file), "--images", str(image), "--labels", str(tmp_path/"labels.txt"), "--header", str(tmp_path/"model.h")])
    said = capsys.readouterr().out
    assert "bytes of memory" in said and f"{image}: " in said and any(f": {c} (" in said for c in task.classes) and (tmp_path/"model.h").stat().st_size > 3*file.stat().st_size


@pytest.mark.parametrize("content, words", [(b"no network", "cannot open"), (b"", "cannot open")])
def test_what_is_no_network_is_one_line(content, words, tmp_path):
    (tmp_path/"x.tflite").write_bytes(content)
    with pytest.raises(ArtifactError, match=words) as e: Micro(tmp_path/"x.tflite")
    assert "\n" not in str(e.value)


def test_weights_outside_are_refused(file, tmp_path):
    "As ai-edge-quantizer writes them; the interpreter would compute with zeros."
    import flatbuffers
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.read_bytes()))
    largest = max((b for b in model.buffers if b.data is not None), key=lambda b: len(b.data))
    largest.data, largest.offset, largest.size = None, 5000, 100
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path/"x.tflite").write_bytes(bytes(builder.Output()))
    with pytest.raises(ArtifactError, match="outside"): Micro(tmp_path/"x.tflite")


def test_labels_of_another_network_are_refused(file):
    from lightvision.core import LightVisionError
    with pytest.raises(LightVisionError, match="3 labels for 10 classes"): c_header(Micro(file), ["a", "b", "c"])
