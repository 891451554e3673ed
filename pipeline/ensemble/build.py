"""Make an ensemble of runs, or decide for a single run: one chain, written down with its scores."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.hashing import json_hash
from pipeline.artifacts.locks import lock
from pipeline.artifacts.predictions import Predictions, logits_of
from pipeline.competition import CompetitionData
from pipeline.config.project import checked_name
from pipeline.decisions.rules import Rule
from pipeline.ensemble.chain import Chain, Rows, choose, cross_fitted_probs, fit_chain, honest_score
from pipeline.ensemble.members import (
    Member,
    load_members,
    usable_runs,
    validated_rows,
    wanted_ids,
)
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.metrics import Metric, get_metric

VERSION = 1  # raise it when a chain fitted on the same files would come out differently


@dataclass(frozen=True)
class Decided:
    """A run or ensemble with its decision: `record` is its ensemble.json or chain.json."""

    name: str
    folder: Path
    record: dict[str, Any]
    made: bool
    left_out: dict[str, str]

    @property
    def rule(self) -> Rule:
        return Rule.from_json(self.record["rule"])

    def test_probs(self, data: CompetitionData) -> np.ndarray:
        """Return the test probabilities (n, c) in the order of the test table."""
        path = self.folder / "test.npz"
        if self.record["outputs"].get("test.npz") != file_hash(path):
            raise PodiumError(f"{path}: changed since the decision was fitted; make ensemble again")
        stored = Predictions.load(path).with_classes(data.classes, str(path))
        return stored.rows(data.test.ids, str(path)).probs


def build_ensemble(
    data: CompetitionData, folds: Folds, runs: list[str] | None, name: str = ""
) -> Decided:
    """Blend `runs` (all finished ones if None), decide, and write `ensemble-NAME`.

    Nothing is computed again where the same members made the ensemble that is there.
    """
    names, left = (list(dict.fromkeys(runs)), {}) if runs else usable_runs(data, folds)
    if not names:
        why = "; ".join(f"{run}: {reason}" for run, reason in left.items())
        raise PodiumError(
            f"ensemble: no finished run of {data.competition.name} to blend; "
            f"make train ARCH=densenet121 COMP={data.competition.name} first{'; ' if why else ''}{why}"
        )
    label = name or (json_hash(sorted(names), 6) if runs else "all")
    label = label if label.startswith("ensemble-") else f"ensemble-{label}"
    folder = data.project.run(data.competition.name, checked_name(label, "NAME"))
    if (folder / "run.json").exists():
        raise PodiumError(f"NAME: {folder.name} is a run; choose another NAME= for the ensemble")
    with lock(folder.parent / ".locks" / f"{label}.lock", label, wait=5):
        record, made = _decide(data, folds, names, folder / "ensemble.json", label)
    return Decided(label, folder, record, made, left)


def decide_for_run(data: CompetitionData, folds: Folds, name: str) -> Decided:
    """Fit the rule of a single run and write `chain.json` beside its predictions."""
    folder = data.project.run(data.competition.name, name)
    with lock(folder.parent / ".locks" / f"{name}.chain.lock", f"the rule of {name}", wait=60):
        record, made = _decide(data, folds, [name], folder / "chain.json", name)
    return Decided(name, folder, record, made, {})


def open_decided(data: CompetitionData, folds: Folds, name: str) -> Decided:
    """Return a run or ensemble with its decision, which is fitted now if a run has none yet."""
    folder = data.project.run(data.competition.name, name)
    path = folder / "ensemble.json"
    if not path.exists():
        return decide_for_run(data, folds, name)
    record = read_json(path, "make ensemble again")
    if record.get("folds_hash") != folds.hash or record.get("data_hash") != data.hash:
        raise PodiumError(f"{path}: made on other folds or labels; make ensemble again")
    return Decided(name, folder, record, False, {})


def _decide(
    data: CompetitionData, folds: Folds, names: list[str], path: Path, label: str
) -> tuple[dict[str, Any], bool]:
    """Return the record at `path`, fitted anew unless the same inputs made it."""
    blended = path.name == "ensemble.json"
    inputs = {"version": VERSION, "metric": data.competition.metric} | _input_hashes(data, names)
    if path.exists():
        record = read_json(path, "delete it and run the same command again")
        same = record.get("inputs") == inputs and record.get("folds_hash") == folds.hash
        if same and record.get("outputs") == _output_hashes(path.parent):
            return record, False
    members = load_members(data, folds, names)
    rows = _rows(data, folds, members)
    metric = get_metric(data.competition.metric, data.competition.task)
    seed = int(folds.hash[:8], 16)
    choice = choose(metric, rows, seed)
    chain = fit_chain(choice.chosen, metric, rows)
    honest = honest_score(metric, rows, seed)
    if blended:
        _write_predictions(
            data, folds, members, chain, path.parent, label, choice.chosen, rows, seed
        )
    record = {
        "ensemble" if blended else "run": label,
        "competition": data.competition.name,
        "folds_hash": folds.hash,
        "data_hash": data.hash,
        "complete": True,
        "metric": metric.name,
        "members": [
            {"name": m.name, "runs": list(m.runs), "weight": float(w), "seconds": m.seconds}
            for m, w in zip(members, chain.blend.weights, strict=True)
        ],
        "blend": chain.blend.method,
        "calibration": {"method": "none"},
        "rule": chain.rule.to_json(),
        "in_sample": metric.score(rows.labels, chain.answer(rows.stack)),
        "honest": honest.score,
        "honest_se": honest.se,
        "chosen_per_part": honest.chosen,
        "candidates": choice.table,
        "seconds": round(sum(m.seconds for m in members), 1),
        "warnings": _rate_warnings(data, chain, rows, members),
        "inputs": inputs,
        "outputs": _output_hashes(path.parent),
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    if "local-test" in members[0].probs:
        record["local_test_score"] = _local_test(data, folds, members, chain, metric)
    write_json(path, record)
    return record, True


def _rows(data: CompetitionData, folds: Folds, members: list[Member]) -> Rows:
    chosen = validated_rows(folds)
    groups = None if folds.group is None else folds.group[chosen]
    stack = np.stack([member.probs["oof"] for member in members])
    return Rows(data.labels[chosen], stack, folds.fold[chosen], groups)


def _stack(members: list[Member], part: str) -> np.ndarray:
    return np.stack([member.probs[part] for member in members])


def _local_test(
    data: CompetitionData, folds: Folds, members: list[Member], chain: Chain, metric: Metric
) -> float:
    answer = chain.answer(_stack(members, "local-test"))
    return metric.score(data.labels[folds.test_rows], answer)


def _write_predictions(data, folds, members, chain, folder, label, chosen, rows, seed) -> None:
    """Write the ensemble's own predictions; its out-of-fold ones are cross-fitted, so that it can
    be a member of another ensemble without carrying labels into it."""
    metric = get_metric(data.competition.metric, data.competition.task)
    names = [run for member in members for run in member.runs]
    meta = {
        "competition": data.competition.name,
        "run": label,
        "folds_hash": folds.hash,
        "data_hash": data.hash,
        "members": names,
        "coverage": {"folds": list(folds.numbers), "of": list(folds.numbers), "missing": ""},
    }
    classes = np.asarray(data.classes, np.str_)
    for part, ids in wanted_ids(data, folds).items():
        if part == "oof":
            probs = cross_fitted_probs(chosen, metric, rows, seed)
        else:
            probs = chain.blend.apply(_stack(members, part))
        logits = logits_of(probs, data.competition.task)
        Predictions(ids, classes, logits, probs, meta | {"part": part}).save(folder / f"{part}.npz")


def _rate_warnings(
    data: CompetitionData, chain: Chain, rows: Rows, members: list[Member]
) -> list[str]:
    """Warn where a class is answered more or less often on test rows than out of fold.

    The gap is measured in binomial standard errors of the two rates' difference.
    """
    answers = [chain.answer(rows.stack), chain.answer(_stack(members, "test"))]
    if answers[0].dtype.kind == "f":
        return []
    if data.competition.task == "multiclass":
        answers = [np.eye(len(data.classes), dtype=np.int8)[answer] for answer in answers]
    warnings = []
    oof, test = (answer.mean(axis=0) for answer in answers)
    for name, a, b in zip(data.classes, oof, test, strict=True):
        pooled = (a * len(answers[0]) + b * len(answers[1])) / (len(answers[0]) + len(answers[1]))
        se = np.sqrt(pooled * (1 - pooled) * (1 / len(answers[0]) + 1 / len(answers[1])))
        if abs(a - b) > 3 * se:
            warnings.append(
                f"class {name}: answered for {a:.1%} of out-of-fold rows, {b:.1%} of test rows "
                f"({abs(a - b) / se:.1f} standard errors apart)"
            )
    return warnings


def _input_hashes(data: CompetitionData, names: list[str]) -> dict[str, Any]:
    folders = {name: data.project.run(data.competition.name, name) for name in sorted(names)}
    return {name: _output_hashes(folder) for name, folder in folders.items()}


def _output_hashes(folder: Path) -> dict[str, str]:
    parts = (folder / f"{part}.npz" for part in ("oof", "test", "local-test"))
    return {path.name: file_hash(path) for path in parts if path.exists()}


def file_hash(path: Path) -> str:
    """Return the first 16 hexadecimal digits of a file's SHA-256, or '' if it is not there."""
    if not path.exists():
        return ""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]
