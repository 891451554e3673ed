"""Every form of tables that a competition may have: delimiters, folders, external rows, samples."""

import cv2
import numpy as np
import pytest
import yaml

from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.folds import make_shared
from pipeline.submission import grade_all
from pipeline.submission.standings import submit

NOISE = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)


def refusal(tiny) -> str:
    with pytest.raises(PodiumError) as refused:
        _ = tiny.data
    assert "\n" not in str(refused.value)
    return str(refused.value)


def table(tiny, name: str):
    return tiny.root / "data" / "tiny" / name


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_delimiters(make_tiny, mark):
    """Check that a table with another delimiter is refused by name, and read when it is said."""
    tiny = make_tiny()
    wanted = tiny.data.train
    for name in ("train", "test", "sample_submission"):
        path = table(tiny, f"{name}.csv")
        path.write_text(path.read_text().replace(",", mark))
    if mark != ",":
        said = refusal(tiny)
        assert "train.csv: row 1" in said and f"tables.delimiter: {mark!r}" in said
        tiny.configure(tables={"delimiter": mark})
    assert tiny.data.train.ids.tolist() == wanted.ids.tolist()
    assert tiny.data.train.labels.tolist() == wanted.labels.tolist()


def test_tsv_needs_no_delimiter(make_tiny):
    """Check that the name of a table says that a tab is between its fields."""
    tiny = make_tiny()
    names = {}
    for name in ("train", "test", "sample_submission"):
        path = table(tiny, f"{name}.csv")
        path.with_suffix(".tsv").write_text(path.read_text().replace(",", "\t"))
        path.unlink()
        names[name] = f"{name}.tsv"
    tiny.configure(tables=names)
    assert len(tiny.data.train) == 42 and len(tiny.data.test) == 18


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["is empty"]),
        ("id,label\n0,cat\n".encode("utf-16"), ["row 1", "UTF-16"]),
        (b"id,label\n0,cat\n1,d\0g\n", ["row 3", "zero byte"]),
        ("id,label\n0,caf\u00e9\n".encode("latin-1"), ["row 2", r"b'\xe9'", "UTF-8"]),
        (b"id,\n0,cat\n", ["row 1", "column 2 has no name"]),
    ],
)
def test_what_is_no_text_table_is_refused_by_row(make_tiny, content, words):
    """Check empty files, other encodings and headers without names."""
    tiny = make_tiny()
    table(tiny, "train.csv").write_bytes(content)
    said = refusal(tiny)
    assert all(word in said for word in ["train.csv", *words]), said


def change_labels(tiny, labels: dict[int, str]) -> None:
    tiny.edit("train", lambda f: f.assign(label=[labels.get(i, "3") for i in range(len(f))]))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({5: "cat"}, ["row 7", "'cat'", "a name", "a whole number"]),
        ({0: "1", 9: "2.5"}, ["row 11", "'2.5'", "a decimal number"]),
        ({3: " 3"}, ["row 5", "' 3'", "spaces"]),
    ],
)
def test_mixed_types_are_refused_unless_listed(make_tiny, labels, words):
    """Check that a stray name among numbers is named, and that listing the classes allows it."""
    tiny = make_tiny()
    change_labels(tiny, labels)
    said = refusal(tiny)
    assert all(word in said for word in ["train.csv", "'label'", *words]), said
    tiny.configure(classes=["3", *labels.values()])
    assert len(tiny.data.classes) == 1 + len(labels)


def test_one_hot_columns_of_a_multiclass_competition(make_tiny):
    """Check that they give the labels of the one column, and that a row needs exactly one 1."""
    tiny = make_tiny()
    labels, classes = tiny.data.labels, list(tiny.data.classes)
    hot = {name: (labels == i).astype(int) for i, name in enumerate(classes)}
    tiny.edit("train", lambda f: f[["id"]].assign(**hot))
    tiny.edit("sample_submission", lambda f: f[["id"]].assign(**dict.fromkeys(classes, 0)))
    tiny.configure(columns={"classes": classes})
    assert tiny.data.labels.tolist() == labels.tolist()
    assert tiny.data.sample.kind == "binary"
    tiny.edit("train", lambda f: f.assign(cat=1))
    assert "exactly one" in refusal(tiny)


