"""From pixel to answer: the folder, opened as its users open it, against torch."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.decisions import Rule
from pipeline.deploy.answers import decide_answers
from pipeline.deploy.export.rows import Shown, drawn
from pipeline.deploy.export.sources import RunParts
from pipeline.deploy.exported import Exported
from pipeline.deploy.pictures import Pictures
from pipeline.deploy.plan import Plan
from pipeline.deploy.predict import look
from pipeline.errors import PodiumError

PICTURES = 200
CLOSE = 1e-4  # by which probabilities of float32 may differ


@dataclass(frozen=True)
class Compared:
    """How many pictures went from file to answer, how many got the same one as in torch, by how
    much probabilities differ at most, and the milliseconds of one picture, decoding included."""

    pictures: int
    equal: int
    largest_difference: float
    ms_per_picture: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    exported: Exported,
    runs: tuple[RunParts, ...],
    few: bool,
    plan: Plan,
    rule: tuple[Rule, np.ndarray],
    shown: Shown,
) -> Compared:
    """Compare an opened folder with the networks it was made of, in torch on the CPU in single
    precision, on pictures drawn from those shown."""
    paths = [shown.paths[i] for i in drawn(shown.ids, None, PICTURES)]
    started = time.perf_counter()
    theirs = exported.answer(paths, confidence=0.0)
    seconds = time.perf_counter() - started
    of_runs, notes = _in_torch(runs, few, paths, len(exported.classes))
    ours = decide_answers(*rule, exported.task, plan.probs(of_runs), notes, None)
    equal = ours.labels == theirs.labels
    equal = equal if equal.ndim == 1 else equal.all(axis=1)
    off = float(np.abs(ours.probs - theirs.probs).max())
    return Compared(len(paths), int(equal.sum()), off, 1000 * seconds / len(paths))


def _in_torch(
    runs: tuple[RunParts, ...], few: bool, paths: list[Path], classes: int
) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    """Return what the networks that go along say in torch, by run (networks, n, c)."""
    parts = {run.name: run.shipped(few) for run in runs}
    networks = {part.run.name: part.run for found in parts.values() for part in found}
    pictures = Pictures([str(path) for path in paths], paths)
    said, notes = look(list(networks.values()), pictures, classes)
    return {
        name: np.stack([said[p.run.name][p.run.files.index(p.file)] for p in found])
        for name, found in parts.items()
    }, notes


def refuse_unfaithful(found: Compared, precision: str, changed: bool) -> None:
    """Refuse networks in single precision that do not answer as they do in torch."""
    if precision != "float32" or changed:
        return
    if found.equal < found.pictures or found.largest_difference > CLOSE:
        raise PodiumError(
            f"FROM: in ONNX its networks answer {found.equal} of {found.pictures} pictures as in "
            f"torch, and probabilities differ by {found.largest_difference:.2g}, more than "
            f"{CLOSE:g}; export another run, and tell the architecture's name where Podium is kept"
        )
