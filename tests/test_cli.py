"""The command line as a user meets it: help from the docments, and mistakes that end with one clear line."""
import os
import shutil

import pytest

from lightvision.study.plan import load_plan
from lightvision.study.report import check_evidence

def one_line(done, *words):
    "Exit code 2, and one line on standard error that holds `words`."
    assert done.returncode == 2, (done.stdout, done.stderr)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("lightvision: "), done.stderr
    for word in words: assert word in lines[0], lines[0]


@pytest.mark.parametrize("command", ["prepare", "train", "study", "results", "bench"])
def test_help_comes_from_the_docments(lightvision, command):
    done = lightvision(command, "--help")
    assert done.returncode == 0 and f"usage: lightvision {command}" in done.stdout
    assert "--out" in done.stdout or command in ("prepare", "bench")


@pytest.mark.parametrize("arguments, words", [
    (["prepare", "eurosta"], ["eurosat"]),
    (["prepare", "folder:nowhere"], ["nowhere"]),
    (["train", "landcover-mini", "mobilenet_v2"], ["mobilenetv2"]),
    (["train", "landcover-mini", "resnet18", "--epochs", "0"], ["epochs", "at least 1"]),
    (["train", "landcover-mini", "resnet18", "--weights", "nowhere.safetensors"], ["nowhere.safetensors"]),
    (["study", "no-such-plan"], ["no-such-plan", "smoke"]),
    (["study", "smoke", "--scheduler", "tcp://127.0.0.1:9"], ["127.0.0.1:9"]),
    (["results", "smoke"], ["no Run of smoke is finished", "lightvision study"]),
    (["bench", "speed"], ["speed", "input"]),
])
def test_mistakes_get_one_line_and_leave_nothing(refused, tmp_path, arguments, words):
    one_line(refused(*arguments), *words)
    assert not list(tmp_path.rglob("*.part"))
    assert not (tmp_path/"runs"/"pool").exists() or not list((tmp_path/"runs"/"pool").glob("*/*.safetensors"))


def test_missing_data_without_a_network_says_where_to_put_which_file(lightvision, tmp_path):
    env = {**os.environ, "LIGHTVISION_DATA": str(tmp_path/"empty"), "HOME": str(tmp_path), "LIGHTVISION_CACHE": str(tmp_path/"cache"),
           "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    one_line(lightvision("prepare", "trashnet", env=env), "trashnet", ".zip", "LIGHTVISION_DATA")


@pytest.mark.parametrize("old, new, words", [
    ("seeds:", "seed:", ["unknown key 'seed'", "seeds"]),
    ("epochs:", "epoch:", ["epoch", "epochs"]),
    ("landcover-mini", "landcover-maxi", ["landcover-mini"]),
    ("arch: mobilenetv2_035", "arch: mobilenetv2_036", ["mobilenetv2_035"]),
    ("teacher: mobilenetv3_small_050", "teacher: resnet18", ["resnet18"]),
    ("[0, 1]", "[0, 1", ["not YAML"]),
])
def test_a_wrong_plan_is_refused_before_anything_is_computed(refused, plan, tmp_path, old, new, words):
    path = plan()
    path.write_text(path.read_text().replace(old, new))
    one_line(refused("study", path), *words)
    assert not (tmp_path/"runs"/"pool").exists()


def test_unwritable_output(refused, plan, tmp_path):
    (tmp_path/"file").write_text("a file, not a folder")
    one_line(refused("study", plan(), "--out", tmp_path/"file"/"runs"), "cannot write", "choose a folder")
    one_line(refused("train", "landcover-mini", "mobilenetv3_small_050", "--weights", "scratch", "--out", tmp_path/"file"/"runs"), "cannot write", "choose a folder")


def test_train_resumes_and_names_a_truncated_checkpoint(lightvision, tmp_path):
    command = ["train", "landcover-mini", "mobilenetv3_small_050", "--weights", "scratch", "--epochs", "1"]
    done = lightvision(*command)
    assert done.returncode == 0 and "test accuracy" in done.stdout, done.stderr
    checkpoint, = (tmp_path/"runs").rglob("checkpoint.pt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    one_line(lightvision(*command), "checkpoint", "damaged", "delete it")


def test_study_results_and_evidence(lightvision, plan, tmp_path):
    path, out, evidence = plan(epochs=1), tmp_path/"runs", tmp_path/"evidence"
    done = lightvision("study", path)
    assert done.returncode == 0, done.stderr
    page = (out/"tiny"/"report.html").read_text()
    assert str(out/"tiny"/"report.html") in done.stdout
    assert "synthetic" in page.lower()
    for trace in ("src=\"http", "href=\"http", "<script", "@import", "url(http"): assert trace not in page  # it loads nothing from anywhere

    assert lightvision("results", path, "--evidence", evidence).returncode == 0
    assert check_evidence(evidence/"tiny") == []
    for file in evidence.rglob("*"):
        if file.is_file(): assert str(tmp_path).encode() not in file.read_bytes(), f"{file} holds a path of this machine"
    notebook = next((evidence/"tiny").glob("*/run.ipynb"))
    assert notebook.stat().st_size < 200_000
    notebook.write_text(notebook.read_text().replace("accuracy", "accuracY", 1))
    assert check_evidence(evidence/"tiny") == [notebook.relative_to(evidence/"tiny").as_posix()]

    shutil.rmtree(evidence)
    notebook = next((out/"pool").glob("*/run.ipynb"))
    notebook.write_text(notebook.read_text() + " ")
    one_line(lightvision("results", path, "--evidence", evidence), "was changed after its Record")


def test_every_shipped_plan_is_valid():
    from lightvision.cli import find_plan
    plans = sorted(find_plan("smoke").parent.glob("*.yaml"))
    assert plans and all(load_plan(p).about for p in plans)
