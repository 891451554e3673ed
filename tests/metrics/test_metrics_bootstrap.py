"""The bootstrap against a formula, a plain loop, and itself in pairs."""

import numpy as np
import pytest

from pipeline.errors import PodiumError
from pipeline.metrics import (
    bootstrap,
    get_metric,
    metric_names,
    paired_difference,
    paired_interval,
    resample_scores,
    standard_error,
)


def plain_loop(metric, y, answer, groups, n_resamples, seed):
    """Score row by row repeated resamples of whole groups, NaN where undefined."""
    names = np.unique(groups)
    drawn = np.random.default_rng(seed).integers(0, len(names), (n_resamples, len(names)))
    scores = []
    for draw in drawn:
        rows = np.concatenate([np.flatnonzero(groups == names[g]) for g in draw])
        try:
            scores.append(metric.score(y[rows], answer[rows]))
        except PodiumError:
            scores.append(np.nan)
    return np.array(scores)


def multilabel(seed, n=30, c=3):
    """Return labels, probabilities with ties, and groups of unequal sizes named by text."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, c)) < 0.4).astype(np.int8)
    probs = rng.integers(0, 7, (n, c)) / 6
    groups = np.array(["a", "b", "c", "d", "e", "f", "g"])[rng.integers(0, 7, n)]
    return y, probs, groups


def test_accuracy_follows_the_binomial_formula():
    """Check that the standard error of accuracy is sqrt(p (1 - p) / n)."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 2000)
    answer = np.where(rng.random(2000) < 0.8, y, (y + 1) % 3)
    metric = get_metric("accuracy", "multiclass")
    p = metric.score(y, answer)
    expected = np.sqrt(p * (1 - p) / 2000)
    got = standard_error(metric, y, answer, n_resamples=2000)
    assert got == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("name", metric_names("multilabel"))
def test_groups_are_drawn_whole(name):
    """Check that resamples of groups equal a plain loop that repeats their rows."""
    metric = get_metric(name, "multilabel")
    y, probs, groups = multilabel(1)
    answer = probs if metric.needs == "probs" else (probs > 0.5).astype(np.int8)
    got = resample_scores(metric, y, [answer], groups, n_resamples=40, seed=3)
    expected = plain_loop(metric, y, answer, groups, 40, 3)
    assert got[0] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", ["f1_macro", "qwk", "mcc", "balanced_accuracy", "auc_macro"])
def test_classes_come_and_go_between_resamples(name):
    """Check that resamples without some class score like scikit-learn on the rows drawn."""
    rng = np.random.default_rng(2)
    y, guess = rng.integers(0, 5, 12), rng.integers(0, 5, 12)
    metric = get_metric(name, "multiclass")
    answer = rng.dirichlet(np.ones(5), 12) if metric.needs == "probs" else guess
    got = resample_scores(metric, y, [answer], n_resamples=60, seed=1)
    expected = plain_loop(metric, y, answer, np.arange(12), 60, 1)
    assert got[0] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_copies_in_one_group_add_nothing():
    """Check that every row four times, grouped, resamples like the rows themselves."""
    y, probs, _ = multilabel(4)
    answer = (probs > 0.5).astype(np.int8)
    metric = get_metric("f1_macro", "multilabel")
    once = resample_scores(metric, y, [answer], n_resamples=50)
    rows = np.tile(np.arange(len(y)), 4)
    copies = resample_scores(metric, y[rows], [answer[rows]], groups=rows, n_resamples=50)
    assert copies == pytest.approx(once, abs=1e-12)


def test_all_answers_meet_the_same_resamples():
    """Check that an answer's scores do not depend on the company it is scored in."""
    y, probs, groups = multilabel(5)
    metric = get_metric("f1_micro", "multilabel")
    a, b = ((probs > cut).astype(np.int8) for cut in (0.3, 0.6))
    together = resample_scores(metric, y, [a, b, a], groups, n_resamples=50)
    assert together.shape == (3, 50)
    assert np.array_equal(together[0], together[2])
    assert np.array_equal(together[1], resample_scores(metric, y, [b], groups, 50)[0])
    assert not np.array_equal(together[0], together[1])


