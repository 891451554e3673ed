"""The layouts in which sites hand out their data: each is understood, or asked about."""

import numpy as np
import pytest

LEAVES = ["healthy", "multiple", "rust", "scab"]


def jpgs(ids):
    return [f"{name}.jpg" for name in ids]


def test_ids_labels_and_two_folders(site, named):
    """Check a table of integer labels, a folder of pictures for each table, names with suffix."""
    train, test = jpgs(named("a", 30)), jpgs(named("b", 6))
    site.table("train.csv", "image_id label", [(x, i % 5) for i, x in enumerate(train)])
    site.table("sample_submission.csv", "image_id label", [(x, 4) for x in test])
    site.pictures("train_images", train)
    site.pictures("test_images", test)
    content = site.made()
    assert content["task"] == "multiclass" and content["metric"] == "accuracy"
    assert content["columns"] == {"id": "image_id", "label": "label"}
    assert content["images"] == {"train": "train_images", "test": "test_images"}
    assert content["tables"] == {"test": "sample_submission.csv"}
    assert "extension" not in content and "missing_images" not in content
    data = site.load()
    assert data.classes == ("0", "1", "2", "3", "4") and data.test.ids.tolist() == test
    assert all(path.is_file() for path in [*data.train.images, *data.test.images])


def test_one_hot_columns_are_classes(site, named):
    """Check that 0/1 columns with one 1 per row are classes, and fractions want probabilities."""
    ids = named("Train_", 20) + named("Test_", 5)
    hot = np.eye(4, dtype=int)
    site.table(
        "train.csv",
        "image_id " + " ".join(LEAVES),
        [(x, *hot[i % 4]) for i, x in enumerate(ids[:20])],
    )
    site.table("test.csv", "image_id", [[x] for x in ids[20:]])
    quarter = [0.25] * 4
    site.table(
        "sample_submission.csv", "image_id " + " ".join(LEAVES), [(x, *quarter) for x in ids[20:]]
    )
    site.pictures("images", jpgs(ids))
    content = site.made()
    assert content["task"] == "multiclass" and content["metric"] == "log_loss"
    assert content["columns"] == {"id": "image_id", "classes": LEAVES}
    assert content["images"] == "images" and content["extension"] == ".jpg"
    assert site.load().sample.kind == "probability"


def test_two_classes_and_a_half(site, named):
    """Check that a value of 0.5 for two classes is the probability of the second."""
    train, test = jpgs(named("a", 20)), jpgs(named("b", 5))
    site.table("train.csv", "id has_cactus", [(x, i % 2) for i, x in enumerate(train)])
    site.table("sample_submission.csv", "id has_cactus", [(x, 0.5) for x in test])
    site.pictures("train/train", train)
    site.pictures("test/test", test)
    content = site.made()
    assert content["metric"] == "log_loss"
    assert content["images"] == {"train": "train/train", "test": "test/test"}
    assert site.load().sample.kind == "positive"


def test_tags_separated_by_spaces(site, named):
    """Check that recurring words in varying sets are several names per row."""
    words = ["clear", "primary", "water", "road", "haze", "habitation"]
    rng = np.random.default_rng(0)
    sets = [" ".join(rng.choice(words, rng.integers(1, 5), replace=False)) for _ in range(60)]
    train, test = named("train_", 60), named("test_", 8)
    site.table("train_v2.csv", "image_name tags", zip(train, sets, strict=True))
    site.table("sample_submission_v2.csv", "image_name tags", [(x, "primary clear") for x in test])
    site.pictures("train-jpg", jpgs(train))
    site.pictures("test-jpg", jpgs(test))
    content = site.made()
    assert content["task"] == "multilabel" and content["metric"] == "f1_micro"
    assert content["columns"] == {"id": "image_name", "labels": "tags", "separator": " "}
    assert content["extension"] == ".jpg"
    assert site.load().classes == tuple(sorted(words))


