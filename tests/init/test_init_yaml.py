"""The YAML says exactly what was meant, and the report tells it."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pipeline
from pipeline.config.schema import parse_overrides, read_yaml
from pipeline.init import report_parts
from pipeline.init.asked import Asked
from pipeline.init.draft import Draft
from pipeline.init.proposals import Proposal
from pipeline.init.text import flow
from pipeline.init.write import yaml_text

SPECIAL = [
    "no",
    "yes",
    "1",
    "null",
    "~",
    "a: b",
    "# x",
    "- y",
    "[z",
    "ä,ö",
    "",
    " ",
    "1e3",
    "=",
    "'",
]
names = st.one_of(st.sampled_from(SPECIAL), st.text(max_size=20))


@given(
    classes=st.lists(names, min_size=1, max_size=40, unique=True),
    column=names,
    why=st.text(max_size=60),
)
@example(classes=SPECIAL, column="Ankle boot", why="a\nkey: value")
@example(classes=["\x85", "\u2028", "a\tb"], column="a\n b", why="\x85")
@settings(max_examples=150, deadline=None)
def test_any_name_comes_back(classes, column, why):
    """Check that names of any letters, in lists, values and comments, read back as they were."""
    content = {
        "title": column,
        "task": "multilabel",
        "data": column,
        "tables": {"train": column, "test": None},
        "columns": {"id": column, "classes": classes},
        "images": {"train": column, "test": "x"},
        "classes": classes,
    }
    proposals = (
        Proposal("columns", "group", column, why),
        Proposal("", "crop", {"a": column}, why),
    )
    notes = {"task": why, "columns.classes": why, "tables.train": why, "images": why}
    text = yaml_text("x", why, Draft(content, notes, proposals, ()))
    assert yaml.safe_load(text) == content
    assert yaml.safe_load(flow(column)) == column
    assert max(map(len, text.splitlines())) < 400


@given(value=st.one_of(names, st.lists(names, max_size=4)))
@settings(max_examples=150, deadline=None)
def test_a_command_says_what_it_means(value):
    """Check that the SET of a proposed command is read back as the value it is for."""
    command = Asked.parsed("x", "my photos", "metric=accuracy").command("columns.label", value)
    made_of = command.replace("$$", "$")  # what make hands on
    words = dict(word.partition("=")[::2] for word in shlex.split(made_of)[2:])
    told = parse_overrides(words["SET"])
    assert words["DATA"] == "my photos"
    assert told == {"metric": "accuracy", "columns": {"label": value}}


def test_special_class_names_of_a_table(site, named):
    """Check the whole way for class names that YAML would read as something else."""
    kinds = ["no", "null", "on: off", "Ärger # 1", "~"]
    train, test = named("a", 30), named("b", 5)
    site.table("train.csv", "id label", [(x, kinds[i % 5]) for i, x in enumerate(train)])
    header = "|".join(["id", *kinds])
    rows = ["|".join([x, *["0.2"] * 5]) for x in test]
    (site.data / "sample_submission.csv").write_text("\n".join([header, *rows]).replace("|", ","))
    site.pictures("images", [f"{x}.jpg" for x in train + test])
    site.init()
    assert set(site.load().classes) == set(kinds)
    assert set(site.load().sample.values) == set(kinds)


def test_the_text_is_short_and_commented(site, named):
    """Check the style: a header with the next command, a crop to uncomment, no default said."""
    train, test = named("a", 20), named("b", 5)
    site.table(
        "train.csv", "id label", [(x, "cat" if i % 2 else "dog") for i, x in enumerate(train)]
    )
    site.table("sample_submission.csv", "id label", [(x, "cat") for x in test])
    site.table("test.csv", "id", [[x] for x in test])
    site.pictures("images", [f"{x}.jpg" for x in train + test])
    site.init()
    text = site.yaml.read_text()
    assert "make folds COMP=mine && make train COMP=mine ARCH=tf_efficientnet_lite0" in text
    assert "# crop: {kind: sides" in text and "the competition's page says which" in text
    assert "\nrecipe:" not in text and "tables:" not in text and len(text.splitlines()) < 25
    assert read_yaml(site.yaml, "")["columns"] == {"id": "id", "label": "label"}
    uncommented = text.replace("# crop:", "crop:")
    site.yaml.write_text(uncommented)
    assert site.load().competition.crop.kind == "sides"


def test_the_report(site, named):
    """Check every part of what is printed against the tables that were written."""
    train, test = named("a", 60), named("b", 5)
    lines = [(x, f"kind{i % 30:02d}") for i, x in enumerate(train)]
    site.table("train.csv", "id label", lines)
    site.table("test.csv", "id", [[x] for x in test])
    site.pictures("images", [f"{x}.jpg" for x in train + test])
    parts = report_parts(site.init())
    tables = [part for part in parts if isinstance(part, tuple)]
    assert all(len(row) == len(headers) for headers, rows in tables for row in rows)
    classes, examples, pictures = (rows for _, rows in tables)
    assert len(classes) == 25 and ["... 6 more", "", ""] in classes
    assert classes[0] == ["kind00", "2", "3.3%"]
    assert examples[0] == ["a000", "images/a000.jpg", "kind00"] and len(examples) == 5
    assert pictures == [["train", "60", "0", "0 of 60 tried"], ["test", "5", "0", "0 of 5 tried"]]
    assert "experiments/competitions/mine.yaml: written" in parts
    unchanged = "experiments/competitions/mine.yaml: there already, unchanged"
    assert unchanged in report_parts(site.init())
    sentences = "\n".join(part for part in parts if isinstance(part, str))
    assert "metric: accuracy" in sentences and "fewer rows than the 5 folds" in sentences
    assert sentences.endswith("make train COMP=mine ARCH=tf_efficientnet_lite0")


def test_multilabel_report(site, named):
    """Check that rows without any label are counted and shown."""
    train = named("a", 20)
    site.table(
        "train.csv", "id cat dog", [(x, i % 2, int(i % 4 == 3)) for i, x in enumerate(train)]
    )
    site.pictures("images", [f"{x}.jpg" for x in train])
    made = site.init()
    assert made.unlabelled == 10 and [row.rows for row in made.classes] == [10, 5]
    assert made.examples[0].labels == "(none)" and "10 training rows have no label" in report_parts(
        made
    )


@pytest.mark.slow
def test_many_files_take_seconds(site):
    """Check that 70,000 rows and files, which are two by many names, are looked through soon."""
    site.pictures("images", ["000000.jpg", "000001.jpg"])
    for i in range(2, 70_000):  # a file system may allow no more than 65,000 names of one
        os.link(site.data / "images" / f"{i % 2:06d}.jpg", site.data / "images" / f"{i:06d}.jpg")
    site.table("train.csv", "id label", [(f"{i:06d}", i % 10) for i in range(60_000)])
    site.table("test.csv", "id", [[f"{i:06d}"] for i in range(60_000, 70_000)])
    start = time.monotonic()
    site.init()
    assert time.monotonic() - start < 30  # about 4 s on an idle machine


def test_importing_it_loads_no_torch():
    """Check that the package needs none of the heavy ones."""
    code = "import pipeline.init, sys; print([m for m in ('torch', 'timm') if m in sys.modules])"
    root = Path(pipeline.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "[]"
