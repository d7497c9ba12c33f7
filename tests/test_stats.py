"""Statistics as a study uses them: from Records on disk to a table of verdicts, with what is missing, repeated or misspelt on the way."""
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from lightvision.core import LightVisionError
from lightvision.stats.claims import Claim, check_family, compare, plot_forest, readable_claims
from lightvision.stats.images import (correct_items, mcnemar, probability_of_improvement, score_table,
                                      seeds_and_items, stratified_interval)
from lightvision.stats.seeds import detectable, holm, interval, seeds_needed, sign_flip, tost
from lightvision.training import Predictions
from lightvision.study.plan import Run
from lightvision.study.records import load_predictions, save_predictions

FAMILY = """
- {a: kd, b: finetune}
- {a: kd, b: fp32, kind: match, margin: 2, metric: macro_f1}
- {claim: a small net is as good as a large one, a: small/kd, b: large/fp32, kind: match, margin: 0.5}
"""


def records_of(gains, seeds=8, tasks=("eurosat", "ucmerced"), seed=0):
    "Records of a made-up study; gains: {(arch, recipe): percentage points above 97}."
    rng = np.random.default_rng(seed)
    common = rng.normal(0, .2, seeds)
    rows = [dict(run=f"{t}_{a}_{r}_s{s}", task=t, arch=a, recipe=r, seed=s, synthetic=False,
                 test_accuracy=(97 + gain + common[s] + rng.normal(0, .1))/100, macro_f1=(96 + gain + common[s] + rng.normal(0, .1))/100)
            for t in tasks for (a, r), gain in gains.items() for s in range(seeds)]
    return pd.DataFrame(rows)


GAINS = {("large", "fp32"): 1., ("small", "fp32"): 0., ("small", "finetune"): .1, ("small", "kd"): 1.}


def runs_of(records):
    "The Runs of the plan that these Records are of; statistics read four of their fields."
    unread = {f.name: None for f in dataclasses.fields(Run)}
    return [Run(**{**unread, **{k: getattr(r, k) for k in ("task", "arch", "recipe", "seed")}}) for r in records.itertuples()]


def test_from_yaml_to_verdicts(tmp_path):
    records_of(GAINS).to_csv(tmp_path/"records.csv", index=False)
    records, family = pd.read_csv(tmp_path/"records.csv"), yaml.safe_load(FAMILY)
    table = compare(records, family, runs_of(records))
    assert list(table.claim.value_counts(sort=False)) == [2, 2, 2] # two tasks each
    assert all(v.startswith("holds") for v in table.verdict), table.verdict.tolist()
    assert np.allclose(table.p_holm, holm(table.p))
    assert (table.confidence == [.95, .95, .9, .9, .9, .9]).all()
    assert set(table.arch) == {"small", "small / large"}
    shown = readable_claims(table)
    assert len(shown) == 6 and not shown.isna().any(axis=None)
    plot_forest(table).savefig(tmp_path/"forest.png")
    assert (tmp_path/"forest.png").stat().st_size > 5000


