"""Quantization as a whole: recipes, interrupted training, files, every kind of network, networks and settings that cannot be."""
import copy

import pytest
import torch
from safetensors.torch import load_file, save

from conftest import Interrupted, numbers
from lightvision.core import LightVisionError
from lightvision.models.checkpoint import edits_of, load_model, save_model
from lightvision.models.classifier import model_for
from lightvision.training import Context, TrainSettings, evaluate, fingerprint, fit, predict
from lightvision.compress.distillation import DistillSettings, kd
from lightvision.compress.quant_graph import activation_quantizers, quantized_layers
from lightvision.compress.quantization import PtqSettings, QatSettings, ptq, qat
from lightvision.compress.quantizers import Quantizer
from lightvision.compress.recipe import Recipe
from lightvision import training

BRIEF = dict(epochs=1, batch_size=16, lr=1e-3, calibration_images=40, reestimate=40)
ARCHS = {"resnet18": dict(stem_stride=2), "mobilenetv2_035": dict(stem_stride=2), "mobilenetv3_small_050": dict(stem_stride=2), "vit_tiny": dict(patch_size=16)}


def context_of(**given): return Context(device="cpu", progress=False, **given)


def small(task, arch="test_efficientnet"): return model_for(task, arch, weights="scratch", **ARCHS.get(arch, dict(stem_stride=2)))


@pytest.fixture(scope="module")
def trained(task): return fit(small(task), task, TrainSettings(epochs=3, batch_size=16, lr=6e-3), context_of())


@pytest.mark.parametrize("recipe", ["fp32+ptq8", "fp32+qat4", "qat8+qat2", "qat2+kd"])
def test_recipes_end_in_a_file_that_says_the_same(task, trained, tmp_path, recipe):
    tokens = recipe.split("+")
    settings = {t: {"calibration_images": 40} if t.startswith("ptq") else BRIEF if t.startswith("qat") else {"epochs": 1, "batch_size": 16} for t in tokens}
    recipe, context = Recipe.parse(recipe, settings), context_of(folder=tmp_path/"run", teacher=copy.deepcopy(trained))
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    model = recipe.apply(copy.deepcopy(trained), task, context)
    assert [row["step"] for row in context.history] == [t for t in tokens if not t.startswith("ptq")]
    assert [e["by"] for e in edits_of(model)] == ["quantization"]
    path = save_model(model, tmp_path/"model.safetensors")
    assert torch.equal(predict(load_model(path), task, "val", "cpu").logits, predict(model, task, "val", "cpu").logits)
    float_bytes = save_model(trained, tmp_path/"float.safetensors").stat().st_size
    assert path.stat().st_size < float_bytes/(2.5 if tokens[-1] == "ptq8" else 3)


@pytest.mark.parametrize("arch", ARCHS)
def test_every_kind_of_network(task, tmp_path, arch):
    model = small(task, arch)
    said = predict(model, task, "val", "cpu").logits
    eight = ptq(copy.deepcopy(model), task, PtqSettings(calibration_images=40), context_of())
    assert (predict(eight, task, "val", "cpu").logits - said).norm() < 0.5*(said - said.mean(0)).norm() + 0.1*said.norm()
    two = qat(model, task, QatSettings(bits=2, float_bits=16, **BRIEF), context_of())
    bits, graph = {n: m.bits for n, m in quantized_layers(two).items()}, [f"net.{n.target}" for n in two.net.graph.nodes]
    ordered = [bits[n] for n in graph if n in bits]
    assert ordered[0] == ordered[-1] == 8 and 2 in ordered and not any(isinstance(m, torch.nn.BatchNorm2d) for m in two.modules())
    assert all(len(c.unique()) <= 4 for m in quantized_layers(two).values() if m.bits == 2 for c in m.weight.detach().flatten(1))
    sizes = []
    for network in (eight, two):
        path = save_model(network, tmp_path/f"{len(sizes)}.safetensors")
        back = load_model(path)
        assert fingerprint(back) == fingerprint(network)
        assert torch.equal(predict(back, task, "val", "cpu").logits, predict(network, task, "val", "cpu").logits)
        sizes.append(path.stat().st_size)
    assert {k: v.dtype for k, v in load_file(path).items()}["floats"] == torch.float16
    assert sizes[1] < sizes[0] < 1.1*sum(p.numel() for p in small(task, arch).parameters()) + 20_000


@pytest.mark.parametrize("given", [{}, dict(ema=0.9, damping=1e-3, recovery="self", mixup=0.2), dict(recovery="teacher", loss="hint", precision="bf16")])
def test_interrupted_training_continues_bit_for_bit(task, trained, tmp_path, monkeypatch, given):
    settings, teacher = QatSettings(**{**BRIEF, "bits": 2, "epochs": 2, **given}), small(task, "test_resnet")
    whole = context_of(teacher=teacher)
    expected = qat(copy.deepcopy(trained), task, settings, whole)
    save = training.save_checkpoint
    def save_and_stop(*args): save(*args); raise Interrupted
    monkeypatch.setattr(training, "save_checkpoint", save_and_stop)
    with pytest.raises(Interrupted): qat(copy.deepcopy(trained), task, settings, context_of(teacher=teacher, folder=tmp_path))
    monkeypatch.setattr(training, "save_checkpoint", save)
    again = context_of(teacher=teacher, folder=tmp_path)
    assert fingerprint(qat(copy.deepcopy(trained), task, settings, again)) == fingerprint(expected) and numbers(again) == numbers(whole)
    with pytest.raises(LightVisionError, match="different"): # another start, and other settings
        qat(copy.deepcopy(trained), task, QatSettings(**{**BRIEF, "bits": 4, "epochs": 2, **given}), context_of(teacher=teacher, folder=tmp_path))


