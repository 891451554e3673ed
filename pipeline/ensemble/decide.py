"""Fit the chain of named members, score it honestly, and write it down with what it was made of."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import file_hash, read_object, write_json
from pipeline.competition import CompetitionData
from pipeline.decisions import as_labels, confidence, coverage_curve, curve_record, rule_kinds
from pipeline.ensemble.answers import ANSWERS, save_answers
from pipeline.ensemble.chain import Candidate, Chain, fit_chain
from pipeline.ensemble.choice import ANY, CUSTOM_RESAMPLES, RESAMPLES, Choice, Menu, choose
from pipeline.ensemble.cross_fit import CrossFit
from pipeline.ensemble.diagnostics import DIAGNOSTICS, diagnose
from pipeline.ensemble.honest import Honest, honest_score
from pipeline.ensemble.members import Member, load_members, validated_rows
from pipeline.ensemble.outputs import (
    fold_stacks,
    mean_probs,
    output_hashes,
    part_stack,
    write_predictions,
)
from pipeline.ensemble.rates import answer_rates, rate_warnings
from pipeline.ensemble.rows import Rows, row_keys
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.metrics import CustomMetric, Metric, paired_difference

KEYS = (
    *("competition", "folds_hash", "data_hash", "complete", "metric", "members", "blend", "rule"),
    *("in_sample", "honest", "honest_se", "local_test_score", "candidates", "rates", "warnings"),
    *("constant", "coverage", "seconds", "inputs", "outputs", "created", "calibration", "answers"),
    *("fold_models", "diagnostics"),
)
VERSION = 5  # raise it when a chain fitted on the same files would come out differently


@dataclass(frozen=True)
class Inputs:
    """What a decision is fitted on: named members of a competition with its folds and metric.

    `mixed` lets members of other folds join; the honest score is then none. `menu` is what there is
    to choose from.
    """

    data: CompetitionData
    folds: Folds
    names: list[str]
    mixed: bool = False
    menu: Menu = ANY

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
        menu = {"blends": list(self.menu.blends), "rules": list(self.menu.rules)}
        menu["calibrations"] = list(self.menu.calibrations)
        return {"version": VERSION, "metric": self.metric.identity, "members": files, "menu": menu}

    def members(self) -> list[Member]:
        """Load the members, by name: who joins first decides nothing."""
        names = sorted(self.names)
        return load_members(self.data, self.folds, names, mixed=self.mixed)

    def rows(self, members: list[Member]) -> Rows:
        """Return the validated rows with the members' out-of-fold probabilities."""
        chosen = validated_rows(self.folds)
        groups = None if self.folds.group is None else self.folds.group[chosen]
        keys = row_keys(self.data.train.ids[chosen], groups)
        stack, part = part_stack(members, "oof"), self.folds.fold[chosen]
        pictured = self.data.train.pictured[chosen]
        return Rows(self.data.labels[chosen], stack, part, keys, groups, pictured)


@dataclass(frozen=True, eq=False)
class Fitted:
    """Everything that is found on the members' rows."""

    members: list[Member]
    rows: Rows
    choice: Choice
    chain: Chain
    honest: Honest | None  # none for members of mixed folds

    @classmethod
    def of(cls, inputs: Inputs) -> "Fitted":
        members = inputs.members()
        rows, metric = inputs.rows(members), inputs.metric
        choice = choose(metric, rows, inputs.seed, menu=inputs.menu)
        chain = fit_chain(choice.chosen, metric, rows)
        mixed = any(member.mixed for member in members)
        honest = None if mixed else honest_score(metric, rows, inputs.seed, inputs.menu)
        return cls(members, rows, choice, chain, honest)

    @property
    def answer(self) -> np.ndarray:
        """The answer to the rows that is honest, or for mixed folds the cross-fitted one."""
        return self.choice.answer if self.honest is None else self.honest.answer

    @cached_property
    def probs(self) -> dict[str, np.ndarray]:
        """The chain's probabilities (n, c) of each part that all members have predicted; imports
        may lack the local test split."""
        first, *others = (member.probs for member in self.members)
        parts = [part for part in first if all(part in probs for probs in others)]
        return {part: self._probs(part) for part in parts}

    def _probs(self, part: str) -> np.ndarray:
        """Return the probabilities of a part, cross-fitted out of fold."""
        if part == "oof":
            return self.choice.probs
        if not len(self.members[0].probs[part]):  # without a test table
            return np.empty((0, len(self.members[0].probs["oof"][0])), np.float32)
        chain = self.chain.blend, self.chain.calibration
        return mean_probs(*chain, fold_stacks(*chain, self.members, part))


