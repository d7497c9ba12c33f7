"""What the data part answers to bad input: one clear line, and nothing half-written. Real files, real processes, a real server."""
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
import warnings
import zipfile

import numpy as np
import pytest
from lightvision.core import LightVisionError, cache_folder
from lightvision.data.datasets import SOURCES, apply_manifest, download, get_task, read_manifest
from lightvision.data.landcover import draw_landcover
from PIL import Image


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    "An empty data folder and an empty cache; nothing listens where the publishers would be."
    monkeypatch.setenv("LIGHTVISION_DATA", str(tmp_path/"data"))
    monkeypatch.setenv("LIGHTVISION_CACHE", str(tmp_path/"cache"))
    (tmp_path/"data").mkdir()
    for source in SOURCES.values():
        monkeypatch.setitem(source, "urls", ["http://127.0.0.1:9/" + u.rsplit("/", 1)[1] for u in source["urls"]])


@pytest.fixture
def pictures(tmp_path):
    "A folder of three classes with eight images each."
    images, table = draw_landcover(per_class=8)
    folder = tmp_path/"images"
    for image, name in zip(images, table["names"]):
        if name.split("/")[0] in ("forest", "lake", "road"):
            (folder/name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(folder/name)
    return folder


def refused(name, *words, **settings):
    "The one line that `get_task` answers with; it holds `words`, and no unfinished file is left."
    with pytest.raises(LightVisionError) as error: get_task(name, **settings)
    line = str(error.value)
    assert "\n" not in line and all(w in line for w in words), line
    assert not [p for p in cache_folder().rglob("*") if p.name.endswith(".part") or p.name == "images.npy"]
    return line


@pytest.mark.parametrize("name", SOURCES)
def test_missing_without_network(name, tmp_path):
    refused(name, f"{name} is not in", str(tmp_path/"data"), str(tmp_path/"cache"), f"put {name}.zip", *SOURCES[name]["files"])


@pytest.mark.parametrize("name, near", [("eurosta", "eurosat"), ("UCMerced", "ucmerced"), ("landcover", "landcover-mini"), ("xyzzy", "trashnet")])
def test_unknown_task(name, near): refused(name, near, "folder:PATH")


def test_truncated_or_changed_archive(tmp_path):
    (tmp_path/"data"/"eurosat.zip").write_bytes(b"PK\3\4" + bytes(5000))
    refused("eurosat", "checksum", "is not a known one", "truncated or changed", "delete it", "folder:")


def test_other_images_under_a_known_name():
    known = read_manifest("ucmerced")[1]
    table = dict(names=[f"{n}.tif" for n in known.index], files=["0" * 16] * len(known))
    assert (apply_manifest("ucmerced", table, "the publisher's") == [("train", "val", "test").index(p) for p in known["part"]]).all()
    with pytest.raises(LightVisionError, match="agricultural/agricultural00 is missing"):
        apply_manifest("ucmerced", {k: v[1:] for k, v in table.items()}, "x")
    with pytest.raises(LightVisionError, match="differ from the manifest, the first is agricultural/agricultural00.tif"):
        apply_manifest("ucmerced", table, read_manifest("ucmerced")[0]["archive"])
    with pytest.raises(LightVisionError, match="no split 'author'"): apply_manifest("ucmerced", table, "x", "author")


def test_truncated_zip(pictures, tmp_path):
    shutil.make_archive(tmp_path/"whole", "zip", pictures)
    whole = (tmp_path/"whole.zip").read_bytes()
    (tmp_path/"cut.zip").write_bytes(whole[:len(whole) * 2 // 3])
    refused(f"folder:{tmp_path/'cut.zip'}", "cut.zip is not a complete zip file", "delete it and fetch it again")


def test_damaged_member(pictures, tmp_path):
    with zipfile.ZipFile(tmp_path/"a.zip", "w", zipfile.ZIP_STORED) as z:
        for p in sorted(pictures.rglob("*.png")): z.write(p, p.relative_to(pictures))
        start = z.infolist()[0].header_offset + 200
    data = bytearray((tmp_path/"a.zip").read_bytes())
    data[start:start + 50] = bytes(50)
    (tmp_path/"a.zip").write_bytes(data)
    refused(f"folder:{tmp_path/'a.zip'}", "forest/forest000.png cannot be read", "CRC")


@pytest.mark.parametrize("path", ["../x.jpg", "a/../../x.jpg", "/tmp/x.jpg", "C:/x.jpg", "..\\x.jpg"])
def test_unsafe_paths(path, tmp_path):
    with zipfile.ZipFile(tmp_path/"evil.zip", "w") as z: z.writestr(path, b"x")
    refused(f"folder:{tmp_path/'evil.zip'}", "unsafe path")


def test_link_in_zip(tmp_path):
    link = zipfile.ZipInfo("cat/1.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path/"evil.zip", "w") as z: z.writestr(link, "/etc/passwd")
    refused(f"folder:{tmp_path/'evil.zip'}", "unsafe path")


def test_bad_files_are_named(pictures):
    (pictures/"forest"/"notes.jpg").write_text("trees")
    (pictures/"lake"/"a.jpg").write_bytes(b"")
    whole = (pictures/"road"/"road000.png").read_bytes()
    (pictures/"road"/"cut.png").write_bytes(whole[:len(whole) // 2])
    refused(f"folder:{pictures}", "forest/notes.jpg cannot be read as an image", "and 2 more", "skip_bad=True")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        task = get_task(f"folder:{pictures}", skip_bad=True)
    assert len(task) == 24 and task.skipped == ["forest/notes.jpg", "lake/a.jpg", "road/cut.png"] and "3 unreadable files" in str(said[0].message)


def test_nothing_readable(tmp_path):
    for c in "ab":
        (tmp_path/"x"/c).mkdir(parents=True)
        (tmp_path/"x"/c/"1.jpg").write_text("no")
    refused(f"folder:{tmp_path/'x'}", "none of the 2 files can be read", skip_bad=True)


def answers(name, *words, **settings):
    "As `refused`, where the images themselves were read and cached and are not at fault."
    with pytest.raises(LightVisionError) as error: get_task(name, **settings)
    assert "\n" not in str(error.value) and all(w in str(error.value) for w in words), error.value


def test_folders_that_make_no_task(pictures, tmp_path):
    refused(f"folder:{tmp_path/'flowers'}", "flowers does not exist")
    (tmp_path/"empty").mkdir()
    refused(f"folder:{tmp_path/'empty'}", "holds no images in class folders")
    refused(f"folder:{pictures/'lake'}", "holds no images in class folders")
    shutil.copytree(pictures/"lake", tmp_path/"one"/"lake")
    answers(f"folder:{tmp_path/'one'}", "one class only (lake)")
    for p in sorted((pictures/"road").iterdir())[2:]: p.unlink()
    answers(f"folder:{pictures}", "class 'road'", "has 2 images", "fewer than the three splits")
    shutil.copy(pictures/"road"/"road000.png", pictures/"road"/"copy.png")
    answers(f"folder:{pictures}", "has 2 images (3 files, some of them copies)")


def test_user_split(pictures, tmp_path):
    shutil.copytree(pictures, tmp_path/"s"/"train")
    (tmp_path/"s"/"test"/"lake").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(tmp_path/"s"/"test"/"lake"/"x.png")
    answers(f"folder:{tmp_path/'s'}", "class 'forest'", "has no image in test")
    shutil.copytree(pictures/"lake", tmp_path/"s"/"spare"/"lake")
    answers(f"folder:{tmp_path/'s'}", "folder 'spare' beside test and train")


@pytest.mark.parametrize("size", ["64", 0, -3, (64,), (64, 64, 3), 1e9, 3])
def test_bad_size(size): refused("landcover-mini", "is no image size", size=size)


def test_mixed_sizes_and_modes(pictures):
    Image.new("L", (100, 50), 90).save(pictures/"lake"/"grey.png")
    Image.new("P", (40, 40)).save(pictures/"lake"/"palette.gif")
    Image.new("RGBA", (64, 80), (255, 0, 0, 0)).save(pictures/"lake"/"clear.png")
    Image.new("CMYK", (50, 60)).save(pictures/"lake"/"print.jpg")
    task = get_task(f"folder:{pictures}")
    assert task.size == (64, 64) and len(task) == 28
    assert (task.images[task.names.index("lake/clear.png")] == 255).all()
    assert (task.images[task.names.index("lake/grey.png")] == 90).all()
    assert get_task(f"folder:{pictures}", size=(24, 48)).size == (24, 48)


def test_cache_that_cannot_be_written(pictures, tmp_path, monkeypatch):
    (tmp_path/"file").write_text("")
    monkeypatch.setenv("LIGHTVISION_CACHE", str(tmp_path/"file"/"below"))
    with pytest.raises(LightVisionError, match="cannot be written .*set LIGHTVISION_CACHE"): get_task(f"folder:{pictures}")


def test_damaged_cache_is_rebuilt(pictures):
    before = get_task(f"folder:{pictures}").images.clone()
    for name in ("images.npy", "items.json", "sums.npy"):
        for path in cache_folder().rglob(name): path.write_bytes(path.read_bytes()[:100])
        assert (get_task(f"folder:{pictures}").images == before).all()


def test_leftovers_of_a_killed_process(pictures):
    get_task(f"folder:{pictures}")
    done = next(p for p in (cache_folder()/"decoded").iterdir() if p.is_dir())
    done.rename(done.with_name(done.name + ".part"))
    assert len(get_task(f"folder:{pictures}")) == 24 and not list((cache_folder()/"decoded").glob("*.part"))


def test_writing_to_the_images_leaves_the_cache_alone(pictures):
    task = get_task(f"folder:{pictures}")
    before = task.images.clone()
    task.images.zero_()
    assert (get_task(f"folder:{pictures}").images == before).all()


def test_eight_processes_at_once(pictures):
    code = f"from lightvision.data.datasets import get_task; t = get_task('folder:{pictures}', size=40); print(t.data_hash, int(t.images.sum()))"
    procs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(8)]
    assert len({p.communicate(timeout=900)[0] for p in procs}) == 1 and all(p.returncode == 0 for p in procs)
    assert len([p for p in (cache_folder()/"decoded").iterdir() if p.is_dir()]) == 1


class Publisher(http.server.BaseHTTPRequestHandler):
    body, ranges = bytes(range(251)) * 999, True

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-")[6:-1]) if self.ranges else 0
        if start >= len(self.body): return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.body) - start))
        self.end_headers()
        self.wfile.write(self.body[start:])

    def log_message(self, *args): pass


@pytest.mark.parametrize("have, ranges", [(0, True), (1000, True), (1000, False), (len(Publisher.body), True), (len(Publisher.body) + 5, True)])
def test_download_resumes(have, ranges, tmp_path, monkeypatch):
    monkeypatch.setattr(Publisher, "ranges", ranges)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    target, url = tmp_path/"a.zip", f"http://127.0.0.1:{server.server_port}/a.zip"
    try:
        if have: (tmp_path/"a.zip.part").write_bytes((Publisher.body + bytes(5))[:have])
        fetch = lambda: download(url, target, "md5:" + hashlib.md5(Publisher.body).hexdigest())
        if have > len(Publisher.body):
            with pytest.raises(LightVisionError, match="wrong checksum"): fetch()
            assert not list(tmp_path.glob("a.zip*"))
        else:
            fetch()
            assert target.read_bytes() == Publisher.body and not (tmp_path/"a.zip.part").exists()
    finally: server.shutdown()


def test_same_pixels_on_every_run():
    a, b = draw_landcover(3)[0], draw_landcover(3)[0]
    assert np.array_equal(a, b) and get_task("landcover-mini").synthetic


def test_links_that_lead_back_are_not_followed(pictures, tmp_path):
    (pictures/"lake"/"loop").symlink_to("..")
    other = tmp_path/"more"
    other.mkdir()
    (pictures/"lake"/"more").symlink_to(other)
    (other/"back").symlink_to(pictures/"lake")
    assert len(get_task(f"folder:{pictures}")) == 24


def test_files_that_are_no_images_by_name_are_counted(pictures):
    for name in ("lake/labels.csv", "lake/notes.txt", "road/data.json", "readme.md"): (pictures/name).write_text("1")
    with pytest.warns(UserWarning, match="3 files that are no images by their names were left out, such as lake/labels.csv"):
        assert len(get_task(f"folder:{pictures}")) == 24


def test_a_test_split_of_one_image_is_told(pictures):
    for path in sorted((pictures/"road").iterdir())[3:]: path.unlink()
    with pytest.warns(UserWarning, match="single image of .*road"): get_task(f"folder:{pictures}")


def test_a_path_is_a_task(pictures, monkeypatch):
    expected = get_task(f"folder:{pictures}").data_hash
    monkeypatch.chdir(pictures.parent)
    for name in (str(pictures), pictures.name, f"./{pictures.name}", f"{pictures.name}/"): assert get_task(name).data_hash == expected
    for empty in ("folder:", "folder: "):
        with pytest.raises(LightVisionError, match="names no folder"): get_task(empty)
