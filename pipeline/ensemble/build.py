"""Make an ensemble of runs, or decide for a single run: one chain, written down with its scores."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import file_hash, read_object, write_json
from pipeline.artifacts.hashing import json_hash
from pipeline.artifacts.locks import lock
from pipeline.artifacts.predictions import Predictions, logits_of
from pipeline.competition import CompetitionData
from pipeline.config.project import checked_name
from pipeline.decisions.rules import Rule
from pipeline.ensemble.chain import Chain, Rows, choose, cross_fitted_probs, fit_chain, honest_score
from pipeline.ensemble.members import (
    PARTS,
    Member,
    load_members,
    read_record,
    usable_runs,
    validated_rows,
    wanted_ids,
)
from pipeline.ensemble.rates import answer_rates, rate_warnings
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.metrics import Metric

KEYS = (
    *("competition", "folds_hash", "data_hash", "complete", "metric", "members", "blend", "rule"),
    *("in_sample", "honest", "honest_se", "local_test_score", "candidates", "rates", "warnings"),
    *("seconds", "inputs", "outputs", "created"),
)
VERSION = 1  # raise it when a chain fitted on the same files would come out differently


@dataclass(frozen=True)
class Decided:
    """A run or ensemble with its decision: `record` is its chain.json or ensemble.json."""

    name: str
    folder: Path
    record: dict[str, Any]
    made: bool = False
    left_out: dict[str, str] | None = None

    @property
    def rule(self) -> Rule:
        return Rule.from_json(self.record["rule"])

    def test_probs(self, data: CompetitionData) -> np.ndarray:
        """Return the test probabilities (n, c) in the order of the test table."""
        path = self.folder / "test.npz"
        if self.record["outputs"].get(path.name) != file_hash(path):
            raise PodiumError(f"{path}: changed since its rule was fitted; make ensemble again")
        stored = Predictions.load(path).with_classes(data.classes, str(path))
        return stored.rows(data.test.ids, str(path)).probs


@dataclass(frozen=True)
class _Inputs:
    """What a decision is fitted on: named members of a competition with its folds and metric."""

    data: CompetitionData
    folds: Folds
    names: list[str]

    @property
    def metric(self) -> Metric:
        return self.data.metric

    @property
    def seed(self) -> int:
        return int(self.folds.hash[:8], 16)

    def hashes(self) -> dict[str, Any]:
        """Return what has to be the same for the decision to be the same."""
        folder = self.data.project.runs(self.data.competition.name)
        files = {name: output_hashes(folder / name) for name in sorted(self.names)}
        return {"version": VERSION, "metric": self.metric.name, "members": files}

    def rows(self, members: list[Member]) -> Rows:
        chosen = validated_rows(self.folds)
        groups = None if self.folds.group is None else self.folds.group[chosen]
        part = self.folds.fold[chosen]
        return Rows(self.data.labels[chosen], stack(members, "oof"), part, groups)


def build_ensemble(
    data: CompetitionData, folds: Folds, runs: list[str] | None, name: str = ""
) -> Decided:
    """Blend `runs` (all finished ones if None), decide, and write `ensemble-NAME`.

    Nothing is computed again where the same members made the ensemble that is there.
    """
    names, left = (list(dict.fromkeys(runs)), {}) if runs else usable_runs(data, folds)
    if not names:
        comp = data.competition.name
        why = "".join(f"; {run}: {reason}" for run, reason in left.items())
        raise PodiumError(
            f"ensemble: {comp} has no finished run to blend; "
            f"make train COMP={comp} ARCH=densenet121 first{why}"
        )
    label = name or (json_hash(sorted(names), 6) if runs else "all")
    label = label if label.startswith("ensemble-") else f"ensemble-{label}"
    folder = data.project.run(data.competition.name, checked_name(label, "NAME"))
    if (folder / "run.json").exists():
        raise PodiumError(f"NAME: {folder.name} is a run; choose another NAME= for the ensemble")
    for run in names:
        if label in (run, *_runs_within(data, run)):
            raise PodiumError(f"RUNS: {run} holds {label} itself; choose another NAME=")
    with lock(folder.parent / ".locks" / f"{label}.lock", label, wait=60):
        record, made = _decide(_Inputs(data, folds, names), folder / "ensemble.json", label)
    return Decided(label, folder, record, made, left)


def _runs_within(data: CompetitionData, name: str) -> list[str]:
    """Return the members of ensemble `name`, their members too; none for a run."""
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
        if made_for != (VERSION, data.metric.name):
            raise PodiumError(f"{path}: decided for another metric or version; make ensemble again")
        _refuse_changed_members(path, record)
        return Decided(name, folder, record)
    with lock(folder.parent / ".locks" / f"{name}.chain.lock", f"the rule of {name}", wait=60):
        record, made = _decide(_Inputs(data, folds, [name]), folder / "chain.json", name)
    return Decided(name, folder, record, made)


def _refuse_changed_members(path: Path, record: dict[str, Any]) -> None:
    """Refuse an ensemble whose members were trained again since; deleted ones do not matter."""
    for member, hashes in record["inputs"].get("members", {}).items():
        now = output_hashes(path.parent.parent / member)
        if now and now != hashes:
            raise PodiumError(f"{path}: its member {member} was made anew; make ensemble again")


def _decide(inputs: _Inputs, path: Path, label: str) -> tuple[dict[str, Any], bool]:
    """Return the record at `path` and whether it was fitted now: not if the same inputs made it."""
    hashes, folds = inputs.hashes(), inputs.folds
    record = _same_decision(inputs, hashes, path)
    if record is not None:
        return record, False
    members = load_members(inputs.data, folds, inputs.names)
    rows, metric = inputs.rows(members), inputs.metric
    choice = choose(metric, rows, inputs.seed)
    chain = fit_chain(choice.chosen, metric, rows)
    honest = honest_score(metric, rows, inputs.seed)
    blended = path.name == "ensemble.json"
    if blended:
        oof = cross_fitted_probs(choice.chosen, metric, rows, inputs.seed)
        _write_predictions(inputs, members, chain, oof, path.parent)
    answers = chain.answer(rows.stack), chain.answer(stack(members, "test"))
    rates = answer_rates(inputs.data, *answers)
    record = {
        "ensemble" if blended else "run": label,
        "competition": inputs.data.competition.name,
        "folds_hash": folds.hash,
        "data_hash": inputs.data.hash,
        "complete": True,
        "metric": metric.name,
        "members": [
            {"name": m.name, "runs": list(m.runs), "weight": float(w), "seconds": m.seconds}
            for m, w in zip(members, chain.blend.weights, strict=True)
        ],
        "blend": chain.blend.method,
        "calibration": {"method": "none"},
        "rule": chain.rule.to_json(),
        "in_sample": metric.score(rows.labels, answers[0]),
        "honest": honest.score,
        "honest_se": honest.se,
        "local_test_score": _local_test(inputs, members, chain),
        "chosen_per_part": honest.chosen,
        "candidates": choice.table,
        "seconds": round(sum(m.seconds for m in members), 1),
        "rates": rates,
        "warnings": [w for m in members for w in m.warnings] + rate_warnings(rates),
        "inputs": hashes,
        "outputs": output_hashes(path.parent),
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    write_json(path, record)
    return record, True


def _same_decision(inputs: _Inputs, hashes: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """Return the record at `path` if it is whole and the same inputs would make it again."""
    try:
        record = read_object(path, KEYS, "")
    except PodiumError:
        return None  # missing or broken: it is made anew
    now = {
        "inputs": hashes,
        "folds_hash": inputs.folds.hash,
        "data_hash": inputs.data.hash,
        "outputs": output_hashes(path.parent),
    }
    return record if all(record[key] == value for key, value in now.items()) else None


def stack(members: list[Member], part: str) -> np.ndarray:
    """Return the members' probabilities (members, n, c) of a part."""
    return np.stack([member.probs[part] for member in members])


