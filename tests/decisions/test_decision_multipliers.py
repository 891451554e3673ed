"""Multipliers: the line search against brute force, and what the whole fit promises."""

import numpy as np
import pytest

from pipeline.decisions import fit_multipliers, flips
from pipeline.decisions.flips import SUPPORTED, best_multiplier
from pipeline.decisions.multipliers import Rows, multiply
from pipeline.errors import PodiumError
from pipeline.metrics import get_metric

NAMES = (
    "accuracy",
    "balanced_accuracy",
    "f1_micro",
    "f1_macro",
    "f2_macro",
    "f0.5_weighted",
    "mcc",
    "jaccard_macro",
    "jaccard_weighted",
)
FEW = np.array([0.0, 0.1, 0.2, 0.4, 0.7, 1.0])


def tied(seed, n=14, c=3):
    """Return labels, some classes of which may be absent, and scores of a few values."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, rng.integers(1, c + 1), n), rng.choice(FEW, (n, c))


def informative(seed, n=400, c=4):
    """Return unbalanced labels and probabilities that favour the common classes."""
    rng = np.random.default_rng(seed)
    rates = np.array([0.6, 0.25, 0.1, 0.05])[:c]
    y = rng.choice(c, n, p=rates / rates.sum())
    logits = np.log(rates) + 1.2 * np.eye(c)[y] + rng.normal(size=(n, c))
    probs = np.exp(logits)
    return y, probs / probs.sum(1, keepdims=True)


def brute_force(metric, y, probs, multipliers, j):
    """Return the best score over multipliers of class j between all ratios at which rows flip."""
    scaled = probs * multipliers
    others = np.delete(scaled, j, axis=1).max(1)
    ratios = {o / p for o, p in zip(others, probs[:, j], strict=True) if o > 0 and p > 0}
    ratios = sorted(ratios)
    if not ratios:
        return -np.inf
    points = [ratios[0] / 3, *np.sqrt(np.multiply(ratios[1:], ratios[:-1])), ratios[-1] * 3]
    # Ratios that differ by rounding alone leave no room for a cut between them.
    wide = [True, *(np.diff(ratios) > 1e-12), True]
    scores = []
    for point in np.array(points)[wide]:
        moved = multipliers.copy()
        moved[j] = point
        scores.append(metric.score(y, multiply(probs, moved)))
    return max(scores)


def line_of(metric, y, probs, multipliers, j):
    """Return the line along class j through some multipliers, and their score."""
    rows = Rows(metric, y, probs, np.ascontiguousarray(probs.T))
    position = rows.at(np.array(multipliers))
    return rows.line(position, j), position


@pytest.fixture(params=["sorted", "binned"])
def path(request, monkeypatch):
    """Send even a handful of rows through the bins, or every row through the sort."""
    monkeypatch.setattr(flips, "FEW", 0 if request.param == "binned" else 10**9)
    monkeypatch.setattr(flips, "FEW_PER_CLASS", 0)
    return request.param


@pytest.mark.parametrize("name", NAMES)
def test_the_line_search_is_exact(name, path):
    """Check that one class's best multiplier is the best of all cuts, and reaches its promise."""
    metric = get_metric(name, "multiclass")
    for seed in range(25):
        y, probs = tied(seed, c=2 + seed % 3)
        c = probs.shape[1]
        multipliers = np.exp(np.random.default_rng(seed).normal(size=c)) if seed % 2 else np.ones(c)
        j = seed % c
        line, position = line_of(metric, y, probs, multipliers, j)
        value, promised = best_multiplier(metric, line)
        multipliers = position.multipliers
        assert promised == pytest.approx(brute_force(metric, y, probs, multipliers, j), abs=1e-12)
        moved = multipliers.copy()
        moved[j] = value
        if np.isfinite(promised):
            reached = metric.score(y, multiply(probs, moved))
            assert promised == pytest.approx(reached, abs=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "f1_macro"])
def test_proportional_rows_are_not_parted_by_rounding(name, path):
    """Check that rows which flip together but for the last bit keep the search's promise."""
    metric = get_metric(name, "multiclass")
    for seed in range(30):
        rng = np.random.default_rng(seed)
        base = rng.choice([0.1, 0.2, 0.3, 0.6, 0.7], (6, 3))
        probs = np.concatenate([base * factor for factor in (1, 1 / 2, 0.3, 1 / 3, 0.7)])
        y, multipliers = rng.integers(0, 3, len(probs)), np.exp(rng.normal(size=3))
        line, position = line_of(metric, y, probs, multipliers, 0)
        moved = position.multipliers.copy()
        moved[0], promised = best_multiplier(metric, line)
        assert promised == pytest.approx(brute_force(metric, y, probs, moved, 0), abs=1e-12)
        reached = metric.score(y, multiply(probs, moved))
        assert reached == pytest.approx(promised, abs=1e-12)


