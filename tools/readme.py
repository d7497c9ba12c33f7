"""README.md from nbs/index.ipynb: the notebook's text, code and printed results, without hidden cells."""
import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

NOTE = "<!-- Made from nbs/index.ipynb by `make readme`; edit there. -->\n\n"


def visible(cell):
    return not re.match(r"#\|\s*(hide|default_exp|skip_showdoc)\b", cell.source)


def main():
    nb = nbformat.read("nbs/index.ipynb", as_version=4)
    nb.cells = [cell for cell in nb.cells if cell.source.strip() and visible(cell)]
    for cell in nb.cells: cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M)
    text, _ = MarkdownExporter().from_notebook_node(nb)
    text = re.sub(r"[ \t]+$", "", text, flags=re.M)
    Path("README.md").write_text(NOTE + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n", encoding="utf-8")


if __name__ == "__main__": main()