def test_shuffled_records_give_the_same_table():
    records, family = records_of(GAINS), yaml.safe_load(FAMILY)
    shuffled = records.sample(frac=1, random_state=1)
    by = lambda t: t.sort_values(["claim", "task"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(by(compare(records, family)), by(compare(shuffled, family)))


def test_failed_runs_cannot_shrink_the_family():
    records, family = records_of(GAINS), yaml.safe_load(FAMILY)
    partial = records[~((records.task == "ucmerced") & (records.recipe == "kd"))]
    whole, without = compare(partial, family, records), compare(partial, family)
    assert len(whole) == 6 and len(without) == 3
    missing = whole[whole.task == "ucmerced"]
    assert (missing.verdict == "not measured: no seed has both sides").all() and (missing.p == 1).all()
    assert (whole[whole.task == "eurosat"].p_holm.to_numpy() >= without.p_holm.to_numpy()).all()
    assert not readable_claims(whole).isna().any(axis=None)
    plot_forest(whole)


def test_only_shared_seeds_count():
    records = records_of(GAINS, tasks=("eurosat",))
    fewer = records[~((records.recipe == "finetune") & (records.seed < 3))]
    row = compare(fewer, [dict(a="kd", b="finetune")]).iloc[0]
    assert row.seeds == 5 and "cannot be shown with 5 seeds" in row.verdict and "6 seeds are needed" in row.verdict
    assert row.detectable == np.inf and "none" in set(readable_claims(compare(fewer, [dict(a="kd", b="finetune")]))["detectable, pp"])


@pytest.mark.parametrize("seeds", [1, 2])
def test_no_verdict_from_almost_nothing(seeds):
    table = compare(records_of(GAINS, seeds), yaml.safe_load(FAMILY))
    exact = table[table.test == "sign-flip"]
    assert exact.verdict.str.startswith(f"cannot be shown with {seeds} seed").all() and exact.verdict.str.endswith("7 seeds are needed").sum() == 0
    assert seeds_needed(6) == 8 and exact.verdict.str.contains("8 seeds are needed").all()
    if seeds == 1: assert table.low.isna().all() and table.verdict.str.startswith("cannot").all()


def test_records_that_do_not_fit():
    records = records_of(GAINS)
    with pytest.raises(LightVisionError, match="two Records of seed 0"): compare(pd.concat([records, records]), [dict(a="kd", b="finetune")])
    with pytest.raises(LightVisionError, match="no column 'top5'"): compare(records, [dict(a="kd", b="finetune", metric="top5")])
    with pytest.raises(LightVisionError, match="no fraction"): compare(records.assign(test_accuracy=98.), [dict(a="kd", b="finetune")])
    with pytest.raises(LightVisionError, match="no Run has the recipe 'qat8'"): compare(records, [dict(a="qat8", b="fp32")])
    with pytest.raises(LightVisionError, match="no task and architecture"): compare(records, [dict(a="kd", b="fp32", task="trashnet")])


@pytest.mark.parametrize("family", [None, {}, "kd", [None], [["kd"]], [dict(a="kd", b=None)], [dict(a="", b="fp32")], [dict(a="kd", b="fp32", kind="match", margin=True)],
                                    [dict(a="kd", b="fp32", kind="match", margin="0.5")], [dict(a="kd", b="fp32", kind="match", margin=float("nan"))], [{1: 2, "a": "kd", "b": "x"}]])
def test_bad_families_are_named_in_one_line(family):
    with pytest.raises(LightVisionError) as e: check_family(family)
    assert "\n" not in str(e.value) and str(e.value).startswith("family")


def test_claims_survive_being_written_down():
    claims = check_family(yaml.safe_load(FAMILY))
    again = check_family(yaml.safe_load(yaml.safe_dump([dataclasses.asdict(c) for c in claims])))
    assert again == claims and all(isinstance(c, Claim) for c in claims)


def test_extreme_numbers_stay_finite():
    for d in ([0.] * 4, [1e-12] * 6, [100., -100.] * 3, [0., 0., 0., 1e-7]):
        for p in (sign_flip(d), tost(d, .5), tost(d, .5, "sign-flip")): assert 0 < p <= 1
    low, high = interval(np.full(50, .1))
    assert np.isnan(low) and np.isnan(high) # nothing varies
    assert 0 < detectable(2, .1, "t", family=50) < np.inf


def test_predictions_from_disk(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 900)
    def run(name, accuracy, order=None):
        right = rng.random(900) < accuracy
        logits = 5*np.eye(3)[np.where(right, labels, (labels + 1) % 3)]
        names = [f"c{l}/{i}.png" for i, l in enumerate(labels)]
        order = np.arange(900) if order is None else order
        said = Predictions(torch.tensor(labels[order]), torch.tensor(logits[order]), [names[i] for i in order], ["c0", "c1", "c2"])
        save_predictions(tmp_path/name, said)
        return load_predictions(tmp_path/name)
    a, b = [run(f"a{s}.npz", .97) for s in range(4)], [run(f"b{s}.npz", .90) for s in range(4)]
    found = seeds_and_items(a, b)
    assert found["low"] < 7 < found["high"] and found["low"] > 0 and (found["seeds"], found["items"]) == (4, 900)
    right = correct_items([a[0], b[0]])
    assert mcnemar(*right) < .001 and right.shape == (2, 900)
    with pytest.raises(LightVisionError, match="different items"): seeds_and_items(a, [*b[:3], run("shuffled.npz", .9, rng.permutation(900))])


def test_over_tasks():
    records = records_of(GAINS)
    kd, fp32 = (score_table(records[(records.arch == "small") & (records.recipe == r)]) for r in ("kd", "fp32"))
    assert kd.shape == (8, 2)
    chance, (low, high) = probability_of_improvement(kd, fp32), stratified_interval(probability_of_improvement, kd, fp32)
    assert chance > .9 and (np.isnan(low) or low <= chance <= high)
    with pytest.raises(LightVisionError, match="has no test_accuracy on ucmerced"):
        score_table(records[(records.recipe == "kd") & ~((records.task == "ucmerced") & (records.seed == 3))])
