"""Distillation as a whole: every loss, interrupted runs, teachers that must not change, teachers that do not fit."""
import copy
import dataclasses
import math

import pytest
import torch

from conftest import Interrupted, numbers
from lightvision.core import LightVisionError
from lightvision.models.checkpoint import load_model, save_model
from lightvision.models.classifier import create_model, model_for
from lightvision.training import Context, TrainSettings, fingerprint, fit
from lightvision.compress.distillation import LOSSES, DistillSettings, distill_loss, distilling, kd
from lightvision.compress.recipe import Recipe

SETTINGS = dict(epochs=3, batch_size=16, lr=6e-3)


def small(task, arch="test_efficientnet", **kwargs): return model_for(task, arch, weights="scratch", **{"stem_stride": 2, **kwargs})


def context_of(teacher, **given): return Context(device="cpu", teacher=teacher, progress=False, **given)


def settings_of(**given): return DistillSettings.from_dict({**SETTINGS, **given})


@pytest.fixture(scope="module")
def teacher(task): return fit(small(task, "test_resnet"), task, TrainSettings.from_dict({**SETTINGS, "epochs": 2}), context_of(None))


@pytest.mark.parametrize("extra", [{}, dict(mixup=0.2, ema=0.9, clip=1.0), dict(precision="bf16", patience=2)])
def test_an_interrupted_student_with_hints_continues_bit_for_bit(task, teacher, tmp_path, extra):
    settings, expected, steps = settings_of(loss="hint", **extra), context_of(teacher), -(-len(task.indices("train"))//SETTINGS["batch_size"])
    whole, calls = kd(small(task), task, settings, expected), []
    def fail(module, args):
        calls.append(1)
        if len(calls) == 1 + steps + 2: raise Interrupted # after one look at the pair: the second step of the second epoch
    stopped, hook = small(task), teacher.register_forward_pre_hook(fail)
    names = list(stopped.state_dict())
    with pytest.raises(Interrupted): kd(stopped, task, settings, context_of(teacher, folder=tmp_path))
    hook.remove()
    assert list(stopped.state_dict()) == names, "the projector is taken back after an error too"
    state = torch.load(tmp_path/"checkpoint.pt", weights_only=True)
    assert len(state["history"]) == 1 and any(name.startswith("projectors") for name in state["model"])
    second = context_of(teacher, folder=tmp_path)
    resumed = kd(small(task), task, settings, second)
    assert fingerprint(resumed) == fingerprint(whole) and numbers(second) == numbers(expected)
    again = kd(small(task), task, settings, context_of(teacher, folder=tmp_path)) # finished: nothing is computed anew
    assert fingerprint(again) == fingerprint(whole)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_with_mixup_and_spares_the_teacher(task, teacher, loss, precision):
    before, context, student = copy.deepcopy(teacher.state_dict()), context_of(teacher.train()), small(task)
    teacher.zero_grad()
    start = fingerprint(student)
    kd(student, task, settings_of(epochs=1, loss=loss, mixup=0.2, precision=precision), context)
    assert all(torch.equal(before[k], v) for k, v in teacher.state_dict().items()), "even one that came in training mode"
    assert not teacher.training and all(p.grad is None for p in teacher.parameters())
    assert fingerprint(student) != start and math.isfinite(context.history[0]["train_loss"])


def test_the_projector_learns_and_reaches_no_file(task, teacher, tmp_path):
    student, settings = small(task), settings_of(epochs=1, loss="hint")
    with distilling(student, task, settings, context_of(teacher)) as loss:
        first = copy.deepcopy(student.projectors.state_dict())
        fit(student, task, settings, context_of(teacher), loss)
        assert all(not torch.equal(first[k], v) for k, v in student.projectors.state_dict().items())
    back = load_model(save_model(student, tmp_path/"student.safetensors"))
    assert fingerprint(back) == fingerprint(student)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("way", ["CNN to transformer", "transformer to CNN"])
def test_any_pair(task, loss, way):
    pair = small(task), model_for(task, "vit_tiny", weights="scratch", patch_size=16)
    student, teacher = pair if way.endswith("CNN") else pair[::-1]
    x, y = task.images[:4].float()/255, task.labels[:4]
    with distilling(student, task, settings_of(loss=loss), context_of(teacher)) as loss_of:
        loss_of(student.train(), x, y, context_of(teacher)).backward()
        assert all(p.grad.isfinite().all() for p in student.parameters() if p.grad is not None)
    assert all(p.grad is None for p in teacher.parameters())


def test_a_recipe_distills_after_training(task, teacher, tmp_path):
    recipe = Recipe.parse("fp32+kd", {"fp32": {**SETTINGS, "epochs": 1}, "kd": {**SETTINGS, "epochs": 1, "loss": "hint"}})
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    context = context_of(teacher, folder=tmp_path)
    recipe.apply(small(task), task, context)
    assert [row["step"] for row in context.history] == ["fp32", "kd"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0-fp32", "1-kd"]


def test_as_recovery_another_setting_refuses_the_checkpoint(task, teacher, tmp_path):
    train = TrainSettings.from_dict({**SETTINGS, "epochs": 1})
    recover = lambda **given: fit(small(task), task, train, context_of(teacher, folder=tmp_path), distill_loss(settings_of(**given)))
    recover()
    with pytest.raises(LightVisionError, match="different loss"): recover(temperature=2)
    with pytest.raises(LightVisionError, match="different teacher"):
        fit(small(task), task, train, context_of(small(task, "test_resnet", seed=1), folder=tmp_path), distill_loss(settings_of()))


@pytest.mark.parametrize("case, text", [
    ("none", "kd needs a teacher: name one in the plan with teacher: ..."),
    ("classes", "the teacher has 7 classes and landcover-mini has 10"),
    ("itself", "the teacher is the student itself"),
    ("size", "the teacher cannot take images of 32x32 pixels"),
    ("place", "did you mean net.layer"),
    ("head", "choose a stage that keeps the image's layout"),
])
def test_teachers_that_do_not_fit_are_named_before_training(task, teacher, tmp_path, case, text):
    student, settings, wrong = small(task), settings_of(loss="hint"), teacher
    if case == "none": wrong = None
    if case == "itself": wrong = student
    if case == "classes": wrong = small(dataclasses.replace(task, classes=task.classes[:7]), "test_resnet")
    if case == "size": wrong = create_model("vit_tiny", task.n_classes, 64, weights="scratch", patch_size=16)
    if case == "place": settings = settings_of(loss="hint", teacher_layers="net.layer8")
    if case == "head": settings = settings_of(loss="hint", student_layers="net.classifier")
    before = fingerprint(student)
    with pytest.raises(LightVisionError) as error: kd(student, task, settings, context_of(wrong, folder=tmp_path))
    assert text in str(error.value) and "\n" not in str(error.value)
    assert fingerprint(student) == before and not hasattr(student, "projectors") and not any(tmp_path.iterdir())
