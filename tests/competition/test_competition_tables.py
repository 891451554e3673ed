"""Tables: every label format is read right, every odd row is refused by file, row and value."""

import numpy as np
import pandas as pd
import pytest

from pipeline.competition import load_data
from pipeline.errors import PodiumError


def refusal(tiny) -> str:
    with pytest.raises(PodiumError) as refused:
        load_data(tiny.project, "tiny")
    assert "\n" not in str(refused.value)
    return str(refused.value)


def set_cell(tiny, table: str, row: int, column: str, value: str) -> None:
    """Change one cell; `row` counts from 0 below the header."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[row, column] = value
        return frame

    tiny.edit(table, change)


def test_one_column_of_class_names(make_tiny):
    """Check labels against the table, classes sorted, NA and 007 kept as text."""
    tiny = make_tiny()
    for row, (name, label) in enumerate([("NA", "NA"), ("0007", "null"), ("1e3", "007")]):
        set_cell(tiny, "train", row, "id", name)
        set_cell(tiny, "train", row, "label", label)
    for table in ("test", "sample_submission"):
        tiny.edit(table, lambda frame: frame.assign(id=["nan", "None", *frame["id"][2:]]))
    data = tiny.data
    assert data.classes == ("007", "NA", "cat", "dog", "null", "owl")
    assert data.train.ids[:3].tolist() == ["NA", "0007", "1e3"]
    assert data.test.ids[:2].tolist() == ["nan", "None"]
    table = pd.read_csv(tiny.root / "data/tiny/train.csv", dtype=str, keep_default_na=False)
    assert [data.classes[i] for i in data.labels] == table["label"].tolist()
    assert data.labels.dtype == np.int64


def test_zero_and_one_columns(make_tiny):
    """Check that a column per class is read in the YAML's order, 1.0 like 1."""
    tiny = make_tiny(task="multilabel")
    tiny.configure(columns={"classes": ["owl", "cat", "dog"]})
    set_cell(tiny, "train", 0, "owl", "1.0")
    set_cell(tiny, "train", 1, "owl", "0.0")
    data = tiny.data
    table = pd.read_csv(tiny.root / "data/tiny/train.csv")
    np.testing.assert_array_equal(data.labels, table[["owl", "cat", "dog"]].astype(int))
    assert data.classes == ("owl", "cat", "dog") and data.labels.dtype == np.int8


@pytest.mark.parametrize("separator", [" ", ";", " | "])
def test_separated_names(make_tiny, separator):
    """Check that a column of separated names is a 0/1 matrix, a blank one a row of zeros."""
    tiny = make_tiny(task="multilabel", rows=10)
    sets = [["dog"], ["cat", "owl"], [], ["owl", "cat", "dog"], ["cat"]] * 2
    tags = [separator.join(one) for one in sets]
    tiny.edit("train", lambda frame: frame[["id"]].assign(tags=tags))
    tiny.configure(columns={"labels": "tags", "separator": separator})
    data = tiny.data
    assert data.classes == ("cat", "dog", "owl")
    expected = [[int(name in one) for name in data.classes] for one in sets]
    np.testing.assert_array_equal(data.labels, expected)


def test_classes_of_the_yaml_win(make_tiny):
    """Check that the YAML's classes fix the order, and may name one that no row has."""
    tiny = make_tiny()
    tiny.configure(classes=["owl", "yak", "dog", "cat"])
    data = tiny.data
    table = pd.read_csv(tiny.root / "data/tiny/train.csv")
    assert data.classes == ("owl", "yak", "dog", "cat")
    assert [data.classes[i] for i in data.labels] == table["label"].tolist()


