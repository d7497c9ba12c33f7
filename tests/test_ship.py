"""From images to a Bundle, with the real command: killed on its way, on messy images, on a stranger's machine."""
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMMAND
from PIL import Image

from lightvision.core import file_hash, parse_size
from lightvision.data.datasets import get_task
from lightvision.deploy.bundle import check_bundle, classify_script
from lightvision.study.records import load_predictions

BRIEF = ["--budget", "60KB", "--arch", "test_resnet", "--teacher", "test_efficientnet", "--weights", "scratch", "--epochs", "1", "--final-epochs", "1",
         "--batch-size", "16", "--skip-bad"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    "A folder as people have them: three classes, a name with spaces and umlauts, all kinds of files, one that is broken."
    folder, task = tmp_path_factory.mktemp("mine")/"my images", get_task("landcover-mini").few(None, 14)
    for n, row in enumerate(i for i in range(len(task)) if task.labels[i] < 3):
        kind = ("sea", "Wälder und Wiesen", "stadt")[task.labels[row]]
        image = Image.fromarray(task.images[row].permute(1, 2, 0).numpy())
        suffix, mode = ((".png", "RGB"), (".jpg", "RGB"), (".webp", "RGB"), (".png", "RGBA"), (".png", "L"), (".jpg", "CMYK"))[n % 6]
        (folder/kind).mkdir(parents=True, exist_ok=True)
        image.convert(mode).save(folder/kind/f"bild {n}{suffix}")
    (folder/"sea"/"broken.jpg").write_bytes(b"\xff\xd8 no image")
    return folder


def killed(args, cwd, sign):
    "Start a command and kill it when it has printed this sign."
    with subprocess.Popen(COMMAND + args, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        for line in running.stdout:
            if line.startswith(sign): running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL, f"it ended before {sign}"


def test_killed_on_its_way_it_goes_on_and_ships(images, lightvision, tmp_path):
    here = ["ship", str(images), *BRIEF, "--out", "bundle", "--work", "runs"]
    killed(here, tmp_path, "[3/5]")
    assert not (tmp_path/"bundle").exists(), "nothing half-written is taken for a Bundle"
    assert lightvision(*here).returncode == 0
    assert (tmp_path/"bundle"/"model.onnx").stat().st_size <= 60_000
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".part") and not p.name.startswith(".")]

    # A stranger: checksums, the script without this package, and the command with a Bundle in place of a checkpoint.
    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=tmp_path/"bundle").returncode == 0
    files = sorted(str(p) for p in images.rglob("*") if p.name != "broken.jpg")
    files = [f for f in files if Path(f).is_file()][::7]
    script = subprocess.run([sys.executable, "-I", tmp_path/"bundle"/"classify_onnx.py", *files], capture_output=True, text=True)
    command = lightvision("predict", tmp_path/"bundle", *files)
    assert script.returncode == command.returncode == 0 and script.stdout == command.stdout and len(script.stdout.splitlines()) == len(files)
    assert (tmp_path/"bundle"/"labels.txt").read_text().splitlines() == ["Wälder und Wiesen", "sea", "stadt"]
    card = json.loads((tmp_path/"bundle"/"card.json").read_text())
    assert card["test"]["low"] < card["test"]["accuracy"] < card["test"]["high"] and [c["name"] for c in card["controls"]][:2] == ["teacher", "student"]
    text = (tmp_path/"bundle"/"README.md").read_text()
    assert all(title in text for title in ("## Accuracy", "## Files", "## Images", "## Compared with", "## Limits"))
    page = (tmp_path/"bundle"/"report.html").read_text()
    assert page.count("<title>") == 1 + len(card["controls"]) and "src=\"http" not in page

    # The student as it is, to compare with; where it does not fit, nothing is written.
    student, = (tmp_path/"runs"/"pool").glob("*_distill_*/model.safetensors")
    plain = ["ship", "--checkpoint", str(student), "--as-is", "--work", "runs"]
    assert lightvision(*plain, "--budget", "10MB", "--out", "float").returncode == 0
    float_card = check_bundle(tmp_path/"float")
    assert float_card["artifacts"][0]["precision"] == "fp32" and float_card["test"]["n"] == card["test"]["n"]
    small = lightvision(*plain, "--budget", "20KB", "--out", "small")
    assert small.returncode == 2 and small.stderr.splitlines()[-1].startswith("lightvision: ") and not (tmp_path/"small").exists()

    # The same call has nothing to do; another one does not touch what is there; a damaged Bundle is found out.
    before = (tmp_path/"bundle"/"SHA256SUMS").read_bytes()
    assert "is there already" in lightvision(*here).stdout
    refused = lightvision(*here, "--seed", "1")
    assert refused.returncode == 2 and refused.stderr.splitlines()[-1].startswith("lightvision: bundle exists already")
    assert (tmp_path/"bundle"/"SHA256SUMS").read_bytes() == before
    (tmp_path/"bundle"/"labels.txt").write_text("sea\n")
    damaged = lightvision("predict", tmp_path/"bundle", files[0])
    assert damaged.returncode == 2 and "is not the file that was verified" in damaged.stderr


