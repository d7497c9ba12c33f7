"""What the tests of deploy/ share: the task whose test images they show to Bundles."""
import pytest
from PIL import Image

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
