"""Verdicts on simulated answers: rarely wrong where there is nothing, and right where there is."""

import numpy as np
import pytest

from pipeline.compare import verdict
from pipeline.compare.verdict import Verdict, draws, judge, rows_needed, signed
from pipeline.metrics import Gain, custom_metric, get_metric, paired_interval

ACCURACY = get_metric("accuracy", "multiclass")


def answers(rng: np.random.Generator, n: int, skills: tuple[float, float], cluster: int = 1):
    """Return labels, two answers right with chances `skills`, and groups of `cluster` rows each of
    which is answered alike."""
    y = rng.integers(0, 3, n)
    group = np.arange(n) // cluster
    right = [(rng.random(n // cluster) < skill)[group] for skill in skills]
    return y, *(np.where(one, y, (y + 1) % 3) for one in right), group


@pytest.fixture(autouse=True)
def fewer(monkeypatch):
    """Draw fewer resamples and swaps, since there are many comparisons."""
    monkeypatch.setattr(verdict, "MOST", 999)
    monkeypatch.setattr(verdict, "LEAST", 999)


@pytest.mark.parametrize("cluster", [1, 10])
def test_nothing_is_rarely_taken_for_something(cluster):
    """Check that of 200 pairs of equally good answers at most 9 % are told apart (5 % and two
    standard errors), grouped errors or not; and that rows taken as independent mislead."""
    rng = np.random.default_rng(cluster)
    words, naive = [], []
    for _ in range(200):
        y, a, b, group = answers(rng, 400, (0.8, 0.8), cluster)
        words.append(judge(ACCURACY, y, a, b, group, seed=0).word)
        naive.append(judge(ACCURACY, y, a, b, np.arange(400), seed=0).word)
    wrong = np.mean(np.array(words) != "noise")
    assert wrong <= 0.09
    assert cluster == 1 or np.mean(np.array(naive) != "noise") > 0.3


def test_a_real_gain_is_kept_and_a_real_loss_told():
    """Check both directions, and the direction of a metric where less is better."""
    y, a, b, group = answers(np.random.default_rng(0), 1000, (0.7, 0.8))
    assert judge(ACCURACY, y, a, b, group, 0).word == "keep"
    assert judge(ACCURACY, y, b, a, group, 0).word == "worse"
    loss = get_metric("log_loss", "multiclass")
    of_a, of_b = (0.7 * np.eye(3)[answer] + 0.1 for answer in (a, b))
    found = judge(loss, y, of_a, of_b, group, 0)
    assert found.word == "keep" and found.gain.difference > 0 and found.rows_needed is None


def test_interval_and_p_value_have_to_agree():
    """Check that one of both alone makes no verdict."""
    for gain, p, word in (
        (Gain(0.02, 0.005, 0.01, 0.03, 9), 0.01, "keep"),
        (Gain(0.02, 0.005, 0.01, 0.03, 9), 0.06, "noise"),
        (Gain(0.02, 0.005, -0.01, 0.05, 9), 0.01, "noise"),
        (Gain(-0.02, 0.005, -0.03, -0.01, 9), 0.01, "worse"),
        (Gain(-0.02, 0.005, -0.03, -0.01, 9), 0.05, "noise"),
    ):
        assert Verdict(gain, p, 9, None).word == word


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.00004, "+0.0000"), (-0.0, "+0.0000"), (-0.00006, "-0.0001"), (1, "+1.0000")],
)
def test_what_rounds_to_nothing_is_not_negative(value, text):
    """Check the sign of small differences."""
    assert signed(value) == text


def test_rows_needed():
    """Check that with that many rows of the same kind the interval begins at 0."""
    y, a, b, _ = answers(np.random.default_rng(4), 500, (0.80, 0.81))
    gain = paired_interval(ACCURACY, y, a, b, n_resamples=4000)
    needed = rows_needed(500, gain)
    assert judge(ACCURACY, y, a, b, np.arange(500), 0).rows_needed == pytest.approx(needed, rel=0.3)
    times = round(needed / 500)
    more = paired_interval(ACCURACY, *(np.tile(v, times) for v in (y, a, b)), n_resamples=1000)
    assert gain.low < 0 < gain.difference and times > 1
    assert more.low == pytest.approx(0, abs=more.se / 3)


def test_the_order_of_rows_does_not_matter():
    """Check that rows in another order, with their groups, are judged to the same last digit."""
    y, a, b, _ = answers(np.random.default_rng(5), 300, (0.7, 0.72))
    ids = np.array([f"{i:04d}" for i in range(300)])
    rows = np.random.default_rng(6).permutation(300)
    first = judge(ACCURACY, y, a, b, ids, 3)
    assert judge(ACCURACY, y[rows], a[rows], b[rows], ids[rows], 3) == first


def test_how_many_resamples(tmp_path, monkeypatch):
    """Check that there are 5,000 where sums make them cheap, and fewer where rows are sorted, where
    they are very many, and where each takes a call."""
    monkeypatch.undo()
    y = np.arange(2000) % 2
    assert draws(ACCURACY, y, np.arange(2000), 2000) == 5000
    assert draws(ACCURACY, y, np.arange(1_000_000), 1_000_000) == 1000
    auc = get_metric("auc_macro", "multiclass")
    assert draws(auc, y, np.arange(2000), 2000 * 2) == 5000
    assert draws(auc, y, np.arange(2000), 2000 * 20) == 1562
    assert draws(auc, y, np.arange(2000), 20_000 * 100) == 500
    path = tmp_path / "cost.py"
    path.write_text("def score(y, answer):\n    return float((y == answer).mean())\n")
    assert draws(custom_metric(path, "multiclass"), y, np.arange(2000), 2000) == 300
