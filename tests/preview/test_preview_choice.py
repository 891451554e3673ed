"""Which pictures a preview shows: spread over the classes, the same for the same ids and seed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.preview.choose import ROUNDS, Candidates, choose, choose_whole


def candidates(labels: np.ndarray, *, exclusive: bool, order: np.ndarray | None = None):
    """Return candidates with labels (n, c), listed in another order if one is given."""
    rows = np.arange(len(labels)) if order is None else order
    ids = np.array([f"id {row}" for row in rows], np.str_)
    paths = [Path(f"{row}.png") for row in rows]
    return Candidates(rows, ids, paths, labels[rows], exclusive)


def one_hot(classes: list[int], n_classes: int) -> np.ndarray:
    return np.eye(n_classes, dtype=np.int8)[classes]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(1, 20), st.integers(0, 3))
def test_classes_are_shown_evenly(classes, n, seed):
    """Check that each class of the rows is there while there is room, that no class has two rows
    more than another that has rows left, and that rows stand in the order of the classes."""
    labels = one_hot(classes, 7)
    chosen = choose(candidates(labels, exclusive=True), n, seed)
    assert len(chosen) == len(set(chosen)) == min(n, len(classes))
    shown = [classes[row] for row in chosen]
    assert shown == sorted(shown)
    counts = {k: shown.count(k) for k in set(classes)}
    for k, count in counts.items():
        if count < classes.count(k):
            assert max(counts.values()) <= count + 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(0, 3))
def test_rare_labels_come_first(number, n, seed):
    """Check that of several labels the rarest are shown while there is room, and one row without
    any label if there is one."""
    rng = np.random.default_rng(number)
    labels = (rng.random((30, 6)) < [0.02, 0.05, 0.1, 0.3, 0.6, 0.9]).astype(np.int8)
    labels[:3] *= rng.integers(0, 2, (3, 1), dtype=np.int8)
    chosen = choose(candidates(labels, exclusive=False), n, seed)
    assert len(chosen) == len(set(chosen)) == n
    shown, counts = labels[chosen].any(axis=0), labels.sum(axis=0)
    blank = bool((labels.sum(axis=1) == 0).any())
    assert not blank or (labels[chosen].sum(axis=1) == 0).any()
    there = [k for k in np.argsort(counts, kind="stable") if counts[k]]
    assert all(shown[k] for k in there[: n - blank])


def test_the_choice_is_of_ids_and_seed():
    """Check that another order of the table changes nothing, and another seed the pictures."""
    labels = one_hot(np.random.default_rng(0).integers(0, 5, 200).tolist(), 5)
    shuffled = np.random.default_rng(1).permutation(200)
    for exclusive in (True, False):
        first = choose(candidates(labels, exclusive=exclusive), 12, 0)
        assert first == choose(candidates(labels, exclusive=exclusive, order=shuffled), 12, 0)
        assert first != choose(candidates(labels, exclusive=exclusive), 12, 1)


def test_more_classes_than_room_are_drawn_by_the_seed():
    """Check that five of forty classes are shown, and by other seeds others, common ones too."""
    rows = candidates(one_hot([k for k in range(40) for _ in range(k + 1)], 40), exclusive=True)
    labels = rows.labels.argmax(axis=1)
    shown = [{int(labels[row]) for row in choose(rows, 5, seed)} for seed in range(20)]
    assert all(len(classes) == 5 for classes in shown)
    assert len(set().union(*shown)) > 25


def test_rows_without_labels_are_chosen_too():
    """Check that test rows, which have no labels, are chosen by id."""
    nothing = np.zeros((30, 0), np.int8)
    chosen = choose(candidates(nothing, exclusive=True), 7, 0)
    assert len(set(chosen)) == 7
    assert choose(candidates(nothing[:0], exclusive=True), 7, 0) == []


def test_pictures_that_are_broken_make_room_for_others(written_pictures):
    """Check that of 10 pictures, of which 4 cannot be decoded, the others are chosen, and that the
    reasons are given."""
    rows = written_pictures({2: "missing", 3: "an empty file", 5: "not", 8: "missing"})
    chosen, wrong = choose_whole(rows, 6, 0)
    assert sorted(chosen) == [0, 1, 4, 6, 7, 9]
    assert set(wrong) == {2, 3, 5, 8} and wrong[2] == "missing" and wrong[3] == "an empty file"
    few, wrong = choose_whole(rows, 1, 0)
    assert len(few) == 1 and len(wrong) < 4


def test_only_so_many_pictures_are_tried(written_pictures):
    """Check that the search ends where a whole folder is missing."""
    rows = written_pictures(dict.fromkeys(range(100), "missing"), n=100)
    chosen, wrong = choose_whole(rows, 2, 0)
    assert chosen == [] and len(wrong) == 2 * ROUNDS


@pytest.fixture
def written_pictures(tmp_path):
    """Return a function that writes pictures of which some are missing, empty or no pictures."""
    import cv2

    def write(faults: dict[int, str], n: int = 10) -> Candidates:
        paths = [tmp_path / f"{row}.png" for row in range(n)]
        for row, path in enumerate(paths):
            fault = faults.get(row, "")
            if not fault:
                cv2.imwrite(str(path), np.full((8, 8, 3), row, np.uint8))
            elif fault != "missing":
                path.write_bytes(b"" if fault == "an empty file" else b"not a picture")
        ids = np.array([f"id {row}" for row in range(n)], np.str_)
        return Candidates(np.arange(n), ids, paths, np.zeros((n, 0), np.int8))

    return write
