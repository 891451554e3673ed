"""Watchdogs: what ends a training before its last epoch, and why, in words for the record."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import Diverged, PodiumError

LEAST_COLLAPSED = 3  # epochs; a warm-up and a young average answer one class for a while
FALLING = 0.98  # of the loss so many epochs before: below it something is being learnt
ROOM = 1.1  # of the bytes about to be written that must be free
LOOK_EVERY = 50  # steps between looks at the loss, each of which waits for the device

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Stop:
    """Why a fold ended early: `kind` is `collapsed` or `patience`, `said` is for the user."""

    kind: str
    said: str


def collapsed(history: Sequence[Line], epochs: int, labels: np.ndarray) -> bool:
    """Whether a network has answered all validated rows alike for a quarter of the epochs, and at
    least three, though their `labels` differ and its training loss has stopped falling."""
    last = max(LEAST_COLLAPSED, math.ceil(epochs / 4))
    same = [line["one_answer"] for line in history[-last:]]
    if len(same) < last or history[-1]["train_loss"] < FALLING * history[-last]["train_loss"]:
        return False
    varied = len(labels) > 1 and bool((labels != labels[0]).any())
    return varied and all(same)


def stop_reason(
    history: Sequence[Line], epochs: int, patience: int | None, sign: int, labels: np.ndarray
) -> Stop | None:
    """Return why to stop after the last epoch of `history`, if there is a reason.

    `sign` is 1 where a higher score is better, -1 where a lower one is; epochs whose score is not
    defined are judged by their loss. `labels` are those of the validated rows.
    """
    done = len(history)
    if done in (0, epochs):
        return None
    if collapsed(history, epochs, labels):
        said = "collapsed: every validated row gets the same answer"
        return Stop("collapsed", f"{said}; stopped after epoch {done} of {epochs}")
    if patience is None:
        return None
    since = done - 1 - best_epoch(history, sign)
    if since < patience:
        return None
    said = f"stopped after epoch {done} of {epochs}: none of the last {since} was better"
    return Stop("patience", said)


def best_epoch(history: Sequence[Line], sign: int) -> int:
    """Return the index of the first epoch with the best score, or loss where none is defined."""
    scores = [line["valid_score"] for line in history]
    if any(score is None for score in scores):
        values = [line["valid_loss"] for line in history]
        return int(np.argmin([math.inf if v is None else v for v in values]))
    return int(np.argmax([sign * score for score in scores]))


def check_finite(loss: float, lr: float, base: float) -> None:
    """Refuse to go on from a loss that is not a number."""
    if math.isfinite(loss):
        return
    raise Diverged(
        f"training: the loss became {loss} at lr {lr:.2g}; lower it, e.g. "
        f"SET='optimizer.lr={base / 4:.1e} optimizer.clip_norm=1' FRESH=1"
    )


def check_room(folder: Path, needed: int, what: str) -> None:
    """Stop before a file would be half written: `needed` bytes must be free, and some more."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free >= needed * ROOM:
        return
    raise PodiumError(
        f"{folder}: the disk is nearly full: {what} needs {needed / 1e6:,.0f} MB, {free / 1e6:,.0f}"
        " MB are free; make room and run the same command again, which goes on where it was"
    )
