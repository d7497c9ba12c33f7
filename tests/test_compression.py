"""Compression as a user meets it: a plan with recipes, the compress command, and what they say when it cannot be."""
import json

import pandas as pd
import pytest

PLAN = """
name: tiny
tasks: [landcover-mini]
seeds: [0]
preset: smoke
per_class: 12
models:
  - {arch: mobilenetv3_small_050, weights: scratch, recipes: [fp32], train: {epochs: 2, batch_size: 16}}
  - {arch: mobilenetv2_035, weights: scratch, teacher: mobilenetv3_small_050, train: {epochs: 2, batch_size: 16}}
recipes: [extra, "kd(temperature=2)", prune50+kd+qat4, qat8+prune50, sparse80, ptq8]
settings: {kd: {batch_size: 16}, extra: {batch_size: 16}, qat: {batch_size: 16}, prune: {batch_size: 16}, sparse: {batch_size: 16}}
"""


@pytest.fixture
def write(tmp_path):
    "Write a plan as it is."
    def to_file(text):
        path = tmp_path/"tiny.yaml"
        path.write_text(text)
        return path
    return to_file


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    "A network that was trained for a moment."
    import os, subprocess
    from conftest import COMMAND
    folder = tmp_path_factory.mktemp("trained")
    arguments = ["train", "landcover-mini", "mobilenetv2_035", "--epochs", "1", "--weights", "scratch"]
    subprocess.run(COMMAND + arguments, cwd=folder, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})
    path, = folder.glob("runs/pool/*/model.safetensors")
    return path


def test_a_plan_of_recipes(lightvision, write, tmp_path):
    done = lightvision("study", write(PLAN), timeout=600)
    assert done.returncode == 0, done.stderr
    records = pd.read_csv(tmp_path/"runs/tiny/records.csv").set_index("recipe")
    student = records[records.arch == "mobilenetv2_035"]
    assert set(student.index) == {"fp32", "extra", "kd(temperature=2)", "prune50+kd+qat4", "qat8+prune50", "sparse80", "ptq8"}
    assert (student.drop("fp32").start == student.run["fp32"]).all()  # trained once, shared by all
    assert student.bytes["extra"] == student.bytes["fp32"]
    assert student.bytes["prune50+kd+qat4"] < student.bytes["qat8+prune50"] < student.bytes["ptq8"] < student.bytes["fp32"]/2
    assert student.nonzero["sparse80"] < .35*student.nonzero["fp32"] and student.compressed_bytes["sparse80"] < .6*student.compressed_bytes["fp32"]
    assert student.macs["prune50+kd+qat4"] < student.macs["fp32"]
    steps = set(pd.read_csv(tmp_path/"runs/pool"/student.run["prune50+kd+qat4"]/"history.csv").step)
    assert steps == {"prune50", "kd", "qat4"}
    again = lightvision("study", write(PLAN))
    assert again.returncode == 0 and "Runs to do" not in again.stdout


def test_compress_in_the_order_given(lightvision, trained, tmp_path):
    done = lightvision("compress", "--arch", "mobilenetv2_035", "--checkpoint", trained, "--methods", "distillation", "pruning", "qat", "--epochs", "1", timeout=600)
    assert done.returncode == 0, done.stderr
    assert "kd+prune50+qat8: " in done.stdout and "times smaller" in done.stdout
    path, = (tmp_path/"runs/pool").glob("*/model.safetensors")
    measures = json.loads(path.with_name("measures.json").read_text())
    assert measures["recipe"] == "kd+prune50+qat8" and measures["bytes"] == path.stat().st_size < trained.stat().st_size/4
    more = lightvision("compress", "--checkpoint", path, "--methods", "ptq", "--bits", "4")  # what was compressed can be compressed further
    assert more.returncode == 0, more.stderr


@pytest.mark.parametrize("arguments, words", [
    (["--methods", "distilation"], ["distilation", "distillation"]),
    (["--methods", "qat", "--bits", "3"], ["qat3", "qat2"]),
    (["--methods", "prune55"], ["prune55", "prune50"]),
    (["--methods", "kd", "--dataset", "eurosta"], ["eurosta", "eurosat"]),
    (["--methods", "kd", "--arch", "resnet18"], ["mobilenetv2_035", "resnet18"]),
    (["--methods", "qat", "--epochs", "0"], ["epochs", "at least 1"]),
    (["--methods", "fp32", "kd", "--teacher", "nowhere.safetensors"], ["nowhere.safetensors"]),
])
def test_mistakes_get_one_line(lightvision, trained, tmp_path, arguments, words):
    done = lightvision("compress", "--checkpoint", trained, *arguments)
    assert done.returncode == 2, (done.stdout, done.stderr)
    lines = [line for line in done.stderr.splitlines() if line.startswith("lightvision: ")]
    assert len(lines) == 1 and "Traceback" not in done.stderr
    for word in words: assert word in lines[0], lines[0]
    assert not list((tmp_path/"runs").rglob("*.safetensors"))


@pytest.mark.parametrize("old, new, words", [
    ("recipes: [extra", "recipes: [qat3, extra", ["qat3", "qat2"]),
    ("recipes: [extra", 'recipes: ["kd(heat=2)", extra', ["heat"]),
    (", teacher: mobilenetv3_small_050", "", ["needs a teacher"]),
    ("settings: {kd", "settings: {kdd: {epochs: 1}, kd", ["kdd"]),
    ("prune: {batch_size: 16}", "prune: {criterion: magic}", ["magic", "magnitude"]),
])
def test_a_wrong_plan_is_refused_before_anything_is_computed(lightvision, write, tmp_path, old, new, words):
    assert old in PLAN
    done = lightvision("study", write(PLAN.replace(old, new)))
    assert done.returncode == 2, (done.stdout, done.stderr)
    for word in words: assert word in done.stderr, done.stderr
    assert not (tmp_path/"runs").exists()
