"""Rows that are only trained on: beside all folds, and never with their group's validated rows."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.errors import PodiumError
from pipeline.folds.balance import balance_table
from pipeline.folds.file import draft_folds, load_folds, make_folds

CLASSES = ["cat", "dog", "owl"]
PLANS = [{"n_folds": 2}, {"n_folds": 4}, {"n_folds": 1, "holdout": 0.3}]


def zoo(n=90, grouped=True, share=0.3):
    """Return ids, labels, groups and which rows are only trained on."""
    rng = np.random.default_rng(3)
    groups = np.array([f"g{i}" for i in rng.integers(0, n // 3, n)])
    ids = np.array([f"{i:03d}" for i in range(n)])
    return ids, rng.integers(0, 3, n), groups if grouped else None, rng.random(n) < share


def make(path, ids, labels, groups, train_only, **arguments):
    return make_folds(path, ids, labels, CLASSES, groups, train_only=train_only, **arguments)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_trained_row_shares_a_group_with_a_held_one(tmp_path_factory, data):
    """Check by sets of groups that training rows are apart from validated and test rows, that all
    other rows are trained on, and that the rest is split as if train-only rows were not there."""
    n = data.draw(st.integers(20, 50))
    pick = st.lists(st.integers(0, 14), min_size=n, max_size=n)
    groups = np.array([f"g{i}" for i in data.draw(pick)])
    labels = np.array(data.draw(pick)) % 3
    apart = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    plan = data.draw(st.sampled_from(PLANS)) | {"test": data.draw(st.sampled_from([0.0, 0.2]))}
    plan["seed"] = data.draw(st.integers(0, 5))
    assume(len(np.unique(groups[~apart])) >= 6 and (~apart).sum() >= 10)
    ids = np.array([f"{i:02d}" for i in range(n)])
    folder = tmp_path_factory.mktemp("zoo")
    folds, _ = make(folder / "a.csv", ids, labels, groups, apart, **plan)
    alone, _ = make(folder / "b.csv", ids[~apart], labels[~apart], groups[~apart], None, **plan)
    assert (folds.fold[apart] == -1).all()
    assert np.array_equal(folds.fold[~apart], alone.fold)
    for k in [*folds.numbers, None]:
        trained = folds.refit_rows if k is None else folds.train_rows(k)
        held = (folds.fold == -2) | (folds.fold == k)
        seen, hidden = set(groups[trained]), set(groups[held])
        assert not seen & hidden
        left = np.setdiff1d(np.flatnonzero(~held), trained)
        assert apart[left].all() and set(groups[left]) <= hidden


def test_without_groups_all_of_them_are_trained_on(tmp_path):
    """Check that every fold trains on every train-only row, and nobody validates one."""
    ids, labels, _, apart = zoo()
    folds, _ = make(tmp_path / "zoo.csv", ids, labels, None, apart, test=0.2)
    assert (folds.fold[apart] == -1).all() and (folds.fold[~apart] != -1).all()
    for k in folds.numbers:
        assert apart[folds.train_rows(k)].sum() == apart.sum()
        assert not apart[folds.valid_rows(k)].any()
    assert not apart[folds.test_rows].any()
    shares = (folds.fold == -2).sum() / (~apart).sum()
    assert shares == pytest.approx(0.2, abs=0.02)
    assert folds.info["train_only"] == apart.sum()


def test_file_is_refused_when_train_only_rows_change(tmp_path):
    """Check that loading and making name the first row whose role changed, either way."""
    path = tmp_path / "zoo.csv"
    ids, labels, groups, apart = zoo()
    made, _ = make(path, ids, labels, groups, apart)
    assert np.array_equal(load_folds(path, ids, apart).fold, made.fold)
    assert not make(path, ids, labels, groups, apart)[1]
    more, fewer = apart.copy(), apart.copy()
    first, gone = np.flatnonzero(~apart)[0], np.flatnonzero(apart)[0]
    more[first], fewer[gone] = True, False
    texts = {
        "more": rf"id '{ids[first]}' fold \d -> train only.*FRESH=1",
        "fewer": rf"id '{ids[gone]}' train only -> a fold.*FRESH=1",
    }
    for rows, text in ((more, texts["more"]), (fewer, texts["fewer"])):
        with pytest.raises(PodiumError, match=f"made otherwise .{text}"):
            load_folds(path, ids, rows)
        with pytest.raises(PodiumError, match=f"made otherwise .{text}"):
            make(path, ids, labels, groups, rows)


def test_a_hold_out_has_rows_of_its_own_to_train_on(tmp_path):
    """Check that only the other direction is refused there: a train-only row that is validated."""
    path = tmp_path / "zoo.csv"
    ids, labels, groups, apart = zoo()
    folds, _ = make(path, ids, labels, groups, apart, n_folds=1)
    load_folds(path, ids, np.zeros(len(ids), bool))
    apart[folds.valid_rows(0)[0]] = True
    with pytest.raises(PodiumError, match="fold 0 -> train only"):
        load_folds(path, ids, apart)


@pytest.mark.parametrize(
    ("grouped", "arguments", "said"),
    [
        (False, {"n_folds": 5}, "FOLDS=5 splits at least 5 rows, but 4 are left beside the 86"),
        (True, {"n_folds": 5}, "FOLDS=5 splits at least 5 groups, but 4 are left beside the 86"),
        (False, {"n_folds": 4, "test": 0.2}, "FOLDS=4 TEST=0.2 splits at least 5 rows, but 4"),
    ],
)
def test_too_few_rows_are_left(tmp_path, grouped, arguments, said):
    """Check that folds which train-only rows leave too few for say so, and write nothing."""
    ids, labels, _, _ = zoo()
    apart = np.ones(90, bool)
    apart[:4] = False
    groups = np.array([f"g{i}" for i in range(90)]) if grouped else None
    path = tmp_path / "zoo.csv"
    with pytest.raises(PodiumError, match=f"{said}.*fewer folds"):
        make(path, ids, labels, groups, apart, **arguments)
    apart[:] = True
    with pytest.raises(PodiumError, match="but 0 are left"):
        make(path, ids, labels, groups, apart, **arguments)
    assert not path.exists() and not path.with_suffix(".json").exists()


def test_balance_does_not_compare_folds_with_external_rows(tmp_path):
    """Check that a table of one class beside the folds neither warns nor makes folds look uneven.

    The rows that are split have 20 of each class, so that five folds can be even.
    """
    labels = np.array([0, 1, 2] * 20 + [0] * 60)
    ids, apart = np.arange(120).astype(str), np.arange(120) >= 60
    folds, _ = make(tmp_path / "zoo.csv", ids, labels, None, apart, n_folds=5)
    assert folds.info["balance"]["warnings"] == []
    lines = balance_table(folds.info).splitlines()
    assert all("+0.0%" in line for line in lines[1:6])
    assert lines[6].startswith("-1 (train only)") and "-100.0%" in lines[6]
    hold, _ = make(tmp_path / "h.csv", ids, labels, None, apart, n_folds=1, holdout=0.2, test=0.2)
    assert hold.info["balance"]["warnings"] == []


def test_draft_is_what_would_be_made(tmp_path):
    """Check that a draft has the hash of the file that is made then, and writes nothing."""
    ids, labels, groups, apart = zoo()
    path = tmp_path / "folds" / "zoo.csv"
    draft = draft_folds(path, ids, labels, CLASSES, groups, apart)
    assert not path.parent.exists()
    made, _ = make(path, ids, labels, groups, apart)
    assert draft.hash == made.hash and draft.info == made.info
    assert np.array_equal(draft.fold, made.fold) and np.array_equal(draft.ids, ids)
