"""One good competition, spoiled in one place: refused by file and row, and nothing is written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

SIDE = 12
YAML = {
    "task": "multiclass",
    "metric": "accuracy",
    "data": "host",
    "columns": {
        "id": "id",
        "image": "file",
        "label": "kind",
        "group": "patient",
        "weight": "weight",
        "train_only": "extra",
    },
    "classes": ["cat", "dog", "owl"],
    "crop": {"kind": "box", "columns": ["x0", "y0", "x1", "y1"]},
    "exclude": "bad.txt",
    "external": [{"table": "older.csv", "prefix": "older-"}],
}
# The same rows as sets of labels, and as numbered classes.
SETS = YAML | {"task": "multilabel", "metric": "f1_macro", "classes": None}
SETS["columns"] = YAML["columns"] | {"label": None, "classes": ["cat", "dog", "owl"]}
NUMBERS = YAML | {"classes": None, "columns": YAML["columns"] | {"label": "grade"}}


@dataclass
class Host:
    """The folder of a competition, as it was unpacked, in a project that has its YAML."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "host"

    def lines(self, table: str) -> list[list[str]]:
        text = (self.folder / table).read_text()
        return [line.split(",") for line in text.splitlines()]

    def save(self, table: str, lines: list[list[str]]) -> None:
        (self.folder / table).write_text("\n".join(map(",".join, lines)) + "\n")


def rows(first: int, last: int) -> list[list[str]]:
    """Return lines of id, file, kind, cat, dog, owl, grade, patient, weight, extra and a box."""
    found = []
    for i in range(first, last):
        kind = i * 7 % 3
        hot = [str(int(k == kind or k == i % 5)) for k in range(3)]
        names = [f"p{i:03d}", f"p{i:03d}.png", ["cat", "dog", "owl"][kind], *hot, str(kind)]
        found.append([*names, f"host {i % 20}", "1.5", str(int(i % 11 == 0)), "1", "1", "11", "11"])
    return found


HEADER = ["id", "file", "kind", "cat", "dog", "owl", "grade", "patient", "weight", "extra"]
HEADER += ["x0", "y0", "x1", "y1"]


@pytest.fixture
def host(tmp_path, smoke_recipe) -> Host:
    """Write the good competition: 60 training rows, 6 external ones, 20 test rows."""
    made = Host(tmp_path)
    (made.folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for row in rows(0, 86):
        picture = rng.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
        cv2.imwrite(str(made.folder / "images" / row[1]), picture)
    made.save("train.csv", [HEADER, *rows(0, 60)])
    made.save("older.csv", [HEADER, *rows(60, 66)])
    test = [HEADER, *rows(66, 86)]
    made.save("test.csv", [line[:2] + line[10:] for line in test])
    made.save("sample_submission.csv", [["id", "kind"], *([line[0], "cat"] for line in test[1:])])
    zeros = [[line[0], "0", "0", "0"] for line in test[1:]]
    made.save("sample_sets.csv", [["id", "cat", "dog", "owl"], *zeros])
    made.save("sample_numbers.csv", [["id", "grade"], *([line[0], "0"] for line in test[1:])])
    made.save("bad.txt", [["p003"], ["p031"]])
    for name, content, sample in (
        ("kinds", YAML, "sample_submission.csv"),
        ("sets", SETS, "sample_sets.csv"),
        ("numbers", NUMBERS, "sample_numbers.csv"),
    ):
        path = tmp_path / "experiments" / "competitions" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content | {"tables": {"sample_submission": sample}}))
    (tmp_path / "experiments" / "recipes").mkdir()
    (tmp_path / "experiments" / "recipes" / "baseline.yaml").write_text(smoke_recipe)
    return made


Spoil = Callable[[Host], None]


def gone(name: str) -> Spoil:
    def spoil(host: Host) -> None:
        path = host.folder / name
        path.unlink() if path.is_file() else path.rename(host.folder / "elsewhere")

    return spoil


def content(name: str, data: bytes | Callable[[bytes], bytes]) -> Spoil:
    """Replace the bytes of a file, or change them."""

    def spoil(host: Host) -> None:
        path = host.folder / name
        path.write_bytes(data if isinstance(data, bytes) else data(path.read_bytes()))

    return spoil


