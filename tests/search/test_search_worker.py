"""A study's worker: what it trains, how it goes on after a kill, and what it leaves behind."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.files import read_json
from pipeline.artifacts.predictions import Predictions
from pipeline.ensemble.members import usable_runs
from pipeline.errors import PodiumError
from pipeline.folds import load_shared
from pipeline.search.schedules import spent_on
from pipeline.search.store import Store
from pipeline.search.trial import train_step
from pipeline.search.worker import Worker
from pipeline.training import fold as fold_module
from pipeline.training.request import TrainRequest
from pipeline.training.train import train

ROOT = Path(__file__).parents[2]


class Killed(BaseException):
    """What no `except Exception` catches: it stands for a kill."""


def told(trials) -> list[tuple]:
    """What a study has found, without times."""
    return [(t.number, t.config, t.losses, t.scores, t.ordered, t.failed) for t in trials]


def test_time_is_kept_for_the_finalists(tiny, open_study, searched, monkeypatch):
    """Check that no step is begun in the time that the finalists' other folds take, and that they
    are trained in it."""
    setting = open_study(tiny.project, budget=1, finalists=1)
    (first,) = [t for t in searched(setting) if setting.ladder.top in t.losses]
    more = open_study(tiny.project, budget=3, finalists=1)
    hour = dict.fromkeys(first.seconds, 3600.0)
    trials = [replace(t, seconds=hour) for t in Store(more).trials()]
    monkeypatch.setattr(Store, "trials", lambda self: trials)
    others = len(more.folds.numbers) - len(more.judged_on)
    for until, taken in ((3600 * others - 60, False), (3600 * others + 600, True)):
        worker = Worker(more, Store(more), str, time.time() + until)
        assert worker._must_finish(trials) != taken
    worker = Worker(more, Store(more), str, time.time() + 3600 * others - 60)
    worker.search()
    assert Store(more).trials() == trials
    worker.finish()
    assert usable_runs(more.data, load_shared(more.data))[0] == [first.run]


def test_trials_go_on_and_are_runs(tiny, open_study, searched):
    """Check that the budget is spent, that promoted trials went on to the end, and that the best of
    them is a run as `make train` makes it: the same bytes, and a member of an ensemble."""
    setting = open_study(tiny.project)
    trials = searched(setting, finish=True)
    spent = sum(spent_on(trial, setting.ladder) for trial in trials)
    assert 2.5 < spent <= 3 + 1e-9
    assert trials[0].config == setting.default and set(trials[0].losses) == {0, 1, 2}
    promoted = [t for t in trials[1:] if len(t.losses) > 1]
    assert promoted and any(len(t.losses) == 1 for t in trials)
    top = [t for t in trials if 2 in t.losses]
    best = min(top, key=lambda t: t.losses[2])
    usable, left = usable_runs(setting.data, load_shared(setting.data))
    assert usable == [best.run] and "a study's trial" in left[trials[1].run]

    recipe = setting.recipe(best.config)
    said = f"training.epochs=4 optimizer.lr={recipe.optimizer.lr!r}"
    said += f" training.batch_size={recipe.training.batch_size}"
    said += f" model.drop_rate={recipe.model.drop_rate}"
    own = train(tiny.project, TrainRequest("tiny", ["lenet"], overrides=said, name="own"), str)[0]
    assert own.run.recipe.hash == recipe.hash
    for part in ("oof", "test"):
        paths = [tiny.run(name) / f"{part}.npz" for name in (best.run, "own")]
        one, other = (Predictions.load(path) for path in paths)
        np.testing.assert_array_equal(one.probs, other.probs)
    assert read_json(tiny.run(best.run) / "run.json")["study"] == "s"
    assert any("study s" in said for said in read_json(tiny.run(best.run) / "run.json")["warnings"])


def test_a_study_that_was_killed_goes_on_as_if_it_was_not(
    make_tiny, open_study, searched, monkeypatch
):
    """Check that a study that is killed at every third step, in training or before it tells, ends
    with the same trials as one that is not."""
    whole = searched(open_study(make_tiny(folder="a", images=True).project))
    setting, calls = open_study(make_tiny(folder="b", images=True).project), 0
    original, tell = fold_module.train_until, Store.tell

    def mortal(*args, **options):
        nonlocal calls
        calls += 1
        if calls % 3 == 1:
            raise Killed
        return original(*args, **options)

    def mortal_tell(self, number, outcomes):
        nonlocal calls
        calls += 1
        if calls % 3 == 1:
            raise Killed
        return tell(self, number, outcomes)

    monkeypatch.setattr("pipeline.search.trial.train_until", mortal)
    monkeypatch.setattr(Store, "tell", mortal_tell)
    kills = 0
    while True:
        store = Store(setting)
        store.open()
        try:
            Worker(setting, store, str).search()
            break
        except Killed:
            kills += 1
    assert kills > 3
    assert told(Store(setting).trials()) == told(whole)


def test_a_trial_on_a_share_of_the_rows(tiny, open_study, searched):
    """Check that a cheaper training has its share of the rows, nested, validates all of the fold,
    and keeps no weights; and that the whole one is the run."""
    tasks = {"low": {"share": 0.25}, "mid": {"share": 0.5}}
    setting = open_study(tiny.project, tasks=tasks, default=False, set="training.epochs=1")
    trials = searched(setting)
    promoted = next(t for t in trials if len(t.losses) == 3)
    folder = tiny.run(promoted.run)
    rows = [
        read_json(folder / place / "fold-0" / "fold.json")["rows"]
        for place in ("share-low", "share-mid", ".")
    ]
    whole = rows[2]["train"]
    assert all(
        abs(r["train"] - s * whole) <= 0.5 for r, s in zip(rows, (0.25, 0.5, 1), strict=True)
    )
    assert len({r["valid"] for r in rows}) == 1
    assert not list(folder.glob("share-*/fold-0/*.safetensors"))
    assert (folder / "fold-0" / "model.safetensors").exists()
    assert sum(spent_on(t, setting.ladder) for t in trials) <= 3 + 1e-9


def test_a_configuration_that_fails_is_told_and_the_study_goes_on(tiny, open_study, searched):
    """Check that a trial whose loss explodes, and one whose keys do not go together, have failed
    with their reasons, and that others are trained."""
    space = {
        "optimizer.lr": {"log": [1e-3, 1e12]},
        "optimizer.name": {"choices": ["sgd", "adamw"]},
        "model.hidden": {"choices": [[], [8]]},
        "model.drop_rate": {"choices": [0.1, [0.1, 0.2]]},
    }
    setting = open_study(tiny.project, space=space, budget=6)
    trials = searched(setting)
    errors = [t.error for t in trials if t.failed]
    assert any("must be one rate, or 1" in error for error in errors)
    assert any("the loss became" in error or "loss is" in error for error in errors)
    assert [t for t in trials if t.losses and not t.failed]


def test_a_study_on_all_folds_and_by_loss(tiny, open_study, searched):
    """Check that a trial's loss is the mean over folds, and its run complete without a finale."""
    setting = open_study(
        tiny.project,
        folds="all",
        objective="loss",
        budget=2,
        schedule="none",
        sampler="quasi-random",
    )
    trials = searched(setting)
    assert len(trials) == 2
    for trial in trials:
        record = read_json(tiny.run(trial.run) / "run.json")
        assert record["complete"]
        lines = [
            (tiny.run(trial.run) / f"fold-{k}" / "history.csv").read_text().splitlines()
            for k in range(5)
        ]
        column = lines[0][0].split(",").index("valid_loss")
        losses = [float(own[-1].split(",")[column]) for own in lines]
        assert trial.losses[0] == pytest.approx(np.mean(losses))
        scores = [record["folds"][str(k)]["score"] for k in range(5)]
        assert trial.scores[0] == pytest.approx(np.mean(scores))


