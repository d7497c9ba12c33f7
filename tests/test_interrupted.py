"""Every command that writes, killed around each file that it writes, and called twice at the same time: nothing half-written ever stands
there, the same command goes on, and what it makes is what it makes undisturbed."""
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from conftest import Forks
from PIL import Image
from safetensors.torch import load_file

MOMENTS = 10  # two for each file, see `die_at`
SCRATCH = ["--weights", "scratch"]
COMMANDS = {  # what stands for a path is written in capitals
    "prepare": ["prepare", "PHOTOS"],
    "train": ["train", "PHOTOS", "test_resnet", *SCRATCH, "--epochs", "2", "--out", "OUT"],
    "compress": ["compress", "--checkpoint", "CHECKPOINT", "--methods", "ptq", "--out", "OUT"],
    "budget": ["budget", "--checkpoint", "CHECKPOINT", "--size", "150KB", "--epochs", "1", "--format", "safetensors", "--out", "OUT"],
    "export": ["export", "--checkpoint", "CHECKPOINT", "--to", "OUT"],
    "predict": ["predict", "IMAGE", "--checkpoint", "CHECKPOINT", "--out", "OUT/table.csv"],
}
SAME = (".safetensors", ".onnx", ".npy")  # the same bytes, however often it was interrupted
READERS = {".json": lambda p: json.loads(p.read_text()), ".csv": pd.read_csv, ".safetensors": load_file, ".onnx": onnx.load, ".npy": np.load}


@pytest.fixture(scope="module")
def given(tmp_path_factory, forks):
    "A folder of small photographs, and a network that was trained on them."
    folder, rng = tmp_path_factory.mktemp("given"), np.random.default_rng(0)
    for name, colour in {"day": 200, "night": 40, "noon": 120}.items():
        (folder/"photos"/name).mkdir(parents=True)
        for i in range(20): Image.fromarray((rng.integers(0, 50, (32, 32, 3)) + colour).astype(np.uint8)).save(folder/"photos"/name/f"{i}.png")
    places = dict(PHOTOS=folder/"photos", IMAGE=folder/"photos"/"day"/"0.png", OUT=folder/"out")
    done = forks.call(*filled("train", places), cwd=folder, env=environment(folder))
    assert done.returncode == 0, done.stderr
    return dict(places, CHECKPOINT=next((folder/"out").rglob("model.safetensors")))


def filled(name, places):
    def fill(word): return next((word.replace(key, str(path)) for key, path in places.items() if key in word), word)
    return [fill(word) for word in COMMANDS[name]]


def environment(folder, **more):
    "The cache of images lies in the folder too."
    return {**os.environ, "LIGHTVISION_CACHE": str(folder/"cache"), **more}


def written(folder):
    "All files of a command, by their place; of a leftover, too."
    return {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"}


def check_sound(folder):
    "What stands there under its own name can be read."
    for name, path in written(folder).items():
        if not path.name.startswith(".") and path.suffix in READERS: READERS[path.suffix](path)


def check_same(folder, reference):
    ours, theirs = written(folder), written(reference)
    assert ours.keys() == theirs.keys()
    for name in ours:
        if name.endswith(SAME): assert ours[name].read_bytes() == theirs[name].read_bytes(), name


@pytest.fixture(scope="module")
def reference(tmp_path_factory, forks, given):
    "The folder of each command, undisturbed."
    @cache
    def make(name):
        folder = tmp_path_factory.mktemp(name)
        done = forks.call(*filled(name, dict(given, OUT=folder)), cwd=folder, env=environment(folder))
        assert done.returncode == 0, done.stderr
        return folder
    return make


LONG = "compress", "budget", "export"  # they write with the functions that the others write with
NAMES = [pytest.param(name, marks=pytest.mark.long) if name in LONG else name for name in COMMANDS]


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_any_moment(name, forks, given, reference, tmp_path):
    command, ended = filled(name, dict(given, OUT=tmp_path)), []
    for moment in range(MOMENTS):  # until there is nothing left to write
        done = forks.call(*command, cwd=tmp_path, env=environment(tmp_path, DIES_AT=str(moment)))
        check_sound(tmp_path)
        ended.append(done.returncode)
        if done.returncode != -9: break
    else: ended.append(forks.call(*command, cwd=tmp_path, env=environment(tmp_path)).returncode)
    assert ended[:2] == [-9, -9] and ended[-1] == 0, (ended, done.stderr)
    check_same(tmp_path, reference(name))


@pytest.fixture(scope="module")
def others():
    "A second server, for what runs beside what the first one runs."
    server = Forks()
    yield server
    server.server.kill()
    server.server.wait()


@pytest.mark.parametrize("name", NAMES)
def test_two_at_once(name, forks, others, given, reference, tmp_path):
    command = filled(name, dict(given, OUT=tmp_path))
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(server.call, *command, cwd=tmp_path, env=environment(tmp_path)) for server in (forks, others)]
        done = [call.result() for call in calls]
    assert 0 in [d.returncode for d in done], [d.stderr for d in done]
    for d in done:
        if d.returncode: assert d.returncode == 2 and len(d.stderr.strip().splitlines()) == 1 and "another process" in d.stderr, d.stderr
    check_same(tmp_path, reference(name))
