"""The laws error(n) = a + b n^-c that some points leave possible, each with its weight.

Three kinds have even odds beforehand: the error stays level (b = 0), falls to nothing (a = 0), or
falls to an asymptote (a and b above 0). Priors flat in a and b alone would give no chance at all to
curves on the edge, and intervals would nearly always miss what more data gain on a curve with a = 0
(tests/curve/test_curve_law.py simulates one).

Given c, a law is linear in a and b. The noise is Gaussian of unknown deviation, so that integrated
over it the likelihood is Student's t, and so are a and b, cut off at 0. Nodes of equal probability
stand for a given c, and for b given both.
"""

import numpy as np
from scipy import special

from pipeline.curve.noise import Noise

EXPONENTS = (0.05, 2.0)  # where c is looked for
C, A, B = 48, 16, 6  # nodes in c, in a, in b
NARROW = 1e-9  # of the exponents: no finer

# n by the geometric middle of all n, mean error, weight: trainings by relative variance; (k,) each.
# The prior is flat in the part of the error that falls, at that middle: at n = 1 it would favour
# high exponents.
Points = tuple[np.ndarray, np.ndarray, np.ndarray]
Nodes = tuple[np.ndarray, np.ndarray]  # laws (m, 3) as (a, b, c), and their log weights (m,)


def posterior(points: Points, noise: Noise) -> Nodes:
    """Return laws (m, 3) and their log weights (m,), comparable between noises.

    A narrow posterior would fall between the nodes of a fixed grid of exponents, so the grid is
    narrowed to where it has its mass until that is a quarter of it.
    """
    low, high = EXPONENTS
    while True:
        c = np.linspace(low, high, C)
        step = np.log((high - low) / (EXPONENTS[1] - EXPONENTS[0]) / C)
        level, to_zero, to_asymptote = (
            _level(points, noise),
            _to_zero(c, points, noise),
            _to_asymptote(c, points, noise),
        )
        laws = np.concatenate([level[0], to_zero[0], to_asymptote[0]])
        logs = np.concatenate([level[1], to_zero[1] + step, to_asymptote[1] + step])
        falling = np.exp(logs[A:] - logs[A:].max())
        held = np.unique(np.searchsorted(c, laws[A:, 2][falling > 1e-6 * falling.sum()]))
        first, last = max(held[0] - 1, 0), min(held[-1] + 1, C - 1)
        if last - first > C // 4 or high - low < NARROW:
            return laws, logs
        low, high = c[first], c[last]


def _level(points: Points, noise: Noise) -> Nodes:
    """Return the laws with b = 0, for which c means nothing."""
    _, y, w = points
    centre = w @ y / w.sum()
    total, dof = _squares(y - centre, points, noise), noise.dof + len(y) - 1
    a, mass = _above_zero(centre, np.sqrt(total / dof / w.sum()), dof, A)
    log = _evidence(total, dof, w.sum(), 1, points, noise) + np.log(mass / A)
    return np.column_stack([a, np.zeros(A), np.ones(A)]), np.full(A, log)


def _to_zero(c: np.ndarray, points: Points, noise: Noise) -> Nodes:
    """Return the laws with a = 0, for the exponents c (C,)."""
    x, y, w = points
    power = x ** -c[:, None]  # (C, k)
    s11 = power**2 @ w
    centre = power @ (w * y) / s11
    total = _squares(y - centre[:, None] * power, points, noise)
    dof = noise.dof + len(y) - 1
    b, mass = _above_zero(centre, np.sqrt(total / dof / s11), dof, B)  # (C, B), (C,)
    log = _evidence(total, dof, s11, 1, points, noise) + np.log(mass / B)
    laws = np.column_stack([np.zeros(b.size), b.ravel(), np.repeat(c, B)])
    return laws, np.repeat(log, B)


def _to_asymptote(c: np.ndarray, points: Points, noise: Noise) -> Nodes:
    """Return the laws with a and b above 0, for the exponents c (C,)."""
    x, y, w = points
    power = x ** -c[:, None]  # (C, k)
    s00, s01, s11 = w.sum(), power @ w, power**2 @ w
    r0, r1 = w @ y, power @ (w * y)
    det = s00 * s11 - s01**2
    a_hat, b_hat = (s11 * r0 - s01 * r1) / det, (s00 * r1 - s01 * r0) / det
    total = _squares(y - a_hat[:, None] - b_hat[:, None] * power, points, noise)
    dof = noise.dof + len(y) - 2
    a, a_mass = _above_zero(a_hat, np.sqrt(total / dof * s11 / det), dof, A)  # (C, A), (C,)
    off = (a - a_hat[:, None]) ** 2 * (det / s11)[:, None]
    centre = (r1[:, None] - s01[:, None] * a) / s11[:, None]
    scale = np.sqrt((total[:, None] + off) / (dof + 1) / s11[:, None])
    b, b_mass = _above_zero(centre, scale, dof + 1, B)  # (C, A, B), (C, A)
    log = _evidence(total, dof, det, 2, points, noise)[:, None] + np.log(
        a_mass[:, None] / A * b_mass / B
    )
    laws = [np.repeat(a.ravel(), B), b.ravel(), np.repeat(c, A * B)]
    return np.column_stack(laws), np.repeat(log.ravel(), B)


def _squares(residual: np.ndarray, points: Points, noise: Noise) -> np.ndarray:
    """Return what the residuals (..., k) of the means and those within sizes come to."""
    return noise.dof * noise.sd**2 + residual**2 @ points[2]


def _evidence(
    total: np.ndarray, dof: float, det: np.ndarray, free: int, points: Points, noise: Noise
) -> np.ndarray:
    """Return the log of the integral of (total + quadratic form)^-((dof + free) / 2) over `free`
    parameters, a factor aside that all kinds share; a parameter's prior is 1 / the mean error."""
    width = max(float(points[1].mean()), noise.sd)
    rest = free / 2 * np.log(np.pi) - free * np.log(width) + special.gammaln(dof / 2)
    return rest - dof / 2 * np.log(total) - np.log(det) / 2


def _above_zero(
    centre: np.ndarray, scale: np.ndarray, dof: float, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` values (..., count) of equal probability of a Student's t that is cut off
    below 0, and how much of it (...) lies above."""
    centre, scale = np.asarray(centre), np.asarray(scale)
    mass = np.maximum(special.stdtr(dof, centre / scale), 1e-290)
    tail = (np.arange(count) + 0.5) / count * mass[..., None]
    values = centre[..., None] - scale[..., None] * special.stdtrit(dof, tail)
    return np.maximum(values, 0), mass
