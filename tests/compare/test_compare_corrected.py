"""`make compare` of a run on the table's labels with one on corrected labels."""

import csv

import numpy as np
import pytest

from pipeline.compare import changed, compare, report_parts
from pipeline.compare.grounds import SETS, label_sets
from pipeline.compare.verdict import judge
from pipeline.ensemble.answers import load_answers
from pipeline.ensemble.build import build_ensemble, open_decided
from pipeline.ensemble.choice import Menu
from pipeline.errors import PodiumError
from pipeline.show import parts

ROWS = (2, 11, 40, 41, 57)


def correct(tiny, rows=ROWS):
    """Name corrections of some rows: the next class, or of several labels the second one turned."""
    labels, ids = tiny.data.uncorrected.labels, tiny.data.train.ids
    if labels.ndim == 1:
        lines = [[ids[row], tiny.data.classes[(labels[row] + 1) % 3]] for row in rows]
    else:
        lines = [[ids[row], "dog", 1 - labels[row, 1]] for row in rows]
    header = ["id", "corrected"] if labels.ndim == 1 else ["id", "class", "corrected"]
    with open(tiny.root / "data" / "tiny" / "fix.csv", "w", newline="") as handle:
        csv.writer(handle).writerows([header, *lines])
    tiny.configure(corrections="fix.csv")


@pytest.fixture(params=["multiclass", "multilabel"])
def mixed(make_tiny, request):
    """Make runs old and older on the table's labels, then new and newer on corrected ones."""
    tiny = make_tiny(task=request.param, rows=120)
    tiny.folds()
    tiny.fake_run("old", skill=1)
    tiny.fake_run("older", skill=2)
    correct(tiny)
    tiny.fake_run("new", skill=2)
    tiny.fake_run("newer", skill=2.5)
    return tiny


def answer_of(tiny, name, data):
    return load_answers(open_decided(data, tiny.folds(), name), data, tiny.folds())


def test_three_sets_of_labels(mixed):
    """Check every score and verdict against the metric and the test on labels chosen by hand, and
    that the verdict is that of the rows which no correction changed."""
    data, folds = mixed.data, mixed.folds()
    (made,) = compare(data, folds, ["old", "new"])
    record, found = made.record, made.record["labels"]
    now, before = data.labels, data.uncorrected.labels
    a, b = answer_of(mixed, "old", data.uncorrected), answer_of(mixed, "new", data)
    kept = np.setdiff1d(np.arange(120), ROWS)
    every = np.arange(120)
    seed = int(folds.hash[:8], 16)
    wanted = {"corrected": (every, now), "original": (every, before), "unchanged": (kept, now)}
    assert tuple(found["sets"]) == SETS == tuple(wanted)
    for name, (rows, labels) in wanted.items():
        one = found["sets"][name]
        scores = [data.metric.score(labels[rows], answer[rows]) for answer in (a, b)]
        assert one["scores"] == pytest.approx(scores) and one["rows"] == len(rows)
        groups = data.train.ids[rows]
        verdict = judge(data.metric, labels[rows], a[rows], b[rows], groups, seed)
        assert one["gain"] == verdict.to_json()
    assert record["gain"] == found["sets"]["unchanged"]["gain"]
    assert record["rows"] == len(kept) == 115 and found["rows"] == 120
    assert (found["before"], found["after"]) == ("original", "corrected")
    first = record["changes"][0]
    assert first == {"key": "labels", "before": "original", "after": "corrected"}
    with open(made.paths[0], newline="") as handle:
        told = {row["id"] for row in csv.DictReader(handle)}
    assert told and not told & {f"{row:03d}" for row in ROWS}


def test_what_is_printed(mixed):
    """Check that the report says which labels are whose, and what the verdict stands on."""
    data, folds = mixed.data, mixed.folds()
    made = compare(data, folds, ["old", "new", "older"])
    printed = " ".join(parts(report_parts(made)).split())
    for words in (
        "new was trained on corrected labels, the other on the table's; 5 of 120 validated rows",
        "all rows, corrected labels 120",
        "all rows, the table's labels 120",
        "rows whose label is unchanged 115",
        "labels original corrected",
        "old, older: trained on the table's labels, and scored by these",
    ):
        assert words in printed, words
    assert "labels original->corrected" in changed(data, folds, "old", "new")
    (back,) = compare(data, folds, ["new", "old"])
    assert back.record["gain"]["difference"] == -made[0].record["gain"]["difference"]
    assert "new was trained on corrected" in " ".join(parts(report_parts([back])).split())


def test_the_same_labels_are_compared_as_ever(mixed):
    """Check that two runs on the same labels, corrected or not, are judged by these on all rows."""
    data, folds = mixed.data, mixed.folds()
    (made,) = compare(data, folds, ["new", "newer"])
    assert "labels" not in made.record and made.record["rows"] == 120
    (old,) = compare(data, folds, ["old", "older"])
    assert old.record["rows"] == 120 and "sets" not in old.record["labels"]
    mixed.configure(corrections=None)
    (before,) = compare(mixed.data, folds, ["old", "older"])
    assert before.record["gain"] == old.record["gain"] and "labels" not in before.record


def test_groups_are_drawn_whole(mixed):
    """Check that the rows which stay keep their groups in the paired test."""
    mixed.edit("train", lambda t: t.assign(group=[f"g{i // 4}" for i in range(len(t))]))
    mixed.configure(columns=mixed.data.competition.columns.model_dump() | {"group": "group"})
    folds = mixed.folds(n_folds=4, fresh=True)
    mixed.fake_run("new", skill=2)
    fixes = mixed.data.competition.corrections
    mixed.configure(corrections=None)
    mixed.fake_run("old", skill=1)
    mixed.configure(corrections=fixes)
    (made,) = compare(mixed.data, folds, ["old", "new"])
    assert made.record["groups"] == 30 and made.record["rows"] == 115


def test_runs_of_other_labels_are_refused(mixed):
    """Check that a run on neither label set is refused, and says what was tried."""
    folds = mixed.folds()
    correct(mixed, (7,))
    with pytest.raises(PodiumError, match=r"new .* .neither the table's labels nor those"):
        compare(mixed.data, folds, ["old", "new"])
    mixed.configure(corrections=None)
    with pytest.raises(PodiumError, match="new cannot be compared: trained on other labels or ids"):
        compare(mixed.data, folds, ["old", "new"])


def test_ensembles_do_not_mix_labels(mixed):
    """Check that members on other labels are refused, and left out where nobody asked for them; an
    ensemble of the old labels can still be compared."""
    data, folds = mixed.data, mixed.folds()
    with pytest.raises(PodiumError, match="old cannot join: trained on other labels"):
        build_ensemble(data, folds, ["old", "new"])
    plain = Menu(("mean",), calibrations=("none",))
    made = build_ensemble(data, folds, None, "now", menu=plain)
    assert set(made.left_out) == {"old", "older"}
    build_ensemble(data.uncorrected, folds, ["old", "older"], "then", menu=plain)
    (one,) = compare(data, folds, ["ensemble-then", "ensemble-now"])
    assert one.record["labels"]["sets"]["unchanged"]["rows"] == 115


def test_corrections_of_every_row_leave_nothing(make_tiny):
    """Check that there is one line where no row keeps its label."""
    tiny = make_tiny(rows=12)
    rows = np.arange(12)
    correct(tiny, range(12))
    with pytest.raises(PodiumError, match="change the label of every validated row"):
        label_sets(tiny.data, rows)
