"""`make compare` from runs on disk to the printed tables, and what it refuses."""

import csv
import json
from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.artifacts.columns import shortened
from pipeline.artifacts.files import file_hash
from pipeline.compare import changed, compare, report_parts
from pipeline.compare.pictures import KINDS
from pipeline.compare.report import _ids
from pipeline.ensemble.answers import ANSWERS, load_answers, save_answers
from pipeline.ensemble.build import Decided, build_ensemble, open_decided
from pipeline.errors import PodiumError
from pipeline.show import parts
from pipeline.submission import Entry, Ledger, rows
from pipeline.submission.standings import submit


def recipe(size: int, arch: str = "lenet") -> dict:
    return {"model": {"arch": arch}, "image": {"size": size}, "runtime": {"threads": size}}


def judged(tiny, *names):
    return compare(tiny.data, tiny.folds(), list(names))


def shifted(tiny, *rows: int) -> np.ndarray:
    """Return the labels, those of some rows wrong."""
    answer = tiny.data.labels.copy()
    answer[list(rows)] = (answer[list(rows)] + 1) % 3
    return answer


@pytest.fixture
def decide(monkeypatch) -> Callable:
    """Return a function that writes a finished run with given honest answers, in the order of the
    table, and members; no chain is fitted for it."""
    decided = {}
    module = import_module("pipeline.compare.compare")  # a function of this name hides it
    monkeypatch.setattr(module, "open_decided", lambda *of: decided[of[-1]])

    def write(tiny, name: str, answer: np.ndarray, members: dict | None = None, **run):
        folder, data = tiny.fake_run(name, **run), tiny.data
        save_answers(folder / ANSWERS, data.train.ids, answer)
        found = members or {name: 1.0}
        record = {
            "honest": data.metric.score(data.labels, answer),
            "honest_se": 0.01,
            "members": [{"name": n, "weight": weight} for n, weight in found.items()],
            "blend": "mean",
            "calibration": {"kind": "none"},
            "rule": {"kind": "argmax", "values": []},
        }
        decided[name] = Decided(name, folder, record)
        return decided[name]

    return write


@pytest.fixture
def pair(make_tiny, decide):
    """Run a errs in rows 0 to 39, b in rows 35 to 49: 35 are fixed, 10 broken, 5 still wrong."""
    tiny = make_tiny(rows=120)
    tiny.folds()
    decide(tiny, "a", shifted(tiny, *range(40)), recipe=recipe(64))
    decide(tiny, "b", shifted(tiny, *range(35, 50)), recipe=recipe(96, "resnet18"))
    return tiny


def test_what_is_written(pair):
    """Check scores, verdict, changes, counts and the table of rows."""
    (made,) = judged(pair, "a", "b")
    record = json.loads(made.paths[1].read_text())
    assert record == made.record
    assert record["before"] == {"name": "a", "honest": 80 / 120, "se": 0.01}
    assert record["after"]["honest"] == 105 / 120
    assert record["gain"]["difference"] == pytest.approx(25 / 120)
    assert made.verdict == record["gain"]["verdict"] == "keep"
    assert record["gain"]["low"] > 0
    assert record["gain"]["p"] == pytest.approx(binomtest(35, 45).pvalue, abs=6e-4)
    found = record["pictures"]
    assert [found[kind] for kind in (*KINDS, "both right")] == [35, 10, 5, 70]
    assert found["mcnemar_p"] == pytest.approx(binomtest(35, 45).pvalue)
    assert found["first"]["broken"] == ["040", "041", "042", "043", "044"]
    keys = {change["key"]: change["after"] for change in record["changes"]}
    assert keys == {"image.size": "96", "model.arch": "resnet18"}
    assert record["classes"]["by"] == "F1" and len(record["classes"]["changed"]) == 3
    assert made.shown[0] == "experiments/runs/tiny/compare/a--b.csv"
    with open(made.paths[0], newline="") as handle:
        rows = {row["id"]: row for row in csv.DictReader(handle)}
    assert sorted(rows) == [f"{i:03d}" for i in range(50)]
    actual = pair.data.classes[pair.data.labels[0]]
    wrong = pair.data.classes[(pair.data.labels[0] + 1) % 3]
    first = {"id": "000", "actual": actual, "a": wrong, "b": actual, "kind": "fixed"}
    assert rows["000"] == first


