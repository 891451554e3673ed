"""How the probabilities of a run or ensemble come from those of trained runs, blend by blend."""

from dataclasses import dataclass

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.ensemble.blend import Blend
from pipeline.ensemble.build import open_decided
from pipeline.ensemble.decide import Inputs
from pipeline.ensemble.members import load_members, read_record, why_unusable
from pipeline.errors import PodiumError
from pipeline.folds import Folds


@dataclass(frozen=True)
class Plan:
    """A run, or an ensemble: its members, each of them one or several plans that differ by their
    seed, and the blend of these."""

    name: str
    members: tuple[tuple["Plan", ...], ...] = ()
    blend: Blend | None = None

    def runs(self) -> list[str]:
        """Return the runs whose networks are needed, each once."""
        if self.blend is None:
            return [self.name]
        inner = (plan.runs() for seeds in self.members for plan in seeds)
        return list(dict.fromkeys(name for names in inner for name in names))

    def probs(self, of_runs: dict[str, np.ndarray]) -> np.ndarray:
        """Return probabilities (n, c) float32 from those of the runs, by name.

        Rounded to float32 wherever training and blending store them, so that the same pictures get
        the same numbers.
        """
        if self.blend is None:
            return of_runs[self.name]
        means = [
            np.mean([plan.probs(of_runs) for plan in seeds], axis=0, dtype=np.float64)
            for seeds in self.members
        ]
        return self.blend.apply(np.stack(means).astype(np.float32))


def open_plan(data: CompetitionData, folds: Folds, name: str, asked: str = "FROM") -> Plan:
    """Return the plan of run or ensemble `name`; what could not be submitted is refused.

    `asked` says who asked for the name.
    """
    record = read_record(data, name, asked)
    reason = why_unusable(record, data, folds)
    if reason:
        raise PodiumError(f"{asked}: {name} cannot answer pictures: {reason}")
    if "members" not in record:
        return Plan(name)
    record = open_decided(data, folds, name).record
    needs = f"FROM: {name} needs all its members"
    members = tuple(
        tuple(open_plan(data, folds, run, needs) for run in member["runs"])
        for member in record["members"]
    )
    weights = np.array([member["weight"] for member in record["members"]])
    reference = None
    if record["blend"] == "rank":
        reference = _reference(data, folds, [plan.name for seeds in members for plan in seeds])
    blend = Blend(record["blend"], data.competition.task, weights, reference)
    return Plan(name, members, blend)


def _reference(data: CompetitionData, folds: Folds, names: list[str]) -> np.ndarray:
    """Return the out-of-fold rows (members, m, c) that ranks were fitted on."""
    rows = Inputs(data, folds, names).rows(load_members(data, folds, names))
    return rows.take(~rows.without).stack
