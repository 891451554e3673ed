"""Stacking: a regularised logistic regression on the members' log-probabilities or log-odds.

Plain ridge pulls coefficients to zero and, with members x classes x classes of them, needs
thousands of rows. Here they are pulled to the geometric mean, and a change that all classes share
costs less than a change of one class, which costs less than a change between two classes: few rows
weigh members, many rows also learn which classes a member confuses.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import expit

from pipeline.artifacts.predictions import log_values, softmax
from pipeline.ensemble.blending.keyed import (
    canonical_order,
    deal_parts,
    draw_rows,
    first_copies,
)
from pipeline.ensemble.blending.logistic import PARTS, Model, best_fit
from pipeline.ensemble.stack import Stack
from pipeline.errors import PodiumError
from pipeline.metrics.checks import TASKS, check_labels, check_rows

SCALES = (1.0, 0.3, 0.1)  # prior deviations: of a member, of a class of it, of a pair of classes
ROWS, VALUES = 50_000, 1 << 25  # rows fitted on, and values of all members in them: 128 MB
PAIRS = 1 << 27  # rows x members x classes^2 up to which pairs of classes are learnt


@dataclass(frozen=True, eq=False)
class Stacking:
    """A fitted stacker. `coef` is (members, c, c), from a member's class to the answer's, or
    (members, c) where each class sees itself only; `intercept` is (c,); `penalty` was chosen."""

    task: str
    coef: np.ndarray = field(repr=False)
    intercept: np.ndarray = field(repr=False)
    penalty: float

    def apply(self, stack: Stack) -> np.ndarray:
        """Return the probabilities (n, c) float32 of any rows; multi-class rows sum to 1."""
        if (len(stack), stack.shape[2]) != self.coef.shape[:2]:
            shapes = f"{self.coef.shape[:2]} members and classes, got {stack.shape}"
            raise ValueError(f"the stacker was fitted on {shapes}")
        coef, probs = self.coef.astype(np.float32), np.empty(stack.shape[1:], np.float32)
        for here, block in stack.blocks():
            values = np.broadcast_to(self.intercept.astype(np.float32), probs[here].shape).copy()
            for member, weights in zip(log_values(block, self.task, np.float32), coef, strict=True):
                values += member * weights if weights.ndim == 1 else member @ weights
            if self.task == "multilabel":
                probs[here] = expit(values)
                continue
            probs[here] = softmax(values)
        return probs

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads; floats survive JSON exactly."""
        numbers = {"coef": self.coef.tolist(), "intercept": self.intercept.tolist()}
        return {"task": self.task, "penalty": self.penalty, **numbers}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Stacking":
        """Return the stacker that `to_json` wrote, or refuse what it cannot have written."""
        try:
            coef = np.array(content["coef"], np.float64)
            intercept = np.array(content["intercept"], np.float64)
            task, penalty = str(content["task"]), float(content["penalty"])
        except (KeyError, TypeError, ValueError) as error:
            rule = "a stacker in JSON has task, penalty, coef and intercept"
            raise PodiumError(f"{rule}, got {content!r:.200}; fit it again") from error
        classes = len(intercept) if intercept.ndim == 1 else -1
        fits = task in TASKS and coef.ndim in (2, 3) and set(coef.shape[1:]) == {classes}
        if not fits or not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
            found = f"task {task!r}, shapes {coef.shape} and {intercept.shape}"
            rule = "a stacker needs a task, and finite coef and intercept of the same classes"
            raise PodiumError(f"{rule}, got {found}; fit it again")
        return cls(task, coef, intercept, penalty)


def fit_stacking(
    y: np.ndarray, stack: Stack, task: str, *, keys: np.ndarray | None = None, seed: int = 0
) -> Stacking:
    """Fit a logistic regression on the members' log-probabilities (of several labels: log-odds).

    With W0 the geometric mean of equal weights, the coefficients of member m are
    W0 + a_m I + diag(d_m) + F_m: one number for the member, one for each of its classes, and one
    for each pair of classes; F is left out for several labels, and where rows x members x classes^2
    is beyond 1.3e8. What is penalised is penalty / 2 times
    |a|^2 + |d / 0.3|^2 + |F / 0.1|^2 + |intercept|^2: an infinite penalty is the geometric mean.
    The penalty has the lowest log loss over three parts of the rows, each predicted from the other
    two; among equals the largest. Copies of a member count as one and share its coefficients.

    Parameters
    ----------
    y : ndarray of shape (n,) int or (n, c) 0/1
    stack : Stack
        Probabilities (members, n, c) that did not see the labels of their rows.
    task : str
        'multiclass' or 'multilabel'.
    keys : ndarray of shape (n,) uint64, optional
        Hashes of the rows' ids, or of their groups, which parts then never divide; by default rows
        are told apart by their positions. Of more than 50,000 rows (or 3.4e7 values) those with the
        smallest hashes are used.
    seed : int
        Of the parts.

    Returns
    -------
    Stacking

    Raises
    ------
    PodiumError
        For labels that do not fit the task or the stack.

    References
    ----------
    Wolpert, Stacked generalization, Neural Networks 5 (1992); Kull et al., Beyond temperature
    scaling: obtaining well-calibrated multiclass probabilities with Dirichlet calibration, 2019.
    """
    members, rows, classes = stack.shape
    y = check_labels(y, task, n_classes=classes)
    check_rows(y, range(rows))
    keys = np.arange(rows, dtype=np.uint64) if keys is None else keys
    first = first_copies(stack)
    kept = np.unique(first)
    used = draw_rows(keys, max(1, min(ROWS, VALUES // (len(kept) * classes))), seed)
    y, stack, keys = y[used], stack.only(kept.tolist()).take(used), keys[used]
    order = canonical_order(task, y, stack, keys)
    logs, y = _ordered(task, y, stack, order)
    pairs = task == "multiclass" and logs.size * classes <= PAIRS
    model = Model(task, len(kept), classes, SCALES if pairs else (*SCALES[:2], 0.0))
    values, penalty = best_fit(model, logs, y, deal_parts(keys[order[1]], PARTS, seed))
    coef, intercept = _restored(model, values, order)
    copies = np.bincount(first, minlength=members)[first]
    shared = coef[np.searchsorted(kept, first)] / copies.reshape(-1, *[1] * (coef.ndim - 1))
    return Stacking(task, shared, intercept, penalty)


def _restored(
    model: Model, values: np.ndarray, order: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients (members, c) or (members, c, c), and intercepts (c,), in the order of the
    stack, from what was fitted in a canonical order."""
    members, classes = np.argsort(order[0]), np.argsort(order[2])
    coef, intercept = model.unpack(values)
    coef = (coef + model.geometric()).swapaxes(0, 1)[members][:, classes]
    return coef[..., classes] if coef.ndim == 3 else coef, intercept[classes]


def _ordered(
    task: str, y: np.ndarray, stack: Stack, order: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logs (c, members, n) float32 of a stack, and its labels, in a canonical order."""
    members, rows, classes = order
    y = np.argsort(classes)[y[rows]] if y.ndim == 1 else y[rows][:, classes]
    stack = stack.only(members.tolist()).take(rows)
    logs = np.empty((len(classes), len(members), len(rows)), np.float32)
    for here, block in stack.blocks():
        values = log_values(block[:, :, classes], task, np.float32)
        logs[:, :, here] = values.transpose(2, 0, 1)
    return logs, y
