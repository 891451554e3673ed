"""What the finished points come to: `curve.json`, `curve.csv` and the forecast."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.artifacts.files import read_object, write_json, write_text
from pipeline.artifacts.locks import lock
from pipeline.curve.forecast import Forecast, Scale, Size, counted, forecast
from pipeline.curve.plan import Plan
from pipeline.curve.study import Outcome, Point, Study, size_name
from pipeline.decisions import best_constant, default_rule
from pipeline.errors import PodiumError
from pipeline.metrics import CustomMetric, standard_error
from pipeline.training.run import REMEDY
from pipeline.training.scores import score_logits

COLUMNS = ("size", "n", "seed", "fold", "score", "seconds")
SURE = 20.0  # a logit that leaves no doubt


@dataclass(frozen=True, eq=False)
class Result:
    """The curve so far: its record, the forecast, the scale and the sizes with a score."""

    record: dict[str, Any]
    forecast: Forecast
    scale: Scale
    sizes: list[Size]


def perfect_score(study: Study, folds: Sequence[int]) -> float:
    """Return the score of answers that are all right; refuse rows on which there is none."""
    rows = np.concatenate([study.validated[fold] for fold in folds])
    labels, metric = study.data.labels[rows], study.data.metric
    hot = labels if labels.ndim == 2 else np.eye(len(study.data.classes))[labels]
    score = score_logits(metric, labels, (SURE * (2 * hot - 1)).astype(np.float32))
    if score is None:
        raise PodiumError(
            f"ONLY: {metric.name} is undefined on the {counted(len(rows), 'row')} of fold "
            f"{', '.join(map(str, folds))}, whatever the answers; name more folds"
        )
    return score


def publish(study: Study, plan: Plan) -> Result:
    """Score the finished points and write `curve.json` and `curve.csv`; return the result."""
    outcomes = {p: study.outcome(p, plan.rows[p]) for p in plan.points if study.is_finished(p)}
    points = [_point(study, plan, point, found) for point, found in outcomes.items()]
    by_size = {part: _scores(study, plan, outcomes, part) for part in plan.parts}
    scale = _scale(study, plan, [s for scores in by_size.values() for s in scores.values()])
    sizes = [Size(_mean_rows(plan, k), np.array([*s.values()])) for k, s in by_size.items() if s]
    n_valid = sum(len(study.validated[fold]) for fold in plan.folds)
    se = _standard_error(study, plan, outcomes)
    found = forecast(sizes, scale, se, 1 / np.sqrt(12) / n_valid)
    shares = [size_name(part) for part in plan.parts]
    content = {
        "asked": {"seeds": plan.seeds, "folds": plan.folds, "sizes": shares},
        "points": points,
        "sizes": [_size_record(plan, points, k, scores) for k, scores in by_size.items()],
        "validated": {"rows": n_valid, "standard_error": se},
        "missing": [point.title for point in plan.points if point not in outcomes],
        "verdict": found.verdict,
        "fit": found.record(_mean_rows(plan, 1), scale),
        "sentence": found.sentence,
        "warnings": [
            *study.warnings,
            *plan.notes,
            *_undefined(study, points),
            *_learned_nothing(study, plan, [*by_size[1].values()], scale),
        ],
    }
    return Result(_write(study, content), found, scale, sizes)


def _write(study: Study, content: dict[str, Any]) -> dict[str, Any]:
    """Add the content to the record of the study and write both files; return the record."""
    with lock(study.lock_path("run"), f"learning curve {study.name}", wait=60):
        record = read_object(study.record_path, study.meta, REMEDY)
        record = {k: v for k, v in record.items() if k != "folds"} | content
        write_json(study.record_path, record)
        write_text(study.folder / "curve.csv", _table(content["points"]))
    return record


def _point(study: Study, plan: Plan, point: Point, found: Outcome) -> dict[str, Any]:
    labels = study.data.labels[study.validated[point.fold]]
    taken = found.record.get("taken_from")
    return {
        "size": point.size,
        "n": len(plan.rows[point]),
        "seed": point.seed,
        "fold": point.fold,
        "score": score_logits(study.data.metric, labels, found.predictions.logits),
        "seconds": found.record["seconds"],
        **({"taken_from": taken} if taken else {}),
    }


def _undefined(study: Study, points: list[dict[str, Any]]) -> list[str]:
    """Say which trainings have no score, and so no part in the fit, unless pooled with others."""
    odd = [
        f"{p['size']} of seed {p['seed']}, fold {p['fold']}" for p in points if p["score"] is None
    ]
    return [f"{study.data.metric.name} is undefined for size {', '.join(odd)}"] if odd else []


def _learned_nothing(study: Study, plan: Plan, scores: list[float], scale: Scale) -> list[str]:
    """Say where the full size is no better than one answer for all rows, as of a network that was
    trained too short or with a wrong learning rate: its curve says nothing of the data."""
    data, answers = study.data, []
    for fold in plan.folds:
        labels = data.labels[study.pool(fold)]
        constant = np.asarray(best_constant(data.metric, labels, len(data.classes)))
        answers.append(np.broadcast_to(constant, (len(study.validated[fold]), *constant.shape)))
    rows = np.concatenate([study.validated[fold] for fold in plan.folds])
    try:
        score = float(data.metric.score(data.labels[rows], np.concatenate(answers)))
    except PodiumError:  # undefined for a constant
        return []
    if not scores or scale.error(float(np.mean(scores))) < scale.error(score):
        return []
    return [
        f"at the full size no better than one answer for all rows ({score:.4f}): mend the training "
        "(more epochs, another learning rate) before judging the data"
    ]


def _scores(
    study: Study, plan: Plan, outcomes: dict[Point, Outcome], part: int
) -> dict[int, float]:
    """Return the score of a size by seed, pooled over folds, of the seeds that have them all."""
    scores = {}
    for seed in plan.seeds:
        pooled = _pooled(study, plan, outcomes, part, seed)
        score = None if pooled is None else score_logits(study.data.metric, *pooled[:2])
        if score is not None:
            scores[seed] = score
    return scores


def _pooled(
    study: Study, plan: Plan, outcomes: dict[Point, Outcome], part: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Return labels, logits, probabilities and row numbers of all folds; None if one is missing."""
    points = [p for p in plan.points if (p.part, p.seed) == (part, seed)]
    if any(point not in outcomes for point in points):
        return None
    rows = np.concatenate([study.validated[point.fold] for point in points])
    logits, probs = (
        np.concatenate([getattr(outcomes[p].predictions, key) for p in points])
        for key in ("logits", "probs")
    )
    return study.data.labels[rows], logits, probs, rows


