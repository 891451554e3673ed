"""Repeats of the shared folds: the same rows dealt by other seeds, written once, never mixed up."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import PodiumError
from pipeline.folds import draft_splits, load_folds, make_splits
from pipeline.folds.repeats import repeat_path
from pipeline.folds.shared import load_shared, make_shared


@pytest.fixture
def herds(make_tiny):
    """A competition with groups and train-only rows, its folds with a local test split."""
    tiny = make_tiny(rows=90)
    rng = np.random.default_rng(0)

    def change(table: pd.DataFrame) -> pd.DataFrame:
        herd = [f"h{i}" for i in rng.integers(0, 30, len(table))]
        return table.assign(herd=herd, only=np.arange(len(table)) % 9 == 0).replace(
            {"only": {True: "1", False: "0"}}
        )

    tiny.edit("train", change)
    tiny.configure(columns={"label": "label", "group": "herd", "train_only": "only"})
    make_shared(tiny.data, n_folds=3, test=0.2, seed=7)
    return tiny


def test_every_repeat_validates_every_row_once(herds):
    """Check numbers, that jobs of a repeat partition the validated rows, and that the rows beside
    the folds stay where they are; groups stay whole."""
    data, folds = herds.data, load_shared(herds.data)
    splits, made = make_splits(data, folds, 3)
    assert splits.numbers == list(range(9)) and len(made) == 2
    validated = np.flatnonzero(folds.fold >= 0)
    for r in range(3):
        jobs = range(3 * r, 3 * r + 3)
        rows = np.concatenate([splits.valid_rows(j) for j in jobs])
        assert np.array_equal(np.sort(rows), validated)
        for j in jobs:
            train, valid = splits.train_rows(j), splits.valid_rows(j)
            held = set(folds.group[valid]) | set(folds.group[folds.test_rows])
            assert len(valid) and not set(folds.group[train]) & held
            only = data.train.train_only
            assert not only[valid].any() and only[train].any()
    dealt = [folds.fold[validated], *(again.fold[validated] for again in splits.repeats[1:])]
    for a in range(3):
        for b in range(a):
            assert (dealt[a] != dealt[b]).any()
    for again in splits.repeats[1:]:
        beside = folds.fold < 0
        assert np.array_equal(again.fold[beside], folds.fold[beside])
    assert np.array_equal(splits.valid_rows(1), folds.valid_rows(1))


def test_files_are_made_once_with_what_they_repeat(herds, snapshot):
    """Check form, JSON, that a second call and a longer one leave them alone, and the draft."""
    data, folds = herds.data, load_shared(herds.data)
    draft = draft_splits(data, folds, 3)
    assert not repeat_path(data, 1).exists()
    splits, _ = make_splits(data, folds, 2)
    first = repeat_path(data, 1)
    assert first.name == "tiny.repeat-1.csv" and first.parent == data.project.folds("tiny").parent
    info = json.loads(first.with_suffix(".json").read_text())
    assert info["repeat_of"] == folds.hash and info["seed"] == 8 and info["repeat"] == 1
    assert info["hash"] == splits.repeats[1].hash == draft.repeats[1].hash
    assert np.array_equal(load_folds(first, folds.ids).fold, splits.repeats[1].fold)
    before = snapshot(first.parent)
    assert make_splits(data, folds, 2)[1] == []
    longer, made = make_splits(data, folds, 3)
    assert made == [repeat_path(data, 2)]
    assert before.items() <= snapshot(first.parent).items()
    assert [f.hash for f in longer.repeats] == [f.hash for f in draft.repeats]


def test_one_repeat_is_the_shared_folds_and_no_file(herds):
    """Check that repeats: 1 writes nothing."""
    data, folds = herds.data, load_shared(herds.data)
    splits, made = make_splits(data, folds, 1)
    assert splits.repeats == (folds,) and splits.numbers == folds.numbers and made == []
    assert len(list(data.project.folds("tiny").parent.glob("*repeat*"))) == 0


def test_repeat_of_other_folds_is_refused_until_deleted(herds):
    """Check that folds made anew do not silently go with the repeats of the old ones."""
    data = herds.data
    make_splits(data, load_shared(data), 2)
    make_shared(data, n_folds=3, test=0.2, seed=9, fresh=True)
    folds, path = load_shared(data), repeat_path(data, 1)
    for call in (make_splits, draft_splits):
        with pytest.raises(PodiumError, match=r"repeat-1\.csv: a repeat of other.*delete it and"):
            call(data, folds, 2)
    path.unlink()
    path.with_suffix(".json").unlink()
    assert make_splits(data, folds, 2)[1] == [path]


def test_edited_repeat_is_refused(herds):
    """Check that the hash holds for repeats as for the shared folds."""
    data, folds = herds.data, load_shared(herds.data)
    make_splits(data, folds, 2)
    path = repeat_path(data, 1)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[2:]]))
    with pytest.raises(PodiumError, match=r"repeat-1\.csv: its content has hash"):
        make_splits(data, folds, 2)


def test_hold_out_has_no_repeats(make_tiny):
    """Check that a hold-out is refused by name where repeats are asked for, and nothing written."""
    tiny = make_tiny()
    folds = tiny.folds(n_folds=1)
    for call in (make_splits, draft_splits):
        with pytest.raises(PodiumError, match=r"repeats: 2 .*folds/tiny\.csv is a hold-out.*FOLDS"):
            call(tiny.data, folds, 2)
    assert not repeat_path(tiny.data, 1).exists()
    assert make_splits(tiny.data, folds, 1)[0].numbers == [0]