def _local_test(inputs: _Inputs, members: list[Member], chain: Chain) -> float | None:
    """Score the rows that the folds keep apart; neither model nor rule has seen them."""
    if not len(inputs.folds.test_rows):
        return None
    answer = chain.answer(stack(members, "local-test"))
    return inputs.metric.score(inputs.data.labels[inputs.folds.test_rows], answer)


def _write_predictions(
    inputs: _Inputs, members: list[Member], chain: Chain, oof: np.ndarray, folder: Path
) -> None:
    """Write the ensemble's own predictions. Those out of fold, `oof`, are cross-fitted, so that a
    member of another ensemble carries no row's own label into it (only, as every base model does,
    those of the other parts, and the choice of method, made on all rows)."""
    data, folds = inputs.data, inputs.folds
    meta = {
        "competition": data.competition.name,
        "run": folder.name,
        "folds_hash": folds.hash,
        "data_hash": data.hash,
        "members": [run for member in members for run in member.runs],
        "coverage": {"folds": list(folds.numbers), "of": list(folds.numbers), "missing": ""},
    }
    classes = np.asarray(data.classes, np.str_)
    for part, ids in wanted_ids(data, folds).items():
        probs = oof if part == "oof" else chain.blend.apply(stack(members, part))
        logits = logits_of(probs, data.competition.task)
        Predictions(ids, classes, logits, probs, meta | {"part": part}).save(folder / f"{part}.npz")


def output_hashes(folder: Path) -> dict[str, str]:
    """Return the hashes of a run's or ensemble's prediction files that are there."""
    paths = (folder / f"{part}.npz" for part in PARTS)
    return {path.name: file_hash(path) for path in paths if path.exists()}