def test_no_bin_parts_proportional_rows(path):
    """Check rows whose equal ratios rounding puts on both sides of an edge at 1."""
    metric, third = get_metric("accuracy", "multiclass"), 0.1 + 0.2
    probs = np.array([[0.3, third], [third, 0.3]] * 3 + [[0.2, 0.4], [0.2, 0.4], [0.4, 0.2]])
    y, ones = np.array([1, 0] * 3 + [1, 0, 0]), np.ones(2)
    assert (probs[:2, 0] / probs[:2, 1]).tolist() == [1 - 2**-52, 1 + 2**-52]
    line, _ = line_of(metric, y, probs, ones, 1)
    promised = best_multiplier(metric, line)[1]
    assert promised == pytest.approx(brute_force(metric, y, probs, ones, 1), abs=1e-12)


def test_a_move_answers_what_multiplying_would():
    """Check the kept answers and products against all products, with rows of zeros and ties."""
    metric, rng = get_metric("f1_macro", "multiclass"), np.random.default_rng(1)
    y, probs = tied(3, n=200, c=4)
    probs[::10] = 0
    rows = Rows(metric, y, probs, np.ascontiguousarray(probs.T))
    position = rows.at(np.ones(4))
    for j in rng.integers(0, 4, 40):
        position = rows.moved(position, rows.line(position, j), rng.choice([0.5, 1.0, 2.0, 0.7]))
        scaled = probs * position.multipliers
        assert np.array_equal(position.answer, scaled.argmax(1))
        assert np.array_equal(position.top, scaled.max(1))
        assert position.score == pytest.approx(metric.score(y, position.answer), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_bins_change_nothing(name, monkeypatch):
    """Check on many rows that the search within bounds finds the very cut of the full sort, that a
    floor below the best changes nothing, and that a floor at the best is not passed.
    """
    metric = get_metric(name, "multiclass")
    monkeypatch.setattr(flips, "FEW_PER_CLASS", 0)
    for seed in range(12):
        y, probs = informative(seed, n=3000)
        probs = probs**6 if seed % 3 == 0 else np.round(probs, 2) if seed % 3 == 1 else probs
        start = np.exp(np.random.default_rng(seed).normal(size=4) * (1 + 3 * (seed % 2)))
        line, position = line_of(metric, y, probs, start, seed % 4)
        monkeypatch.setattr(flips, "FEW", 10**9)
        value, promised = best_multiplier(metric, line)
        monkeypatch.setattr(flips, "FEW", 0)
        expected = pytest.approx((value, promised), abs=1e-12)
        assert best_multiplier(metric, line) == expected
        if position.score < promised - 1e-9:
            assert best_multiplier(metric, line, position.score) == expected
        assert best_multiplier(metric, line, promised)[1] <= promised + 1e-12


def test_few_rows_are_sorted(monkeypatch):
    """Check that the bounds leave out most rows of a large problem, for every metric."""
    y, probs = informative(3, n=20_000)
    sizes, search = [], flips._search

    def counted(metric, line, rows, *rest):
        sizes.append(len(rows))
        return search(metric, line, rows, *rest)

    monkeypatch.setattr(flips, "_search", counted)
    for name in NAMES:
        metric = get_metric(name, "multiclass")
        best_multiplier(metric, line_of(metric, y, probs, np.ones(4), 1)[0])
    assert len(sizes) == len(NAMES)
    assert max(sizes) < len(y) / 3


@pytest.mark.parametrize("name", NAMES)
def test_never_below_argmax(name):
    """Check that the fit is at least as good as argmax, and finite, positive and normalised."""
    metric = get_metric(name, "multiclass")
    for seed in range(12):
        y, probs = tied(seed) if seed % 2 else informative(seed, n=120)
        multipliers = fit_multipliers(metric, y, probs, n_starts=3)
        fitted = metric.score(y, multiply(probs, multipliers))
        assert fitted >= metric.score(y, probs.argmax(1))
        assert np.isfinite(multipliers).all()
        assert (multipliers > 0).all()
        mean = np.exp(np.log(multipliers).mean())
        assert 2**-0.5 - 1e-9 <= mean <= 2**0.5 + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_two_classes_reach_the_global_optimum(name):
    """Check that with two classes, where one ratio is all there is, the fit is the best of all."""
    metric = get_metric(name, "multiclass")
    for seed in range(10):
        y, probs = informative(seed, n=40, c=2)
        best = brute_force(metric, y, probs, np.ones(2), 1)
        fitted = metric.score(y, multiply(probs, fit_multipliers(metric, y, probs)))
        assert fitted == pytest.approx(best, abs=1e-12)


def test_rare_classes_gain():
    """Check that balanced accuracy and macro-F rise clearly where argmax starves rare classes."""
    y, probs = informative(1, n=2000)
    for name, gain in (("balanced_accuracy", 0.05), ("f1_macro", 0.01)):
        metric = get_metric(name, "multiclass")
        fitted = metric.score(y, multiply(probs, fit_multipliers(metric, y, probs)))
        assert fitted > metric.score(y, probs.argmax(1)) + gain


def test_the_same_seed_gives_the_same_multipliers():
    """Check that the fit is a function of its arguments."""
    y, probs = informative(2, n=150)
    metric = get_metric("f1_macro", "multiclass")
    first, again = (fit_multipliers(metric, y, probs, seed=3) for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("name", ["f1_macro", "balanced_accuracy", "mcc"])
def test_the_order_of_rows_and_classes_changes_nothing(name):
    """Check that permuted rows, permuted classes, doubled rows and float32 give the same fit."""
    metric, rng = get_metric(name, "multiclass"), np.random.default_rng(0)
    y, probs = informative(5, n=1500)
    probs = probs.astype(np.float32)
    fitted = fit_multipliers(metric, y, probs)
    rows, classes = rng.permutation(len(y)), rng.permutation(4)
    variants = {
        "rows": fit_multipliers(metric, y[rows], probs[rows]),
        "classes": fit_multipliers(metric, np.argsort(classes)[y], probs[:, classes]),
        "doubled": fit_multipliers(metric, np.tile(y, 2), np.tile(probs, (2, 1))),
        "float64": fit_multipliers(metric, y, probs.astype(np.float64)),
    }
    for kind, other in variants.items():
        expected = fitted[classes] if kind == "classes" else fitted
        assert np.allclose(other, expected, rtol=1e-9), kind


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_one_class_and_absent_classes(name):
    """Check that a single class, or classes without a row, give finite factors and the best score
    that one multiplier can reach.
    """
    metric = get_metric(name, "multiclass")
    y, probs = informative(4, n=60)
    for labels in (np.full(60, 2), np.where(y == 1, 0, y)):
        multipliers = fit_multipliers(metric, labels, probs)
        assert np.isfinite(multipliers).all()
        assert (multipliers > 0).all()
        fitted = metric.score(labels, multiply(probs, multipliers))
        lines = (brute_force(metric, labels, probs, np.ones(4), j) for j in range(4))
        assert fitted >= (max(lines) if labels.min() == labels.max() else 0) - 1e-12
        assert fitted >= metric.score(labels, probs.argmax(1))


def test_supported_metrics_are_those_of_counts_per_class():
    """Check that every named multi-class metric of labels but kappa has multipliers."""
    for name in NAMES:
        assert isinstance(get_metric(name, "multiclass"), SUPPORTED)
    assert not isinstance(get_metric("qwk", "multiclass"), SUPPORTED)


def test_micro_jaccard_rises_with_accuracy():
    """Check that the multipliers of one are those of the other, and are not below argmax."""
    y, probs = informative(3)
    micro, accuracy = (get_metric(name, "multiclass") for name in ("jaccard_micro", "accuracy"))
    fitted = fit_multipliers(micro, y, probs)
    np.testing.assert_array_equal(fitted, fit_multipliers(accuracy, y, probs))
    assert micro.score(y, multiply(probs, fitted)) >= micro.score(y, probs.argmax(1))


def test_ties_go_to_the_first_class():
    """Check that equal products answer the class that comes first."""
    probs = np.array([[0.4, 0.4, 0.2], [0.0, 0.0, 0.0], [0.1, 0.2, 0.2]])
    assert multiply(probs, np.ones(3)).tolist() == [0, 0, 1]
    assert multiply(probs, np.array([1.0, 1.0, 2.0])).tolist() == [0, 0, 2]


def test_rows_that_no_multiplier_moves():
    """Check that one-hot probabilities, where nothing can flip, keep argmax."""
    y, probs = np.array([0, 1, 2, 1]), np.eye(3)[[0, 1, 2, 2]]
    multipliers = fit_multipliers(get_metric("accuracy", "multiclass"), y, probs)
    assert np.array_equal(multiply(probs, multipliers), probs.argmax(1))


@pytest.mark.parametrize(
    ("name", "y", "probs", "words"),
    [
        ("qwk", [0, 1], np.eye(2), "no multipliers"),
        ("accuracy", [0, 2], np.eye(2), "below 2"),
        ("accuracy", [0, 1], [[0.5, np.nan], [0.5, 0.5]], "nan"),
        ("accuracy", [0, 1, 1], np.eye(2), "same rows"),
        ("accuracy", [[0, 1], [1, 0]], np.eye(2), "shape"),
    ],
)
def test_refusals(name, y, probs, words):
    """Check that other metrics, NaN and shapes that differ are refused."""
    with pytest.raises(PodiumError, match=words):
        fit_multipliers(get_metric(name, "multiclass"), y, probs)
