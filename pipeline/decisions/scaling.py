"""Fits behind calibration: one scale of the log odds, or a scale and a shift per class.

All losses are convex, so that each fit is the one optimum. `values` are the log odds of a
multi-label task and log p of a multi-class one; a scale multiplies them and is 1 / temperature.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.optimize import minimize

from pipeline.artifacts.predictions import blocks, softmax

LOW, HIGH = 0.05, 20.0  # of scales, and so of temperatures
# Of the normal priors per class, the first in shared scales: in simulated tasks of 500 to 10,000
# rows, which needed such a correction or did not, the best compromise on rows not fitted on.
SCALE_SPREAD, SHIFT_SPREAD = 0.3, 0.25
BLOCK = 1 << 16  # values of a block
STEPS = 60

Slopes = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Terms = tuple[np.ndarray, np.ndarray, np.ndarray]


def row_blocks(rows: int, classes: int) -> Iterator[slice]:
    """Return slices of rows that hold about `BLOCK` values."""
    return blocks(rows, classes, BLOCK)


def best_scale(slopes: Slopes, start: np.ndarray) -> np.ndarray:
    """Return the scales (k,) in [0.05, 20] where k convex losses are lowest.

    `slopes` returns first and second derivatives (k,) at scales (k,). Newton's method within a
    bracket, which halves, on the scale of logarithms, where a step would leave it.
    """
    scale = np.clip(np.array(start, np.float64), LOW, HIGH)
    low, high = np.full_like(scale, LOW), np.full_like(scale, HIGH)
    open_low, open_high = scale > LOW, scale < HIGH  # ends of the bracket not looked at yet
    for _ in range(STEPS):
        first, second = slopes(scale)
        rising, falling = first > 0, first < 0
        high, open_high = np.where(rising, scale, high), open_high & ~rising
        low, open_low = np.where(falling, scale, low), open_low & ~falling
        newton = scale - np.divide(first, second, out=np.copysign(np.inf, first), where=second > 0)
        moved = np.where((newton > low) & (newton < high), newton, np.sqrt(low * high))
        moved = np.where((newton >= high) & open_high, HIGH, moved)
        moved = np.where((newton <= low) & open_low, LOW, moved)
        at_end = (rising & (scale <= LOW)) | (falling & (scale >= HIGH))
        moved = np.where(at_end | (first == 0), scale, moved)
        small = np.abs(np.log(moved / scale)) < 1e-6
        scale = moved
        if small.all():
            break
    return scale


def doubt(rows: float) -> float:
    """Return the share of each label that a scale fitted on some rows gives to all classes alike.

    As much as one row of which nothing is known: without it, rows that are all right have no best
    temperature but 0, and the first mistake on other rows would cost everything.

    References
    ----------
    Platt, Probabilistic outputs for support vector machines, 1999, section 2.2: the same remedy.
    """
    return 1 / (rows + 1)


def scale_slopes(
    values: np.ndarray,
    y: np.ndarray,
    scale: np.ndarray,
    task: str,
    rows: np.ndarray | None,
    doubted: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return derivatives (k,) of the summed log loss of values (k, b, c) times scales (k,).

    `y` are the labels of the b rows, of which a share is `doubted`, and `rows` (b,) their weights,
    1 if None.
    """
    scaled = values * scale[:, None, None]
    if task == "multilabel":
        chance = 0.5 + 0.5 * np.tanh(0.5 * scaled)
        spread = chance * (1 - chance)
        chance -= (1 - doubted) * y + doubted / 2
        first = np.einsum("kbc,kbc->kb", chance, values)
        second = np.einsum("kbc,kbc,kbc->kb", spread, values, values)
    else:
        chance = softmax(scaled)
        mean = np.einsum("kbc,kbc->kb", chance, values)
        first = mean - (1 - doubted) * values[:, np.arange(len(y)), y]
        first -= doubted * values.mean(2)
        values = values - mean[:, :, None]
        second = np.einsum("kbc,kbc,kbc->kb", chance, values, values)
    if rows is None:
        return first.sum(1), second.sum(1)
    return first @ rows, second @ rows