def test_groups_and_boxes(make_tiny):
    """Check that groups and crop boxes come as the table has them, in its order."""
    tiny = make_tiny(rows=4, test=2)
    boxes = {"x0": [0, 1, 2, 3], "y0": [0] * 4, "x1": ["9.5"] * 4, "y1": [8] * 4}
    extra = {"patient": ["07", "7", "NA", "7"], **boxes}
    tiny.edit("train", lambda frame: frame.assign(**extra))
    tiny.edit("test", lambda frame: frame.assign(x0=1, y0=2, x1=3, y1=4))
    columns = {"id": "id", "label": "label", "group": "patient"}
    tiny.configure(columns=columns, crop={"kind": "box", "columns": ["x0", "y0", "x1", "y1"]})
    data = tiny.data
    assert data.train.groups.tolist() == ["07", "7", "NA", "7"]
    assert data.train.boxes[3].tolist() == [3, 0, 9.5, 8]
    assert data.test.boxes.tolist() == [[1, 2, 3, 4]] * 2
    assert data.test.groups is None and data.test.labels is None


def test_image_paths(make_tiny):
    """Check that a path is folder + name + extension, by the image column where there is one."""
    tiny = make_tiny(rows=3)
    folder = (tiny.root / "data" / "tiny" / "images").resolve()
    assert tiny.data.train.images[1] == folder / "001.png"
    tiny.edit("train", lambda frame: frame.assign(file=["a/b.jpg", "c..d.jpg", "a/../e.jpg"]))
    tiny.edit("test", lambda frame: frame.assign(file="t.jpg"))
    tiny.configure(columns={"label": "label", "image": "file"}, extension=None)
    images = tiny.data.train.images
    assert [path.resolve() for path in images] == [
        folder / "a" / "b.jpg",
        folder / "c..d.jpg",
        folder / "e.jpg",
    ]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../x", "~/x/../../../y"])
@pytest.mark.parametrize("table", ["train", "test"])
def test_an_image_outside_its_folder_is_refused(make_tiny, table, name):
    """Check that no row can read a picture elsewhere on the disk."""
    tiny = make_tiny()
    for each in ("train", "test"):
        tiny.edit(each, lambda frame: frame.assign(file=frame["id"]))
    tiny.configure(columns={"label": "label", "image": "file"})
    set_cell(tiny, table, 1, "file", name)
    text = refusal(tiny)
    assert f"{table}.csv: row 3" in text and "outside" in text and name in text


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "words"),
    [
        ("train", 2, "id", "", ["row 4", "'id'", "blank"]),
        ("train", 2, "id", "  ", ["row 4", "'id'", "blank"]),
        ("test", 0, "id", "", ["row 2", "'id'", "blank"]),
        ("train", 5, "id", "001", ["row 7", "'001'", "twice"]),
        ("test", 1, "id", "042", ["row 3", "'042'", "twice"]),
        ("test", 1, "id", "001", ["'001'", "train.csv"]),
        ("train", 3, "label", "", ["row 5", "'label'", "''"]),
    ],
)
def test_an_odd_cell_is_refused(make_tiny, table, row, column, value, words):
    """Check that blank, repeated and shared ids and blank labels name table, row and column."""
    tiny = make_tiny()
    set_cell(tiny, table, row, column, value)
    text = refusal(tiny)
    for word in [f"{table}.csv", *words]:
        assert word in text


def test_an_unknown_label_names_row_and_nearest(make_tiny):
    """Check that a label beyond the YAML's classes is refused with the class that was meant."""
    tiny = make_tiny()
    tiny.configure(classes=["cat", "dog", "owl"])
    set_cell(tiny, "train", 7, "label", "dgo")
    text = refusal(tiny)
    assert "train.csv: row 9" in text and "'dgo'" in text and "did you mean dog" in text


@pytest.mark.parametrize("value", ["2", "-1", "yes", "", "0.5", "1 "])
def test_a_value_that_is_neither_zero_nor_one(make_tiny, value):
    """Check that a label column holds 0 and 1 only, naming row, column and value."""
    tiny = make_tiny(task="multilabel")
    set_cell(tiny, "train", 4, "dog", value)
    text = refusal(tiny)
    assert "row 6" in text and "'dog'" in text and repr(value) in text and "not 0 or 1" in text


