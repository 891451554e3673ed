"""Rules: which suit a metric, what they answer, what they score, and how they are written."""

import json

import numpy as np
import pytest

from pipeline.decisions import (
    Rule,
    bootstrap_thresholds,
    default_rule,
    fit_rule,
    fit_sized,
    fit_top_k,
    half_f_thresholds,
    limit_sizes,
    needs_calibration,
    rule_kinds,
    samples_f_sets,
    samples_jaccard_sets,
    shrunk_thresholds,
    top_labels,
)
from pipeline.decisions.cuts import Cuts
from pipeline.errors import PodiumError
from pipeline.metrics import custom_metric, get_metric, metric_names

CASES = [(task, name) for task in ("multiclass", "multilabel") for name in metric_names(task)]
RULES = [
    Rule("identity"),
    Rule("argmax"),
    Rule("multipliers", (1.0, 0.1 + 0.2)),
    Rule("threshold", (0.5,)),
    Rule("global", (float(np.nextafter(1, 2)),)),
    Rule("per-class", (1 / 3, 5e-324)),
    Rule("cuts", (0.1 + 0.2,)),
    Rule("sized", (0.1,), 1, 2),
    Rule("top-k", (2.0,), at_most=1),
    Rule("half-f", (0.1, 0.2), at_least=2),
    Rule("shrunk", (0.1, 0.2)),
    Rule("bootstrap", (0.1, 0.2), at_least=1),
    Rule("expected-f", (0.5,), 1, 1),
    Rule("expected-jaccard"),
]
# Kinds of which each scores no lower, where fitted, than the one before.
NEVER_LOWER = (
    ("argmax", "multipliers"),
    ("threshold", "global", "per-class"),
    ("threshold", "sized"),
)
SIMPLE = ("threshold", "global", "sized", "top-k")
RARE = ("shrunk", "bootstrap", "per-class")


def simulated(task, n=150, c=3):
    """Return labels and float32 probabilities that tie now and then."""
    rng = np.random.default_rng(0)
    if task == "multiclass":
        y = rng.choice(c, n, p=[0.7, 0.2, 0.1])
        truth = np.eye(c)[y]
    else:
        y = truth = (rng.random((n, c)) < [0.5, 0.2, 0.1]).astype(np.int8)
    probs = np.round(1 / (1 + np.exp(1 - truth - rng.normal(size=(n, c)))), 2)
    return y, probs.astype(np.float32)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_a_more_complex_rule_never_scores_lower_where_fitted(task, name):
    """Check that rules which seek the highest score, applied, score at least as the simpler ones.

    Every rule answers the same after it was written and read, and is of the kind asked for.
    """
    metric = get_metric(name, task)
    y, probs = simulated(task)
    scores = {}
    for kind in rule_kinds(metric):
        rule = fit_rule(kind, metric, y, probs)
        assert rule.kind == kind
        answer = rule.apply(probs)
        assert np.array_equal(answer, Rule.from_json(rule.to_json()).apply(probs))
        scores[kind] = metric.sign * metric.score(y, answer)
    for kinds in NEVER_LOWER:
        values = [scores[kind] for kind in kinds if kind in scores]
        assert (np.diff(values) >= -1e-12).all()
    assert default_rule(metric) == fit_rule(rule_kinds(metric)[0], metric, y, probs)


@pytest.mark.parametrize(
    ("name", "task", "kinds"),
    [
        ("log_loss", "multiclass", ("identity",)),
        ("auc_macro", "multilabel", ("identity",)),
        ("accuracy", "multiclass", ("argmax", "multipliers")),
        ("f2_weighted", "multiclass", ("argmax", "multipliers")),
        ("qwk", "multiclass", ("argmax", "cuts")),
        ("mcc", "multiclass", ("argmax", "multipliers")),
        ("f2_macro", "multilabel", (*SIMPLE, "half-f", *RARE)),
        ("jaccard_micro", "multilabel", (*SIMPLE, "half-f", *RARE)),
        ("mcc_macro", "multilabel", (*SIMPLE, *RARE)),
        ("f1_samples", "multilabel", (*SIMPLE, "expected-f", "per-class")),
        ("jaccard_samples", "multilabel", (*SIMPLE, "expected-jaccard", "per-class")),
        ("subset_accuracy", "multilabel", (*SIMPLE, "per-class")),
    ],
)
def test_kinds_of_a_metric(name, task, kinds):
    """Check that a metric's kinds of rule come from the simplest to the most complex."""
    assert rule_kinds(get_metric(name, task)) == kinds