def test_numbers_separated_by_spaces(site, named):
    """Check that attribute numbers joined by spaces are several labels, in PNG files."""
    rng = np.random.default_rng(1)
    sets = [
        " ".join(map(str, sorted(rng.choice(9, rng.integers(1, 4), replace=False))))
        for _ in range(80)
    ]
    train, test = named("1a", 80), named("2b", 8)
    site.table("train.csv", "id attribute_ids", zip(train, sets, strict=True))
    site.table("sample_submission.csv", "id attribute_ids", [(x, "0 1 2") for x in test])
    site.pictures("train", [f"{x}.png" for x in train])
    site.pictures("test", [f"{x}.png" for x in test])
    content = site.made()
    assert content["columns"] == {"id": "id", "labels": "attribute_ids", "separator": " "}
    assert content["extension"] == ".png"


def test_a_medical_table(site, named):
    """Check that the sample's column is the label among many, and that a patient is proposed."""
    train, test = named("ISIC_0", 60), named("ISIC_9", 10)
    header = "image_name patient_id sex age_approx diagnosis benign_malignant target"
    parts = ["benign", "malignant"]
    rows = [
        (
            x,
            f"IP_{i % 17}",
            "male" if i % 3 else "female",
            45.0,
            "nevus" if i % 4 else "melanoma",
            parts[i % 4 == 0],
            int(i % 4 == 0),
        )
        for i, x in enumerate(train)
    ]
    site.table("train.csv", header, rows)
    site.table("test.csv", "image_name patient_id", [(x, "IP_99") for x in test])
    site.table("sample_submission.csv", "image_name target", [(x, 0) for x in test])
    site.pictures("jpeg/train", jpgs(train))
    site.pictures("jpeg/test", jpgs(test))
    made = site.init()
    content = made.competition
    assert content.columns.label == "target" and content.columns.group is None
    assert content.images.train == "jpeg/train" and content.images.test == "jpeg/test"
    assert any(said.startswith("columns.group: patient_id") for said in made.proposals)
    assert "# group: patient_id" in site.yaml.read_text()
    assert any("auc_macro" in said for said in made.assumptions)


def test_capital_names(site, named):
    """Check Train.csv, Test.csv and SampleSubmission.csv with a column per class of names."""
    train, test = named("id_", 24), named("id_9", 6)
    kinds = ["blight", "mildew", "rust"]
    site.table("Train.csv", "Image_ID Label", [(x, kinds[i % 3]) for i, x in enumerate(train)])
    site.table("Test.csv", "Image_ID", [[x] for x in test])
    site.table("SampleSubmission.csv", "Image_ID " + " ".join(kinds), [(x, 0, 0, 0) for x in test])
    site.pictures("Images", jpgs(train + test))
    content = site.made()
    assert content["tables"] == {
        "train": "Train.csv",
        "test": "Test.csv",
        "sample_submission": "SampleSubmission.csv",
    }
    assert content["columns"] == {"id": "Image_ID", "label": "Label"}
    assert content["metric"] == "log_loss" and content["images"] == "Images"


def test_features_beside_labels(site, named):
    """Check that of two training tables the one with the asked columns is taken."""
    train, test = named("ZJ0", 24), named("ZJ9", 6)
    animals = ["antelope", "bird", "blank"]
    hot = np.eye(3)
    paths = [(x, f"train_features/{x}.jpg", f"S{i % 7}") for i, x in enumerate(train)]
    site.table("train_features.csv", "id filepath site", paths)
    site.table(
        "test_features.csv", "id filepath site", [(x, f"test_features/{x}.jpg", "S9") for x in test]
    )
    site.table(
        "train_labels.csv",
        "id " + " ".join(animals),
        [(x, *hot[i % 3]) for i, x in enumerate(train)],
    )
    site.table(
        "submission_format.csv", "id " + " ".join(animals), [(x, 0.1, 0.1, 0.8) for x in test]
    )
    site.pictures("train_features", jpgs(train))
    site.pictures("test_features", jpgs(test))
    content = site.made()
    assert content["tables"]["train"] == "train_labels.csv"
    assert content["tables"]["test"] == "test_features.csv"
    assert content["columns"] == {"id": "id", "classes": animals}
    assert content["images"] == {"train": "train_features", "test": "test_features"}
    assert content["task"] == "multiclass" and content["metric"] == "log_loss"


