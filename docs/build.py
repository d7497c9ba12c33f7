"""The website, from the notebooks and the evidence: `make docs`, or

    python docs/build.py [--out _docs] [--without-demo]

The notebooks are not executed again: what they show is stored in them, and CI compares it with today's code. (`nbdev_proc_nbs` would
execute every cell that holds an import.) The browser demo and MathJax come from npm, once.
"""
import argparse
import json
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT/"tools")]

import api
import results
from from_npm import demo, mathjax
from lightvision.core import LightVisionError
from lightvision.data.folders import building
from notebooks import library, option, without_options

REPOSITORY = "https://github.com/lightvision/lightvision/blob/main/"
LINK = re.compile(r"(?<=\]\()([^)#\s]+)")
PARTS = {  # caption in the sidebar -> pages; of notebooks all that begin so
    "Start": ["quickstart", "walkthrough", "nbs/tutorials/*"],
    "Foundations and data": ["nbs/00*"], "Networks and training": ["nbs/01*", "nbs/02_*", "nbs/02a*", "nbs/02c*", "nbs/02d*"],
    "Compression": ["nbs/02b*", "nbs/03*", "nbs/04*", "nbs/05*", "nbs/06*"], "Statistics": ["nbs/07*"],
    "Devices": ["nbs/08*", "devices/desktop", "devices/raspberry_pi", "devices/microcontroller",
                "devices/android", "devices/browser"], "Measurement": ["nbs/09*"], "Explanations": ["nbs/10*"],
    "Studies": ["nbs/11*", "nbs/12*", "nbs/13*"],
    "Results": ["results", "measured", "transformers", "inside", "gallery", "places", "supported",
                "evidence/index"],
    "Reference": ["api/index", "glossary", "contributing"]}
PAGES = {  # file of the repository -> its page
    "nbs/index.ipynb": "index.ipynb", "README.md": "index.ipynb", "CONTRIBUTING.md": "contributing.md",
    "deploy/desktop/README.md": "devices/desktop.md", "deploy/raspberry_pi/README.md": "devices/raspberry_pi.md",
    "deploy/microcontroller/README.md": "devices/microcontroller.md",
    "deploy/android/README.md": "devices/android.md", "deploy/browser/README.md": "devices/browser.md",
    "paper/evidence": "evidence/index.md"}


def pages_of(pattern):
    "The pages that an entry of PARTS names."
    if not pattern.startswith("nbs/"): return [pattern]
    return [p.relative_to(ROOT/"nbs").with_suffix("").as_posix() for p in sorted(ROOT.glob(pattern + ".ipynb"))]


def page_at(path):
    "Where the site shows a file of the repository; None: nowhere."
    if path in PAGES: return PAGES[path]
    if path.startswith("nbs/diagrams/") or path == "nbs/accuracy_by_size.svg": return path.removeprefix("nbs/")
    if path.startswith("docs/static/"): return path.removeprefix("docs/")
    if re.fullmatch(r"nbs/(tutorials/)?[^/]+\.ipynb", path): return path.removeprefix("nbs/")
    if re.fullmatch(r"paper/evidence/.+\.(ipynb|html)", path): return path.removeprefix("paper/")
    if re.fullmatch(r"paper/evidence/[^/]+", path): return path.removeprefix("paper/") + "/index.md"


def relink(text, folder, page):
    "Links of a file that lies in `folder` of the repository, for the page: to a page of the site, or to the file where it is published."
    def moved(match):
        if re.match(r"[a-z]+:", match[1]): return match[1]
        path = posixpath.normpath(posixpath.join(folder, match[1]))
        if not (ROOT/path).exists(): return match[1]
        there = page_at(path)
        return posixpath.relpath(there, posixpath.dirname(page) or ".") if there else REPOSITORY + path
    return LINK.sub(moved, text)


def as_html(text):
    "Links in outputs, which Sphinx takes as they are."
    return re.sub(r"\]\((?!https?:)([^)\s]+)\.(?:ipynb|md)(#[^)]*)?\)", r"](\1.html\2)", text)


def chapter(source, page, folder="nbs"):
    "A notebook as a page: without hidden cells, directives and what went to stderr."
    nb = nbformat.read(source, as_version=4)
    nb.metadata["language_info"] = dict(name="python", pygments_lexer="ipython3")  # cleaned notebooks have none
    nb.cells = [c for c in nb.cells if c.source.strip() and c.cell_type != "raw" and not option(c, "hide") and not option(c, "default_exp")]
    for cell in nb.cells:
        if cell.cell_type == "markdown": cell.source = relink(cell.source, folder, page)
        if cell.cell_type != "code": continue
        tags = ["remove-input"] if option(cell, "echo: false") else ["hide-input"] if option(cell, "code-fold: true") else []
        cell.metadata, cell.source = nbformat.from_dict({"tags": tags}), without_options(cell.source).strip("\n")
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for o in cell.outputs:
            if "text/markdown" in o.get("data", {}): o.data["text/markdown"] = as_html(relink(o.data["text/markdown"], folder, page))
    return nb