def test_a_step_that_kills_its_process_is_given_up(tiny, open_study, monkeypatch):
    """Check that a trial whose process dies again and again fails, instead of for ever."""
    setting, steps = open_study(tiny.project, budget=1.3), []

    def mortal(setting, trial):
        steps.append(trial.number)
        if trial.number == 1:
            raise Killed
        return train_step(setting, trial)

    monkeypatch.setattr("pipeline.search.worker.train_step", mortal)
    for _ in range(9):
        store = Store(setting)
        store.open()
        try:
            Worker(setting, store, str).search()
        except Killed:
            continue
        break
    assert steps.count(1) == 3
    trial = Store(setting).trials()[1]
    assert trial.failed and trial.error == "its process was killed 3 times"


def test_another_study_of_the_same_name_is_refused(tiny, open_study, searched):
    """Check that the budget may grow, and that another space, objective or recipe may not come in;
    FRESH deletes the trials."""
    trials = searched(open_study(tiny.project, budget=1.5))
    more = open_study(tiny.project, budget=2, finalists=0, describe="longer")
    assert told(searched(more))[: len(trials)][0] == told(trials)[0]
    for keys, said in (
        ({"objective": "loss"}, "objective: 'score' -> 'loss'"),
        ({"set": "training.epochs=5"}, "set: 'training.epochs=4' -> 'training.epochs=5'"),
        ({"eta": 3}, "eta: 2 -> 3"),
        ({"storage": "sqlite:///x.db"}, "its trials are in storage 'journal'"),
    ):
        with pytest.raises(PodiumError) as caught:
            searched(open_study(tiny.project, **keys))
        assert said in str(caught.value) and "FRESH=1" in str(caught.value)
    other = open_study(tiny.project, objective="loss", budget=1)
    Store(other).delete()
    assert not tiny.run("s-0000").exists()
    assert len(searched(other)) == 1


