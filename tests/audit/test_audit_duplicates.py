"""Findings on duplicates, of planted copies."""

import shutil

import numpy as np
import pytest

from pipeline.audit.duplicates import duplicate_findings, spare_rows
from pipeline.folds import Folds, draft_shared, make_shared
from pipeline.images.duplicates import competition_looks


def copied(tiny, pairs: list[tuple[int, int]]) -> None:
    """Make the second picture of each pair a copy of the first; rows count through the test."""
    images = tiny.root / "data" / "tiny" / "images"
    for one, other in pairs:
        shutil.copy(images / f"{one:03d}.png", images / f"{other:03d}.png")


def labelled(tiny, labels: dict[int, str]) -> None:
    """Give training rows other labels."""

    def change(table):
        table.loc[list(labels), "label"] = list(labels.values())
        return table

    tiny.edit("train", change)


def findings(tiny) -> dict:
    data = tiny.data
    found = duplicate_findings(data, draft_shared(data), competition_looks(data))
    return {finding.name: finding for finding in found}


def test_a_competition_without_copies_is_fine(tiny):
    """Check that nothing is found where nothing is."""
    assert {f.level for f in findings(tiny).values()} == {"fine"}


def test_copies_are_found_where_they_are(tiny):
    """Check counts, levels and the pairs shown: within train, against test, with other labels."""
    labelled(tiny, {0: "cat", 1: "cat", 2: "dog", 3: "owl"})
    copied(tiny, [(0, 1), (2, 3), (5, 45), (50, 51)])
    found = findings(tiny)
    exact = found["exact-duplicates"]
    assert exact.level == "warn" and exact.count == 8
    assert "5 of training, 3 of test rows" in exact.says
    assert [item["rows"] for item in exact.items] == [
        ["000", "001"],
        ["002", "003"],
        ["005", "045"],
        ["050", "051"],
    ]
    conflict = found["conflicting-labels"]
    assert conflict.level == "warn" and conflict.count == 1
    assert conflict.items[0]["rows"] == ["002", "003"]
    assert conflict.items[0]["labels"] == ["dog", "owl"]
    test = found["duplicates-in-test"]
    assert (test.level, test.count) == ("warn", 1)
    assert test.items[0]["places"][1] == "test" and test.items[0]["labels"][1] == ""
    assert found["duplicates-across-folds"].level == "fine"


def test_copies_across_folds_block(tiny):
    """Check folds that were made without looking for duplicates, and the same made anew."""
    folds = tiny.folds()
    apart = next(i for i in range(1, 42) if folds.fold[i] != folds.fold[0])
    copied(tiny, [(0, apart)])
    found = findings(tiny)["duplicates-across-folds"]
    assert (found.level, found.count, found.depends) == ("block", 1, "folds")
    assert found.items[0]["rows"] == ["000", f"{apart:03d}"]
    assert found.items[0]["places"] == [f"fold {folds.fold[i]}" for i in (0, apart)]
    make_shared(tiny.data, fresh=True)
    assert findings(tiny)["duplicates-across-folds"].level == "fine"


def test_a_test_picture_between_two_joins_no_training_rows(tiny):
    """Check that rows which are near a test picture and not each other are dealt as they are."""
    data = tiny.data
    folds = draft_shared(data)
    apart = next(i for i in range(1, 42) if folds.fold[i] != folds.fold[0])
    looks = competition_looks(data)
    for place, bits in ((0, 0), (42, 8), (apart, 16)):  # the first test row lies in between
        code = np.zeros(256, np.uint8)
        code[:bits] = 1
        looks["dhash"][place] = np.packbits(code)
    found = {f.name: f for f in duplicate_findings(data, folds, looks)}
    assert found["duplicates-in-test"].count == 1
    assert found["duplicates-across-folds"].level == found["conflicting-labels"].level == "fine"
    looks["dhash"][apart] = looks["dhash"][42]
    looks["dhash"][42] = ~looks["dhash"][42]
    found = {f.name: f for f in duplicate_findings(data, folds, looks)}
    assert found["duplicates-across-folds"].level == "block"


def test_a_hold_out_is_looked_at_too(tiny):
    """Check a copy of a validated row among those that a hold-out trains on."""
    folds = tiny.folds(n_folds=1)
    held = int((folds.fold == 0).argmax())
    trained = int((folds.fold == -1).argmax())
    copied(tiny, [(trained, held)])
    assert findings(tiny)["duplicates-across-folds"].level == "block"


def test_train_only_copies_of_one_group_do_not_block(tiny):
    """Check that train-only rows which the folds leave out beside their copy are no leak, and that
    those which they do not leave out are."""
    tiny.edit("train", lambda t: t.assign(extra=[str(int(i < 5)) for i in range(len(t))]))
    tiny.configure(columns={"id": "id", "label": "label", "train_only": "extra"})
    copied(tiny, [(0, 20)])
    assert findings(tiny)["duplicates-across-folds"].level == "fine"
    tiny.configure(duplicates={"group": False})
    assert findings(tiny)["duplicates-across-folds"].level == "block"


