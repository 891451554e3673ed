"""A trial as far as a study wants it: the same training as `make train`, paused at a level.

On a ladder of epochs a run goes on from its checkpoint; on one of shares of the rows each cheaper
training is one of its own, in `RUN/share-NAME/fold-K`, and the last level is the run itself.
"""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.artifacts.files import read_json
from pipeline.errors import Diverged, PodiumError
from pipeline.folds.subsets import nested
from pipeline.search.seen import Level, Seen
from pipeline.search.setting import Setting, TrialRun
from pipeline.search.store import Outcome
from pipeline.training.assemble import assemble
from pipeline.training.check import check_network, check_recipe, check_steps
from pipeline.training.fold import DONE, is_finished, train_fold, train_until
from pipeline.training.job import FoldJob

Line = dict[str, float | None]


class Unusable(PodiumError):
    """A configuration that cannot be trained: the trial fails, and the study goes on."""


def train_step(setting: Setting, trial: Seen) -> list[Outcome]:
    """Train a trial up to the level that is ordered; return what it came to there and, on a ladder
    of epochs, at the levels on the way."""
    run = opened(setting, trial)
    ladder, level = setting.ladder, setting.ladder.levels[trial.ordered]
    whole = trial.ordered == ladder.top
    if ladder.continues or whole:
        lines = [_advance(run, fold, level) for fold in setting.judged_on]
        ended = all(is_finished(run.fold_folder(fold)) for fold in setting.judged_on)
        if ended:
            assemble(run)
        levels = range(trial.ordered + 1) if ladder.continues else [trial.ordered]
        if ended and not whole:  # it stopped of itself, so that there is no more to be trained
            levels = range(ladder.top + 1)
        return [_outcome(setting, run, lines, number) for number in levels]
    lines = [_share(setting, run, fold, trial.ordered) for fold in setting.judged_on]
    return [_outcome(setting, run, lines, trial.ordered)]


def opened(setting: Setting, trial: Seen) -> TrialRun:
    """Return the run of a trial with its folder; refuse a configuration that is no recipe."""
    try:
        run = setting.run(trial.number, trial.config)
        check_recipe(run.recipe, run.data)
        if not run.record_path.exists():
            rows = run.parts.trained(run.splits.train_rows(setting.judged_on[0]))
            check_steps(run.recipe, len(rows))
            check_network(run.recipe, run.data)
    except PodiumError as error:
        raise Unusable(str(error)) from None
    run.check_trainable()
    run.open()
    return run


def tidy(run: TrialRun) -> None:
    """Delete what a paused trial needs to go on, when nobody will: its checkpoints. It can be
    trained again, to the same."""
    for path in run.folder.glob("fold-*/last.pt"):
        path.unlink(missing_ok=True)


def _advance(run: TrialRun, fold: int, level: Level) -> list[Line]:
    """Train a fold up to a level, from its checkpoint if there is one; return its epochs."""
    job = run.jobs([fold])[0][0]
    with run.lock_job(job.folder.name):
        if not is_finished(job.folder):
            try:
                train_until(job, level.epochs or job.recipe.training.epochs)
            except Diverged as error:
                raise Unusable(str(error)) from None
    return _history(job.folder)


def _share(setting: Setting, run: TrialRun, fold: int, number: int) -> list[Line]:
    """Train on a share of the fold's rows; its weights are of no use, and go."""
    level = setting.ladder.levels[number]
    job = run.jobs([fold])[0][0]
    folder = run.folder / f"share-{level.name.replace('/', '-')}" / job.folder.name
    rows = _subset(setting, job, number)
    meta = {**job.meta, "share": level.share}
    parts = {"valid": job.parts["valid"]}
    smaller = replace(job, folder=folder, train=job.train[rows], parts=parts, meta=meta)
    with run.lock_job(f"{folder.parent.name}.{folder.name}"):
        if not is_finished(folder):
            try:
                train_fold(smaller)
            except Diverged as error:
                raise Unusable(str(error)) from None
        for name in ("last.pt", "model.safetensors", "valid.npz"):
            (folder / name).unlink(missing_ok=True)
    return _history(folder)


def _subset(setting: Setting, job: FoldJob, number: int) -> np.ndarray:
    """Return the positions among the job's training rows that a level trains on: those of a lower
    level are among them."""
    shares = [1.0, *(level.share for level in reversed(setting.ladder.levels[:-1]))]
    groups = None if setting.folds.group is None else setting.folds.group[job.train]
    own = job.data.train.ids[job.train], job.data.labels[job.train], groups
    found = nested(*own, shares, seed=0)
    place = setting.ladder.top - number
    if place >= len(found):
        name = setting.ladder.levels[number].name
        raise PodiumError(
            f"{setting.source}: tasks.{name}: {len(job.train)} training rows cannot be cut so far; "
            "take a larger share"
        )
    return found[place]


def _outcome(setting: Setting, run: TrialRun, lines: list[list[Line]], number: int) -> Outcome:
    """Return the mean over folds of score and loss at a level, and the seconds up to it."""
    level = setting.ladder.levels[number]
    folds = [
        _at_level(run, fold, own, level, number == setting.ladder.top)
        for fold, own in zip(setting.judged_on, lines, strict=True)
    ]
    scores = [score for score, _, _ in folds]
    score = None if any(s is None for s in scores) else float(np.mean(scores))
    loss = float(np.mean([loss for _, loss, _ in folds]))
    if setting.study.objective == "score":
        if score is None:
            raise Unusable(f"{run.name}: {setting.metric_name} is undefined on a fold")
        loss = -setting.sign * score
    if not math.isfinite(loss):
        raise Unusable(f"{run.name}: the validation loss is {loss}")
    return Outcome(number, score, loss, sum(seconds for _, _, seconds in folds))


def _at_level(
    run: TrialRun, fold: int, lines: list[Line], level: Level, whole: bool
) -> tuple[float | None, float, float]:
    """Return score, loss and seconds of a fold at a level."""
    folder = run.fold_folder(fold)
    done = lines if level.epochs is None else lines[: level.epochs]
    line, seconds = done[-1], sum(one["seconds"] for one in done)
    score = line["valid_score"]
    if whole and is_finished(folder):
        record = read_json(folder / DONE)
        best = record.get("best_epoch")
        line = lines[best - 1] if best else line
        score, seconds = record["score"], record["seconds"]
    return score, line["valid_loss"], seconds


def _history(folder: Path) -> list[Line]:
    """Return the epochs of a fold, as they are written: the same whether it went on after a kill or
    not."""
    with open(folder / "history.csv", encoding="utf-8", newline="") as handle:
        return [
            {key: float(value) if value else None for key, value in line.items()}
            for line in csv.DictReader(handle)
        ]
