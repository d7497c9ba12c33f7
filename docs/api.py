"""The reference pages: each public name with its parameters, defaults and units, from the docments in the notebooks."""
import dataclasses
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import lightvision
from fastcore.docments import docments

NO_DEFAULT = inspect.Parameter.empty


def modules():
    "Every module of the package with public names of its own, lower floors first."
    found = [m.name for m in pkgutil.walk_packages(lightvision.__path__, "lightvision.") if not m.ispkg]
    return [m for m in map(importlib.import_module, found) if getattr(m, "__all__", None)]


def source_notebook(module):
    "The notebook that a module is exported from."
    return Path(re.search(r"File to edit: (\S+\.ipynb)", inspect.getsource(module))[1]).name


def as_text(annotation):
    if annotation in (NO_DEFAULT, None): return ""
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return "" if name == "NoneType" else f"`{name}`"


def cell(text): return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def documented(symbol):
    "Name -> docment, also of fields that a settings class inherits."
    found = {}
    for part in reversed(inspect.getmro(symbol)[:-1]) if inspect.isclass(symbol) else [symbol]:
        try: described = docments(part, full=True)
        except (TypeError, ValueError, OSError): continue
        for name, d in described.items():
            if d.get("docment") or name not in found: found[name] = d
    return found


def parameters(symbol):
    "A table of what goes in, with defaults, and a line for what comes out."
    try: signature = inspect.signature(symbol)
    except (TypeError, ValueError): return ""
    known, rows = documented(symbol), []
    for name, p in signature.parameters.items():
        if name == "self" or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and name not in known: continue
        factory = dataclasses.is_dataclass(symbol) and type(p.default).__name__ == "_HAS_DEFAULT_FACTORY_CLASS"
        default = "" if p.default is NO_DEFAULT else "new each time" if factory else f"`{cell(readable(p.default))}`"
        rows.append(f"| `{name}` | {cell(as_text(p.annotation))} | {default} | {cell(known.get(name, {}).get('docment') or '')} |")
    text = "\n".join(["| parameter | type | default | meaning |", "|---|---|---|---|", *rows]) + "\n" if rows else ""
    result = known.get("return", {})
    kind, meaning = as_text(signature.return_annotation), cell(result.get("docment") or "")
    if inspect.isclass(symbol) or not (kind or meaning): return text
    return text + f"\nReturns {kind}{': ' if kind and meaning else ''}{meaning}\n"


def readable(default):
    "A default as one would type it, without an address in memory."
    if callable(default): return getattr(default, "__name__", type(default).__name__)
    return re.sub(r"<(\S+) object at 0x[0-9a-f]+>", r"\1()", repr(default))


def entry(name, symbol, level="##"):
    "One name: what it does, what it takes; of a class also its methods."
    lines = [f"{level} {name}\n"]
    if not callable(symbol): return "\n".join([*lines, f"`{cell(readable(symbol))[:300]}`\n"])
    if about := inspect.getdoc(symbol): lines.append(" ".join(about.split()) + "\n")
    lines.append(parameters(symbol))
    if inspect.isclass(symbol):
        for key, method in vars(symbol).items():
            method = getattr(method, "__func__", method)
            if not key.startswith("_") and inspect.isfunction(method) and inspect.getdoc(method):
                lines.append(entry(f"{name}.{key}", method, "###"))
    return "\n".join(lines)


def page(module):
    "The reference page of a module, with a link to the notebook that explains it."
    notebook = source_notebook(module)
    head = f"# {module.__name__}\n\n{inspect.getdoc(module) or ''}\n\nExplained, with examples, in [its notebook](../{notebook}).\n"
    return "\n".join([head, *(entry(name, getattr(module, name)) for name in module.__all__)])


def write_pages(folder):
    "One page a module, and a list of them."
    folder.mkdir(parents=True)
    found = sorted(modules(), key=source_notebook)
    for module in found: (folder/f"{module.__name__}.md").write_text(page(module), encoding="utf-8")
    rows = "\n".join(f"| [{m.__name__}]({m.__name__}.md) | {cell(inspect.getdoc(m) or '')} | [{source_notebook(m)}](../{source_notebook(m)}) |" for m in found)
    listed = "\n".join(m.__name__ for m in found)
    text = ("# Reference\n\nEvery public name, in the order of the notebooks.\n\n| module | what it is for | notebook |\n|---|---|---|\n"
            f"{rows}\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n")
    (folder/"index.md").write_text(text, encoding="utf-8")
