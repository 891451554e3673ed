"""A study shared out among workers that an engine runs, each in a process of its own."""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipeline.artifacts.files import read_json, write_json
from pipeline.config.project import Project
from pipeline.config.times import few
from pipeline.errors import PodiumError
from pipeline.search.opening import open_setting
from pipeline.search.setting import Setting
from pipeline.search.store import Store
from pipeline.search.worker import Worker
from pipeline.training.engine import Call, Engine

Say = Callable[[str], None]
LOOK = 1.0  # seconds between two looks at what the workers have done
WORK = "pipeline.search.farm:work"


def farm(
    setting: Setting, engine: Engine, count: int | None, until: float | None, say: Say
) -> None:
    """Let an engine run the workers; what one that failed has left is done by the others."""
    count = count or getattr(engine, "workers", None)
    if not count:
        raise PodiumError(
            f"WORKERS: how many shall share the study on {engine.name}? Type WORKERS=4"
        )
    path = setting.folder / f"worker-{os.getpid()}.json"
    write_json(path, _said(setting, engine, until))
    calls = [
        Call(f"{setting.name}, worker {n + 1}", WORK, path, engine.cpus, engine.gpus)
        for n in range(count)
    ]
    failed = []
    try:
        with _Told(setting, say):
            for call, error in engine.run(calls):
                if error:
                    say(f"warning: {call.name}: {error}")
                    failed.append(error)
    finally:
        path.unlink(missing_ok=True)
    if len(failed) == count:
        raise PodiumError(failed[0])


def _said(setting: Setting, engine: Engine, until: float | None) -> dict:
    return {
        "root": str(setting.project.root),
        "competition": setting.data.competition.name,
        "study": setting.name,
        "until": until,
        "threads": engine.cpus,
    }


def work(path: Path) -> None:
    """Be the worker that a file describes, as an engine's call does."""
    said = read_json(path)
    setting = open_setting(Project(Path(said["root"])), said["competition"], said["study"])
    runtime = setting.base.runtime
    if runtime.threads == "auto":  # each worker has its share of the cores
        runtime = runtime.model_copy(update={"threads": said["threads"]})
    setting = replace(setting, base=setting.base.model_copy(update={"runtime": runtime}))
    store = Store(setting)
    store.open()
    worker = Worker(setting, store, print, said["until"])
    worker.search()
    worker.finish()


class _Told:
    """Says what other processes have done, while it is entered."""

    def __init__(self, setting: Setting, say: Say) -> None:
        self._store, self._say = Store(setting), say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._known = set(self._steps())

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK):
            self._tell()
        self._tell()

    def _tell(self) -> None:
        for key, said in self._steps().items():
            if key not in self._known:
                self._known.add(key)
                self._say(said)

    def _steps(self) -> dict[tuple[int, int], str]:
        """Return a sentence for each step that has ended, by trial and level."""
        found = self._store.found()
        said = {}
        for trial in found.trials:
            if trial.failed:
                said[trial.number, -1] = f"{trial.run}: failed: {trial.error}"
            for level in trial.losses:
                name = found.ladder.levels[level].name
                shown = f"{-found.sign * trial.losses[level]:.4f}"
                said[trial.number, level] = (
                    f"{trial.run}: {name} {shown} in {few(trial.seconds[level])} s"
                )
        return said
