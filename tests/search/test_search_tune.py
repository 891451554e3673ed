"""`make tune` as it is typed: what it prints and writes, alone and with two workers."""

import pytest
import yaml

from pipeline.config.recipe import load_recipe
from pipeline.config.study import load_study
from pipeline.search.opening import open_setting
from pipeline.search.store import Store

WRITTEN = [
    *("parallel.png", "slices.png", "importances.png", "history.png", "fidelity.png"),
    *("correlations.csv", "trials.csv", "best.yaml", "study.json", "journal.log"),
]


@pytest.fixture
def tune(tiny, podium, studied):
    """Return a function that writes the study and runs the verb."""

    def run(*arguments: str, **keys):
        studied(tiny.project, **keys)
        return podium(tiny.root, "tune", "--comp", "tiny", "--study", "s", *arguments)

    return run


def test_a_study_from_nothing(tiny, tune):
    """Check what is told and written, that the best recipe is one, and that the same command has
    nothing left to do."""
    done = tune()
    assert done.status == 0, done.err
    assert "s: 3 parameters, random, halving; trained to 1-epoch, 2-epochs, full" in done.out
    assert "s-0000: full" in done.out and "fold 4" in done.out
    assert "next: make ensemble COMP=tiny" in done.out
    folder = tiny.run("study-s")
    assert {path.name for path in folder.iterdir()} >= set(WRITTEN)
    found = Store(open_setting(tiny.project, "tiny", "s")).found()
    text = (folder / "best.yaml").read_text()
    tiny.project.recipe("best").write_text(text)
    best = load_recipe(tiny.project, "best", competition=tiny.data.competition.recipe_overrides())
    setting = open_setting(tiny.project, "tiny", "s")
    assert best.hash == setting.recipe(found.best.config).hash
    assert text.startswith("# Trial ")
    paused = [t for t in found.trials if found.ladder.top not in t.losses]
    assert paused and not any((tiny.run(t.run) / "fold-0" / "last.pt").exists() for t in paused)
    again = tune()
    assert again.status == 0 and "goes on with" in again.out and "in 0 s" not in again.out
    assert Store(setting).trials() == list(found.trials)


def test_a_study_goes_on_with_a_larger_budget(tiny, tune):
    """Check that trials are added, and that FRESH=1 starts anew."""
    assert tune(budget=1.5).status == 0
    setting = open_setting(tiny.project, "tiny", "s")
    few = Store(setting).trials()
    assert tune(budget=3).status == 0
    more = Store(setting).trials()
    assert more[0] == few[0] and len(more) > len(few)
    assert tune("--fresh", budget=1.5).status == 0
    anew = Store(setting).trials()
    assert [t.losses for t in anew] == [t.losses for t in few]
    assert anew[0].ended != few[0].ended


def test_two_workers_on_one_machine(tiny, tune):
    """Check that workers in processes of their own spend the budget once, and tell of it."""
    done = tune("--workers", "2", set="training.epochs=4", budget=3)
    assert done.status == 0, done.err
    trials = Store(open_setting(tiny.project, "tiny", "s")).trials()
    assert not any(trial.in_work or trial.failed for trial in trials)
    for trial in trials:
        for level in trial.losses:
            name = ("1-epoch", "2-epochs", "full")[level]
            assert done.out.count(f"{trial.run}: {name} ") == 1
    assert not list(tiny.run("study-s").glob("worker-*"))


def test_a_budget_in_time_begins_nothing_new(tiny, tune):
    """Check that BUDGET ends a study early, whose next command goes on."""
    done = tune("--budget", "1s", budget=50)
    assert done.status == 0, done.err
    setting = open_setting(tiny.project, "tiny", "s")
    trials = Store(setting).trials()
    assert 0 < len(trials) < 30
    assert "next: make tune COMP=tiny STUDY=s, which goes on" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--study", "t"), "STUDY: no experiments/studies/t.yaml"),
        (("--study", ""), "STUDY: which study?"),
        (("--workers", "0"), "WORKERS: 0"),
        (("--executor", "cloud"), "EXECUTOR: 'cloud' is not known"),
        (("--budget", "soon"), "BUDGET"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(tiny, tune, arguments, said):
    """Check status 2 and one line that names the variable."""
    done = tune(*arguments)
    assert done.status == 2
    assert said in done.err and done.err.count("\n") == 1 and "Traceback" not in done.err


@pytest.mark.parametrize("name", ["heads", "small"])
def test_the_studies_that_come_with_the_project_are_sound(name, tmp_path):
    """Check that the shipped studies parse, with the recipe's own values as the first trial."""
    from pathlib import Path

    import pipeline
    from pipeline.config.project import Project
    from pipeline.search.space import Space

    project = Project(Path(pipeline.__file__).parents[1])
    study = load_study(project, name)
    header = project.study(name).read_text().split("describe:")[0]
    assert all(f"#   {word}" in header for word in ("source", "result", "time", "command"))
    assert "to be filled" not in header
    assert Space.of(study.space).params
    assert yaml.safe_load(project.study(name).read_text())["describe"]
