"""What cannot be decided is asked for by its key; what the user says wins; nothing is lost."""

import pytest


def pets(site, named, *, rows=20, missing=(), suffix=".jpg", header="id label", **columns):
    """Write a plain competition of cats and dogs; `columns` are further training columns."""
    train, test = named("a", rows), named("b", 5)
    more = list(columns.values())
    lines = [(x, "cat" if i % 2 else "dog", *(c[i] for c in more)) for i, x in enumerate(train)]
    site.table("train.csv", " ".join([header, *columns]), lines)
    site.table("test.csv", "id", [[x] for x in test])
    there = [x + suffix for x in train + test if x not in missing]
    site.pictures("images", there)


def test_two_columns_of_labels(site, named):
    """Check that two columns that could be labels are asked about, and that the answer is taken."""
    pets(site, named, header="id a", b=["x", "y"] * 10)
    told = site.refusal()
    assert "photos/train.csv: the labels could be column 'a' or column 'b'" in told
    assert told.endswith("make init COMP=mine DATA=photos SET='columns.label=a'")
    assert site.made("columns.label=b")["columns"] == {"id": "id", "label": "b"}


def test_a_column_with_a_space(site, named):
    """Check that the command that is proposed can be typed for a name that holds a space."""
    pets(site, named)
    text = (site.data / "train.csv").read_text().replace("id,label", "id,first kind")
    lines = [line + f",{'xy'[i % 2]}" for i, line in enumerate(text.splitlines()[1:])]
    (site.data / "train.csv").write_text("\n".join(["id,first kind,other kind", *lines]) + "\n")
    told = site.refusal()
    said = told.partition("SET='")[2].removesuffix("'")
    assert " " not in said
    assert site.made(said)["columns"]["label"] == "first kind"


def test_columns_and_names(site, named):
    """Check that 0/1 columns beside a column of names are asked about, for either answer."""
    pets(site, named, header="id kind", one=[0, 1] * 10, two=[1, 0, 1, 1] * 5)
    told = site.refusal()
    said = told.partition("SET='")[2].removesuffix("'")
    assert said == "columns.classes=[one,two]" and "column 'kind'" in told
    content = site.made(said)
    assert content["task"] == "multilabel" and content["columns"]["classes"] == ["one", "two"]


def test_what_the_user_says_wins(site, named):
    """Check that each key of SET stands in the YAML, without a reason of ours."""
    pets(site, named)
    made = site.init("metric=f1_macro title=Pets columns.id=id extension=.jpg")
    assert made.competition.metric == "f1_macro" and made.competition.title == "Pets"
    assert not any(said.startswith(("metric", "extension")) for said in made.assumptions)


def test_an_unknown_key(site, named):
    """Check that a key that a YAML does not have is refused with the nearest one."""
    pets(site, named)
    assert "did you mean metric" in site.refusal("metrics=accuracy")
    assert "there are: test.csv, train.csv" in site.refusal("tables.train=xyz")
    assert "did you mean label" in site.refusal("columns.label=lable")


def test_two_equal_folders_of_pictures(site, named):
    """Check that equal folders are asked about, one that says so is taken, and the answer is."""
    pets(site, named)
    site.pictures("small", [f"{x}.jpg" for x in named("a", 20) + named("b", 5)])
    assert "could lie in 'images' or 'small'" in site.refusal()
    assert site.made("images=./small/")["images"] == "./small/"


def test_two_extensions(site, named):
    """Check that pictures there in two formats are asked about by `extension`."""
    pets(site, named)
    site.pictures("images", [f"{x}.png" for x in named("a", 20) + named("b", 5)])
    assert "SET='extension=.jpg'" in site.refusal()
    assert site.made("extension=.png")["extension"] == ".png"


def test_two_training_tables(site, named):
    """Check that tables that could both be the training table are asked about."""
    pets(site, named)
    text = (site.data / "train.csv").read_text()
    (site.data / "train_old.csv").write_text(text)
    told = site.refusal()
    assert "could be 'train.csv' or 'train_old.csv'" in told
    said = told.partition("SET='")[2].removesuffix("'")
    assert site.made(said)["tables"]["train"] == "train.csv"


def test_few_missing_pictures(site, named):
    """Check that a few missing pictures are counted and their rows kept, here and in the YAML."""
    pets(site, named, missing=["a003", "b001"])
    made = site.init()
    counts = {p.table: (p.found, p.missing) for p in made.pictures}
    assert counts == {"train": (19, 1), "test": (4, 1)}
    assert made.competition.missing_images == "predict-prior"
    assert "missing_images: predict-prior" in site.yaml.read_text()
    assert len(site.load().absent) == 2


