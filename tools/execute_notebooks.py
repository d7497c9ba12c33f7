"""Execute library notebooks in place, so that the figures and outputs stored in them are those of the code beside them.

    python tools/execute_notebooks.py nbs                 all of the folder, in order; notebooks that say skip_exec are left as they are
    python tools/execute_notebooks.py nbs/02_training.ipynb
"""
import sys
from pathlib import Path

from readme import execute


def skipped(path): return "skip_exec: true" in path.read_text(encoding="utf-8")


if __name__ == "__main__":
    for argument in map(Path, sys.argv[1:]):
        for path in [argument] if argument.suffix == ".ipynb" else sorted(argument.glob("*.ipynb")):
            if skipped(path): continue
            print(path, flush=True)
            execute(path)
