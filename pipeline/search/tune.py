"""`make tune`: search for a better recipe, alone or with other workers, and train the finalists."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.search.best import write_best
from pipeline.search.farm import farm
from pipeline.search.importance import Ranked, rank
from pipeline.search.opening import open_setting
from pipeline.search.records import Found
from pipeline.search.report import Part, report_parts
from pipeline.search.setting import Setting
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
    """What a study has found and what matters in it, the files that tell of it, the pruned study if
    there is one, and the finalists' runs."""

    setting: Setting
    found: Found
    ranked: Ranked
    paths: tuple[Path, ...]
    pruned: Path | None
    finalists: tuple[str, ...]

    def report(self) -> list[Part]:
        """Return the sentences and tables that end `make tune`."""
        project = self.setting.project
        return report_parts(
            self.found,
            self.ranked,
            comp=self.setting.data.competition.name,
            default=self.setting.default,
            finalists=self.finalists,
            pruned="" if self.pruned is None else project.shown(self.pruned),
            written=[project.shown(path) for path in self.paths],
        )


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
    try:
        if request.engine is None:
            worker.search()
            worker.finish()
        else:
            farm(setting, request.engine, request.workers, until, say)
    except Exception:  # what was found until then is worth its pictures
        with contextlib.suppress(PodiumError):
            _told(setting, store, worker)
        raise
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
    from pipeline.search.pruned import write_pruned

    found, folder = store.found(), setting.folder
    ranked = rank(found)
    paths = draw_all(folder, found, ranked)
    if found.best is not None:
        write_best(folder / "best.yaml", setting, found, found.best)
        paths.append(folder / "best.yaml")
    pruned = write_pruned(folder / "pruned.yaml", found, ranked)
    finalists = tuple(trial.run for trial in worker.finalists())
    if not (worker.is_late or any(trial.in_work for trial in found.trials)):
        for trial in found.trials:
            if trial.run not in finalists:
                tidy(folder.parent / trial.run)
    last = folder / "pruned.yaml" if pruned else None
    return Tuned(setting, found, ranked, tuple(paths), last, finalists)
