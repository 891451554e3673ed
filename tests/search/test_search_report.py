"""The end of `make tune`: the best trials, what matters, what it cost, what to do next."""

import numpy as np
import pytest
from invented_studies import flat, invent

from pipeline.search.report import report_parts
from pipeline.search.schedules import spent_on
from pipeline.search.spending import gain, paid, spent, trial_seconds


def words(found, **options) -> str:
    parts = report_parts(found, comp="digits", **options)
    return "\n".join(part for part in parts if isinstance(part, str))


def tables(found, **options):
    parts = report_parts(found, comp="digits", **options)
    return [part for part in parts if not isinstance(part, str)]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_trials_come_first(sign):
    """Check that trials are ranked by how far they were trained, then by their score in the
    metric's own direction, and that what failed is not among them."""
    found = invent(18, levels=2, reach=lambda n: n % 2, failed=[5], sign=sign, noise=0.05)
    headers, rows = tables(found)[0]
    assert headers[:6] == ["rank", "trial", "run", "f1_macro", "trained to", "seconds"]
    top = [t for t in found.trials if 1 in t.losses]
    top.sort(key=lambda trial: trial.losses[1])
    assert [int(row[1]) for row in rows[: len(top)]] == [trial.number for trial in top]
    assert rows[0][1:6] == [
        *(str(top[0].number), top[0].run, f"{-sign * top[0].losses[1]:.4f}", "full", "60")
    ]
    assert {row[4] for row in rows[len(top) :]} == {"level-0"} and len(rows) == 10


def test_what_is_spent_is_what_the_steps_cost():
    """Check the running total against the price of each trial, with and without going on."""
    for continues in (True, False):
        found = invent(7, levels=3, reach=lambda n: n % 3, continues=continues)
        steps = paid(found)
        expected = sum(spent_on(trial, found.ladder) for trial in found.trials)
        assert steps[-1].total == pytest.approx(expected) == pytest.approx(spent(found))
        assert sum(step.seconds for step in steps) == pytest.approx(60 * expected)
        assert sum(trial_seconds(found, t) for t in found.trials) == pytest.approx(60 * expected)


def test_the_gain_is_over_the_first_trials():
    """Check before, after and cost of a gain: over the median of the first three of many trials,
    the first of few, or the recipe as it is; and its words."""
    found = invent(12, noise=0.05)
    scores = [-trial.losses[0] for trial in found.trials]
    brought = gain(found)
    assert brought.before == pytest.approx(np.median(scores[:3]))
    assert (brought.after, brought.trainings, brought.seconds) == (max(scores), 9, 540)
    default = found.trials[4].config
    brought = gain(found, default)
    assert (brought.before, brought.trainings, brought.is_default) == (scores[4], 7, True)
    said = words(found, default=default)
    assert f"{scores[4]:.4f} (the recipe as it is) to {max(scores):.4f}" in said
    per = 7 / ((max(scores) - scores[4]) / 0.01)
    assert f"{per:.3g} whole trainings" in said and "per .01" in said
    few = invent(4, noise=0.05)
    assert gain(few).before == -few.trials[0].losses[0]
    assert gain(invent(1)) is None


def test_a_default_alone_at_the_top_is_no_gain():
    """Check that what is gained on the recipe after fewer epochs is not told as a gain, and is
    where another one was trained to the end."""
    alone = invent(9, levels=2, reach=lambda n: int(n == 0))
    default = alone.trials[0].config
    assert gain(alone, default) is None
    assert "nothing but the recipe as it is" in words(alone, default=default)
    two = invent(9, levels=2, reach=lambda n: int(n < 2))
    assert gain(two, default).level == 1
    assert "nothing but" not in words(two, default=default)


def test_no_gain_is_said():
    """Check that equal scores bring nothing, and divide by nothing."""
    assert "no gain, for 17 whole trainings" in words(invent(20, flat))


def test_importances_are_told_with_their_doubts():
    """Check the table of what matters, and that it is said to be neither causal nor sure."""
    found = invent(24, sampler="tpe", noise=0.01)
    headers, rows = tables(found)[1]
    assert headers[0] == "parameter" and "luck" in headers
    assert rows[0][0] == "optimizer.name" and {row[0] for row in rows} >= {"lr", "scale.0"}
    said = words(found)
    assert "none of it is causal" in said and "tpe proposes most" in said
    assert "chosen for being the best" in said
    few = words(invent(5))
    assert "too few trials to tell what matters: 5; it takes 20" in few and "causal" not in few


def test_failures_and_costs_are_counted():
    """Check the sentence of costs by level, and that failures are named on one line."""
    found = invent(8, levels=2, reach=lambda n: n % 2, failed=[3], in_work=[6], budget=50)
    said = words(found)
    assert f"{spent(found):.3g} of 50 whole trainings" in said
    assert "8 trials, 1 in work, trained: 6 to level-0, 3 to full" in said
    assert (
        '1 of 8 failed, which nothing above counts; trial 3: the loss is no number, "nan"' in said
    )


@pytest.mark.parametrize(
    ("found", "options", "expected"),
    [
        (invent(3, in_work=[2]), {}, "make tune COMP=digits STUDY=invented, which goes on with"),
        (invent(3), {}, "STUDY=invented, which goes on: its budget is not spent"),
        (invent(3, failed=[0, 1, 2]), {}, "mend what failed, then make tune COMP=digits"),
        (invent(3, budget=3), {"finalists": ["a"]}, "next: make ensemble COMP=digits"),
        (
            invent(3, trials=3),
            {"finalists": ["a", "b", "c"]},
            'make compare COMP=digits RUNS="a b"; make ensemble COMP=digits',
        ),
        (invent(3, budget=3), {"pruned": "x/pruned.yaml"}, "copy x/pruned.yaml to"),
        (invent(3, sampler="grid"), {}, "with a larger budget in its file"),
        (invent(0), {}, "no trial has a score yet"),
    ],
)
def test_the_next_command_is_named(found, options, expected):
    """Check what is advised for a study in work, done, failed and empty."""
    assert expected in words(found, **options)


def test_no_line_of_a_table_is_wider_than_a_screen():
    """Check that many parameters and long choices leave the table of trials readable."""
    space = {f"section.parameter{n}": {"choices": ["a" * 40, "b" * 40]} for n in range(20)}
    headers, rows = tables(invent(15, flat, space=space))[0]
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    assert sum(widths) + 2 * (len(widths) - 1) <= 100


def test_what_was_written_is_listed():
    """Check that paths are shown as they are given."""
    assert "written:\n  a.png\n  b.yaml" in words(invent(3), written=["a.png"], pruned="b.yaml")