def test_the_same_comparison_says_the_same(pair):
    """Check that files are the same bytes again, and that the other way round is worse."""
    first = [path.read_bytes() for path in judged(pair, "a", "b")[0].paths]
    assert [path.read_bytes() for path in judged(pair, "a", "b")[0].paths] == first
    (back,) = judged(pair, "b", "a")
    assert back.verdict == "worse"


def test_what_is_printed(pair, decide):
    """Check that every table is printed and the verdict in words, for several runs too."""
    decide(pair, "c", shifted(pair, *range(1, 40)), recipe=recipe(64))
    printed = " ".join(parts(report_parts(judged(pair, "a", "b", "c"))).split())
    for words in (
        "b: keep, since it is better than a by more than luck",
        "c: noise; it would take about",
        "image.size 64 96",
        "model.arch lenet resnet18",
        "confused a b",
        "fixed 35 000, 001, 002",
        "b: by 5,000 resamples and 5,000 swaps of 120 rows",
        "c: by 5,000 resamples and 1 swap of 120 rows",
        "each of the 2 verdicts stands for itself",
        "changed: nothing that is recorded",
        "written: experiments/runs/tiny/compare/a--c.csv experiments/runs/tiny/compare/a--c.json",
    ):
        assert words in printed, words


def test_the_same_answers_are_noise(pair, decide):
    """Check that a copy of a run is told to be one: no difference, p = 1."""
    decide(pair, "copy", shifted(pair, *range(40)), recipe=recipe(64))
    (made,) = judged(pair, "a", "copy")
    gain = made.record["gain"]
    assert (gain["difference"], gain["se"], gain["p"]) == (0, 0, 1)
    assert made.verdict == "noise" and gain["rows_needed"] is None
    said = parts(report_parts([made]))
    assert "copy: noise, since it answers every row as a does" in said
    assert "5,000 resamples of 120 rows, of which no swap changes a score" in said
    assert "+0.0000 ± 0.0000  +0.0000 to +0.0000" in said and "-0.0000" not in said


def test_long_ids_keep_the_table_narrow(make_tiny, decide):
    """Check that of ids as long as UUIDs two are shown, sorted, and of longer ones both ends."""
    tiny = make_tiny(rows=60)
    ids = [f"{59 - i:08d}-0000-4000-8000-000000000000" for i in range(60)]
    tiny.edit("train", lambda table: table.assign(id=ids))
    decide(tiny, "a", shifted(tiny, *range(20)))
    decide(tiny, "b", tiny.data.labels)
    (made,) = judged(tiny, "a", "b")
    first = sorted(ids[:20])[:5]
    assert made.record["pictures"]["first"]["fixed"] == first
    lines = parts(report_parts([made])).splitlines()
    shown = next(line for line in lines if line.startswith("fixed"))
    assert shown.split()[2:] == [f"{first[0]},", first[1]] and max(map(len, lines)) <= 110
    long = [f"{i}/" + "x" * 200 + f"/{i}.jpg" for i in range(3)]
    assert shortened(long[0], 36).endswith("/0.jpg") and len(_ids(long)) <= 76


