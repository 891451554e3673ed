"""What is exported: the networks of every run of a plan, and who stands in for them out of fold."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts.predictions import Predictions
from pipeline.competition import CompetitionData
from pipeline.deploy.networks import RunNetworks
from pipeline.ensemble.members import read_record, why_unusable
from pipeline.errors import PodiumError
from pipeline.folds import Folds


@dataclass(frozen=True, eq=False)
class Part:
    """One trained network: the run it is of, and its file of weights."""

    run: RunNetworks
    file: Path

    @property
    def name(self) -> str:
        """Its name as part of a file's."""
        return f"{self.run.name}-{self.file.parent.name}"

    def validated(self) -> set[str]:
        """Return the ids of the rows that its fold validates, which it has not been trained on."""
        path = self.file.parent / "valid.npz"
        return {*Predictions.load(path).ids.tolist()} if path.exists() else set()


@dataclass(frozen=True, eq=False)
class RunParts:
    """A run of the plan: all its networks, the one that goes along where few do, and the fold
    networks that are judged out of fold. Those of a refit are its run's: it has seen every row."""

    name: str
    all: tuple[Part, ...]
    one: Part
    judged: tuple[Part, ...]

    def shipped(self, few: bool) -> tuple[Part, ...]:
        return (self.one,) if few else self.all


def run_parts(
    data: CompetitionData, folds: Folds, name: str, say: Callable[[str], None]
) -> RunParts:
    """Return the networks of a run by name.

    The one that stands for all is that of its refit, if there is a finished one, else the first
    fold's: nothing that was measured decides it.
    """
    run = RunNetworks(data, name, say, exact=True)
    parts = tuple(Part(run, file) for file in run.files)
    origin = read_record(data, name).get("refit_of")
    if not origin:
        return RunParts(name, parts, _refit(data, folds, name, say) or parts[0], parts)
    folder = data.project.run(data.competition.name, origin)
    if not (folder / "run.json").exists():
        raise PodiumError(
            f"FROM: {name} is a refit of {origin}, which is not there any more, and no other "
            "network can be judged on rows it has not seen; train it again"
        )
    base = RunNetworks(data, origin, say, exact=True)
    return RunParts(name, parts, parts[0], tuple(Part(base, file) for file in base.files))


def _refit(
    data: CompetitionData, folds: Folds, name: str, say: Callable[[str], None]
) -> Part | None:
    """Return the network of a run's finished refit, None where there is none."""
    refit = f"{name}-refit"
    if not (data.project.run(data.competition.name, refit) / "run.json").exists():
        return None
    record = read_record(data, refit)
    if record.get("refit_of") != name or why_unusable(record, data, folds):
        return None
    run = RunNetworks(data, refit, say, exact=True)
    return Part(run, run.files[0])


def training_rows(part: Part, ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return those of `rows` (positions in `ids`) that a network was trained on."""
    unseen = part.validated()
    return np.array([row for row in rows.tolist() if ids[row] not in unseen], np.int64)