def test_a_journal_with_half_a_line_is_mended(tiny, open_study, searched):
    """Check that what a killed writer left behind neither stops readers nor spoils a line."""
    setting = open_study(tiny.project, budget=1.5)
    trials = searched(setting)
    journal = Store(setting).journal
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 9, "wor')
    longer = open_study(tiny.project, budget=2)
    assert told(searched(longer))[0] == told(trials)[0]
    assert len(Store(longer).trials()) > len(trials)


def test_a_database_serves_as_storage(tiny, open_study, searched):
    """Check that a URL does what the journal does (SQLite stands for PostgreSQL: the same code),
    and that one that cannot be opened is one line without its password."""
    url = f"sqlite:///{tiny.root / 'studies.db'}"
    found = told(searched(open_study(tiny.project, storage=url)))
    Store(open_study(tiny.project, storage=url)).delete()
    assert told(searched(open_study(tiny.project))) == found
    Store(open_study(tiny.project)).delete()
    with pytest.raises(PodiumError) as caught:
        searched(open_study(tiny.project, storage="nosuch://me:secret@host/db"))
    assert "secret" not in str(caught.value) and "storage" in str(caught.value)


CODE = """
import sys
from pathlib import Path
from pipeline.config.project import Project
from pipeline.search.opening import open_setting
from pipeline.search.store import Store
from pipeline.search.worker import Worker
setting = open_setting(Project(Path(sys.argv[1])), "tiny", "s")
store = Store(setting)
store.open()
print("begun", flush=True)
worker = Worker(setting, store, lambda said: print(said, flush=True))
worker.search()
worker.finish()
"""