def _standard_error(study: Study, plan: Plan, outcomes: dict[Point, Outcome]) -> float | None:
    """Return the bootstrap error of the score of the largest size that has one, by whole groups."""
    metric, group = study.data.metric, study.folds.group
    for part in plan.parts:
        for seed in plan.seeds:
            pooled = _pooled(study, plan, outcomes, part, seed)
            if pooled is None:
                continue
            labels, _, probs, rows = pooled
            answer = default_rule(metric).apply(probs)
            try:
                return standard_error(
                    metric, labels, answer, None if group is None else group[rows]
                )
            except PodiumError:  # a single group, or too few resamples in which it is defined
                return None
    return None


def _scale(study: Study, plan: Plan, scores: list[float]) -> Scale:
    """Return how scores are errors: the project's metrics are 1, or a loss of 0, at best; of a
    host's own, the score of right answers counts, or a better one that was reached."""
    metric = study.data.metric
    best = 1.0 if metric.greater_is_better else 0.0
    if isinstance(metric, CustomMetric):
        reached = [perfect_score(study, plan.folds), *scores]
        best = max(reached) if metric.greater_is_better else min(reached)
    return Scale(metric.name, metric.sign, best)


def _mean_rows(plan: Plan, part: int) -> float:
    """Return the training rows of a size, the mean over seeds and folds."""
    return float(np.mean([len(rows) for point, rows in plan.rows.items() if point.part == part]))


def _size_record(
    plan: Plan, points: list[dict[str, Any]], part: int, scores: dict[int, float]
) -> dict[str, Any]:
    values, name = [*scores.values()], size_name(part)
    return {
        "size": name,
        "rows": round(_mean_rows(plan, part), 1),
        "scores": {str(seed): score for seed, score in scores.items()},
        "mean": float(np.mean(values)) if values else None,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "seconds": round(sum(p["seconds"] for p in points if p["size"] == name), 1),
    }


def _table(points: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(points)
    return text.getvalue()
