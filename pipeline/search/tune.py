"""`make tune`: search for a better recipe, alone or with other workers, and train the finalists."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.project import Project
from pipeline.search.best import write_best
from pipeline.search.farm import farm
from pipeline.search.records import Found
from pipeline.search.setting import Setting, open_setting
from pipeline.search.store import Store
from pipeline.search.trial import tidy
from pipeline.search.worker import Worker
from pipeline.training.engine import Engine
from pipeline.training.gate import check_audit
from pipeline.training.train import shared_folds

Say = Callable[[str], None]


@dataclass(frozen=True)
class TuneRequest:
    """What `make tune` was asked for. `seconds`: after which no new step is begun. `engine` and
    `workers`: who does the work, this process alone where there is no engine."""

    comp: str
    study: str
    fresh: bool = False
    seconds: float | None = None
    engine: Engine | None = None
    workers: int | None = None


@dataclass(frozen=True)
class Tuned:
    """What a study has found, the files that tell of it, and its finalists' runs."""

    setting: Setting
    found: Found
    paths: tuple[Path, ...]
    finalists: tuple[str, ...]


def tune(project: Project, request: TuneRequest, say: Say) -> Tuned:
    """Go on with a study until its budget is spent, train its finalists, and tell of it."""
    setting = open_setting(project, request.comp, request.study)
    store = Store(setting)
    if not request.fresh:
        store.check_there()
    check_audit(setting.data, setting.folds, say)
    shared_folds(setting.data, say)
    if request.fresh:
        store.delete()
    store.open()
    _announce(setting, store, say)
    until = None if request.seconds is None else time.time() + request.seconds
    worker = Worker(setting, store, say, until)
    if request.engine is None:
        worker.search()
        worker.finish()
    else:
        farm(setting, request.engine, request.workers, until, say)
    return _told(setting, store, worker)


def _announce(setting: Setting, store: Store, say: Say) -> None:
    """Say what is searched, by whom, and how much of it is done."""
    study, there = setting.study, store.trials()
    how = study.sampler if study.schedule == "none" else f"{study.sampler}, {study.schedule}"
    levels = ", ".join(level.name for level in setting.ladder.levels)
    said = f"{setting.name}: {len(setting.space.params)} parameters, {how}; trained to {levels}; "
    say(f"{said}budget {study.budget:g} whole trainings, fold {_listed(setting.judged_on)}")
    if not there and study.default and setting.default is None:
        say(f"{setting.name}: the recipe's own values lie outside of the space: not a trial")
    if there:
        say(f"{setting.name}: goes on with {len(there)} trials")


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def _told(setting: Setting, store: Store, worker: Worker) -> Tuned:
    """Draw and write what was found; what nobody will go on with loses its checkpoints."""
    from pipeline.search.charts import draw_all

    found = store.found()
    paths = draw_all(setting.folder, found)
    if found.best is not None:
        paths.append(setting.folder / "best.yaml")
        write_best(paths[-1], setting, found, found.best)
    finalists = tuple(trial.run for trial in worker.finalists())
    if not any(trial.in_work for trial in found.trials):
        for trial in found.trials:
            if trial.run not in finalists and not trial.failed:
                tidy(setting.run(trial.number, trial.config))
    return Tuned(setting, found, tuple(paths), finalists)