def test_breeds_as_columns_of_the_sample(site, named):
    """Check that the column whose names are the sample's columns is the label."""
    train, test = named("a", 30), named("b", 5)
    breeds = ["basset", "boxer", "pug"]
    site.table(
        "labels.csv",
        "id breed owner_note",
        [(x, breeds[i % 3], "ok" if i % 2 else "bad") for i, x in enumerate(train)],
    )
    site.table(
        "sample_submission.csv", "id " + " ".join(breeds), [(x, 1 / 3, 1 / 3, 1 / 3) for x in test]
    )
    site.pictures("train", jpgs(train))
    site.pictures("test", jpgs(test))
    content = site.made()
    assert content["columns"] == {"id": "id", "label": "breed"}
    assert content["metric"] == "log_loss"


@pytest.mark.parametrize(
    "mark, suffix", [("\t", ".tsv"), (";", ".csv"), ("|", ".csv"), ("\t", ".csv")]
)
def test_other_delimiters(site, named, mark, suffix):
    """Check that the delimiter is seen, and named only where the suffix does not say it."""
    train, test = named("a", 20), named("b", 5)
    site.table(
        f"training_set{suffix}",
        "id label",
        [(x, "cat" if i % 2 else "dog") for i, x in enumerate(train)],
        mark,
    )
    site.table(f"test_ids{suffix}", "id", [[x] for x in test], mark)
    site.table(f"sample_sub{suffix}", "id label", [(x, "cat") for x in test], mark)
    site.pictures("data/images", jpgs(train + test))
    content = site.made()
    assert content["tables"].get("delimiter") == (None if suffix == ".tsv" else mark)
    assert content["tables"]["test"] == f"test_ids{suffix}"
    assert len(site.load().train) == 20


def test_tables_one_folder_deep(site, named):
    """Check tables and pictures in one archive folder, and a folder of predictions beside."""
    train, test = named("a", 20), named("b", 5)
    site.table(
        "archive/train.csv",
        "id label",
        [(x, "cat" if i % 2 else "dog") for i, x in enumerate(train)],
    )
    site.table(
        "archive/members/one.oof.csv", "id cat dog label", [(x, 0.2, 0.8, "dog") for x in train]
    )
    site.table("archive/members/one.test.csv", "id cat dog", [(x, 0.2, 0.8) for x in test])
    site.table("archive/members/folds.csv", "id fold", [(x, i % 5) for i, x in enumerate(train)])
    site.table("archive/test.csv", "id", [[x] for x in test])
    site.pictures("archive/images", jpgs(train + test))
    content = site.made()
    assert content["tables"]["train"] == "archive/train.csv"
    assert content["tables"]["test"] == "archive/test.csv"
    assert content["tables"]["sample_submission"] is None
    assert content["images"] == "archive/images"


def test_pictures_in_folders_below(site, named):
    """Check that base names lead to pictures in subfolders, of whatever extension."""
    train, test = named("a", 20), named("b", 5)
    site.table(
        "train.csv", "id label", [(x, "cat" if i % 2 else "dog") for i, x in enumerate(train)]
    )
    site.table("test.csv", "id", [[x] for x in test])
    for i, name in enumerate(train + test):
        site.pictures(f"pictures/site{i % 3}", [name + (".png" if i % 2 else ".jpg")])
    content = site.made()
    assert content["images"] == "pictures"
    assert content["nested"] is True and content["extension"] == "*"
    assert all(path.is_file() for path in site.load().train.images)


