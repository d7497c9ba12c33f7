"""Artifacts are opened, run, timed and merged as a person does it: in processes of their own, with files that may be wrong."""
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from lightvision.core import LightVisionError
from lightvision.stats.intervals import median_interval
from lightvision.models.classifier import create_model
from lightvision.deploy.runtimes import RUNTIMES, ArtifactError, as_input, open_artifact, run_artifact
from lightvision.measure import latency
from lightvision.measure.latency import Contestant, bench_latency, merge_device_json, speedup, take_turns
from lightvision.measure.machine import machine_lock

ROOT = Path(__file__).parents[1]
DEVICE = ROOT/"deploy"/"raspberry_pi"/"bench_device.py"
RUN = dict(rounds=3, block_ms=3, threads=(1,))


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    "Two networks, each as .onnx and .ptl, and what they answer to eight images."
    folder, images = tmp_path_factory.mktemp("nets"), np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), np.uint8)
    found = {}
    for arch in ("test_resnet", "mobilenetv2_100"):
        torch.manual_seed(0)
        net = create_model(arch, 10, (32, 32), weights="scratch").eval()
        answer = lambda: net(torch.from_numpy(as_input(images))).numpy()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net.net.get_classifier().weight /= answer().std(0).mean()
            logits = answer()
            torch.onnx.export(net, (torch.rand(1, 3, 32, 32),), folder/f"{arch}.onnx", dynamo=False, input_names=["image"],
                              dynamic_axes={"image": {0: "n"}}, verbose=False)
            torch.jit.freeze(torch.jit.trace(net, torch.rand(1, 3, 32, 32)))._save_for_lite_interpreter(str(folder/f"{arch}.ptl"))
        assert logits.std(0).min() > 0.1  # they depend on the image, else anything would agree
        for suffix in (".onnx", ".ptl"): found[arch, suffix] = (folder/f"{arch}{suffix}", images, logits)
    return found


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch): monkeypatch.setenv("LIGHTVISION_CACHE", str(tmp_path/"cache"))


@pytest.mark.parametrize("suffix", [".onnx", ".ptl"])
@pytest.mark.parametrize("arch", ["test_resnet", "mobilenetv2_100"])
def test_adapters_answer_as_torch_does(nets, arch, suffix):
    path, images, logits = nets[arch, suffix]
    for threads in (1, 2): np.testing.assert_allclose(run_artifact(path, images, threads), logits, atol=1e-4)
    np.testing.assert_allclose(open_artifact(path).run(as_input(images[3:4])), logits[3:4], atol=1e-4)


def test_a_runtime_that_is_missing_is_one_line(nets, tmp_path, monkeypatch):
    for suffix, runtime in RUNTIMES.items():
        (tmp_path/f"net{suffix}").write_bytes(b"nothing")
        monkeypatch.setitem(sys.modules, runtime.module, None)  # as if it were not installed
        with pytest.raises(ArtifactError, match=f"pip install {runtime.package}") as e: open_artifact(tmp_path/f"net{suffix}")
        assert runtime.name in str(e.value) and "\n" not in str(e.value)


def test_nothing_reports_home(nets, tmp_path):
    "onnxruntime's own reporting would leave an identifier in the cache of the user."
    code = f"from lightvision.deploy.runtimes import open_artifact; open_artifact({str(nets['test_resnet', '.onnx'][0])!r})"
    env = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=tmp_path)
    assert not (tmp_path/".cache").exists()


def test_bench_latency(nets, capsys):
    paths = [nets[k][0] for k in nets]
    table = bench_latency(paths, size=(32, 32), **RUN)
    assert table["artifact"].tolist() == [p.name for p in paths] and table["runtime"].tolist() == ["onnxruntime", "PyTorch Mobile"]*2
    assert (table["p50_low"] <= table["p50_ms"]).all() and (table["p50_ms"] <= table["p50_high"]).all() and (table["blocks"] == 3).all()
    assert table["quiet"].all() or "do not quote" in capsys.readouterr().out
    turns = latency.pd.DataFrame(table.attrs["turns"])
    assert len(turns) == 3*len(paths) and speedup(turns, "mobilenetv2_100.onnx", "test_resnet.onnx")["ratio"] > 1  # a hundredth of the work


def test_both_thread_counts_stand_in_the_table(nets):
    table = bench_latency([nets["test_resnet", ".onnx"][0]], threads=(1, 2), rounds=2, block_ms=2)
    assert table["threads"].tolist() == [1, 2] and table["contestant"].nunique() == 2


def test_percentiles_of_a_fake_clock():
    class Fake:
        def __init__(self, ms): self.ms = ms
        def block(self, calls): return np.linspace(0, 2*self.ms, 101)
    turns = take_turns(dict(a=Fake(1.0), b=Fake(4.0)), rounds=4, warm_seconds=0)
    a = latency.summary(turns[turns["contestant"] == "a"], batch=2)
    assert [round(a[k], 9) for k in ("p50_ms", "p50_low", "p50_high", "p90_ms", "p99_ms")] == [1, 1, 1, 1.8, 1.98]
    assert a["images_per_second"] == pytest.approx(2000) and speedup(turns, "b", "a") == dict(ratio=4, low=4, high=4)


def test_interval_covers_as_it_says():
    rng = np.random.default_rng(1)
    hits = [low <= 0 <= high for _, low, high in (median_interval(rng.standard_t(3, 30), resamples=400) for _ in range(500))]
    assert 0.91 < np.mean(hits) < 0.985


