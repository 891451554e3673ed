"""Corrected labels: what a table of corrections may say, and that nothing else changes."""

import csv
import uuid

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.artifacts.files import file_hash
from pipeline.competition import load_data
from pipeline.errors import PodiumError
from pipeline.folds import load_shared, make_shared

CLASSES = ("cat", "dog", "owl")


def correct(tiny, *lines, header=("id", "corrected"), name="fix.csv"):
    """Write a table of corrections beside the competition's own, and name it in the YAML."""
    with open(tiny.root / "data" / "tiny" / name, "w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows([header, *lines])
    tiny.configure(corrections=name)


def other(tiny, row):
    """Return another class than that of a row."""
    return CLASSES[(tiny.data.labels[row] + 1) % 3]


def test_labels_are_corrected_and_nothing_else(make_tiny):
    """Check that the named row alone gets its new label, by the table's bytes unchanged, and that
    the data hash tells it."""
    tiny = make_tiny()
    before, table = tiny.data, tiny.root / "data" / "tiny" / "train.csv"
    bytes_before = file_hash(table)
    correct(tiny, ("003", other(tiny, 3)), ("004", ""))
    after = tiny.data
    wanted = before.labels.copy()
    wanted[3] = (wanted[3] + 1) % 3
    np.testing.assert_array_equal(after.labels, wanted)
    assert after.hash != before.hash and file_hash(table) == bytes_before
    assert after.uncorrected.hash == before.hash
    np.testing.assert_array_equal(after.uncorrected.labels, before.labels)
    assert after.classes == before.classes
    assert list(after.corrections.after) == ["003"] and after.corrections.same == 0


def test_a_correction_to_the_same_label_is_none(make_tiny):
    """Check that labels which are confirmed are counted and leave the data hash as it was."""
    tiny = make_tiny()
    before = tiny.data
    same = CLASSES[before.labels[3]]
    correct(tiny, ("003", same), ("005", ""))
    after = tiny.data
    assert after.hash == before.hash
    assert after.corrections.same == 1 and not after.corrections.after
    assert after.uncorrected is after
    correct(tiny)
    assert tiny.data.hash == before.hash  # a header alone


def test_folds_stay_what_they_were(make_tiny):
    """Check that corrected labels load the folds that are there, made of the labels before."""
    tiny = make_tiny(images=True)
    made, _ = make_shared(tiny.data, n_folds=3)
    correct(tiny, ("003", other(tiny, 3)))
    path = tiny.project.folds("tiny")
    content = path.read_bytes()
    again, new = make_shared(tiny.data, n_folds=3)
    assert not new and path.read_bytes() == content
    assert load_shared(tiny.data).hash == made.hash == again.hash


@pytest.mark.parametrize("row", [("003", "drop"), ("003", " drop ")])
def test_drop_leaves_the_row_out_as_exclude_does(make_tiny, row):
    """Check that `drop` gives the very data that `exclude` gives."""
    tiny = make_tiny()
    correct(tiny, row)
    dropped = tiny.data
    (tiny.root / "data" / "tiny" / "out.txt").write_text("003\n")
    tiny.configure(corrections=None, exclude="out.txt")
    assert dropped.hash == tiny.data.hash
    assert "003" not in dropped.train.ids and dropped.corrections.dropped == ("003",)


def test_corrections_of_excluded_rows_do_nothing(make_tiny):
    """Check that a row left out by `exclude` may be named, whatever it is corrected to."""
    tiny = make_tiny()
    (tiny.root / "data" / "tiny" / "out.txt").write_text("003\n")
    tiny.configure(exclude="out.txt")
    before = tiny.data
    correct(tiny, ("003", "owl"), ("003", "cat"))
    assert tiny.data.hash == before.hash


def test_cells_are_corrected(make_tiny):
    """Check that of several labels one cell is turned, and that a stated label is checked."""
    tiny = make_tiny(task="multilabel")
    before = tiny.data
    old = int(before.labels[2, 1])
    lines = [("002", "dog", old, 1 - old), ("002", "cat", "", int(before.labels[2, 0]))]
    correct(tiny, *lines, header=("id", "class", "label", "corrected"))
    after = tiny.data
    wanted = before.labels.copy()
    wanted[2, 1] = 1 - old
    np.testing.assert_array_equal(after.labels, wanted)
    assert after.corrections.same == 1 and after.hash != before.hash
    correct(tiny, ("002", "dog", 1 - old, 1 - old), header=("id", "class", "label", "corrected"))
    with pytest.raises(PodiumError, match="table changed since"):
        tiny.data  # noqa: B018


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([("999", "cat")], ["fix.csv: row 2", "'999' is not a training id"]),
        ([("001", ""), ("050", "cat")], ["fix.csv: row 3", "'050' is a test id"]),
        ([("001", "caat")], ["row 2", "'caat' is not one of the 3 classes", "did you mean cat"]),
        ([("001", "cat"), ("001", "owl")], ["row 3", "'owl' here and 'cat' in row 2"]),
        ([("001", "cat", "x")], ["row 2 has 3 fields"]),
    ],
)
def test_odd_lines_are_refused(make_tiny, lines, words):
    """Check that every odd line is one error that names the file, the row and the value."""
    tiny = make_tiny()
    correct(tiny, *lines)
    with pytest.raises(PodiumError) as caught:
        load_data(tiny.project, "tiny")
    for word in words:
        assert word in str(caught.value), caught.value


