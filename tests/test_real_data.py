"""The three published data sets, where their archives are: in $LIGHTVISION_DATA, or in ../shared/data beside the checkout."""
import os
from pathlib import Path

import numpy as np
import pytest
from lightvision.data.datasets import SOURCES, find_archive, get_task, read_manifest
from lightvision.data.folders import cached, content_hash
from lightvision.data.task import SPLITS, split_table

BESIDE = Path(__file__).resolve().parents[2]/"shared"/"data"


@pytest.fixture
def archive(request, monkeypatch):
    if "LIGHTVISION_DATA" not in os.environ and BESIDE.is_dir(): monkeypatch.setenv("LIGHTVISION_DATA", str(BESIDE))
    folder = Path(os.environ.get("LIGHTVISION_DATA", ""))
    if not any((folder/f).is_file() for f in SOURCES[request.param]["files"]): pytest.skip(f"no archive of {request.param} here")
    return request.param


@pytest.mark.parametrize("archive, images, classes, test, copies", [("eurosat", 27000, 10, 5400, 0), ("ucmerced", 2100, 21, 420, 1),
                                                                     ("trashnet", 2527, 6, 505, 3)], indirect=["archive"])
def test_published(archive, images, classes, test, copies):
    task = get_task(archive)
    assert (len(task), task.n_classes, len(task.indices("test")), len(task.duplicates)) == (images, classes, test, copies)
    assert task.size == SOURCES[archive]["size"] and not task.leaks() and not task.synthetic
    assert (task.counts().to_numpy() > 0).all()


@pytest.mark.parametrize("archive", SOURCES, indirect=True)
def test_manifest_is_what_the_code_splits(archive):
    path = find_archive(archive)
    head, known = read_manifest(archive)
    table = cached(path, SOURCES[archive]["size"])[1]
    assert head["archive"] == content_hash(path), "another archive of the same data set: its split comes from the manifest"
    assert (np.array(SPLITS)[split_table(table)] == known["part"].to_numpy()).all()


@pytest.mark.parametrize("archive", ["trashnet"], indirect=True)
def test_author_split(archive):
    ours, theirs = get_task(archive), get_task(archive, split="author")
    assert theirs.counts().sum().tolist() == [1768, 328, 431]
    assert ours.data_hash == theirs.data_hash and ours.split_hash != theirs.split_hash
    label = dict(zip(ours.names, ours.labels.tolist()))
    assert all(len({label[n] for n in g}) == 2 for g in ours.duplicates) and len(theirs.leaks()) == 2


@pytest.mark.parametrize("archive", ["ucmerced"], indirect=True)
def test_airplanes_stay_together(archive):
    task = get_task(archive, size=64)
    assert task.duplicates == [["airplane/airplane01.jpg", "airplane/airplane02.jpg"]] and task.size == (64, 64)
    assert task.split_hash == get_task(archive).split_hash and task.data_hash != get_task(archive).data_hash
