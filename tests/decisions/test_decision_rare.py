"""Thresholds of rare classes: against brute force, and honestly scored on simulated classes."""

import numpy as np
import pytest
from sklearn.metrics import fbeta_score, matthews_corrcoef

from pipeline.decisions import (
    bootstrap_thresholds,
    global_threshold,
    half_f_thresholds,
    per_class_thresholds,
    shrunk_thresholds,
)
from pipeline.decisions.cuts import Cuts
from pipeline.decisions.rare import DRAWS, poisson_weights
from pipeline.errors import PodiumError
from pipeline.metrics import get_metric

PER_CLASS = ("f1_macro", "f2_weighted", "f0.5_micro", "jaccard_macro", "jaccard_micro", "mcc_macro")


def metric_of(name):
    return get_metric(name, "multilabel")


def simulated(seed=0, n=400, c=5, digits=None):
    """Return labels of rare classes, and their exact probabilities given a noisy score."""
    rng = np.random.default_rng(seed)
    share, skill = np.linspace(0.01, 0.05, c), rng.uniform(1.2, 3, c)
    y = (rng.random((n, c)) < share).astype(np.int8)
    score = rng.normal(size=(n, c)) + skill * y
    probs = 1 / (1 + np.exp(-(np.log(share / (1 - share)) + skill * score - skill**2 / 2)))
    return y, probs if digits is None else np.round(probs, digits)


def keys_of(n, seed=0):
    return np.random.default_rng(seed).integers(0, 2**63, n, dtype=np.uint64)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_half_f_is_the_best_cut_of_the_probabilities(beta):
    """Check that no cut expects a higher F, the fixed point, and that micro pools all cells."""
    _, probs = simulated()
    thresholds = half_f_thresholds(metric_of(f"f{beta:g}_macro"), probs.astype(np.float32))
    pooled = half_f_thresholds(metric_of(f"f{beta:g}_micro"), probs)
    assert (pooled == pooled[0]).all()
    columns = [*zip(probs.T, thresholds, strict=True), (probs.ravel(), pooled[0])]

    def expected(p, chosen):
        return (1 + beta**2) * p[chosen].sum() / (beta**2 * p.sum() + chosen.sum())

    for p, threshold in columns:
        best = max(expected(p, p >= t) for t in p)
        assert expected(p, p >= threshold) == pytest.approx(best, rel=1e-6)
        assert threshold == pytest.approx(best / (1 + beta**2), rel=1e-6)


def test_half_f_finds_the_threshold_of_a_large_sample():
    """Check on drawn labels of 400,000 rows that the best cut of the labels scores no better."""
    y, probs = simulated(n=400_000, c=2)
    metric = metric_of("f1_macro")
    best, half = per_class_thresholds(metric, y, probs), half_f_thresholds(metric, probs[:50_000])
    scores = [metric.score(y, (probs >= t).astype(np.int8)) for t in (best, half)]
    assert scores[1] > scores[0] - 0.003
    assert scores[1] > metric.score(y, (probs >= 0.5).astype(np.int8)) + 0.05


def test_half_f_of_odd_columns():
    """Check a class that is never probable, and a metric without a half."""
    probs = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert half_f_thresholds(metric_of("f1_macro"), probs).tolist() == [0.5, 0.5]
    for name in ("f1_samples", "mcc_macro"):
        with pytest.raises(PodiumError, match="half F"):
            half_f_thresholds(metric_of(name), probs)


@pytest.mark.parametrize("name", ["f1_macro", "f2_weighted", "jaccard_macro", "mcc_macro"])
def test_bootstrap_is_the_median_over_resamples(name):
    """Check against scikit-learn's weighted scores of every cut, resample by resample."""
    y, probs = simulated(n=40, c=3, digits=2)
    y[:6, :2] = 1
    y[:, 2] = 0
    y[0, 2] = 1  # a single positive row: many resamples have none
    keys = keys_of(40)
    weights = poisson_weights(keys, DRAWS, 5)

    def score(truth, answer, w):
        if name == "mcc_macro":
            return matthews_corrcoef(truth, answer, sample_weight=w)
        beta = 2 if name == "f2_weighted" else 1
        return fbeta_score(truth, answer, beta=beta, sample_weight=w, zero_division=0)

    thresholds = bootstrap_thresholds(metric_of(name), y, probs, keys, seed=5)
    for j, threshold in enumerate(thresholds):
        cuts = Cuts.of(probs[:, j]).thresholds
        answers = (probs[:, [j]] >= cuts) * y[:, [j]]
        tried = cuts[np.diff(answers.sum(0), prepend=-1) > 0]  # those that end with a positive row
        found = []
        for w in weights:
            if w @ y[:, j] == 0:
                continue
            values = np.array([score(y[:, j], probs[:, j] >= t, w) for t in tried])
            best = tried[values >= values.max() - 1e-9]
            found.append(best[np.argmin(np.abs(best - 0.5))])
        assert (len(found) < DRAWS) == (j == 2)
        assert threshold == np.median(found)


