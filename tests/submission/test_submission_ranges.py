"""Scores by hand: public and private, within what the metric can be."""

import math

import numpy as np
import pytest

from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.metrics import get_metric, metric_names
from pipeline.submission import Entry, Ledger, rows, set_score
from pipeline.submission.ranges import score_range

TASKS = ("multiclass", "multilabel")
NAMES = [(name, task) for task in TASKS for name in metric_names(task)]


@pytest.fixture
def project(tmp_path) -> Project:
    project = Project(tmp_path)
    entry = Entry(1, "2026-01-01T00:00:00+00:00", "a.csv", "ff", "a", note="argmax")
    Ledger(project.ledger("tiny"), (entry,)).save()
    return project


@pytest.mark.parametrize(("name", "task"), NAMES)
def test_every_metric_stays_within_its_range(name, task):
    """Check the best, the worst and random answers of every metric against its range."""
    rng, metric = np.random.default_rng(0), get_metric(name, task)
    low, high = score_range(name)
    for trial in range(20):
        y = rng.permutation(np.arange(30) % 3)
        if task == "multilabel":
            y = (rng.random((30, 3)) < 0.5).astype(np.int8)
            y[y.sum(axis=1) == 0, 0] = 1  # a row without labels counts 0, whatever is answered
        hot = np.eye(3)[y] if task == "multiclass" else y
        wrong = np.roll(hot, 1, axis=1) if task == "multiclass" else 1 - y
        probs = (hot, wrong, rng.dirichlet(np.ones(3), 30))[min(trial, 2)]
        labels = probs.argmax(1) if task == "multiclass" else (probs > 0.4).astype(np.int8)
        score = metric.score(y, probs if metric.needs == "probs" else labels)
        assert low - 1e-12 <= score <= high + 1e-12
        if trial == 0:
            best = low if not metric.greater_is_better else high
            assert score == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize(
    ("metric", "score", "words"),
    [
        ("accuracy", 74.05, r"SCORE is 74\.05, but accuracy lies from 0 to 1; give 0\.7405"),
        ("f1_macro", -0.1, "f1_macro lies from 0 to 1; give the score as the competition's page"),
        ("qwk", -93, r"qwk lies from -1 to 1; give -0\.93"),
        ("log_loss", -0.5, "log_loss lies 0 or more; give the score"),
    ],
)
def test_a_score_that_cannot_be(project, metric, score, words):
    """Check that a percentage, or a wrong sign, is refused with the score that was meant."""
    with pytest.raises(PodiumError, match=words):
        set_score(project, "tiny", public=score, metric=metric)
    with pytest.raises(PodiumError, match=words.replace("SCORE", "PRIVATE")):
        set_score(project, "tiny", private=score, metric=metric)
    assert rows(project, "tiny")[0].note == "argmax"


@pytest.mark.parametrize("metric", ["cost.py", "", "log_loss"])
def test_a_range_without_end(project, metric):
    """Check that a metric of one's own can be anything, and a log loss large."""
    assert set_score(project, "tiny", public=74.05, metric=metric).public == "74.05"
    assert score_range("cost.py") == (-math.inf, math.inf)


def test_public_and_private_by_hand(project):
    """Check that both are entered, together or one after the other, and noted once."""
    set_score(project, "tiny", public=0.7405, metric="accuracy")
    set_score(project, "tiny", private=0.731, metric="accuracy")
    entry = set_score(project, "tiny", public=0.74, private=0.73)
    assert (entry.public, entry.private, entry.note) == ("0.74", "0.73", "argmax; by hand")
