"""The majority answer: scikit-learn's dummy, fold by fold."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score

from pipeline.submission.floor import NAME, majority
from pipeline.submission.standings import Standing, cost_per_point


def test_majority_is_the_dummy_of_scikit_learn(make_tiny):
    """Check honest and in-sample accuracy against the most frequent class of each training part."""
    tiny = make_tiny(rows=45)
    tiny.edit("train", lambda t: t.assign(label=["cat"] * 19 + ["dog"] * 16 + ["owl"] * 10))
    data, folds = tiny.data, tiny.folds()
    found = majority(data, folds)
    answers = np.zeros_like(data.labels)
    for number in folds.numbers:
        train, valid = folds.train_rows(number), folds.valid_rows(number)
        dummy = DummyClassifier(strategy="most_frequent")
        dummy.fit(np.zeros((len(train), 1)), data.labels[train])
        answers[valid] = dummy.predict(np.zeros((len(valid), 1)))
    assert found.honest == pytest.approx(accuracy_score(data.labels, answers))
    assert found.in_sample == pytest.approx(19 / 45)
    assert 0 < found.honest_se < 0.2


def test_majority_of_several_labels(make_tiny):
    """Check that a label that most rows have is answered everywhere, and the others nowhere."""
    tiny = make_tiny(task="multilabel", metric="subset_accuracy", rows=40)
    tiny.edit("train", lambda t: t.assign(cat=1, dog=0, owl=[1] * 4 + [0] * 36))
    found = majority(tiny.data, tiny.folds())
    assert found.honest == pytest.approx(0.9) and found.in_sample == pytest.approx(0.9)


def test_leaderboard_shows_it_below_the_runs(tiny, podium):
    """Check the row of the leaderboard, and that without a run there is no table."""
    tiny.folds()
    assert NAME not in podium(tiny.root, "leaderboard", "--comp", "tiny").out
    tiny.fake_run("good", skill=3.0)
    lines = podium(tiny.root, "leaderboard", "--comp", "tiny").out.splitlines()
    named = [line.split("  ")[0] for line in lines]
    assert named.index("good") < named.index(NAME)


def standing(name: str, honest: float, seconds: float) -> Standing:
    return Standing(name, honest, honest, 0.01, seconds, "-", "-", None, "")


def test_cost_of_a_point():
    """Check the frontier by hand: what is dearer and worse costs nothing sensible, and is left out;
    where a lower score is better, the gain is its fall."""
    rows = [
        standing("fine-tuned", 0.85, 1100),
        standing("frozen", 0.75, 100),
        standing("wasted", 0.70, 500),
        standing("majority", 0.15, 0),
    ]
    assert cost_per_point(rows, 1) == pytest.approx({"frozen": 100 / 60, "fine-tuned": 100.0})
    losses = [standing("a", 0.9, 10), standing("b", 0.5, 50)]
    assert cost_per_point(losses, -1) == pytest.approx({"b": 1.0})
    assert cost_per_point([], 1) == {}
