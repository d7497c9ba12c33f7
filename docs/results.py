"""The data of the results explorer: every Record and every search under paper/evidence, one row for all seeds of one thing."""
from pathlib import Path

import pandas as pd
import yaml

from lightvision.core import show_size
from lightvision.stats.intervals import mean_interval
from lightvision.study.records import read_records

BY = ["study", "task", "arch", "recipe"]
# in these searches TPE was told the divergence of another allocation than it had suggested
LEFT_OUT = {("eurosat-budget", "tpe")}


def recipe_of(search):
    "The name that a search has as a step of a recipe."
    size = show_size(search.budget_bytes).replace(" ", "")
    return f"budget(size={size})" if search.method == "baic" else f"budget(size={size},method={search.method})"


def page_of(folder, run):
    "The page that shows a Run: its executed notebook, else that of its study's searches, else the study's own."
    pages = {f"{run}/run": folder/str(run)/"run.ipynb", "budget": folder/"budget.ipynb"}
    return next((page for page, notebook in pages.items() if notebook.exists()), "index")


def runs(folder):
    "A row a Run and search of one study: what it was, what it cost, what it got, and the page that shows it."
    rows, searched = [], set()
    if (folder/"budget.csv").exists():
        for s in pd.read_csv(folder/"budget.csv").dropna(subset=["bytes"]).itertuples():
            if (folder.name, s.method) in LEFT_OUT: continue
            own = getattr(s, "run", "")
            searched.add(own)
            rows.append(dict(task=s.task, arch=s.arch, recipe=recipe_of(s), seed=s.seed, bytes=s.bytes, format=getattr(s, "format", "safetensors"),
                             accuracy=s.test_accuracy, page=page_of(folder, own)))
    if (folder/"records.csv").exists():
        for r in read_records(folder/"records.csv").itertuples():
            if r.run in searched: continue
            rows.append(dict(task=r.task, arch=r.arch, recipe=r.recipe, seed=r.seed, bytes=getattr(r, "bytes", None), format="safetensors",
                             accuracy=r.test_accuracy, macs=r.macs, page=page_of(folder, r.run)))
    return [dict(study=folder.name, **row) for row in rows]


def about(folder):
    "What a study did, in its own words."
    if (folder/"plan.yaml").exists(): return yaml.safe_load((folder/"plan.yaml").read_text(encoding="utf-8"))["about"]
    return (folder/"README.md").read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


def groups(evidence):
    "A row for all seeds of one study, task, architecture and recipe, with the mean test accuracy and its interval."
    table = pd.DataFrame([row for folder in sorted(p for p in Path(evidence).iterdir() if p.is_dir()) for row in runs(folder)])
    found = []
    for names, group in table.groupby(BY, sort=False):
        mean, low, high = mean_interval(group.accuracy)
        seeds = [dict(seed=int(r.seed), accuracy=round(100*r.accuracy, 2), page=r.page) for r in group.sort_values("seed").itertuples()]
        number = {"bytes": group.bytes.mean(), "macs": group.macs.mean(), "mean": 100*mean, "low": 100*low, "high": 100*high}
        found.append({**dict(zip(BY, names)), "format": group.format.iloc[0], "seeds": seeds,
                      **{k: None if pd.isna(v) else round(float(v), 3) for k, v in number.items()}})
    return found
