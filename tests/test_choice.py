"""The choice as a user makes it: from Records and predictions to a front, an advice and a page, with measurements of devices joined or refused."""
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lightvision.core import LightVisionError
from lightvision.study.breakdown import against_controls, class_changes, loss_by_task
from lightvision.study.pareto import (Candidates, add_measurements, candidates, front, join_measured, pareto,
                                      readable_advice, recommend, redraw, round_budgets)
from lightvision.study.plan import expand, load_plan
from lightvision.study.records import read_records
from lightvision.study.report import write_report

EVIDENCE = Path(__file__).resolve().parents[1]/"paper"/"evidence"/"eurosat-compression"

PLAN = """
name: tiny
about: Made up for a test.
tasks: [landcover-mini]
seeds: [0, 1]
models:
  - {arch: mobilenetv2_100, weights: scratch}
recipes: [fp32, qat4, qat2]
"""


@pytest.fixture
def evidence():
    records = read_records(EVIDENCE/"records.csv")
    return records[(records.arch == "mobilenetv2_100") & records.recipe.isin(["fp32", "qat4", "qat2"])]


def made_up(rows, seeds=3):
    "rows: recipe, bytes, validation and test accuracy, the same with every seed."
    return pd.DataFrame([dict(run=f"{r}_s{s}", task="t", arch="net", recipe=r, seed=s, bytes=b, macs=b, val_accuracy=v, test_accuracy=t)
                         for r, b, v, t in rows for s in range(seeds)])


ROWS = [("fp32", 4e6, .95, .94), ("qat8", 1e6, .94, .95), ("prune50", 2e6, .90, .90), ("qat4", .5e6, .93, .91)]


def test_pareto_by_hand():
    table = pd.DataFrame(dict(cost=[4, 1, 2, .5, .5, np.nan], test_accuracy=[.94, .95, .90, .91, .92, .99]))
    assert pareto(table, "cost").tolist() == [False, True, False, False, True, False]
    assert pareto(table.assign(loss=1 - table.test_accuracy), "loss", "cost").tolist() == [True, True, False, False, False, False]  # any two columns


def test_validation_chooses_and_test_does_not():
    chosen = lambda rows: recommend(candidates(made_up(rows)), [{"bytes": 5e6}]).iloc[0]
    assert chosen(ROWS)["name"] == "net/fp32" and chosen(ROWS).confidence == 0
    worse_test = [(r, b, v, t - .5*(r == "fp32")) for r, b, v, t in ROWS]
    assert chosen(worse_test)["name"] == "net/fp32"
    better_validation = [(r, b, v + .02*(r == "qat8"), t) for r, b, v, t in ROWS]
    assert chosen(better_validation)["name"] == "net/qat8" and chosen(better_validation).confidence == 1 and chosen(better_validation).second == "net/fp32"


def test_of_equals_the_smaller_file():
    rows = [("large", 4e6, .9, .9), ("small", 1e6, .9, .9)]
    assert recommend(candidates(made_up(rows)), [{"bytes": 5e6}]).name[0] == "net/small"


def test_confidence_is_one_for_what_always_wins_and_a_half_for_twins():
    rng = np.random.default_rng(0)
    item = rng.random((1, 5, 600)) < .8
    table = pd.DataFrame(dict(name=["a", "b"], val_accuracy=[.9, .8], test_accuracy=[.9, .8], low=np.nan, high=np.nan, bytes=[2., 2.]))
    always = Candidates(table, np.concatenate([item | (np.arange(600) < 200), item & (np.arange(600) >= 200)]).astype(float))
    assert recommend(always, [{"bytes": 2}]).confidence[0] == 1 and front(always, "bytes").share.tolist() == [1, 0]
    twins = Candidates(table, np.concatenate([item, item]).astype(float))
    assert recommend(twins, [{"bytes": 2}]).confidence[0] == .5 and front(twins, "bytes").share.tolist() == [1, 1]


def test_one_seed_has_no_confidence():
    choice = candidates(made_up(ROWS, seeds=1))
    assert np.isnan(redraw(choice.scores)).all() and front(choice, "bytes").share.isna().all() and choice.table.low.isna().all()
    advice = recommend(choice, [{"bytes": 5e6}, {"bytes": 1}])
    assert advice.confidence.isna().all() and advice.d_low.isna().all() and advice.name[0] == "net/fp32"
    assert readable_advice(advice)["take"].tolist() == ["net/fp32", "nothing fits"]


def test_evidence_of_the_study(evidence):
    choice = candidates(evidence, EVIDENCE)
    assert choice.scores.shape == (3, 2, 5400)
    assert np.allclose(choice.scores.mean((1, 2)), evidence.groupby("recipe", sort=False).test_accuracy.mean(), atol=1/5400)  # probabilities were stored as float16
    assert ((choice.table.low < choice.table.test_accuracy) & (choice.table.test_accuracy < choice.table.high)).all()
    advice = recommend(choice, [{"bytes": b} for b in round_budgets(choice.table.bytes)])
    best = evidence.groupby("recipe").agg(bytes=("bytes", "max"), val=("val_accuracy", "mean"))
    for row in advice.itertuples():
        fits = best[best.bytes <= row.budget["bytes"]]
        assert row.fit == len(fits) and (not len(fits) or row[3] == "mobilenetv2_100/" + fits.val.idxmax())
    changes = class_changes(choice, EVIDENCE, choice.table.name)["mobilenetv2_100"]
    assert list(changes) == ["qat4", "qat2"]  # the order of the Records; fp32 has nothing to be set against
    overall = against_controls(choice).set_index("recipe").difference
    for recipe, table in changes.items(): assert np.isclose((table.difference*table["items"]).sum()/table["items"].sum(), overall[recipe])


