"""Folds and parts against what scikit-learn and iterative-stratification make, and brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from pipeline.errors import PodiumError
from pipeline.folds.grouped import deal, group_counts, number_alike, split_groups
from pipeline.folds.repair import Dealing, repair
from pipeline.folds.stratify import k_folds, split_parts


def one_hot(labels):
    return labels if labels.ndim == 2 else np.eye(labels.max() + 1, dtype=int)[labels]


def deviations(labels, parts, fractions):
    """Return (p, c) count - target."""
    table = one_hot(labels)
    counts = np.stack([table[parts == p].sum(axis=0) for p in range(len(fractions))])
    return counts - np.outer(fractions, table.sum(axis=0))


def from_splitter(splitter, labels, groups=None):
    fold = np.empty(len(labels), int)
    for k, (_, valid) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
        fold[valid] = k
    return fold


def multilabel(rng, n, c, positive):
    rates = rng.dirichlet(np.ones(c)) * c * positive
    return (rng.random((n, c)) < rates).astype(int)


@st.composite
def tables(draw):
    """Labels of either task, groups, and a seed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, c = draw(st.integers(12, 80)), draw(st.integers(1, 6))
    labels = rng.integers(0, c, n) if draw(st.booleans()) else multilabel(rng, n, c, 0.3)
    n_groups = draw(st.integers(8, 40))
    groups = np.concatenate([np.arange(8), rng.integers(0, n_groups, n - 8)]).astype(str)
    return labels, groups if draw(st.booleans()) else None, draw(st.integers(0, 2**32 - 1))


@settings(max_examples=80, deadline=None)
@given(tables(), st.integers(2, 8))
def test_every_row_has_one_fold_and_no_group_two(table, n_folds):
    """Check that folds cover 0..k-1, none is empty, groups stay whole, a seed repeats itself."""
    labels, groups, seed = table
    fold = k_folds(labels, groups, n_folds, seed)
    assert fold.dtype == np.int64
    assert np.array_equal(np.unique(fold), np.arange(n_folds))
    if groups is not None:
        assert all(len(set(fold[groups == name])) == 1 for name in set(groups))
    assert np.array_equal(fold, k_folds(labels, groups, n_folds, seed))


@settings(max_examples=80, deadline=None)
@given(tables(), st.sampled_from([(0.8, 0.2), (0.95, 0.05), (0.8, 0.1, 0.1), (0.5, 0.3, 0.2)]))
def test_parts_are_whole_and_not_empty(table, fractions):
    """Check that unequal parts keep groups whole and none is empty."""
    labels, groups, seed = table
    part = split_parts(labels, groups, fractions, seed)
    assert np.array_equal(np.unique(part), np.arange(len(fractions)))
    if groups is not None:
        assert all(len(set(part[groups == name])) == 1 for name in set(groups))
    assert np.array_equal(part, split_parts(labels, groups, fractions, seed))


@pytest.mark.parametrize("grouped", [False, True])
def test_seeds_differ(grouped):
    """Check that another seed gives another partition, not only other fold numbers."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    groups = rng.integers(0, 100, 400).astype(str) if grouped else None
    first, second = (k_folds(labels, groups, 5, seed) for seed in (0, 1))
    together = [fold[:, None] == fold[None, :] for fold in (first, second)]
    assert not np.array_equal(*together)


@pytest.mark.parametrize(("n_groups", "n_classes"), [(60, 5), (200, 12), (600, 12)])
def test_grouped_folds_beat_stratified_group_k_fold(n_groups, n_classes):
    """Check that the worst class-count deviation is no worse than scikit-learn's in the median."""
    ours, theirs = [], []
    for draw in range(7):
        rng = np.random.default_rng(draw)
        sizes = rng.pareto(1.5, n_groups) + 0.2
        codes = rng.choice(n_groups, 3000, p=sizes / sizes.sum())
        taste = rng.dirichlet(np.full(n_classes, 0.5), n_groups).cumsum(axis=1)[codes]
        labels = np.minimum((rng.random((3000, 1)) > taste).sum(axis=1), n_classes - 1)
        peer = StratifiedGroupKFold(5, shuffle=True, random_state=draw)
        worst = [
            np.abs(deviations(labels, fold, np.full(5, 0.2))).max()
            for fold in (
                k_folds(labels, codes.astype(str), 5, draw),
                from_splitter(peer, labels, codes),
            )
        ]
        ours.append(worst[0])
        theirs.append(worst[1])
    assert np.median(ours) <= np.median(theirs)