@pytest.mark.slow
def test_four_processes_share_a_study_and_one_is_killed(tiny, open_study):
    """Check that no trial is lost or trained twice when one of four workers is killed with SIGKILL
    in the middle of a step."""
    setting = open_study(tiny.project, set="training.epochs=6", budget=7, finalists=2)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CODE, str(tiny.root)]
    workers = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    victim = workers[0]
    assert victim.stdout.readline() == "begun\n"
    locks = setting.folder.parent / ".locks"
    owned = ""
    for _ in range(600):
        owners = {p.name: p.read_text() for p in locks.glob(".s-*.trial.lock.owner")}
        owned = next((n for n, said in owners.items() if f'"pid": {victim.pid},' in said), "")
        if owned or victim.poll() is not None:
            break
        time.sleep(0.05)
    assert owned, "the victim never held a trial"
    victim.send_signal(signal.SIGKILL)
    said = []
    for worker in workers[1:]:
        out, _ = worker.communicate(timeout=300)
        assert worker.returncode == 0
        said += out.splitlines()
    victim.communicate()
    store = Store(setting)
    trials = store.trials()
    assert not any(trial.in_work or trial.failed for trial in trials)
    assert 6 < sum(spent_on(trial, setting.ladder) for trial in trials) <= 7 + 1e-9
    ended = [line.split(" in ")[0] for line in said if line.startswith("s-")]
    names = [line.rpartition(" ")[0] for line in ended]
    assert len(set(names)) == len(names), "a step was trained twice"
    killed = owned.removeprefix(".").partition(".")[0]
    assert any(trial.run == killed and trial.losses for trial in trials)
    finalists = Worker(setting, store, str).finalists()
    assert len(finalists) == 2
    assert all(read_json(tiny.run(t.run) / "run.json")["complete"] for t in finalists)


def test_hyperband_trains_to_the_end(tiny, open_study, searched):
    """Check that brackets are told apart though a trial gives the losses on its way for nothing."""
    keys = {"schedule": "hyperband", "set": "training.epochs=4", "budget": 7, "default": False}
    trials = searched(open_study(tiny.project, **keys))
    assert {trial.begun for trial in trials} == {0, 1, 2}
    assert any(trial.begun < 2 and 2 in trial.losses for trial in trials)


def test_a_trial_that_stops_of_itself_is_over(tiny, open_study, searched):
    """Check that patience ends a trial at all levels, for the price of the one that was ordered."""
    setting = open_study(tiny.project, set="training.epochs=8 training.patience=1", budget=4)
    trials = searched(setting)
    early = [t for t in trials if t.ordered < 3 and 3 in t.losses]
    assert early and all(t.reached == 3 for t in early)
    assert sum(spent_on(t, setting.ladder) for t in trials) <= 4 + 1e-9


def test_epochs_can_be_searched(tiny, open_study, searched):
    """Check that each trial is trained for its own number of epochs, all of it."""
    space = {"training.epochs": {"choices": [1, 4, 6]}}
    tasks = {"low": {"share": 0.5}}
    setting = open_study(tiny.project, space=space, tasks=tasks, budget=5)
    for trial in searched(setting):
        if 1 in trial.losses:
            lines = (tiny.run(trial.run) / "fold-0" / "history.csv").read_text().splitlines()
            assert len(lines) == 1 + trial.config["training.epochs"]
            assert (tiny.run(trial.run) / "fold-0" / "fold.json").exists()


def test_a_fault_of_the_machine_fails_no_trial(tiny, open_study, searched, monkeypatch):
    """Check that a full disk stops the command and not the trial, however often, and that the same
    command goes on with it."""
    setting, times = open_study(tiny.project, budget=1.3), 0

    def full(*args):
        nonlocal times
        times += 1
        raise PodiumError("the disk is nearly full")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.search.trial.train_until", full)
        for _ in range(5):
            with pytest.raises(PodiumError, match="the disk"):
                searched(setting)
    trials = searched(setting)
    assert times == 5 and not any(trial.failed for trial in trials)
    assert trials[0].losses


def test_a_crash_is_told_when_a_trial_is_given_up(tiny, open_study, searched, monkeypatch):
    """Check that the reason of the third crash is the trial's error."""
    setting = open_study(tiny.project, budget=1.3)

    def crash(*args):
        raise ZeroDivisionError("nobody knows")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.search.trial.train_until", crash)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                searched(setting)
    trials = searched(setting)
    assert trials[0].error == "it crashed 3 times (ZeroDivisionError: nobody knows)"
    assert any(trial.losses for trial in trials[1:])