@pytest.mark.parametrize(("metric", "kind"), [("accuracy", "name"), ("log_loss", "probability")])
def test_without_a_sample_the_usual_form_is_taken(make_tiny, metric, kind):
    """Check its columns for labels and probabilities; one that is named must be there."""
    tiny = make_tiny(metric=metric)
    table(tiny, "sample_submission.csv").unlink()
    sample = tiny.data.sample
    assert (sample.kind, sample.ids.tolist()) == (kind, tiny.data.test.ids.tolist())
    columns = ("label",) if kind == "name" else tiny.data.classes
    assert sample.columns == ("id", *columns)
    tiny.configure(tables={"sample_submission": "sample_submission.csv"})
    assert "sample_submission.csv: no such table" in refusal(tiny)


def test_one_column_for_the_probability_of_the_second_class(make_tiny):
    """Check the form of a binary competition, and that three classes do not have it."""
    two, three = make_tiny(classes=2), make_tiny(folder="three")
    for tiny in (two, three):
        tiny.configure(metric="auc_macro")
    assert two.data.sample.kind == "positive"
    assert "needs a probability per class" in refusal(three)


def test_the_sample_may_be_the_test_table_and_call_its_id_otherwise(make_tiny):
    """Check a competition without a table of test rows."""
    tiny = make_tiny()
    ids = tiny.data.test.ids.tolist()
    tiny.edit("sample_submission", lambda f: f.rename(columns={"id": "Id"}))
    table(tiny, "test.csv").unlink()
    tiny.configure(tables={"test": "sample_submission.csv"})
    assert tiny.data.test.ids.tolist() == ids
    assert tiny.data.sample.columns == ("Id", "label")


def test_no_test_table(make_tiny):
    """Check that a competition may have nothing to predict: no rows, no sample."""
    tiny = make_tiny()
    tiny.configure(tables={"test": None})
    assert len(tiny.data.test) == 0 and tiny.data.sample is None and len(tiny.data.hash) == 16


def test_two_picture_folders(make_tiny):
    """Check that the pictures of each table are looked for in its own folder."""
    tiny = make_tiny()
    tiny.configure(images={"train": "a/train", "test": "b"})
    folder = tiny.root / "data" / "tiny"
    assert tiny.data.train.images[0] == folder / "a/train/000.png"
    assert tiny.data.test.images[0] == folder / "b/042.png"


def test_excluded_rows_are_gone_and_unknown_ones_named(make_tiny):
    """Check a list with a header and without, and an id that is none."""
    tiny = make_tiny()
    for text in ("id\n003\n017\n", "003\n\n017"):
        table(tiny, "bad.txt").write_text(text)
        tiny.configure(exclude="bad.txt")
        assert len(tiny.data.train) == 40 and "003" not in tiny.data.train.ids
    table(tiny, "bad.txt").write_text("003\n0177\n")
    assert "bad.txt: row 2: '0177' is not a training id" in refusal(tiny)
    tiny.configure(exclude="none.txt")
    assert "none.txt" in refusal(tiny) and "`exclude`" in refusal(tiny)


