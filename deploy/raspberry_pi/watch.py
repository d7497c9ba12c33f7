#!/usr/bin/env python3
"""Classify each image that appears in a folder, such as those of a camera:

    rpicam-still --timeout 0 --timelapse 2000 --output photos/%06d.jpg &
    python3 watch.py BUNDLE photos --log classes.csv

One line an image: its name, its class, the probability, milliseconds. Ctrl-C ends it. A file that is being written is waited for;
one that is no image is named, and the watch goes on. Needs what the Bundle's classify_onnx.py needs, and nothing else.
"""
import argparse
import csv
import importlib.util
import sys
import time
from pathlib import Path

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
HEAD = ["time", "file", "class", "probability", "ms"]


def load(bundle):
    "The `classify` of a Bundle."
    script = next(iter(sorted(bundle.glob("classify_*.py"))), None)
    if not script: sys.exit(f"watch.py: {bundle} is no Bundle: it has no classify_*.py")
    spec = importlib.util.spec_from_file_location("bundle", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.classify


def arrivals(folder, every, seen):
    "Files of images that are complete: two looks in a row found the same size and time."
    before = {}
    while True:
        now = {}
        for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS and p not in seen):
            try: stat = path.stat()
            except FileNotFoundError: continue
            now[path] = stat.st_size, stat.st_mtime_ns
        for path in (p for p in now if before.get(p) == now[p]):
            seen.add(path)
            yield path
        before = now
        time.sleep(every)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path, help="images appear here")
    parser.add_argument("--log", type=Path, help="also append the lines to this .csv file")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two looks (default 0.5)")
    parser.add_argument("--new", action="store_true", help="leave out what is there already")
    args = parser.parse_args()
    if not args.folder.is_dir(): sys.exit(f"watch.py: there is no folder {args.folder}")
    classify, seen = load(args.bundle), set(args.folder.iterdir()) if args.new else set()
    for path in arrivals(args.folder, args.every, seen):
        start = time.perf_counter()
        try: label, p = classify(path)
        except Exception as e:  # Pillow has several for a broken file, and none of them may end the watch
            print(f"{path.name} cannot be read as an image: {e}", file=sys.stderr, flush=True)
            continue
        ms = 1000*(time.perf_counter() - start)
        print(f"{path.name}: {label} ({100*p:.1f} %) {ms:.1f} ms", flush=True)
        if args.log:
            fresh = not args.log.exists()
            with args.log.open("a", newline="", encoding="utf-8") as f:
                csv.writer(f).writerows([HEAD]*fresh + [[time.strftime("%Y-%m-%dT%H:%M:%S"), path.name, label, f"{p:.4f}", f"{ms:.1f}"]])


if __name__ == "__main__":
    try: main()
    except KeyboardInterrupt: pass
