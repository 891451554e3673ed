"""Subsets for a learning curve: nested, stratified, in whole groups, of the size asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.folds.subsets import halvings, lost_classes


@st.composite
def tables(draw):
    """Draw ids, labels of either task, groups or None, and a seed."""
    n, seed = draw(st.integers(2, 70)), draw(st.integers(0, 5))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    ids = np.array([f"r{i}" for i in rng.permutation(n)])
    classes = draw(st.integers(2, 6))
    labels = rng.integers(0, classes, n)
    if draw(st.booleans()):
        labels = (rng.random((n, classes)) < 0.3).astype(np.int8)
    groups = None
    if draw(st.booleans()):
        groups = np.array([f"g{i}" for i in rng.integers(0, draw(st.integers(1, n)), n)])
    return ids, labels, groups, seed


@settings(max_examples=60, deadline=None)
@given(tables())
def test_subsets_are_nested_halves_of_whole_groups(table):
    """Check that each subset lies in the one before, cuts no group, is within a row, or the largest
    group, of its target, and keeps a row of each class where it has as many rows."""
    ids, labels, groups, seed = table
    found = halvings(ids, labels, groups, 4, seed)
    assert found[0].tolist() == list(range(len(ids)))
    largest = 1 if groups is None else np.unique(groups, return_counts=True)[1].max()
    for k, rows in enumerate(found):
        assert len(rows) == len(set(rows.tolist())) and (np.diff(rows) > 0).all() and len(rows)
        assert abs(len(rows) - len(ids) / 2**k) <= largest
        if k:
            assert set(rows.tolist()) <= set(found[k - 1].tolist())
        if groups is None and labels.ndim == 1 and len(rows) >= len(np.unique(labels)):
            assert not len(lost_classes(labels, rows))
        if groups is not None:
            out = np.setdiff1d(np.arange(len(ids)), rows)
            assert not set(groups[rows]) & set(groups[out])


@settings(max_examples=25, deadline=None)
@given(tables(), st.integers(0, 100))
def test_subsets_follow_ids_not_rows(table, shuffle):
    """Check that the same ids are drawn whatever the order of the table."""
    ids, labels, groups, seed = table
    order = np.random.default_rng(shuffle).permutation(len(ids))
    other = ids[order], labels[order], None if groups is None else groups[order]
    pairs = zip(halvings(ids, labels, groups, 3, seed), halvings(*other, 3, seed), strict=True)
    for rows, again in pairs:
        assert set(ids[rows]) == set(other[0][again])


def test_seeds_draw_differently():
    """Check that another seed takes other rows."""
    ids, labels = np.array([f"{i:03d}" for i in range(80)]), np.arange(80) % 4
    first, second = (halvings(ids, labels, None, 3, seed) for seed in (0, 1))
    assert set(first[2].tolist()) != set(second[2].tolist())


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_classes_keep_their_shares(task):
    """Check that 1/8 of 800 rows holds an eighth of every class, to a row or two."""
    rng = np.random.default_rng(0)
    ids, labels = (
        np.array([f"{i:03d}" for i in range(800)]),
        rng.choice(4, 800, p=[0.6, 0.2, 0.1, 0.1]),
    )
    if task == "multilabel":
        labels = (rng.random((800, 4)) < [0.5, 0.3, 0.1, 0.05]).astype(np.int8)
    rows = halvings(ids, labels, None, 4, 0)[3]
    hot = labels if labels.ndim == 2 else np.eye(4)[labels]
    assert len(rows) == 100
    assert np.abs(hot[rows].sum(axis=0) - hot.sum(axis=0) / 8).max() <= 2


def test_rare_classes_stay_where_the_size_allows():
    """Check that a class of one row is kept while there are rows enough, and named when lost."""
    labels = np.concatenate([np.zeros(60, int), np.arange(1, 5)])
    ids = np.array([f"{i:03d}" for i in range(64)])
    found = halvings(ids, labels, None, 5, 0)
    assert [len(rows) for rows in found] == [64, 32, 16, 8, 4]
    assert [len(lost_classes(labels, rows)) for rows in found[:4]] == [0, 0, 0, 0]
    assert len(lost_classes(labels, found[4])) == 1  # four rows, five classes
    assert lost_classes(np.array([[1, 0], [0, 1], [0, 0]]), np.array([0, 2])).tolist() == [1]


def test_halving_ends_where_a_group_would_be_cut():
    """Check that two groups give two sizes, however many are asked for."""
    groups = np.array(["a"] * 6 + ["b"] * 5)
    found = halvings(np.array(list("abcdefghijk")), np.arange(11) % 2, groups, 6, 0)
    assert [len(rows) for rows in found] == [11, 5] or [len(rows) for rows in found] == [11, 6]
