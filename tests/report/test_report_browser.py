"""The page in a real browser: policy, sorting, galleries, widths, contrast, print, no script."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ensemble.build import build_ensemble
from pipeline.report import report

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: make setup EXTRAS=browser"
)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

LONG = "a-class-with-a-name-that-has-no-place-to-break-it-" * 4
# The contrast of every text that is seen against what is painted behind it.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour, under) => {
    canvas.fillStyle = `rgb(${under.join()})`;
    canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return Array.from(canvas.getImageData(0, 0, 1, 1).data.slice(0, 3));
  };
  const ground = (one) => {
    const chain = [];
    for (let at = one; at; at = at.parentElement) chain.unshift(getComputedStyle(at));
    return chain.reduce((under, style) => rgb(style.backgroundColor, under), [255, 255, 255]);
  };
  const light = (parts) => {
    const [r, g, b] = parts.map((part) => {
      const s = part / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || /^(script|style)$/i.test(one.tagName)) continue;
    const box = one.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const under = ground(one);
    const style = getComputedStyle(one);
    const colour = one instanceof SVGElement ? style.fill : style.color;
    const [high, low] = [light(rgb(colour, under)), light(under)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    found.push([ratio, one.tagName, one.textContent.slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        opened = driver.chromium.launch(executable_path=BROWSER, args=options)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """Hold the page that the first test makes, for the others."""
    return {}


@pytest.fixture
def page_path(make_tiny, tmp_path, made) -> Path:
    """Return the page of a competition with three runs, an ensemble, pictures and a long name."""
    if not made:
        tiny = make_tiny(images=True)
        names = {"cat": LONG, "dog": "dog", "owl": "owl"}
        for table in ("train", "answers", "sample_submission"):
            tiny.edit(table, lambda frame: frame.assign(label=frame["label"].map(names)))
        for name, skill in (("a", 0.6), ("b-10", 1.0), ("b-9", 1.2)):
            folder = tiny.fake_run(name, skill=skill) / "fold-0"
            folder.mkdir()
            head = "epoch,lr,train_loss,train_score,valid_loss,valid_score\n"
            (folder / "history.csv").write_text(f"{head}1,.1,2,.5,2,.4\n2,.1,1,.6,1,.5\n")
        build_ensemble(tiny.data, tiny.folds(), None, "all")
        made["text"] = report(tiny.project, "tiny", say=lambda _: None).path.read_text()
    path = tmp_path / "report.html"
    path.write_text(made["text"])
    return path


def opened(browser, path: Path, **options) -> tuple:
    """Return the page, what its console says, and what it asks for from outside."""
    page = browser.new_page(**options)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    return page, said, asked


def column(page, section: str, at: int) -> list[str]:
    return page.locator(f"#{section} table tbody tr td:nth-child({at})").all_inner_texts()


def test_clicks_and_keys_sort(browser, page_path):
    """Check that numbers sort as numbers and names in natural order, up, then down, by mouse and by
    keyboard, that aria-sort says so, and that nothing is complained of or asked for."""
    page, said, asked = opened(browser, page_path)
    heads = page.locator("#runs th")
    page.locator("#runs th button", has_text="honest").click()
    values = [float(text) for text in column(page, "runs", 3)]
    assert values == sorted(values) and len(values) == 5
    assert heads.nth(2).get_attribute("aria-sort") == "ascending"
    page.locator("#runs th button", has_text="name").focus()
    page.keyboard.press("Enter")
    names = column(page, "runs", 1)
    assert names.index("b-9") < names.index("b-10")
    page.keyboard.press("Enter")
    assert column(page, "runs", 1) == names[::-1]
    states = [heads.nth(at).get_attribute("aria-sort") for at in range(heads.count())]
    assert states == ["descending", *["none"] * (len(states) - 1)]
    assert said == [] and all(one.startswith(("file:", "data:")) for one in asked)
    page.close()


def test_what_is_not_ours_does_not_run(browser, page_path):
    """Check that the policy refuses a script and a style that were slipped in."""
    slipped = "<script>document.title = 'in'</script><p style='color: red'>x</p></body>"
    page_path.write_text(page_path.read_text().replace("</body>", slipped))
    page, said, _ = opened(browser, page_path)
    assert page.title() != "in"
    assert len(said) == 2 and all("Content Security Policy" in one for one in said)
    page.close()


def test_galleries_open_and_close_by_mouse_and_keyboard(browser, page_path):
    """Check that a picture opens large with its caption, that arrows and buttons lead to the next,
    not out of the gallery, and that Escape and the button close it and give the focus back."""
    page, said, _ = opened(browser, page_path)
    dialog, zoom = page.locator("#enlarged"), page.locator(".gallery").first.locator("button.zoom")
    zoom.first.click()
    assert dialog.is_visible() and dialog.locator(".before").is_disabled()
    first = dialog.locator(".told .id").inner_text()
    assert first == page.locator(".gallery figcaption .id").first.inner_text()
    assert dialog.locator(".stage svg").bounding_box()["height"] > 160
    page.keyboard.press("ArrowRight")
    assert dialog.locator(".told .id").inner_text() != first
    dialog.locator(".before").click()
    assert dialog.locator(".told .id").inner_text() == first
    for _ in range(zoom.count() + 3):
        page.keyboard.press("ArrowRight")
    last = page.locator(".gallery").first.locator("figcaption .id").last.inner_text()
    assert dialog.locator(".told .id").inner_text() == last
    assert dialog.locator(".after").is_disabled()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    zoom.nth(1).focus()
    page.keyboard.press("Enter")
    assert dialog.is_visible()
    dialog.locator(".close").click()
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement === document.querySelectorAll('.zoom')[1]")
    zoom.first.click()
    page.mouse.click(3, 3)  # beside it
    assert not dialog.is_visible() and said == []
    page.close()


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(browser, page_path, width, scheme):
    """Check that no long name makes the page wider than the window, and the contrast of all text
    that is seen, charts and shades too, with every part opened: 4.5 to 1, as WCAG 2.2 asks."""
    view = {"width": width, "height": 900}
    page, said, _ = opened(browser, page_path, viewport=view, color_scheme=scheme)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.body.scrollWidth") <= width
    found = page.evaluate(CONTRAST)
    assert len(found) > 200 and found[0][0] >= 4.5, found[:5]
    assert any(tag == "text" for _, tag, _ in found) and said == []
    page.close()


def test_every_control_is_reached_and_seen_by_keyboard(browser, page_path):
    """Check that the first stop is the link to the content, and that whatever has the focus has an
    outline."""
    page, _, _ = opened(browser, page_path)
    seen = set()
    for at in range(40):
        page.keyboard.press("Tab")
        state = page.evaluate(
            "(() => { const one = document.activeElement; const s = getComputedStyle(one);"
            " return [one.tagName, one.textContent.trim(), s.outlineStyle, s.outlineWidth]; })()"
        )
        if at == 0:
            assert state[:2] == ["A", "Skip to the content"]
        assert state[2] != "none" and state[3] != "0px", state
        seen.add(state[0])
    assert {"A", "BUTTON", "SUMMARY"} <= seen
    page.close()


def test_it_works_without_scripts(browser, page_path):
    """Check that with scripts off all is there, and that runs are chosen by opening their part."""
    page, _, _ = opened(browser, page_path, java_script_enabled=False)
    assert len(column(page, "runs", 1)) == 5
    parts = page.locator("#classes details")
    assert parts.count() == 4 and parts.first.locator("table").is_visible()
    assert not parts.nth(1).locator("table").is_visible()
    parts.nth(1).locator("summary").click()
    assert parts.nth(1).locator("table").is_visible()
    assert page.locator(".gallery svg").first.bounding_box()["width"] > 0
    page.close()


def test_it_prints_with_all_parts_on_white(browser, page_path):
    """Check that on paper closed parts are printed too, in the light colours, dark screen or not,
    on several pages."""
    page, _, _ = opened(browser, page_path, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    closed = page.locator("#classes details:not([open]) table").first
    assert closed.bounding_box()["height"] > 20
    pdf = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3
    page.close()
