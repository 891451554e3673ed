"""More layouts that well-known competitions handed out, in miniature."""

import numpy as np
import pytest

from pipeline.folds import make_folds


def jpgs(ids):
    return [f"{name}.jpg" for name in ids]


def test_drivers(site, named):
    """Check a list of names and classes, pictures in folders of classes, a group to propose."""
    train, test = jpgs(named("img_", 60)), jpgs(named("img_9", 10))
    rows = [(f"p{i // 5:03d}", f"c{i % 10}", x) for i, x in enumerate(train)]
    site.table("driver_imgs_list.csv", "subject classname img", rows)
    for _, kind, name in rows:
        site.pictures(f"imgs/train/{kind}", [name])
    site.pictures("imgs/test", test)
    kinds = [f"c{i}" for i in range(10)]
    site.table("sample_submission.csv", " ".join(["img", *kinds]), [(x, *[0.1] * 10) for x in test])
    made = site.init()
    content = made.competition
    assert content.columns.id == "img" and content.columns.label == "classname"
    assert content.nested and content.images.train == "imgs/train"
    assert content.metric == "log_loss"
    assert [said.partition("   #")[0] for said in made.proposals] == ["columns.group: subject"]
    data = site.load()
    fold = make_folds(site.root / "f.csv", data.train.ids, data.labels, data.classes, None)[0]
    assert fold.numbers == [0, 1, 2, 3, 4]


def test_paddy(site, named):
    """Check that the sample's column is the label though another column could be."""
    train, test = jpgs(named("1", 40)), jpgs(named("2", 6))
    kinds = ["blast", "hispa", "normal", "tungro"]
    rows = [(x, kinds[i % 4], ["ADT45", "Ponni"][i % 2], 40 + i % 6) for i, x in enumerate(train)]
    site.table("train.csv", "image_id label variety age", rows)
    site.table("sample_submission.csv", "image_id label", [(x, "") for x in test])
    for name, kind, *_ in rows:
        site.pictures(f"train_images/{kind}", [name])
    site.pictures("test_images", test)
    content = site.made()
    assert content["columns"] == {"id": "image_id", "label": "label"}
    assert content["metric"] == "accuracy" and content["nested"] is True
    assert content["images"] == {"train": "train_images", "test": "test_images"}


def test_whales(site, named):
    """Check a label that is called Id, of which a submission holds several."""
    train, test = jpgs(named("a", 40)), jpgs(named("b", 6))
    site.table("train.csv", "Image Id", [(x, f"w_{i % 12}") for i, x in enumerate(train)])
    site.table("sample_submission.csv", "Image Id", [(x, "new_whale w_1 w_2") for x in test])
    site.pictures("train", train)
    site.pictures("test", test)
    assert site.made()["columns"] == {"id": "Image", "label": "Id"}


def test_chest(site, named):
    """Check names joined by pipes, headers with spaces, and pictures in several archives."""
    rng = np.random.default_rng(0)
    finds = ["Effusion", "Mass", "Nodule", "Edema"]
    sets = ["|".join(rng.choice(finds, rng.integers(1, 4), replace=False)) for _ in range(60)]
    names = [f"{x}.png" for x in named("0000", 60)]
    lines = ["Image Index,Finding Labels,Patient ID,Patient Age,View Position"]
    lines += [
        f"{x},{s},{i // 3},{20 + i % 50},PA"
        for i, (x, s) in enumerate(zip(names, sets, strict=True))
    ]
    (site.data / "Data_Entry_2017.csv").write_text("\n".join(lines))
    for i, name in enumerate(names):
        site.pictures(f"images_{i % 3 + 1:03d}/images", [name])
    made = site.init()
    content = made.competition
    assert content.task == "multilabel" and content.columns.labels == "Finding Labels"
    assert content.columns.separator == "|" and content.columns.id == "Image Index"
    assert content.images == "." and content.nested and content.tables.test is None
    assert [said.partition("   #")[0] for said in made.proposals] == ["columns.group: Patient ID"]
    assert len(site.load().train) == 60


def test_skin(site, named):
    """Check that the one column called by a word for a label is taken, lesions are proposed."""
    names = named("ISIC_00", 60)
    rows = [
        (
            f"HAM_{i // 2}",
            x,
            ["nv", "mel", "bkl"][i % 3],
            ["histo", "consensus"][i % 2],
            "male",
            "back",
        )
        for i, x in enumerate(names)
    ]
    site.table("HAM10000_metadata.csv", "lesion_id image_id dx dx_type sex localization", rows)
    site.pictures("HAM10000_images_part_1", jpgs(names[:30]))
    site.pictures("HAM10000_images_part_2", jpgs(names[30:]))
    made = site.init()
    content = made.competition
    assert content.columns.label == "dx" and content.columns.id == "image_id"
    assert content.images == "." and content.nested and content.extension == ".jpg"
    assert any(said.startswith("columns.group: lesion_id") for said in made.proposals)