def test_a_column_of_pictures(site, named):
    """Check that the id is what the sample asks for, and another column leads to the pictures."""
    train, test = named("a", 20), named("b", 5)
    rows = [(f"img{i}.jpg", x, "cat" if i % 2 else "dog") for i, x in enumerate(train)]
    site.table("train.csv", "file key label", rows)
    site.table("test.csv", "file key", [(f"img{i + 50}.jpg", x) for i, x in enumerate(test)])
    site.table("sample_submission.csv", "key label", [(x, "cat") for x in test])
    site.pictures("images", [f"img{i}.jpg" for i in range(60)])
    content = site.made()
    assert content["columns"] == {"id": "key", "image": "file", "label": "label"}
    assert "extension" not in content


def test_other_file_names_than_in_the_table(site, named):
    """Check that a table that says .jpeg leads to .png files."""
    train = named("a", 20)
    site.table(
        "train.csv",
        "id label",
        [(f"{x}.jpeg", "cat" if i % 2 else "dog") for i, x in enumerate(train)],
    )
    site.pictures("images", [f"{x}.png" for x in train])
    content = site.made()
    assert content["extension"] == "*" and content["tables"]["test"] is None


def test_folder_per_class(site, named):
    """Check train/CLASS with val/ joined and test/ beside it, tables of others left alone."""
    for kind in ("cat", "dog"):
        site.pictures(f"train/{kind}", jpgs(named("t", 8)))
        site.pictures(f"val/{kind}", jpgs(named("v", 3)))
    site.pictures("test", jpgs(named("x", 4)))
    site.table("notes.csv", "what when", [("a", "b"), ("c", "d")])
    content = site.made()
    assert content["folders"] == {"train": ["train", "val"], "test": "test"}
    data = site.load()
    assert len(data.train) == 22 and len(data.test) == 4 and data.classes == ("cat", "dog")


@pytest.mark.parametrize("top", [".", "pets"])
def test_classes_at_the_top(site, named, top):
    """Check folders of classes directly in the data folder, or in the one folder there is."""
    for kind in ("cat", "dog", "owl"):
        site.pictures(f"{top}/{kind}", jpgs(named("t", 5)))
    made = site.init()
    assert made.competition.folders.train == (top,) and made.competition.folders.test is None
    assert any("nothing can be submitted" in warning for warning in made.warnings)


def test_classes_beside_a_test_folder(site, named):
    """Check that a test folder among the classes is refused, since it would be a class."""
    for kind in ("cat", "dog", "test"):
        site.pictures(kind, jpgs(named("t", 5)))
    assert "move the classes into a folder train/" in site.refusal()


def test_labels_in_file_names(site):
    """Check that flat pictures without a table are refused by what is needed."""
    site.pictures("train", [f"{kind}.{i}.jpg" for kind in ("cat", "dog") for i in range(8)])
    site.pictures("test1", [f"{i}.jpg" for i in range(8)])
    site.table("sampleSubmission.csv", "id label", [(i, 0) for i in range(8)])
    told = site.refusal()
    assert "train.csv with the columns id,label" in told and "train/CLASS/" in told
    assert "cat.0.jpg" in told


def test_answers_by_name_and_header(site, named):
    """Check that answers are named, and that no value of theirs decides anything."""
    train, test = named("a", 20), named("b", 5)
    site.table(
        "train.csv", "id label", [(x, "cat" if i % 2 else "dog") for i, x in enumerate(train)]
    )
    site.table("test.csv", "id", [[x] for x in test])
    site.table("solution.csv", "id label Usage", [(x, "nonsense", "Private") for x in test])
    site.pictures("images", jpgs(train + test))
    assert site.made()["tables"]["answers"] == "solution.csv"
    text = site.yaml.read_text()
    (site.data / "solution.csv").write_bytes(b"id,label,Usage\n\xff\xfe broken \0")
    assert not site.init().made and site.yaml.read_text() == text
