"""Regenerate all that is generated (package, README, cleaned notebooks) and fail when that changed anything; check the floors of the
package and its imports.

Compares files before and after rather than with git, so it says the same in a checkout with uncommitted work.
"""
import ast
import hashlib
import subprocess
import sys
from pathlib import Path

GENERATED = ("lightvision/**/*.py", "nbs/**/*.ipynb", "nbs/**/*.svg", "README.md")
BIN = Path(sys.executable).parent


def state():
    paths = (p for pattern in GENERATED for p in Path(".").glob(pattern) if ".ipynb_checkpoints" not in p.parts)
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def unused_imports():
    "Names that a module imports and never uses: what only its notebook's examples need is imported there."
    for path in sorted(Path("lightvision").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree, lines = ast.parse(text), text.splitlines()
        used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        for n in tree.body if path.name not in ("__init__.py", "_modidx.py") else []:
            if not isinstance(n, (ast.Import, ast.ImportFrom)) or "noqa" in lines[n.lineno - 1]: continue
            for name in ((a.asname or a.name).split(".")[0] for a in n.names):
                if name not in used: yield f"{path}: {name}"


def main():
    before = state()
    for command in ([BIN/"nbdev_export"], [BIN/"nbdev_clean"], [sys.executable, "tools/readme.py"],
                    [sys.executable, "tools/diagrams.py"]):
        subprocess.run([str(part) for part in command], check=True)
    after = state()
    changed = sorted(p for p in before.keys() | after.keys() if before.get(p) != after.get(p))
    if changed: sys.exit("out of date, now regenerated; look at them and commit them: " + ", ".join(changed))
    print(f"{len(after)} generated files agree with their sources")
    floors = subprocess.run([str(BIN/"lint-imports"), "--no-logo"], capture_output=True, text=True)
    if floors.returncode: sys.exit(f"a module imports from a floor above it (.importlinter draws the floors):\n{floors.stdout}")
    print("each floor imports only lower ones")
    if unused := list(unused_imports()): sys.exit("imported and not used:\n" + "\n".join(unused))


if __name__ == "__main__": main()
