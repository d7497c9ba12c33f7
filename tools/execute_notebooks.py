"""Execute library notebooks in place, so that the figures and outputs stored in them are those of the code beside them.

    python tools/execute_notebooks.py nbs                 all of the folder, in order; notebooks that say skip_exec are left as they are
    python tools/execute_notebooks.py nbs/02_training.ipynb
"""
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean


def execute(path):
    nb = nbformat.read(path, as_version=4)
    if any("skip_exec: true" in cell.source for cell in nb.cells[:2]): return
    print(path, flush=True)
    NotebookClient(nb, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    nbformat.write(nb, path)
    nbdev_clean(str(path))


if __name__ == "__main__":
    for argument in map(Path, sys.argv[1:]):
        for path in [argument] if argument.suffix == ".ipynb" else sorted(argument.glob("*.ipynb")): execute(path)