def test_low_bits_need_training_and_training_helps(trained, task):
    accuracy = lambda model: evaluate(predict(model, task, "train", "cpu"))["accuracy"]
    rounded = accuracy(ptq(copy.deepcopy(trained), task, PtqSettings(bits=2, first_last_bits=2, depthwise_bits=2), context_of()))
    learned = accuracy(qat(copy.deepcopy(trained), task, QatSettings(**{**BRIEF, "bits": 2, "first_last_bits": 2, "depthwise_bits": 2, "epochs": 6, "lr": 3e-3}), context_of()))
    assert learned > rounded


def test_four_bit_activations_stand_where_weights_read(task, trained):
    model = ptq(copy.deepcopy(trained), task, PtqSettings(bits=4, activation_bits=4), context_of())
    modules = [model.net.get_submodule(n.target) for n in model.net.graph.nodes if n.op == "call_module"]
    bits = [m.bits for m in modules if isinstance(m, Quantizer)]
    assert bits[0] == bits[-1] == 8 and {4, 8} == set(bits) == {q.bits for q in activation_quantizers(model).values()}
    edit = edits_of(model)[0]
    assert edit["activations"] == 4 and edit["weights"] in (4, 8)


def test_a_quantized_network_distills_with_hints(task, trained):
    model = ptq(copy.deepcopy(trained), task, PtqSettings(calibration_images=40), context_of())
    before = fingerprint(model)
    kd(model, task, DistillSettings(epochs=1, batch_size=16, loss="hint"), context_of(teacher=small(task, "test_resnet")))
    assert fingerprint(model) != before and quantized_layers(model)


@pytest.mark.parametrize("given, text", [
    (dict(bits=3), "bits is 3: it must be 8, 4 or 2"),
    (dict(activation_bits=2), "activation_bits is 2: it must be 8 or 4"),
    (dict(range_method="max"), "range_method is 'max': it must be auto, mse, percentile or minmax"),
    (dict(calibration_images=0), "calibration needs at least 1 training image"),
    (dict(layer_bits={"net.head": 7}), "layer_bits: net.head is 7"),
    (dict(layer_bits="net.head"), "layer_bits has 'net.head' without bits"),
    (dict(layerbits={"net.head": 4}), "did you mean layer_bits"),
])
def test_settings_that_cannot_be(given, text):
    with pytest.raises(LightVisionError) as error: PtqSettings.from_dict(given)
    assert text in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("arch", ["test_nfnet", "test_efficientnet_gn", "test_efficientnet_ln", "test_convnext2", "test_byobnet", "test_mambaout"])
def test_what_no_integer_kernel_knows_stays_in_float(task, tmp_path, arch):
    network = model_for(task, arch, weights="scratch")
    before = predict(network, task, "val", "cpu").logits
    model = ptq(network, task, PtqSettings(calibration_images=40), context_of())
    after = predict(model, task, "val", "cpu").logits
    assert quantized_layers(model) and (after - before).abs().mean() < 0.2*before.std()
    assert torch.equal(predict(load_model(save_model(model, tmp_path/"model.safetensors")), task, "val", "cpu").logits, after)


class Moody(torch.nn.Module):
    def forward(self, x): return x if x.mean() > 0 else -x


@pytest.mark.parametrize("case, text", [("name", "did you mean net.conv_stem"), ("path", "its path depends on what the image shows"),
                                        ("nan", "weights that are not numbers"),
                                        ("empty", "has no training images"), ("file", "is inconsistent")])
def test_networks_and_tasks_that_cannot_be(task, trained, tmp_path, case, text):
    import dataclasses
    model, settings, given = copy.deepcopy(trained), PtqSettings(calibration_images=40), task
    if case == "name": settings = PtqSettings(layer_bits={"net.conv_sten": 4})
    if case == "path": model.net.blocks.append(Moody())
    if case == "nan": model.net.conv_head.weight.data[0, 0] = float("nan")
    if case == "empty": given = dataclasses.replace(task, splits=torch.full_like(task.splits, 1))
    with pytest.raises(LightVisionError) as error:
        if case == "file":
            path = save_model(ptq(model, task, settings, context_of()), tmp_path/"model.safetensors")
            from safetensors import safe_open
            with safe_open(path, "pt") as f: metadata = f.metadata()
            state = load_file(path)
            path.write_bytes(save({**state, "integers": state["integers"][:-1]}, metadata=metadata))
            load_model(path)
        else: ptq(model, given, settings, context_of())
    assert text in str(error.value) and "\n" not in str(error.value)
