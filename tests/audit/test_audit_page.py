"""The page of an audit: whole, escaped, bounded, and the same for the same findings."""

import base64
import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.artifacts.findings import LEVELS, Audit, Finding
from pipeline.audit import page
from pipeline.audit.page import render, write_page
from pipeline.competition import CompetitionData
from pipeline.page.text import source_hash
from pipeline.page.thumbnails import SIDE, Album, thumbnail

VOID = {"meta", "link", "br", "hr", "img", "input", "col", "source", "wbr", "base"}
HOSTILE = "<script>alert(1)</script>\"'&<b>&amp;{{ 7*7 }}"
WORDS = {"block": "blocks", "warn": "warns", "note": "note", "fine": "fine"}


class Reader(HTMLParser):
    """Reads a page, each of whose tags must be closed; `opened` are all with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.opened: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.stack, f"left open: {self.stack}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in {tag}"
        self.opened.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.opened.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack and self.stack.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if not {"script", "style"} & set(self.stack):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())

    def all(self, tag: str, name: str = "") -> list[dict[str, str]]:
        """Return the attributes of tags, of a class if one is given."""
        return [
            attributes
            for found, attributes in self.opened
            if found == tag and (not name or name in attributes.get("class", "").split())
        ]


def audit_of(*findings: Finding, **facts) -> Audit:
    return Audit("tiny", "d" * 16, "f" * 16, findings, facts)


def section(text: str, name: str) -> str:
    """Return the HTML of the section of a finding."""
    parts = re.findall(r'<section class="finding" id=.*?</section>', text, re.S)
    return next(part for part in parts if f">{html.escape(name)}</h2>" in part)


def uses(text: str) -> list[str]:
    return re.findall(r'<use href="#(picture-\d+)">', text)


@pytest.fixture
def data(tiny) -> CompetitionData:
    return tiny.data


def noisy(data: CompetitionData, folder: Path, count: int, side: int) -> CompetitionData:
    """Return a competition with `count` training rows, each with a picture of noise, which no
    format makes small."""
    rng = np.random.default_rng(0)
    paths = [folder / f"row-{i}.bmp" for i in range(count)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (side, side, 3)).astype(np.uint8))
    ids = np.array([f"row-{i}" for i in range(count)])
    train = data.train.take(np.zeros(count, int))
    return replace(data, train=replace(train, ids=ids, images=paths))


def test_every_tag_is_closed_and_every_level_shown(data):
    """Check that a page of all levels is well formed, and that each finding is marked by word and
    shape, with `fine` ones on a line at the end."""
    findings = [Finding(f"a-{level}", level, f"says {level}") for level in reversed(LEVELS)]
    text = render(audit_of(*findings), data, [])
    reader = Reader(text)
    for level in LEVELS:
        assert len(reader.all("span", level)) == 2  # in the contents and at the finding
        assert f"#mark-{level}" in text and f'<symbol id="mark-{level}"' in text
        assert f"{WORDS[level]}a-{level}" in reader.words.replace(" ", "")
    order = [reader.words.rindex(f"says {level}") for level in LEVELS]
    assert order == sorted(order)
    assert len(reader.all("section")) == len(LEVELS)  # three, and one for all that are fine


def test_all_references_lead_somewhere_on_the_page(data):
    """Check that links, pictures and marks name ids that are there once, and that nothing is
    fetched: no address, no policy that would let one through."""
    items = [{"rows": ["000", "042"]}]
    text = render(audit_of(Finding("twins", "block", "says", items=items)), data, [])
    reader = Reader(text)
    ids = [attributes["id"] for _, attributes in reader.opened if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"] for _, a in reader.opened if "href" in a]
    assert {t[1:] for t in targets if t.startswith("#")} <= set(ids)
    assert all(t.startswith(("#", "data:image/")) for t in targets)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|src=", text, re.I)
    assert all(
        "style" not in a and not any(n.startswith("on") for n in a) for _, a in reader.opened
    )


def test_the_policy_allows_the_style_and_the_script_of_the_page_only(data):
    """Check the two hashes of the policy against those of the text between the tags."""
    text = render(audit_of(Finding("a", "warn", "says")), data, [])
    policy = Reader(text).all("meta")[1]["content"]
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    for tag in ("style", "script"):
        (source,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        assert f"{tag}-src '{source_hash(source)}'" in policy
    # of CSP Level 3, 8.3: alert('Hello, world.');
    known = "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="
    assert source_hash("alert('Hello, world.');") == known


def test_everything_that_comes_from_data_is_escaped(tiny):
    """Check that hostile ids, classes, names and texts are shown as they are, and open no tag."""
    tiny.configure(title=HOSTILE)
    loaded = tiny.data
    ids = loaded.train.ids.astype("<U80")
    ids[0] = HOSTILE
    classes = (HOSTILE, *loaded.classes[1:])
    loaded = replace(loaded, classes=classes, train=replace(loaded.train, ids=ids))
    labels = loaded.labels.copy()
    labels[0] = 0
    loaded = replace(loaded, train=replace(loaded.train, labels=labels))
    item = {"rows": [HOSTILE, "no-such-" + HOSTILE], "title": HOSTILE, HOSTILE: HOSTILE}
    table = [[HOSTILE, "n"], [HOSTILE, "1"]]
    finding = Finding(HOSTILE, "block", HOSTILE, HOSTILE, items=[item], table=table)
    audit = audit_of(finding, Finding(HOSTILE, "fine", HOSTILE), made=HOSTILE)
    text = render(replace(audit, competition=HOSTILE), loaded, [])
    reader = Reader(text)
    assert len(reader.all("script")) == 1 and not reader.all("b")
    assert reader.words.count(" ".join(HOSTILE.split())) >= 15
    assert {"role": "img", "aria-label": f"picture {HOSTILE}"}.items() <= next(
        a for a in reader.all("svg") if a.get("role")
    ).items()


@pytest.mark.parametrize("odd", ["a\udcffb", "a\x00b", "a\u202eb", "a\x1b[31mb"])
def test_text_of_odd_bytes_is_written(data, tmp_path, odd):
    """Check that text which is no Unicode, or which controls a screen, is made harmless."""
    write_page(tmp_path / "audit.html", audit_of(Finding("a", "warn", odd)), data, [])
    text = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert odd not in text and re.search(r"a.+b</p>", section(text, "a"))


def test_the_same_findings_make_the_same_bytes(tiny, tmp_path, monkeypatch):
    """Check that two runs, in different folders, differ in nothing but the line of `made`."""
    items = [{"rows": ["000", "001"], "distance": 3}]
    audit = audit_of(Finding("a", "warn", "says", items=items), made="yesterday")
    write_page(tmp_path / "one.html", audit, tiny.data, [])
    monkeypatch.chdir(tmp_path)
    write_page(tmp_path / "two.html", audit, tiny.data, [])
    one, two = (tmp_path / "one.html").read_bytes(), (tmp_path / "two.html").read_bytes()
    assert one == two and one.count(b"yesterday") == 1
    later = render(replace(audit, facts={"made": "today"}), tiny.data, [])
    assert later.replace("today", "yesterday").encode() == one
    assert "made" not in Reader(render(replace(audit, facts={}), tiny.data, [])).words


def test_a_pair_shows_both_pictures_with_what_is_known_of_them(data):
    """Check ids, labels, tables and the distance of a pair: as the item says them, else as the
    tables do."""
    told = {"rows": ["000", "042"], "labels": ["kitten", ""], "distance": 7}
    items = [{**told, "places": ["fold 3", "test"]}, {"rows": ["001", "043"], "score": 0.98765}]
    text = render(audit_of(Finding("twins", "warn", "says", items=items)), data, [])
    cards = re.findall(r'<li class="card of-2">.*?</li>', section(text, "twins"), re.S)
    first, second = (Reader(card).words for card in cards)
    assert [len(set(uses(card))) for card in cards] == [2, 2]
    assert re.sub(r"\s+", "", first) == "distance7000kittenfold3042test"
    label = data.classes[data.labels[1]]
    assert re.sub(r"\s+", "", second) == f"score0.9877001{label}train043test"


def test_the_picture_shown_is_that_of_the_row(data):
    """Check the pixels behind each id against the file of its row."""
    items = [{"rows": ["000", "042"]}, {"rows": ["007"]}]
    text = render(audit_of(Finding("a", "warn", "says", items=items)), data, [])
    store = dict(re.findall(r'id="(picture-\d+)" href="data:image/png;base64,([^"]+)"', text))
    shown = re.findall(r'aria-label="picture (\d+)".*?href="#(picture-\d+)"', text, re.S)
    assert [name for name, _ in shown] == ["000", "042", "007"]
    paths = dict(
        zip([*data.train.ids, *data.test.ids], [*data.train.images, *data.test.images], strict=True)
    )
    for name, picture in shown:
        pixels = cv2.imdecode(np.frombuffer(base64.b64decode(store[picture]), np.uint8), 1)
        assert np.array_equal(pixels, cv2.imread(str(paths[name])))


def test_each_picture_is_embedded_once(data):
    """Check that a row in several findings, and other files of one picture, take one image."""
    images = list(data.train.images)
    images[5].write_bytes(images[0].read_bytes())
    items = [{"rows": ["000", "005"]}, {"rows": ["000", "001"]}]
    findings = [Finding(name, "warn", "says", items=items) for name in ("a", "b")]
    text = render(audit_of(*findings), data, [])
    assert len(uses(text)) == 8 and len(set(uses(text))) == 2
    assert text.count("<image ") == text.count("data:image/") == 2


def test_more_pictures_of_one_item_and_items_without_any(data):
    """Check that a large cluster is cut, with a word about it, and that items may be text alone."""
    cluster, text_only = {"rows": [f"{i:03d}" for i in range(9)]}, {"title": "a camera", "n": 1234}
    text = render(audit_of(Finding("a", "note", "says", items=[cluster, text_only])), data, [])
    words = Reader(section(text, "a")).words
    assert len(uses(text)) == page.TOGETHER and "3 more pictures in audit.json" in words
    assert "a camera n 1,234" in words


def test_a_picture_that_cannot_be_shown_says_why(data):
    """Check that missing, empty and undecodable files, and ids of no row, get a reason instead."""
    images = data.train.images
    images[0].unlink()
    images[1].write_bytes(b"")
    images[2].write_bytes(b"no picture")
    items = [{"rows": [name]} for name in ("000", "001", "002", "nobody")]
    text = render(audit_of(Finding("a", "warn", "says", items=items)), data, [])
    wells = re.findall(r'<div class="well">\s*<p>(.*?)</p>', text)
    assert wells == ["missing", "an empty file", "not an image", "in neither table"]
    assert not uses(text)


def test_a_dropped_row_says_what_is_wrong_with_its_picture(tiny):
    """Check that a row which `missing_images: drop` left out is still known by its reason."""
    tiny.configure(missing_images="drop")
    (tiny.root / "data" / "tiny" / "images" / "004.png").write_bytes(b"")
    text = render(audit_of(Finding("a", "warn", "s", items=[{"rows": "004"}])), tiny.data, [])
    assert "004train" in Reader(section(text, "a")).words.replace(" ", "")
    assert "<p>an empty file</p>" in text


@pytest.mark.parametrize("side", [60, 160])
def test_a_thousand_items_of_noise_stay_below_five_megabytes(data, tmp_path, side):
    """Check the bound on bytes with pictures that cannot be compressed, the words about what is
    left out, and that blocking findings, told last, come before the others."""
    large = noisy(data, tmp_path, 400, side)
    pairs = [
        {"rows": [f"row-{i % 400}", f"row-{(7 * i + 1) % 400}"], "distance": i} for i in range(1000)
    ]
    table = [["n"], *[["1"]] * 999]
    later = [
        Finding(f"later-{k}", "note", "says", items=pairs[80 * k : 80 * k + 80], table=table)
        for k in range(10)
    ]
    first = Finding("first", "block", "says", items=pairs[800:])
    write_page(tmp_path / "audit.html", audit_of(*later, first), large, [])
    text = (tmp_path / "audit.html").read_text()
    assert (tmp_path / "audit.html").stat().st_size < 5_000_000
    shown = [section(text, one.name).count('<li class="card') for one in (first, *later)]
    assert shown[0] >= max(shown) and shown[:2] >= [page.FIRST] * 2
    for one, count in zip((first, *later), shown, strict=True):
        assert f"{len(one.items) - count} more in audit.json" in section(text, one.name)
    assert f"{999 - page.LINES} more lines in audit.json" in section(text, "later-0")


def test_few_items_of_each_finding_come_before_many_of_one(data, tmp_path):
    """Check that the album, once full, has pictures of every finding, most of the first."""
    large = noisy(data, tmp_path, 400, 16)
    findings = [
        Finding(
            f"f-{k}", "warn", "says", items=[{"rows": [f"row-{40 * k + i}"]} for i in range(40)]
        )
        for k in range(10)
    ]
    text = render(audit_of(*findings), large, [])
    shown = [section(text, f"f-{k}").count('<li class="card') for k in range(10)]
    assert sum(shown) == 300 and min(shown) == page.FIRST and shown == sorted(shown, reverse=True)


def test_allowed_findings_are_shown_as_allowed(data):
    """Check that what the YAML allows no longer blocks, after what does, and that the lines to copy
    allow both."""
    findings = [Finding(name, "block", "says") for name in ("ok", "bad: yes")]
    text = render(audit_of(*findings), data, ["ok"])
    reader = Reader(text)
    assert len(reader.all("span", "allowed")) == 2 and len(reader.all("span", "block")) == 2
    assert reader.words.rindex("bad: yes") < reader.words.rindex("ok ")
    assert "1 finding keeps training from starting, bad: yes: mend the data" in reader.words
    assert "; ok is allowed." in reader.words and "make audit COMP=tiny" in reader.words
    (lines,) = re.findall(r'<pre class="permission copied">(.*?)</pre>', text, re.S)
    assert yaml.safe_load(html.unescape(lines)) == {"audit": {"allow": ["ok", "bad: yes"]}}
    free = Reader(render(audit_of(*findings), data, ["ok", "bad: yes"]))
    assert "Nothing keeps training from starting; ok and bad: yes are allowed." in free.words
    assert not free.all("span", "block") and not free.all("pre")
    assert "make folds COMP=tiny" in free.words


def test_text_between_backticks_is_code(data):
    """Check that pairs of backticks become code, escaped, and that a lone one stays."""
    text = render(audit_of(Finding("a", "warn", "`<b>` and ` alone", "name `x` or `y`")), data, [])
    part = section(text, "a")
    assert '<p class="says"><code>&lt;b&gt;</code> and ` alone</p>' in part
    assert '<p class="why">name <code>x</code> or <code>y</code></p>' in part


def test_an_audit_without_findings_has_a_page(data):
    """Check that nothing is broken where nothing was looked for."""
    words = Reader(render(audit_of(), data, [])).words
    assert "Nothing keeps training from starting. 0 findings warn" in words


def test_columns_of_numbers_are_told_from_text(data):
    """Check alignment and sort values: commas, percent, errors and empty cells; short lines are
    filled up, and header cells are buttons that say how they are sorted."""
    table = [["class", "rows", "share"], ["a", "1,234", "5 %"], ["b", "-", "−0.5 ± 0.1"], ["3"]]
    text = render(audit_of(Finding("t", "note", "says", table=table)), data, [])
    reader = Reader(section(text, "t"))
    heads, cells = reader.all("th"), reader.all("td")
    assert [a.get("class") for a in heads] == [None, "number", "number"]
    assert all(a["aria-sort"] == "none" for a in heads) and len(reader.all("button")) == 3
    assert len(cells) == 9
    values = [a.get("data-value") for a in cells]
    assert values == [None, "1234", "5", None, None, "-0.5", None, None, None]


def test_thumbnails_are_turned_as_the_exif_says(tmp_path):
    """Check a large photo that lies on its side: shape, colours and size of its thumbnail."""
    pixels = np.zeros((600, 1200, 3), np.uint8)
    pixels[:, :600] = 255, 0, 0  # red on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: left becomes top
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    small = thumbnail(tmp_path / "a.jpg")
    assert (small.width, small.height, small.pixelated) == (SIDE // 2, SIDE, False)
    stored = np.frombuffer(base64.b64decode(small.uri.partition(",")[2]), np.uint8)
    shown = cv2.imdecode(stored, cv2.IMREAD_COLOR)
    assert small.uri.startswith("data:image/jpeg") and shown.shape == (SIDE, SIDE // 2, 3)
    assert shown[20, 40, 2] > 200 and shown[140, 40].max() < 50


@pytest.mark.parametrize("size, times", [((8, 8), 20), ((28, 20), 5), ((63, 63), 2), ((64, 9), 1)])
def test_small_pictures_are_enlarged_by_whole_factors(tmp_path, size, times):
    """Check that pictures below 64 px keep their pixels, to be shown as squares."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    small = thumbnail(tmp_path / "a.png")
    assert (small.height, small.width) == tuple(times * side for side in size)
    assert small.pixelated == (max(size) < 64) == small.uri.startswith("data:image/png")


def test_an_album_never_shows_half_a_pair(data):
    """Check that a pair is refused whole where one more picture has room, and what is there may
    come again."""
    a, b, c, d = data.train.images[:4]
    album = Album(most=3)
    assert len(album.take([a, b])) == 2
    assert album.take([c, d]) is None and album.take([c]) is None
    assert album.take([b, a]) == [thumbnail(b), thumbnail(a)] and len(album.pictures) == 2


@pytest.mark.parametrize("theme", [0, 1])
def test_text_can_be_read_in_both_themes(data, theme):
    """Check the contrast of every text colour against both grounds: 4.5 to 1, as WCAG 2.2 asks."""
    text = render(audit_of(), data, [])
    blocks = re.findall(r":root \{(.*?)\}", text, re.S)
    colours = dict(re.findall(r"--(\w+): (#\w{6});", blocks[theme]))

    def light(code: str) -> float:
        parts = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for name in ("text", "muted", "block", "warn", "note", "fine"):
        for ground in ("ground", "well"):
            low, high = sorted((light(colours[name]), light(colours[ground])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)