def test_no_process_stays_behind(nets):
    import psutil
    running = lambda: [p for p in psutil.Process().children(recursive=True) if "runpy.run_path" in " ".join(p.cmdline())]
    with pytest.raises(LightVisionError): bench_latency([nets["test_resnet", ".onnx"][0], nets["test_resnet", ".ptl"][0]], **RUN)  # the second wants size=
    assert running() == []
    with pytest.raises(KeyboardInterrupt), Contestant(nets["test_resnet", ".onnx"][0]): raise KeyboardInterrupt
    assert running() == []


def test_a_measurement_and_a_study_wait_for_each_other(tmp_path):
    code = ("import sys, time; from lightvision.measure.machine import machine_lock\n"
            "with machine_lock(alone=sys.argv[1] == 'alone'): print('held', flush=True); time.sleep(60)")
    for other, alone, free in (("alone", False, False), ("alone", True, False), ("shared", False, True), ("shared", True, False)):
        p = subprocess.Popen([sys.executable, "-c", code, other], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert p.stdout.readline() == "held\n"
        if free:
            with machine_lock(alone=alone, wait=0): pass
        else:
            with pytest.raises(LightVisionError, match="wait for it to end"): machine_lock(alone=alone, wait=0).__enter__()
        p.kill(); p.wait(); p.stdout.close()
        with machine_lock(alone=alone, wait=5): pass  # the lock goes with its process, however that ends


@pytest.mark.parametrize("change, word", [
    (dict(paths=[]), "nothing to measure"), (dict(rounds=1), "rounds"), (dict(batch=0), "batch"), (dict(block_ms=float("nan")), "block_ms"),
    (dict(threads=(0,)), "threads is 0"),
    (dict(paths=["nowhere.onnx"]), "nowhere.onnx"), (dict(paths=["net.h5"]), "net.h5"), (dict(paths="ptl"), "pass size=")])
def test_mistakes_are_one_line(nets, change, word, tmp_path):
    if change.get("paths") == "ptl": change = dict(paths=[nets["test_resnet", ".ptl"][0]])
    if change.get("paths") == ["net.h5"]: (tmp_path/"net.h5").write_bytes(b""); change = dict(paths=[tmp_path/"net.h5"])
    with pytest.raises(LightVisionError, match=word) as e: bench_latency(**dict(paths=[nets["test_resnet", ".onnx"][0]], **RUN) | change)
    assert "\n" not in str(e.value)


def test_a_busy_machine_is_refused_on_request(nets):
    burn = [subprocess.Popen([sys.executable, "-c", "import time\nt = time.time() + 60\nwhile time.time() < t: pass"]) for _ in range(2)]
    time.sleep(0.5)
    try:
        with pytest.raises(LightVisionError, match="stop them"): bench_latency([nets["test_resnet", ".onnx"][0]], need_quiet=True, **RUN)
    finally:
        for p in burn: p.kill(); p.wait()


# bench_device.py: one file, alone in a folder, with nothing of this package

def device(folder, *arguments, **kwargs):
    shutil.copy(DEVICE, folder/"bench_device.py")
    return subprocess.run([sys.executable, "-I", "bench_device.py", *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=600, **kwargs)


def test_bench_device_measures_and_merges(nets, tmp_path):
    path = nets["test_resnet", ".onnx"][0]
    other = nets["mobilenetv2_100", ".onnx"][0]
    p = device(tmp_path, path, other, "--rounds", 3, "--block-ms", 2, "--warm-seconds", 0.1, "--device", "A board", "--out", "a.json")
    assert p.returncode == 0 and "median" in p.stdout, p.stderr
    whole = json.loads((tmp_path/"a.json").read_text())
    assert whole["device"]["emulated"] is False and whole["device"]["device"] == "A board"
    table = merge_device_json([tmp_path/"a.json", tmp_path/"a.json"])
    assert table["artifact"].tolist() == ["test_resnet.onnx", "mobilenetv2_100.onnx"] and (table["p50_low"] <= table["p50_ms"]).all()
    assert table["bytes"].tolist() == [path.stat().st_size, nets["mobilenetv2_100", ".onnx"][0].stat().st_size] and table["height"].tolist() == [32, 32]
    assert device(tmp_path, path, "--rounds", 2, "--block-ms", 1, "--emulated", "--out", "b.json").returncode == 0
    assert merge_device_json([tmp_path/"b.json"])["emulated"].tolist() == [True]


@pytest.mark.parametrize("arguments, word", [
    ([], "required"), (["nowhere.onnx"], "no file nowhere.onnx"), (["bench_device.py"], ".onnx or .tflite"), (["bad.onnx"], "onnxruntime cannot run bad.onnx"),
    (["net.onnx", "--rounds", "1"], "--rounds is 1"), (["net.onnx", "--threads", "0"], "--threads is 0"), (["net.onnx", "--threads", "999"], "lower --threads"),
    (["net.onnx", "--cores", "a,b"], "--cores is 'a,b'"),
    (["net.onnx", "--out", "none/x.json"], "no folder none"), (["net.tflite"], "pip install ai-edge-litert")])
def test_bench_device_says_what_is_wrong_in_one_line(nets, tmp_path, arguments, word):
    shutil.copy(nets["test_resnet", ".onnx"][0], tmp_path/"net.onnx")
    (tmp_path/"bad.onnx").write_bytes(b"no network")
    (tmp_path/"net.tflite").write_bytes(b"no network")
    if "net.tflite" in arguments and find_spec("ai_edge_litert"): pytest.skip("LiteRT is installed here")
    p = device(tmp_path, *arguments)
    assert p.returncode == 2 and word in p.stderr and len(p.stderr.strip().splitlines()) == 1, p.stderr
    assert not list(tmp_path.glob("*.json"))
