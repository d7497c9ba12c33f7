"""What the whole-program tests share: they call the installed command in processes of its own, as a user does."""
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import psutil
import pytest
import torch

from lightvision.data.datasets import get_task
from lightvision.training import CLOCK
from lightvision.cli import main

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


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")


@pytest.fixture(scope="module")
def task():
    "Ten classes, five images of each and part; one thread, for sums in another order round otherwise."
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield get_task("landcover-mini").few(None, 5)
    torch.set_num_threads(threads)


@pytest.fixture
def plan(tmp_path):
    "Write a tiny plan: two seeds of a teacher and a student, seconds each."
    def write(text=PLAN, per_class=12, epochs=3):
        path = tmp_path/"tiny.yaml"
        path.write_text(text.format(per_class=per_class, epochs=epochs))
        return path
    return write


@pytest.fixture
def lightvision(tmp_path):
    "Call the command to its end; one that takes too long is ended with all it has started, which would keep its pipes open."
    def call(*args, timeout=300, env=None):
        p = subprocess.Popen(COMMAND + [str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=env or os.environ)
        try: out, err = p.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            for q in [*psutil.Process(p.pid).children(recursive=True), p]: q.kill()
            raise
        return subprocess.CompletedProcess(p.args, p.returncode, out, err)
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


def wait_for(condition, seconds=120, what="it"):
    "The first true value of `condition`, which must come within `seconds`."
    end = time.time() + seconds
    while time.time() < end:
        if value := condition(): return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} s")
