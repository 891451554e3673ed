"""From finished folds to a run's `oof.npz` and `test.npz`, and its record."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.artifacts.files import read_object, write_json
from pipeline.artifacts.locks import lock
from pipeline.artifacts.predictions import Predictions, logits_of, probabilities
from pipeline.errors import PodiumError
from pipeline.images.views import test_views
from pipeline.training.fold import DONE
from pipeline.training.run import REMEDY, Run
from pipeline.training.scores import score_logits


@dataclass(frozen=True)
class Summary:
    """What a run has so far: a record per finished fold and the pooled out-of-fold score."""

    run: Run
    record: dict[str, Any]

    @property
    def complete(self) -> bool:
        return self.record["complete"]


def assemble(run: Run, oof: Predictions | None = None) -> Summary:
    """Join the finished jobs, by id, into the run's predictions; write them and the record.

    Out-of-fold predictions are joined too, unless they are given: a refit has those of its run.
    """
    with lock(run.lock_path("run"), f"run {run.name}", wait=60):
        finished = run.finished_folds()
        for fold in finished:  # killed after its record, before the removal of its checkpoint
            (run.fold_folder(fold) / "last.pt").unlink(missing_ok=True)
        records = [_fold_record(run, fold) for fold in finished]
        record = read_object(run.record_path, run.meta, REMEDY)
        metric = run.data.metric
        record |= {
            "metric": metric.identity,
            "complete": finished == run.numbers,
            "limited": run.recipe.data.limit is not None,
            "folds": {str(run.label(r["fold"])): r for r in records},
            "seconds": round(sum(r["seconds"] for r in records), 1),
            "warnings": run.warnings + run.notes(records),
        }
        if finished:
            space = None
            if not run.recipe.views.is_single:
                record["views"] = _base_views(run) or _views(run, finished, records)
                space = record["views"]["average"]
            oof = _out_of_fold(run, finished, space) if oof is None else oof
            oof.save(run.folder / "oof.npz")
            record["oof_score"] = score_logits(metric, _labels(run, oof), oof.logits)
            _mean_over_folds(run, finished, "test", space).save(run.folder / "test.npz")
            if "local-test" in run.apart():
                local = _mean_over_folds(run, finished, "local-test", space)
                local.save(run.folder / "local-test.npz")
                record["local_test_score"] = score_logits(metric, _labels(run, local), local.logits)
        write_json(run.record_path, record)
    return Summary(run, record)


def _base_views(run: Run) -> dict[str, Any] | None:
    """Return what the run that this one is a refit of says of its views, if it is a refit: their
    average was chosen on the out-of-fold rows, which are that run's."""
    if run.origin is None:
        return None
    path = run.data.project.run(run.data.competition.name, run.origin) / run.record_path.name
    return read_object(path, ("views",), "run the same command again")["views"]


def _views(run: Run, finished: list[int], records: list[dict[str, Any]]) -> dict[str, Any]:
    """Say which views are averaged and how: as the recipe says or, for `auto`, in whichever way
    the out-of-fold rows score better, of probabilities where neither does."""
    views, metric = run.recipe.views, run.data.metric
    scores: dict[str, float | None] = {}
    for space in ("probs", "logits"):
        oof = _out_of_fold(run, finished, space)
        scores[space] = score_logits(metric, _labels(run, oof), oof.logits)
    average = views.average
    if average == "auto":
        of_probs, of_logits = scores["probs"], scores["logits"]
        defined = of_probs is not None and of_logits is not None
        better = defined and metric.sign * (of_logits - of_probs) > 0
        average = "logits" if better else "probs"
    alone = [r for r in records if r.get("score_one_view") is not None]
    rows = [r["rows"]["valid"] for r in alone]
    if sum(rows):
        of_folds = [r["score_one_view"] for r in alone]
        scores["one view"] = float(np.average(of_folds, weights=rows))
    names = [view.name for view in test_views(views, run.recipe.image)]
    return {"names": names, "average": average, "scores": scores}


