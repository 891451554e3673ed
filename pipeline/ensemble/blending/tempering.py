"""A temperature per member, so that a pool weighs what members know and not how loud they are."""

import numpy as np

from pipeline.artifacts.predictions import log_values, probabilities
from pipeline.decisions.calibration import mean_one, some_rows
from pipeline.decisions.scaling import HIGH, LOW, best_scale, doubt, scale_slopes
from pipeline.ensemble.stack import Stack
from pipeline.errors import PodiumError
from pipeline.metrics.checks import check_labels, check_rows

SAMPLE = 10_000  # rows that a first guess is fitted on, where there are many more


def member_temperatures(
    y: np.ndarray, stack: Stack, task: str, row_weights: np.ndarray | None = None
) -> np.ndarray:
    """Return for each member the temperature at which its log loss is lowest, with one more row of
    which nothing is known (`doubt`).

    Parameters
    ----------
    y : ndarray of shape (n,) int or (n, c) 0/1
    stack : Stack
        Probabilities (members, n, c), clipped to [1e-7, 1 - 1e-7]: a float32 probability of 0 or 1
        has no finite logit.
    task : str
        'multiclass' or 'multilabel'.
    row_weights : ndarray of shape (n,), optional
        Non-negative weights of the rows.

    Returns
    -------
    ndarray of shape (members,), float64
        In [0.05, 20]; the loss is convex in 1 / T, so each is the one optimum within them.

    Raises
    ------
    PodiumError
        For labels that do not fit the task or the stack.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, ICML 2017.
    """
    members, rows, classes = stack.shape
    y = check_labels(y, task, n_classes=classes)
    check_rows(y, range(rows))
    row_weights = None if row_weights is None else mean_one(row_weights, rows)
    start = np.ones(members)
    if rows > 4 * SAMPLE:  # the optimum of some rows is near that of all
        some = some_rows(rows, row_weights, SAMPLE)
        weights = None if row_weights is None else row_weights[some]
        start = 1 / member_temperatures(y[some], stack.take(some), task, weights)

    total = rows if row_weights is None else float(row_weights.sum())

    def slopes(scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, second = np.zeros(members), np.zeros(members)
        for here, block in stack.blocks():
            weights = None if row_weights is None else row_weights[here]
            parts = scale_slopes(
                log_values(block, task), y[here], scale, task, weights, doubt(total)
            )
            first, second = first + parts[0], second + parts[1]
        return first, second

    return 1 / best_scale(slopes, start)


def tempered(probs: np.ndarray, temperature: float | np.ndarray, task: str) -> np.ndarray:
    """Return probabilities at another temperature, float32.

    Parameters
    ----------
    probs : ndarray of shape (n, c), or a block (members, b, c)
        In [0, 1], clipped to [1e-7, 1 - 1e-7]; so temperature 1 too lifts an exact 0 to 1e-7.
    temperature : float, or ndarray of shape (members,)
        Positive; of a block, one per member.
    task : str
        Multi-class: p^(1/T), rows divided by their sums. Multi-label: sigmoid(logit(p) / T).

    Raises
    ------
    PodiumError
        For a temperature outside [0.05, 20].
    """
    temperature = np.asarray(temperature, np.float64)
    inside = (temperature >= LOW) & (temperature <= HIGH)  # false for NaN
    if not inside.all():
        worst = temperature[~inside].flat[0]
        raise PodiumError(f"a temperature must lie in [{LOW}, {HIGH}], got {worst}; fit it again")
    if temperature.ndim:
        temperature = temperature[:, None, None]
    return probabilities(log_values(probs, task) / temperature, task)
