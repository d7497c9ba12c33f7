"""The website as it was built: no broken link, no message in the console, nothing cut off, at the width of a desk and of a phone."""
import json
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT/"_docs"
if not (SITE/"index.html").exists(): pytest.skip("no website: make docs", allow_module_level=True)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if not CHROMIUM: pytest.skip("no chromium: apt-get install chromium", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")

sys.path.insert(0, str(ROOT/"deploy"/"browser"))
from build import fetch
from test_browser import AXE, served

REPOSITORY = "https://github.com/lightvision/lightvision/blob/main/"
WIDTHS = dict(desk=dict(width=1440, height=900), phone=dict(width=390, height=844))
ALL = sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob("*.html") if not p.is_relative_to(SITE/"demo"))
# of what is alike hundreds of times, a few; reports stand alone and have their own tests
RUNS = [p for p in ALL if p.endswith("/run.html")]
REPORTS = [p for p in ALL if p.startswith("evidence/") and not (SITE/p).read_text(encoding="utf-8").count("_static/site.css")]
SEEN = [p for p in ALL if p not in RUNS and p not in REPORTS] + RUNS[::25]


@pytest.fixture(scope="module")
def address():
    with served(SITE) as address: yield address


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False, args=["--disable-gpu", "--no-first-run"])
        yield browser
        browser.close()


@pytest.fixture(params=WIDTHS)
def page(browser, request):
    "A page of that width; what it writes to the console, and what it does not find, fails the test."
    context = browser.new_context(viewport=WIDTHS[request.param])
    page, told = context.new_page(), []
    page.width_name, page.told = request.param, told
    page.on("console", lambda m: told.append(f"{page.url}: {m.text}") if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: told.append(f"{page.url}: {e}"))
    page.on("response", lambda r: told.append(f"{page.url}: {r.url} is {r.status}") if r.status >= 400 else None)
    yield page
    context.close()
    assert not told


def test_every_link_leads_somewhere():
    parsed = {p: BeautifulSoup((SITE/p).read_text(encoding="utf-8"), "html.parser") for p in ALL}
    anchors = {p: {t.get("id") for t in soup.find_all(id=True)} for p, soup in parsed.items()}
    broken, outside = [], set()
    for p, soup in parsed.items():
        links = [(t.get(k), k) for t in soup.find_all(["a", "img", "link", "script"]) for k in ("href", "src") if t.get(k)]
        for link, kind in links:
            if link.startswith("data:"): continue
            there, anchor = urldefrag(urljoin(f"http://site/{p}", link))
            if urlparse(there).netloc != "site":
                if there.startswith(REPOSITORY) and not (ROOT/unquote(there.removeprefix(REPOSITORY))).exists(): broken.append((p, link))
                elif not there.startswith("https://"): broken.append((p, link))
                elif kind == "src": outside.add(link)
                continue
            file = unquote(urlparse(there).path).lstrip("/") or "index.html"
            if file.endswith("/"): file += "index.html"
            if not (SITE/file).is_file(): broken.append((p, link))
            elif anchor and file in anchors and unquote(anchor) not in anchors[file]: broken.append((p, link))
    assert not broken
    assert not outside  # it is read without a network


def test_nothing_is_cut_off_and_nothing_complains(page, address):
    wrong = []
    for name in SEEN:
        page.goto(address + name)
        page.wait_for_load_state("load")
        found = page.evaluate("""() => ({wide: document.documentElement.scrollWidth - innerWidth,
            code: [...document.querySelectorAll("div.cell_input pre")].filter(p => p.scrollWidth > p.clientWidth + 1).length,
            stuck: [...document.querySelectorAll("article pre, article table")].filter(p => p.scrollWidth > p.clientWidth + 1
                   && getComputedStyle(p).overflowX === "hidden").length})""")
        # a phone scrolls code sideways; old evidence has longer lines than today's notebooks
        if found["wide"] > 0 or found["stuck"] or (found["code"] and page.width_name == "desk" and not name.startswith("evidence/")): wrong.append((name, found))
    assert not wrong


def test_accessible(page, address):
    if page.width_name == "phone": pytest.skip("the same pages as at a desk")
    script, wrong = fetch("axe-core", *AXE)["axe.min.js"].decode(), {}
    api = [p for p in SEEN if p.startswith("api/")]
    for name in [p for p in SEEN if p not in api[3:]]:
        page.goto(address + name)
        page.wait_for_load_state("load")
        page.add_script_tag(content=script)
        found = page.evaluate("async () => (await axe.run()).violations.filter(v => ['serious', 'critical'].includes(v.impact)).map(v => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200)])")
        for rule, count, example in found: wrong.setdefault(rule, []).append((name, count, example))
    assert not wrong, {rule: (len(places), places[:3]) for rule, places in wrong.items()}


def test_results_can_be_filtered_and_lead_to_their_notebooks(page, address):
    groups = json.loads((SITE/"_static"/"results.json").read_text(encoding="utf-8"))["groups"]
    page.goto(address + "results.html")
    rows = page.locator(".lv-scroll tbody tr")
    rows.first.wait_for()
    assert rows.count() == len(groups)
    page.get_by_label("recipe has").fill("qat8")
    assert rows.count() == sum("qat8" in g["recipe"] for g in groups) > 0
    page.get_by_label("architecture").select_option("resnet18")
    assert rows.count() == sum("qat8" in g["recipe"] and g["arch"] == "resnet18" for g in groups) > 0
    page.locator(".lv-point").first.focus()
    tip = page.locator(".lv-tip").inner_text()
    assert "qat8" in tip and "MB" in tip and "resnet18" in tip
    page.get_by_role("button", name="test accuracy").click()
    shown = [float(v) for v in page.locator(".lv-scroll tbody td:nth-child(5)").all_inner_texts()]
    assert shown == sorted(shown, reverse=True)
    page.locator(".lv-scroll tbody td:last-child a").first.click()
    page.wait_for_load_state("load")
    assert page.url.endswith("run.html") and "qat8" in page.locator("h1").inner_text()


def test_search_finds_a_chapter(page, address):
    page.goto(address + "search.html?q=sensitivity")
    page.locator("#search-results li a").first.wait_for()
    assert "06_sensitivity.html" in "".join(a.get_attribute("href") for a in page.locator("#search-results li a").all())


def test_the_demo_classifies(page, address):
    if not (SITE/"demo"/"index.html").exists(): pytest.skip("no demo: make docs with npm")
    page.goto(address + "index.html")
    page.get_by_role("link", name="open the demo").click()
    page.locator("#status", has_text="Ready").wait_for(timeout=60_000)
    page.locator("#files").set_input_files(str(next((SITE/"demo"/"examples").glob("*.png"))))
    page.locator("#status", has_text="classified").wait_for(timeout=60_000)
    assert page.locator("article .answer .label").first.inner_text()
