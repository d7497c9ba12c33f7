"""Artifacts: whole recipes to files, through the gate, in every runtime that is installed"""
import subprocess, sys

import numpy as np, pytest, torch
from conftest import small

from lightvision.core import LightVisionError
from lightvision.data.datasets import get_task
from lightvision.models.checkpoint import load_model, save_model
from lightvision.models.classifier import model_for
from lightvision.training import Context
from lightvision.compress.recipe import Recipe
from lightvision.deploy.converters import WRITERS, installed, litert_python
from lightvision.deploy.export import export, parity_table, stored_forms
from lightvision.deploy.onnx_file import IntegerLayer, deploy_form, kernels, onnx_program, precision_of
from lightvision.deploy.runtimes import run_artifact
import lightvision.compress.pruning, lightvision.compress.quantization # noqa: F401 their steps

SUFFIXES = [".onnx", ".ptl", *([".pte"] if installed("executorch") else []),
            *([".tflite"] if litert_python() and installed("ai_edge_litert") else [])]
BRIEF = dict(epochs=1, batch_size=20, lr=3e-3)


@pytest.fixture(scope="module")
def task(): return get_task("landcover-mini").few(None, 6)


def made(task, arch, recipe, folder):
    "A model of a recipe, as it comes back from its checkpoint"
    settings = {t: BRIEF for t in recipe.split("+") if t == "fp32" or t.startswith("prune")}
    model = Recipe.parse(recipe, settings).apply(small(task, arch), task, Context(device="cpu", progress=False))
    return load_model(save_model(model, folder/"model.safetensors"))


@pytest.mark.parametrize("arch, recipe", [("test_resnet", "fp32+prune50+ptq8"), ("transformer", "fp32+ptq8")])
def test_recipes_reach_every_runtime(task, tmp_path, arch, recipe):
    model = made(task, arch, recipe, tmp_path)
    suffixes = [s for s in SUFFIXES if not (arch == "transformer" and s == ".pte")] # lowering a transformer takes ExecuTorch most of a minute
    table = parity_table([export(model, task, tmp_path/f"{arch}{suffix}") for suffix in suffixes])
    assert (table["n_test"] == len(task.indices("test"))).all() and set(table["precision"]) == {"int8"}
    assert (table["agreement"] >= 0.8).all(), table
    assert not list(tmp_path.glob(".*"))
    if arch == "transformer": # every layer of a transformer runs in integers, too
        found = kernels(tmp_path/f"{arch}.onnx")
        layers = sum(isinstance(m, (torch.nn.Linear, torch.nn.Conv2d)) for m in model.modules())
        assert sum(n for op, n in found.items() if op in ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat")) == layers, found


def test_low_bits_are_in_the_file(task, tmp_path):
    recipes = {8: "ptq8", 4: "ptq4", 2: "ptq2(float_bits=16)"}  # scales in half precision are numbers like any others
    sizes = {bits: export(made(task, "test_efficientnet", f"fp32+{recipe}", tmp_path), task, tmp_path/f"{bits}.onnx").bytes for bits, recipe in recipes.items()}
    assert sizes[2] < sizes[4] < sizes[8]


def test_any_number_of_pictures_and_no_torch(task, tmp_path):
    path = export(made(task, "test_resnet", "fp32", tmp_path), task, tmp_path/"net.onnx").path
    pictures = task.images[:5].numpy()
    np.save(tmp_path/"pictures.npy", pictures)
    program = ("import sys; sys.modules['torch'] = None; import numpy as np; from lightvision.deploy.runtimes import open_artifact; "
               f"s, x = open_artifact({str(path)!r}), np.load({str(tmp_path/'pictures.npy')!r}); print(s(x).argmax(1).tolist(), s(x[:1]).argmax(1).tolist())")
    alone = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    said = run_artifact(path, pictures).argmax(1).tolist()
    assert alone.stdout.strip() == f"{said} {said[:1]}", alone.stderr


def test_a_refused_file_is_not_kept(task, tmp_path, monkeypatch):
    import onnx
    from onnx import numpy_helper
    model = made(task, "test_resnet", "fp32", tmp_path)
    def sabotaged(model, path):
        proto = onnx_program(model)
        weight = next(i for i in proto.graph.initializer if len(i.dims) == 4)
        values = numpy_helper.to_array(weight).copy()
        values.flat[0] = -values.flat[0] - 1
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
        onnx.save(proto, path)
    monkeypatch.setitem(WRITERS, ".onnx", sabotaged)
    with pytest.raises(LightVisionError, match="refused.*first image that differs is .*/.*no file was kept"): export(model, task, tmp_path/"net.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_integer_off_by_one_is_refused(task, tmp_path, monkeypatch, suffix):
    model = made(task, "test_resnet", "fp32+ptq8", tmp_path)
    weight = next(m for m in deploy_form(model).modules() if isinstance(m, IntegerLayer)).weight
    write, forms = WRITERS[suffix], list(stored_forms(weight))
    def sabotaged(model, path):
        write(model, path)
        content = bytearray(path.read_bytes())
        place = next(i for i in map(bytes(content).find, forms) if i >= 0) + weight.numel() - 1
        content[place] ^= 1
        path.write_bytes(bytes(content))
    monkeypatch.setitem(WRITERS, suffix, sabotaged)
    with pytest.raises(LightVisionError, match="refused: the weights of net.* in the file are not the model.s; no file was kept"): export(model, task, tmp_path/f"net{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_folder_that_cannot_be_written(task, tmp_path):
    model = made(task, "test_resnet", "fp32", tmp_path)
    (tmp_path/"file").write_text("")
    with pytest.raises(LightVisionError, match="cannot write"): export(model, task, tmp_path/"file"/"net.onnx")
    assert precision_of(model) == "fp32"


def test_a_small_constant_shift_of_one_class_is_refused():
    "What a wrong bias of the last layer gives; an int8 file may round, but its errors cancel over the images."
    from lightvision.deploy.export import reason_to_refuse
    from lightvision.training import Predictions
    logits = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))*3
    expected = Predictions(logits.argmax(1), logits, [f"{i}" for i in range(2000)], list("abcd"))
    rounded = logits.numpy() + np.random.default_rng(0).normal(0, 0.01, logits.shape)
    assert reason_to_refuse(expected, rounded, "int8", tolerance=100) is None
    rounded[:, 2] += 1.5*np.ptp(logits.numpy())/255
    for rounding in (0.0, 0.5*np.ptp(logits.numpy())/255):
        assert reason_to_refuse(expected, rounded, "int8", tolerance=100, rounding=rounding) is not None
    assert reason_to_refuse(expected, rounded, "int8", tolerance=100) is not None


@pytest.mark.parametrize("arch", ["tinynet_e", pytest.param("mobilenetv3_small_050", marks=pytest.mark.long)])
def test_logits_that_hardly_differ_are_accepted(tmp_path, arch):
    "Those of an untrained network span a millionth; a limit of a thousandth of the largest refused tinynet_e's file."
    context, few = Context(device="cpu", progress=False), get_task("landcover-mini").few(None, 20)
    torch.manual_seed(0)
    untrained = model_for(few, arch, weights="scratch", stem_stride=2).eval()
    assert export(Recipe.parse("ptq8").apply(untrained, few, context), few, tmp_path/"model.onnx").path.exists()