def test_external_tables_and_weights(make_tiny):
    """Check prefix, labels, pictures, weights and that such rows are only trained on."""
    tiny = make_tiny()
    plain = tiny.data
    text = table(tiny, "train.csv").read_text()
    table(tiny, "more.csv").write_text(text)
    tiny.configure(external=[{"table": "more.csv"}])
    assert "more.csv: row 2: id '000' is also in train.csv" in refusal(tiny)
    more = {"table": "more.csv", "prefix": "old-", "images": "older", "weight": 0.5}
    tiny.configure(external=[more])
    data = tiny.data
    assert data.train.ids.tolist() == [*plain.train.ids, *("old-" + i for i in plain.train.ids)]
    assert data.labels.tolist() == plain.labels.tolist() * 2
    assert data.train.images[42] == tiny.root / "data/tiny/older/000.png"
    assert data.train.train_only.tolist() == [False] * 42 + [True] * 42
    assert data.train.weights.tolist() == [1] * 42 + [0.5] * 42
    table(tiny, "more.csv").write_text(text.replace("owl", "eel"))
    assert "more.csv" in refusal(tiny) and "'eel' is not one of the 3 classes" in refusal(tiny)


def test_row_weights_and_train_only_columns(make_tiny):
    """Check their values, their part in the data hash, and that odd ones are named by row."""
    tiny = make_tiny()
    hashes = [tiny.data.hash]
    tiny.edit("train", lambda f: f.assign(w=range(42), t=[i % 2 for i in range(42)]))
    columns = {"id": "id", "label": "label"}
    for extra in ({"weight": "w"}, {"train_only": "t"}):
        tiny.configure(columns=columns | extra)
        hashes.append(tiny.data.hash)
    assert len(set(hashes)) == 3
    assert tiny.data.train.train_only.tolist() == [i % 2 == 1 for i in range(42)]
    for column, value in (("weight", "-1"), ("weight", "x"), ("train_only", "2")):
        name = {"weight": "w", "train_only": "t"}[column]
        tiny.edit("train", lambda f, n=name, v=value: f.assign(**{n: [v, *f[n][1:]]}))
        tiny.configure(columns=columns | {column: name})
        assert f"row 2, column '{name}' is '{value}'" in refusal(tiny)


def write_folders(root, names) -> Project:
    for name in names:
        (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / "photos" / name), NOISE)
    project = Project(root)
    project.competitions.mkdir(parents=True)
    return project


def configure(project: Project, **keys) -> None:
    content = {"task": "multiclass", "metric": "accuracy", "data": "photos", **keys}
    project.competition("f").write_text(yaml.safe_dump(content))


def test_a_folder_per_class(tmp_path):
    """Check ids, classes, labels and test pictures; nested, hidden and other files."""
    names = ["train/cat/1.jpg", "train/cat/deep/2.png", "train/dog/1.jpg", "valid/dog/9.jpg"]
    project = write_folders(tmp_path, [*names, "test/b.jpg", "test/a/c.jpg"])
    (tmp_path / "photos/train/cat/notes.txt").write_text("no picture")
    configure(project, folders={"train": ["train", "valid"], "test": "test"})
    data = load_data(project, "f")
    assert data.classes == ("cat", "dog")
    assert data.train.ids.tolist() == names
    assert data.labels.tolist() == [0, 0, 1, 1]
    assert sorted(data.test.ids.tolist()) == ["test/a/c.jpg", "test/b.jpg"]
    assert all(path.is_file() for path in [*data.train.images, *data.test.images])
    assert data.sample.columns == ("id", "label")


def test_class_folders_at_the_top_and_without_test(tmp_path):
    """Check that the data folder itself may hold the folders of the classes."""
    project = write_folders(tmp_path, ["cat/1.jpg", "dog/2.jpg", "dog/3.jpg"])
    configure(project, folders={"train": "."})
    data = load_data(project, "f")
    assert data.train.ids.tolist() == ["cat/1.jpg", "dog/2.jpg", "dog/3.jpg"]
    assert len(data.test) == 0


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ({"train": "none"}, ["none: no such folder", "folders.train"]),
        ({"train": "train/cat"}, ["no folder of a class"]),
        ({"train": "train", "test": "empty"}, ["empty: no picture", "folders.test"]),
    ],
)
def test_folders_that_are_not_there_are_named(tmp_path, folders, words):
    """Check missing, flat and empty folders, and the folder of a class without a picture."""
    project = write_folders(tmp_path, ["train/cat/1.jpg", "train/dog/2.jpg"])
    configure(project, folders=folders)
    with pytest.raises(PodiumError) as refused:
        load_data(project, "f")
    assert all(word in str(refused.value) for word in words)
    (tmp_path / "photos/train/eel").mkdir()
    configure(project, folders={"train": "train"})
    with pytest.raises(PodiumError, match="train/eel: no picture in the folder of this class"):
        load_data(project, "f")


