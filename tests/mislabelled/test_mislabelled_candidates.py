"""Label-error candidates: scores and flags against cleanlab and brute force; planted errors."""

import csv
import shutil
from itertools import combinations

import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
from cleanlab.rank import get_label_quality_scores
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.hashing import stable_int
from pipeline.ensemble.build import build_ensemble
from pipeline.errors import PodiumError
from pipeline.mislabelled import candidates, report_parts, write_table
from pipeline.mislabelled.evidence import Evidence, gather
from pipeline.mislabelled.scoring import cleanlab_quality, flags, quality
from pipeline.mislabelled.twins import conflicting_twins
from pipeline.show import parts

CLASSES = ("cat", "dog", "owl")
PLANTED = (3, 8, 20)


def plant(tiny, rows=PLANTED):
    """Name wrong labels as corrections, and return the right ones, (n,) or (n, c)."""
    right = tiny.data.labels
    lines = []
    for row in rows:
        name = tiny.data.train.ids[row]
        if right.ndim == 1:
            lines.append([name, CLASSES[(right[row] + 1) % 3]])
        else:
            lines.append([name, "dog", 1 - right[row, 1]])
    header = ["id", "corrected"] if right.ndim == 1 else ["id", "class", "corrected"]
    with open(tiny.root / "data" / "tiny" / "planted.csv", "w", newline="") as handle:
        csv.writer(handle).writerows([header, *lines])
    tiny.configure(corrections="planted.csv")
    return right


def knowing(tiny, name, right, doubt=0.1):
    """Write a run that knows the right labels, a little less surely the later a row comes."""
    rng = np.random.default_rng(stable_int(name))
    hot = np.eye(3)[right] if right.ndim == 1 else right.astype(float)
    noise = doubt * rng.random(hot.shape)
    probs = hot * (1 - noise) + (1 - hot) * noise
    if right.ndim == 1:
        probs /= probs.sum(axis=1, keepdims=True)
    tiny.fake_run(name, probs={"oof": probs})


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_planted_errors_come_first(make_tiny, task):
    """Check that wrong labels are the candidates, with the right suggestion, flag, votes and
    direction."""
    tiny = make_tiny(task=task, rows=60)
    tiny.folds()
    right = plant(tiny)
    for name in ("a", "b"):
        knowing(tiny, name, right)
    data = tiny.data
    found = candidates(data, tiny.folds())
    assert {one.id for one in found.rows} == {"003", "008", "020"}
    assert found.found == 3 and found.judged == data.labels.size
    assert found.flagged == sum(one.flagged for one in found.rows) > 0
    assert found.runs == ("a", "b") and found.source in ("a", "b")
    assert [one.score for one in found.rows] == sorted(one.score for one in found.rows)
    for one in found.rows:
        row = int(one.id)
        assert one.disagree == 2 and one.score < 0.2
        if task == "multiclass":
            assert (one.label, one.suggested) == (CLASSES[data.labels[row]], CLASSES[right[row]])
            assert f"2 of 2 runs answer {one.suggested}" in one.reason and not one.direction
        else:
            assert one.name == "dog" and one.suggested == str(right[row, 1])
            assert one.direction == ("missing" if right[row, 1] else "superfluous")
            assert one.direction in one.reason
    printed = " ".join(parts(report_parts(data, found, write_table(data, found))).split())
    assert (
        f"candidates: 3; cleanlab flags {found.flagged}" in printed
        and "label-errors.csv" in printed
    )


def test_the_table_is_a_table_of_corrections(make_tiny):
    """Check that candidates, filled in by their suggestions, give back the right labels."""
    tiny = make_tiny(rows=60)
    tiny.folds()
    right = plant(tiny)
    knowing(tiny, "a", right)
    written = write_table(tiny.data, candidates(tiny.data, tiny.folds()))
    with open(written.path, newline="") as handle:
        lines = list(csv.DictReader(handle))
    tail = ["label", "suggested", "score", "disagree", "flagged", "image", "reason", "corrected"]
    assert list(lines[0]) == ["id", *tail]
    for line in lines:
        assert line["label"] == CLASSES[right[int(line["id"])]]  # that of the competition's table
        line["corrected"] = line["suggested"]
    with open(written.path, "w", newline="") as handle:
        table = csv.DictWriter(handle, lines[0])
        table.writeheader()
        table.writerows(lines)
    tiny.configure(corrections="experiments/runs/tiny/label-errors.csv")
    assert tiny.data.labels.tolist() == right.tolist()


