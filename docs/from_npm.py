"""What the site takes from npm: MathJax, and ONNX Runtime for the browser demo. Versions are pinned and files checked."""
import importlib.util
from pathlib import Path

from lightvision.data.datasets import get_task

ROOT = Path(__file__).resolve().parents[1]
MATHJAX = ("mathjax", "3.2.2", {"es5/tex-svg.js": "d4295dc33744836935c1399feece5159577b34c5c8ffb9f1c6324cd82e03a882"})


def browser_build():
    "deploy/browser/build.py as a module."
    spec = importlib.util.spec_from_file_location("browser_build", ROOT/"deploy"/"browser"/"build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mathjax(folder):
    "Write MathJax there: one file, which holds its glyphs."
    for name, content in browser_build().fetch(*MATHJAX).items(): (folder/name).write_bytes(content)


def demo(out):
    "Make the browser page with all of zoo/ and compare/, and synthetic examples."
    page = browser_build()
    page.build(page.zoo() + page.compared(), out, get_task("landcover-mini"))