def cell(table: str, row: int, column: str, value: str) -> Spoil:
    """Change one cell; `row` counts from 2 below the header, as a text editor does."""

    def spoil(host: Host) -> None:
        lines = host.lines(table)
        lines[row - 1][lines[0].index(column)] = value
        host.save(table, lines)

    return spoil


def every(table: str, column: str, value: str) -> Spoil:
    def spoil(host: Host) -> None:
        lines = host.lines(table)
        for line in lines[1:]:
            line[lines[0].index(column)] = value
        host.save(table, lines)

    return spoil


def header(table: str, column: str, name: str) -> Spoil:
    def spoil(host: Host) -> None:
        lines = host.lines(table)
        lines[0][lines[0].index(column)] = name
        host.save(table, lines)

    return spoil


def without(table: str, column: str) -> Spoil:
    def spoil(host: Host) -> None:
        lines = host.lines(table)
        place = lines[0].index(column)
        host.save(table, [line[:place] + line[place + 1 :] for line in lines])

    return spoil


def line(table: str, row: int, change: Callable[[list[str]], list[str]]) -> Spoil:
    """Change all fields of a row; to none, which takes it out."""

    def spoil(host: Host) -> None:
        lines = host.lines(table)
        lines[row - 1] = change(lines[row - 1])
        host.save(table, [one for one in lines if one])

    return spoil


