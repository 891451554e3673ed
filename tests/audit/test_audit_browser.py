"""The page of an audit in a real browser, where one is installed."""

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from pipeline.artifacts.findings import Audit, Finding
from pipeline.audit.page import render

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
TABLE = [
    ["class", "rows", "share"],
    ["item 10", "1,234", "9.5 %"],
    ["item 9", "-", "-0.5 %"],
    ["Item 2", "77", "100 %"],
    ["item 1", "800", "0 %"],
]
# What a user does; the answer is read from the title, which no policy hinders.
DRIVER = """<script>
const table = document.querySelector("table"), seen = [];
const told = () => Array.from(table.tBodies[0].rows, (row) => row.cells[0].textContent).join();
const state = () => Array.from(table.tHead.rows[0].cells, (h) => h.ariaSort).join();
for (const column of [1, 1, 0, 2]) {
  table.querySelectorAll("th button")[column].click();
  seen.push(`${told()} ${state()}`);
}
const boxes = Array.from(document.querySelectorAll("svg[role=img] use"), (use) => {
  const box = use.getBBox();
  return `${box.width}x${box.height}`;
});
const wide = document.documentElement.scrollWidth > innerWidth;
document.body.textContent = JSON.stringify({ seen, boxes, wide });
</script></body>"""


def visit(path: Path, profile: Path, *options: str) -> tuple[str, list[str]]:
    """Return the document as the browser has it in the end, and what stands in its console."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=5000", "--dump-dom"]
    command += ["--enable-logging=stderr", *options, path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture
def text(tiny) -> str:
    items = [{"rows": ["000", "042"], "distance": 3, "labels": ["x" * 300, "y"]}]
    findings = [
        Finding("twins", "block", "1 pair", items=items),
        Finding("a" * 200, "warn", "s" * 300, table=TABLE),
    ]
    return render(Audit("tiny", "d", "f", findings), tiny.data, [])


def driven(text: str) -> str:
    """Return the page without its policy, with a script that uses it."""
    opened, policies = re.subn(r"<meta http-equiv[^>]*>", "", text)
    assert policies == 1
    return opened.replace("</body>", DRIVER)


def test_the_page_runs_under_its_own_policy(text, tmp_path):
    """Check that the browser complains of nothing, and would, of a script that is not ours."""
    path = tmp_path / "audit.html"
    path.write_text(text)
    document, console = visit(path, tmp_path / "profile")
    assert "twins" in document and console == []
    path.write_text(text.replace("</body>", "<script>document.title = 'in'</script></body>"))
    document, console = visit(path, tmp_path / "profile")
    assert len(console) == 1 and "Content Security Policy" in console[0]
    assert "<title>in</title>" not in document


@pytest.mark.parametrize("width", [390, 1440])
def test_headers_sort_and_pictures_show(text, tmp_path, width):
    """Check that clicks sort numbers as numbers and names in natural order, up, then down, empty
    cells last, that aria-sort says so, that pictures have their size, and that no long name makes
    the page wider than the window."""
    path = tmp_path / "driven.html"
    path.write_text(driven(text))
    document, console = visit(path, tmp_path / "profile", f"--window-size={width},900")
    assert console == []
    told = unescape(document)
    up, down = "Item 2,item 1,item 10,item 9", "item 10,item 1,Item 2,item 9"
    names, share = "item 1,Item 2,item 9,item 10", "item 9,item 1,item 10,Item 2"
    assert f"{up} none,ascending,none" in told
    assert f"{down} none,descending,none" in told
    assert f"{names} ascending,none,none" in told
    assert f"{share} none,none,ascending" in told
    assert '"boxes":["160x160","160x160"]' in told
    assert '"wide":false' in told