@pytest.mark.parametrize("value", ["2", "yes", "drop", "-1"])
def test_a_bad_bit_is_refused(make_tiny, value):
    """Check that of several labels anything but 0 and 1 is refused, with its row."""
    tiny = make_tiny(task="multilabel")
    correct(tiny, ("002", "dog", value), header=("id", "class", "corrected"))
    with pytest.raises(PodiumError, match=f"row 2: 'corrected' is '{value}', not 0 or 1"):
        load_data(tiny.project, "tiny")


def test_a_table_that_changed_since_is_told(make_tiny):
    """Check that a stated label which is not the table's is refused, and the right one taken."""
    tiny = make_tiny()
    old, new = CLASSES[tiny.data.labels[1]], other(tiny, 1)
    correct(tiny, ("001", new, new), header=("id", "label", "corrected"))
    with pytest.raises(PodiumError, match=r"corrects the label .* which is .* changed since"):
        load_data(tiny.project, "tiny")
    correct(tiny, ("001", old, new), header=("id", "label", "corrected"))
    assert tiny.data.corrections.after.keys() == {"001"}


def test_a_missing_file_and_a_missing_column(make_tiny):
    """Check that both name the file and what to do."""
    tiny = make_tiny()
    tiny.configure(corrections="nowhere.csv")
    with pytest.raises(PodiumError, match=r"nowhere.csv: cannot be read .*`corrections`"):
        load_data(tiny.project, "tiny")
    correct(tiny, ("001", "cat"), header=("id", "correct"))
    with pytest.raises(PodiumError, match=r"no column 'corrected' .did you mean correct"):
        load_data(tiny.project, "tiny")


def test_a_file_from_the_root_with_semicolons(make_tiny):
    """Check that a path from the project's root is found, and what some spreadsheets save."""
    tiny = make_tiny()
    (tiny.root / "mine.csv").write_text(f"\ufeffid;corrected\r\n001;{other(tiny, 1)}\r\n")
    tiny.configure(corrections="mine.csv")
    assert list(tiny.data.corrections.after) == ["001"]
    assert "1 training row" in tiny.data.corrections.sentence("mine.csv")