def test_loss_by_task_by_hand():
    two = pd.concat([made_up(ROWS), made_up(ROWS).assign(task="u", test_accuracy=lambda t: t.test_accuracy - .02*(t.recipe == "qat4"))])
    table = loss_by_task(two).set_index("name")
    assert np.allclose(table.loc["net/qat4", ["t", "u", "mean", "range"]].astype(float), [-3, -5, -4, 2])
    assert "net/fp32" not in table.index
    assert "net/qat8" not in loss_by_task(two[~((two.task == "u") & (two.recipe == "qat8"))]).name.tolist()


@pytest.mark.parametrize("mend, words", [
    (lambda r: pd.concat([r, r]), "two Records of net/fp32, seed 0"),
    (lambda r: pd.concat([r, r.assign(task="u")]), "one task, not of t, u"),
])
def test_records_that_are_no_choice(mend, words):
    with pytest.raises(LightVisionError, match=words): candidates(mend(made_up(ROWS)))
    with pytest.raises(LightVisionError, match="no cost 'watts' is known here; there are: bytes; macs"): recommend(candidates(made_up(ROWS)), [{"watts": 1}])


def test_measurements_join_by_name_and_leave_out_what_does_not_compare(tmp_path):
    records = made_up(ROWS)
    pd.DataFrame([dict(artifact=f"{run}.onnx", runtime="onnxruntime", threads=t, batch=1, quiet=q, host="cpu", p50_ms=ms)
                  for run, t, q, ms in [("fp32_s0", 1, True, 8.), ("fp32_s0", 2, True, 4.), ("qat8_s1", 1, True, 5.), ("qat4_s0", 1, False, 1.), ("other_study", 1, True, 1.)]]
                 ).to_csv(tmp_path/"latency.csv", index=False)
    joined, notes = add_measurements(records, tmp_path)
    cost = "median latency, ms: cpu, onnxruntime"
    assert joined.set_index("run")[cost].dropna().to_dict() == {"fp32_s0": 8, "qat8_s1": 5}
    assert notes == ["2 of 5 rows of latency.csv are left out: several threads or images a call, a busy machine or an emulated one.", "Not measured: instructions."]
    assert recommend(candidates(joined), [{"bytes": 5e6, cost: 6}]).name[0] == "net/qat8"
    for broken, word in ((lambda t: t.drop(columns="runtime"), "no column 'runtime'"), (lambda t: t.assign(artifact="model.onnx"), "--name fp32_s0")):
        with pytest.raises(LightVisionError, match=word): join_measured(records, broken(pd.read_csv(tmp_path/"latency.csv")), "latency.csv")


def device_json(path, artifacts, **device):
    rows = [dict(artifact=a, runtime="onnxruntime", threads=1, batch=1, p50_ms=7.5 + i, p50_low=7., p50_high=9., p99_ms=12.) for i, a in enumerate(artifacts)]
    path.write_text(json.dumps(dict(format="lightvision-device-1", device=dict(device="A board", emulated=False, quiet=True, measured="2026-01-01T00:00:00Z", **device), rows=rows)))
    return path


def test_results_writes_the_choices_with_what_a_device_measured(lightvision, refused, evidence, tmp_path):
    path, pool = tmp_path/"tiny.yaml", tmp_path/"runs"/"pool"
    path.write_text(PLAN)
    runs = expand(load_plan(path))
    for run in runs:  # as if these Runs had been made: the evidence under their names
        record = evidence[(evidence.recipe == run.recipe) & (evidence.seed == run.seed)].iloc[0].dropna()
        shutil.copytree(EVIDENCE/record.run, pool/run.name)
        (pool/run.name/"record.json").write_text(json.dumps({**json.loads((EVIDENCE/record.run/"record.json").read_text()), "run": run.name, "task": run.task, "notebook": f"{run.name}/run.ipynb"}))

    for file, words in ((tmp_path/"nowhere.json", "cannot be read"), (path, "no result of bench_device.py"), (device_json(tmp_path/"b.json", ["model.onnx"]), f"--name {runs[0].name}")):
        done = refused("results", path, "--devices", file)
        assert done.returncode == 2
        line, = done.stderr.strip().splitlines()
        assert line.startswith("lightvision: ") and words in line, line
        assert not (tmp_path/"runs"/"tiny").exists()

    done = lightvision("results", path, "--devices", device_json(tmp_path/"a.json", [f"{r.name}.onnx" for r in runs[:3]]), "--evidence", tmp_path/"evidence")
    assert done.returncode == 0, done.stderr
    folder = tmp_path/"runs"/"tiny"
    assert str(folder/"report.html") in done.stdout and str(folder/"choices.html") in done.stdout
    assert len(pd.read_csv(folder/"devices.csv")) == 3
    page = (folder/"choices.html").read_text()
    for said in ("A board", "mobilenetv2_100/qat4", "Not measured: instructions", "median latency, ms: A board, onnxruntime", "one task"): assert said in page, said
    for trace in ("src=\"http", "href=\"http", "<script", "@import", "url(http", "Traceback", str(tmp_path)): assert trace not in page
    for name in ("choices.html", "devices.csv"): assert (tmp_path/"evidence"/"tiny"/name).exists()


def test_choices_of_a_study_with_one_run(evidence, tmp_path):
    one = evidence.iloc[:1]
    one.to_csv(tmp_path/"records.csv", index=False)
    page = write_report(tmp_path, EVIDENCE, "one", notebook="choices").read_text()
    for said in ("fewer than two candidates", "One seed does not tell", "Not measured: latency and instructions", "no candidate has a control"): assert said in page, said
