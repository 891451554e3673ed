"""Make an ensemble of runs, or decide for a single run: `ensemble.json` and `chain.json`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.columns import left_out
from pipeline.artifacts.files import file_hash, read_object
from pipeline.artifacts.hashing import json_hash
from pipeline.artifacts.locks import lock
from pipeline.artifacts.predictions import Predictions
from pipeline.competition import CompetitionData
from pipeline.config.project import checked_name
from pipeline.decisions import Rule, fill
from pipeline.decisions.calibration import Calibration
from pipeline.ensemble.aligned import REMEDY
from pipeline.ensemble.blending.blend import Blend
from pipeline.ensemble.choice import ANY, Menu
from pipeline.ensemble.decide import KEYS, VERSION, Inputs, decide
from pipeline.ensemble.members import load_members, read_record, record_path, usable_runs
from pipeline.ensemble.outputs import fold_stacks, mean_probs, output_hashes
from pipeline.errors import PodiumError
from pipeline.folds import Folds


@dataclass(frozen=True)
class Decided:
    """A run or ensemble with its decision: `record` is its chain.json or ensemble.json, `replaced`
    what an ensemble of other members or labels in its place had been, '' if there was none."""

    name: str
    folder: Path
    record: dict[str, Any]
    made: bool = False
    left_out: dict[str, str] | None = None
    replaced: str = ""

    @property
    def rule(self) -> Rule:
        return Rule.from_json(self.record["rule"])

    @property
    def constant(self) -> np.ndarray:
        """The answer to a row without a picture: () or (c,)."""
        return np.array(self.record["constant"])

    @property
    def calibration(self) -> Calibration:
        return Calibration.from_json(self.record["calibration"])

    def test_answer(self, data: CompetitionData, folds: Folds) -> np.ndarray:
        """Return the answer to the test rows in the order of their table: (n,), or (n, c)."""
        probs = self.test_probs(data, folds)
        return fill(self.rule.apply(probs), ~data.test.pictured, self.constant)

    def test_probs(self, data: CompetitionData, folds: Folds) -> np.ndarray:
        """Return the calibrated test probabilities (n, c) in the order of the test table."""
        path = self.folder / "test.npz"
        if self.record["outputs"].get(path.name) != file_hash(path):
            raise PodiumError(f"{path}: changed since its rule was fitted; make ensemble again")
        if "ensemble" not in self.record and self.calibration.kind != "none":
            chain = Blend("mean", data.competition.task, np.ones(1)), self.calibration
            stacks = fold_stacks(*chain, load_members(data, folds, [self.name]), "test")
            if len(stacks) != self.record["fold_models"]:
                raise PodiumError(
                    f"{self.folder}: its rule was fitted for {self.record['fold_models']} fold "
                    f"models, {len(stacks)} have a test.npz now; make train again"
                )
            return mean_probs(*chain, stacks)
        stored = Predictions.load(path).with_classes(data.classes, str(path))
        return stored.rows(data.test.ids, str(path)).probs


def build_ensemble(
    data: CompetitionData,
    folds: Folds,
    runs: list[str] | None,
    name: str = "",
    *,
    mixed: bool = False,
    menu: Menu = ANY,
) -> Decided:
    """Blend `runs` (all finished ones if None), decide, and write `ensemble-NAME`.

    `mixed` lets runs of other folds, and imports without any, join; there is no honest score then.
    `menu` are the blends and rules to choose from. Nothing is computed again where the same members
    made the ensemble that is there.
    """
    names, left = (list(dict.fromkeys(runs)), {}) if runs else usable_runs(data, folds, mixed)
    if not names:
        comp = data.competition.name
        why = "".join(f"; {line}" for line in left_out(left))
        raise PodiumError(
            f"ensemble: {comp} has no finished run to blend; "
            f"make train COMP={comp} ARCH=densenet121 first{why}"
        )
    label = name or (json_hash(sorted(names), 6) if runs else "all")
    label = label if label.startswith("ensemble-") else f"ensemble-{label}"
    folder = data.project.run(data.competition.name, checked_name(label, "NAME"))
    left.pop(label, None)  # a broken record of what is being made
    if (folder / "run.json").exists():
        raise PodiumError(f"NAME: {folder.name} is a run; choose another NAME= for the ensemble")
    for run in names:
        if label in (run, *_runs_within(data, run)):
            raise PodiumError(f"RUNS: {run} holds {label} itself; choose another NAME=")
    path = folder / "ensemble.json"
    with lock(folder.parent / ".locks" / f"{label}.lock", label, wait=60):
        before = _earlier(path)
        record, made = decide(Inputs(data, folds, names, mixed, menu), path, label)
    return Decided(label, folder, record, made, left, _replaced(before, record))


def _earlier(path: Path) -> dict[str, Any]:
    """Return the ensemble that is about to be made anew; nothing where there is none, or it is
    broken."""
    try:
        return read_object(path, KEYS, "")
    except PodiumError:
        return {}


def _replaced(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return what an ensemble had been whose members or labels are others now."""
    if not before:
        return ""
    was, runs = ([m["name"] for m in record["members"]] for record in (before, now))
    if (was, before["data_hash"]) == (runs, now["data_hash"]):
        return ""
    score = "" if before["honest"] is None else f", honest {before['honest']:.4f}"
    score += f" ± {before['honest_se']:.4f}" if before["honest_se"] else ""
    labels = "" if before["data_hash"] == now["data_hash"] else ", on other labels"
    return f"{before['blend']} of {', '.join(was)}{score}{labels}"


def _runs_within(data: CompetitionData, name: str) -> list[str]:
    """Return the members of ensemble `name`, their members too; none for a run."""
    if not record_path(data.project.run(data.competition.name, name)).exists():
        return []  # deleted since; what it held cannot come back through it
    members = read_record(data, name).get("members", [])
    runs = [run for member in members for run in member["runs"]]
    return runs + [inner for run in runs if run != name for inner in _runs_within(data, run)]


def open_decided(data: CompetitionData, folds: Folds, name: str) -> Decided:
    """Return a run or ensemble with its decision; a run's is fitted now unless it is there."""
    folder = data.project.run(data.competition.name, name)
    path = folder / "ensemble.json"
    if path.exists():
        record = read_object(path, KEYS, "make ensemble again")
        if record.get("folds_hash") != folds.hash or record.get("data_hash") != data.hash:
            raise PodiumError(f"{path}: made on other folds or labels; make ensemble again")
        made_for = record["inputs"].get("version"), record["inputs"].get("metric")
        if made_for != (VERSION, data.metric.identity):
            raise PodiumError(f"{path}: decided for another metric or version; make ensemble again")
        _refuse_changed_members(path, record)
        return Decided(name, folder, record)
    with lock(folder.parent / ".locks" / f"{name}.chain.lock", f"the rule of {name}", wait=60):
        record, made = decide(Inputs(data, folds, [name]), folder / "chain.json", name)
    return Decided(name, folder, record, made)


def _refuse_changed_members(path: Path, record: dict[str, Any]) -> None:
    """Refuse an ensemble whose members were trained again since; deleted ones do not matter."""
    for member, hashes in record["inputs"].get("members", {}).items():
        folder = path.parent.parent / member
        now = output_hashes(folder)
        for name in sorted(now):
            if now[name] != hashes.get(name):
                Predictions.load(folder / name, REMEDY)  # damaged, it is what to mend
        if now and now != hashes:
            raise PodiumError(f"{path}: its member {member} was made anew; make ensemble again")
