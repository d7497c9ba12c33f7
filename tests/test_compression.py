"""Compression as a user meets it: a plan with recipes, the compress command, and what they say when it cannot be."""
import json
import shutil

import pandas as pd
import pytest
from conftest import draw_photos

from lightvision.study.report import check_evidence

PLAN = """
name: tiny
tasks: [landcover-mini]
seeds: [0]
preset: smoke
per_class: 12
models:
  - {arch: test_efficientnet, weights: scratch, recipes: [fp32], train: {epochs: 2, batch_size: 16}}
  - {arch: test_resnet, weights: scratch, teacher: test_efficientnet, train: {epochs: 2, batch_size: 16}}
recipes: [finetune, "kd(temperature=2)", prune50+kd+qat4, qat8+prune50, sparse80, ptq8, "budget(size=300KB,method=uniform)"]
settings: {kd: {batch_size: 16, worse_teacher: true}, finetune: {batch_size: 16}, qat: {batch_size: 16}, prune: {batch_size: 16}, sparse: {batch_size: 16}, budget: {batch_size: 16, format: safetensors}}
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
def photos(tmp_path_factory): return draw_photos(tmp_path_factory.mktemp("drawn")/"photos")


@pytest.fixture(scope="module")
def tiny(forks, photos, tmp_path_factory):
    "A network that was trained for a moment; few layers, so that a search is short."
    folder = tmp_path_factory.mktemp("tiny")
    done = forks.call("train", photos, "test_resnet", "--epochs", "1", "--weights", "scratch", cwd=folder)
    assert done.returncode == 0, done.stderr
    path, = folder.glob("runs/pool/*/model.safetensors")
    return path


@pytest.fixture(scope="module")
def study(forks, tmp_path_factory):
    "A study of all kinds of recipes, run once for the tests that ask about it: its folder, and what the command said."
    folder = tmp_path_factory.mktemp("study")
    (folder/"tiny.yaml").write_text(PLAN)
    done = forks.call("study", "tiny.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_plan_of_recipes(study):
    folder, _ = study
    records = pd.read_csv(folder/"runs/tiny/records.csv").set_index("recipe")
    student, search = records[records.arch == "test_resnet"], "budget(size=300kb,method=uniform)"
    assert set(student.index) == {"fp32", "finetune", "kd(temperature=2)", "prune50+kd+qat4", "qat8+prune50", "sparse80", "ptq8", search}
    assert (student.drop("fp32").start == student.run["fp32"]).all()  # trained once, shared by all
    assert student.bytes["finetune"] == student.bytes["fp32"]
    assert student.bytes["prune50+kd+qat4"] < student.bytes["qat8+prune50"] < student.bytes["ptq8"] < student.bytes["fp32"]/2
    assert student.nonzero["sparse80"] < .35*student.nonzero["fp32"] and student.compressed_bytes["sparse80"] < .6*student.compressed_bytes["fp32"]
    assert student.macs["prune50+kd+qat4"] < student.macs["fp32"]
    assert student.bytes[search] <= 300_000 < student.bytes["ptq8"]
    steps = set(pd.read_csv(folder/"runs/pool"/student.run["prune50+kd+qat4"]/"history.csv").step)
    assert steps == {"prune50", "kd", "qat4"}


def test_a_finished_study_computes_nothing(study, forks):
    folder, _ = study
    before = {p: p.read_bytes() for p in (folder/"runs/pool").glob("*/record.json")}
    assert len(before) == 9 and "0 of 9 Runs to do" in forks.call("study", "tiny.yaml", "--dry-run", cwd=folder).stdout
    again = forks.call("study", "tiny.yaml", cwd=folder)
    assert again.returncode == 0 and "Runs to do" not in again.stdout and {p: p.read_bytes() for p in before} == before


def test_pages_and_evidence(study, forks, tmp_path):
    folder, said = study
    out = folder/"runs"
    for name in ("report", "choices", "budget"):
        page = (out/"tiny"/f"{name}.html").read_text()
        assert str(out/"tiny"/f"{name}.html") in said and "data:image/png" in page
        for trace in ("src=\"http", "href=\"http", "<script", "@import", "url(http"): assert trace not in page  # it loads nothing from anywhere
        assert "synthetic" in page.lower()

    assert forks.call("results", "tiny.yaml", "--evidence", tmp_path, cwd=folder).returncode == 0
    evidence = tmp_path/"tiny"
    assert check_evidence(evidence) == [] and len(list(evidence.glob("*/*/front.csv"))) == 1 and len(pd.read_csv(evidence/"budget.csv")) == 1
    for file in evidence.rglob("*"):
        if file.is_file(): assert str(folder).encode() not in file.read_bytes(), f"{file} holds a path of this machine"
    for notebook in evidence.glob("*/run.ipynb"): assert '"image/png"' in notebook.read_text() and notebook.stat().st_size < 200_000
    notebook.write_text(notebook.read_text().replace("accuracy", "accuracY", 1))
    assert check_evidence(evidence) == [notebook.relative_to(evidence).as_posix()]

    notebook = next((out/"pool").glob("*/run.ipynb"))
    whole = notebook.read_text()
    notebook.write_text(whole + " ")
    refused = forks.call("results", "tiny.yaml", "--evidence", tmp_path/"again", cwd=folder)
    notebook.write_text(whole)
    line, = refused.stderr.strip().splitlines()
    assert refused.returncode == 2 and line.startswith("lightvision: ") and "was changed after its Record" in line


def test_compress_in_the_order_given(lightvision, tiny, tmp_path):
    done = lightvision("compress", "--arch", "test_resnet", "--checkpoint", tiny, "--methods", "distillation", "pruning", "qat", "--epochs", "1")
    assert done.returncode == 0, done.stderr
    assert "kd+prune50+qat8: " in done.stdout and "times smaller" in done.stdout
    path, = (tmp_path/"runs/pool").glob("*/model.safetensors")
    measures = json.loads(path.with_name("measures.json").read_text())
    assert measures["recipe"] == "kd+prune50+qat8" and measures["bytes"] == path.stat().st_size < tiny.stat().st_size/4
    more = lightvision("compress", "--checkpoint", path, "--methods", "ptq", "--bits", "4")  # what was compressed can be compressed further
    assert more.returncode == 0, more.stderr


@pytest.mark.parametrize("arguments, words", [
    (["--methods", "distilation"], ["distilation", "distillation"]),
    (["--methods", "qat", "--bits", "3"], ["qat3", "qat2"]),
    (["--methods", "prune95"], ["percent is 95", "max_ratio"]),
    (["--methods", "kd", "--dataset", "eurosta"], ["eurosta", "eurosat"]),
    (["--methods", "kd", "--arch", "resnet18"], ["test_resnet", "resnet18"]),
    (["--methods", "qat", "--epochs", "0"], ["epochs", "at least 1"]),
    (["--methods", "fp32", "kd", "--teacher", "nowhere.safetensors"], ["nowhere.safetensors"]),
])
def test_mistakes_get_one_line(refused, tiny, tmp_path, arguments, words):
    done = refused("compress", "--checkpoint", tiny, *arguments)
    assert done.returncode == 2, (done.stdout, done.stderr)
    lines = [line for line in done.stderr.splitlines() if line.startswith("lightvision: ")]
    assert len(lines) == 1 and "Traceback" not in done.stderr
    for word in words: assert word in lines[0], lines[0]
    assert not list((tmp_path/"runs").rglob("*.safetensors"))


def test_files_for_devices(lightvision, tiny, tmp_path):
    for name, formats in {"first": ["onnx", "ptl"], "second": ["onnx"]}.items():
        done = lightvision("export", "--checkpoint", tiny, "--formats", *formats, "--name", name)
        assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path/"artifacts/parity.csv").set_index("artifact")
    assert set(table.index) == {"first.onnx", "first.ptl", "second.onnx"}
    assert all((tmp_path/"artifacts"/name).stat().st_size == size for name, size in table.bytes.items()) and (table.agreement == 1).all()


def test_a_size_and_a_time_are_kept(lightvision, tiny, photos, tmp_path):
    done = lightvision("budget", "--checkpoint", tiny, "--size", "100KB", "--latency-ms", "1000", "--epochs", "1", "--fraction", "0.1")
    assert done.returncode == 0, done.stderr
    file, path = (tmp_path/line for line in done.stdout.strip().splitlines()[-2:])
    assert file.suffix == ".onnx" and file.stat().st_size <= 100_000 and "100 KB allowed, .onnx of" in done.stdout
    record = json.loads(path.with_name("record.json").read_text())
    assert record["bytes"] == file.stat().st_size and record["packed_bytes"] == path.stat().st_size
    assert (record["method"], record["format"]) == ("baic", "onnx")
    back = lightvision("export", "--checkpoint", file, "--dataset", photos, "--to", "back")  # the file alone is enough to go on from
    assert back.returncode == 0, back.stderr
    assert (tmp_path/"back"/"test_resnet.onnx").read_bytes() == file.read_bytes()


def test_a_search_beside_a_simpler_one(lightvision, tiny, tmp_path):
    done = lightvision("bench", "budget", tiny, "--sizes", "100KB", "--methods", "uniform", "--format", "safetensors", "--epochs", "1", "--fraction", "0.1", "--out", "budget.csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path/"budget.csv")
    assert list(table.method) == ["uniform"] and (table.bytes <= 100_000).all() and table.epochs.nunique() == table.trials.nunique() == 1


def test_our_file_beside_the_runtimes_own(lightvision, tiny, tmp_path):
    done = lightvision("bench", "vendor", tiny, "--out", "vendor.csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path/"vendor.csv").set_index("model")
    assert list(table.index) == ["fp32", "onnxruntime's ptq8"] and table.bytes["onnxruntime's ptq8"] < table.bytes["fp32"]
    assert table.float_layers["onnxruntime's ptq8"] == 0 < table.float_layers["fp32"]


@pytest.mark.parametrize("arguments, words", [
    (["budget", "--size", "60 kilos", "--checkpoint", "TRAINED"], ["60 kilos", "200KB"]),
    (["budget", "--size", "100KB", "--checkpoint", "TRAINED", "--latency-ms", "0"], ["0.0 ms", "above 0"]),
    (["budget", "--size", "100KB", "--checkpoint", "TRAINED", "--fraction", "2"], ["fraction", "at most 1"]),
    (["budget", "--size", "2KB", "--checkpoint", "TRAINED"], ["does not fit", "allow more bytes"]),
    (["export", "--checkpoint", "TRAINED", "--formats", "onnx", "tfl"], ["tfl", "tflite"]),
    (["budget", "--size", "100KB", "--checkpoint", "TRAINED", "--format", "onxx"], ["onxx", "onnx"]),
    (["bench", "budget"], ["fp32 Run"]),
    (["bench", "budget", "TRAINED", "--methods", "magic"], ["magic", "baic"]),
    (["bench", "budget", "MOVED"], ["measures.json", "where its Run left it"]),
    (["bench", "vendor", "TRAINED", "--formats", "ptl"], ["no vendor quantizer for 'ptl'", "onnx, pte, tflite"]),
])
def test_a_search_that_cannot_be_gets_one_line(refused, tiny, tmp_path, arguments, words):
    moved = tmp_path/"moved.model"  # a copy without the measures beside it
    if "MOVED" in arguments: shutil.copy(tiny, moved)
    done = refused(*({"TRAINED": tiny, "MOVED": moved}.get(a, a) for a in arguments))
    lines = [line for line in done.stderr.splitlines() if line.startswith("lightvision: ") and "note: " not in line]
    assert done.returncode == 2 and len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    for word in words: assert word in lines[0], lines[0]
    assert not list(tmp_path.rglob("*.safetensors")) and not list(tmp_path.rglob("*.onnx"))


@pytest.mark.parametrize("old, new, words", [
    ("recipes: [finetune", "recipes: [qat3, finetune", ["qat3", "qat2"]),
    ("recipes: [finetune", 'recipes: ["kd(heat=2)", finetune', ["heat"]),
    (", teacher: test_efficientnet", "", ["needs a teacher"]),
    ("settings: {kd", "settings: {kdd: {epochs: 1}, kd", ["kdd"]),
    ("prune: {batch_size: 16}", "prune: {criterion: magic}", ["magic", "magnitude"]),
])
def test_a_wrong_plan_is_refused_before_anything_is_computed(refused, write, tmp_path, old, new, words):
    assert old in PLAN
    done = refused("study", write(PLAN.replace(old, new)))
    assert done.returncode == 2, (done.stdout, done.stderr)
    for word in words: assert word in done.stderr, done.stderr
    assert not (tmp_path/"runs").exists()
