"""The loss of a recipe, what it weighs rare classes by, and what cannot be asked of it."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.config.learning import Loss
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.learning.row_losses import MEANS, ROWS, Mean, Rows


class LossFunction(Protocol):
    """The mean over a batch of each row's loss times its weight, where there are weights (b,).

    The sum is divided by the number of rows and not by that of their weights: the weights of one
    row would cancel in a batch of its own.
    """

    def __call__(
        self, logits: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Tensor: ...


def build_loss(task: str, loss: Loss, labels: np.ndarray, n_classes: int) -> LossFunction:
    """Return the mean loss over a batch of logits (b, c) and targets: (b,) int64 or shares (b, c)
    for multi-class, (b, c) of any type for multi-label. The class weights are those of `labels`,
    (n,) int64 or (n, c) int8, of the rows that are trained on."""
    name = _named(loss, task)
    found = class_weights(labels, n_classes, loss.class_weights, beta=loss.beta)
    return _Loss(ROWS[task][name], MEANS.get((task, name)), loss, found)


def check_loss(recipe: Recipe, task: str) -> None:
    """Refuse a loss that the task or the head has no use for."""
    loss, head = recipe.loss, recipe.model.head
    name = _named(loss, task)
    if loss.logit_adjustment and task != "multiclass":
        raise PodiumError(
            f"loss.logit_adjustment: {loss.logit_adjustment:g} is for one label per picture, not "
            f"{task}, whose thresholds are chosen label by label; set it to 0"
        )
    if head != "classes" and name in ("bce", "asymmetric"):
        raise PodiumError(
            f"loss.name: {name!r} takes the classes one by one, but model.head={head} orders them; "
            "set loss.name to auto, cross-entropy, focal or mse, or model.head=classes"
        )


def imbalance_warnings(recipe: Recipe) -> list[str]:
    """Return a line for each two corrections of the classes' frequencies that are on at once."""
    sampled = recipe.training.sampling == "balanced"
    weighed, adjusted = recipe.loss.class_weights != "none", bool(recipe.loss.logit_adjustment)
    sampling, classes = "training.sampling=balanced", "loss.class_weights"
    twice = "correct the classes' frequencies twice; drop one of them"
    lines = []
    if sampled and weighed:
        lines.append(
            f"{sampling} and {classes}: the two together over-weight the rare class and were seen "
            "to collapse training; drop one of them"
        )
    if sampled and adjusted:
        lines.append(f"{sampling} and loss.logit_adjustment {twice}")
    if weighed and adjusted:
        lines.append(f"{classes} and loss.logit_adjustment {twice}")
    return lines


def _named(loss: Loss, task: str) -> str:
    """Return the name behind `auto`; one that the task does not have is refused."""
    if loss.name == "auto":
        return "cross-entropy" if task == "multiclass" else "bce"
    if loss.name not in ROWS[task]:
        raise PodiumError(
            f"loss.name: {loss.name!r} is for one label per picture, not {task}; "
            f"set it to auto, {', '.join(ROWS[task])}"
        )
    return loss.name


def class_weights(
    labels: np.ndarray, n_classes: int, kind: str, *, beta: float = 0.999
) -> np.ndarray | None:
    """Return what each class weighs in the loss, or None for `none`.

    With n rows, n_c of them of class c, and k classes that have a row, the weight is

        balanced    n / (k n_c)
        effective   (1 - beta) / (1 - beta^n_c), scaled to a mean of 1 over the rows.

    Of labels it is the weight of a positive relative to a negative: (n - n_c) / n_c, or
    (1 - beta^(n - n_c)) / (1 - beta^n_c). A class without a row, and a label without a positive or
    without a negative, have nothing to be balanced against and weigh 1.

    Parameters
    ----------
    labels : ndarray of shape (n,) or (n, n_classes)
        Classes, or 0/1 per label, of the rows that are trained on.
    n_classes : int
    kind : {'none', 'balanced', 'effective'}
    beta : float in [0, 1)
        The effective number of rows saturates at 1 / (1 - beta).

    Returns
    -------
    ndarray of shape (n_classes,), float64, or None

    References
    ----------
    King and Zeng (2001); Cui et al. (2019), Class-Balanced Loss Based on Effective Number.
    """
    if kind == "none":
        return None
    n, weights = len(labels), np.ones(n_classes)
    if labels.ndim == 2:
        counts = labels.sum(axis=0, dtype=np.int64)
        two = (counts > 0) & (counts < n)
        size = _sizes(counts[two], kind, beta)
        weights[two] = _sizes(n - counts[two], kind, beta) / size
        return weights
    counts = np.bincount(labels, minlength=n_classes)
    there = counts > 0
    inverse = 1 / _sizes(counts[there], kind, beta)
    weights[there] = inverse * n / (inverse * counts[there]).sum()  # a mean of 1 over the rows
    return weights


def _sizes(counts: np.ndarray, kind: str, beta: float) -> np.ndarray:
    """Return the numbers of rows, or their effective numbers, up to a factor that cancels."""
    return counts.astype(np.float64) if kind == "balanced" else 1 - beta**counts


class _Loss:
    """A loss of rows (b,), averaged; where nothing is weighted `mean` gives the same in one go.

    In multi-class a class weight weighs the terms of its class, soft targets' too; in multi-label
    the positive terms.
    """

    def __init__(
        self,
        rows: Rows,
        mean: Mean | None,
        loss: Loss,
        class_weights: np.ndarray | None,
    ) -> None:
        self._rows, self._mean, self._loss, self._weights = rows, mean, loss, None
        if class_weights is not None:
            self._weights = torch.from_numpy(class_weights.astype(np.float32))

    def __call__(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        if targets.ndim == 2:
            targets = targets.to(logits.dtype)
        if self._weights is not None:
            self._weights = self._weights.to(logits)  # copied only where the device is another
        elif weights is None and self._mean is not None:
            return self._mean(logits, targets, self._loss.label_smoothing)
        each = self._rows(logits, targets, self._loss, self._weights)
        return each.mean() if weights is None else (weights * each).mean()
