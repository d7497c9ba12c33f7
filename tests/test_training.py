"""Training survives what happens to it: a kill, a cut-off file, a loss that blows up, a misspelled name."""
import os, signal, subprocess, sys, time
from contextlib import contextmanager
from pathlib import Path

import pytest, torch

from conftest import numbers
import lightvision.training as training
from lightvision.core import LightVisionError
from lightvision.data.datasets import get_task
from lightvision.models.checkpoint import load_model, save_model
from lightvision.models.classifier import create_model, model_for
from lightvision.training import Context, TrainSettings, batches, evaluate, fit, predict
from lightvision.compress.recipe import Recipe

SETTINGS = dict(epochs=4, batch_size=16, lr=6e-3, mixup=0.2, ema=0.9, clip=1.0)
CHILD = """
import sys, time
import lightvision.training as training
from test_training import small_task, train
epoch = training.train_epoch
training.train_epoch = lambda *args, **kwargs: (time.sleep(0.5), epoch(*args, **kwargs))[1] # leaves time to kill it, even on a busy machine
train(small_task(), sys.argv[1], precision=sys.argv[2])
"""


def small_task(): return get_task("landcover-mini").few(None, 12)


def new_model(task, seed=0): return model_for(task, "test_resnet", weights="scratch", stem_stride=2, seed=seed)


def train(task, folder=None, **settings):
    "A short training; returns the network and the history without its clock"
    context = Context(device="cpu", folder=folder, progress=False)
    model = fit(new_model(task), task, TrainSettings.from_dict({**SETTINGS, **settings}), context)
    return model, numbers(context)


