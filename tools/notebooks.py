"""Which notebooks a reader sees, and what the directives in their cells say."""
import re
from pathlib import Path


def library(root=Path(".")):
    "The library notebooks in reading order, then the tutorials."
    return [*sorted((root/"nbs").glob("*.ipynb")), *sorted((root/"nbs"/"tutorials").glob("*.ipynb"))]


def option(cell, name): return cell.cell_type == "code" and re.search(rf"^#\| *{name}\b", cell.source, flags=re.M)


def without_options(source): return re.sub(r"^#\|.*\n?", "", source, flags=re.M)
