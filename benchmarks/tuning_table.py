"""Learning curves of several hundred configurations: what `benchmarks.tuning` replays.

Three of the five folds train, the fourth validates, the fifth is the test; the competition's own
test labels are never opened. Podium's own sessions train, an epoch at a time, and after each the
network answers the rows of both folds.
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import qmc

from pipeline.artifacts.files import write_with
from pipeline.artifacts.predictions import probabilities
from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.config.recipe import Recipe, load_recipe
from pipeline.config.schema import merged, parse, parse_overrides
from pipeline.config.study import Parameter
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.images.cache import Pixels
from pipeline.metrics import get_metric
from pipeline.search.space import Config, Space
from pipeline.training.fold import open_session
from pipeline.training.job import FoldJob
from pipeline.training.parts import Parts
from pipeline.training.scores import score_probs
from pipeline.training.train import shared_folds

TRAIN, VALID, TEST = (0, 1, 2), 3, 4  # folds
SAVE_EVERY = 8  # configurations


@dataclass(frozen=True)
class Task:
    """What is searched: a competition, a recipe, what SET= says of it, and the space."""

    comp: str
    recipe: str
    arch: str
    overrides: str
    space: dict[str, dict[str, Any]]
    epochs: int = 27

    @property
    def parsed(self) -> Space:
        return Space.of({key: Parameter(**said) for key, said in self.space.items()})


TASKS = {
    "digits": Task(
        "digits",
        "lenet",
        "lenet",
        "image.size=16 image.channels=1 augment.rotate=0",
        {
            "optimizer.lr": {"log": [1e-4, 1e-1]},
            "optimizer.weight_decay": {"log": [1e-4, 3.0]},
            "training.batch_size": {"powers_of_two": [16, 256]},
            "model.drop_rate": {"choices": [0.0, 0.1, 0.2, 0.4, 0.6]},
            "model.hidden": {"choices": [[], [64], [256], [256, 256]]},
            "augment.scale.0": {"uniform": [0.2, 0.95]},
            "loss.label_smoothing": {"uniform": [0.0, 0.3]},
        },
    ),
    "heads": Task(
        "clothing",
        "frozen",
        "tf_efficientnet_lite0",
        "image.size=96",
        {
            "optimizer.lr": {"log": [1e-4, 1e-1]},
            "optimizer.weight_decay": {"log": [1e-4, 3.0]},
            "training.batch_size": {"powers_of_two": [32, 512]},
            "model.drop_rate": {"choices": [0.0, 0.1, 0.2, 0.4, 0.6]},
            "model.hidden": {"choices": [[], [64], [256]]},
            "loss.label_smoothing": {"uniform": [0.0, 0.3]},
            "schedule.warmup": {"uniform": [0.0, 0.5]},
        },
    ),
}


@dataclass(frozen=True)
class Table:
    """Losses and scores (n, epochs) of configurations, inf where training broke off."""

    configs: list[Config]
    valid_loss: np.ndarray
    test_loss: np.ndarray
    valid_score: np.ndarray
    test_score: np.ndarray
    seconds: np.ndarray

    @classmethod
    def load(cls, path: Path) -> "Table":
        if not path.exists():
            raise PodiumError(f"{path}: no such table; make it by `benchmarks.tuning table`")
        with np.load(path, allow_pickle=False) as kept:
            arrays = {key: kept[key] for key in kept.files if key != "configs"}
            return cls([json.loads(text) for text in kept["configs"].tolist()], **arrays)

    def save(self, path: Path) -> None:
        arrays = {k: v for k, v in vars(self).items() if k != "configs"}
        arrays["configs"] = np.array([json.dumps(config) for config in self.configs])

        def write(temporary: Path) -> None:
            with open(temporary, "wb") as handle:
                np.savez_compressed(handle, **arrays)

        write_with(path, write)


def drawn(space: Space, count: int, seed: int = 0) -> list[Config]:
    """Return configurations of a scrambled Sobol sequence."""
    sequence = qmc.Sobol(len(space.params), scramble=True, rng=np.random.default_rng(seed))
    points = sequence.random_base2(max(count - 1, 1).bit_length())
    return [space.config(point) for point in points[:count]]


def make_table(
    project: Project, task: Task, count: int, path: Path, say: Callable[[str], None]
) -> Table:
    """Train what is missing of the first `count` configurations, and return the table so far."""
    kept = Table.load(path) if path.exists() else None
    configs = drawn(task.parsed, max(count, 0 if kept is None else len(kept.configs)))
    if kept is not None and kept.configs != configs[: len(kept.configs)]:
        raise PodiumError(f"{path}: of another space; delete it and run the same command again")
    lines = [] if kept is None else list(zip(*_columns(kept), strict=True))
    bench, started = Bench.open(project, task), time.perf_counter()
    for number in range(len(lines), count):
        lines.append(bench.curve(configs[number]))
        if number % SAVE_EVERY == SAVE_EVERY - 1 or number + 1 == count:
            columns = [np.array(column) for column in zip(*lines, strict=True)]
            kept = Table(configs[: number + 1], *columns)
            kept.save(path)
            say(f"{number + 1} of {count} in {time.perf_counter() - started:.0f} s")
    return kept


def _columns(table: Table) -> list[np.ndarray]:
    return [
        table.valid_loss,
        table.test_loss,
        table.valid_score,
        table.test_score,
        table.seconds,
    ]


@dataclass(frozen=True)
class Bench:
    """A task's rows and pictures, ready to be trained on."""

    task: Task
    data: CompetitionData
    folds: Folds
    parts: Parts
    recipe: Recipe
    pixels: Pixels

    @classmethod
    def open(cls, project: Project, task: Task) -> "Bench":
        data = load_data(project, task.comp)
        folds = shared_folds(data, print)
        recipe = load_recipe(
            project,
            task.recipe,
            arch=task.arch,
            competition=data.competition.recipe_overrides(),
            overrides=f"{task.overrides} training.epochs={task.epochs} "
            "runtime.device=cpu runtime.threads=1",
        )
        parts = Parts(data, folds, None)
        return cls(task, data, folds, parts, recipe, parts.open(recipe.image)[0])

    def curve(self, config: Config) -> tuple[np.ndarray, ...]:
        """Return log losses and scores of both folds after every epoch, and the seconds."""
        epochs, found, started = self.task.epochs, [], time.perf_counter()
        rows = {"valid": self._rows(VALID), "test-fold": self._rows(TEST)}
        judges = get_metric("log_loss", self.data.metric.task), self.data.metric
        with tempfile.TemporaryDirectory() as folder:
            job = self._job(Path(folder) / "fold-0", config, rows)
            session = open_session(job)
            while len(found) < epochs:
                try:
                    session.train(len(found) + 1)
                except PodiumError:  # a loss that is no number; what follows stays as it is
                    break
                logits = [session.predict(part)[0] for part in rows]
                probs = [probabilities(part, self.data.metric.task) for part in logits]
                labels = [self.data.labels[part] for part in rows.values()]
                answers = list(zip(labels, probs, strict=True))
                found.append([score_probs(judge, *both) for judge in judges for both in answers])
                if session.stop is not None:  # collapsed: as good as it will ever be
                    break
        worst = found[-1] if found and len(session.history) == len(found) else [np.inf] * 4
        found += [worst] * (epochs - len(found))
        return *np.array(found).T, np.array(time.perf_counter() - started)

    def _rows(self, *folds: int) -> np.ndarray:
        return np.flatnonzero(np.isin(self.folds.fold, folds))

    def _job(self, folder: Path, config: Config, rows: dict[str, np.ndarray]) -> FoldJob:
        folder.mkdir()
        recipe = configured(self.recipe, config)
        train = self._rows(*TRAIN)
        return FoldJob(folder, 0, recipe, self.data, self.pixels, train, rows, {})


def configured(recipe: Recipe, config: Config) -> Recipe:
    """Return a recipe with the values of a configuration."""
    content = recipe.model_dump(mode="json")
    lists = {key: value for key, value in config.items() if key.rpartition(".")[2].isdigit()}
    said = " ".join(f"{k}={json.dumps(v)}" for k, v in config.items() if k not in lists)
    content = merged(content, parse_overrides(said.replace(", ", ",")))
    for key, value in lists.items():
        section, name, place = key.split(".")
        content[section][name][int(place)] = value
    return parse(Recipe, content, "space")
