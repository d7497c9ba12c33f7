"""Make the browser page: this folder, Bundles, and ONNX Runtime's WebAssembly, in one folder that any web server can serve.

    python deploy/browser/build.py [--bundle FOLDER ...] [--out build/browser] [--examples TASK]

Without --bundle it takes all of zoo/, and of compare/ beside this file. Needs npm, once, to fetch the runtime of the pinned version.
"""
import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from PIL import Image

from lightvision.core import LightVisionError, cache_folder, file_hash, hash_of, show_size, writable
from lightvision.data.datasets import get_task, list_tasks
from lightvision.data.folders import building
from lightvision.deploy.bundle import check_bundle

HERE = Path(__file__).resolve().parent
PAGE = ("index.html", "style.css", "app.js", "bundle.js", "image.js", "icon.svg", "manifest.webmanifest")
NEEDED = ("model.onnx", "card.json", "labels.txt", "preprocessing.json", "SHA256SUMS")
LARGE = 2_000_000  # bytes; a larger network is sent when somebody ticks it, not before
PACKAGES = {  # npm package -> version, and the SHA-256 of each file that is taken from it
    "onnxruntime-web": ("1.30.0", {
        "dist/ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
        "dist/ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"})}


def fetch(name, version, files):
    "Bytes of files of an npm package, checked; kept in the cache for the next time"
    archive = writable(cache_folder())/f"npm-{name}-{version}.tgz"
    if not archive.exists():
        if not shutil.which("npm"): raise LightVisionError(f"npm is needed to fetch {name} {version}: install Node.js")
        done = subprocess.run(["npm", "pack", f"{name}@{version}", "--silent", "--pack-destination", str(archive.parent)], capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["no message"]
            raise LightVisionError(f"npm could not fetch {name} {version} ({said[-1]}): is there a network?")
        os.replace(archive.parent/done.stdout.strip().splitlines()[-1], archive)
    with tarfile.open(archive) as tar: found = {file: tar.extractfile(f"package/{file}").read() for file in files}
    for file, known in files.items():
        if hashlib.sha256(found[file]).hexdigest() != known:
            archive.unlink()
            raise LightVisionError(f"{file} of {name} {version} is not the known file: nothing was kept; try again")
    return {Path(file).name: content for file, content in found.items()}


def examples(task, folder):
    "Images of the test split as .png files, one a class; what to call them"
    folder.mkdir()
    rows = {task.classes[task.labels[i]]: i for i in task.indices("test").tolist()[::-1]}
    for name, i in sorted(rows.items()): Image.fromarray(task.images[i].permute(1, 2, 0).numpy()).save(folder/f"{name}.png")
    kind = "Synthetic images, drawn by the package" if task.name == "landcover-mini" else f"Test images of {task.name}"
    return dict(title=f"{kind}, one of each class:", files=[f"{name}.png" for name in sorted(rows)])


def zoo():
    "The Bundles of this repository."
    return sorted(p for p in (HERE.parents[1]/"zoo").iterdir() if p.is_dir())


def compared():
    "The same network before its compression, to see side by side what that costs."
    return sorted(p for p in (HERE/"compare").iterdir() if p.is_dir())


def title_of(card):
    "What a Bundle is called on the page"
    artifact = card["artifacts"][0]
    return f"{show_size(artifact['bytes'])}, {artifact['precision']}"


def cards_of(bundles):
    "Bundle -> its card, of Bundles that are whole, hold a model.onnx, and have names of their own"
    names = [b.name for b in bundles]
    if twice := next((n for n in names if names.count(n) > 1), None): raise LightVisionError(f"two Bundles are called {twice}: rename a folder")
    cards = {b: check_bundle(b) for b in bundles}
    for bundle in bundles:
        if not (bundle/"model.onnx").exists(): raise LightVisionError(f"{bundle} holds no model.onnx, which is needed here: ship it with --formats onnx")
    return cards


def copy_bundle(bundle, folder):
    "What a program needs of a Bundle"
    folder.mkdir(parents=True)
    for name in NEEDED: shutil.copyfile(bundle/name, folder/name)


def build(bundles, out, task):
    "Write the page; a page that was there before is replaced when the new one is whole"
    cards = cards_of(bundles)
    out.parent.mkdir(parents=True, exist_ok=True)
    with building(out) as part:
        (part/"runtime").mkdir()
        for name, (version, files) in PACKAGES.items():
            for file, content in fetch(name, version, files).items(): (part/"runtime"/file).write_bytes(content)
        for name in PAGE: shutil.copyfile(HERE/name, part/name)
        contents, size = [], {b: (b/"model.onnx").stat().st_size for b in bundles}
        later = {b for b in bundles if size[b] > LARGE and len(bundles) > 1}
        for bundle in sorted(bundles, key=size.get):
            copy_bundle(bundle, part/"bundles"/bundle.name)
            contents.append(dict(folder=bundle.name, title=title_of(cards[bundle]), later=bundle in later))
        shown = examples(task, part/"examples")
        (part/"contents.json").write_text(json.dumps(dict(bundles=contents, examples=shown), indent=1, ensure_ascii=False))
        files = sorted(p.relative_to(part).as_posix() for p in part.rglob("*") if p.is_file())
        version = hash_of(*(file_hash(part/f) for f in files))
        not_yet = {f"bundles/{b.name}/model.onnx" for b in later}
        kept = json.dumps(["./", *(f for f in files if f not in not_yet)], ensure_ascii=False)
        worker = (HERE/"sw.js").read_text().replace("__VERSION__", f"lightvision-{version}").replace('["__FILES__"]', kept)
        (part/"sw.js").write_text(worker)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, action="append", help="a Bundle of `lightvision ship`; repeat for several (default: all of zoo/ and compare/)")
    parser.add_argument("--out", type=Path, default=Path("build/browser"))
    parser.add_argument("--examples", help="the task whose test images are offered (default: eurosat if it is here, else landcover-mini)")
    args = parser.parse_args()
    bundles = args.bundle or zoo() + compared()
    try:
        if args.out.exists() and not (args.out/"contents.json").exists(): raise LightVisionError(f"{args.out} holds something else: choose another --out")
        name = args.examples or ("eurosat" if list_tasks().here["eurosat"] else "landcover-mini")
        print(build([b.resolve() for b in bundles], args.out, get_task(name)))
    except LightVisionError as e: sys.exit(f"build.py: {e}")


if __name__ == "__main__": main()
