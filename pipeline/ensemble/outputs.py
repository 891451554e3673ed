"""What a decision leaves on disk: the ensemble's own predictions, and hashes of what was there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.artifacts.files import file_hash
from pipeline.artifacts.predictions import Predictions, logits_of
from pipeline.competition import CompetitionData
from pipeline.decisions.calibration import Calibration
from pipeline.ensemble.blending.blend import Blend
from pipeline.ensemble.members import PARTS, wanted_ids
from pipeline.ensemble.stack import Stack
from pipeline.folds import Folds

LINEAR = ("mean", "hill-climbing", "log-loss", "cma-es")


class Predicted(Protocol):
    """Probabilities (n, c) by part, and those of a part by fold model where known."""

    @property
    def probs(self) -> Mapping[str, np.ndarray]: ...

    def fold_models(self, part: str) -> list[np.ndarray] | None: ...


def part_stack(members: Sequence[Predicted], part: str) -> Stack:
    """Return the members' probabilities of a part, where they lie."""
    return Stack.of([member.probs[part] for member in members])


def fold_stacks(
    blend: Blend, calibration: Calibration, members: Sequence[Predicted], part: str
) -> list[Stack]:
    """Return what a chain is applied to, before the mean of the results: a stack per fold model.

    Calibration, temperatures and all that is not linear are fitted on rows that one fold model each
    has predicted. The mean of several is less sure of itself than each of them, so each fold
    model's blend is made and calibrated, and the mean is taken last. A member whose fold models are
    not known, or that is one network, counts with its mean in each; where members have different
    numbers of them, or the chain is linear, the means alone are blended.
    """
    means = [part_stack(members, part)]
    if blend.method in LINEAR and calibration.kind == "none":
        return means
    known = [member.fold_models(part) for member in members]
    found = [folds if folds and len(folds) > 1 else None for folds in known]
    counts = {len(folds) for folds in found if folds}
    if len(counts) != 1:
        return means
    pairs = list(zip(members, found, strict=True))
    return [
        Stack.of([m.probs[part] if folds is None else folds[at] for m, folds in pairs])
        for at in range(counts.pop())
    ]


def mean_probs(blend: Blend, calibration: Calibration, stacks: Sequence[Stack]) -> np.ndarray:
    """Return the mean (n, c) float32 over stacks of the calibrated blend of each."""
    total = np.zeros(stacks[0].shape[1:])
    for stack in stacks:
        total += calibration.apply(blend.apply(stack))
    return (total / len(stacks)).astype(np.float32)


def write_predictions(
    data: CompetitionData, folds: Folds, folder: Path, probs: dict[str, np.ndarray], runs: list[str]
) -> None:
    """Write an ensemble's own predictions, by part. Those out of fold are cross-fitted, so that a
    member of another ensemble carries no row's own label into it (only, as every base model does,
    those of the other parts, and the choice of method, made on all rows)."""
    meta = {
        "competition": data.competition.name,
        "run": folder.name,
        "folds_hash": folds.hash,
        "data_hash": data.hash,
        "members": runs,
        "coverage": {"folds": list(folds.numbers), "of": list(folds.numbers), "missing": ""},
    }
    classes = np.asarray(data.classes, np.str_)
    for part, ids in wanted_ids(data, folds).items():
        if part not in probs:
            continue
        logits = logits_of(probs[part], data.competition.task)
        stored = Predictions(ids, classes, logits, probs[part], meta | {"part": part})
        stored.save(folder / f"{part}.npz")


def output_hashes(folder: Path) -> dict[str, str]:
    """Return the hashes of a run's or ensemble's prediction files that are there."""
    paths = (folder / f"{part}.npz" for part in PARTS)
    return {path.name: file_hash(path) for path in paths if path.exists()}