def test_members(pair, decide):
    """Check that ensembles differ by members, and that one of mixed folds is not compared."""
    for name, members in (("one", {"a": 1.0}), ("two", {"a": 0.4, "b": 0.6})):
        decide(pair, name, shifted(pair, 0), members)
        record = pair.run(name) / "run.json"
        content = json.loads(record.read_text())
        content.pop("recipe")
        record.write_text(json.dumps(content))
    (made,) = judged(pair, "one", "two")
    assert [c["key"] for c in made.record["changes"]] == ["a", "b"]
    (mixed,) = judged(pair, "a", "two")
    assert mixed.record["changes"][-1] == {"key": "b", "before": "", "after": "0.600"}
    decide(pair, "other", shifted(pair, 0)).record["honest"] = None
    with pytest.raises(PodiumError, match="other has no honest score"):
        judged(pair, "a", "other")


@pytest.mark.parametrize("metric", ["f1_macro", "auc_macro", "log_loss"])
def test_several_labels(make_tiny, decide, metric):
    """Check that rows and labels are counted apart, whatever the metric needs."""
    tiny = make_tiny(task="multilabel", metric=metric, rows=60)
    labels, rng = tiny.data.labels, np.random.default_rng(0)
    for name, skill in (("a", 0.1), ("b", 0.4)):
        answer = (0.5 + skill * (labels - 0.5) + rng.uniform(-0.4, 0.4, labels.shape)).clip(0, 1)
        if tiny.data.metric.needs == "labels":
            answer = (answer > 0.5).astype(np.int8)
        decide(tiny, name, answer)
    (made,) = judged(tiny, "a", "b")
    found = made.record["pictures"]
    assert sum(found["labels"].values()) == 180 and found["labels"]["fixed"] >= found["fixed"]
    assert made.verdict == "keep" and made.record["gain"]["difference"] > 0
    printed = parts(report_parts([made]))
    assert "answered wrongly a" in printed and "labels" in printed
    text = changed(tiny.data, tiny.folds(), "a", "b")
    assert text.endswith(" keep") and f"{made.record['gain']['difference']:+.4f} ± " in text


def test_groups_are_what_is_drawn(make_tiny, decide):
    """Check that the rows of four patients are four groups, which tell nothing."""
    tiny = make_tiny(rows=60)
    owners = [f"p{i % 4}" for i in range(60)]
    tiny.edit("train", lambda table: table.assign(owner=owners))
    tiny.configure(columns={"id": "id", "label": "label", "group": "owner"})
    tiny.folds(n_folds=2)
    decide(tiny, "a", shifted(tiny, *range(30)))
    decide(tiny, "b", tiny.data.labels)
    (made,) = judged(tiny, "a", "b")
    assert made.record["groups"] == 4 and made.record["gain"]["p"] == 1 / 8
    assert made.verdict == "noise"
    assert made.record["gain"]["n_swaps"] == 8
    said = parts(report_parts([made]))
    assert "by 5,000 resamples and all 8 swaps of 4 groups of rows" in said


def test_from_the_command_line(make_tiny, podium):
    """Check that runs and ensembles whose decisions are really fitted are compared and noted."""
    tiny = make_tiny(rows=90)
    tiny.fake_run("a", skill=0.5)
    tiny.fake_run("b", skill=5.0)
    build_ensemble(tiny.data, tiny.folds(), ["a", "b"], "both")
    for name in ("a", "b"):
        submit(tiny.data, tiny.folds(), name)
    done = podium(tiny.root, "compare", "--comp", "tiny", "--runs", "a b ensemble-both")
    assert done.status == 0, done.err
    assert "b: keep, since it is better than a" in done.out and "ensemble-both" in done.out
    assert "noted in the ledger, number 002" in done.out
    for name in ("b", "ensemble-both"):
        path = tiny.project.comparisons("tiny") / f"a--{name}.json"
        scores = json.loads(path.read_text())["after"]
        assert scores["honest"] == open_decided(tiny.data, tiny.folds(), name).record["honest"]
    entry = rows(tiny.project, "tiny")[1]
    assert entry.parent == "1" and "; against a: " in entry.note and entry.note.endswith(" keep")
    one = podium(tiny.root, "compare", "--comp", "tiny", "--runs", "a")
    assert one.status == 2 and "needs the run before and those after" in one.err


