"""Accidents, with the real processes: killed kernels and their server, a killed study, a cluster of others, a Run that fails."""
import json
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest
from conftest import COMMAND, PLAN, wait_for

from lightvision.study.runner import epochs_done

ARCHS = ["mobilenetv3_small_050", "mobilenetv2_035", "test_resnet"]
LOSSES = ["epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy"]  # all of a history but its clock


def several(archs):
    "A plan of independent Runs."
    head = PLAN.replace("[0, 1]", "[0]").partition("models:")[0]
    return head + "models:\n" + "".join(f"  - {{{{arch: {arch}, weights: scratch}}}}\n" for arch in archs)

def start(*args, cwd): return subprocess.Popen(COMMAND + [str(a) for a in args], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def runs(out): return sorted(p for p in (out/"pool").glob("*") if p.is_dir())

def finished(out): return {p.name: (p/"record.json").read_bytes() for p in runs(out) if (p/"record.json").exists()}

def underway(out, before={}):
    "A Run that has trained more epochs than before, and is not finished."
    return next((r for r in runs(out) if epochs_done(r) > before.get(r, 0) and not (r/"measures.json").exists()), None)

def kernel_of(run):
    "The kernel process that works in a Run's folder, whatever command it is a copy of."
    for p in psutil.process_iter():
        try:
            if Path(p.cwd()) == run.resolve(): return p
        except psutil.Error: pass

def histories(out): return {r.name: pd.read_csv(r/"history.csv")[LOSSES] for r in runs(out)}

def complete(out, n):
    records = pd.read_csv(out/"tiny"/"records.csv")
    assert len(records) == n and records.run.is_unique
    for record in records.itertuples(): assert len(pd.read_csv(out/"pool"/record.run/"history.csv")) == record.epochs
    assert (out/"tiny"/"report.html").exists()
    return records


def test_a_killed_server_a_killed_study_and_a_second_one_lose_nothing(plan, tmp_path, lightvision):
    path, out, reference = plan(several(ARCHS), epochs=8), tmp_path/"out", tmp_path/"reference"

    # 1. The process that all kernels come from dies while they work on Runs, with another Run already finished.
    study = start("study", path, "--out", out, "--workers", 2, cwd=tmp_path)
    wait_for(lambda: len(finished(out)) >= 1, what="a finished Run")
    kernel = wait_for(lambda: (run := underway(out)) and kernel_of(run), what="the kernel of a Run that is underway")
    server = kernel.parent()
    assert server.ppid() == study.pid
    before, epochs = finished(out), {r: epochs_done(r) for r in runs(out)}
    hit = {r.name for r in runs(out) if r.name not in before}
    server.kill()

    # 2. Then the study itself dies, while a Run that was hit goes on.
    run = wait_for(lambda: underway(out, epochs) or study.poll() is not None, what="a Run that goes on")
    assert study.poll() is None, study.communicate()
    family = psutil.Process(study.pid).children(recursive=True)
    before |= finished(out)
    study.send_signal(signal.SIGKILL)
    study.wait()
    wait_for(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family), 200, "the end of its workers and kernels")
    assert set(finished(out)) == set(before) and len(before) < 3

    # 3. Started again, it ends complete, and what was finished was left alone.
    again = lightvision("study", path, "--out", out, "--workers", 2)
    assert again.returncode == 0, again.stderr
    complete(out, 3)
    after = finished(out)
    assert {name: after[name] for name in before} == before

    # 4. A study of the Runs that were hit, elsewhere. A second one in its folder is refused and changes nothing.
    path = plan(several([arch for arch in ARCHS if any(arch in name for name in hit)]), epochs=8)
    study = start("study", path, "--out", reference, "--workers", 2, cwd=tmp_path)
    wait_for(lambda: runs(reference), what="the first Run")
    family = [psutil.Process(study.pid), *psutil.Process(study.pid).children(recursive=True)]
    for p in family: p.suspend() # on a busy machine it could be done before the second has started
    before = {p: p.read_bytes() for p in reference.rglob("*") if p.is_file()}
    second = lightvision("study", path, "--out", reference)
    assert second.returncode == 2 and "another process is working" in second.stderr
    assert {p: p.read_bytes() for p in reference.rglob("*") if p.is_file()} == before
    for p in family: p.resume()
    assert study.wait(800) == 0
    complete(reference, len(hit))

    # 5. All the interruptions left no trace in a single number.
    ours, expected = histories(out), histories(reference)
    assert hit and expected.keys() == hit
    for name in expected: pd.testing.assert_frame_equal(ours[name], expected[name], check_exact=True)


@pytest.mark.long
def test_a_running_cluster_loses_a_worker(plan, tmp_path):
    address, out = tmp_path/"scheduler.json", tmp_path/"out"
    dask = [sys.executable, "-m", "dask"]
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    cluster = [subprocess.Popen(dask + ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(address)], **quiet)]
    try:
        wait_for(lambda: address.exists() and address.read_text().strip(), 300, "the scheduler")
        cluster += [subprocess.Popen(dask + ["worker", "--scheduler-file", str(address), "--nthreads", "1", "--no-dashboard"], **quiet) for _ in range(2)]
        scheduler = json.loads(address.read_text())["address"]
        # one Run, long enough to be caught: on a fast machine an epoch takes a tenth of a second
        study = start("study", plan(several(ARCHS[:1]), epochs=15), "--out", out, "--scheduler", scheduler, cwd=tmp_path)
        kernel = wait_for(lambda: (run := underway(out)) and kernel_of(run), what="the kernel of a Run that is underway")
        kernel.parent().parent().kill() # the server's parent: the worker that this Run was given to
        assert study.wait(800) == 0, study.communicate()
        complete(out, 1)
    finally:
        for p in reversed(cluster): p.terminate()
        for p in cluster: p.wait(100)


def test_a_failed_run_is_reported_and_stops_no_other(plan, tmp_path, lightvision):
    text = """
name: tiny
tasks: [landcover-mini]
seeds: [0]
preset: smoke
per_class: 12
train: {{epochs: 1, batch_size: 16}}
models:
  - {{arch: mobilenetv3_small_050, weights: scratch, train: {{lr: 1.0e+30}}}}
  - {{arch: mobilenetv2_035, weights: scratch, teacher: mobilenetv3_small_050}}
  - {{arch: mobilenetv2_050, weights: scratch}}
"""
    done = lightvision("study", plan(text), "--out", tmp_path/"out")
    assert done.returncode == 1
    records = pd.read_csv(tmp_path/"out"/"tiny"/"records.csv")
    assert records.arch.tolist() == ["mobilenetv2_050"]
    failed = next(line for line in done.stderr.splitlines() if line.startswith("failed: "))
    assert "the loss is not a number" in failed and "lower lr" in failed
    notebook, = (tmp_path/"out"/"pool").glob("*/failed.ipynb")
    assert str(notebook) in failed
    assert "skipped: " in done.stderr and "it needs" in done.stderr
