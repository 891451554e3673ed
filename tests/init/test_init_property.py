"""Whatever table `init` accepts, `folds` and a smoke run accept too."""

import contextlib
import csv
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pipeline import cli

SIDE = 12
# Names that YAML, CSV or a file system could take for something else.
NAMES = ["no", "yes", "null", "1", "0", "1.5", "a b", "x: y", "#1", "é", "'q'", "a,b", "NA", "~"]
NAMES += ["T-shirt/top", "cat", "dog", "owl", "Ankle boot", "[x]", "2024-01-01", "-", "true"]


@dataclass(frozen=True)
class Layout:
    """A competition to write: how labels, ids, pictures and tables look."""

    labels: str  # name, number, one-hot, columns, or a separator
    classes: tuple[str, ...]
    rows: int
    test: int
    ids: str  # number, padded, name, path
    extension: str
    in_table: bool  # whether the table names the picture's file with its extension
    folders: tuple[str, str]
    delimiter: str
    sample: str  # label, probability, none
    with_test_table: bool
    extra: tuple[str, ...]
    seed: int


@st.composite
def layouts(draw) -> Layout:
    form = draw(st.sampled_from(["name", "number", "one-hot", "columns", " ", ",", ";", "|"]))
    names = st.lists(st.sampled_from(NAMES), min_size=2, max_size=6, unique=True)
    classes = tuple(draw(names))
    if form == "number":
        classes = tuple(str(i) for i in range(draw(st.integers(2, 6))))
    return Layout(
        form,
        classes,
        draw(st.integers(4, 70)),
        draw(st.integers(1, 15)),
        draw(st.sampled_from(["number", "padded", "name", "path"])),
        draw(st.sampled_from([".png", ".jpg"])),
        draw(st.booleans()),
        draw(st.sampled_from([("images", "images"), ("train", "test"), ("img/train", "img/test")])),
        draw(st.sampled_from([",", ";", "\t"])),
        draw(st.sampled_from(["label", "probability", "none"])),
        draw(st.booleans()),
        tuple(draw(st.sets(st.sampled_from(["patient_id", "width", "note", "weight"])))),
        draw(st.integers(0, 99)),
    )


def write(layout: Layout, folder: Path) -> None:
    """Write tables and pictures of a layout."""
    rng = np.random.default_rng(layout.seed)
    forms = {"number": "{}", "padded": "{:05d}", "name": "img_{}", "path": "s{}"}
    ids = [forms[layout.ids].format(i) for i in rng.permutation(layout.rows + layout.test)]
    suffix = ".csv" if layout.delimiter != "\t" else ".tsv"
    names = [one + layout.extension if layout.in_table else one for one in ids]
    for i, one in enumerate(ids):  # pictures of their own: copies would share a fold
        picture = rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
        path = folder / layout.folders[i >= layout.rows] / (one + layout.extension)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(layout.extension, picture)[1].tobytes())
    header, cells = label_cells(layout, rng)
    extra = [extra_cell(name, layout.rows, rng) for name in layout.extra]
    lines = zip(names, *zip(*cells, strict=True), *extra, strict=False)
    save(folder / f"train{suffix}", layout, [["image_id", *header, *layout.extra], *lines])
    tested = names[layout.rows :]
    if layout.with_test_table:
        save(folder / f"test{suffix}", layout, [["image_id"], *([one] for one in tested)])
    if layout.sample == "none":
        return
    per_class = layout.sample == "probability" or len(header) > 1
    columns = list(layout.classes) if per_class else header
    value = "0.5" if layout.sample == "probability" else "0" if per_class else cells[0][0]
    lines = [["image_id", *columns], *([one, *[value] * len(columns)] for one in tested)]
    save(folder / f"sample_submission{suffix}", layout, lines)


def label_cells(layout: Layout, rng: np.random.Generator) -> tuple[list[str], list[list[str]]]:
    """Return the header of the label columns and the cells of every row."""
    c = len(layout.classes)
    if layout.labels in ("name", "number"):
        return ["label"], [[layout.classes[k]] for k in rng.integers(0, c, layout.rows)]
    if layout.labels == "one-hot":
        hot = np.eye(c, dtype=int)[rng.integers(0, c, layout.rows)]
        return list(layout.classes), [list(map(str, row)) for row in hot]
    several = rng.random((layout.rows, c)) < 0.4
    if layout.labels == "columns":
        return list(layout.classes), [[str(int(on)) for on in row] for row in several]
    named = [[n for n, on in zip(layout.classes, row, strict=True) if on] for row in several]
    return ["tags"], [[layout.labels.join(row)] for row in named]


def extra_cell(name: str, rows: int, rng: np.random.Generator) -> list[str]:
    if name == "patient_id":
        return [f"P{k}" for k in rng.integers(0, max(2, rows // 3), rows)]
    if name == "note":
        return [["", "blurred, dark", 'said "x"'][k] for k in rng.integers(0, 3, rows)]
    return [f"{v:.2f}" for v in rng.random(rows) + 0.5]


def save(path: Path, layout: Layout, lines: list) -> None:
    with open(path, "w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, delimiter=layout.delimiter, lineterminator="\n").writerows(lines)


def run(monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
    try:
        cli.main()
    except SystemExit as leaving:
        return leaving.code or 0, capsys.readouterr().err
    return 0, capsys.readouterr().err


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(layout=layouts())
def test_what_init_accepts_folds_and_training_accept(monkeypatch, capsys, smoke_recipe, layout):
    """Check that init refuses in one line and writes nothing, or writes what can be trained on."""
    with tempfile.TemporaryDirectory() as root, contextlib.chdir(root):
        recipe = Path(root, "experiments", "recipes", "baseline.yaml")
        recipe.parent.mkdir(parents=True)
        recipe.write_text(smoke_recipe)
        write(layout, Path(root, "host"))
        status, said = run(monkeypatch, capsys, "init", "--comp", "new", "--data", "host")
        path = Path(root, "experiments", "competitions", "new.yaml")
        assert path.exists() == (status == 0)
        event("refused" if status else "accepted")
        if status:
            assert status == 2 and said.startswith("error: ") and said.count("\n") == 1, said
            return
        assert run(monkeypatch, capsys, "folds", "--comp", "new") == (0, "")
        smoke = ("train", "--comp", "new", "--arch", "lenet", "--limit", "40")
        assert run(monkeypatch, capsys, *smoke) == (0, ""), path.read_text()
