"""The time planner: budgets in words, what fits, and estimates that are near what it takes."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.times import duration, parse_budget
from pipeline.errors import PodiumError
from pipeline.training import planner
from pipeline.training.planner import Cost, Plan


@dataclass(frozen=True)
class Named:
    """Stands for a run."""

    name: str


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("1 h 30 m", 5400), ("45s", 45), ("0.5H", 1800)],
)
def test_budgets_in_words(text, seconds):
    """Check the ways to write a time."""
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["2", "two hours", "h", "2h soon", "-1h", "0h", "1h2x", ""])
def test_what_is_no_time_is_refused(text):
    """Check that what cannot be read as a time is one line with the value and examples."""
    with pytest.raises(PodiumError, match="is not a time; write 2h, 90m or 1h30m"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(8, "8 s"), (89, "89 s"), (90, "2 min"), (3540, "59 min"), (3900, "1 h 05 min")],
)
def test_durations_in_words(seconds, said):
    """Check the words for short and long times."""
    assert duration(seconds) == said


def costs(*pairs):
    return tuple(
        Cost(Named(f"run-{i}"), seconds, tuple(range(folds)))
        for i, (seconds, folds) in enumerate(pairs)
    )


def test_what_fits_is_taken_in_order():
    """Check a plan by hand: two folds of the second run fit, none of the third, all of a short
    fourth one."""
    plan = Plan(1000, costs((100, 5), (200, 5), (500, 5), (40, 2)))
    assert [len(chosen) for chosen in plan.chosen] == [5, 2, 0, 2]
    assert plan.total == 500 + 1000 + 2500 + 80
    assert plan.beyond == 600 + 2500
    lines = plan.table().splitlines()
    assert " ".join(lines[0].split()) == "run a fold left together fits 17 min"
    assert [line.rpartition("  ")[2].strip() for line in lines[2:]] == [
        "all",
        "2 of 5",
        "0 of 5",
        "all",
    ]


@given(
    st.floats(1, 1e5),
    st.lists(st.tuples(st.floats(0.1, 1e4), st.integers(0, 8)), min_size=1, max_size=6),
)
def test_what_is_chosen_fits(budget, pairs):
    """Check that no plan exceeds its budget, and that nothing of a run that fits is left out."""
    plan = Plan(budget, costs(*pairs))
    spent = 0.0
    for cost, chosen in zip(plan.costs, plan.chosen, strict=True):
        spent += cost.fold_seconds * len(chosen)
        if len(chosen) < len(cost.left):
            assert spent + cost.fold_seconds > budget * (1 - 1e-9)
    assert spent <= budget * (1 + 1e-9)
    assert plan.beyond == pytest.approx(plan.total - spent, abs=1e-6 * max(1, plan.total))


def test_what_is_done_once_is_counted_once():
    """Check that the pass over the pictures is charged with the first fold alone."""
    cost = Cost(Named("frozen"), 10, (0, 1, 2), once=100)
    assert cost.seconds == 130
    assert [Plan(b, (cost,)).chosen for b in (99, 105, 115, 130)] == [
        [()],
        [()],
        [(0,)],
        [(0, 1, 2)],
    ]
    assert [Plan(b, (cost,)).beyond for b in (105, 115, 130)] == [130, 20, 0]


def test_a_budget_trains_what_fits(project, train_tiny, monkeypatch):
    """Check that folds beyond the budget are left for later, and that the table is said."""
    monkeypatch.setattr(planner, "measured", lambda run, number: (10.0, 0.0))
    said: list[str] = []
    run = train_tiny(project, budget=25, say=said.append).run
    assert run.finished_folds() == [0, 1]
    assert any("2 of 3" in line and "fits 25 s" in line for line in said)
    run = train_tiny(project, budget=25, say=said.append).run
    assert run.finished_folds() == [0, 1, 2]


def test_who_says_yes_gets_all_of_it(project, train_tiny, monkeypatch):
    """Check that the question names the time beyond the budget, and that yes trains it all."""
    monkeypatch.setattr(planner, "measured", lambda run, number: (100.0, 0.0))
    asked: list[str] = []
    run = train_tiny(project, budget=150, ask=lambda q: asked.append(q) or True).run
    assert run.finished_folds() == [0, 1, 2]
    assert asked == ["3 min beyond the budget: train all of it?"]


def test_measuring_leaves_nothing_behind(project, train_tiny, snapshot, monkeypatch):
    """Check that a real measurement is positive and writes nothing but the cache of pictures."""
    monkeypatch.setattr(planner, "LEAST_SECONDS", 0.05)
    run = train_tiny(project, only=(0,)).run
    before = snapshot(project.root)
    seconds, once = planner.measured(run, 1)
    assert 0 < seconds < 60 and once == 0
    assert snapshot(project.root) == before


def test_nothing_fits(project, podium, snapshot, monkeypatch):
    """Check that a budget too small for a fold trains nothing and says so."""
    monkeypatch.setattr(planner, "measured", lambda run, number: (1e6, 0.0))
    arguments = ["train", "--comp", "kinds", "--recipe", "tiny", "--arch", "lenet"]
    result = podium(project.root, *arguments, "--budget", "1h")
    assert result.status == 0 and "nothing fits" in result.out
    assert not project.run("kinds", "lenet-tiny").exists()
    result = podium(project.root, *arguments, "--budget", "soon")
    assert result.status == 2 and result.err.count("\n") == 1 and "BUDGET: 'soon'" in result.err