def test_each_kind_is_fitted_by_its_function():
    """Check that values and limits are those of the functions, given the keys of the rows."""
    y, probs = simulated("multilabel")
    keys = np.arange(7, 7 + len(y), dtype=np.uint64)
    f2, samples = get_metric("f2_macro", "multilabel"), get_metric("f2_samples", "multilabel")
    fitted = {kind: fit_rule(kind, f2, y, probs, keys) for kind in rule_kinds(f2)}
    threshold, low, high = fit_sized(f2, y, probs)
    assert fitted["sized"] == Rule("sized", (threshold,), low, high)
    assert fitted["top-k"].values == (fit_top_k(f2, y, probs),)
    assert fitted["half-f"].values == tuple(half_f_thresholds(f2, probs))
    assert fitted["shrunk"].values == tuple(shrunk_thresholds(f2, y, probs, keys))
    assert fitted["bootstrap"].values == tuple(bootstrap_thresholds(f2, y, probs, keys))
    assert fit_rule("expected-f", samples, y, probs) == Rule("expected-f", (2.0,))
    kappa = get_metric("qwk", "multiclass")
    assert len(fit_rule("cuts", kappa, *simulated("multiclass")).values) == 2


def test_sets_and_cuts_are_applied():
    """Check the kinds that are no thresholds, over several blocks, against their functions."""
    _, probs = simulated("multilabel", n=400_000)
    assert np.array_equal(Rule("expected-f", (2.0,)).apply(probs), samples_f_sets(probs, 2.0))
    assert np.array_equal(Rule("expected-jaccard").apply(probs), samples_jaccard_sets(probs))
    assert np.array_equal(Rule("top-k", (2.0,)).apply(probs), top_labels(probs, 2))
    _, probs = simulated("multiclass", n=400_000)
    wide = probs.astype(np.float64)
    mean = (wide @ [0, 1, 2]) / wide.sum(1)
    answer = Rule("cuts", (0.6, 1.3)).apply(probs)
    clear = np.abs(mean[:, None] - [0.6, 1.3]).min(1) > 1e-9
    assert answer.dtype == np.int64
    assert np.array_equal(answer[clear], ((mean >= 0.6).astype(int) + (mean >= 1.3))[clear])


def test_which_kinds_want_calibrated_probabilities():
    """Check those that take probabilities at their word, and no others."""
    names = metric_names("multilabel")
    kinds = {kind for name in names for kind in rule_kinds(get_metric(name, "multilabel"))}
    wanting = {kind for kind in kinds if needs_calibration(kind)}
    assert wanting == {"half-f", "expected-f", "expected-jaccard"}


@pytest.mark.parametrize(
    "rule",
    [
        Rule("threshold", (0.5,)),
        Rule("per-class", (0.9, 0.2, 0.6)),
        Rule("top-k", (3.0,)),
        Rule("expected-f", (1.0,)),
    ],
    ids=lambda rule: rule.kind,
)
def test_limits_come_after_any_rule_of_labels(rule):
    """Check against the limits of sizes, by the order of p - t, or of p for sets."""
    _, probs = simulated("multilabel")
    probs = probs.astype(np.float64)
    scores = probs - np.array(rule.values) if rule.kind == "per-class" else probs
    plain = rule.apply(probs)
    for low, high in [(1, None), (0, 1), (2, 2), (1, 3)]:
        bounded = Rule(rule.kind, rule.values, low, high)
        assert np.array_equal(bounded.apply(probs), limit_sizes(plain, scores, low, high))
        counts = bounded.apply(probs.astype(np.float32)).sum(1)
        assert low <= counts.min()
        assert counts.max() <= (high or 3)


