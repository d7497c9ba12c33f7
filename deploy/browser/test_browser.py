"""The page in headless Chromium: the same classes as Python, offline, on a phone, with a keyboard; and what it says about mistakes."""
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).parent))
from build import PACKAGES, build, compared, fetch, zoo

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if not CHROMIUM: pytest.skip("no chromium: apt-get install chromium", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")

ZOO, BESIDE = zoo(), compared()
AXE = "4.14.1", {"axe.min.js": "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"}


class Quiet(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".webmanifest": "application/manifest+json"}
    def log_message(self, *args): pass


@pytest.fixture(scope="module")
def site(task, tmp_path_factory): return build(ZOO + BESIDE, tmp_path_factory.mktemp("site")/"page", task)


@contextmanager
def served(folder):
    "The address of a folder's page, while a server gives it out."
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f"http://127.0.0.1:{server.server_port}/"
    finally: server.shutdown()


@pytest.fixture(scope="module")
def address(site):
    with served(site) as address: yield address


@pytest.fixture(scope="module")
def browser():
    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False, args=quiet)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    "The page when its networks are loaded; what it writes to the console fails the test."
    context = browser.new_context(viewport=dict(width=1100, height=900))
    page, told = context.new_page(), []
    page.on("console", lambda m: told.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: told.append(str(e)))
    page.goto(address)
    ready(page)
    yield page
    context.close()
    assert not told


def ready(page): page.locator("#status", has_text="Ready").wait_for(timeout=60_000)

def tick_all(page):
    "Tick the networks that are not loaded by themselves, and wait until they are."
    for box in page.locator("#bundles input").all(): box.check()
    page.wait_for_function("() => [...document.querySelectorAll('.bundle')].every(b => b.querySelector('dl'))", timeout=60_000)

def choose(page, paths):
    "Choose files as a user does, and wait for what the page says then."
    page.locator("#files").set_input_files([str(p) for p in paths])
    page.locator("#status", has_text="classified").wait_for(timeout=300_000)
    return page.locator("#status").inner_text()

def answers(page):
    "Name of an image and of a Bundle -> the first class, and its probability as shown."
    rows = page.evaluate("""() => [...document.querySelectorAll("article")].flatMap(a => [...a.querySelectorAll(".answer")].map(b => [a.querySelector("figcaption").textContent, b.dataset.bundle,
        b.querySelector(".label").textContent, b.querySelector(".p").textContent]))""")
    return {(name, Path(bundle).name): (label, float(p.removesuffix(" %"))) for name, bundle, label, p in rows}

def python_answers(bundle, paths):
    "The same from the script of a Bundle."
    done = subprocess.run([sys.executable, "-I", bundle/"classify_onnx.py", *paths], capture_output=True, text=True, check=True)
    found = (line.rpartition(": ") for line in done.stdout.splitlines())
    return {(Path(path).name, bundle.name): (text.rpartition(" (")[0], float(text.rpartition(" (")[2].removesuffix(" %)"))) for path, _, text in found}


@pytest.fixture(scope="module")
def files(test_images, tmp_path_factory):
    "Test images, and some of them as people have them: enlarged, turned by EXIF, grey, partly transparent, as .webp and .jpg."
    folder, paths = tmp_path_factory.mktemp("images"), []
    for n, image in enumerate(test_images):
        suffix, more = ".png", {}
        if n%8 == 1: image = image.resize((301, 200))
        if n%8 == 2: image, suffix, more = image.resize((150, 333)), ".webp", dict(lossless=True)
        if n%8 == 3: image = image.convert("L")
        if n%8 == 4:
            exif = Image.Exif()
            exif[0x0112] = 6
            image, suffix, more = image.resize((90, 70)), ".jpg", dict(exif=exif, quality=95)
        if n%8 == 5:
            image = image.copy()
            image.putalpha(Image.fromarray(np.tile(np.arange(image.width, dtype=np.uint8)[None]*3, (image.height, 1))))
        paths.append(folder/f"image {n}{suffix}")
        image.save(paths[-1], **more)
    return paths


def test_the_same_classes_as_python(page, files, record):
    tick_all(page)
    said = choose(page, files)
    assert said == f"{len(files)} images classified."
    ours = answers(page)
    expected = {k: v for bundle in ZOO + BESIDE for k, v in python_answers(bundle, files).items()}
    assert ours.keys() == expected.keys() and len(ours) >= 100
    different = {k: (ours[k], expected[k]) for k in ours if ours[k][0] != expected[k][0]}
    # a browser may round a JPEG and a half-transparent pixel otherwise than Pillow: such an image may change where two classes are near
    assert all(max(a[1], b[1]) < 60 for a, b in different.values()) and len(different) <= 0.01*len(ours), different
    same = [abs(ours[k][1] - expected[k][1]) for k in ours if k not in different and k[0].endswith(".png")]
    for bundle in ZOO:
        lines = [[f"{name}: {label} ({p:.1f} %)" for (name, of), (label, p) in sorted(found.items()) if of == bundle.name] for found in (expected, ours)]
        record(bundle, "Chromium (WebAssembly)", *lines, emulated=False, runtime=f"onnxruntime-web {PACKAGES['onnxruntime-web'][0]}")
    print(f"{len(ours)} images, {len(different)} other classes; probability differs by {np.mean(same):.3f} points on average, at most {max(same):.1f}")
    assert np.mean(same) < 0.5