def test_grouped_split_is_near_the_best_of_all():
    """Check against all 2^11 splits: the best or nearly so in the median, never twice as bad."""
    every = np.array(list(itertools.product((0, 1), repeat=11)))[1:-1]
    ratios = []
    for draw in range(11):
        rng = np.random.default_rng(draw)
        codes = np.concatenate([np.arange(11), rng.integers(0, 11, 60)])
        labels = multilabel(rng, len(codes), 3, 0.4)
        counts = group_counts(labels, codes, 11)
        totals = counts.toarray().sum(axis=0)
        weights = Dealing(counts, np.outer(totals, [0.6, 0.4])).weights.sum(axis=1)
        found = split_groups(labels, codes, np.array([0.6, 0.4]), draw)
        splits = np.vstack([found[np.unique(codes, return_index=True)[1]], every])
        off = (splits @ counts.toarray() - 0.4 * totals) ** 2 @ weights  # of one part = of both
        ratios.append(off[0] / off[1:].min())
    assert np.median(ratios) < 1.05
    assert max(ratios) < 2


def test_costs_of_moves_are_the_change_of_the_objective():
    """Check the incremental arithmetic of the repair against the objective itself."""
    rng = np.random.default_rng(3)
    codes = np.concatenate([np.arange(20), rng.integers(0, 20, 100)])
    counts = group_counts(multilabel(rng, 120, 4, 0.3), codes, 20)
    targets = np.outer(counts.toarray().sum(axis=0), [0.5, 0.3, 0.2])
    dealing = deal(counts, targets, number_alike(counts, rng), rng)
    for g, p in itertools.product(range(20), range(3)):
        home, before, cost = dealing.part[g], dealing.objective(), dealing.move_costs()[g, p]
        if np.isfinite(cost):
            dealing.move(g, p)
            assert dealing.objective() - before == pytest.approx(cost, abs=1e-9)
            dealing.move(g, home)


def test_repair_ends_where_no_move_or_swap_gains():
    """Check by trying every one on the objective itself, and that repair never made it worse."""
    for draw in range(5):
        rng = np.random.default_rng(draw)
        codes = np.concatenate([np.arange(20), rng.integers(0, 20, 200)])
        counts = group_counts(multilabel(rng, 220, 4, 0.3), codes, 20)
        targets = np.outer(counts.toarray().sum(axis=0), [0.5, 0.3, 0.2])
        dealing = deal(counts, targets, number_alike(counts, rng), rng)
        before = dealing.objective()
        repair(dealing)
        settled = dealing.objective()
        assert settled <= before + 1e-9
        assert (dealing.move_costs() > -1e-9).all()
        for g, h in itertools.combinations(range(20), 2):
            a, b = dealing.part[[g, h]]
            dealing.move(g, b)
            dealing.move(h, a)
            assert dealing.objective() >= settled - 1e-9
            dealing.move(g, a)
            dealing.move(h, b)


def test_split_groups_returns_repaired_parts():
    """Check that no single move of what is returned would lower the objective."""
    for draw in range(5):
        rng = np.random.default_rng(draw)
        codes = np.concatenate([np.arange(60), rng.integers(0, 60, 500)])
        labels, fractions = multilabel(rng, 560, 12, 0.2), np.array([0.7, 0.2, 0.1])
        counts = group_counts(labels, codes, 60)
        targets = np.outer(counts.toarray().sum(axis=0), fractions)
        dealing = deal(counts, targets, number_alike(counts, rng), rng)
        part = split_groups(labels, codes, fractions, draw)[np.unique(codes, return_index=True)[1]]
        for g in range(60):
            dealing.move(g, part[g])
        assert (dealing.move_costs() > -1e-9).all()


def test_groups_alike_are_shared_out_whole():
    """Check that of equal groups every part gets its whole share, that the numbers tell equal from
    unequal groups, and that the bookkeeping after dealing at once is that of single moves."""
    rng = np.random.default_rng(5)
    labels = np.repeat(np.eye(3, dtype=int)[[0, 1, 2, 0]], [40, 25, 13, 2], axis=0)
    labels[-2:] = [1, 1, 0]
    counts = group_counts(labels, np.arange(80), 80)
    alike = number_alike(counts, rng)
    assert len(set(alike.tolist())) == 4
    assert all(len(set(map(tuple, labels[alike == k]))) == 1 for k in range(4))
    targets = np.outer(counts.toarray().sum(axis=0), [0.5, 0.3, 0.2])
    dealing = deal(counts, targets, alike, rng)
    for rows, n in ((labels[:, 0] & ~labels[:, 1], 40), (labels[:, 2], 13)):
        found = np.bincount(dealing.part[rows.astype(bool)], minlength=3)
        assert (found >= np.floor(n * np.array([0.5, 0.3, 0.2]))).all()
    anew = Dealing(counts, targets)
    anew.place(dealing.part)
    assert anew.pull == pytest.approx(dealing.pull)


