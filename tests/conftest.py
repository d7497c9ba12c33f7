"""What the whole-program tests share: they call the installed command in processes of its own, as a user does."""
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
    "Call the command to its end."
    def call(*args, timeout=300, env=None):
        return subprocess.run(COMMAND + [str(a) for a in args], capture_output=True, text=True, timeout=timeout, cwd=tmp_path, env=env or os.environ)
    return call


def wait_for(condition, seconds=120, what="it"):
    "The first true value of `condition`, which must come within `seconds`."
    end = time.time() + seconds
    while time.time() < end:
        if value := condition(): return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} s")