def test_folders_take_no_label_columns(tmp_path):
    """Check that two ways to name the classes are refused together."""
    project = write_folders(tmp_path, ["cat/1.jpg", "dog/2.jpg"])
    for columns in ({"label": "kind"}, {"group": "patient"}):
        configure(project, folders={"train": "."}, columns=columns)
        with pytest.raises(PodiumError, match="`folders` name the classes"):
            load_data(project, "f")


@pytest.mark.parametrize("names", [["b.jpg", "c.jpg"], ["b", "c"], ["test/a/c.jpg", "test/b.jpg"]])
def test_test_pictures_are_called_as_the_sample_calls_them(tmp_path, names):
    """Check a folder per class with a sample of file names, of stems, and of paths."""
    project = write_folders(tmp_path, ["train/cat/1.jpg", "train/dog/2.jpg"])
    write_folders(tmp_path / "more", ["test/b.jpg", "test/a/c.jpg"])
    (tmp_path / "more/photos/test").rename(tmp_path / "photos/test")
    lines = ["file,species", *(f"{name},cat" for name in names)]
    (tmp_path / "photos/sample.csv").write_text("\n".join(lines))
    configure(
        project,
        folders={"train": "train", "test": "test"},
        tables={"sample_submission": "sample.csv"},
    )
    data = load_data(project, "f")
    assert sorted(data.test.ids.tolist()) == names
    assert data.sample.columns == ("file", "species")
    assert all(
        path.stem == name.rpartition("/")[2].partition(".")[0]
        for path, name in zip(data.test.images, data.test.ids.tolist(), strict=True)
    )


def test_the_index_that_pandas_writes_is_no_column(make_tiny):
    """Check that a first column without a name is passed over."""
    tiny = make_tiny()
    tiny.edit("train", lambda f: f.reset_index().rename(columns={"index": ""}))
    assert table(tiny, "train.csv").read_text().startswith(",id,label\n0,")
    assert len(tiny.data.train) == 42


def test_a_sample_that_is_the_test_table_needs_no_column_of_pictures(make_tiny):
    """Check that its ids name the pictures where the training table has a column for them."""
    tiny = make_tiny()
    tiny.edit("train", lambda f: f.assign(file=f["id"]))
    tiny.configure(
        tables={"test": "sample_submission.csv"},
        columns={"id": "id", "label": "label", "image": "file"},
    )
    assert tiny.data.test.images[0].name == "042.png"


def test_a_metric_from_a_file_of_the_host(make_tiny):
    """Check that it is found beside the YAML or the tables, and that a missing one is named."""
    tiny = make_tiny()
    text = "def score(y, answer):\n    return float((y == answer).mean())\n"
    for place in (table(tiny, "share.py"), tiny.project.competitions / "share.py"):
        place.write_text(text)
        tiny.configure(metric="share.py")
        metric = tiny.data.metric
        assert (metric.name, metric.needs) == ("share", "labels")
        assert metric.score(np.array([0, 1]), np.array([0, 0])) == 0.5
        place.unlink()
    assert "share.py" in refusal(tiny)