def test_tiny_probabilities_keep_their_order():
    """Check that one threshold, subtracted, would lose an order that the limits need."""
    probs = np.array([[1e-20, 3e-20, 2e-20]])
    assert Rule("threshold", (0.5,), 1).apply(probs).tolist() == [[0, 1, 0]]
    assert Rule("global", (0.9,), 2).apply(probs).tolist() == [[0, 1, 1]]


def test_limits_stand_in_json_where_they_are_set():
    """Check that older rules read as ever, and limits survive."""
    assert Rule("threshold", (0.5,)).to_json() == {"kind": "threshold", "values": [0.5]}
    bounded = Rule("threshold", (0.5,), 1, 3)
    content = {"kind": "threshold", "values": [0.5], "at_least": 1, "at_most": 3}
    assert bounded.to_json() == content
    assert Rule.from_json(content) == bounded
    assert Rule.from_json({**content, "at_most": None}) == Rule("threshold", (0.5,), 1)
    assert "1 to 3 labels" in bounded.describe()
    assert "2 labels or more" in Rule("threshold", (0.5,), 2).describe()


def test_what_each_kind_answers():
    """Check types, ties to the first class, and `p >= t` in float64."""
    probs = np.array([[0.5, 0.5], [0.25, 0.75]], dtype=np.float32)
    answers = {rule.kind: rule.apply(probs) for rule in RULES}
    assert answers["identity"].dtype == np.float64
    assert answers["argmax"].tolist() == [0, 1]
    assert answers["argmax"].dtype == np.int64
    assert answers["multipliers"].tolist() == [0, 0]
    assert answers["threshold"].tolist() == [[1, 1], [0, 1]]
    assert answers["threshold"].dtype == np.int8
    assert answers["global"].sum() == 0
    assert answers["per-class"].tolist() == [[1, 1], [0, 1]]
    above_half = Rule("global", (0.5 + 2**-53,))  # which float32 would round to 0.5
    assert above_half.apply(probs).tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_json_round_trip(rule):
    """Check that a rule survives strict JSON bit by bit, and says what it is in a few words."""
    text = json.dumps(rule.to_json(), allow_nan=False)
    assert Rule.from_json(json.loads(text)) == rule
    assert 0 < len(rule.describe()) < 60
    assert "\n" not in rule.describe()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "keys kind and values"),
        ({"kind": "argmax"}, "keys kind and values"),
        ({"kind": "argmax", "values": [], "more": 1}, "keys kind and values"),
        ({"kind": "argmx", "values": []}, "did you mean argmax"),
        ({"kind": ["argmax"], "values": []}, "text"),
        ({"kind": "global", "values": 0.5}, "a list"),
        ({"kind": "global", "values": []}, "takes 1 values"),
        ({"kind": "argmax", "values": [1.0]}, "takes 0 values"),
        ({"kind": "per-class", "values": []}, "one value per class"),
        ({"kind": "global", "values": [float("nan")]}, "finite"),
        ({"kind": "global", "values": [10**400]}, "finite"),
        ({"kind": "global", "values": ["0.5"]}, "finite numbers"),
        ({"kind": "global", "values": [True]}, "finite numbers"),
        ({"kind": "global", "values": [-0.1]}, "threshold must lie"),
        ({"kind": "per-class", "values": [0.5, 2.0]}, "threshold must lie"),
        ({"kind": "multipliers", "values": [1.0, 0.0]}, "positive"),
        ({"kind": "threshold", "values": [0.4]}, "fixed at 0.5"),
        ({"kind": "sized", "values": [2.0]}, "threshold must lie"),
        ({"kind": "shrunk", "values": [-0.1]}, "threshold must lie"),
        ({"kind": "top-k", "values": [1.5]}, "whole number"),
        ({"kind": "top-k", "values": [0]}, "whole number"),
        ({"kind": "expected-f", "values": [0]}, "positive"),
        ({"kind": "expected-jaccard", "values": [1.0]}, "takes 0 values"),
        ({"kind": "cuts", "values": []}, "one value per class"),
        ({"kind": "cuts", "values": [1.0, 0.5]}, "must not descend"),
        ({"kind": "argmax", "values": [], "at_least": 1}, "answers no sets"),
        ({"kind": "global", "values": [0.5], "at_least": -1}, "at_least must be"),
        ({"kind": "global", "values": [0.5], "at_least": 1.0}, "at_least must be"),
        ({"kind": "global", "values": [0.5], "at_most": 0}, "at_most must be"),
        ({"kind": "global", "values": [0.5], "at_most": True}, "at_most must be"),
        ({"kind": "global", "values": [0.5], "at_least": 3, "at_most": 2}, "number from 3"),
    ],
)
def test_bad_json_is_refused(content, words):
    """Check that content which to_json cannot have written is refused, saying why."""
    with pytest.raises(PodiumError, match=words):
        Rule.from_json(content)