@pytest.mark.parametrize("fit", [bootstrap_thresholds, shrunk_thresholds])
@pytest.mark.parametrize("name", PER_CLASS)
def test_what_is_drawn_hangs_on_keys(fit, name):
    """Check that the order of rows and classes, and float32, change nothing."""
    y, probs = simulated(digits=4)
    probs = probs.astype(np.float32)
    keys, metric = keys_of(len(y)), metric_of(name)
    thresholds = fit(metric, y, probs, keys)
    rows = np.random.default_rng(1).permutation(len(y))
    assert fit(metric, y[rows], probs[rows], keys[rows]) == pytest.approx(thresholds, abs=1e-12)
    assert fit(metric, y[:, ::-1], probs[:, ::-1], keys)[::-1] == pytest.approx(thresholds)
    assert fit(metric, y, probs.astype(np.float64), keys) == pytest.approx(thresholds)
    assert ((thresholds > 0) & (thresholds < 1)).all()


def test_weights_are_poisson():
    """Check mean, variance and correlation, and that one key weighs the same wherever it is."""
    keys = np.arange(100_000, dtype=np.uint64)
    weights = poisson_weights(np.append(keys, keys[:10]), 4, seed=3).astype(float)
    assert np.array_equal(weights[:, :10], weights[:, -10:])
    assert not np.array_equal(weights[:, :-10], poisson_weights(keys, 4, seed=2))
    assert weights.mean(1) == pytest.approx(1, abs=0.02)
    assert weights.var(1) == pytest.approx(1, abs=0.03)
    assert (weights == 0).mean() == pytest.approx(np.exp(-1), abs=0.01)
    assert np.abs(np.corrcoef(weights) - np.eye(4)).max() < 0.02
    assert np.abs(np.corrcoef(weights[:, :-1], weights[:, 1:])[:4, 4:]).max() < 0.02


def test_bootstrap_without_positives():
    """Check that a class without positive rows gets the cut nearest 0.5."""
    y, probs = simulated()
    y[:, 1] = 0
    threshold = bootstrap_thresholds(metric_of("f1_macro"), y, probs)[1]
    tried = Cuts.of(probs[:, 1]).thresholds
    assert abs(threshold - 0.5) == np.abs(tried - 0.5).min()


@pytest.mark.parametrize("name", PER_CLASS)
def test_shrunk_lies_between_its_own_and_the_common_threshold(name):
    """Check the ends of the scale, and that rarer classes are pulled harder."""
    y, probs = simulated()
    metric, keys = metric_of(name), keys_of(len(y))
    own = bootstrap_thresholds(metric, y, probs, keys)
    common = global_threshold(metric, y, probs)
    assert shrunk_thresholds(metric, y, probs, keys, strength=0.0) == pytest.approx(own)
    assert shrunk_thresholds(metric, y, probs, keys, strength=1e12) == pytest.approx(common)
    got = shrunk_thresholds(metric, y, probs, keys)
    assert (got >= np.minimum(own, common) - 1e-9).all()
    assert (got <= np.maximum(own, common) + 1e-9).all()
    logit = [np.log(t / (1 - t)) for t in (own, got, np.full(len(own), common))]
    kept = (logit[1] - logit[2]) / (logit[0] - logit[2])
    assert kept == pytest.approx(y.sum(0) / (y.sum(0) + 20.0))


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_jaccard_has_the_thresholds_of_f1(average):
    """Check the classes' own thresholds, which rise with F1, and half F."""
    y, probs = simulated()
    f, jaccard = metric_of(f"f1_{average}"), metric_of(f"jaccard_{average}")
    own = [bootstrap_thresholds(metric, y, probs) for metric in (f, jaccard)]
    assert np.array_equal(*own)
    assert np.array_equal(*[half_f_thresholds(metric, probs) for metric in (f, jaccard)])
    best = [per_class_thresholds(metric, y, probs) for metric in (f, jaccard)]
    scores = [jaccard.score(y, (probs >= t).astype(np.int8)) for t in best]
    assert scores[0] == pytest.approx(scores[1])


@pytest.mark.parametrize("fit", [bootstrap_thresholds, shrunk_thresholds])
@pytest.mark.parametrize("name", ["f1_samples", "subset_accuracy"])
def test_metrics_of_whole_rows_are_refused(fit, name):
    """Check that a metric whose classes are tied together has no thresholds class by class."""
    with pytest.raises(PodiumError, match="class by class"):
        fit(metric_of(name), *simulated(n=20))


@pytest.mark.parametrize("name", ["f1_macro", "f1_micro", "mcc_macro"])
def test_on_unseen_rows_they_beat_the_best_fitted_thresholds(name):
    """Check, over 6 samples of 1,000 rows and 20 classes of 1 to 5 %, the mean score on others."""
    metric, gains = metric_of(name), []
    for seed in range(6):
        y, probs = simulated(seed, n=11_000, c=20)
        seen, unseen = slice(0, 1000), slice(1000, None)
        fitted = [
            fit(metric, y[seen], probs[seen])
            for fit in (per_class_thresholds, bootstrap_thresholds, shrunk_thresholds)
        ]
        if name != "mcc_macro":
            fitted.append(half_f_thresholds(metric, probs[seen]))
        answers = [(probs[unseen] >= t).astype(np.int8) for t in fitted]
        scores = [metric.score(y[unseen], answer) for answer in answers]
        gains.append(np.subtract(scores[1:], scores[0]))
    assert (np.mean(gains, 0) > 0.001).all()
