"""What was changed, which pictures were fixed and broken, and what is mistaken for what."""

import csv
from math import comb

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, fbeta_score, recall_score

from pipeline.compare.changes import Change, changes, in_a_line
from pipeline.compare.confusions import class_scores, confusions, label_errors
from pipeline.compare.pictures import KINDS, Pictures
from pipeline.config.recipe import LATER, Recipe
from pipeline.metrics import get_metric

CLASSES = ("cat", "dog", "owl", "yak")


def decided(rule="argmax", blend="mean", **members: float) -> dict:
    found = [{"name": name, "weight": weight} for name, weight in members.items()]
    parts = {"calibration": {"kind": "none"}, "rule": {"kind": rule, "values": []}}
    return {"members": found, "blend": blend, **parts}


def labels(task: str, n: int = 300, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return labels and two answers that know something of them."""
    rng = np.random.default_rng(seed)
    if task == "multilabel":
        y = (rng.random((n, 4)) < 0.4).astype(np.int8)
        return y, *(y ^ (rng.random((n, 4)) < p).astype(np.int8) for p in (0.2, 0.1))
    y = rng.integers(0, 4, n)
    return y, *(np.where(rng.random(n) < p, y, rng.integers(0, 4, n)) for p in (0.6, 0.7))


def test_recipe_keys_that_differ():
    """Check that keys of the science are told and those of the machine are not, and that a key
    which an old recipe lacks is what its lack means."""
    before = Recipe().model_dump(mode="json")
    after = Recipe.model_validate(
        {"model": {"arch": "lenet"}, "image": {"size": 96}, "runtime": {"threads": 1}}
    ).model_dump(mode="json")
    old = {key: dict(value) for key, value in before.items() if isinstance(value, dict)}
    for section, absent in LATER.items():
        if isinstance(absent, dict) and section in old:
            old[section] = {k: v for k, v in old[section].items() if k not in absent}
    sides = (decided(a=1.0), decided(b=1.0))
    found = changes({"recipe": before}, {"recipe": after}, sides)
    size = before["image"]["size"]
    assert found == [
        Change("image.size", str(size), "96"),
        Change("model.arch", "''", "lenet"),
    ]
    assert in_a_line(found) == f"image.size {size}->96, model.arch ''->lenet"
    assert changes({"recipe": old}, {"recipe": before}, sides) == []
    assert in_a_line([]) == "nothing that is recorded"


def test_members_that_differ():
    """Check members added, removed and weighed otherwise, the blend and the kind of rule."""
    before = decided(a=0.5, b=0.5)
    after = decided("multipliers", "greedy", a=0.5, b=0.2, c=0.3)
    found = changes({}, {}, (before, after))
    assert [str(change) for change in found] == [
        "b 0.500->0.200",
        "+c",
        "blend mean->greedy",
        "rule argmax->multipliers",
    ]
    assert in_a_line([*found, found[0]]).endswith("rule argmax->multipliers and 1 more")
    back = changes({"recipe": {}}, {}, (after, before))
    assert "-c" in map(str, back)


def test_members_of_a_stacking_have_no_weights():
    """Check that who came and went is told, and no weight, nor where a record holds none."""
    stacked = decided(blend="stacking", a=0.125, b=0.125)
    found = changes({}, {}, (decided(a=0.9, c=0.1), stacked))
    assert found[:2] == [Change("b", "", "in"), Change("c", "0.100", "")]
    assert [change.key for change in found[2:]] == ["blend"]
    stacked["members"] = [line | {"weight": None} for line in stacked["members"]]
    assert changes({}, {}, (decided(a=0.9, c=0.1), stacked)) == found


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_pictures(task, tmp_path):
    """Check counts against a loop, McNemar against its sum, and the rows of the table."""
    y, a, b = labels(task)
    ids = np.array([f"p{i:03d}" for i in range(len(y))])
    pictures = Pictures(ids, CLASSES, y, a, b)
    pairs = [(np.array_equal(a[i], y[i]), np.array_equal(b[i], y[i])) for i in range(len(y))]
    expected = {"fixed": (False, True), "broken": (True, False), "still wrong": (False, False)}
    expected["both right"] = (True, True)
    assert pictures.counts() == {kind: pairs.count(pair) for kind, pair in expected.items()}
    fixed, broken = pairs.count((False, True)), pairs.count((True, False))
    tail = sum(comb(fixed + broken, k) for k in range(min(fixed, broken) + 1))
    assert pictures.mcnemar() == pytest.approx(2 * tail / 2 ** (fixed + broken))
    pictures.write(tmp_path / "out.csv")
    with open(tmp_path / "out.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["id", "actual", "a", "b", "kind"]
    assert len(rows) == len(y) - pictures.counts()["both right"]
    for row in rows:
        at = int(row["id"][1:])
        assert pairs[at] == expected[row["kind"]]
        for column, values in (("actual", y), ("a", a), ("b", b)):
            named = CLASSES[values[at]] if task == "multiclass" else row[column]
            assert row[column] == named
            if task == "multilabel":
                names = [n for n, one in zip(CLASSES, values[at], strict=True) if one]
                assert row[column] == "; ".join(names)
    assert [row["kind"] for row in rows] == sorted((r["kind"] for r in rows), key=KINDS.index)
    assert pictures.first("fixed", 2) == [r["id"] for r in rows if r["kind"] == "fixed"][:2]
    assert Pictures(ids, CLASSES, y, y, y).mcnemar() == 1


def test_single_labels():
    """Check that labels are counted cell by cell."""
    y, a, b = labels("multilabel")
    counts = Pictures(np.arange(300).astype(str), CLASSES, y, a, b).label_counts()
    assert counts["fixed"] == sum(
        a[i, j] != y[i, j] == b[i, j] for i in range(300) for j in range(4)
    )
    assert sum(counts.values()) == 1200
    assert counts["broken"] + counts["still wrong"] == (b != y).sum()


def test_confusions():
    """Check counts and order against scikit-learn's matrix, also of confusions in one alone."""
    y, a, b = labels("multiclass")
    b[a == 3] = y[a == 3]  # nothing more is taken for a yak by mistake
    matrices = [confusion_matrix(y, answer) for answer in (a, b)]
    found = confusions(y, a, b, CLASSES)
    for one in found:
        cell = CLASSES.index(one.actual), CLASSES.index(one.answered)
        assert cell[0] != cell[1]
        assert (one.before, one.after) == tuple(matrix[cell] for matrix in matrices)
    larger = np.maximum(*matrices)[~np.eye(4, dtype=bool)]
    assert [max(c.before, c.after) for c in found] == sorted(larger, reverse=True)[:10]
    assert confusions(y, y, y, CLASSES) == []


def test_label_errors():
    """Check false positives and negatives against a loop, most first, and labels without any."""
    y, a, b = labels("multilabel")
    a[:, 2] = b[:, 2] = y[:, 2]
    found = label_errors(y, a, b, CLASSES)
    assert sorted(one.name for one in found) == ["cat", "dog", "yak"]
    for one in found:
        column = CLASSES.index(one.name)
        for side, answer in enumerate((a, b)):
            matrix = confusion_matrix(y[:, column], answer[:, column])
            assert (one.wrong[side], one.missed[side]) == (matrix[0, 1], matrix[1, 0])
    worst = [max(w + m for w, m in zip(one.wrong, one.missed, strict=True)) for one in found]
    assert worst == sorted(worst, reverse=True)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_classes_that_changed(task):
    """Check the scores of classes against scikit-learn, largest change first, no others."""
    y, a, b = labels(task)
    if task == "multilabel":
        b[:, 1] = a[:, 1]
    for name, label, score in (
        ("f1_macro", "F1", f1_score),
        ("f2_macro", "F2", lambda *x, **more: fbeta_score(*x, beta=2, **more)),
        ("balanced_accuracy", "recall", recall_score),
    ):
        if (name, task) == ("balanced_accuracy", "multilabel"):
            continue
        by, found = class_scores(get_metric(name, task), y, a, b, CLASSES)
        assert by == label and len(found) == (4 if task == "multiclass" else 3)
        for one in found:
            at = CLASSES.index(one.name)
            assert one.before == pytest.approx(score(y, a, average=None)[at])
            assert one.after == pytest.approx(score(y, b, average=None)[at])
            assert one.rows == (y == at).sum() if task == "multiclass" else y[:, at].sum()
        sizes = [abs(one.after - one.before) for one in found]
        assert sizes == sorted(sizes, reverse=True)