def same(a, b): return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.fixture(scope="module")
def task():
    threads = torch.get_num_threads()
    torch.set_num_threads(1) # as in the child process: sums in another order round otherwise
    yield small_task()
    torch.set_num_threads(threads)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_run_continues_bit_for_bit(task, tmp_path, precision):
    whole, expected = train(task, precision=precision)
    path, env = tmp_path/"checkpoint.pt", {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    child = subprocess.Popen([sys.executable, "-c", CHILD, tmp_path, precision], env=env)
    while not path.exists() and child.poll() is None: time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    done = len(torch.load(path, weights_only=True)["history"])
    assert 1 <= done < SETTINGS["epochs"], "the child was to die in the middle"
    resumed, history = train(task, tmp_path, precision=precision)
    assert history == expected
    assert same(whole, resumed)
    again, history = train(task, tmp_path, precision=precision) # finished: nothing is computed anew
    assert history == expected and same(whole, again)


def test_a_truncated_checkpoint_is_named(task, tmp_path):
    train(task, tmp_path, epochs=1)
    path = tmp_path/"checkpoint.pt"
    path.write_bytes(path.read_bytes()[:path.stat().st_size//2])
    with pytest.raises(LightVisionError, match=r"checkpoint\.pt is damaged .* delete it"): train(task, tmp_path, epochs=1)


def test_a_checkpoint_of_another_run_is_refused(task, tmp_path):
    train(task, tmp_path, epochs=1)
    with pytest.raises(LightVisionError, match="different settings"): train(task, tmp_path, epochs=2)
    with pytest.raises(LightVisionError, match="different task"): train(task.few(None, 6), tmp_path, epochs=1)
    with pytest.raises(LightVisionError, match="different starting weights"):
        fit(new_model(task, seed=1), task, TrainSettings.from_dict({**SETTINGS, "epochs": 1}), Context(device="cpu", folder=tmp_path, progress=False))


def test_a_loss_that_is_no_number_stops_at_once(task, tmp_path):
    with pytest.raises(LightVisionError, match=r"not a number in epoch 1, step \d+, at learning rate .*lower lr"):
        train(task, tmp_path, optimizer="sgd", lr=1e12, clip=0)
    assert not (tmp_path/"checkpoint.pt").exists()


@pytest.mark.parametrize("call, text", [
    (lambda: create_model("mobilnetv2_100", 10, 32), "did you mean mobilenetv2_100"),
    (lambda: create_model("resnet18", 10, 32, weights="imagnet"), "use \"auto\""),
    (lambda: TrainSettings.from_dict(dict(leraning_rate=1)), "unknown setting 'leraning_rate'"),
    (lambda: TrainSettings.from_dict(dict(batchsize=8)), "did you mean batch_size"),
    (lambda: TrainSettings.from_dict(dict(epochs=0)), "at least 1"),
    (lambda: Recipe.parse("fp23"), "did you mean fp32"),
    (lambda: Recipe.parse(""), "the recipe is empty"),
])
def test_mistakes_are_named(call, text):
    with pytest.raises(LightVisionError) as e: call()
    assert text in str(e.value) and "\n" not in str(e.value)


def test_save_and_load(task, tmp_path):
    model = new_model(task)
    path = save_model(model, tmp_path/"model.safetensors")
    back, x = load_model(path), next(batches(task, "val", 4))[0]
    assert back.config == model.config and same(model, back) and torch.equal(back(x), model(x))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(LightVisionError, match="truncated"): load_model(path)


def test_the_network_learns(task):
    model, history = train(task, epochs=6, mixup=0, ema=0)
    measured = evaluate(predict(model, task, "val", device="cpu"))
    assert measured["accuracy"] == history[-1]["val_accuracy"] > 2/task.n_classes
    assert measured["n"] == len(task.indices("val"))


def test_a_recipe_applies_and_resumes(task, tmp_path):
    recipe = Recipe.parse("fp32", {"fp32": {**SETTINGS, "epochs": 2}})
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    first, second = (Context(device="cpu", folder=tmp_path, progress=False) for _ in range(2))
    models = [recipe.apply(new_model(task), task, c) for c in (first, second)]
    assert same(*models) and first.history == second.history
    assert [row["step"] for row in first.history] == ["fp32"]*2


def test_training_leaves_cudnn_as_it_was(task):
    "Inside the loop cuDNN is deterministic and not switched off: `torch.backends.cudnn.flags` would do both."
    seen = []

    def loss(model, x, y, context):
        cudnn = torch.backends.cudnn
        seen.append((cudnn.enabled, cudnn.deterministic, cudnn.benchmark))
        return torch.nn.functional.cross_entropy(model(x), y)

    before = torch.backends.cudnn.enabled
    fit(new_model(task), task, TrainSettings(epochs=1, batch_size=16),
        Context(progress=False, device="cpu"), loss)
    assert before and set(seen) == {(True, True, False)}
    assert torch.backends.cudnn.enabled and not torch.backends.cudnn.deterministic


def test_a_network_that_channels_last_would_break_is_trained_in_a_process_that_lives(tmp_path):
    "RepVGG's backward pass corrupts memory in that layout (torch 2.13 on a CPU); a child process shows that ours does not."
    code = ("from lightvision.api import create_model, load_task, train\n"
            "task = load_task('landcover-mini', size=96, per_class=3)\n"
            "train(create_model('repvgg_a0', task, weights='scratch'), task, epochs=1, batch_size=16, progress=False, device='cpu')\n"
            "print('alive')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "alive" in done.stdout, done.stderr[-300:]


def recovered(task, recipe, **settings):
    "A network after a recipe of steps that train, with a teacher"
    context = Context(device="cpu", progress=False, teacher=new_model(task, seed=1))
    given = {str(step.token): dict(epochs=1, batch_size=16, **settings) for step in Recipe.parse(recipe).steps}
    for step in ("kd", "distill"):
        if step in given: given[step]["worse_teacher"] = True
    return Recipe.parse(recipe, given).apply(new_model(task), task, context)


@pytest.mark.parametrize("recipe", ["kd", "prune50", "qat4", "finetune"])
def test_a_recorded_step_computes_what_the_plain_one_does(task, monkeypatch, recipe):
    "Without a GPU the recording is imitated: what is replayed is the step itself, on inputs at fixed addresses."
    plain, real, recorded = recovered(task, recipe, ema=0.9), training.stepping, []

    @contextmanager
    def stepping(*args):
        with real(*args) as step:
            recorded.append(training.Graphed(step, lambda function, given: lambda: function(*given)))
            yield recorded[-1]

    monkeypatch.setattr(training, "stepping", stepping)
    assert same(recovered(task, recipe, ema=0.9), plain)
    assert recorded and all(step.replay for step in recorded)


@pytest.mark.parametrize("loss", ["kd", "dkd", "dist", "hint", "attention"])
def test_a_step_reads_nothing_back(task, monkeypatch, loss):
    "A GPU would wait for each reading, and a recorded step cannot have any."
    real = training.stepping

    @contextmanager
    def stepping(*args):
        def refused(*_): raise AssertionError("a number was read back")
        with real(*args) as step:
            def watched(*given):
                with monkeypatch.context() as within:
                    for name in ("item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__"): within.setattr(torch.Tensor, name, refused)
                    return step(*given)
            yield watched

    monkeypatch.setattr(training, "stepping", stepping)
    recovered(task, "kd", loss=loss)
