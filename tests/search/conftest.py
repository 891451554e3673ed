"""A study of a tiny competition, opened, and its trials as far as they tell of decisions."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config.project import Project
from pipeline.search.opening import open_setting
from pipeline.search.records import Trial
from pipeline.search.setting import Setting
from pipeline.search.store import Store
from pipeline.search.worker import Worker
from pipeline.training.train import shared_folds

ROOT = Path(__file__).parents[2]
STUDY: dict[str, Any] = {
    "arch": "lenet",
    "set": "training.epochs=4",
    "sampler": "random",
    "schedule": "halving",
    "eta": 2,
    "budget": 3,
    "finalists": 1,
    "space": {
        "optimizer.lr": {"log": [1e-3, 1e-2]},
        "model.drop_rate": {"choices": [0.0, 0.2, 0.4]},
        "training.batch_size": {"powers_of_two": [8, 16]},
    },
}


def write_study(project: Project, **keys: Any) -> None:
    """Write the study `s`; None takes a key out."""
    content = {k: v for k, v in {**STUDY, **keys}.items() if v is not None}
    project.studies.mkdir(parents=True, exist_ok=True)
    project.study("s").write_text(yaml.safe_dump(content))


@pytest.fixture
def studied() -> Callable[..., None]:
    return write_study


@pytest.fixture
def open_study() -> Callable[..., Setting]:
    """Write a study with changed keys, and open it."""

    def opened(project: Project, **keys: Any) -> Setting:
        write_study(project, **keys)
        setting = open_setting(project, "tiny", "s")
        shared_folds(setting.data, str)
        return setting

    return opened


@pytest.fixture
def held_elsewhere() -> Callable[[Path], contextlib.AbstractContextManager[None]]:
    """Hold a lock file in another process."""
    code = (
        "import sys; from pathlib import Path; from pipeline.artifacts.locks import lock\n"
        "with lock(Path(sys.argv[1]), 'it'):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )

    @contextlib.contextmanager
    def hold(path: Path) -> Iterator[None]:
        command, pipe = [sys.executable, "-c", code, str(path)], subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
            assert process.stdout.readline() == "held\n"
            yield
            process.stdin.close()

    return hold


@pytest.fixture
def searched() -> Callable[[Setting], list[Trial]]:
    """Work on a study until its budget is spent, and return its trials."""

    def search(setting: Setting, *, finish: bool = False) -> list[Trial]:
        store = Store(setting)
        store.open()
        worker = Worker(setting, store, str)
        worker.search()
        if finish:
            worker.finish()
        return store.trials()

    return search