@pytest.mark.parametrize("name", ["f1_macro", "auc_macro"])
def test_chunks_do_not_change_the_draw(name, monkeypatch):
    """Check that scores are the same however few resamples are held at a time."""
    y, probs, groups = multilabel(6)
    metric = get_metric(name, "multilabel")
    answer = probs if metric.needs == "probs" else (probs > 0.5).astype(np.int8)
    whole = resample_scores(metric, y, [answer], groups, n_resamples=25)
    monkeypatch.setattr(bootstrap, "CELLS", 100)
    assert np.array_equal(resample_scores(metric, y, [answer], groups, n_resamples=25), whole)


def test_a_difference_is_paired_and_points_up():
    """Check that what answers share cancels, and that a lower log loss is a positive gain."""
    rng = np.random.default_rng(7)
    y = rng.integers(0, 2, 400)
    a = np.where(rng.random(400) < 0.7, y, 1 - y)
    b = a.copy()
    b[:20] = y[:20]
    metric = get_metric("accuracy", "multiclass")
    difference, error = paired_difference(metric, y, a, b)
    assert difference == pytest.approx(metric.score(y, b) - metric.score(y, a))
    assert 0 < error < standard_error(metric, y, a) / 2
    assert paired_difference(metric, y, a, a) == (0, 0)
    loss = get_metric("log_loss", "multiclass")
    weak, strong = (np.eye(2)[y] * w + (1 - w) / 2 for w in (0.2, 0.6))
    assert paired_difference(loss, y, weak, strong)[0] > 0


def test_undefined_resamples_are_left_out():
    """Check that resamples without any positive are NaN and do not spoil the standard error."""
    y = np.zeros((12, 1), dtype=np.int8)
    y[0] = 1
    probs = np.linspace(1, 0, 12)[::-1, None].copy()
    probs[5] = probs[0]
    metric = get_metric("ap_macro", "multilabel")
    scores = resample_scores(metric, y, [probs])[0]
    assert 0.2 < np.isnan(scores).mean() < 0.6  # (11/12)^12 = 0.35
    expected = np.nanstd(scores, ddof=1)
    assert standard_error(metric, y, probs) == pytest.approx(expected)
    assert np.isfinite(paired_difference(metric, y, probs, probs**2)).all()
    with pytest.raises(PodiumError, match="0 of 50 resamples"):
        standard_error(get_metric("auc_macro", "multilabel"), 0 * y, probs, n_resamples=50)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": [0, 1]}, "groups must have shape"),
        ({"groups": [7] * 30}, "at least 2 groups"),
        ({"n_resamples": 0}, "n_resamples"),
    ],
)
def test_refusals(options, words):
    """Check that groups of another length, one group alone and no resamples are refused."""
    y, probs, _ = multilabel(8)
    metric = get_metric("auc_macro", "multilabel")
    with pytest.raises(PodiumError, match=words):
        resample_scores(metric, y, [probs], **options)
    with pytest.raises(PodiumError, match="at least one answer"):
        resample_scores(metric, y, [])