def test_rows_that_share_a_picture_are_one_group(make_tiny):
    """Check that no fold validates a picture that it trains on, of whichever table."""
    tiny = make_tiny()
    tiny.edit("train", lambda f: f.assign(file=[*f["id"][:40], f["id"][0], f["id"][1]], g=f["id"]))
    table(tiny, "more.csv").write_text(table(tiny, "train.csv").read_text())
    tiny.configure(
        columns={"id": "id", "label": "label", "image": "file"},
        external=[{"table": "more.csv", "prefix": "x-"}],
        tables={"test": "sample_submission.csv"},
    )
    data, folds = tiny.data, make_shared(tiny.data, n_folds=2)[0]
    paths = np.array([str(path) for path in data.train.images])
    for k in folds.numbers:
        assert not set(paths[folds.train_rows(k)]) & set(paths[folds.valid_rows(k)])
    assert (folds.fold[:42] >= 0).all() and (folds.fold[42:] == -1).all()
    by_table = {"id": "id", "label": "label", "image": "file", "group": "g"}
    tiny.configure(columns=by_table, external=[])
    groups = tiny.data.train.groups
    assert (groups[40], groups[41]) == (groups[0], groups[1]) == ("000", "001")
    assert len(set(groups.tolist())) == 40


def test_the_same_ids_in_train_and_test(make_tiny):
    """Check that a prefix tells them apart within, and that the submission does not have it."""
    tiny = make_tiny()
    for name in ("test", "sample_submission", "answers"):
        tiny.edit(name, lambda f: f.assign(id=[f"{i:03d}" for i in range(18)]))
    assert "test_prefix: test-" in refusal(tiny)
    tiny.configure(test_prefix="test-")
    assert tiny.data.test.ids[0] == "test-000"
    assert tiny.data.test.images[0].name == "000.png"
    tiny.fake_run("a")
    folds = tiny.folds()
    written = submit(tiny.data, folds, "a")[1]
    assert written.path.read_text().splitlines()[1].startswith("000,")
    assert grade_all(tiny.data)[0][1].rows_private == 12


def test_a_submission_is_separated_like_the_sample(make_tiny):
    """Check that semicolons come out as they went in, and that it can be graded."""
    tiny = make_tiny()
    for name in ("train", "test", "sample_submission", "answers"):
        path = table(tiny, f"{name}.csv")
        path.write_text(path.read_text().replace(",", ";"))
    tiny.configure(tables={"delimiter": ";", "answers": "answers.csv"})
    tiny.fake_run("a")
    written = submit(tiny.data, tiny.folds(), "a")[1]
    assert written.path.read_text().startswith("id;label\n042;")
    assert len(grade_all(tiny.data)) == 1


def test_a_metric_file_that_raises_is_named_before_training(make_tiny):
    """Check that the host's own metric is tried on the labels when the tables are read."""
    tiny = make_tiny()
    path = tiny.project.competitions / "cost.py"
    tiny.configure(metric="cost.py")
    path.write_text("def score(y, answer):\n    return y.nothing\n")
    said = refusal(tiny)
    assert "cost.py" in said and "line 2" in said
    path.write_text("def score(y, answer):\n    return float('nan')\n")
    assert tiny.data.metric.name == "cost"


def test_linked_folders_do_not_multiply_pictures(tmp_path):
    """Check that a link around a folder is not followed, and that one to elsewhere is."""
    project = write_folders(tmp_path, ["cat/1.jpg", "dog/2.jpg"])
    (tmp_path / "photos/cat/loop").symlink_to(tmp_path / "photos")
    (tmp_path / "photos/cat/twin").symlink_to(tmp_path / "photos/dog")
    write_folders(tmp_path / "far", ["owls/9.jpg"])
    (tmp_path / "photos/owl").symlink_to(tmp_path / "far/photos/owls")
    configure(project, folders={"train": "./"})
    data = load_data(project, "f")
    assert data.train.ids.tolist() == ["cat/1.jpg", "dog/2.jpg", "owl/9.jpg"]


def test_a_train_only_column_of_booleans(make_tiny):
    """Check that what pandas writes of booleans is read."""
    tiny = make_tiny()
    tiny.edit("train", lambda f: f.assign(t=[i == 3 for i in range(42)]))
    tiny.configure(columns={"id": "id", "label": "label", "train_only": "t"})
    assert np.flatnonzero(tiny.data.train.train_only).tolist() == [3]