def test_a_space_that_is_all_wrong_stops(tiny, open_study, searched):
    """Check that ten failures in a row end the command with the last one's reason, at no cost."""
    space = {
        "optimizer.lr": {"log": [1e10, 1e12]},
        "optimizer.name": {"choices": ["sgd", "rmsprop"]},
    }
    setting = open_study(tiny.project, space=space, schedule="none", default=False, budget=40)
    with pytest.raises(PodiumError, match="the last 10 trials failed"):
        searched(setting)
    trials = Store(setting).trials()
    assert len(trials) >= 10 and sum(spent_on(t, setting.ladder) for t in trials[-10:]) == 0


def test_a_budget_below_one_and_a_number_of_trials(tiny, open_study, searched):
    """Check that the default gives way to what can be paid, and that a full study spends the rest
    on the trials that wait."""
    small = open_study(tiny.project, budget=0.6)
    assert sum(spent_on(t, small.ladder) for t in searched(small)) == pytest.approx(0.5)
    Store(small).delete()
    few = open_study(tiny.project, budget=6, trials=5)
    trials = searched(few)
    assert len(trials) == 5 and sum(3 in t.losses or 2 in t.losses for t in trials) >= 2


def test_the_best_epoch_is_judged_where_it_is_kept(tiny, open_study, searched):
    """Check that with checkpoint: best a level's score is that of its best epoch so far."""
    keys = {"set": "training.epochs=6 training.checkpoint=best", "budget": 4}
    trials = searched(open_study(tiny.project, **keys))
    for trial in trials:
        for level, epochs in enumerate((1, 2, 3, 6)):
            if level not in trial.scores:
                continue
            text = (tiny.run(trial.run) / "fold-0" / "history.csv").read_text().splitlines()
            column = text[0].split(",").index("valid_score")
            scores = [float(line.split(",")[column]) for line in text[1 : epochs + 1]]
            assert trial.scores[level] == pytest.approx(max(scores), abs=1e-5)


def test_fresh_respects_whoever_works(tiny, open_study, searched, held_elsewhere):
    """Check that a trial in work and a finalist's fold in work keep FRESH=1 from deleting, and that
    a worker of the former study stops when it comes back."""
    setting = open_study(tiny.project, budget=1.5)
    searched(setting)
    locks = setting.folder.parent / ".locks"
    for name in ("s-0001.trial.lock", "s-0000.fold-0.lock"):
        with held_elsewhere(locks / name), pytest.raises(PodiumError, match="being worked on"):
            Store(setting).delete()
    assert tiny.run("s-0000").exists()
    old = Store(setting)
    old.open()
    Store(setting).delete()
    searched(setting)
    with pytest.raises(PodiumError, match="begun anew"):
        Worker(setting, old, str).search()


def test_two_projects_share_a_database(make_tiny, open_study, searched):
    """Check that studies of one name in two projects do not meet, not even when one is deleted."""
    one, other = (make_tiny(folder=name, images=True) for name in "ab")
    url = f"sqlite:///{one.root / 'studies.db'}"
    first = open_study(one.project, storage=url, budget=1.5)
    found = told(searched(first))
    second = open_study(other.project, storage=url, budget=1.5)
    assert told(searched(second)) == found
    Store(second).delete()
    assert told(Store(first).trials()) == found


def test_a_trial_that_was_killed_before_it_was_complete(tiny, open_study, searched, monkeypatch):
    """Check that a trial with its last value is completed by whoever opens the study next."""
    setting = open_study(tiny.project, budget=1)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_close", lambda *_: None)
        searched(setting)
    store = Store(setting)
    store.open()
    assert [t.state.name for t in store._optuna.trials if 2 in t.intermediate_values] == [
        "COMPLETE"
    ]


def test_readers_write_nothing(tiny, open_study, searched):
    """Check that looking at a study leaves its journal as it is."""
    setting = open_study(tiny.project, budget=1)
    searched(setting)
    before = Store(setting).journal.read_bytes()
    for _ in range(3):
        Store(setting).found()
    assert Store(setting).journal.read_bytes() == before
