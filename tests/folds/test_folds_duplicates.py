"""Folds that keep duplicates together, with the groups of the table."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.competition.rows import joined_groups
from pipeline.errors import PodiumError
from pipeline.folds import draft_shared, k_folds, load_shared, make_shared


def copied(tiny, pairs: list[tuple[int, int]]) -> None:
    """Make the second picture of each pair a copy of the first."""
    images = tiny.root / "data" / "tiny" / "images"
    for one, other in pairs:
        shutil.copy(images / f"{one:03d}.png", images / f"{other:03d}.png")


def grouped(tiny, of: list[str]) -> None:
    """Give the training rows groups, by a column of the table."""
    tiny.edit("train", lambda table: table.assign(who=of))
    tiny.configure(columns={"id": "id", "label": "label", "group": "who"})


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(12, 90),
    groups=st.booleans(),
    multilabel=st.booleans(),
    n_folds=st.integers(2, 5),
)
def test_no_group_and_no_cluster_straddles(seed, rows, groups, multilabel, n_folds):
    """Check on random groups and clusters that each lies in one fold, that every row has exactly
    one, and that the same seed gives the same folds."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"r{i:03d}" for i in rng.permutation(rows)])
    given_groups = np.array([f"g{g}" for g in rng.integers(0, rows // 2, rows)]) if groups else None
    cluster = rng.integers(0, 2 * rows, rows)
    labels = rng.integers(0, 2, (rows, 4)) if multilabel else rng.integers(0, 3, rows)
    joined = joined_groups(ids, given_groups, cluster)
    if joined is not None and len(set(joined.tolist())) < n_folds:
        return
    fold = k_folds(labels, joined, n_folds, seed % 100)
    assert fold.shape == (rows,) and set(fold.tolist()) == set(range(n_folds))
    for parts in (given_groups, cluster):
        if parts is not None:
            assert all(len(set(fold[parts == part].tolist())) == 1 for part in set(parts.tolist()))
    assert (k_folds(labels, joined, n_folds, seed % 100) == fold).all()


def test_groups_are_joined_no_further_than_need_be():
    """Check names and reach of joined groups against a case worked out by hand."""
    ids = np.array(["a", "b", "c", "d", "e"])
    assert joined_groups(ids, None, np.arange(5)) is None
    assert joined_groups(ids, None, np.array([0, 1, 0, 2, 3])).tolist() == list("abade")
    groups = np.array(["x", "y", "x", "z", "w"])
    assert joined_groups(ids, groups, np.array([0, 0, 1, 2, 3])).tolist() == list("xxxzw")
    assert joined_groups(ids, groups, np.arange(5)) is groups


def test_copies_share_a_fold(tiny):
    """Check that make_shared joins copies, through a third and with groups, and records it."""
    copied(tiny, [(0, 1), (1, 2), (10, 11)])
    grouped(tiny, [f"g{i // 2}" for i in range(42)])
    folds, made = make_shared(tiny.data)
    assert made and len(set(folds.fold[[0, 1, 2, 3]].tolist())) == 1
    assert folds.fold[10] == folds.fold[11]
    assert folds.group[:4].tolist() == ["g0"] * 4
    record = folds.info["duplicates"]
    assert (record["clusters"], record["rows"], record["largest"]) == (2, 5, 3)
    assert (load_shared(tiny.data).group == folds.group).all()
    assert make_shared(tiny.data)[1] is False


def test_without_copies_nothing_changes(make_tiny):
    """Check that folds without duplicates have no groups, and are those of `group: false`."""
    one, other = (make_tiny(images=True, folder=name) for name in ("one", "other"))
    other.configure(duplicates={"group": False})
    folds, plain = (make_shared(tiny.data)[0] for tiny in (one, other))
    assert folds.group is None and folds.hash == plain.hash
    assert "duplicates" in folds.info and "duplicates" not in plain.info


def test_a_draft_is_what_would_be_made(tiny):
    """Check that a draft joins the same copies and writes no folds."""
    copied(tiny, [(0, 1)])
    draft = draft_shared(tiny.data)
    assert not tiny.project.folds("tiny").exists()
    made, _ = make_shared(tiny.data)
    assert draft.hash == made.hash and draft.info == made.info


def test_older_folds_that_part_copies_are_refused_by_make_alone(tiny):
    """Check that folds made without looking for duplicates still train, and that `make folds` says
    what they lack."""
    copied(tiny, [(0, 1)])
    tiny.folds()
    assert load_shared(tiny.data).group is None
    with pytest.raises(PodiumError, match=r"2 training pictures show what.*FRESH=1.*false"):
        make_shared(tiny.data)
    assert make_shared(tiny.data, fresh=True)[0].group is not None


def test_too_few_different_pictures_are_told_with_their_reason(tiny):
    """Check that rows which are nearly all copies cannot be dealt, and what the error proposes."""
    copied(tiny, [(0, i) for i in range(1, 39)])
    with pytest.raises(PodiumError, match=r"whole group.*39 of 42 .* joined; .*group: false"):
        make_shared(tiny.data)
    assert not tiny.project.folds("tiny").exists()
    tiny.configure(duplicates={"group": False})
    assert len(make_shared(tiny.data)[0].numbers) == 5


def test_groups_that_change_afterwards_are_named(tiny):
    """Check that a table whose groups changed no longer fits folds that joined duplicates."""
    copied(tiny, [(0, 1)])
    grouped(tiny, [f"g{i // 2}" for i in range(42)])
    make_shared(tiny.data)
    folds = load_shared(tiny.data)
    apart = next(i for i in range(2, 42) if folds.fold[i] != folds.fold[0])
    grouped(tiny, [f"g{i // 2}" if i != apart else "g0" for i in range(42)])
    with pytest.raises(PodiumError, match=r"groups of the table have changed: 'g0' is one now"):
        load_shared(tiny.data)
    grouped(tiny, [f"g{i}" for i in range(42)])  # finer than before: nothing straddles, but says so
    with pytest.raises(PodiumError, match="groups of the table have changed"):
        load_shared(tiny.data)


def test_the_same_command_twice_gives_the_same_file(make_tiny):
    """Check that two projects with the same copies get the same bytes."""
    texts = []
    for name in ("one", "other"):
        tiny = make_tiny(images=True, folder=name)
        copied(tiny, [(3, 9), (20, 30)])
        make_shared(tiny.data)
        path = tiny.project.folds("tiny")
        texts.append((path.read_bytes(), json.loads(path.with_suffix(".json").read_text())))
    assert texts[0] == texts[1]


def test_other_settings_of_duplicates_are_named(tiny):
    """Check that folds made with another distance, or with duplicates joined, say what differs, and
    that what has another reason is not blamed on duplicates."""
    copied(tiny, [(0, 1)])
    make_shared(tiny.data)
    tiny.configure(duplicates={"distance": 4})
    with pytest.raises(PodiumError, match=r"made otherwise \(duplicates.distance 10 -> 4\)"):
        make_shared(tiny.data)
    tiny.configure(duplicates={"group": False})
    with pytest.raises(PodiumError, match=r"made otherwise \(duplicates.group true -> false\)"):
        make_shared(tiny.data)
    tiny.configure(duplicates=None)
    with pytest.raises(PodiumError, match=r"SEED 0 -> 3") as refused:
        make_shared(tiny.data, seed=3)
    assert "deals them apart" not in str(refused.value)