def evidence_of(rng, n=40, c=4, several=False):
    labels = rng.integers(0, 2, (n, c)) if several else rng.integers(0, c, n)
    hot = labels if several else np.eye(c)[labels]
    probs = np.clip(0.6 * hot + rng.random((n, c)) * 0.5, 0.01, 0.99)
    if not several:
        probs /= probs.sum(axis=1, keepdims=True)
    votes = rng.integers(0, 4, (n, c)) if several else rng.multinomial(3, np.ones(c) / c, n)
    return Evidence("x", np.arange(n), labels, probs, votes, ("a", "b", "c"))


@given(st.integers(0, 10_000))
def test_one_label_as_cleanlab(seed):
    """Check scores and flags against cleanlab's own, and the votes against counting."""
    one = evidence_of(np.random.default_rng(seed))
    wanted = get_label_quality_scores(one.labels, one.probs)
    np.testing.assert_allclose(quality(one), wanted)
    np.testing.assert_allclose(quality(one), [p[y] for p, y in zip(one.probs, one.labels)])  # noqa: B905
    np.testing.assert_array_equal(flags(one), find_label_issues(one.labels, one.probs, n_jobs=1))
    for row, label in enumerate(one.labels):
        assert one.agreement[row] == one.votes[row, label] / 3
        others = [k for k in np.argsort(-one.probs[row], kind="stable") if k != label]
        assert one.suggested[row] == others[0]


@given(st.integers(0, 10_000))
def test_several_labels_as_cleanlab(seed):
    """Check flags against cleanlab's multi-label function, scores against their definition."""
    one = evidence_of(np.random.default_rng(seed), several=True)
    names = [np.flatnonzero(row).tolist() for row in one.labels]
    wanted = find_multilabel_issues_per_class(names, one.probs, n_jobs=1)
    np.testing.assert_array_equal(flags(one), wanted)
    np.testing.assert_allclose(quality(one), np.where(one.labels, one.probs, 1 - one.probs))
    np.testing.assert_array_equal(one.suggested, 1 - one.labels)
    agree = np.where(one.labels == 1, one.votes, 3 - one.votes) / 3
    np.testing.assert_array_equal(one.agreement, agree)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    "method", ["self_confidence", "normalized_margin", "confidence_weighted_entropy"]
)
def test_every_method_is_a_score(method, several):
    """Check that cleanlab's methods give the labels' form and stay in 0..1."""
    one = evidence_of(np.random.default_rng(0), several=several)
    values = cleanlab_quality(one, method)
    assert values.shape == one.labels.shape
    assert values.min() >= 0 and values.max() <= 1


def test_a_class_that_all_have_is_not_flagged():
    """Check that a label of all rows, or of none, raises nothing and is not flagged."""
    one = evidence_of(np.random.default_rng(0), several=True)
    one.labels[:, 0], one.labels[:, 1] = 1, 0
    assert not flags(one)[:, :2].any()


def test_which_source_judges(make_tiny):
    """Check that the newest ensemble is taken, else the best run, and that one is named."""
    tiny = make_tiny(rows=60)
    folds = tiny.folds()
    tiny.fake_run("good", skill=4, oof_score=0.9)
    tiny.fake_run("bad", skill=0.5, oof_score=0.4)
    data = tiny.data
    assert gather(data, folds).source == "good"
    assert gather(data, folds, "bad").source == "bad"
    build_ensemble(data, folds, None, "both")
    both = gather(data, folds)
    assert both.source == "ensemble-both" and set(both.runs) == {"good", "bad"}
    np.testing.assert_allclose(both.probs.sum(axis=1), 1)
    with pytest.raises(PodiumError, match=r"FROM: .*nobody is not a run"):
        gather(data, folds, "nobody")


def test_without_a_run_on_these_labels(make_tiny):
    """Check that runs on other labels judge nothing, and that the error says so."""
    tiny = make_tiny(rows=60)
    tiny.folds()
    tiny.fake_run("old")
    plant(tiny)
    with pytest.raises(PodiumError, match=r"no finished run .*old: trained on other labels"):
        candidates(tiny.data, tiny.folds())
    with pytest.raises(PodiumError, match="FROM: old cannot judge labels: trained on other"):
        candidates(tiny.data, tiny.folds(), "old")


