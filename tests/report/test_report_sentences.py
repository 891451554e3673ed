"""The three sentences: each rule by itself."""

from dataclasses import replace

import pytest

from pipeline.report.problems import BLOCKS, NEVER, SHIFT, WARNS, Problem
from pipeline.report.sentences import Done, Gain, Where, next_step, where, wrong

DONE = Done(
    comp="c",
    folds=True,
    audited=True,
    runs=3,
    ensembles=1,
    best="ensemble-all",
    usual="usual",
    other="other",
    submits=True,
    submitted=True,
    scored=True,
    label_errors=True,
    curves=True,
)
AT = Where("accuracy", "ensemble-all", 0.9, 0.01)


def test_where_we_are_without_a_run():
    """Check that nothing is invented."""
    at = Where("accuracy", None)
    assert where(at) == "There is no finished run yet, so there is no score."
    assert wrong([], at) == "Nothing can be said before a run is finished."
    left = replace(at, left="`a`: of yesterday")
    assert where(left) == "No run counts now, so there is no score: `a`: of yesterday."


def test_where_we_are_has_all_numbers():
    """Check score, error, both gains with the verdict, the leaderboard's scores and the rank."""
    gain = Gain("a", 0.01234, 0.002, "keep")
    at = replace(AT, over_run=gain, over_majority=Gain("m", 0.5), public=0.8, private=0.7)
    assert where(replace(at, place="1/10 gold")) == (
        "Best is `ensemble-all`: honest accuracy 0.9000 ± 0.0100, +0.0123 ± 0.0020 over the best "
        "single run `a` (more than luck explains) and +0.5000 over the majority answer; public "
        "0.8000, private 0.7000 (1/10 gold)."
    )


@pytest.mark.parametrize(
    "change, words",
    [
        ({}, "± 0.0100; no leaderboard score is known."),
        ({"public": 0.8}, "; public 0.8000."),
        ({"over_majority": Gain("m", -0.1)}, ", -0.1000 over the majority answer;"),
        ({"over_run": Gain("a", 0.0)}, ", +0.0000 over the best single run `a`;"),
        ({"over_run": Gain("a", 0.0, 0.1, "noise")}, "(within noise)"),
        ({"honest": None, "se": None}, "honest accuracy n/a (mixed folds);"),
    ],
)
def test_where_we_are_says_only_what_is_known(change, words):
    """Check each part that may be missing."""
    assert words in where(replace(AT, **change))


def test_what_is_wrong_is_the_worst_or_says_what_was_looked_at():
    """Check the first of the problems, and the sentence of none."""
    problems = [Problem(NEVER, "class a is never answered", "x"), Problem(WARNS, "b", "y")]
    assert wrong(problems, AT) == "Class a is never answered."
    assert wrong([], AT).startswith("Nothing stands out: no finding of the audit, no weak class")
    assert wrong([], AT).endswith("no gap to the leaderboard beyond noise, in what is recorded.")
    assert wrong([], replace(AT, looked_at=("weak class", "overconfidence"))) == (
        "Nothing stands out: no weak class and no overconfidence, in what is recorded; the data "
        "was not audited."
    )
    assert "no overconfidence, in" in wrong([], replace(AT, looked_at=("overconfidence",)))


@pytest.mark.parametrize(
    "change, words",
    [
        (
            {"folds": False, "audited": False},
            "`make audit COMP=c`, read its page, then `make folds",
        ),
        ({"folds": False}, "`make folds COMP=c`."),
        ({"runs": 0, "ensembles": 0}, "`make train COMP=c ARCH=usual`."),
        ({"runs": 0, "ensembles": 0, "again": "make it anew"}, "`make it anew`."),
        ({"runs": 1, "ensembles": 0}, "`make train COMP=c ARCH=other`, a second opinion"),
        ({"ensembles": 0}, "`make ensemble COMP=c`."),
        ({"submitted": False, "scored": False}, "`make submit COMP=c FROM=ensemble-all`."),
        ({"scored": False}, "`make score COMP=c FROM=ensemble-all`"),
        ({"submits": False, "submitted": False, "scored": False}, "`make train COMP=c ARCH=other`"),
        ({"audited": False}, "`make audit COMP=c`: the data was not looked at yet."),
        ({"label_errors": False}, "`make label-errors COMP=c`"),
        ({"curves": False}, "`make learning-curve COMP=c ARCH=usual`"),
        ({}, "`make train COMP=c ARCH=other`, then `make ensemble COMP=c`."),
    ],
)
def test_the_next_step_is_the_first_that_is_missing(change, words):
    """Check the order of the way, and that every next step is a command."""
    assert next_step(replace(DONE, **change), []).startswith(words)


def test_what_halts_comes_first_and_the_rest_after_the_way():
    """Check that a blocking problem goes before a missing step, a weak class after it, and that the
    audit is asked for before small matters."""
    halting, weak = Problem(BLOCKS, "", "`mend`"), Problem(NEVER, "", "`retrain`")
    small, unscored = Problem(SHIFT, "", "`look`"), replace(DONE, scored=False)
    assert next_step(unscored, [halting]) == "`mend`."
    assert next_step(unscored, [weak]).startswith("`make score")
    assert next_step(DONE, [weak]) == "`retrain`."
    assert next_step(replace(DONE, audited=False), [weak]) == "`retrain`."
    assert next_step(replace(DONE, audited=False), [small]).startswith("`make audit")
    assert next_step(DONE, [small]) == "`look`."