@pytest.mark.long
def test_killed_on_its_way_it_ships_the_same_file(images, lightvision, tmp_path):
    for stage in "35": killed(["ship", str(images), *BRIEF, "--out", "bundle", "--work", "runs"], tmp_path, f"[{stage}/5]")
    for out, work in (("bundle", "runs"), ("reference", "other")):
        done = lightvision("ship", images, *BRIEF, "--out", tmp_path/out, "--work", tmp_path/work)
        assert done.returncode == 0, done.stderr
    one, other = ((tmp_path/name/"model.onnx").read_bytes() for name in ("bundle", "reference"))
    assert one == other


@pytest.mark.parametrize("args, words", [
    (["--budget", "12"], ["does not fit into"]),
    (["--min-accuracy", "0.999", "--budget", "60KB"], ["less than 99.9%", "allow more bytes"]),
    (["--formats", "onyx"], ["formats", "onnx"]),
    (["--min-accuracy", "97"], ["min_accuracy", "at most 1"]),
])
def test_what_cannot_be_had_is_one_line_and_no_folder(lightvision, tmp_path, args, words):
    brief = [a for a in BRIEF if a not in ("--budget", "60KB", "--teacher", "test_efficientnet")]
    done = lightvision("ship", "landcover-mini", *brief, "--teacher", "none", "--per-class", "8", *args, "--out", tmp_path/"b", "--work", tmp_path/"runs")
    assert done.returncode == 2 and not (tmp_path/"b").exists()
    last = done.stderr.splitlines()[-1]
    assert last.startswith("lightvision: ") and all(w in last for w in words), done.stderr


ROOT = Path(__file__).parent.parent
KEPT = [*sorted((ROOT/"zoo").iterdir()), *sorted((ROOT/"deploy"/"browser"/"compare").iterdir())]

@pytest.mark.parametrize("bundle", KEPT, ids=lambda p: p.name)
def test_the_zoo_is_whole_and_its_numbers_have_evidence(bundle, lightvision, tmp_path):
    card, evidence = check_bundle(bundle), ROOT/"paper"/"evidence"
    measured = json.loads((evidence/"zoo"/bundle.name/"record.json").read_text())  # of the file, by an executed notebook
    assert measured["sha256"] == file_hash(bundle/measured["file"]) and (evidence/"zoo"/bundle.name/"bundle.ipynb").exists()
    predictions = load_predictions(evidence/"zoo"/bundle.name/"predictions.npz")
    assert abs((predictions["probabilities"].argmax(1) == predictions["labels"]).mean() - measured["test_accuracy"]) < 1e-3
    if run := card["made_with"].get("run"):  # of the network
        record, = evidence.glob(f"*/{run}/record.json")
        assert abs(card["test"]["accuracy"] - json.loads(record.read_text())["test_accuracy"]) < 1e-3
    assert abs(card["test"]["accuracy"] - measured["test_accuracy"]) < 1e-3 and card["data_hash"] == measured["data_hash"]
    assert (bundle/"classify_onnx.py").read_text() == classify_script(".onnx")
    if bundle.parent.name == "zoo": assert max(a["bytes"] for a in card["artifacts"]) <= parse_size(bundle.name.split("-")[-1])
    image = tmp_path/"tile.png"
    Image.new("RGB", (80, 70), (20, 90, 40)).save(image)
    script = subprocess.run([sys.executable, "-I", bundle/"classify_onnx.py", image], capture_output=True, text=True)
    assert script.returncode == 0 and script.stdout == lightvision("predict", bundle, image).stdout