def test_seedlings(site, named):
    """Check that a sample of file names is used beside folders per class, one of others is not."""
    for kind in ("Maize", "Charlock"):
        site.pictures(f"train/{kind}", [f"{kind}{i}.png" for i in range(8)])
    test = [f"{x}.png" for x in named("t", 5)]
    site.pictures("test", test)
    site.table("sample_submission.csv", "file species", [(x, "Maize") for x in test])
    made = site.init()
    assert made.competition.folders.test == "test" and not made.warnings
    assert site.load().sample.columns == ("file", "species")
    assert sorted(site.load().test.ids.tolist()) == sorted(test)
    site.table("sample_submission.csv", "file species", [(f"x{x}", "Maize") for x in test])
    made = site.init(fresh=True)
    assert any("'xt000.png'" in w and "'test/t000.png'" in w for w in made.warnings)


def test_folders_with_a_sample_of_paths(site, named):
    """Check that a sample of paths is used, and decides on probabilities."""
    for kind in ("a", "b", "c"):
        site.pictures(f"train/{kind}", [f"{kind}{i}.png" for i in range(8)])
    test = [f"{x}.png" for x in named("t", 5)]
    site.pictures("test", test)
    rows = [(f"test/{x}", 0.3, 0.3, 0.4) for x in test]
    site.table("sample_submission.csv", "id a b c", rows)
    content = site.made()
    assert content["tables"] == {"sample_submission": "sample_submission.csv"}
    assert content["metric"] == "log_loss"
    assert site.load().sample.kind == "probability"


def test_retina(site, named):
    """Check a label of another name, the only column left, and JPEG files."""
    train, test = named("10_", 30), named("20_", 6)
    site.table("trainLabels.csv", "image level", [(x, i % 5) for i, x in enumerate(train)])
    site.table("sampleSubmission.csv", "image level", [(x, 0) for x in test])
    site.pictures("train", [f"{x}.jpeg" for x in train])
    site.pictures("test", [f"{x}.jpeg" for x in test])
    content = site.made()
    assert content["columns"] == {"id": "image", "label": "level"}
    assert content["extension"] == ".jpeg" and content["task"] == "multiclass"


def test_paths_in_the_table(site, named):
    """Check paths from the data folder's top, and Kaggle's absolute ones, which are only names."""
    train = named("a", 30)
    rows = [(i, f"pics/train/{x}.jpg", "cat" if i % 2 else "dog") for i, x in enumerate(train)]
    site.table("train.csv", "id path label", rows)
    site.pictures("pics/train", jpgs(train))
    content = site.made()
    assert content["columns"]["image"] == "path" and content["images"] == "."
    rows = [
        (i, f"/kaggle/input/pics/{x}.jpg", k)
        for i, (_, _, k), x in zip(range(30), rows, train, strict=True)
    ]
    site.table("train.csv", "id path label", rows)
    content = site.made(fresh=True)
    assert content["nested"] is True and content["images"] == "pics/train"
    assert all(path.is_file() for path in site.load().train.images)


def test_labels_apart_from_file_names(site, named):
    """Check that labels whose file names are in another table are refused with both."""
    names = jpgs(named("pic", 20))
    site.table("train_labels.csv", "id label", [(i + 500, "ab"[i % 2]) for i in range(20)])
    site.table("train_files.csv", "id file_name", [(i + 500, x) for i, x in enumerate(names)])
    site.pictures("images", names)
    told = site.refusal()
    assert "train_labels.csv" in told and "leads to no picture" in told


@pytest.mark.parametrize("target", [["0", "1"], ["0.0", "1.0"]])
def test_a_test_table_with_labels(site, named, target):
    """Check that labels of the test table are not used, but that grading with them is told."""
    train, test = named("a", 20), named("b", 6)
    site.table("train.csv", "id target", [(x, target[i % 2]) for i, x in enumerate(train)])
    site.table("test.csv", "id target", [(x, target[i % 2]) for i, x in enumerate(test)])
    site.pictures("images", jpgs(train + test))
    made = site.init()
    assert made.competition.tables.answers is None
    assert any("tables.answers=test.csv" in warning for warning in made.warnings)
    assert site.init("tables.answers=test.csv", fresh=True).competition.tables.answers == "test.csv"