def other(mark: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(b",", mark)


def picture(number: int) -> str:
    return f"images/p{number:03d}.png"


TRAIN, TEST, SAMPLE = "train.csv", "test.csv", "sample_submission.csv"
CASES: dict[str, tuple[Spoil, list[str]]] = {
    "no training table": (gone(TRAIN), [TRAIN, "no such table"]),
    "no test table": (gone(TEST), [TEST, "no such table"]),
    "no sample": (gone(SAMPLE), [SAMPLE, "no such table"]),
    "no external table": (gone("older.csv"), ["older.csv", "no such table"]),
    "no list of exclusions": (gone("bad.txt"), ["bad.txt", "`exclude`"]),
    "no folder of pictures": (gone("images"), [TRAIN, "row 2", "missing", "84 of 84"]),
    "empty training table": (content(TRAIN, b""), [TRAIN, "is empty"]),
    "empty test table": (content(TEST, b""), [TEST, "is empty"]),
    "empty sample": (content(SAMPLE, b""), [SAMPLE, "is empty"]),
    "training table without rows": (content(TRAIN, ",".join(HEADER).encode()), [TRAIN, "no rows"]),
    "test table without rows": (content(TEST, b"id,file,x0,y0,x1,y1\n"), [TEST, "no rows"]),
    "sample without rows": (content(SAMPLE, b"id,kind\n"), [SAMPLE, "no rows"]),
    "no id column": (header(TRAIN, "id", "ID"), [TRAIN, "'id'", "mend `columns`"]),
    "no picture column": (without(TRAIN, "file"), [TRAIN, "'file'"]),
    "no label column": (without(TRAIN, "kind"), [TRAIN, "'kind'"]),
    "no group column": (without(TRAIN, "patient"), [TRAIN, "'patient'"]),
    "no weight column": (header(TRAIN, "weight", "wieght"), [TRAIN, "'weight'", "mean wieght"]),
    "no train-only column": (without(TRAIN, "extra"), [TRAIN, "'extra'"]),
    "no box column": (without(TEST, "x1"), [TEST, "'x1'"]),
    "no id column in test": (without(TEST, "id"), [TEST, "'id'"]),
    "no picture column in test": (without(TEST, "file"), [TEST, "'file'"]),
    "no label column in external": (without("older.csv", "kind"), ["older.csv", "'kind'"]),
    "an id twice": (cell(TRAIN, 9, "id", "p002"), [TRAIN, "row 9", "'p002' stands twice"]),
    "an id twice in test": (cell(TEST, 5, "id", "p066"), [TEST, "row 5", "'p066' stands twice"]),
    "an id twice in sample": (cell(SAMPLE, 5, "id", "p066"), [SAMPLE, "row 5", "stands twice"]),
    "an id twice in external": (cell("older.csv", 4, "id", "p060"), ["older.csv", "row 4"]),
    "a blank id": (cell(TRAIN, 30, "id", ""), [TRAIN, "row 30", "'id' is blank"]),
    "a blank id in test": (cell(TEST, 3, "id", ""), [TEST, "row 3", "'id' is blank"]),
    "a blank id in sample": (cell(SAMPLE, 3, "id", ""), [SAMPLE, "row 3", "'id' is blank"]),
    "an id of spaces": (cell(TRAIN, 30, "id", "  "), [TRAIN, "row 30", "'id' is blank"]),
    "a test id in train": (cell(TRAIN, 8, "id", "p070"), [TEST, "row 6", "'p070'", TRAIN]),
    "a label outside the list": (cell(TRAIN, 12, "kind", "dgo"), [TRAIN, "row 12", "mean dog"]),
    "a blank label": (cell(TRAIN, 12, "kind", ""), [TRAIN, "row 12", "'kind'", "''"]),
    "a label with a space": (cell(TRAIN, 12, "kind", " cat"), [TRAIN, "row 12", "' cat'"]),
    "a label of other case": (cell(TRAIN, 12, "kind", "Cat"), [TRAIN, "row 12", "'Cat'"]),
    "a foreign external label": (cell("older.csv", 3, "kind", "elk"), ["older.csv", "row 3"]),
    "numbers: a name among them": (cell(TRAIN, 7, "grade", "two"), [TRAIN, "row 7", "'two'"]),
    "numbers: a float among them": (cell(TRAIN, 7, "grade", "1.0"), [TRAIN, "row 7", "'1.0'"]),
    "numbers: a blank": (cell(TRAIN, 7, "grade", ""), [TRAIN, "row 7", "''"]),
    "numbers: NA": (cell(TRAIN, 7, "grade", "NA"), [TRAIN, "row 7", "'NA'"]),
    "numbers: one class": (every(TRAIN, "grade", "1"), [TRAIN, "fewer than two classes"]),
    "sets: a word": (cell(TRAIN, 14, "dog", "yes"), [TRAIN, "row 14", "'dog' is 'yes'"]),
    "sets: a blank": (cell(TRAIN, 14, "dog", ""), [TRAIN, "row 14", "'dog' is ''"]),
    "sets: a two": (cell(TRAIN, 14, "owl", "2"), [TRAIN, "row 14", "'owl' is '2'"]),
    "sets: a column is missing": (without(TRAIN, "owl"), [TRAIN, "'owl'"]),
    "sets: a class the sample lacks": (
        without("sample_sets.csv", "owl"),
        ["sample_sets.csv", "no column for class 'owl'"],
    ),
    "sets: a class of the sample alone": (
        header("sample_sets.csv", "owl", "elk"),
        ["sample_sets.csv", "'elk' is not a class"],
    ),
    "a field too many": (line(TRAIN, 20, lambda f: [*f, "x"]), [TRAIN, "row 20", "15 fields"]),
    "a field too few": (line(TRAIN, 20, lambda f: f[:-1]), [TRAIN, "row 20", "13 fields"]),
    "a field too many in test": (line(TEST, 4, lambda f: [*f, "x"]), [TEST, "row 4", "7 fields"]),
    "a column twice": (header(TRAIN, "grade", "kind"), [TRAIN, "'kind' stands twice"]),
    "a column without a name": (header(TRAIN, "grade", ""), [TRAIN, "row 1", "no name"]),
    "semicolons": (content(TRAIN, other(b";")), [TRAIN, "row 1", "tables.delimiter: ';'"]),
    "tabs": (content(TEST, other(b"\t")), [TEST, "row 1", "a tab"]),
    "pipes": (content(SAMPLE, other(b"|")), [SAMPLE, "row 1", "tables.delimiter: '|'"]),
    "latin-1": (
        content(TRAIN, lambda d: d.replace(b"host 4", "hôte 4".encode("latin-1"), 1)),
        [TRAIN, "row 6", "not UTF-8"],
    ),
    "UTF-16": (content(TEST, lambda d: d.decode().encode("utf-16")), [TEST, "row 1", "UTF-16"]),
    "a zero byte": (content(TRAIN, lambda d: d.replace(b"p007", b"p\x007", 1)), [TRAIN, "row 9"]),
    "a picture for a table": (content(TRAIN, b"\x89PNG\r\n\x1a\n\0\0"), [TRAIN, "row 1"]),
    "an open quote": (cell(TRAIN, 10, "patient", '"host'), [TRAIN, "row 10"]),
    "a picture above": (cell(TRAIN, 4, "file", "../x.png"), [TRAIN, "row 4", "outside"]),
    "a picture anywhere": (cell(TRAIN, 4, "file", "/etc/x.png"), [TRAIN, "row 4", "outside"]),
    "a test picture above": (cell(TEST, 4, "file", "a/../../x.png"), [TEST, "row 4", "outside"]),
    "a sample of other rows": (cell(SAMPLE, 7, "id", "p999"), [SAMPLE, "row 7", "'p999'"]),
    "a sample of fewer rows": (line(SAMPLE, 7, lambda f: []), [SAMPLE, "1 of 20", "'p071'"]),
    "a sample without a value": (without(SAMPLE, "kind"), [SAMPLE, "no column beside the id"]),
    "a sample with two": (content(SAMPLE, lambda d: d.replace(b"\n", b",x\n")), [SAMPLE, "'kind'"]),
    "a negative weight": (cell(TRAIN, 6, "weight", "-1"), [TRAIN, "row 6", "'weight' is '-1'"]),
    "a weight that is a word": (cell(TRAIN, 6, "weight", "x"), [TRAIN, "row 6", "'weight'"]),
    "an infinite weight": (cell(TRAIN, 6, "weight", "inf"), [TRAIN, "row 6", "'inf'"]),
    "no weight at all": (every(TRAIN, "weight", "0"), [TRAIN, "'weight' is 0 everywhere"]),
    "train-only 2": (cell(TRAIN, 6, "extra", "2"), [TRAIN, "row 6", "'extra' is '2'"]),
    "a blank group": (cell(TRAIN, 6, "patient", " "), [TRAIN, "row 6", "'patient' is blank"]),
    "a box of words": (cell(TRAIN, 6, "x0", "left"), [TRAIN, "row 6", "'x0' is 'left'"]),
    "a negative box": (cell(TEST, 6, "y0", "-3"), [TEST, "row 6", "'y0' is '-3'"]),
    "an empty box": (cell(TRAIN, 6, "x0", "11"), [TRAIN, "row 6", "holds no pixel"]),
    "an exclusion of nothing": (content("bad.txt", b"p003\np0031\n"), ["bad.txt", "row 2"]),
    "a missing picture": (gone(picture(5)), [TRAIN, "row 7", "p005.png", "missing"]),
    "a missing test picture": (gone(picture(70)), [TEST, "row 6", "p070.png", "missing"]),
    "a missing external picture": (gone(picture(61)), ["older.csv", "row 3", "p061.png"]),
    "a truncated picture": (
        content(picture(9), lambda d: d[: len(d) // 2]),
        [TRAIN, "row 11", "p009.png", "truncated"],
    ),
    "an empty picture": (content(picture(9), b""), [TRAIN, "row 11", "p009.png", "empty"]),
    "a page for a picture": (content(picture(9), b"<html>"), [TRAIN, "row 11", "not an image"]),
}


def test_the_good_one_is_accepted(host, podium):
    """Check that all three competitions train before they are spoiled."""
    for comp in ("kinds", "sets", "numbers"):
        done = podium(host.root, "train", "--comp", comp, "--arch", "lenet")
        assert done.status == 0, done.err


def test_there_are_enough():
    """Check that as many ways to spoil it are tried as were promised."""
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES)
def test_each_spoiled_one_is_refused(host, podium, snapshot, case):
    """Check the file and the row in one line, status 2, and that nothing was written."""
    spoil, words = CASES[case]
    spoil(host)
    before = snapshot(host.root)
    comp = case.partition(":")[0] if ":" in case else "kinds"
    refused = podium(host.root, "train", "--comp", comp, "--arch", "lenet")
    assert refused.status == 2, refused
    assert refused.err.startswith("error: ") and refused.err.count("\n") == 1, refused.err
    for word in words:
        assert word in refused.err
    assert snapshot(host.root) == before


@pytest.mark.parametrize("case", [case for case in CASES if ":" not in case])
def test_what_init_accepts_trains(host, podium, snapshot, case):
    """Check that init refuses a spoiled folder and writes nothing, or writes what can be trained
    on: some of it is no fault in a folder whose YAML is not written yet."""
    CASES[case][0](host)
    before = snapshot(host.root)
    made = podium(host.root, "init", "--comp", "new", "--data", "host")
    if made.status:
        assert made.status == 2 and made.err.startswith("error: "), made
        assert made.err.count("\n") == 1 and snapshot(host.root) == before
        return
    trained = podium(host.root, "train", "--comp", "new", "--arch", "lenet", "--limit", "40")
    assert trained.status == 0, trained.err
