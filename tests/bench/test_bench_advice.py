"""What the benchmark advises, on scores and differences that are known."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.bench.advice import Answers, advice
from pipeline.bench.front import pareto_front
from pipeline.bench.rows import Row
from pipeline.ensemble.answers import load_answers
from pipeline.ensemble.build import open_decided
from pipeline.metrics import Gain, paired_difference


def row(name: str, ms: float, honest: float | None, kind="from scratch", seconds=10.0) -> Row:
    scores = honest, 0.01, honest
    times = ms, ms, 5 * ms, 0.1, 0.0, 1.0
    return Row(name, kind, "lenet", "16", 1, 1, 5, *scores, *times, 100, 100, 0.1, seconds)


def advised(*rows: Row, sign=1, noise=0.0) -> list[str]:
    """Return the advice where a difference has an interval of `noise` to both sides."""
    scored = [one for one in rows if one.honest is not None]
    scores = sign * np.array([one.honest for one in scored])
    front = pareto_front(np.array([one.ms_32 for one in scored]), scores)
    best = {one.name for one, is_best in zip(scored, front, strict=True) if is_best}
    honest = {one.name: one.honest for one in rows}

    def pair(first: str, second: str) -> Gain:
        gain = sign * (honest[second] - honest[first])
        return Gain(gain, noise / 2, gain - noise, gain + noise, 1000)

    return advice([replace(one, front=one.name in best) for one in rows], sign, pair)


ROWS = row("slow", 30, 0.95), row("middle", 10, 0.94), row("fast", 1, 0.80)


@pytest.mark.parametrize(
    ("noise", "begins"),
    [
        (0.02, "take middle where time counts: it is not told apart from slow"),
        (0.2, "take fast where time counts: it is not told apart from slow"),
        (0.001, "take slow where the score counts: the nearest faster one, middle, takes a third"),
    ],
)
def test_the_fastest_that_is_not_told_from_the_best(noise, begins):
    """Check that noise decides how fast a network may be taken, and that all is named."""
    (said,) = advised(*ROWS, noise=noise)
    assert said.startswith(begins)
    if noise == 0.02:
        assert "(-0.0100 ± 0.0100; 95 % of a paired bootstrap" in said and "a third of" in said


def test_lower_scores_can_be_better():
    """Check that of losses the lowest is best, and the nearest one within noise is taken."""
    rows = row("slow", 30, 0.20), row("fast", 1, 0.21), row("bad", 0.5, 0.9)
    (said,) = advised(*rows, sign=-1, noise=0.05)
    assert said.startswith("take fast where time counts: it is not told apart from slow")


def test_who_is_best_and_fastest_needs_no_comparison():
    """Check the sentence of a run that nothing beats, and of equal scores, where speed decides."""
    (said,) = advised(row("best", 1, 0.9), row("other", 2, 0.8))
    assert said.startswith("take best: it scores best, and no other is faster")
    (said,) = advised(row("slow", 9, 0.9), row("quick", 1, 0.9))
    assert said.startswith("take quick: ")


def test_one_score_says_nothing():
    """Check that a single run, or untrained architectures beside it, get no advice."""
    assert advised(row("a", 1, 0.9), row("lenet", 2, None, "not trained")) == []


def test_fine_tuning_is_priced_against_frozen_features():
    """Check what .01 of score costs: 100 s more for .04 are 25 s a point."""
    frozen = row("f", 5, 0.80, "frozen", 20.0), row("weak", 5, 0.70, "frozen", 1.0)
    tuned = row("t", 5, 0.84, "fine-tuned", 120.0)
    said = advised(*frozen, tuned, noise=0.01)[-1]
    assert "t, fine-tuned at 16 px, against f, frozen at 16 px: +0.0400 ± 0.0050" in said
    assert said.endswith("for 100 s more of training: 25.0 s per .01")
    said = advised(*frozen, tuned, noise=0.1)[-1]
    assert "which may be luck" in said
    worse = advised(*frozen, row("t", 5, 0.78, "fine-tuned", 120.0))[-1]
    assert worse.endswith("-0.0200 ± 0.0000, for +100 s of training")
    cheaper = advised(*frozen, row("t", 5, 0.84, "fine-tuned", 5.0))[-1]
    assert cheaper.endswith("in 15 s less of training")


def test_pairs_are_compared_by_honest_answers(make_tiny):
    """Check the difference and its error against the bootstrap of the answers themselves."""
    tiny = make_tiny()
    tiny.fake_run("a")
    tiny.fake_run("b", skill=2.0)
    data, folds = tiny.data, tiny.folds()
    answers = [load_answers(open_decided(data, folds, name), data, folds) for name in "ab"]
    gain = Answers(data, folds)("a", "b")
    score = data.metric.score
    assert gain.difference == score(data.labels, answers[1]) - score(data.labels, answers[0]) > 0
    _, se = paired_difference(data.metric, data.labels, *answers, n_resamples=4000)
    assert gain.se == pytest.approx(se, rel=0.15)
