"""Findings about single pictures: every kind of odd picture is refused, told of, or harmless."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from odd_pictures import KINDS, encoded, flat, grey, jpeg, png, see_through, smooth
from PIL import Image, ImageOps

from pipeline.artifacts.findings import Audit
from pipeline.audit.pictures import EXAMPLES, LISTED, picture_findings
from pipeline.competition.faults import fault, quiet
from pipeline.errors import PodiumError
from pipeline.images.decode import decode
from pipeline.images.duplicates import competition_looks
from pipeline.images.look import look

TABLES = {"mixed-forms", "mixed-sizes"}  # of all pictures: they name none


def by_name(data) -> dict:
    with quiet():
        return {f.name: f for f in picture_findings(data, competition_looks(data))}


def put(tiny, rows: dict[int, bytes | Path]) -> None:
    """Put pictures in place of those of the rows; all keep their names."""
    for row, content in rows.items():
        path = tiny.root / "data/tiny/images" / f"{row:03d}.png"
        path.write_bytes(content)


@pytest.mark.parametrize("kind", KINDS)
def test_every_odd_picture_is_refused_told_of_or_harmless(kind, make_tiny):
    """Check one odd picture among usual ones: its findings are those expected and name it, and
    what no finding names decodes to the pixels that Pillow shows."""
    tiny, odd = make_tiny(rows=10, test=4, images=True), KINDS[kind]
    for path in (tiny.root / "data/tiny/images").iterdir():
        path.write_bytes(png(smooth(64, 48)))
    made = odd.make(tiny.root / "data/tiny/images/")
    tiny.edit("train", lambda t: t.assign(file=t["id"] + ".png").replace("007.png", made.name))
    tiny.edit("test", lambda t: t.assign(file=t["id"] + ".png"))
    columns = {"id": "id", "label": "label", "image": "file"}
    tiny.configure(columns=columns, extension=None)
    found = by_name(tiny.data)
    levels = {name: f for name, f in found.items() if f.level != "fine" and name not in TABLES}
    assert set(levels) == odd.expected
    for finding in levels.values():
        (item,) = finding.items
        assert (item["rows"], item["table"], finding.count) == (["007"], "train", 1)
        assert item["file"] == f"images/{made.name}" and item["title"]
    if odd.fault:
        assert levels["unreadable-pictures"].items[0]["title"].startswith(odd.fault)
        assert levels["unreadable-pictures"].level == "block"


def upright(path: Path, *, obeys: bool) -> np.ndarray:
    """Return the pixels (h, w, 3) that Pillow shows, turned where the EXIF is to be obeyed."""
    with Image.open(path) as picture:
        shown = ImageOps.exif_transpose(picture) if obeys else picture
        return np.asarray(shown.convert("RGB")).astype(float)


@pytest.mark.parametrize("kind", KINDS)
def test_training_decodes_what_is_called_usable_and_nothing_else(kind, tmp_path):
    """Check look, fault and decode against each other and against Pillow's pixels: no picture is
    used as something else without a finding."""
    odd = KINDS[kind]
    path = odd.make(tmp_path)
    with quiet():
        told, reason = look(path), fault(path)
    assert (reason or str(told["fault"])).startswith(odd.fault) and bool(reason) == bool(odd.fault)
    assert str(told["fault"]) == reason and len(reason) <= 80 and "\n" not in reason
    if odd.fault:
        with pytest.raises(PodiumError), quiet():
            decode(path)
        return
    with quiet():
        pixels = decode(path)
        expected = upright(path, obeys="rotated-pictures" in odd.findings)
    assert pixels.shape == (told["height"], told["width"], 3)
    assert told["constant"] == (pixels == pixels[0, 0]).all()
    assert np.abs(told["mean"] - pixels.mean((0, 1))).max() < 3
    assert told["std"].max() <= pixels.std((0, 1)).max() + 2  # of 64 px, which are smoother
    small = Image.fromarray(pixels).resize((8, 8), Image.Resampling.BOX)
    assert np.abs(told["thumb"] - np.asarray(small, float)).mean() < 12  # as turned
    same = pixels.shape == expected.shape and np.abs(pixels - expected).mean() <= odd.within
    assert same != odd.differs
    assert not odd.differs or odd.findings  # such a picture is told of


def test_there_are_kinds_of_every_finding():
    """Check that the table above covers every finding, and more than 40 kinds."""
    expected = set().union(*(odd.expected for odd in KINDS.values()))
    assert len(KINDS) > 40
    assert len(expected) == 14 and not expected & TABLES


def test_a_whole_competition_of_odd_pictures_is_told_of(make_tiny):
    """Check all kinds together, half of them in the test table, under a policy: nothing is fatal,
    and each is named by its own row under its own findings alone."""
    tiny = make_tiny(rows=60, test=60, images=True)
    rows, extra = {}, tiny.root / "data/tiny/images/odd"
    for place, (kind, odd) in enumerate(KINDS.items()):
        folder = extra / f"{place}"
        folder.mkdir(parents=True)
        made = odd.make(folder)
        rows[f"{place:03d}"] = kind, f"odd/{place}/{made.name}"
    for table in ("train", "test"):
        tiny.edit(
            table,
            lambda t: t.assign(file=[rows.get(i, ("", f"{i}.png"))[1] for i in t["id"]]),
        )
    columns = {"id": "id", "label": "label", "image": "file"}
    tiny.configure(columns=columns, extension=None, missing_images="predict-prior")
    data = tiny.data
    found = by_name(data)
    assert {f.level for f in found.values()} <= {"warn", "note", "fine"}
    faulty = {name for name, (kind, _) in rows.items() if KINDS[kind].fault}
    assert {a.id for a in data.absent} == faulty
    named = {}
    for finding in found.values():
        for item in finding.items:
            assert item["table"] == ("train" if item["rows"][0] < "060" else "test")
            named.setdefault(item["rows"][0], set()).add(finding.name)
    for name, (kind, _) in rows.items():
        assert named.get(name, set()) == KINDS[kind].expected, kind


def test_findings_can_be_saved(make_tiny, tmp_path):
    """Check that findings are made of plain text and numbers, and come back the same."""
    tiny = make_tiny(images=True)
    put(tiny, {3: b"", 4: png(see_through(0.3)), 50: png(flat(9))})
    with quiet():
        findings = picture_findings(tiny.data, competition_looks(tiny.data))
    Audit("tiny", "", "", findings).save(tmp_path / "audit.json")
    again = Audit.load(tmp_path / "audit.json").findings
    assert [asdict(f) for f in again] == json.loads(json.dumps([asdict(f) for f in findings]))


def test_usual_pictures_are_fine(make_tiny):
    """Check that pictures without an oddity give every finding, each fine and without items."""
    tiny = make_tiny(images=True)
    for path in (tiny.root / "data/tiny/images").iterdir():
        path.write_bytes(png(smooth(64, 48)))
    found = by_name(tiny.data)
    assert len(found) == 16
    for finding in found.values():
        assert (finding.level, finding.count, list(finding.items)) == ("fine", 0, [])
        assert finding.why and finding.says[0].islower() and "\n" not in finding.says


@pytest.mark.parametrize("policy", ["drop", "predict-prior"])
def test_pictures_that_a_policy_takes_out_are_still_named(policy, make_tiny):
    """Check that rows that are dropped are counted and named too, and that nothing blocks."""
    tiny = make_tiny(images=True)
    put(tiny, {3: b"", 5: b"no picture", 50: b""})
    tiny.configure(missing_images=policy)
    finding = by_name(tiny.data)["unreadable-pictures"]
    assert (finding.level, finding.count) == ("warn", 3)
    named = [(i["table"], *i["rows"], i["title"]) for i in finding.items]
    assert sorted(named) == [
        ("test", "050", "an empty file"),
        ("train", "003", "an empty file"),
        ("train", "005", "not an image"),
    ]
    assert finding.table[1] == ["an empty file", "2"]
    assert ("`drop` leaves out" in finding.says) == (policy == "drop")


def test_counts_are_true_and_lists_are_short_and_sorted(make_tiny):
    """Check that at most so many are named, the oddest first, and all counted, table by table."""
    tiny = make_tiny(rows=90, test=20, images=True)
    sides = {row: 8 + row % 20 for row in range(100)}
    for row in range(110):
        put(tiny, {row: png(smooth(64, sides.get(row, 48)))})
    finding = by_name(tiny.data)["tiny-pictures"]
    assert finding.count == 100 and len(finding.items) == LISTED
    assert "90 of 90 training and 10 of 20 test pictures" in finding.says
    shown = [int(item["title"].split(" x ")[1].split()[0]) for item in finding.items]
    assert shown == sorted(sides.values())[:LISTED]


def test_what_all_pictures_are_is_told_by_examples(tiny):
    """Check pictures of 16 px, all of them: one line, a few examples."""
    finding = by_name(tiny.data)["tiny-pictures"]
    assert finding.level == "note" and finding.count == 60 and len(finding.items) == EXAMPLES


@pytest.mark.parametrize(
    ("train", "test", "level"),
    [
        (0, 0, "fine"),
        (42, 18, "note"),
        (20, 8, "note"),
        (10, 7, "note"),  # shares differ by 0.15, which is chance
        (30, 4, "warn"),
        (0, 18, "warn"),
    ],
)
def test_grey_pictures_warn_where_their_shares_differ(train, test, level, make_tiny):
    """Check the level by how many of 42 training and 18 test pictures are grey."""
    tiny = make_tiny(images=True)
    put(tiny, {row: png(smooth()) for row in range(60)})
    put(tiny, {row: png(grey()) for row in [*range(train), *range(42, 42 + test)]})
    finding = by_name(tiny.data)["grey-pictures"]
    assert (finding.level, finding.count) == (level, train + test)


@pytest.mark.parametrize(
    ("content", "name", "level"),
    [
        (png(see_through(0.5)), "see-through-pictures", "warn"),
        (jpeg(smooth().convert("CMYK")), "cmyk-pictures", "warn"),
        (KINDS["mpo"].write, "films-and-pages", "note"),
        (KINDS["gif film"].write, "films-and-pages", "warn"),
        (KINDS["exif 6"].write, "rotated-pictures", "note"),
        (KINDS["turned avif"].write, "rotated-pictures", "warn"),
        (KINDS["16 bits, small values"].write, "deep-pictures", "warn"),
        (KINDS["16 bits, colours"].write, "deep-pictures", "note"),
        (png(flat(7)), "constant-pictures", "warn"),
        (png(flat(7, 1)), "nearly-constant-pictures", "note"),
    ],
)
def test_levels(content, name, level, make_tiny):
    """Check that what costs pixels or meaning warns, and what is only worth knowing does not."""
    tiny = make_tiny(images=True)
    put(tiny, {7: content})
    assert by_name(tiny.data)[name].level == level


def test_the_limit_of_huge_pictures_is_the_competitions(make_tiny):
    """Check that max_megapixels decides, to the pixel."""
    tiny = make_tiny(images=True)
    put(tiny, {1: png(smooth(50, 40)), 2: png(smooth(50, 41))})
    tiny.configure(max_megapixels=0.002)
    (item,) = by_name(tiny.data)["huge-pictures"].items
    assert item["rows"] == ["002"] and item["title"] == "50 x 41 px"


def test_forms_and_sizes_are_counted(make_tiny):
    """Check both tables against counts by hand."""
    tiny = make_tiny(images=True)
    put(tiny, {0: jpeg(), 50: jpeg(), 51: encoded(smooth().convert("CMYK"), "TIFF")})
    found = by_name(tiny.data)
    assert found["mixed-forms"].count == 3 and found["mixed-forms"].table == [
        ["form", "train", "test"],
        ["PNG RGB", "41", "16"],
        ["JPEG RGB", "1", "1"],
        ["TIFF CMYK", "0", "1"],
    ]
    lines = {line[0]: line[1:] for line in found["mixed-sizes"].table}
    assert lines["pixels"] == ["smallest", "5%", "median", "95%", "largest"]
    assert lines["training width"] == ["16", "16", "16", "16", "96"]
    assert lines["test height"][-1] == "72" and found["mixed-sizes"].count == 3


def test_sizes_are_those_of_sorted_rows(make_tiny):
    """Check the quantiles against sorting, on pictures of many sizes."""
    tiny = make_tiny(images=True)
    widths = np.random.default_rng(0).integers(33, 200, 60)
    put(tiny, {row: png(smooth(int(width), 40)) for row, width in enumerate(widths)})
    table = by_name(tiny.data)["mixed-sizes"].table
    ordered = np.sort(widths[:42])
    places = [max(0, int(np.ceil(q * 42)) - 1) for q in (0, 0.05, 0.5, 0.95, 1)]
    assert table[1] == ["training width", *(str(ordered[i]) for i in places)]


def test_a_competition_without_test_pictures(make_tiny):
    """Check that the sentence speaks of training pictures alone."""
    tiny = make_tiny(images=True)
    tiny.configure(tables={"test": None, "sample_submission": None})
    assert by_name(tiny.data)["constant-pictures"].says.endswith(": 0 of 42 training pictures")


def test_looks_of_other_rows_are_refused(tiny):
    """Check that a missing look is a bug that is raised."""
    data = tiny.data
    with pytest.raises(ValueError, match="59 looks at 60 rows"):
        picture_findings(data, competition_looks(data)[:-1])
