"""Rules: which suit a metric, what they answer, what they score, and how they are written."""

import json

import numpy as np
import pytest

from pipeline.decisions import Rule, default_rule, fit_rule, rule_kinds
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
]


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
    """Check that every fitted rule, applied, scores at least as high as the simpler ones."""
    metric = get_metric(name, task)
    y, probs = simulated(task)
    scores = []
    for kind in rule_kinds(metric):
        rule = fit_rule(kind, metric, y, probs)
        assert rule.kind == kind
        answer = rule.apply(probs)
        assert np.array_equal(answer, Rule.from_json(rule.to_json()).apply(probs))
        scores.append(metric.sign * metric.score(y, answer))
    assert (np.diff(scores) >= -1e-12).all()
    assert default_rule(metric) == fit_rule(rule_kinds(metric)[0], metric, y, probs)


@pytest.mark.parametrize(
    ("name", "task", "kinds"),
    [
        ("log_loss", "multiclass", ("identity",)),
        ("auc_macro", "multilabel", ("identity",)),
        ("accuracy", "multiclass", ("argmax", "multipliers")),
        ("f2_weighted", "multiclass", ("argmax", "multipliers")),
        ("qwk", "multiclass", ("argmax",)),
        ("mcc", "multiclass", ("argmax",)),
        ("f1_samples", "multilabel", ("threshold", "global", "per-class")),
    ],
)
def test_kinds_of_a_metric(name, task, kinds):
    """Check that a metric's kinds of rule come from the simplest to the most complex."""
    assert rule_kinds(get_metric(name, task)) == kinds


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
    assert rule_kinds(custom(tmp_path, HAMMING, "multilabel")) == ("threshold", "global")
    for task in ("multiclass", "multilabel"):
        assert rule_kinds(custom(tmp_path, PROBS, task)) == ("identity",)
    with pytest.raises(PodiumError, match="use threshold, global"):
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
    answers = [fit_rule(kind, metric, y, probs).apply(probs) for kind in kinds]
    scores = [metric.sign * metric.score(y, answer) for answer in answers]
    assert (np.diff(scores) >= -1e-12).all()
    assert default_rule(metric).kind == kinds[0]
