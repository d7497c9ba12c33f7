"""What the repository promises about itself."""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/"tools"))
from torchvision_cpu import Repair, needs_repair  # noqa: E402

if Repair in sys.meta_path: sys.meta_path.remove(Repair)  # importing it for a test shall not install it twice


def test_torchvision_works_here():
    code = "import torchvision.transforms.v2, torchvision.datasets, torchvision.models, timm; print('works')"
    assert "works" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout


@pytest.mark.parametrize("text, cuda, needed", [("__version__ = '0.28.0+cu130'", None, True), ("__version__ = '0.28.0+cu130'", "13.0", False),
                                                ("__version__ = '0.28.0+cpu'", None, False), ("__version__ = '0.28.0'", None, False)])
def test_the_repair_does_nothing_where_builds_match(text, cuda, needed): assert needs_repair(text, cuda) is needed


def test_experiment_notebooks_keep_their_parameters_tag():
    for path in [ROOT/"nbs/experiments/run.ipynb", ROOT/"nbs/results/summary.ipynb"]:
        cells = json.loads(path.read_text())["cells"]
        assert sum("parameters" in c["metadata"].get("tags", []) for c in cells) == 1, path


def test_the_git_filter_cleans_and_loses_nothing():
    notebook = json.loads((ROOT/"nbs/experiments/run.ipynb").read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code": cell["execution_count"] = 7
    dirty = json.dumps(notebook)
    clean = subprocess.run([sys.executable, "tools/clean_stdin.py"], input=dirty, capture_output=True, text=True, cwd=ROOT).stdout
    assert clean == (ROOT/"nbs/experiments/run.ipynb").read_text()
    other = "no notebook at all"
    assert subprocess.run([sys.executable, "tools/clean_stdin.py"], input=other, capture_output=True, text=True, cwd=ROOT).stdout == other


def test_imports_run_downhill():
    "A notebook imports only modules of notebooks that come before it; the floors of the house are checked by `make check`."
    order = {}
    for path in sorted((ROOT/"nbs").glob("[0-9]*.ipynb")):
        cells = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
        own = {f"lightvision.{m}" for cell in cells for m in re.findall(r"^#\| *default_exp ([\w.]+)", cell, flags=re.M)}
        for name in (m for cell in cells for m in re.findall(r"^(?:from|import) (lightvision\.[\w.]+)", cell, flags=re.M)):
            assert name in order or name in own or any(o.startswith(f"{name}.") for o in order), f"{path.name} imports {name}, which no earlier notebook exports"
        for cell in cells:
            if m := re.search(r"^#\| *default_exp ([\w.]+)", cell, flags=re.M): order[f"lightvision.{m[1]}"] = path.name


def test_evidence_is_whole_and_names_no_machine():
    from lightvision.study.report import check_evidence
    for manifest in (ROOT/"paper"/"evidence").glob("*/manifest.json"):
        assert check_evidence(manifest.parent) == []
        for notebook in manifest.parent.rglob("*.ipynb"): assert not re.search(r"/(home|root|work|Users|tmp)/\w", notebook.read_text()), notebook


def notebook_of(*cells):
    "A notebook of code cells, each (source, what is stored as printed)."
    def cell(source, printed):
        outputs = [dict(output_type="stream", name="stdout", text=printed)] if printed else []
        return dict(cell_type="code", execution_count=None, id=f"c{hash(source) % 10**6}", metadata={}, outputs=outputs, source=source)
    return json.dumps(dict(cells=[cell(*c) for c in cells], metadata={}, nbformat=4, nbformat_minor=5))


def test_an_import_from_a_floor_above_is_noticed(tmp_path):
    shutil.copytree(ROOT/"lightvision", tmp_path/"lightvision", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT/".importlinter", tmp_path)
    lint = [str(Path(sys.executable).parent/"lint-imports"), "--no-logo", "--no-cache"]

    def call(): return subprocess.run(lint, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert call().returncode == 0
    path = tmp_path/"lightvision"/"core.py"
    path.write_text(path.read_text() + "\nfrom lightvision.training import fit\n")
    done = call()
    assert done.returncode and "lightvision.core" in done.stdout and "lightvision.training" in done.stdout


@pytest.mark.parametrize("cells, kind", [
    ([("#| export\ndef f(): pass", ""), ("#| export\ndef g(): pass", ""), ("f(); g()", "")], "no example"),
    ([("#| export\ndef f(): pass\ndef g(): pass", ""), ("f(); g()", "")], "several exports"),
    ([("#| export\ndef f(x): pass", ""), ("f(1)", "")], "no docment"),
    ([("x = 1\n"*41, "")], "long cell"),
    ([(f"x = '{'a'*120}'", "")], "wide line"),
    ([("#| export\ndef f(\n    x, # a number\n): pass", ""), ("f(1)", "")], None),
    ([("#| export\nclass A: pass", ""), ("#| export\n@patch\ndef f(self: A): pass", ""), ("A().f()", "")], None),
    ([("#| export\nclass A: pass", ""), ("#| export\n@patch\ndef f(self: B): pass", ""), ("A()", "")], "no example"),
])
def test_the_cell_check_notices(tmp_path, cells, kind):
    from check_cells import findings
    (tmp_path/"a.ipynb").write_text(notebook_of(*cells))
    assert [k for k, *_ in findings(tmp_path/"a.ipynb")] == ([kind] if kind else [])


def test_an_unused_import_is_noticed(tmp_path, monkeypatch):
    from check_generated import unused_imports
    (tmp_path/"lightvision").mkdir()
    (tmp_path/"lightvision"/"a.py").write_text("import os\nfrom math import pi, tau as turn\nimport json # noqa: F401\nprint(pi)\n")
    monkeypatch.chdir(tmp_path)
    assert [found.split(": ")[1] for found in unused_imports()] == ["os", "turn"]


def test_words_that_say_nothing_do_not_count():
    from test_notebooks import words
    def printed(text): return [dict(output_type="stream", name="stdout", text=text)]
    assert words(printed("net_s0_e1635... at 0x7f3a 12.5 ms")) == words(printed("net_s0_34d58... at 0x7f3b 3 ms"))
    assert words(printed("net_s0 red")) != words(printed("net_s0 blue"))


def test_the_output_check_notices(tmp_path):
    from test_notebooks import run
    (tmp_path/"a.ipynb").write_text(notebook_of(("print('took 3 ms')", "took 12.5 ms\n"), ("print('blue')", "red\n"), ("#| slow\nraise", "")))
    _, error, stale = run(tmp_path/"a.ipynb", renew=False)
    assert not error and stale == [(1, "red\n", "blue\n")]
    _, error, _ = run(tmp_path/"a.ipynb", renew=True)
    assert json.loads((tmp_path/"a.ipynb").read_text())["cells"][2]["outputs"] == []
    assert run(tmp_path/"a.ipynb", renew=False)[1:] == ("", [])
    (tmp_path/"b.ipynb").write_text(notebook_of(("1/0", "")))
    assert "ZeroDivisionError" in run(tmp_path/"b.ipynb", renew=False)[1]


def test_the_first_hour_of_contributing_works_as_written(tmp_path):
    section = (ROOT/"CONTRIBUTING.md").read_text().split("## The first hour")[1].split("\n## ")[0]
    cell, plan, commands = (re.search(rf"```{kind}\n(.*?)```", section, re.S)[1] for kind in ("python", "yaml", "sh"))
    for name in ("nbs", "lightvision", "settings.ini"):
        copy = shutil.copytree if (ROOT/name).is_dir() else shutil.copy
        copy(ROOT/name, tmp_path/name)
    notebook = tmp_path/"nbs"/"03_distillation.ipynb"
    nb = json.loads(notebook.read_text())
    at = next(i for i, c in enumerate(nb["cells"]) if "\nLOSSES = " in "".join(c["source"]))
    nb["cells"].insert(at + 1, dict(cell_type="code", execution_count=None, id="mine", metadata={}, outputs=[], source=cell))
    notebook.write_text(json.dumps(nb))
    (tmp_path/"my-first.yaml").write_text(plan)
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands.splitlines():
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=1500)
        assert done.returncode == 0, done.stdout + done.stderr
    records = pd.read_csv(tmp_path/"runs"/"my-first"/"records.csv")
    assert (records.recipe == "distill(loss=mse)").sum() == 1 and len(records) == 4
    assert (tmp_path/"runs"/"my-first"/"report.html").exists()


def test_the_script_for_a_gpu_says_what_it_cannot_do(tmp_path):
    script = [sys.executable, ROOT/"tools"/"gpu_check.py", "--tiny", "--out", tmp_path]
    done = subprocess.run([*script, "study"], capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["found"] == "no --study given"
    assert json.loads((tmp_path/"gpu_check.jsonl").read_text())["part"] == "study"
    assert "no part speeed: use speed" in subprocess.run([*script, "speeed"], capture_output=True, text=True).stderr


@pytest.mark.long
def test_the_script_for_a_gpu_is_rehearsed_on_a_cpu(tmp_path):
    done = subprocess.run([sys.executable, ROOT/"tools"/"gpu_check.py", "--tiny", "--out", tmp_path, "speed", "equal", "compile", "together"], capture_output=True, text=True)
    found = {line["part"]: line["found"] for line in map(json.loads, done.stdout.splitlines())}
    assert found["equal"]["same_seed_same_bits"] and found["equal"]["graph_as_plain"]
    assert found["together"]["four"] > 0 and found["compile"]["compiled"] > 0 and found["speed"][0]["loop"] == "lightvision"
