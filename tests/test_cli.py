"""The command line as a user meets it: help from the docments, and mistakes that end with one clear line."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from lightvision.study.plan import load_plan
from lightvision.cli import main

def one_line(done, *words):
    "Exit code 2, and one line on standard error that holds `words`."
    assert done.returncode == 2, (done.stdout, done.stderr)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("lightvision: "), done.stderr
    for word in words: assert word in lines[0], lines[0]


@pytest.mark.parametrize("command", ["prepare", "train", "compress", "budget", "evaluate", "predict", "export", "study", "results",
                                     "bench input", "bench training", "bench runner", "bench latency", "bench instructions", "bench vendor", "bench budget"])
def test_help_comes_from_the_docments(capsys, command):
    with pytest.raises(SystemExit) as end: main([*command.split(), "--help"])
    shown = capsys.readouterr().out
    assert not end.value.code and f"usage: lightvision {command}" in shown
    assert "--out" in shown or command in ("prepare", "evaluate", "export")


def test_help_takes_no_time(lightvision):
    "torch takes seconds; neither `--help` nor `import lightvision` loads it."
    assert "bench latency" in lightvision("--help").stdout and "bench input" in lightvision("bench", "--help").stdout
    code = "import sys, lightvision, lightvision.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_verbs_for_people_and_for_programs(tmp_path, monkeypatch, capsys):
    "train with a teacher, evaluate and predict, as sentences and as JSON."
    monkeypatch.chdir(tmp_path)

    def call(*args):
        assert main([str(a) for a in args]) == 0
        return capsys.readouterr().out
    train = "train", "landcover-mini", "mobilenetv3_small_050", "--weights", "scratch", "--epochs", 1
    teacher = json.loads(call(*train, "--json").splitlines()[-1])
    student = json.loads(call(*train, "--teacher", teacher["checkpoint"], "--json").splitlines()[-1])
    assert student["recipe"] == "distill" and student["checkpoint"] != teacher["checkpoint"]
    assert json.loads(call(*train, "--teacher", teacher["checkpoint"], "--json").splitlines()[-1]) == student # found again

    evaluate = "evaluate", "--checkpoint", student["checkpoint"]
    assert call(*evaluate).startswith("validation accuracy")
    assert "test_accuracy" not in student and "test accuracy" in call(*train, "--final")
    final = json.loads(call(*evaluate, "--final", "--json"))
    measured = json.loads((Path(student["checkpoint"]).parent/"measures.json").read_text())
    assert final["split"] == "test" and final["accuracy"] == pytest.approx(measured["test_accuracy"])

    Image.new("RGB", (50, 40), "navy").save("navy.png")
    rows = call("predict", "navy.png", "--checkpoint", student["checkpoint"], "--out", "table.csv", "--json").splitlines()
    assert json.loads(rows[0])["predicted"] in pd.read_csv("table.csv").columns
    call("export", "--checkpoint", student["checkpoint"]) # the file alone is enough for the same answer
    [file] = Path("artifacts").glob("*.onnx")
    again = json.loads(call("predict", "navy.png", "--checkpoint", str(file), "--json").splitlines()[0])
    assert again["predicted"] == json.loads(rows[0])["predicted"]


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
    assert done.returncode == 0 and "validation accuracy" in done.stdout and "test accuracy" not in done.stdout, done.stderr
    checkpoint, = (tmp_path/"runs").rglob("checkpoint.pt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    one_line(lightvision(*command), "checkpoint", "damaged", "delete it")


def test_every_shipped_plan_is_valid():
    from lightvision.cli import find_plan
    plans = sorted(find_plan("smoke").parent.glob("*.yaml"))
    assert plans and all(load_plan(p).about for p in plans)


def test_a_study_travels_to_a_machine_that_shares_nothing(tmp_path, plan, forks, monkeypatch, capsys):
    "Packed here, run in another folder with an empty home, merged back; a second merge changes nothing."
    monkeypatch.chdir(tmp_path)
    there, path = tmp_path/"there", plan(per_class=8, epochs=1)
    path.write_text(path.read_text().replace("seeds: [0, 1]", "seeds: [0]"))
    there.mkdir()
    assert main(["study", str(path), "--pack", str(there/"study.tar")]) == 0
    env = {**os.environ, "HOME": str(there/"home"), "LIGHTVISION_CACHE": str(there/"cache"), "LIGHTVISION_DATA": str(there/"none")}

    def away(*args): return forks.call(*args, cwd=there, env=env)
    done = away("study", "study.tar", "--workers", "2")
    assert done.returncode == 0, done.stderr
    done = away("results", "study.tar", "--pack", "back.tar")
    assert done.returncode == 0 and (there/"back.tar").exists(), done.stderr
    assert main(["results", str(path), "--merge", str(there/"back.tar")]) == 0
    assert "2 Run(s) taken, 0 were here already" in capsys.readouterr().out
    here = {p.parent.name: p.read_bytes() for p in (tmp_path/"runs").rglob("record.json")}
    assert here == {p.parent.name: p.read_bytes() for p in (there/"runs").rglob("record.json")} and len(here) == 2
    assert main(["results", str(path), "--merge", str(there/"back.tar")]) == 0
    assert "0 Run(s) taken, 2 were here already" in capsys.readouterr().out
    whole = (there/"back.tar").read_bytes()
    for damage in (whole[:len(whole)//2], whole.replace(b"accuracy", b"accurocy", 1), b"no tar at all"):
        (there/"bad.tar").write_bytes(damage)
        assert main(["results", str(path), "--merge", str(there/"bad.tar")]) == 2
        assert "damaged or foreign" in capsys.readouterr().err
