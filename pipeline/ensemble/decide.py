"""Fit the chain of named members, score it honestly, and write it down with what it was made of."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import file_hash, read_object, write_json
from pipeline.artifacts.predictions import Predictions, logits_of
from pipeline.competition import CompetitionData
from pipeline.decisions import as_labels, confidence, coverage_curve, curve_record
from pipeline.ensemble.chain import Chain, Rows, choose, cross_fitted_probs, fit_chain, honest_score
from pipeline.ensemble.members import PARTS, Member, load_members, validated_rows, wanted_ids
from pipeline.ensemble.rates import answer_rates, rate_warnings
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.metrics import Metric

KEYS = (
    *("competition", "folds_hash", "data_hash", "complete", "metric", "members", "blend", "rule"),
    *("in_sample", "honest", "honest_se", "local_test_score", "candidates", "rates", "warnings"),
    *("constant", "coverage", "seconds", "inputs", "outputs", "created"),
)
VERSION = 2  # raise it when a chain fitted on the same files would come out differently


@dataclass(frozen=True)
class Inputs:
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
        return {"version": VERSION, "metric": self.metric.identity, "members": files}

    def rows(self, members: list[Member]) -> Rows:
        chosen = validated_rows(self.folds)
        groups = None if self.folds.group is None else self.folds.group[chosen]
        part, pictured = self.folds.fold[chosen], self.data.train.pictured[chosen]
        return Rows(self.data.labels[chosen], stack(members, "oof"), part, groups, pictured)


def decide(inputs: Inputs, path: Path, label: str) -> tuple[dict[str, Any], bool]:
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
    oof = cross_fitted_probs(choice.chosen, metric, rows, inputs.seed)
    blended = path.name == "ensemble.json"
    if blended:
        _write_predictions(inputs, members, chain, oof, path.parent)
    answer = chain.answer(rows.stack, rows.without)
    rates = _rates(inputs, members, chain, answer)
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
        "constant": chain.constant.tolist(),
        "in_sample": metric.score(rows.labels, answer),
        "honest": honest.score,
        "honest_se": honest.se,
        "local_test_score": _local_test(inputs, members, chain),
        "chosen_per_part": honest.chosen,
        "candidates": choice.table,
        "coverage": _coverage(metric, rows, oof, choice.answer),
        "seconds": round(sum(m.seconds for m in members), 1),
        "rates": rates,
        "warnings": [w for m in members for w in m.warnings] + rate_warnings(rates),
        "inputs": hashes,
        "outputs": output_hashes(path.parent),
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    write_json(path, record)
    return record, True


def _rates(
    inputs: Inputs, members: list[Member], chain: Chain, answer: np.ndarray
) -> list[dict[str, Any]]:
    """Compare how often each class is answered out of fold and on test rows, if there are any."""
    test = inputs.data.test
    if not len(test):
        return []
    return answer_rates(inputs.data, answer, chain.answer(stack(members, "test"), ~test.pictured))


def _coverage(metric: Metric, rows: Rows, oof: np.ndarray, answer: np.ndarray) -> dict[str, Any]:
    """Return how many of the rows with a picture are answered, and rightly, from a confidence on:
    by cross-fitted probabilities and answers, so that no row judges what was fitted on it."""
    seen = ~rows.without
    sure = confidence(oof[seen], answer[seen], metric.task)
    right = as_labels(answer[seen], metric.task) == rows.labels[seen]
    if metric.task == "multilabel":
        right = right.all(axis=1)
    return curve_record(coverage_curve(sure, right))


def _same_decision(inputs: Inputs, hashes: dict[str, Any], path: Path) -> dict[str, Any] | None:
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


def _local_test(inputs: Inputs, members: list[Member], chain: Chain) -> float | None:
    """Score the rows that the folds keep apart; neither model nor rule has seen them."""
    if not len(inputs.folds.test_rows):
        return None
    apart = inputs.folds.test_rows
    answer = chain.answer(stack(members, "local-test"), ~inputs.data.train.pictured[apart])
    return inputs.metric.score(inputs.data.labels[apart], answer)


def _write_predictions(
    inputs: Inputs, members: list[Member], chain: Chain, oof: np.ndarray, folder: Path
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
