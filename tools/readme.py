"""README.md from nbs/index.ipynb: execute it, nbs/measured.ipynb and nbs/supported.ipynb, so that their tables are those of the Records and results beside them, then render the index without hidden cells."""
import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from nbdev.clean import nbdev_clean
from notebooks import option, without_options
from traitlets.config import Config

INDEX, MEASURED, SUPPORTED = (Path(f"nbs/{name}.ipynb") for name in ("index", "measured", "supported"))
NOTE = "<!-- Made from nbs/index.ipynb by `make readme`; edit there. -->\n\n"


def of_any_machine(outputs):
    "Outputs without stderr, temporary folders and addresses: what is stored says nothing about the machine that executed it."
    for o in outputs:
        if o.output_type == "stream": o.text = re.sub(r"/tmp/tmp\w+/", "", re.sub(r"(?<=http://)[\d.]+:\d+", "127.0.0.1:8787", o.text))
    return [o for o in outputs if o.get("name") != "stderr"]


def execute(path):
    "Execute a notebook in place, and clean it."
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm's advice names a path of this machine
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for cells that call the command
    nb = nbformat.read(path, as_version=4)
    sharp = ["--InlineBackend.figure_formats={'retina'}"]  # figures with twice as many pixels, as nbdev makes them
    client = NotebookClient(nb, timeout=1800, kernel_name="python3", coalesce_streams=True, resources={"metadata": {"path": str(path.parent)}}, extra_arguments=sharp)
    client.execute()
    for cell in nb.cells:
        if cell.cell_type == "code": cell.outputs = of_any_machine(cell.outputs)
    nbformat.write(nb, path)
    nbdev_clean(str(path))


def render(path):
    "The notebook's text, code and results as Markdown; `#| hide` drops a cell, `#| echo: false` its code."
    nb = nbformat.read(path, as_version=4)
    nb.cells = [cell for cell in nb.cells if cell.source.strip() and not option(cell, "hide")]
    for cell in nb.cells:
        if option(cell, "echo: false"): cell.metadata["tags"] = ["no-input"]
        if cell.cell_type == "code": cell.source = without_options(cell.source)
    exporter = MarkdownExporter(config=Config({"TagRemovePreprocessor": {"enabled": True, "remove_input_tags": {"no-input"}}}))
    text, _ = exporter.from_notebook_node(nb)
    text = re.sub(r"[ \t]+$", "", text, flags=re.M)
    return NOTE + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


if __name__ == "__main__":
    for page in (INDEX, MEASURED, SUPPORTED): execute(page)
    Path("README.md").write_text(render(INDEX), encoding="utf-8")
