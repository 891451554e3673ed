"""How the probabilities of a run or ensemble come from those of trained runs, blend by blend."""

from dataclasses import dataclass

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.decisions.calibration import Calibration
from pipeline.ensemble.blending.blend import Blend
from pipeline.ensemble.blending.pools import fit_ranks
from pipeline.ensemble.build import open_decided
from pipeline.ensemble.decide import Inputs
from pipeline.ensemble.members import read_record, why_unusable
from pipeline.ensemble.outputs import fold_stacks, mean_probs
from pipeline.errors import PodiumError
from pipeline.folds import Folds


@dataclass(frozen=True)
class Plan:
    """A run, or an ensemble: its members, each of them one or several plans that differ by their
    seed, the blend of these and its calibration. A run that is calibrated is its own member."""

    name: str
    members: tuple[tuple["Plan", ...], ...] = ()
    blend: Blend | None = None
    calibration: Calibration | None = None

    def runs(self) -> list[str]:
        """Return the runs whose networks are needed, each once."""
        if self.blend is None:
            return [self.name]
        inner = (plan.runs() for seeds in self.members for plan in seeds)
        return list(dict.fromkeys(name for names in inner for name in names))

    def probs(self, of_runs: dict[str, np.ndarray]) -> np.ndarray:
        """Return probabilities (n, c) float32 from those of the runs' networks, (networks, n, c)
        by name.

        Rounded to float32 wherever training and blending store them, so that the same pictures get
        the same numbers.
        """
        if self.blend is None or self.calibration is None:
            return _mean(of_runs[self.name])
        seen = [_Pictures.of(seeds, of_runs) for seeds in self.members]
        chain = self.blend, self.calibration
        return mean_probs(*chain, fold_stacks(*chain, seen, "test"))


@dataclass(frozen=True, eq=False)
class _Pictures:
    """What a member says of new pictures: a `Predicted` as `fold_stacks` takes it."""

    probs: dict[str, np.ndarray]
    folds: list[np.ndarray] | None

    @classmethod
    def of(cls, seeds: tuple[Plan, ...], of_runs: dict[str, np.ndarray]) -> "_Pictures":
        means = _mean([plan.probs(of_runs) for plan in seeds])
        if any(plan.blend is not None for plan in seeds):
            return cls({"test": means}, None)
        networks = [of_runs[plan.name] for plan in seeds]
        if len({len(of_run) for of_run in networks}) > 1:
            return cls({"test": means}, None)
        return cls({"test": means}, [_mean(fold) for fold in zip(*networks, strict=True)])

    def fold_models(self, part: str) -> list[np.ndarray] | None:
        return self.folds


def _mean(values: object) -> np.ndarray:
    return np.mean(values, axis=0, dtype=np.float64).astype(np.float32)


def open_plan(data: CompetitionData, folds: Folds, name: str, asked: str = "FROM") -> Plan:
    """Return the plan of run or ensemble `name` as a member; what could not be submitted is
    refused. `asked` says who asked for the name."""
    record = read_record(data, name, asked)
    reason = why_unusable(record, data, folds)
    if reason:
        raise PodiumError(f"{asked}: {name} cannot answer pictures: {reason}; name another")
    if record.get("imported"):
        raise PodiumError(
            f"{asked}: {name} was imported, and has no network to show pictures to; "
            "FROM= a trained run, or an ensemble of such"
        )
    if "members" not in record:
        return Plan(name)
    record = open_decided(data, folds, name).record
    needs = f"FROM: {name} needs all its members"
    members = tuple(
        tuple(open_plan(data, folds, run, needs) for run in member["runs"])
        for member in record["members"]
    )
    ranks = None
    if record["blend"] == "rank":
        inputs = Inputs(data, folds, [plan.name for seeds in members for plan in seeds])
        ranks = fit_ranks(inputs.rows(inputs.members()).seen.stack)
    task = data.competition.task
    blend = Blend.from_json(record["blend"], task, record["blend_values"], ranks)
    return Plan(name, members, blend, Calibration.from_json(record["calibration"]))


def open_answering(data: CompetitionData, folds: Folds, name: str) -> Plan:
    """Return the plan of run or ensemble `name` that answers pictures itself: a run's
    probabilities, too, are calibrated as those of its submission."""
    plan = open_plan(data, folds, name)
    if plan.blend is not None:
        return plan
    calibration = open_decided(data, folds, name).calibration
    alone = Blend("mean", data.competition.task, np.ones(1))
    return Plan(name, ((plan,),), alone, calibration)