def test_the_note_in_the_ledger(pair):
    """Check that the note is what `changed` says, written once however often it is compared."""
    honest = [judged(pair, "a", "b")[0].record[side]["honest"] for side in ("before", "after")]
    entries = [
        Entry(at, "2026-01-01T00:00:00+00:00", f"{name}.csv", "ff", name, cv_honest=str(value))
        for at, (name, value) in enumerate(zip("ab", honest, strict=True), start=1)
    ]
    Ledger(pair.project.ledger("tiny"), tuple(entries)).save()
    for _ in range(2):
        (made,) = judged(pair, "a", "b")
        assert made.noted == (2,)
        first, second = rows(pair.project, "tiny")
        said = changed(pair.data, pair.folds(), "a", "b")
        assert first == entries[0] and second.parent == "1"
        assert second.note == f"against a: {said}"
    assert said.startswith("image.size 64->96, model.arch lenet->resnet18: +0.2083 ± ")
    assert "noted in the ledger, number 002" in parts(report_parts([made]))


def test_refusals(pair):
    """Check that one run, one run twice, unknown and unfinished ones, and other folds are said."""
    pair.fake_run("small", limited=True)
    for names, words in (
        ([], "got none"),
        (["a"], 'needs the run before and those after, got a; RUNS="a b"'),
        (["a", "b", "a"], "a stands twice"),
        (["a", "small"], "small cannot be compared: a smoke run"),
        (["a", "smal"], r"smal is not a run \(did you mean small\?\)"),
    ):
        with pytest.raises(PodiumError, match=words):
            judged(pair, *names)
    pair.folds(seed=7, fresh=True)
    with pytest.raises(PodiumError, match="a cannot be compared: trained on other folds"):
        judged(pair, "a", "b")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ids, answer: (ids[1:], answer[1:]), "not the 120 validated ones"),
        (lambda ids, answer: (np.append(ids[1:], "x"), answer), "not the 120 validated ones"),
        (lambda ids, answer: (ids, answer + 1), "class indices below 3, got values from 1 to 3"),
        (lambda ids, answer: (ids, answer.astype(float)), "got float64"),
        (lambda ids, answer: (ids, np.eye(3, dtype=int)[answer]), r"of shape \(120, 3\)"),
    ],
)
def test_answers_that_do_not_belong(pair, decide, change, words):
    """Check that answers to other rows, of another form and out of range are refused."""
    made = decide(pair, "a", pair.data.labels)
    path = made.folder / ANSWERS
    with np.load(path) as stored:
        ids, answer = change(stored["ids"], stored["answer"])
    save_answers(path, ids, answer)
    with pytest.raises(PodiumError, match=words):
        load_answers(made, pair.data, pair.folds())


def test_answers_are_found_by_id(pair, decide):
    """Check that the order of the file does not count, and that a changed or broken one is told."""
    data, folds = pair.data, pair.folds()
    made = decide(pair, "a", data.labels)
    path = made.folder / ANSWERS
    made.record["answers"] = file_hash(path)
    np.testing.assert_array_equal(load_answers(made, data, folds), data.labels)
    save_answers(path, data.train.ids[::-1], data.labels[::-1])
    with pytest.raises(PodiumError, match="changed since its rule was fitted"):
        load_answers(made, data, folds)
    del made.record["answers"]
    np.testing.assert_array_equal(load_answers(made, data, folds), data.labels)
    path.write_bytes(b"{")
    with pytest.raises(PodiumError, match="not a readable file of answers"):
        load_answers(made, data, folds)
    path.unlink()
    with pytest.raises(PodiumError, match="no such file"):
        load_answers(made, data, folds)
    with pytest.raises(ValueError, match="2 ids"):
        save_answers(path, np.array(["a", "b"]), np.arange(3))
