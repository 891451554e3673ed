"""The page, in a browser: a picture dropped, many answered, nothing asked of any other host."""

import csv
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from serving import png

playwright = pytest.importorskip(
    "playwright.sync_api", reason="the browser test needs playwright; make setup EXTRAS=browser"
)
pytest.importorskip("gradio", reason="make serve needs gradio; make setup EXTRAS=serve")
pytest.importorskip("onnx", reason="the tests make a model with onnx; make setup EXTRAS=export")

CHROMIUM = shutil.which("chromium")
PHONE = {"viewport": {"width": 375, "height": 800}, "color_scheme": "dark"}
DESK = {"viewport": {"width": 1200, "height": 900}, "color_scheme": "light"}
CONTRAST = """(selector) => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const element = document.querySelector(selector);
  const ink = parse(getComputedStyle(element).color);
  let at = element, paper = [0, 0, 0, 0];
  while (at && (paper.length > 3 && paper[3] === 0)) {
    paper = parse(getComputedStyle(at).backgroundColor); at = at.parentElement;
  }
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, w, k) => sum + w * ((v) =>
    v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)(c[k] / 255), 0);
  const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium; none is ever downloaded."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; install your system's package of that name")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """A red picture, a grey one, one that is none, and a zip of all."""
    contents = {"red.png": png(250, 0, 0), "grey.png": png(120, 120, 120), "no.png": b"rubbish"}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, data in contents.items():
            archive.writestr(f"../in/{name}", data)
    return {path.name: path for path in tmp_path.iterdir()}


def opened(browser, server, **look):
    """Return the page, ready, and the list that every request is noted in."""
    page, asked = browser.new_context(**look).new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.wait_for_selector("#drop input[type=file]", state="attached", timeout=60_000)
    return page, asked


def drop(page, path: Path, expected: str) -> None:
    """Drop one picture and wait until the answer says something."""
    page.set_input_files("#drop input[type=file]", path)
    page.locator("#answer", has_text=expected).wait_for(timeout=30_000)


@pytest.mark.slow
def test_a_picture_and_a_batch(browser, server, files):
    """Check that a dropped picture is answered with bars, crop and heat map, and that several
    pictures and a zip come as a table and a CSV of the columns of `make predict`; that a class's
    name is text, and that nothing is asked of any other host."""
    page, asked = opened(browser, server, **DESK)
    assert "Colours & <shapes>" in page.inner_text("h1")
    assert "0.9123" in page.inner_text("body")
    drop(page, files["red.png"], "red <i>")
    page.wait_for_selector("#seen img")
    assert page.locator("#bars dt").all_inner_texts()[0] == "red <i>"
    assert page.locator("#seen figure").count() == 2
    page.get_by_role("tab", name="Batch").click()
    page.set_input_files("#drop-many input[type=file]", [files["red.png"], files["all.zip"]])
    page.locator("#drop-many", has_text=re.compile(r"all\s*\.zip")).wait_for(timeout=30_000)
    page.click("#answer-many")
    page.wait_for_selector("#said-many table", timeout=30_000)
    rows = page.locator("#said-many tr").all_inner_texts()
    assert [row.split("\t")[0] for row in rows[1:]] == [
        "red.png", "../in/red.png", "../in/grey.png", "../in/no.png",
    ]  # fmt: skip
    assert "4 pictures" in page.inner_text("#said-many")
    with page.expect_download() as download:
        page.click("#csv-many")
    table = list(csv.reader(Path(download.value.path()).read_text().splitlines()))
    assert table[0][:4] == ["image", "answer", "confidence", "note"]
    assert [row[1] for row in table[1:4]] == ["red <i>", "red <i>", "don't know"]
    here = f"http://127.0.0.1:{server.port}/"
    assert asked and not [url for url in asked if not url.startswith((here, "data:", "blob:"))]
    assert not [line for line in server.lines if "CALLED" in line]


@pytest.mark.slow
def test_on_a_phone_in_the_dark(browser, server, files):
    """Check that the page fits a phone, its answer can be read in the dark, a higher confidence
    turns an answer into "don't know" and its promise with it, and a file that is no picture is
    told."""
    page, _ = opened(browser, server, **PHONE)
    drop(page, files["red.png"], "red <i>")
    page.wait_for_selector("#bars dt")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.evaluate(CONTRAST, "#answer .answer") > 4.5
    assert "80.0% of the pictures" in page.inner_text("#promise")
    page.fill("#level input[type=number]", "0.99")
    page.locator("#promise", has_text="no answer had a confidence of 0.99").wait_for()
    page.click("#drop button[aria-label='Remove'], #drop button[aria-label='Clear']")
    page.locator("#drop input[type=file]").wait_for(state="attached")
    drop(page, files["grey.png"], "don't know")
    assert "it would be" in page.inner_text("#answer")


@pytest.mark.slow
def test_no_picture_is_told(browser, server, files):
    """Check that the page says what is wrong with a file that is no picture."""
    page, _ = opened(browser, server, **DESK)
    drop(page, files["no.png"], "cannot be used")
    assert "not a picture" in page.inner_text("#answer")
    assert page.locator("#seen img").count() == 0


@pytest.mark.slow
def test_the_slider_by_keyboard(browser, server, files):
    """Check that a confidence set by keys changes the answer that is shown."""
    page, _ = opened(browser, server, **DESK)
    drop(page, files["grey.png"], "don't know")
    page.focus("#level input[type=range]")
    page.keyboard.press("Home")
    page.locator("#answer .answer", has_text="<").wait_for(timeout=15_000)
    page.keyboard.press("End")
    page.locator("#answer", has_text="don't know").wait_for(timeout=15_000)