def test_most_runs_against_the_source(make_tiny):
    """Check that a label which the source believes is a candidate once more than half of all runs
    answer something else, and that the reason says what."""
    tiny = make_tiny(rows=60)
    folds = tiny.folds()
    labels = tiny.data.labels
    twice, once = labels.copy(), labels.copy()
    twice[[4, 9]] = (labels[[4, 9]] + 1) % 3
    once[4] = (labels[4] + 2) % 3
    for name, known in (("a", labels), ("b", twice), ("c", once)):
        knowing(tiny, name, known)
    (found,) = candidates(tiny.data, folds, "a").rows
    assert found.id == "004" and found.disagree == 2 and not found.flagged
    named = CLASSES[min((labels[4] + 1) % 3, (labels[4] + 2) % 3)]
    assert found.reason == f"2 of 3 runs answer something else, 1 of them {named}"


def test_duplicates_of_other_labels(make_tiny):
    """Check that the same picture under another label is a candidate though nobody disagrees."""
    tiny = make_tiny(rows=60, images=True)
    tiny.folds()
    data = tiny.data
    labels = data.labels
    first = 5
    second = int(np.flatnonzero(labels != labels[first])[0])
    folder = tiny.root / "data" / "tiny" / "images"
    names = [f"{row:03d}" for row in (first, second)]
    shutil.copy(folder / f"{names[0]}.png", folder / f"{names[1]}.png")
    knowing(tiny, "a", labels)
    found = {one.id: one for one in candidates(tiny.data, tiny.folds()).rows}
    assert found.keys() == set(names)
    for name, other in (names, names[::-1]):
        wanted = f"{other} (the same bytes) is labelled {CLASSES[labels[int(other)]]}"
        assert found[name].reason == wanted and not found[name].flagged


def test_twins_by_brute_force(make_tiny):
    """Check the duplicates of other labels against all pairs of pictures."""
    from pipeline.images.duplicates import kept_looks
    from pipeline.images.looks import looks_of

    tiny = make_tiny(rows=40, images=True)
    tiny.configure(duplicates={"distance": 32, "group": False})
    folder = tiny.root / "data" / "tiny" / "images"
    shutil.copy(folder / "000.png", folder / "001.png")
    data = tiny.data
    looks = looks_of(data.train.images, kept_looks(data.project, "tiny"))
    wanted = {}
    for i, j in combinations(range(40), 2):
        same = looks["content"][i] == looks["content"][j]
        bits = int(np.bitwise_count(looks["dhash"][i] ^ looks["dhash"][j]).sum())
        if (same or bits <= 32) and data.labels[i] != data.labels[j]:
            wanted.setdefault(i, set()).add(j)
            wanted.setdefault(j, set()).add(i)
    found = conflicting_twins(data)
    assert {row: {twin.row for twin in twins} for row, twins in found.items()} == wanted


def test_many_copies_of_one_picture(make_tiny):
    """Check that every one of a hundred equal pictures has a twin of each other label."""
    tiny = make_tiny(rows=100, images=True)
    folder = tiny.root / "data" / "tiny" / "images"
    one = (folder / "000.png").read_bytes()
    for path in folder.glob("*.png"):
        path.write_bytes(one)
    data = tiny.data
    found = conflicting_twins(data)
    assert sorted(found) == list(range(len(data.train)))
    for row, twins in found.items():
        assert {int(data.labels[twin.row]) for twin in twins} == {0, 1, 2} - {data.labels[row]}
        assert all(twin.distance == -1 for twin in twins)


def test_the_order_of_rows_decides_nothing(make_tiny):
    """Check that a shuffled table gives the same candidates in the same order."""
    tiny = make_tiny(rows=60)
    folds = tiny.folds()
    tiny.fake_run("a", skill=1.5)
    first = candidates(tiny.data, folds).rows
    tiny.edit("train", lambda table: table.sample(frac=1, random_state=0))
    again = candidates(tiny.data, tiny.folds()).rows
    assert first == again and len(first) > 5