def decide(inputs: Inputs, path: Path, label: str) -> tuple[dict[str, Any], bool]:
    """Return the record at `path` and whether it was fitted now: not if the same inputs made it."""
    hashes = inputs.hashes()
    record = _same_decision(inputs, hashes, path)
    if record is not None:
        return record, False
    fitted, data = Fitted.of(inputs), inputs.data
    blended = path.name == "ensemble.json"
    if blended:
        runs = [run for member in fitted.members for run in member.runs]
        write_predictions(data, inputs.folds, path.parent, fitted.probs, runs)
    ids = data.train.ids[validated_rows(inputs.folds)]
    save_answers(path.parent / ANSWERS, ids, fitted.answer)
    found = diagnose(inputs.metric, fitted.rows, fitted.choice, fitted.answer, inputs.seed)
    write_json(path.parent / DIAGNOSTICS, found | {"classes": list(data.classes)})
    record = {
        "ensemble" if blended else "run": label,
        "competition": data.competition.name,
        "folds_hash": inputs.folds.hash,
        "data_hash": data.hash,
        "complete": True,
        "metric": inputs.metric.name,
        "greater_is_better": inputs.metric.greater_is_better,
        "mixed": any(member.mixed for member in fitted.members),
        **_found(inputs, fitted, found["members"]),
        "inputs": hashes,
        "outputs": output_hashes(path.parent),
        "answers": file_hash(path.parent / ANSWERS),
        "diagnostics": file_hash(path.parent / DIAGNOSTICS),
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    write_json(path, record)
    return record, True


def _found(inputs: Inputs, fitted: Fitted, table: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the record says of members, chain and scores."""
    chain, rows, members, honest = fitted.chain, fitted.rows, fitted.members, fitted.honest
    answer = chain.answer(chain.probs(rows.stack), rows.without)
    rates = _rates(inputs, fitted, answer)
    shares = chain.blend.shares
    weights = [None] * len(members) if shares is None else shares.tolist()
    return {
        "members": [
            {"name": m.name, "runs": list(m.runs), "weight": w, "seconds": m.seconds, **line}
            for m, w, line in zip(members, weights, table, strict=True)
        ],
        "blend": chain.blend.method,
        "blend_described": chain.blend.describe(),
        "blend_values": chain.blend.to_json(),
        "calibration": chain.calibration.to_json(),
        "fold_models": len(fold_stacks(chain.blend, chain.calibration, members, "test")),
        "rule": chain.rule.to_json(),
        "constant": chain.constant.tolist(),
        "in_sample": inputs.metric.score(rows.labels, answer),
        "honest": honest and honest.score,
        "honest_se": honest and honest.se,
        "honest_interval": honest and list(honest.interval),
        "gain_over_mean": _over_mean(inputs, fitted),
        "local_test_score": _local_test(inputs, fitted),
        "chosen_per_part": honest.chosen if honest else {},
        "candidates": fitted.choice.table,
        "coverage": _coverage(inputs.metric, fitted),
        "seconds": round(sum(m.seconds for m in members), 1),
        "seconds_known": all(m.timed for m in members),
        "rates": rates,
        "warnings": [w for m in members for w in m.warnings] + rate_warnings(rates),
    }


def _rates(inputs: Inputs, fitted: Fitted, answer: np.ndarray) -> list[dict[str, Any]]:
    """Compare how often each class is answered out of fold and on test rows, if there are any."""
    test = inputs.data.test
    if not len(test):
        return []
    of_test = fitted.chain.answer(fitted.probs["test"], ~test.pictured)
    return answer_rates(inputs.data, answer, of_test)


def _over_mean(inputs: Inputs, fitted: Fitted) -> dict[str, float] | None:
    """Return by how much the honest answers beat those of the plain mean under the rule that needs
    no fitting, with the standard error, both scored on the same resamples."""
    if fitted.honest is None:
        return None
    metric, rows = inputs.metric, fitted.rows.with_parts(inputs.seed)
    simplest = Candidate("mean", rule_kinds(metric)[0])
    fits = CrossFit(metric, rows)
    fits.add([simplest])
    pair = fits.taken()[simplest], fitted.honest.answer
    resamples = CUSTOM_RESAMPLES if isinstance(metric, CustomMetric) else RESAMPLES
    gain, se = paired_difference(metric, rows.labels, *pair, rows.units, resamples, inputs.seed)
    return {"gain": gain, "se": se}


def _coverage(metric: Metric, fitted: Fitted) -> dict[str, Any]:
    """Return how many of the rows with a picture are answered, and rightly, from a confidence on:
    by cross-fitted probabilities and answers, so that no row judges what was fitted on it."""
    rows, seen = fitted.rows, ~fitted.rows.without
    answer = fitted.answer[seen]
    sure = confidence(fitted.choice.probs[seen], answer, metric.task)
    right = as_labels(answer, metric.task) == rows.labels[seen]
    if metric.task == "multilabel":
        right = right.all(axis=1)
    return curve_record(coverage_curve(sure, right))


def _same_decision(inputs: Inputs, hashes: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """Return the record at `path` if it is whole and the same inputs would make it again."""
    try:
        record = read_object(path, KEYS, "")
        now = {
            "inputs": hashes,
            "folds_hash": inputs.folds.hash,
            "data_hash": inputs.data.hash,
            "outputs": output_hashes(path.parent),
            "answers": _hash(path.parent / ANSWERS),
            "diagnostics": _hash(path.parent / DIAGNOSTICS),
        }
    except PodiumError:
        return None  # missing or broken: it is made anew
    if record.get("mixed") and not inputs.mixed:
        return None  # loading the members says what is missing
    return record if all(record[key] == value for key, value in now.items()) else None


def _hash(path: Path) -> str:
    return file_hash(path) if path.exists() else ""


def _local_test(inputs: Inputs, fitted: Fitted) -> float | None:
    """Score the rows that the folds keep apart; neither model nor rule has seen them."""
    if "local-test" not in fitted.probs:
        return None
    apart = inputs.folds.test_rows
    without = ~inputs.data.train.pictured[apart]
    answer = fitted.chain.answer(fitted.probs["local-test"], without)
    return inputs.metric.score(inputs.data.labels[apart], answer)
