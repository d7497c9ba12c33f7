"""Git's filter for notebooks: a notebook on standard input, the same one cleaned as `nbdev_clean` does on standard output.

nbdev 2.4.14's own `nbdev_clean --stdin` prints nothing beside execnb 0.1.18, and git would then store an empty notebook.
What is no notebook passes through unchanged, so that nothing is ever lost here.
"""
import json
import sys

from execnb.nbio import nb2str
from fastcore.xtras import loads
from nbdev.clean import clean_nb
from nbdev.config import get_config


def cleaned(text):
    try: nb = loads(text)
    except json.JSONDecodeError: return text
    cfg = get_config()
    clean_nb(nb, False, cfg.get("allowed_metadata_keys", "").split(), cfg.get("allowed_cell_metadata_keys", "").split(), cfg.clean_ids)
    return nb2str(nb)


if __name__ == "__main__":
    for stream in (sys.stdin, sys.stdout): stream.reconfigure(encoding="utf-8")
    sys.stdout.write(cleaned(sys.stdin.read()))
