"""What the tests of deploy/ share: the task whose test images they show to Bundles."""
import json
import os

import pytest
from PIL import Image

from lightvision.core import file_hash
from lightvision.data.datasets import get_task, list_tasks


@pytest.fixture(scope="session")
def task():
    "EuroSAT where it is on this machine, for which the zoo was trained; landcover-mini otherwise."
    return get_task("eurosat" if list_tasks().here["eurosat"] else "landcover-mini")


@pytest.fixture(scope="session")
def test_images(task):
    "At most 200 images, from all over the test split."
    rows = task.indices("test")
    return [Image.fromarray(task.images[i].permute(1, 2, 0).numpy()) for i in rows[::max(1, len(rows)//200)][:200].tolist()]


@pytest.fixture(scope="session")
def record(task):
    "Count on how many images a Bundle answers the same in a place; noted for nbs/places.ipynb in the file that LIGHTVISION_PLACES names (`make places`)."
    def note(bundle, place, ours, theirs, **more):
        classes = [[line.rpartition(" (")[0] for line in lines] for lines in (ours, theirs)]
        row = dict(bundle=bundle.name, sha256=file_hash(bundle/"model.onnx"), task=task.name, place=place, **more, images=len(ours),
                   same_class=sum(a == b for a, b in zip(*classes)), same_line=sum(a == b for a, b in zip(ours, theirs)))
        if path := os.environ.get("LIGHTVISION_PLACES"):
            with open(path, "a") as f: print(json.dumps(row), file=f)
        return row
    return note