@pytest.mark.parametrize(
    ("rule", "probs", "words"),
    [
        (Rule("argmax"), [[0.5, np.nan]], "nan"),
        (Rule("identity"), [[0.5, 1.5]], "1.5"),
        (Rule("global", (0.5,)), [0.5, 0.5], "shape"),
        (Rule("per-class", (0.5,)), [[0.5, 0.5]], "one value per class"),
        (Rule("multipliers", (1.0, 1.0)), [[0.5, 0.5, 0.5]], "one value per class"),
        (Rule("cuts", (0.5, 1.5)), [[0.5, 0.5]], "of cuts, one fewer"),
        (Rule("top-k", (3.0,)), [[0.5, 0.5]], "3 labels of 2"),
        (Rule("global", (0.5,), 3), [[0.5, 0.5]], "at_least 3"),
    ],
)
def test_probabilities_that_do_not_fit_are_refused(rule, probs, words):
    """Check that a rule is not applied to NaN, values outside [0, 1] or other classes."""
    with pytest.raises(PodiumError, match=words):
        rule.apply(np.array(probs))


def test_a_kind_must_suit_the_metric():
    """Check that fitting a threshold to a log loss names the kinds that suit it."""
    y, probs = simulated("multilabel")
    with pytest.raises(PodiumError, match="use identity"):
        fit_rule("global", get_metric("log_loss", "multilabel"), y, probs)
    with pytest.raises(PodiumError, match="nan"):
        metric = get_metric("f1_micro", "multilabel")
        fit_rule("threshold", metric, y, np.full(probs.shape, np.nan))


JACCARD = """import numpy as np
def score(y, answer):
    both, either = (y & answer).sum(1), (y | answer).sum(1)
    return (both / np.maximum(either, 1)).mean()
"""
HAMMING = "greater_is_better = False\ndef score(y, answer):\n    return (y != answer).mean()\n"
PROBS = "needs = 'probs'\n" + HAMMING


def custom(tmp_path, text, task):
    path = tmp_path / "cost.py"
    path.write_text(text)
    return custom_metric(path, task)


def test_kinds_of_a_custom_metric(tmp_path):
    """Check that only kinds that need nothing but a score suit a metric of the host's own."""
    assert rule_kinds(custom(tmp_path, HAMMING, "multiclass")) == ("argmax",)
    assert rule_kinds(custom(tmp_path, HAMMING, "multilabel")) == SIMPLE
    for task in ("multiclass", "multilabel"):
        assert rule_kinds(custom(tmp_path, PROBS, task)) == ("identity",)
    with pytest.raises(PodiumError, match="use threshold, global, sized, top-k"):
        fit_rule("per-class", custom(tmp_path, HAMMING, "multilabel"), *simulated("multilabel"))