def test_tabs_are_seen_in_the_header(make_tiny):
    """Check that a table between tabs is read, whatever its name."""
    tiny = make_tiny()
    (tiny.root / "mine.csv").write_text(f"id\tcorrected\n001\t{other(tiny, 1)}\n")
    tiny.configure(corrections="mine.csv")
    assert list(tiny.data.corrections.after) == ["001"]


def test_rows_are_counted_as_an_editor_does(make_tiny):
    """Check that the row in an error is the line of the file, after blank and broken lines."""
    tiny = make_tiny()
    (tiny.root / "mine.csv").write_text('id,corrected,note\n\n001,cat,"two\nlines"\n\n\n999,cat,\n')
    tiny.configure(corrections="mine.csv")
    with pytest.raises(PodiumError, match="row 7: '999' is not a training id"):
        load_data(tiny.project, "tiny")


def test_what_leaves_nothing_is_refused(make_tiny):
    """Check a table that drops every row, one that names nothing, and a repeated line that is
    stale."""
    tiny = make_tiny()
    now, new = CLASSES[tiny.data.labels[1]], other(tiny, 1)
    correct(tiny, *((name, "drop") for name in tiny.data.train.ids))
    with pytest.raises(PodiumError, match=r"fix.csv: drops all \d+ training rows; "):
        load_data(tiny.project, "tiny")
    correct(tiny, ("001", now, new), ("001", new, new), header=("id", "label", "corrected"))
    with pytest.raises(PodiumError, match=r"row 3: corrects the label .* changed since"):
        load_data(tiny.project, "tiny")
    tiny.configure(corrections="")
    with pytest.raises(PodiumError, match="corrections"):
        load_data(tiny.project, "tiny")


def test_folds_of_dropped_rows_say_why(make_tiny):
    """Check that the error about old folds names what leaves rows out."""
    tiny = make_tiny(images=True)
    make_shared(tiny.data, n_folds=3)
    correct(tiny, ("003", "drop"))
    with pytest.raises(PodiumError, match="`corrections` drop leave out"):
        load_shared(tiny.data)


def test_answers_do_not_know_of_corrections(make_tiny):
    """Check that the graded labels of test rows are those of the answers."""
    from pipeline.submission import grade, write_submission

    tiny = make_tiny()
    scores = []
    for lines in ([], [("001", other(tiny, 1))]):
        correct(tiny, *lines)
        data = tiny.data
        made = write_submission(data, data.test.ids, tiny.truth, None, source=f"x{len(lines)}")
        scores.append(grade(data, made.path).all)
    assert scores == [1.0, 1.0]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_table_does_what_it_says(make_tiny, data):
    """Check against a dictionary that any corrections, in any order, give the labels they say."""
    tiny = make_tiny(folder=f"tiny-{uuid.uuid4().hex}")
    ids, labels = tiny.data.train.ids.tolist(), tiny.data.labels
    said = data.draw(st.dictionaries(st.sampled_from(ids), st.sampled_from(("", *CLASSES))))
    lines = data.draw(st.permutations(list(said.items())))
    correct(tiny, *lines)
    got = tiny.data
    wanted = [
        CLASSES.index(said[name]) if said.get(name) else label
        for name, label in zip(ids, labels, strict=True)
    ]
    assert got.labels.tolist() == wanted
    assert len(got.corrections.after) == int((np.array(wanted) != labels).sum())
    tiny.configure(corrections=None)
    assert (got.hash == tiny.data.hash) == (wanted == labels.tolist())


def test_a_column_per_class(make_tiny):
    """Check that a correction names a class where the table has a 0/1 column per class."""
    tiny = make_tiny()
    labels = tiny.data.labels
    hot = {name: (labels == k).astype(int) for k, name in enumerate(CLASSES)}
    tiny.edit("train", lambda table: pd.DataFrame({"id": table["id"], **hot}))
    tiny.configure(columns={"id": "id", "classes": list(CLASSES)})
    correct(tiny, ("001", other(tiny, 1)))
    assert tiny.data.labels[1] == (labels[1] + 1) % 3
