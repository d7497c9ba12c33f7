"""Counting on an emulated ARM processor; what needs the emulated system is left out where it is not prepared."""
import json
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from lightvision.core import LightVisionError
from lightvision.models.classifier import create_model
from lightvision.deploy.runtimes import as_input
from lightvision.measure.instructions import (CPUS, DATA, count_instructions, emulate, emulator_folder,
                                              prepare_emulator, run_emulated)

ROOT = Path(__file__).parents[1]
prepared = pytest.mark.skipif(not emulator_folder().exists(),
                              reason="the emulated ARM system is not prepared here: call lightvision.measure.instructions.prepare_emulator()")


def exported(model, size, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.rand(1, 3, size, size),), path, dynamo=False, input_names=["image"], dynamic_axes={"image": {0: "n"}})


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    path, images = tmp_path_factory.mktemp("net")/"net.onnx", np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8)
    torch.manual_seed(0)
    model = create_model("test_resnet", 10, (32, 32), weights="scratch").eval()
    answer = lambda: model(torch.from_numpy(as_input(images))).numpy()
    with torch.no_grad():
        model.net.get_classifier().weight /= answer().std(0).mean()
        exported(model, 32, path)
        return path, images, answer()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large")/"large.onnx"
    exported(create_model("vit_tiny", 10, (64, 64), weights="scratch", patch_size=16).eval(), 64, path)
    return path,


def test_wheels_are_the_tested_versions():
    pins = dict(line.split("==") for line in (ROOT/"constraints.txt").read_text().splitlines() if "==" in line and not line.startswith("#"))
    for line in (DATA/"wheels.txt").read_text().splitlines():
        if line.startswith("#"): continue
        name, version = line.split(" --hash=sha256:")[0].split("==")
        assert len(line.rsplit(":", 1)[1]) == 64 and pins.get(name, version) == version, f"{name}: {pins.get(name)} in constraints.txt, {version} in wheels.txt"


@pytest.mark.skipif(not shutil.which("gcc"), reason="no C compiler")
def test_the_plugin_compiles_without_a_warning(tmp_path):
    strict = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]
    p = subprocess.run(["gcc", *strict, "-shared", "-fPIC", "-o", tmp_path/"x.so", DATA/"insncount.c"], capture_output=True, text=True)
    assert p.returncode == 0, p.stderr


def test_nothing_half_prepared_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTVISION_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # without any of the tools
    with pytest.raises(LightVisionError, match="Debian 12") as e: prepare_emulator()
    assert "\n" not in str(e.value) and [p.suffix for p in (tmp_path/"emulator").iterdir()] == [".lock"]
    with pytest.raises(LightVisionError, match="not prepared"): emulate(["-c", "pass"])


@prepared
@pytest.mark.parametrize("cpu", CPUS)
def test_answers_on_arm_are_those_of_torch(net, cpu):
    path, images, logits = net
    assert logits.std(0).min() > 0.1
    np.testing.assert_allclose(run_emulated(path, images, cpu), logits, atol=1e-4)


@prepared
def test_the_plugin_counts_what_a_program_executes(tmp_path):
    "A loop of twice as many rounds costs twice as many instructions, and the same program the same."
    def cost(n):
        emulate(["-c", f"import os; os.sched_yield()\nfor i in range({n}): pass\nos.sched_yield()"], marks=tmp_path/"marks.txt")
        begin, end, whole = (tmp_path/"marks.txt").read_text().splitlines()
        assert int(whole.split()[1]) > int(end)
        return int(end) - int(begin)
    one, two, three = cost(100_000), cost(200_000), cost(300_000)
    assert three - two == two - one > 10*100_000 and cost(100_000) == one  # at least ten instructions a round, each the same


@prepared
@pytest.mark.parametrize("name", ["net", "large"])
def test_counts_are_identical_while_others_work(name, request):
    burn = [subprocess.Popen([sys.executable, "-c", "import time\nt = time.time() + 300\nwhile time.time() < t: pass"]) for _ in range(2)]
    path = request.getfixturevalue(name)[0]
    try: counted = count_instructions(path, size=(64, 64), runs=2, **(dict(warm=2, calls=3) if name == "large" else {}))
    finally:
        for p in burn: p.kill(); p.wait()
    assert counted["runs_identical"] and counted["runs"] == 2 and counted["instructions"] > (30_000_000 if name == "large" else 100_000)
    assert counted["height"] == counted["width"] == (64 if name == "large" else 32) and counted["bytes"] == path.stat().st_size


@prepared
def test_a_call_costs_the_same_after_a_wait(net, tmp_path):
    "onnxruntime notes its speed when four seconds have passed, and finds other memory in later calls: the plugin's clock hides the seconds."
    program = """
import os, select, sys, time, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session, x = onnxruntime.InferenceSession(sys.argv[1], options), numpy.ones((1, 3, 32, 32), numpy.float32)
run = lambda: session.run(None, {"image": x})
for _ in range(20): run()
select.select([], [], [], float(sys.argv[2]))
for _ in range(9): os.sched_yield(), run()
print(time.time(), time.monotonic())
"""
    def counted(wait):
        said = emulate(["-c", program, net[0], wait], marks=tmp_path/"marks.txt")
        return said, np.diff([int(line) for line in (tmp_path/"marks.txt").read_text().splitlines() if line.isdigit()]).tolist()
    (said, calls), begin = counted("0.0"), time.time()
    assert counted("5.0") == (said, calls) and time.time() - begin > 5 and len(calls) == 8 and float(said.split()[0]) < 1


@prepared
def test_the_benchmark_for_devices_runs_on_arm(net, tmp_path):
    script = ROOT/"deploy"/"raspberry_pi"/"bench_device.py"
    said = emulate([script, net[0], "--rounds", "2", "--block-ms", "1", "--warm-seconds", "0", "--out", tmp_path/"pi.json"])
    whole = json.loads((tmp_path/"pi.json").read_text())
    assert "this processor is emulated" in said and whole["device"]["emulated"] and whole["device"]["machine"] == "aarch64" and len(whole["rows"]) == 1


@pytest.mark.parametrize("call, word", [
    (lambda path: count_instructions(path.with_suffix(".pte")), "give an .onnx or .tflite"),
    (lambda path: count_instructions("nowhere.onnx"), "no file nowhere.onnx"),
    (lambda path: count_instructions(path, "cortex-m0"), "cortex-a72, cortex-a76"), (lambda path: count_instructions(path, calls=0), "calls is 0")])
def test_mistakes_are_one_line(net, call, word):
    with pytest.raises(LightVisionError, match=word) as e: call(net[0])
    assert "\n" not in str(e.value)
