"""A trained network finds its images again: from any folder, and not in silence where they moved or changed."""
import numpy as np
import pytest
from conftest import draw_photos
from PIL import Image

from lightvision.cli import main

@pytest.fixture
def photos(tmp_path): return draw_photos(tmp_path/"photos")


def test_the_lines_of_the_readme_work_from_any_folder(photos, tmp_path, monkeypatch, capsys):
    "train on a relative folder, then compress, budget and export from elsewhere; then the folder changes, and moves."
    def call(*args): return main([str(a) for a in args])
    def fails(*words):
        "The last command's message."
        error = capsys.readouterr().err.strip().splitlines()[-1]
        for word in words: assert word in error, error
    runs, elsewhere = tmp_path/"runs", tmp_path/"elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    assert call("train", "folder:photos", "mobilenetv3_small_050", "--weights", "scratch", "--epochs", 1) == 0
    checkpoint, = runs.rglob("model.safetensors")

    monkeypatch.chdir(elsewhere)
    compress = "compress", "--checkpoint", checkpoint, "--methods", "ptq"
    assert call(*compress) == 0
    small, = (elsewhere/"runs").rglob("model.safetensors")
    assert call("export", "--checkpoint", small) == 0 and list((elsewhere/"artifacts").glob("*.onnx"))
    names = [p.name for p in tmp_path.rglob("*") if "photos" not in p.parts]
    assert not [n for n in names if set(n) & set(':*?"<>|\\')], "a name that Windows refuses"

    image = np.asarray(Image.open(next((photos/"lake").glob("*")))).copy()
    image[:4] = 0
    Image.fromarray(image).save(photos/"lake"/"new.png")
    assert call(*compress) == 2
    fails("have changed since", "--dataset")
    (photos/"lake"/"new.png").unlink()

    photos.rename(tmp_path/"moved")
    assert call(*compress) == 2
    fails("not there any more", "--dataset")
    assert call(*compress, "--dataset", f"folder:{tmp_path/'moved'}") == 0
