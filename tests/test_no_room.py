"""A disk that is full: one line, nothing half-written, and the same command goes on when there is room again."""
import subprocess

import pytest

from lightvision.cli import main

TRAIN = ["train", "landcover-mini", "mobilenetv3_small_050", "--weights", "scratch", "--epochs", "1"]


@pytest.fixture
def disk(tmp_path):
    "A file system of its own, and a function that sets how many bytes fit."
    folder = tmp_path/"disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode: pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try: yield folder, lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
    finally: subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    assert main([*TRAIN, "--out", str(out)]) == 0
    return next(out.rglob("model.safetensors"))


@pytest.mark.parametrize("arguments, start, enough", [
    (TRAIN, "64k", "200m"),
    pytest.param(TRAIN, "1m", "200m", marks=pytest.mark.long),
    (["compress", "--checkpoint", "CHECKPOINT", "--methods", "ptq"], "64k", "200m"),
    (["export", "--checkpoint", "CHECKPOINT"], "64k", "200m"),
    (["predict", "IMAGE", "--checkpoint", "CHECKPOINT"], "0", "1m"),
])
def test_no_room_left(disk, checkpoint, tmp_path, capsys, arguments, start, enough):
    from PIL import Image
    folder, resize = disk
    Image.new("RGB", (32, 32)).save(tmp_path/"image.png")
    places = {"CHECKPOINT": str(checkpoint), "IMAGE": str(tmp_path/"image.png")}
    where = {"export": ["--to", str(folder/"artifacts")], "predict": ["--out", str(folder/"table.csv")]}
    command = [*(places.get(a, a) for a in arguments), *where.get(arguments[0], ["--out", str(folder/"runs")])]
    if start == "0": (folder/"fill").write_bytes(bytes(1_048_576))
    else: resize(start)

    assert main(command) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lightvision:")]
    assert len(lines) == 1 and "no room left" in lines[0] and "make room" in lines[0], lines
    left = [p for p in folder.rglob("*") if p.is_file() and p.name not in (".lock", "fill")]
    assert not [p for p in left if p.suffix in (".part", ".safetensors", ".onnx", ".csv") and not p.stat().st_size], left
    assert not [p for p in left if ".part" in p.name], left

    (folder/"fill").unlink(missing_ok=True)
    resize(enough)
    assert main(command) == 0
