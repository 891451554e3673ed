"""Findings about labels, against pandas and counting by hand."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.audit.classes import EXPECTED, FREQUENT, IMPLIED, LIFT, RARE, SURE, class_findings


def by_name(tiny, folds=None) -> dict:
    return {f.name: f for f in class_findings(tiny.data, folds)}


def relabel(tiny, labels) -> None:
    tiny.edit("train", lambda t: t.assign(label=list(labels)))


def set_labels(tiny, hot: np.ndarray) -> None:
    """Write 0/1 labels (n, c) into the training table."""
    tiny.edit("train", lambda t: pd.DataFrame(hot, columns=t.columns[1:]).assign(id=t["id"]))


def lines(finding) -> dict[str, list[str]]:
    return {line[0]: line[1:] for line in finding.table[1:]}


def frame_of(data) -> pd.DataFrame:
    """Return a line for each row and class of it."""
    hot = np.eye(len(data.classes), dtype=int)[data.labels] if data.labels.ndim == 1 else None
    rows, classes = np.nonzero(data.labels if hot is None else hot)
    return pd.DataFrame({"row": rows, "class": np.array(data.classes)[classes]})


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("options", [{}, {"n_folds": 3, "test": 0.1}, {"n_folds": 1}])
def test_class_counts_are_those_of_a_crosstab(task, options, make_tiny):
    """Check rows, share and the span over folds against pandas, for every kind of folds."""
    tiny = make_tiny(task=task, rows=120, classes=5)
    data, folds = tiny.data, tiny.folds(**options)
    finding = by_name(tiny, folds)["class-counts"]
    frame = frame_of(data)
    frame["fold"] = folds.fold[frame["row"]]
    cross = pd.crosstab(frame["class"], frame["fold"])
    valid = cross[[k for k in cross.columns if k >= 0]]
    assert finding.table[0] == ["class", "rows", "share", "rows per fold"]
    for name, (rows, share, span) in lines(finding).items():
        total = cross.loc[name].sum()
        low, high = valid.loc[name].min(), valid.loc[name].max()
        assert rows == f"{total:,}" and share == f"{total / 120:.2%}"
        assert span == (f"{low}–{high}" if low < high else f"{low}")
    totals = [int(line[1]) for line in finding.table[1:]]
    assert totals == sorted(totals, reverse=True) and finding.count == 5
    assert (finding.level, finding.depends) == ("note", "data")


@pytest.mark.parametrize(("large", "level"), [(40, "note"), (41, "warn")])
def test_a_class_of_less_than_a_twentieth_warns(large, level, make_tiny):
    """Check 40 rows against 2, a twentieth, and 41, more."""
    tiny = make_tiny(rows=large + 2)
    relabel(tiny, ["cat"] * large + ["owl"] * 2)
    finding = by_name(tiny)["class-counts"]
    assert finding.level == level
    assert finding.says == f"2 classes: from 2 (owl) to {large} rows (cat)"
    assert finding.table[0] == ["class", "rows", "share"]


def test_rare_classes_are_named_the_rarest_first(make_tiny):
    """Check the limit, the order, the rows shown, and that rows only trained on do not count."""
    tiny = make_tiny(rows=60)
    relabel(tiny, ["cat"] * 30 + ["dog"] * RARE + ["owl"] * 17 + ["fox"] * 3)
    tiny.edit("train", lambda t: t.assign(extra=[int(40 <= i < 50) for i in range(60)]))
    tiny.configure(columns={"id": "id", "label": "label", "train_only": "extra"})
    found = by_name(tiny)
    rare = found["rare-classes"]
    assert (rare.level, rare.count) == ("warn", 2)
    assert [item["title"] for item in rare.items] == [
        "fox: 3 rows",
        "owl: 7 rows and 10 only trained on",
    ]
    assert rare.items[0]["rows"] == ["057", "058", "059"]
    assert (found["train-only"].level, found["train-only"].count) == ("note", 10)
    assert "10 of 60" in found["train-only"].says


def test_as_many_rows_as_folds_are_asked_for(make_tiny):
    """Check that with 14 folds a class of 13 rows is rare, and of 14 is not."""
    tiny = make_tiny(rows=67)
    relabel(tiny, ["cat"] * 40 + ["dog"] * 14 + ["owl"] * 13)
    (item,) = by_name(tiny, tiny.folds(n_folds=14))["rare-classes"].items
    assert item["title"] == "owl: 13 rows"


def expected_missing(data, folds) -> set[tuple[str, str]]:
    """Return what each fold lacks, counted row by row."""
    lacking = set()
    for name in data.classes:
        mine = data.labels == data.classes.index(name)
        for k in folds.numbers:
            if not any(mine[i] for i in folds.valid_rows(k)):
                lacking.add((f"fold {k} validates no row of", name))
            if not any(mine[i] for i in folds.train_rows(k)):
                lacking.add((f"fold {k} trains on no row of", name))
        if len(folds.test_rows) and not mine[folds.test_rows].any():
            lacking.add(("fold -2 (local test) has no row of", name))
    return lacking


@pytest.mark.parametrize("options", [{}, {"n_folds": 3, "test": 0.1}, {"n_folds": 1}])
def test_classes_missing_in_folds_are_named_per_fold(options, make_tiny):
    """Check against counting: what a fold does not validate, and what it does not train on."""
    tiny = make_tiny(rows=60)
    relabel(tiny, ["cat"] * 40 + ["dog"] * 16 + ["owl"] * 3 + ["fox"])
    data, folds = tiny.data, tiny.folds(**options)
    finding = by_name(tiny, folds)["classes-missing-in-folds"]
    told = set()
    for item in finding.items:
        words, _, names = item["title"].partition(" of ")
        told |= {(f"{words} of", name) for name in names.split(", ")}
    assert told == expected_missing(data, folds) and told
    assert (finding.level, finding.depends) == ("warn", "folds")
    assert finding.count == len({name for _, name in told})


def test_even_classes_are_fine(tiny):
    """Check that classes of 14 rows are neither rare nor missing, and that without folds nothing is
    said of them."""
    found = by_name(tiny, tiny.folds())
    assert found["rare-classes"].level == found["classes-missing-in-folds"].level == "fine"
    assert not found["rare-classes"].items and not found["classes-missing-in-folds"].items
    assert "classes-missing-in-folds" not in by_name(tiny)
    assert not {"co-occurrence", "unlabelled-images"} & set(found)  # of several labels


def test_folds_of_other_rows_are_refused(make_tiny):
    """Check that folds which are not those of the rows are a bug that is raised."""
    folds = make_tiny(folder="other", rows=30).folds()
    with pytest.raises(ValueError, match="not those of"):
        class_findings(make_tiny().data, folds)


def test_labels_per_image_are_counted(make_tiny):
    """Check the table against pandas, and the pictures without a label by their ids."""
    tiny = make_tiny(task="multilabel", rows=80, classes=4)
    found, hot = by_name(tiny), tiny.data.labels
    counts = pd.Series(hot.sum(axis=1)).value_counts().sort_index()
    table = lines(found["labels-per-image"])
    assert {k: v[0] for k, v in table.items()} == {str(k): str(v) for k, v in counts.items()}
    assert found["labels-per-image"].count == (hot.sum(axis=1) > 1).sum()
    none = found["unlabelled-images"]
    ids = tiny.data.train.ids[hot.sum(axis=1) == 0].tolist()
    assert [item["rows"] for item in none.items] == [[name] for name in ids]
    assert none.count == len(ids) > 0 and none.level == "note"


@pytest.mark.parametrize(("empty", "level"), [(0, "fine"), (1, "note"), (20, "note"), (21, "warn")])
def test_more_than_half_without_a_label_warns(empty, level, make_tiny):
    """Check the level by how many of 40 pictures have none."""
    tiny = make_tiny(task="multilabel", rows=40)
    hot = np.ones((40, 3), int)
    hot[:empty] = 0
    set_labels(tiny, hot)
    finding = by_name(tiny)["unlabelled-images"]
    assert (finding.level, finding.count) == (level, empty)


def pairs_by_hand(hot: np.ndarray, names: tuple[str, ...]) -> dict[str, set[str]]:
    """Return the telling pairs of frequent labels by looking at every pair of columns."""
    told = {"implies": set(), "together": set(), "never": set()}
    for i, j in combinations(range(hot.shape[1]), 2):
        if hot[:, i].sum() > hot[:, j].sum():
            i, j = j, i
        a, b = hot[:, i].sum(), hot[:, j].sum()
        both, chance = (hot[:, i] & hot[:, j]).sum(), a * b / len(hot)
        if a < FREQUENT:
            continue
        if both >= IMPLIED * a:
            told["implies"].add(f"{names[i]} → {names[j]}")
        elif both and both >= LIFT * chance and both - chance >= SURE * chance**0.5:
            told["together"].add(f"{names[i]}, {names[j]}")
        elif not both and chance > EXPECTED:
            told["never"].add(f"{names[i]}, {names[j]}")
    return told


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12, deadline=None
)
@given(seed=st.integers(0, 10**6), rate=st.floats(0.15, 0.6))
def test_co_occurrence_is_that_of_every_pair(seed, rate, make_tiny):
    """Check pairs against looking at every two columns, with one that implies another, one that
    never comes with it, and two that are the same."""
    rng = np.random.default_rng(seed)
    hot = (rng.random((200, 6)) < rate).astype(int)
    hot[:, 1] |= hot[:, 0]  # the first implies the second
    hot[:, 2] &= 1 - hot[:, 1]  # never with it
    hot[:, 5] = hot[:, 4]  # one label twice
    tiny = make_tiny(folder=f"{seed}-{rate}", task="multilabel", rows=200, classes=6)
    set_labels(tiny, hot)
    found = by_name(tiny)
    told = {"implies": set(), "together": set(), "never": set()}
    for pair, what, both, chance, _, _ in found["co-occurrence"].table[1:]:
        told[what].add(pair)
        i, j = (tiny.data.classes.index(n) for n in pair.replace(" → ", ", ").split(", "))
        assert both == f"{(hot[:, i] & hot[:, j]).sum():,}"
        assert chance == f"{hot[:, i].sum() * hot[:, j].sum() / 200:,.1f}"
    expected = pairs_by_hand(hot, tiny.data.classes)
    same = {"class-4 → class-5", "class-5 → class-4"}
    assert {k: v - same for k, v in told.items()} == {k: v - same for k, v in expected.items()}
    assert found["co-occurrence"].count == sum(map(len, expected.values()))
    (item,) = found["always-together"].items
    assert item["title"].startswith("class-4, class-5: ") and found["always-together"].count == 2
    assert found["always-together"].level == "warn"


def test_labels_of_their_own_are_fine(make_tiny):
    """Check that independent labels give neither twins nor telling pairs."""
    tiny = make_tiny(task="multilabel", rows=400)
    set_labels(tiny, np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(400)]))
    found = by_name(tiny)
    for name in ("always-together", "co-occurrence"):
        assert (found[name].level, found[name].count) == ("fine", 0)
        assert not found[name].items and not found[name].table


def test_a_label_that_no_row_has_is_rare_and_nobodys_twin(make_tiny):
    """Check labels without rows: named once, and not taken for the same label."""
    tiny = make_tiny(task="multilabel", rows=40, classes=5)
    hot = np.zeros((40, 5), int)
    hot[:, 0], hot[::2, 1] = 1, 1
    set_labels(tiny, hot)
    found = by_name(tiny, tiny.folds())
    titles = [item["title"] for item in found["rare-classes"].items]
    assert titles == ["owl: 0 rows", "class-3: 0 rows", "class-4: 0 rows"]
    assert found["rare-classes"].items[0]["rows"] == []
    assert found["always-together"].count == found["classes-missing-in-folds"].count == 0


def test_weights_are_told_by_their_range(make_tiny):
    """Check range, median and how many weigh nothing; without weights it is fine."""
    tiny = make_tiny()
    assert by_name(tiny)["weights"].level == "fine"
    tiny.edit("train", lambda t: t.assign(w=["0", "0.5", "3", *["1"] * 39]))
    tiny.configure(columns={"id": "id", "label": "label", "weight": "w"})
    finding = by_name(tiny)["weights"]
    assert (finding.level, finding.count) == ("note", 3)
    assert finding.says == "weights of rows: 0 to 3, median 1; 1 of them 0"