def test_the_interval_of_a_gain():
    """Check difference, error and percentiles against the resamples, and that a lower log loss is
    a gain; exchanged answers mirror the interval."""
    rng = np.random.default_rng(9)
    y = rng.integers(0, 2, 300)
    weak, strong = (np.eye(2)[y] * w + (1 - w) * rng.dirichlet([1, 1], 300) for w in (0.2, 0.3))
    groups = np.arange(300) // 3
    loss = get_metric("log_loss", "multiclass")
    gain = paired_interval(loss, y, weak, strong, groups, 400, seed=5)
    scores = resample_scores(loss, y, [weak, strong], groups, 400, seed=5)
    drawn = scores[0] - scores[1]
    assert gain.difference == loss.score(y, weak) - loss.score(y, strong) > 0
    assert gain.se == pytest.approx(drawn.std(ddof=1)) and gain.n_resamples == 400
    assert (gain.low, gain.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    back = paired_interval(loss, y, strong, weak, groups, 400, seed=5)
    assert (-back.high, -back.low) == pytest.approx((gain.low, gain.high))
    narrow = paired_interval(loss, y, weak, strong, groups, 400, seed=5, level=0.5)
    assert gain.low < narrow.low < narrow.high < gain.high
    with pytest.raises(PodiumError, match="level"):
        paired_interval(loss, y, weak, strong, level=95)


@pytest.mark.parametrize("name", ["f1_macro", "log_loss", "f1_samples"])
def test_sums_by_group(name, monkeypatch):
    """Check sums per group, and scores from sparse sums, against the statistics added in a loop."""
    y, probs, groups = multilabel(10, n=50)
    metric = get_metric(name, "multilabel")
    answer = probs if metric.needs == "probs" else (probs > 0.5).astype(np.int8)
    whole = resample_scores(metric, y, [answer], groups, n_resamples=20)
    monkeypatch.setattr(bootstrap, "CELLS", 20)  # 50 rows in several blocks
    members = bootstrap.group_numbers(50, groups)
    expected = np.zeros_like(metric.stats(y, answer, 3)[: members.max() + 1])
    np.add.at(expected, members, metric.stats(y, answer, 3))
    sums = bootstrap.group_sums(metric, y, answer, 3, members).toarray()
    np.testing.assert_allclose(sums, expected, atol=1e-12)
    sparse_scores = resample_scores(metric, y, [answer], groups, n_resamples=20)
    np.testing.assert_allclose(sparse_scores, whole, atol=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "f1_macro", "qwk"])
@pytest.mark.parametrize("grouped", [False, True])
def test_groups_that_count_alike_are_drawn_together(name, grouped, monkeypatch):
    """Check that scores of many groups have the mean, spread and correlation of those drawn one by
    one, and that kinds and their numbers add up to the groups."""
    rng = np.random.default_rng(11)
    y = rng.integers(0, 3, 300)
    a, b = (np.where(rng.random(300) < skill, y, (y + 1) % 3) for skill in (0.7, 0.8))
    groups = np.arange(300) // 2 if grouped else None
    metric = get_metric(name, "multiclass")
    single = resample_scores(metric, y, [a, b], groups, n_resamples=4000)
    monkeypatch.setattr(bootstrap, "MANY", 1)
    merged = resample_scores(metric, y, [a, b], groups, n_resamples=4000)
    assert not np.array_equal(single, merged)
    error = single.std(axis=1) / np.sqrt(4000)
    assert (np.abs(single.mean(axis=1) - merged.mean(axis=1)) < 6 * error).all()
    np.testing.assert_allclose(np.cov(merged), np.cov(single), rtol=0.15)
    members = bootstrap.group_numbers(300, groups)
    totals = [bootstrap.group_sums(metric, y, answer, 3, members) for answer in (a, b)]
    kinds, sizes = bootstrap._merged(totals)
    assert sizes.sum() == members.max() + 1 and len(sizes) < sizes.sum() / 2
    for total, kind in zip(totals, kinds, strict=True):
        np.testing.assert_allclose(sizes @ kind.toarray(), total.sum(axis=0))
    together = np.hstack([kind.toarray() for kind in kinds])
    assert len(np.unique(together, axis=0)) == len(sizes)


def test_groups_that_all_differ_are_drawn_one_by_one(monkeypatch):
    """Check that where no two groups count alike, merging changes no resample."""
    y, probs, _ = multilabel(12)
    probs = np.random.default_rng(0).random(probs.shape)
    metric = get_metric("log_loss", "multilabel")
    single = resample_scores(metric, y, [probs], n_resamples=30)
    monkeypatch.setattr(bootstrap, "MANY", 1)
    merged = resample_scores(metric, y, [probs], n_resamples=30)
    np.testing.assert_allclose(merged, single, rtol=1e-12)