def test_the_odd_row_of_a_large_cluster_is_found(make_tiny):
    """Check that of 100 copies the one in another fold, with another label, is found."""
    tiny = make_tiny(rows=120, images=True)
    copied(tiny, [(0, i) for i in range(1, 100)])
    labelled(tiny, dict.fromkeys(range(100), "cat") | {97: "owl"})
    data, looks = tiny.data, competition_looks(tiny.data)
    fold = np.zeros(120, np.int64)
    fold[[98, *range(100, 120)]] = 1
    folds = Folds(data.train.ids, fold, None, "", {})
    found = {f.name: f for f in duplicate_findings(data, folds, looks)}
    assert found["duplicates-across-folds"].count == found["conflicting-labels"].count == 1
    assert "098" in found["duplicates-across-folds"].items[0]["rows"]
    assert "097" in found["conflicting-labels"].items[0]["rows"]


def test_the_distance_of_the_yaml_counts(tiny):
    """Check that `distance: null` looks for no near pairs and says so."""
    tiny.configure(duplicates={"distance": None})
    near = findings(tiny)["near-duplicates"]
    assert near.level == "note" and "not looked for" in near.says
    tiny.configure(duplicates={"distance": 32})
    assert "at most 32 of 256 bits" in findings(tiny)["near-duplicates"].says


def test_look_alikes_of_other_labels_are_a_note(tiny):
    """Check that near-duplicates of other colours do not warn of conflicting labels, and of the
    same colours do."""
    labelled(tiny, {0: "cat", 1: "dog"})
    data, looks = tiny.data, competition_looks(tiny.data)
    folds = draft_shared(data)
    looks["dhash"][1] = looks["dhash"][0]
    looks["thumb"][0], looks["thumb"][1] = 0, 0
    looks["thumb"][0, :4], looks["thumb"][1, 4:] = 200, 200
    found = {f.name: f for f in duplicate_findings(data, folds, looks)}["conflicting-labels"]
    assert (found.level, found.count) == ("note", 1) and "surely the same picture: 0" in found.says
    looks["thumb"][1] = looks["thumb"][0]
    found = {f.name: f for f in duplicate_findings(data, folds, looks)}["conflicting-labels"]
    assert found.level == "warn" and "surely the same picture: 1" in found.says


def test_a_large_cluster_of_the_same_bytes_does_not_blame_the_distance(make_tiny):
    """Check that near-duplicates are judged by different pictures, and that the pairs shown reach
    from the nearest to the farthest."""
    tiny = make_tiny(rows=120, images=True)
    copied(tiny, [(0, i) for i in range(1, 60)])
    data, looks = tiny.data, competition_looks(tiny.data)
    folds = draft_shared(data)
    near = {f.name: f for f in duplicate_findings(data, folds, looks)}["near-duplicates"]
    assert near.level == "fine" and near.count == 0
    for i in range(60, 120):  # a chain: neighbours differ in few bits
        code = np.zeros(256, np.uint8)
        code[: 2 * (i - 60)] = 1
        looks["dhash"][i] = np.packbits(code)
    near = {f.name: f for f in duplicate_findings(data, folds, looks)}["near-duplicates"]
    assert near.level == "warn" and "at most 60 different ones" in near.says
    distances = [item["distance"] for item in near.items]
    assert (distances[0], distances[-1], len(distances)) == (2, 10, 48)


def test_the_label_of_most_copies_stays(tiny):
    """Check that of three copies, two of one label, the one that stays has this label."""
    labelled(tiny, {0: "owl", 1: "cat", 2: "cat"})
    copied(tiny, [(0, 1), (0, 2)])
    data = tiny.data
    assert list(spare_rows(data, competition_looks(data), None)) == ["000", "002"]


@pytest.mark.parametrize("distance", [None, 10])
def test_one_row_of_each_cluster_stays(tiny, distance):
    """Check the list to leave out: all but one of agreeing copies, all of conflicting ones."""
    labelled(tiny, {0: "cat", 1: "cat", 2: "dog", 3: "owl", 4: "cat", 5: "cat", 6: "cat"})
    copied(tiny, [(0, 1), (2, 3), (4, 5), (4, 6), (10, 50)])
    data = tiny.data
    spare = spare_rows(data, competition_looks(data), distance)
    assert spare == ["001", "002", "003", "005", "006"]


def test_multilabel_conflicts_are_told_in_words(make_tiny):
    """Check that pictures with other sets of labels conflict, and how the labels are shown."""
    tiny = make_tiny(task="multilabel", images=True)

    def change(table):
        table.loc[0, ["cat", "dog", "owl"]] = ["1", "0", "1"]
        table.loc[1, ["cat", "dog", "owl"]] = ["0", "0", "0"]
        return table

    tiny.edit("train", change)
    copied(tiny, [(0, 1)])
    assert findings(tiny)["conflicting-labels"].items[0]["labels"] == ["cat, owl", "no label"]
