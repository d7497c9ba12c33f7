"""Execute the library notebooks as tests, and compare what they print with what is stored in them.

    python tools/test_notebooks.py                  all of nbs/, as CI does
    python tools/test_notebooks.py 02_training      one of them, or several
    python tools/test_notebooks.py --renew [NAMES]  also store what they print and draw now, where it differs

Cells marked `#| slow`, `#| notest` or `#| eval: false` are not executed, and keep what is stored. Numbers, paths and spaces do not
count in the comparison, for times and last digits differ between machines; a cell whose very words depend on the machine says
`#| varies`.
"""
import argparse
import json
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, set_start_method
from pathlib import Path

from notebooks import library

SKIPPED = re.compile(r"^#\| *(slow|notest|eval: *false)\b", re.M)
VARIES = re.compile(r"^#\| *varies\b", re.M)
PRELOAD = ["torch", "timm", "pandas", "matplotlib.pyplot", "seaborn", "scipy.optimize", "nbdev.showdoc", "fastcore.test", "execnb.shell",
           "nbformat", "fvcore.nn", "matplotlib_inline.backend_inline", "onnxruntime", "torch.onnx._internal.exporter._core"]
NUMBER = re.compile(r"[-+±]?\d[\d,]*\.?\d*(e[-+]?\d+)?|\bnan\b|\binf\b", re.I)


def shown(outputs):
    "Without stderr: warnings name paths of this machine, and progress bars are no result. A temporary folder has another name each time."
    kept = [o for o in outputs if o.get("name") != "stderr"]
    return json.loads(re.sub(r"/tmp/tmp[a-z0-9_]{8}", "/tmp/example", json.dumps(kept)))


def texts(outputs):
    "What a reader sees as words: what is printed, and the plain text of results."
    for o in outputs:
        data = o.get("data", {})
        found = o.get("text") if o.get("output_type") == "stream" else data.get("text/markdown", data.get("text/plain"))
        if found is not None and (o.get("output_type") == "stream" or "image/png" not in o.get("data", {})):
            yield "".join(found)


def words(outputs):
    "The words of a cell's outputs, without numbers, addresses, hashes (some are cut short), paths and spaces."
    text = " ".join(texts(outputs))
    text = re.sub(r"\x1b\[[0-9;]*m|( at)? 0x[0-9a-f]+|/tmp/\S+|(?<![0-9A-Za-z])[0-9a-f]{8,64}\b|_[0-9a-f]{3,}\.{3}", "", text)
    return re.sub(r"[\s\-|:=…]+", "", NUMBER.sub("", text))


def run(path, renew):
    "Seconds, error text, and of each cell whose words differ: its number, what is stored, what it prints now."
    from execnb.nbio import read_nb, write_nb
    from execnb.shell import CaptureShell
    from fastcore.xtras import working_directory
    import pandas
    path, start = Path(path).resolve(), time.time()
    pandas.set_option("display.max_columns", 20)  # as in a kernel; here it would follow the width of somebody's terminal
    set_start_method(None, force=True)  # the notebook's own processes start as in any interpreter
    nb = read_nb(path)
    stored = [json.loads(json.dumps(c.get("outputs", []))) for c in nb.cells]
    def skip(cell): return cell.cell_type != "code" or bool(SKIPPED.search(cell.source))
    shell = CaptureShell(path)
    try:
        with working_directory(path.parent): shell.run_all(nb, exc_stop=True, preproc=skip)
    except Exception: return time.time() - start, shell.prettytb(fname=path), []
    for cell in nb.cells:
        if cell.cell_type == "code" and not skip(cell): cell["outputs"] = shown(cell.outputs)
    stale = []
    for i, cell in enumerate(nb.cells):
        if skip(cell): cell["outputs"] = stored[i] if cell.cell_type == "code" else None
        elif not VARIES.search(cell.source) and words(stored[i]) != words(cell.outputs):
            stale.append((i, "".join(texts(stored[i])), "".join(texts(cell.outputs))))
    if renew and stale:
        for cell in nb.cells:
            if cell.cell_type != "code": cell.pop("outputs", None)
        write_nb(nb, path)
    return time.time() - start, "", stale


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--renew", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    paths = [p for p in library() if not args.names or p.stem in args.names]
    processes = get_context("forkserver" if sys.platform == "linux" else "spawn")
    processes.set_forkserver_preload(PRELOAD)  # imported once, not by each of fifty notebooks
    with ProcessPoolExecutor(args.workers, mp_context=processes, max_tasks_per_child=1) as pool:
        jobs = [(p, pool.submit(run, str(p), args.renew)) for p in paths]
        results = [(p, *job.result()) for p, job in jobs]
    failed = [(p, error) for p, _, error, _ in results if error]
    stale = [(p, cells) for p, _, _, cells in results if cells]
    for p, error in failed: print(f"{p} fails:\n{error}", file=sys.stderr)
    for p, cells in stale:
        for i, before, now in cells:
            print(f"{p}: what is stored under cell {i} is not what it prints now\n--- stored\n{before}\n+++ now\n{now}", file=sys.stderr)
    slowest = sorted(results, key=lambda r: -r[1])[:5]
    print(f"{len(results)} notebooks; slowest:", ", ".join(f"{p.stem} {seconds:.0f} s" for p, seconds, *_ in slowest))
    if stale and not args.renew: print("look at the difference, then: python tools/test_notebooks.py --renew", file=sys.stderr)
    if failed or (stale and not args.renew): sys.exit(1)
    if not failed: print("all pass" + (f"; {len(stale)} renewed" if args.renew else ", and print what is stored in them"))


if __name__ == "__main__": main()