def test_a_broken_picture(site, named):
    """Check that a broken picture is found by decoding, and is treated like a missing one."""
    pets(site, named)
    (site.data / "images" / "a004.jpg").write_bytes(b"no picture")
    made = site.init()
    assert made.pictures[0].broken == 1 and made.pictures[0].missing == 0
    assert made.competition.missing_images == "predict-prior"
    assert any("a004.jpg" in warning for warning in made.warnings)


@pytest.mark.parametrize("prefix, table", [("a", "train.csv"), ("b", "test.csv")])
def test_most_pictures_missing(site, named, prefix, table):
    """Check that more missing pictures than found are an error with the keys that place them."""
    pets(site, named, missing=named(prefix, 20)[2:])
    told = site.refusal()
    assert table in told and "images=" in told and "extension=" in told
    assert "images/" + prefix + "000.jpg" in told


def test_an_existing_yaml_is_kept(site, named):
    """Check that the same YAML is left alone, another one refused, and FRESH overwrites it."""
    pets(site, named)
    assert site.init().made and not site.init().made
    site.yaml.write_text(site.yaml.read_text() + "# mine\n")
    assert "FRESH=1" in site.refusal()
    assert site.init(fresh=True).made and "# mine" not in site.yaml.read_text()
    site.yaml.write_text("built_in: digits\n")
    assert "built in" in site.refusal(fresh=True)


@pytest.mark.parametrize(
    "change, rule",
    [
        (lambda lines: [*lines, lines[1]], "stands twice"),
        (lambda lines: lines[:9], "at least 10 are needed"),
        (lambda lines: [line.replace("cat", "dog") for line in lines], "looks like labels"),
        (lambda lines: [lines[0], lines[1].replace("dog", " dog"), *lines[2:]], "spaces around"),
    ],
)
def test_a_bad_table(site, named, change, rule):
    """Check that what the reader refuses, and too little to train on, leaves nothing behind."""
    pets(site, named)
    site.table("sample_submission.csv", "id label", [(x, "cat") for x in named("b", 5)])
    if "labels" in rule:
        (site.data / "sample_submission.csv").unlink()
    path = site.data / "train.csv"
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    assert rule in site.refusal()


def test_too_few_groups(site, named):
    """Check that a group with fewer values than folds is refused."""
    pets(site, named, person=["ann", "bob", "cyd"] * 6 + ["ann", "bob"])
    assert "3 groups, fewer than the 5 folds" in site.refusal("columns.group=person")


def test_bad_folders(site, named):
    """Check a folder that is not there, a file, an empty one, one still packed, and a bad name."""
    from pipeline.errors import PodiumError
    from pipeline.init import init

    assert "no pictures at any depth" in site.refusal()
    (site.data / "train.zip").write_bytes(b"PK")
    assert "unpack or convert train.zip" in site.refusal()
    for comp, data, rule in (
        ("mine", "nowhere", "is no folder"),
        ("mine", "photos/train.zip", "unpack it"),
        ("mine", "", "no folder is named"),
        ("../mine", "photos", "not a usable name"),
    ):
        with pytest.raises(PodiumError, match=rule):
            init(site.project, comp, data)


def test_data_is_recorded_as_given(site, named, monkeypatch):
    """Check relative, absolute and home paths of the data folder."""
    import yaml

    from pipeline.init import init

    pets(site, named)
    monkeypatch.setenv("HOME", str(site.root))
    for number, data in enumerate(["photos", str(site.data), "~/photos", "./photos"]):
        made = init(site.project, f"mine{number}", data)
        assert yaml.safe_load(made.path.read_text())["data"] == data
    assert (
        yaml.safe_load(init(site.project, "last", "photos/").path.read_text())["data"] == "photos"
    )


def test_pictures_elsewhere(site, named):
    """Check that SET can name a folder of pictures beside the data folder."""
    pets(site, named)
    (site.data / "images").rename(site.root / "pictures")
    assert site.made("images=../pictures")["images"] == "../pictures"
    assert site.load().train.images[0].is_file()


def test_a_test_table_that_names_no_pictures(site, named):
    """Check that a test table without the column that leads to the pictures is named."""
    rows = [(x, f"pic{i}.jpg", "ab"[i % 2]) for i, x in enumerate(named("a", 20))]
    site.table("train.csv", "id file label", rows)
    site.table("test.csv", "id", [[x] for x in named("b", 5)])
    site.pictures("images", [f"pic{i}.jpg" for i in range(30)])
    assert "has no column 'file', by which train.csv names its pictures" in site.refusal()


def test_pictures_that_lie_twice(site, named):
    """Check that folders that share names are not joined: a name would lead to two pictures."""
    pets(site, named, missing=named("a", 20)[15:])
    (site.data / "test.csv").unlink()
    site.pictures("more", [f"{x}.jpg" for x in named("a", 20)[10:]])
    made = site.init()
    assert made.competition.images == "images" and not made.competition.nested
    assert made.pictures[0].missing == 5
