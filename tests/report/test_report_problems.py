"""What is wrong: each rule by itself, on records as the verbs write them."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.artifacts.findings import Audit, Finding
from pipeline.decisions.reliability import ece_noise, reliability, reliability_record
from pipeline.report import problems as rules
from pipeline.report.problems import (
    audit_problems,
    broken_problems,
    certainty_problems,
    class_problems,
    gap_problems,
    member_problems,
    ranked,
    rate_problems,
    training_problems,
)


def test_the_audit_blocks_unless_it_is_allowed():
    """Check levels: what blocks, what is allowed, what warns, and what is neither."""
    findings = [Finding(level, level, "says") for level in ("block", "warn", "note", "fine")]
    audit = Audit("c", "d", "f", findings)
    found = audit_problems(audit, [], "c")
    assert [one.weight for one in found] == [rules.BLOCKS, rules.WARNS]
    assert all("make audit COMP=c" in one.remedy for one in found)
    assert [one.weight for one in audit_problems(audit, ["block"], "c")] == [rules.WARNS]
    assert audit_problems(None, [], "c") == []


def test_what_cannot_be_used_is_told_by_its_file():
    """Check that the commonest fault is told, the run whose file it is first, with its remedy."""
    fault = "runs/c/b/oof.npz: not readable; make train again"
    broken = {"a": fault, "0": "runs/c/0/run.json: odd", "b": fault}
    (found,) = broken_problems(broken, "c")
    assert found.says == "`b` and 2 more cannot be used: runs/c/b/oof.npz: not readable"
    assert found.remedy == "make train again; then `make report COMP=c`"
    (found,) = broken_problems({"0": broken["0"]}, "c")
    assert found.says == "`0` cannot be used: runs/c/0/run.json: odd"
    assert found.remedy == "mend that; then `make report COMP=c`"
    assert broken_problems({}, "c") == []


def test_deleted_members_are_missed():
    """Check members of an ensemble against the runs that are there."""
    record = {"members": [{"runs": ["a", "b"]}, {"runs": ["c"]}]}
    assert member_problems("ensemble-x", record, ["a", "b", "c"], ["a", "b", "c"], "k") == []
    (found,) = member_problems("ensemble-x", record, ["a"], ["a"], "k")
    assert "`b` and 1 more, no longer there" in found.says
    assert '`make ensemble COMP=k NAME=x RUNS="a"`' in found.remedy
    assert member_problems("run", {"members": [{"runs": ["run"]}]}, [], [], "k") == []


def test_members_that_cannot_be_read_are_not_called_deleted():
    """Check a member whose record is broken, and what is left to make the ensemble of."""
    record = {"members": [{"runs": ["a", "b"]}, {"runs": ["c"]}]}
    (found,) = member_problems("ensemble-x", record, ["a", "b", "c"], ["a", "c"], "k")
    assert "`b`, which cannot be read" in found.says
    assert 'NAME=x RUNS="a c"`' in found.remedy


def collapsed(*folds: int) -> dict:
    stops = {str(n): {"stopped": {"kind": "collapsed"} if n in folds else None} for n in range(3)}
    return {"arch": "lenet", "folds": stops}


def test_collapsed_folds_weigh_more_within_the_best():
    """Check both weights, the folds that are named, and that patience is no collapse."""
    records = {"a": collapsed(), "b": collapsed(0, 2), "c": collapsed(1)}
    (found,) = training_problems(records, ["b"], "k")
    assert found.weight == rules.COLLAPSED and "`b`: folds 0, 2 answered" in found.says
    assert "make lr-find COMP=k ARCH=lenet" in found.remedy
    (found,) = training_problems(records, ["a"], "k")
    assert found.weight == rules.SMOKE and "and 1 more" in found.says
    patient = {"folds": {"0": {"stopped": {"kind": "patience"}}}}
    assert training_problems({"a": patient, "b": {}}, ["a"], "k") == []


def test_runs_on_a_limit_are_told():
    """Check smoke runs."""
    records = {name: {"limited": True, "arch": "x", "folds": {}} for name in ("a", "b")}
    (found,) = training_problems(records, [], "k")
    assert found.weight == rules.SMOKE and "`a` and 1 more saw a LIMIT" in found.says


def analysis(*, known=True, offset_p=0.5, disagrees=False, outliers=()):
    band = SimpleNamespace(offset=-0.02, offset_se=0.004, offset_p=offset_p)
    points = [SimpleNamespace(name=name) for name in outliers]
    size = SimpleNamespace(known=known)
    return SimpleNamespace(band=band, size=size, disagrees=disagrees, outliers=points)


@pytest.mark.parametrize(
    "found, count",
    [
        (None, 0),
        (analysis(), 0),
        (analysis(offset_p=0.051), 0),
        (analysis(offset_p=0.049), 1),
        (analysis(offset_p=0.01, known=False, disagrees=True), 0),
        (analysis(disagrees=True, outliers=["003 a"]), 1),
        (analysis(offset_p=0.01, disagrees=True), 2),
    ],
)
def test_a_gap_is_told_beyond_noise_alone(found, count):
    """Check when cross-validation and leaderboard disagree."""
    said = gap_problems(found, "k")
    assert [one.weight for one in said] == [rules.GAP] * count
    assert all("make leaderboard COMP=k" in one.remedy for one in said)


def test_a_gap_says_its_side():
    """Check the words of an offset."""
    (found,) = gap_problems(analysis(offset_p=0.001), "k")
    assert "0.0200 ± 0.0040 below the honest ones" in found.says


def line(support: int, answered: int, f1: float) -> dict:
    return {"support": support, "answered": answered, "f1": f1}


def test_classes_never_answered_or_weak():
    """Check the largest class that is never answered, and the one below half of the median."""
    table = [line(5, 0, 0), line(9, 0, 0), line(0, 0, 0), line(9, 9, 0.9), line(9, 9, 0.8)]
    (found,) = class_problems("n", "lenet", list("abcde"), table, "k")
    assert found.weight == rules.NEVER and "class b (9 rows)" in found.says
    assert "one of 2 such classes" in found.says and "ARCH=lenet" in found.remedy
    table = [line(9, 9, 0.9), line(9, 9, 0.8), line(9, 9, 0.39)]
    (found,) = class_problems("n", "x", list("abc"), table, "k")
    assert found.weight == rules.WEAK and "class c has F1 0.39 (9 rows)" in found.says
    table[2] = line(9, 9, 0.41)
    assert class_problems("n", "x", list("abc"), table, "k") == []
    assert class_problems("n", "x", ["a"], [line(0, 0, 0)], "k") == []


@pytest.mark.parametrize("power, count", [(1.0, 0), (0.5, 0), (4.0, 1)])
def test_overconfidence_is_told_beyond_chance(power, count):
    """Check curves of a model that is exact, one that is too modest, and one too sure of itself, as
    `make ensemble` records them."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.5, 1, 4000)
    odds = (truth / (1 - truth)) ** power
    sure = odds / (1 + odds)
    curve = reliability(sure, rng.random(4000) < truth)
    found = certainty_problems("n", reliability_record(curve, ece_noise(sure)), "k")
    assert [one.weight for one in found] == [rules.OVERSURE] * count
    assert certainty_problems("n", reliability_record(curve), "k") == []  # too many for noise


def test_the_widest_shift_of_rates_is_told():
    """Check the limit, both directions, and how many more there are."""
    gaps = {"a": 2.9, "b": -4, "c": 3.5}
    rates = [{"class": c, "oof": 0.1, "test": 0.2, "gap": gap} for c, gap in gaps.items()]
    (found,) = rate_problems("n", rates, "k")
    assert "answers b for 10.0%" in found.says and "4.0 standard errors" in found.says
    assert "1 more classes" in found.says
    assert rate_problems("n", rates[:1], "k") == []


def test_the_worst_comes_first_and_ties_stay_in_order():
    """Check the order of problems."""
    found = [rules.Problem(w, s, "") for w, s in ((1, "a"), (5, "b"), (5, "c"))]
    assert [one.says for one in ranked(found)] == ["b", "c", "a"]