def platt(
    values: np.ndarray, y: np.ndarray, rows: np.ndarray, shared: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and shift (c,) of each label's log odds (n, c), near `shared` and 0.

    Newton steps of two variables for all labels at once. The log likelihood of the rows, which
    `rows` (n,) weigh, counts against normal priors; scales stay in [0.05, 20].
    """
    classes = values.shape[1]
    spreads = np.array([SCALE_SPREAD * shared, SHIFT_SPREAD])
    centre = np.array([shared, 0.0])
    theta = np.tile(centre, (classes, 1))
    loss, gradient, curvature = _platt_terms(values, y, rows, theta, centre, spreads)
    step, still = np.ones(classes), np.ones(classes, bool)
    for _ in range(STEPS):
        move = _bounded_newton(theta, gradient, curvature)
        promised = np.einsum("cp,cp->c", gradient, move)
        still &= (np.abs(promised) > 1e-9) & (step > 1e-6)
        if not still.any():
            break
        trial = np.where(still[:, None], theta + step[:, None] * move, theta)
        trial[:, 0] = np.clip(trial[:, 0], LOW, HIGH)
        found = _platt_terms(values, y, rows, trial, centre, spreads)
        slack = 1e-12 * np.abs(loss)
        taken = still & (found[0] <= loss + 1e-4 * step * np.minimum(promised, 0) + slack)
        theta[taken], loss[taken] = trial[taken], found[0][taken]
        gradient[taken], curvature[taken] = found[1][taken], found[2][taken]
        step = np.where(taken, 1.0, step / 2)
    return theta[:, 0], theta[:, 1]


def _bounded_newton(theta: np.ndarray, gradient: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Return Newton steps (c, 2) whose scale stays in bounds, the shift best beside it."""
    move = -np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
    scale = np.clip(theta[:, 0] + move[:, 0], LOW, HIGH) - theta[:, 0]
    shift = -(gradient[:, 1] + curvature[:, 0, 1] * scale) / curvature[:, 1, 1]
    return np.column_stack([scale, shift])


def _platt_terms(
    values: np.ndarray,
    y: np.ndarray,
    rows: np.ndarray,
    theta: np.ndarray,
    centre: np.ndarray,
    spreads: np.ndarray,
) -> Terms:
    """Return each label's penalised loss (c,), gradient (c, 2) and curvature (c, 2, 2)."""
    off = (theta - centre) / spreads
    loss, gradient = 0.5 * (off**2).sum(1), off / spreads
    curvature = np.tile(np.diag(spreads**-2.0), (len(theta), 1, 1))
    for here in row_blocks(*values.shape):
        z, truth, weight = values[here].astype(np.float64), y[here], rows[here]
        odds = z * theta[:, 0] + theta[:, 1]
        small = np.exp(-np.abs(odds))  # at most 1: no overflow on either side
        chance = 0.5 + 0.5 * np.tanh(0.5 * odds)
        loss += weight @ (np.maximum(odds, 0) + np.log1p(small) - truth * odds)
        wrong, spread = chance - truth, small / (1 + small) ** 2
        gradient += np.column_stack([weight @ (wrong * z), weight @ wrong])
        crossed = spread * z
        mixed = weight @ crossed
        curvature[:, 0, 0] += weight @ (crossed * z)
        curvature[:, 0, 1] += mixed
        curvature[:, 1, 0] += mixed
        curvature[:, 1, 1] += weight @ spread
    return loss, gradient, curvature


def vector_scaling(
    values: np.ndarray,
    y: np.ndarray,
    rows: np.ndarray,
    shared: float,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and shift (c,) of log p (n, c) before the softmax, near `shared` and 0.

    The classes hang together through the softmax: L-BFGS over all 2c numbers, scaled so that each
    class by itself is round. The same priors as in `platt`.
    """
    spreads = np.array([SCALE_SPREAD * shared, SHIFT_SPREAD])
    centre = np.array([shared, 0.0])
    origin = np.tile(centre, (values.shape[1], 1)) if start is None else np.column_stack(start)
    curvature = _class_curvature(values, rows, origin) + np.diag(spreads[::-1] ** -2.0)
    round_to = np.linalg.cholesky(curvature)
    # Shift first: a triangular root then leaves the scale a multiple of one variable, so bounded.
    back = np.linalg.inv(round_to).transpose(0, 2, 1)[:, ::-1, ::-1]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        theta = origin + np.einsum("cpq,cq->cp", back, flat.reshape(-1, 2))
        value, gradient = _vector_terms(values, y, rows, theta)
        off = (theta - centre) / spreads
        value, gradient = value + 0.5 * (off**2).sum(), gradient + off / spreads
        return value / rows.sum(), np.einsum("cpq,cp->cq", back, gradient).ravel() / rows.sum()

    reach = back[:, 0, 0]
    bounds = [(None, None)] * origin.size
    bounds[::2] = zip((LOW - origin[:, 0]) / reach, (HIGH - origin[:, 0]) / reach, strict=True)
    options = {"maxiter": 200, "maxcor": 20, "ftol": 1e-12, "gtol": 1e-7}
    found = minimize(
        loss, np.zeros(origin.size), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    theta = origin + np.einsum("cpq,cq->cp", back, found.x.reshape(-1, 2))
    return np.clip(theta[:, 0], LOW, HIGH), theta[:, 1]


def _vector_terms(
    values: np.ndarray, y: np.ndarray, rows: np.ndarray, theta: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the summed log loss and its gradient (c, 2)."""
    loss, gradient = 0.0, np.zeros(theta.shape)
    for here in row_blocks(*values.shape):
        z, weight = values[here].astype(np.float64), rows[here]
        chance = z * theta[:, 0] + theta[:, 1]
        chance -= chance.max(1, keepdims=True)
        at = np.arange(len(z)), y[here]
        actual = chance[at]
        np.exp(chance, out=chance)
        sums = chance.sum(1, keepdims=True)
        chance /= sums
        loss += weight @ (np.log(sums[:, 0]) - actual)
        chance[at] -= 1
        gradient[:, 1] += weight @ chance
        chance *= z
        gradient[:, 0] += weight @ chance
    return loss, gradient


def _class_curvature(values: np.ndarray, rows: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return second derivatives (c, 2, 2) by shift and scale, in this order, of each class."""
    curvature = np.zeros((len(theta), 2, 2))
    for here in row_blocks(*values.shape):
        z = values[here].astype(np.float64)
        chance = softmax(z * theta[:, 0] + theta[:, 1])
        spread = chance * (1 - chance)
        crossed = spread * z
        curvature[:, 0, 0] += rows[here] @ spread
        curvature[:, 0, 1] += rows[here] @ crossed
        curvature[:, 1, 1] += rows[here] @ (crossed * z)
    curvature[:, 1, 0] = curvature[:, 0, 1]
    return curvature