def _out_of_fold(run: Run, finished: list[int], space: str | None) -> Predictions:
    """Join what the folds validated; over repeats, each row's probabilities are averaged."""
    parts = [_fold_part(run, fold, "valid", space) for fold in finished]
    meta = run.meta | {"part": "oof", "coverage": _coverage(run, finished)}
    if run.repeats:
        return _mean_over_repeats(run, parts, meta)
    joined = Predictions(
        np.concatenate([p.ids for p in parts]),
        parts[0].classes,
        np.concatenate([p.logits for p in parts]),
        np.concatenate([p.probs for p in parts]),
        meta,
    )
    present = set(joined.ids.tolist())
    return joined.rows([name for name in run.data.train.ids.tolist() if name in present])


def _mean_over_repeats(run: Run, parts: list[Predictions], meta: dict[str, Any]) -> Predictions:
    """Average each row over the repeats that have validated it; the logits are the average's."""
    ids, classes = run.data.train.ids, parts[0].classes
    position = {name: i for i, name in enumerate(ids.tolist())}
    total, times = np.zeros((len(ids), len(classes))), np.zeros(len(ids), np.int64)
    for part in parts:
        at = [position[name] for name in part.ids.tolist()]
        total[at] += part.probs
        times[at] += 1
    there = times > 0
    probs = (total[there] / times[there, None]).astype(np.float32)
    logits = logits_of(probs, run.data.competition.task)
    return Predictions(ids[there], classes, logits, probs, meta)


def _mean_over_folds(run: Run, finished: list[int], part: str, space: str | None) -> Predictions:
    """Average probabilities over fold models; the logits are those of the average."""
    first = _fold_part(run, finished[0], part, space)
    total = first.probs.astype(np.float64)
    for fold in finished[1:]:  # one after another: a million rows by a thousand classes are 4 GB
        found = _fold_part(run, fold, part, space)
        total += found.rows(first.ids, f"{run.name}, {part}").probs
    probs = (total / len(finished)).astype(np.float32)
    meta = run.meta | {"part": part, "coverage": _coverage(run, finished)}
    logits = logits_of(probs, run.data.competition.task)
    return Predictions(first.ids, first.classes, logits, probs, meta)


def _fold_part(run: Run, fold: int, part: str, space: str | None) -> Predictions:
    """Return what a fold predicted. Where its network saw several views, it holds the mean over
    them of the logits and that of the probabilities; the one that `space` names decides both."""
    folder = run.fold_folder(fold)
    remedy = f"delete {run.data.project.shown(folder)} and run the same command again"
    path = folder / f"{part}.npz"
    found = Predictions.load(path, remedy)
    odd = [key for key, value in run.meta.items() if found.meta.get(key) != value]
    if odd or found.meta.get("fold") != fold:
        what = odd[0] if odd else "fold"
        raise PodiumError(f"{path}: of another run or fold (its {what} differs); {remedy}")
    task = run.data.competition.task
    if space == "probs":
        return replace(found, logits=logits_of(found.probs, task))
    if space == "logits":
        return replace(found, probs=probabilities(found.logits, task))
    return found


def _fold_record(run: Run, fold: int) -> dict[str, Any]:
    folder = run.fold_folder(fold)
    remedy = f"delete {run.data.project.shown(folder)} and run the same command again"
    return read_object(folder / DONE, ("fold", "score", "seconds"), remedy)


def _coverage(run: Run, finished: list[int]) -> dict[str, Any]:
    """Say which folds are in, and why rows are missing if any are."""
    missing = [fold for fold in run.numbers if fold not in finished]
    reasons = []
    if missing:
        reasons.append(f"folds {', '.join(map(str, missing))} are not trained yet")
    if run.recipe.data.limit is not None:
        reasons.append(f"LIMIT={run.recipe.data.limit}")
    validated = sum(len(run.folds.valid_rows(fold)) for fold in run.folds.numbers)
    if validated < len(run.folds.ids):
        reasons.append(f"the folds validate {validated} of {len(run.folds.ids)} rows")
    done, of = ([run.label(n) for n in numbers] for numbers in (finished, run.numbers))
    return {"folds": done, "of": of, "missing": "; ".join(reasons)}


def _labels(run: Run, predictions: Predictions) -> np.ndarray:
    position = {name: i for i, name in enumerate(run.data.train.ids.tolist())}
    return run.data.labels[[position[name] for name in predictions.ids.tolist()]]