@pytest.mark.parametrize("text", [JACCARD, HAMMING])
def test_a_custom_threshold_is_the_best_of_few_scores(tmp_path, text):
    """Check against every cut where there are at most 99, nearest 0.5 among equals."""
    metric = custom(tmp_path, text, "multilabel")
    for seed in range(6):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, (8, 3))
        probs = rng.integers(1, 9, (8, 3)) / 9
        (threshold,) = fit_rule("global", metric, y, probs).values
        assert threshold not in probs
        cuts = Cuts.of(probs.ravel()).thresholds
        values = {t: metric.sign * metric.score(y, (probs >= t).astype(np.int8)) for t in cuts}
        best = [t for t, value in values.items() if value >= max(values.values()) - 1e-12]
        assert threshold == min(best, key=lambda t: abs(t - 0.5))


def test_a_custom_threshold_of_rare_labels(tmp_path):
    """Check that labels of 1 in 500 cells are parted, by at most 99 scores and not below 0.5's."""
    text = """calls = []
def score(y, answer):
    calls.append(1)
    return 2 * (y & answer).sum() / (y.sum() + answer.sum())
"""
    metric = custom(tmp_path, text, "multilabel")
    rng = np.random.default_rng(0)
    y = (rng.random((1000, 20)) < 0.002).astype(np.int8)
    probs = np.where(y == 1, 0.1 + 0.1 * rng.random(y.shape), 0.1 * rng.random(y.shape))
    calls = metric.function.__globals__["calls"]
    rule = fit_rule("global", metric, y, probs)
    assert 50 < len(calls) <= 99
    exact = fit_rule("global", get_metric("f1_micro", "multilabel"), y, probs)
    reached, best = (metric.score(y, r.apply(probs)) for r in (rule, exact))
    assert best == 1
    assert reached > 0.95
    assert reached >= metric.score(y, default_rule(metric).apply(probs))


def test_a_custom_threshold_is_never_below_one_half(tmp_path):
    """Check that 0.5 itself is tried, where a quantile would miss its cut."""
    text = "def score(y, answer):\n    return -abs(answer.sum() - 1003.0)\n"
    metric = custom(tmp_path, text, "multilabel")
    rng = np.random.default_rng(1)
    probs = rng.permutation(np.concatenate([rng.uniform(0.5, 1, 1003), rng.uniform(0, 0.5, 997)]))
    y, probs = rng.integers(0, 2, (1000, 2)), probs.reshape(1000, 2)
    rule = fit_rule("global", metric, y, probs)
    assert metric.score(y, rule.apply(probs)) == 0


def test_cuts_where_a_custom_metric_is_undefined_are_not_taken(tmp_path):
    """Check that an undefined cut loses to a defined one, and none defined leaves about 0.5."""
    y, probs = np.array([[1], [0], [1]]), np.array([[0.2], [0.4], [0.7]])
    picky = "def score(y, answer):\n    return 1 / (int(answer.sum()) // 3)\n"
    rule = fit_rule("global", custom(tmp_path, picky, "multilabel"), y, probs)
    assert rule.values == pytest.approx((0.1,))
    never = "def score(y, answer):\n    return float('nan')\n"
    rule = fit_rule("global", custom(tmp_path, never, "multilabel"), y, probs)
    assert rule.values == pytest.approx((0.55,))


@pytest.mark.parametrize(
    ("text", "task"),
    [(HAMMING, "multiclass"), (JACCARD, "multilabel"), (PROBS, "multilabel")],
)
def test_custom_rules_never_score_lower_where_fitted(tmp_path, text, task):
    """Check the promise of every other metric's rules on a metric of the host's own."""
    metric = custom(tmp_path, text, task)
    y, probs = simulated(task)
    kinds = rule_kinds(metric)
    answers = {kind: fit_rule(kind, metric, y, probs).apply(probs) for kind in kinds}
    scores = {kind: metric.sign * metric.score(y, answer) for kind, answer in answers.items()}
    for chain in NEVER_LOWER:
        values = [scores[kind] for kind in chain if kind in scores]
        assert (np.diff(values) >= -1e-12).all()
    assert default_rule(metric).kind == kinds[0]
