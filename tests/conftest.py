"""What the whole-program tests share: they call the command in processes of its own, as a user does."""
import json
import os
import select
import subprocess
import sys
import time
import warnings
from pathlib import Path
from tempfile import NamedTemporaryFile

import psutil
import pytest
import torch
from PIL import Image

from lightvision.data.datasets import get_task
from lightvision.data.landcover import draw_landcover
from lightvision.models.classifier import Classifier, model_for
from lightvision.training import CLOCK
from lightvision.cli import main

torch.set_num_threads(1)  # sums in another order round otherwise
COMMAND = [str(Path(sys.executable).parent/"lightvision")]

PLAN = """
name: tiny
tasks: [landcover-mini]
seeds: [0, 1]
preset: smoke
per_class: {per_class}
train: {{epochs: {epochs}, batch_size: 16}}
models:
  - {{arch: mobilenetv3_small_050, weights: scratch}}
  - {{arch: mobilenetv2_035, weights: scratch, teacher: mobilenetv3_small_050}}
"""


QUIET = dict(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", PYTHONUNBUFFERED="1")


def pytest_configure(config): config.addinivalue_line("markers", "long: left to `make test-long`; a shorter test stands for it in `make test`")


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch):
    for name, value in QUIET.items(): monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def task():
    "Ten classes, five images of each and part."
    return get_task("landcover-mini").few(None, 5)


def draw_photos(folder):
    "120 drawn images of three classes, as files."
    images, table = draw_landcover(per_class=40)
    for image, name in zip(images, table["names"]):
        if name.split("/")[0] not in ("forest", "lake", "road"): continue
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder/name)
    return folder


def small(task, kind):
    "A network of a few layers: one of timm's for tests, or a transformer of two blocks."
    torch.manual_seed(0)
    if kind != "transformer": return model_for(task, kind, weights="scratch", stem_stride=2)
    like = model_for(task, "test_resnet", weights="scratch", stem_stride=2)
    return Classifier(dict(like.config, arch="vit_tiny", stem_stride=None, patch_size=16, create_kwargs=dict(depth=2, embed_dim=48, num_heads=4)))


@pytest.fixture
def plan(tmp_path):
    "Write a tiny plan: two seeds of a teacher and a student, seconds each."
    def write(text=PLAN, per_class=12, epochs=3):
        path = tmp_path/"tiny.yaml"
        path.write_text(text.format(per_class=per_class, epochs=epochs))
        return path
    return write


FORKS = """
import itertools, json, os, signal, sys
import lightvision.api, lightvision.compress.baselines, lightvision.study.pack, lightvision.study.pareto, timm
import onnxruntime, torch.onnx._internal.exporter._core
from lightvision.cli import main

def die_at(moment):
    "Two moments for each file that is put in its place: just before it, and just after"
    replace, files = os.replace, itertools.count()
    def dying(*args):
        file = next(files)
        if moment == 2*file: os.kill(os.getpid(), signal.SIGKILL)
        replace(*args)
        if moment == 2*file + 1: os.kill(os.getpid(), signal.SIGKILL)
    os.replace = dying

print(0, flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if pid := os.fork():
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        continue
    os.setsid()
    for fd, name, mode in ((0, os.devnull, os.O_RDONLY), (1, asked["out"], os.O_WRONLY), (2, asked["err"], os.O_WRONLY)):
        os.dup2(os.open(name, mode), fd)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    if "DIES_AT" in os.environ: die_at(int(os.environ["DIES_AT"]))
    sys.exit(main(asked["args"]))
"""


class Forks:
    "The command in processes that have imported PyTorch already: a fork each, and as separate as any process is."
    def __init__(self):
        self.server = subprocess.Popen([sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.answer(600)  # it has imported everything: on a busy machine that takes a minute, and an answer too late would be taken for the next one's

    def answer(self, timeout):
        if not select.select([self.server.stdout], [], [], timeout)[0]: raise TimeoutError
        return int(self.server.stdout.readline())

    def call(self, *args, cwd, timeout=900, env=None):
        "Call the command to its end; one that takes too long is ended with all it has started."
        args = [str(a) for a in args]
        with NamedTemporaryFile("r+") as out, NamedTemporaryFile("r+") as err:
            asked = dict(args=args, cwd=str(cwd), env={**(env or os.environ), **QUIET}, out=out.name, err=err.name)
            self.server.stdin.write(json.dumps(asked).encode() + b"\n")
            pid = self.answer(300)
            try: code = self.answer(timeout)
            except TimeoutError:
                for p in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]: p.kill()
                self.answer(10)
                raise subprocess.TimeoutExpired(args, timeout) from None
            return subprocess.CompletedProcess(args, code, out.read(), err.read())


@pytest.fixture(scope="session")
def forks():
    "One server a worker of pytest."
    server = Forks()
    yield server
    server.server.kill()  # to close its stdin is not enough: a copy of this process may hold the other end
    server.server.wait()


@pytest.fixture
def lightvision(tmp_path, forks):
    "Call the command in the test's folder."
    def call(*args, **kwargs): return forks.call(*args, cwd=tmp_path, **kwargs)
    return call


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    "Call the command in this process, for what it refuses: a new process would spend seconds on imports to say one line."
    def call(*args):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        capsys.readouterr()
        code = main([str(a) for a in args])
        return subprocess.CompletedProcess(args, code, *capsys.readouterr())
    return call


class Interrupted(Exception): "What a test raises in the middle of a training."


def numbers(context):
    "The history without what depends on the clock."
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in context.history]


def wait_for(condition, seconds=400, what="it"):
    "The first true value of `condition`, which must come within `seconds`."
    end = time.time() + seconds
    while time.time() < end:
        if value := condition(): return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} s")