@pytest.mark.parametrize("value", ["x", "", "-1", "nan", "inf"])
def test_boxes_are_numbers(make_tiny, value):
    """Check that a corner that is no number of 0 or more is refused with its row."""
    tiny = make_tiny()
    corners = {"x0": "0", "y0": "0", "x1": "9", "y1": "9"}
    for table in ("train", "test"):
        tiny.edit(table, lambda frame: frame.assign(**corners))
    tiny.configure(crop={"kind": "box", "columns": list(corners)})
    assert tiny.data.train.boxes.shape == (42, 4)
    set_cell(tiny, "train", 1, "x1", value)
    text = refusal(tiny)
    assert "row 3" in text and "'x1'" in text and repr(value) in text


def test_a_missing_column_names_the_nearest(make_tiny):
    """Check that a column that is not there is refused with the one that was meant."""
    tiny = make_tiny()
    tiny.configure(columns={"label": "lable"})
    text = refusal(tiny)
    assert "no column 'lable' (did you mean label?)" in text and "competitions/tiny.yaml" in text
    tiny.configure(columns={"label": "zzzzz"})
    assert "it has: id, label" in refusal(tiny)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,label\n1,cat\n2,dog,x\n3,cat\n", ["row 3 has 3 fields, the header has 2"]),
        ("id,label\n1,cat\n2\n3,dog\n", ["row 3 has 1 fields"]),
        ("id,label,id\n1,cat,2\n", ["'id' stands twice"]),
        ("id,label\n", ["no rows"]),
        ("", ["train.csv"]),
        ("id,label\n1,cat\n2,cat\n", ["fewer than two classes"]),
        ("id,label\n1,\xff\n", ["row 2", "not UTF-8", "iconv"]),
        (None, ["no such table", "competitions/tiny.yaml"]),
    ],
)
def test_a_broken_table_is_refused(make_tiny, text, words):
    """Check that ragged, empty, undecodable and missing tables are refused by name."""
    tiny = make_tiny()
    path = tiny.root / "data" / "tiny" / "train.csv"
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    said = refusal(tiny)
    for word in words:
        assert word in said


def test_quotes_marks_and_windows_line_ends(make_tiny):
    """Check that a table from a spreadsheet (BOM, CRLF, quoted commas) reads like any other."""
    tiny = make_tiny()
    path = tiny.root / "data" / "tiny" / "train.csv"
    rows = 'id,label\r\n"a,1","big ""cat"""\r\nb,dog\r\n'
    path.write_bytes(b"\xef\xbb\xbf" + rows.encode())
    data = tiny.data
    assert data.train.ids.tolist() == ["a,1", "b"] and data.classes == ('big "cat"', "dog")


def test_the_data_hash(make_tiny):
    """Check that the hash changes with a label, an id or a test id, and not with row order."""
    tiny = make_tiny()
    seen = [tiny.data.hash]
    for table in ("train", "test"):
        tiny.edit(table, lambda frame: frame.iloc[::-1])
    assert tiny.data.hash == seen[0]
    set_cell(tiny, "train", 0, "id", "new")
    seen.append(tiny.data.hash)
    set_cell(tiny, "test", 0, "id", "newer")
    tiny.edit("sample_submission", lambda frame: frame.replace({"id": {"059": "newer"}}))
    seen.append(tiny.data.hash)
    old = str(tiny.data.classes[tiny.data.labels[0]])
    set_cell(tiny, "train", 0, "label", "cat" if old != "cat" else "dog")
    seen.append(tiny.data.hash)
    assert len(set(seen)) == 4


def test_loading_does_not_need_the_answers(make_tiny):
    """Check that a competition loads without its answers, labels of test rows unknown."""
    tiny = make_tiny()
    (tiny.root / "data" / "tiny" / "answers.csv").unlink()
    assert tiny.data.test.labels is None and len(tiny.data.test) == 18