def landing(nb, has_demo):
    "The front page: README's text, its figure as one that answers, the demo, and the table of contents."
    for cell in nb.cells:
        if cell.source.startswith("![Test accuracy"):
            cell.source = (HERE/"figure.md").read_text(encoding="utf-8").replace("FALLBACK", cell.source)
    trees = []
    for caption, patterns in PARTS.items():
        pages = "\n".join(p for pattern in patterns for p in pages_of(pattern))
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```")
    if has_demo:
        install = next(i for i, cell in enumerate(nb.cells) if cell.source.startswith("## Install"))
        nb.cells.insert(install, nbformat.v4.new_markdown_cell((HERE/"demo.md").read_text(encoding="utf-8")))
    nb.cells.append(nbformat.v4.new_markdown_cell("\n\n".join(trees)))
    return nb


def evidence(folder):
    "Every executed notebook as a page, reports as they are, and a list of the studies."
    listed = []
    for study in sorted(p for p in (ROOT/"paper"/"evidence").iterdir() if p.is_dir()):
        own, found = folder/study.name, sorted(study.glob("**/*.ipynb"))
        own.mkdir(parents=True)
        for path in found:
            page = f"evidence/{path.relative_to(study.parent).as_posix()}"
            nb = chapter(path, page, path.parent.relative_to(ROOT).as_posix())
            nb.metadata.update(orphan=True, nosearch=True)
            (folder.parent/page).parent.mkdir(parents=True, exist_ok=True)
            if path.name == "run.ipynb": nb.cells[0].source = re.sub("^# .*", f"# {path.parent.name}", nb.cells[0].source)
            nbformat.write(nb, folder.parent/page)
        links = [f"- [{p.parent.name if p.name == 'run.ipynb' else p.stem}]({p.relative_to(study).as_posix()})" for p in found]
        links += [f"- <a href=\"{p.name}\">{p.stem} as one page</a>" for p in sorted(study.glob("*.html"))]
        readme = study/"README.md"
        text = relink(readme.read_text(encoding="utf-8"), f"paper/evidence/{study.name}", f"evidence/{study.name}/index.md") if readme.exists() else f"# {study.name}\n\n{results.about(study)}\n"
        files = f"\nRecords, predictions and manifest: [`paper/evidence/{study.name}`]({REPOSITORY}paper/evidence/{study.name}).\n"
        (own/"index.md").write_text(text + files + ("\n## Executed notebooks\n\n" + "\n".join(links) + "\n" if links else ""), encoding="utf-8")
        listed.append((study.name, results.about(study), len(found)))
    rows = "\n".join(f"| [{name}]({name}/index.md) | {about} | {count} |" for name, about, count in listed)
    tree = "\n".join(f"{name}/index" for name, *_ in listed)
    (folder/"index.md").write_text(
        "# Evidence\n\nWhere the numbers on these pages come from. A study's page lists its executed notebooks, and what else it left.\n\n"
        f"| study | what was done | notebooks |\n|---|---|---|\n{rows}\n\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n", encoding="utf-8")


def sources(folder, has_demo):
    "Everything that Sphinx reads."
    for path in library(ROOT):
        page = path.relative_to(ROOT/"nbs").as_posix()
        index = path.name == "index.ipynb"
        nb = chapter(path, page, "" if index else path.parent.relative_to(ROOT).as_posix())
        (folder/page).parent.mkdir(exist_ok=True)
        nbformat.write(landing(nb, has_demo) if index else nb, folder/page)
    for file, page in PAGES.items():
        if not (file.endswith(".md") and page.endswith(".md")): continue
        (folder/page).parent.mkdir(exist_ok=True)
        (folder/page).write_text(relink((ROOT/file).read_text(encoding="utf-8"), posixpath.dirname(file), page), encoding="utf-8")
    shutil.copytree(ROOT/"nbs"/"diagrams", folder/"diagrams")
    shutil.copy(ROOT/"nbs"/"accuracy_by_size.svg", folder)
    shutil.copy(HERE/"results.md", folder)
    shutil.copytree(HERE/"static", folder/"static")
    shutil.copy(ROOT/"deploy"/"browser"/"icon.svg", folder/"static")
    data = dict(groups=results.groups(ROOT/"paper"/"evidence"))
    (folder/"static"/"results.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    evidence(folder/"evidence")
    api.write_pages(folder/"api")


def build(out, with_demo=True):
    "Make the site in `out`; one that was there is replaced when the new one is whole."
    if out.exists() and not (out/"searchindex.js").exists(): raise LightVisionError(f"{out} holds something else: choose another --out")
    work = ROOT/"build"/"site"
    shutil.rmtree(work, ignore_errors=True)
    source = work/"source"
    source.mkdir(parents=True)
    sources(source, with_demo)
    (source/"static"/"mathjax").mkdir()
    mathjax(source/"static"/"mathjax")
    shutil.copy(HERE/"conf.py", source)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "auto", "-b", "html", source, work/"html"]
    subprocess.run(command, check=True)
    for path in ROOT.glob("paper/evidence/*/*.html"): shutil.copy(path, work/"html"/"evidence"/path.parent.name)
    if with_demo: demo(work/"html"/"demo")
    with building(out) as part: shutil.copytree(work/"html", part, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo"))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT/"_docs")
    parser.add_argument("--without-demo", action="store_true", help="leave the browser demo out (it needs npm)")
    args = parser.parse_args()
    try: print(build(args.out, not args.without_demo)/"index.html")
    except LightVisionError as e: sys.exit(f"docs/build.py: {e}")
    except subprocess.CalledProcessError: sys.exit("docs/build.py: Sphinx found mistakes, see above: nothing was replaced")


if __name__ == "__main__": main()
