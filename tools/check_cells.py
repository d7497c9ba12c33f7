"""Count what makes a notebook hard to read, and fail where there is more of it than EXCEPTIONS allows.

For every library notebook: exported code that no example follows (a class that grows by `@patch` has one at its end), cells of
more than 40 lines, lines of more than 110 columns (code and prose), exported functions and classes with a parameter or a field
that says nothing about itself, and cells that export more than one public function or class. Called with names of notebooks it
lists each place; without, it checks all.
"""
import ast
import io
import json
import re
import sys
import tokenize
from collections import Counter
from pathlib import Path

from notebooks import library

COLUMNS, LINES = 110, 40
KINDS = "no example", "long cell", "wide line", "no docment", "several exports"

# (notebook, kind) -> (how many are allowed, why)
EXCEPTIONS = {}


def sources(path):
    "Type, source and position of each cell that a reader sees."
    for i, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        text = "".join(cell["source"])
        if not text.startswith("#| default_exp"): yield i, cell["cell_type"], text


def exported(text): return text.startswith(("#| export", "#|export"))


def definitions(text):
    "The functions and classes at the top level of an exported cell."
    return [n for n in ast.parse(text).body if isinstance(n, (ast.FunctionDef, ast.ClassDef))]


def is_patch(node):
    "Whether a function becomes a method of a class that stands above: several of them are one step of it."
    return any(ast.unparse(d).split("(")[0] == "patch" for d in node.decorator_list)


def goes_on(found, following):
    "Whether the next cell only adds methods to the class of this one, so that its example is this one's as well."
    here = {n.name for n in found if isinstance(n, ast.ClassDef)} | {patched(n) for n in found if is_patch(n)}
    more = definitions(following)
    return bool(more) and all(is_patch(n) and patched(n) in here for n in more)


def patched(node):
    "The class that a method is added to."
    return ast.unparse(node.args.args[0].annotation)


def comments(text):
    "Lines that hold a comment, and those below a line that is nothing but a comment."
    found = [t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT]
    above = {t.start[0] + 1 for t in found if t.line.lstrip().startswith("# ")}
    return {t.start[0] for t in found} | above


def undocumented(node, noted):
    "Parameters of a public function, or fields of a public dataclass, on whose line there is no comment."
    if isinstance(node, ast.ClassDef):
        for inner in node.body:
            named = isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_") and inner.name != "forward"
            if named: yield from undocumented(inner, noted)
            if isinstance(inner, ast.AnnAssign) and inner.lineno not in noted: yield f"{node.name}.{inner.target.id}"
        return
    arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    if is_patch(node): arguments = arguments[1:]
    for a in arguments:
        told = a.lineno in noted or isinstance(a.annotation, ast.Call)  # fastcore's Param holds the help text itself
        if a.arg not in ("self", "cls") and not told: yield f"{node.name}({a.arg})"


def findings(path):
    "Each place as (kind, cell, what)."
    cells = list(sources(path))
    code = [(i, t) for i, kind, t in cells if kind == "code"]
    for i, kind, text in cells:
        for line in text.split("\n"):
            table_or_link = kind == "markdown" and (line.startswith("|") or re.match(r"\S*\[?.*https?://\S{60,}", line))
            if len(line) > COLUMNS and not table_or_link: yield "wide line", i, f"{len(line)}: {line[:60]}"
        if kind == "code" and text.count("\n") + 1 > LINES: yield "long cell", i, f"{text.count(chr(10)) + 1} lines"
    for k, (i, text) in enumerate(code):
        if not exported(text): continue
        found = definitions(text)
        public = [n for n in found if not n.name.startswith("_")]
        grown = {patched(n) for n in public if is_patch(n)}
        if len(grown) + sum(not is_patch(n) for n in public) > 1: yield "several exports", i, ", ".join(n.name for n in public)
        following = code[k + 1][1] if k + 1 < len(code) else "#| export"
        if public and exported(following) and not goes_on(found, following): yield "no example", i, public[0].name
        noted = comments(text)
        for name in (name for n in public for name in undocumented(n, noted)): yield "no docment", i, name


def main(names):
    paths = [p for p in library() if not names or p.stem in names]
    bad = []
    total = Counter()
    for path in paths:
        found = list(findings(path))
        counts = Counter(kind for kind, *_ in found)
        total += counts
        for kind in KINDS:
            allowed, _ = EXCEPTIONS.get((path.stem, kind), (0, ""))
            if counts[kind] > allowed: bad.append(f"{path.stem}: {counts[kind]} x {kind} (allowed: {allowed}); see it with tools/check_cells.py {path.stem}")
        if names: print("\n".join(f"{path.stem}[{i}] {kind}: {what}" for kind, i, what in found))
    print("notebooks:", len(paths), *(f"{kind}: {total[kind]}" for kind in KINDS), sep="  ")
    if bad and not names: sys.exit("\n".join(bad))


if __name__ == "__main__": main(sys.argv[1:])