@pytest.mark.parametrize("singletons", [False, True])
def test_class_counts_equal_stratified_k_fold(singletons):
    """Check that rows, also as groups of one, spread like scikit-learn's: counts within one."""
    rng = np.random.default_rng(1)
    labels = rng.choice(6, 1003, p=[0.5, 0.2, 0.15, 0.1, 0.04, 0.01])
    groups = np.arange(1003).astype(str) if singletons else None
    table = one_hot(labels)
    peer = from_splitter(StratifiedKFold(5, shuffle=True, random_state=0), labels)
    ours = k_folds(labels, groups, 5, 0)
    counts = [np.stack([table[f == k].sum(axis=0) for k in range(5)]) for f in (ours, peer)]
    assert np.abs(np.sort(counts[0], axis=0) - np.sort(counts[1], axis=0)).max() <= 1
    assert np.ptp(counts[0], axis=0).max() <= 1
    assert np.ptp(np.bincount(ours)) <= 2


@pytest.mark.parametrize(("n", "c", "positive"), [(500, 8, 0.1), (3000, 20, 0.05), (2000, 30, 0.2)])
def test_multilabel_folds_beat_iterative_stratification(n, c, positive):
    """Check labels, rows and rows without any label against the peer library, with both columns."""
    labels = multilabel(np.random.default_rng(n), n, c, positive)
    none = ~labels.any(axis=1)
    table = np.column_stack([labels, none, np.ones(n, int)])
    even = np.full(5, 0.2)
    ours = np.abs(deviations(table, k_folds(labels, None, 5, 0), even))
    for given_labels in (labels, np.column_stack([labels, none])):
        splitter = MultilabelStratifiedKFold(5, shuffle=True, random_state=0)
        peer = np.abs(deviations(table, from_splitter(splitter, given_labels), even))
        assert ours.max() <= peer.max()
    assert ours.max() < 2


@pytest.mark.parametrize("task", ["classes", "sets", "groups of one"])
@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.95, 0.05)])
def test_parts_have_their_share_of_every_class(task, fractions):
    """Check that the counts of every class are the exact share, rounded by less than two rows."""
    rng = np.random.default_rng(5)
    if task == "sets":
        labels = multilabel(rng, 2000, 8, 0.1)
    else:
        labels = np.repeat(np.arange(5), [1000, 500, 300, 120, 80])
    groups = np.arange(len(labels)).astype(str) if task == "groups of one" else None
    part = split_parts(labels, groups, fractions, 0)
    assert np.abs(deviations(labels, part, fractions)).max() <= 1
    assert np.abs(np.bincount(part) - np.array(fractions) * len(labels)).max() <= 5


@pytest.mark.parametrize("counts", [[1, 1, 50], [1] * 7, [2, 3, 1, 9], [30, 1]])
@pytest.mark.parametrize("multi", [False, True])
def test_classes_of_one_row_do_not_crash(counts, multi):
    """Check that too rare classes are spread, not refused, by folds and by parts."""
    labels = np.repeat(np.arange(len(counts)), counts)
    table = one_hot(labels) if multi else labels
    fold = k_folds(table, None, 5, 0)
    spread = [np.bincount(fold[labels == c]).max() for c in range(len(counts))]
    assert spread == [-(-count // 5) for count in counts]
    assert set(split_parts(table, None, (0.7, 0.3), 0)) == {0, 1}


def test_label_tables_without_any_label_work():
    """Check that a table of zeros, and one of a single column, are split by size alone."""
    for labels in (np.zeros((20, 3), int), np.ones((20, 1), int), np.zeros(20, int)):
        assert np.bincount(k_folds(labels, None, 5, 0)).tolist() == [4] * 5


def test_fewer_groups_or_rows_than_folds_are_refused():
    """Check that the message says how many there are, for how many, and what to do."""
    labels, groups = np.zeros(9, int), np.repeat(["a", "b", "c"], 3)
    with pytest.raises(PodiumError, match=r"3 groups were given for 5 parts.*FOLDS="):
        k_folds(labels, groups, 5, 0)
    with pytest.raises(PodiumError, match=r"4 rows were given for 5 parts.*FOLDS="):
        k_folds(labels[:4], None, 5, 0)
    with pytest.raises(PodiumError, match="1 groups were given for 2 parts"):
        split_parts(labels[:3], groups[:3], (0.8, 0.2), 0)


def test_one_group_larger_than_a_part_leaves_the_rest_even():
    """Check that a group of half of the rows fills one fold and the others share the rest."""
    groups = np.where(np.arange(400) < 200, "big", np.arange(400).astype(str))
    rows = np.bincount(k_folds(np.arange(400) % 2, groups, 5, 0))
    assert sorted(rows) == [50, 50, 50, 50, 200]
