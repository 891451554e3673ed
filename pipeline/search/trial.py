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
from pipeline.errors import Diverged, PodiumError, TooLarge
from pipeline.search.seen import Level, Outcome, Seen
from pipeline.search.setting import Setting, TrialRun
from pipeline.search.shares import share_rows
from pipeline.search.space import Config
from pipeline.training.assemble import assemble
from pipeline.training.check import check_keys, check_network, check_recipe, check_steps
from pipeline.training.fold import DONE, is_finished, train_fold, train_until
from pipeline.training.learning.watch import best_epoch

Line = dict[str, float | None]


class Unusable(PodiumError):
    """A configuration that cannot be trained, on any machine like this one: the trial fails, and
    the study goes on."""


def check_config(setting: Setting, config: Config, level: int) -> None:
    """Refuse a configuration whose keys do not go together, or not with the rows of a level."""
    try:
        recipe = setting.recipe(config)
        check_keys(recipe, setting.data)
        run = setting.plain_run
        rows = run.parts.trained(run.splits.train_rows(setting.judged_on[0]))
        check_steps(recipe, len(share_rows(setting, rows, level)))
        scratch = recipe.model.model_copy(update={"pretrained": False})
        check_network(recipe.model_copy(update={"model": scratch}), setting.data)
    except PodiumError as error:
        raise Unusable(str(error)) from None


def train_step(setting: Setting, trial: Seen) -> list[Outcome]:
    """Train a trial up to the level that is ordered; return what it came to there and, on a ladder
    of epochs, at the levels on the way."""
    run = opened(setting, trial)
    ladder, level = setting.ladder, setting.ladder.levels[trial.ordered]
    whole = trial.ordered == ladder.top
    try:
        if not (ladder.continues or whole):
            folders = [_share(setting, run, fold, trial.ordered) for fold in setting.judged_on]
            return [_outcome(setting, run, folders, trial.ordered)]
        folders = [_advance(run, fold, level) for fold in setting.judged_on]
    except (Diverged, TooLarge) as error:
        raise Unusable(str(error)) from None
    ended = all(map(is_finished, folders))
    if ended:
        assemble(run)
    levels = range(trial.ordered + 1) if ladder.continues else [trial.ordered]
    if ended and not whole:  # it stopped of itself, so that there is no more to be trained
        levels = range(ladder.top + 1)
    return [_outcome(setting, run, folders, number) for number in levels]


def opened(setting: Setting, trial: Seen) -> TrialRun:
    """Return the run of a trial with its folder; what keeps it from being trained is the machine's
    fault by now."""
    run = setting.run(trial.number, trial.config)
    check_recipe(run.recipe, run.data)
    run.check_trainable()
    run.open()
    return run


def epochs_done(folder: Path) -> int:
    """Return how many epochs of a trial's trainings are written down, in all its folds."""
    files = [*folder.glob("fold-*/history.csv"), *folder.glob("share-*/fold-*/history.csv")]
    return sum(len(_history(file.parent)) for file in files)


def tidy(folder: Path) -> None:
    """Delete what a paused trial needs to go on, when nobody will: its checkpoints. It can be
    trained again, to the same."""
    for path in [*folder.glob("fold-*/last.pt"), *folder.glob("share-*/fold-*/last.pt")]:
        path.unlink(missing_ok=True)


def _advance(run: TrialRun, fold: int, level: Level) -> Path:
    """Train a fold up to a level, from its checkpoint if there is one; return its folder."""
    folder = run.fold_folder(fold)
    with run.lock_job(folder.name):
        if not is_finished(folder):
            job = run.jobs([fold])[0][0]
            train_until(job, level.epochs or job.recipe.training.epochs)
    return folder


def _share(setting: Setting, run: TrialRun, fold: int, number: int) -> Path:
    """Train on a share of the fold's rows, and return its folder; its weights are of no use, and
    go."""
    level, place = setting.ladder.levels[number], run.fold_folder(fold)
    folder = run.folder / f"share-{level.name.replace('/', '-')}" / place.name
    with run.lock_job(f"{folder.parent.name}.{folder.name}"):
        if not is_finished(folder):
            job = run.jobs([fold])[0][0]
            rows = share_rows(setting, job.train, number)
            meta, parts = {**job.meta, "share": level.share}, {"valid": job.parts["valid"]}
            train_fold(replace(job, folder=folder, train=rows, parts=parts, meta=meta))
        for name in ("last.pt", "model.safetensors", "valid.npz"):
            (folder / name).unlink(missing_ok=True)
    return folder


def _outcome(setting: Setting, run: TrialRun, folders: list[Path], number: int) -> Outcome:
    """Return the mean over folds of score and loss at a level, and the seconds up to it."""
    epochs = setting.ladder.levels[number].epochs
    folds = [_at(run, setting.data.metric.sign, folder, epochs) for folder in folders]
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


def _at(
    run: TrialRun, sign: int, folder: Path, epochs: int | None
) -> tuple[float | None, float, float]:
    """Return score, loss and seconds of a fold after so many epochs, or all: of the epoch that the
    recipe would keep."""
    lines = _history(folder)[:epochs]
    best = run.recipe.training.checkpoint == "best"
    line = lines[best_epoch(lines, sign)] if best else lines[-1]
    score, seconds = line["valid_score"], sum(one["seconds"] for one in lines)
    if epochs is None and is_finished(folder):
        record = read_json(folder / DONE)
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
