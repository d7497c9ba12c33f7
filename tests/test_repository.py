"""What the repository promises about itself."""
import json
import re
import subprocess
import sys
from pathlib import Path

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
        for name in (m for cell in cells for m in re.findall(r"^(?:from|import) (lightvision\.[\w.]+)", cell, flags=re.M)):
            assert name in order or any(o.startswith(f"{name}.") for o in order), f"{path.name} imports {name}, which no earlier notebook exports"
        for cell in cells:
            if m := re.search(r"^#\| *default_exp ([\w.]+)", cell, flags=re.M): order[f"lightvision.{m[1]}"] = path.name


def test_evidence_is_whole_and_names_no_machine():
    from lightvision.study.report import check_evidence
    for manifest in (ROOT/"paper"/"evidence").glob("*/manifest.json"):
        assert check_evidence(manifest.parent) == []
        for notebook in manifest.parent.rglob("*.ipynb"): assert not re.search(r"/(home|root|work|Users|tmp)/\w", notebook.read_text()), notebook