def test_pixels_are_those_of_pillow(page):
    "Equal, or one level off here and there where Pillow takes its vertical pass first: which it does depends on its version and the shape."
    rng, exact, shapes = np.random.default_rng(0), [], [(64, 64), (65, 64), (301, 200), (37, 20), (640, 480), (1, 1), (64, 200), (999, 64)]
    for width, height in shapes:
        rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for size in ((64, 64), (48, 96), (224, 224)):
            ours = page.evaluate("""async ([rgb, width, height, size]) => {
                const { fit } = await import("./image.js");
                return Array.from(fit({ rgb: Uint8Array.from(rgb), width, height }, size)); }""", [rgb.ravel().tolist(), width, height, list(size)])
            theirs = np.asarray(ImageOps.fit(Image.fromarray(rgb), (size[1], size[0]), Image.Resampling.BICUBIC))
            off = np.abs(np.array(ours, int) - theirs.ravel().astype(int))  # of noise, the worst that an image can be
            assert off.mean() < 0.5, (width, height, size)
            exact.append(off.max() == 0)
    print(f"{sum(exact)} of {len(exact)} shapes exactly")
    assert np.mean(exact) > 0.5


def test_it_works_without_a_network_after_the_first_visit(page, files):
    assert "it was here already" not in page.locator("#bundles").inner_text()
    page.evaluate("navigator.serviceWorker.ready")
    page.wait_for_function("caches.keys().then(k => k.length)")
    page.context.set_offline(True)
    page.reload()
    ready(page)
    assert choose(page, files[:1]) == "1 image classified."
    assert "0 (it was here already)" in page.locator("#bundles").inner_text()


def test_a_large_network_is_sent_when_it_is_wanted_and_kept(page, files):
    "Ticked after an image was chosen: it classifies that one too, and is there without a network afterwards."
    sent = lambda: {Path(u).parent.name for u in page.evaluate("performance.getEntriesByType('resource').map(e => e.name)") if u.endswith("model.onnx")}
    choose(page, files[:1])
    assert sent() == {b.name for b in ZOO} == {bundle for _, bundle in answers(page)}
    page.evaluate("navigator.serviceWorker.ready")
    page.wait_for_function("caches.keys().then(k => k.length)")
    page.wait_for_function("navigator.serviceWorker.controller")
    tick_all(page)
    page.locator(".answer").nth(len(ZOO + BESIDE) - 1).wait_for()
    assert {bundle for _, bundle in answers(page)} == {b.name for b in ZOO + BESIDE}
    assert "it was here already" not in page.locator("#bundles").inner_text()
    page.context.set_offline(True)
    page.reload()
    ready(page)
    tick_all(page)
    page.locator("#bundles input").last.uncheck()
    choose(page, files[:1])
    assert len(answers(page)) == len(ZOO + BESIDE) - 1


def test_mistakes_are_named(page, browser, site, tmp_path, files):
    (tmp_path/"notes.txt").write_text("no image")
    said = choose(page, [files[0], tmp_path/"notes.txt"])
    assert said == "1 image classified. Not an image that this browser can read: notes.txt."

    damaged = tmp_path/"damaged"
    shutil.copytree(site, damaged)
    network = damaged/"bundles"/ZOO[0].name/"model.onnx"
    whole = network.read_bytes()
    network.write_bytes(whole[:-1] + b"x")
    with served(damaged) as address, browser.new_context() as context:
        other = context.new_page()
        other.goto(address)
        other.locator(".error", has_text="is not the file that was verified").wait_for(timeout=60_000)
        network.write_bytes(whole)  # it can be tried again
        box = other.locator(f"#use-{ZOO[0].name}")
        box.check()
        other.locator(".bundle", has=box).locator("dt", has_text="test accuracy").wait_for(timeout=60_000)


def test_camera_and_examples(page):
    page.locator("#camera").click()
    page.locator("#shoot").click()
    page.locator("#status", has_text="1 image classified").wait_for()
    page.locator("#stop").click()
    assert not page.locator("#live").is_visible()
    page.locator("#example-list button").first.click()
    page.locator("article").nth(1).wait_for()


@pytest.mark.parametrize("width, height", [(1100, 900), (360, 740)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_anyone_can_use_it(page, files, width, height, scheme):
    "axe-core finds nothing serious, nothing is wider than the screen; screenshots to look at, in build/."
    page.set_viewport_size(dict(width=width, height=height))
    page.emulate_media(color_scheme=scheme)
    tick_all(page)
    choose(page, files[:5])
    (axe,) = fetch("axe-core", *AXE).values()
    page.evaluate(axe.decode())
    found = page.evaluate("axe.run()")["violations"]
    serious = [(v["id"], v["help"], [n["target"] for n in v["nodes"]][:3]) for v in found if v["impact"] in ("serious", "critical", "moderate")]
    assert not serious, serious
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shots = Path(__file__).parents[2]/"build"/"screenshots"
    shots.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=shots/f"browser-{width}-{scheme}.png", full_page=True)
