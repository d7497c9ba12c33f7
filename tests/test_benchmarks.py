"""The input benchmark on a folder of photos: both sides see the same pixels, and nothing stays behind, whatever happens."""
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from conftest import wait_for

from lightvision.core import LightVisionError
from lightvision.data.datasets import get_task
from lightvision.measure import input_pipeline as benchmarks
from lightvision.measure.input_pipeline import (BARE, OURS, bench_input, image_folder, original_files, pick,
                                                torchvision_transform)

NET = "mobilenetv3_small_050"


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    "Temporary files go to a folder of their own with a short path (sockets live there), which must be empty afterwards."
    monkeypatch.setenv("LIGHTVISION_CACHE", str(tmp_path/"cache"))
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
        assert [p for p in Path(folder).iterdir() if p.name.startswith("lightvision-")] == []
    assert [p for p in psutil.Process().children() if "resource_tracker" not in " ".join(p.cmdline())] == []


@pytest.fixture
def photos(tmp_path):
    "Synthetic JPEGs, wider than high, one of them in a folder of its own inside its class."
    rng = np.random.default_rng(0)
    for c in ("cup", "spoon"):
        for i in range(20):
            path = tmp_path/"photos"/c/(f"more/{i:02d}.jpg" if i == 3 else f"{i:02d}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8)).resize((48, 32)).save(path, quality=80)
    return f"folder:{tmp_path/'photos'}"


def test_both_sides_see_the_same_pixels(photos, scratch):
    task = pick(get_task(photos), batch_size=4)
    original_files(photos, task, scratch/"files")
    files = ImageFolder(str(scratch/"files"), v2.PILToTensor())
    seen = {os.path.relpath(path, scratch/"files").replace(os.sep, "/"): item for (path, _), item in zip(files.samples, files)}
    rows = task.indices("train").tolist()
    assert sorted(seen) == [task.names[i] for i in rows] and files.classes == task.classes
    for i in rows: assert torch.equal(seen[task.names[i]][0], task.images[i]) and seen[task.names[i]][1] == task.labels[i]


def test_satellite_transform_gives_the_eight_symmetries():
    task = get_task("landcover-mini")
    x = task.images[0]
    wanted = {torch.rot90(y, k, (1, 2)).numpy().tobytes() for y in (x, x.flip(2)) for k in range(4)}
    vary, img = torchvision_transform(task), Image.fromarray(x.permute(1, 2, 0).numpy())
    torch.manual_seed(0)
    assert {(vary(img)*255).round().to(torch.uint8).numpy().tobytes() for _ in range(200)} == wanted


def test_a_folder_of_photos_is_measured(photos, capsys):
    table = bench_input(photos, NET, batch_size=4, seconds=0.1, workers=1, rounds=2)
    assert table.input.tolist() == [BARE, OURS, "ImageFolder, 0 workers", "ImageFolder, 1 workers"]
    assert (table.training > 0).all() and (table.alone.dropna() > 0).all()
    assert "32x48" in (out := capsys.readouterr().out) and "other programs took" in out


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_stays_behind_after_an_interruption(photos, monkeypatch, error):
    real, calls = benchmarks.take_turn, []

    def fails(start, use, seconds, **more):
        calls.append(start)
        def stop(x, y): raise error
        return real(start, stop if len(calls) == 4 else use, seconds, **more) # the fourth is fed by worker processes
    monkeypatch.setattr(benchmarks, "take_turn", fails)
    with pytest.raises(error): bench_input(photos, NET, batch_size=4, seconds=0.1, workers=2, rounds=2)
    assert calls[-1].func is image_folder and len(calls) == 4


def test_nothing_stays_behind_when_asked_to_end(photos, scratch):
    code = f"from lightvision.measure.input_pipeline import bench_input; bench_input({photos!r}, {NET!r}, batch_size=4, seconds=60., workers=2)"
    p = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(scratch)})
    wait_for(lambda: len(psutil.Process(p.pid).children()) >= 2, what="the start of the workers")
    workers = psutil.Process(p.pid).children()
    p.terminate()
    assert p.wait(60) == 128 + signal.SIGTERM
    wait_for(lambda: not any(w.is_running() for w in workers), what="the end of the workers")


@pytest.mark.parametrize("change, word", [
    (dict(batch_size=64), "pass a smaller one"), (dict(batch_size=0), "batch_size"), (dict(workers=-1), "workers"), (dict(rounds=1), "rounds"),
    (dict(seconds=-1.), "seconds"), (dict(seconds=float("nan")), "seconds"), (dict(device="gpu"), "device"),
    (dict(dataset="folder:nowhere"), "nowhere"), (dict(arch="mobilenet_v2"), "mobilenetv2"),
])
def test_mistakes_are_refused_before_anything_starts(photos, change, word):
    with pytest.raises(LightVisionError, match=word) as e: bench_input(**dict(dataset=photos, arch=NET, batch_size=4) | change)
    assert "\n" not in str(e.value)


def test_a_long_temporary_folder_is_refused_and_not_waited_in(photos, tmp_path, monkeypatch):
    deep = tmp_path/("x"*60)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(LightVisionError, match="set TMPDIR") as e: bench_input(photos, NET, batch_size=4, seconds=0.1, workers=1, rounds=2)
    assert "\n" not in str(e.value) and not list(deep.iterdir())
    assert len(bench_input(photos, NET, batch_size=4, seconds=0.1, workers=0, rounds=2)) == 3  # the process itself needs no socket