def test_digits_named_by_numbers(site):
    """Check that labels that are also names of pictures are not taken for pictures."""
    site.table("train.csv", "id label", [(i, i % 10) for i in range(40)])
    site.table("test.csv", "id", [[i] for i in range(40, 50)])
    site.pictures("images", [f"{i}.png" for i in range(50)])
    content = site.made()
    assert content["columns"] == {"id": "id", "label": "label"}
    assert content["extension"] == ".png"


def test_one_picture_in_many_rows(site, named):
    """Check that rows that share their id are refused as the reader does."""
    train = jpgs(named("a", 20))
    rows = [(x, "ab"[i % 2]) for i, x in enumerate(train + train[:4])]
    site.table("train.csv", "image_id label", rows)
    site.table("sample_submission.csv", "image_id label", [(x, "a") for x in jpgs(named("b", 4))])
    site.pictures("images", train + jpgs(named("b", 4)))
    assert "stands twice" in site.refusal()


def test_links_in_a_circle_and_hidden_folders(site, named):
    """Check that a linked folder is followed once, and what sites leave behind is not looked at."""
    train = jpgs(named("a", 20))
    site.table("train.csv", "id label", [(x, "ab"[i % 2]) for i, x in enumerate(train)])
    elsewhere = site.root / "elsewhere"
    site.pictures("../elsewhere", train)
    (elsewhere / "back").symlink_to(site.data)
    (site.data / "pictures").symlink_to(elsewhere)
    (site.data / "again").symlink_to(site.data)
    site.pictures(".thumbnails", train)
    site.pictures("__MACOSX", train)
    assert site.made()["images"] == "pictures"
    assert len(site.load().train) == 20


def test_a_broken_table_beside_a_good_one(site, named):
    """Check that a table that cannot be read is refused by row only if no other one serves."""
    train = jpgs(named("a", 20))
    site.pictures("images", train)
    (site.data / "train_notes.csv").write_bytes(b"id,label\na\xff,1\n")
    assert "row 2: byte b'\\xff' is not UTF-8" in site.refusal()
    site.table("train.csv", "id label", [(x, "ab"[i % 2]) for i, x in enumerate(train)])
    site.init()
    assert site.load().classes == ("a", "b")


def test_copies_of_nested_pictures(site, named):
    """Check that of two trees with the same pictures the one named like the table is taken."""
    train = named("a", 20)
    site.table("train.csv", "id label", [(x, "ab"[i % 2]) for i, x in enumerate(train)])
    for i, name in enumerate(jpgs(train)):
        site.pictures(f"train/part{i % 3}", [name])
        site.pictures(f"copy/part{i % 2}", [name])
    content = site.made()
    assert content["images"] == "train" and content["nested"] is True


def test_a_test_table_of_other_ids(site, named):
    """Check that a test table without the sample's ids is not taken, and answers need labels."""
    train, test = named("a", 20), named("b", 6)
    site.table(
        "train.csv", "id label", [(x, "cat" if i % 2 else "dog") for i, x in enumerate(train)]
    )
    site.table("test.csv", "id", [[x] for x in test[:4]])
    site.table("solution.csv", "id Usage", [(x, "Private") for x in test])
    site.table("sample_submission.csv", "id label", [(x, "cat") for x in test])
    site.pictures("images", jpgs(train + test))
    assert site.made()["tables"] == {"test": "sample_submission.csv"}


def test_two_samples(site, named):
    """Check that of two samples the one with the ids of the test table is taken, else asked for."""
    train, test = named("a", 20), named("b", 6)
    site.table(
        "train.csv", "id label", [(x, "cat" if i % 2 else "dog") for i, x in enumerate(train)]
    )
    site.table("sample_submission.csv", "id label", [(x, "cat") for x in test])
    site.table("sample_submission_old.csv", "id label", [(x, "cat") for x in test[:3]])
    site.pictures("images", jpgs(train + test))
    assert "SET='tables.sample_submission=sample_submission.csv'" in site.refusal()
    site.table("test.csv", "id", [[x] for x in test])
    site.init()
    assert len(site.load().test) == 6


def test_labels_that_name_pictures(site, named):
    """Check that a column of few values is not taken for one of pictures."""
    rows = [(x, i % 10) for i, x in enumerate(named("a", 40))]
    site.table("train.csv", "id label", rows)
    site.pictures("images", [f"{i}.png" for i in range(50)])
    assert "its column 'id' leads to no picture" in site.refusal()
