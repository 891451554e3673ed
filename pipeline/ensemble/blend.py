"""Blending: fit on out-of-fold rows, apply to any rows.

A stack is (members, n, c) probabilities; a blend is (n, c) float32, rows summing to 1 for
multi-class. Methods, from the simplest: `mean`, `geometric`, `rank`, `hill-climbing`.
"""

from dataclasses import dataclass, field

import numpy as np

from pipeline.decisions.rules import default_rule
from pipeline.metrics import Metric

METHODS = ("mean", "geometric", "rank", "hill-climbing")
BAGS, ROUNDS = 10, 30
CLIP = 1e-7  # a single member that says 0 would otherwise silence all others


@dataclass(frozen=True)
class Blend:
    """A fitted blend: `weights` (members,) sum to 1; `reference` are the rows ranks come from."""

    method: str
    task: str
    weights: np.ndarray
    reference: np.ndarray | None = field(default=None, repr=False)

    def apply(self, stack: np.ndarray) -> np.ndarray:
        """Return the blended probabilities (n, c) float32 of a stack (members, n, c)."""
        if self.method == "geometric":
            blended = _geometric(stack, self.task)
        elif self.method == "rank" and self.reference is not None:
            ranks = [empirical_cdf(r, p) for r, p in zip(self.reference, stack, strict=True)]
            blended = np.mean(ranks, axis=0)
        else:
            blended = np.tensordot(self.weights, stack.astype(np.float64), axes=1)
        if self.task == "multiclass":
            blended = _normalised(blended)
        return np.clip(blended, 0, 1).astype(np.float32)


def _normalised(values: np.ndarray) -> np.ndarray:
    """Divide rows by their sums; a row of zeros (ranks can be) says nothing and becomes uniform."""
    sums = values.sum(axis=1, keepdims=True)
    uniform = np.full_like(values, 1 / values.shape[1])
    return np.divide(values, sums, out=uniform, where=sums > 0)


def _geometric(stack: np.ndarray, task: str) -> np.ndarray:
    """Return the normalised geometric mean: of p over classes, or of the odds p / (1 - p)."""
    clipped = np.clip(stack.astype(np.float64), CLIP, 1 - CLIP)
    logs = np.log(clipped).mean(axis=0)
    if task == "multiclass":
        return np.exp(logs)
    return 1 / (1 + np.exp(np.log1p(-clipped).mean(axis=0) - logs))


def empirical_cdf(reference: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the share of `reference` rows (m, c) below each of `values` (n, c), per class.

    Equal scores count half; between two scores of the reference the share is interpolated. Fitted
    on out-of-fold rows, so that a test row's rank does not depend on the other test rows.
    """
    ranks = np.empty(values.shape, np.float64)
    for column in range(reference.shape[1]):
        scores, counts = np.unique(reference[:, column], return_counts=True)
        middle = (np.cumsum(counts) - 0.5 * counts) / len(reference)
        ranks[:, column] = np.interp(values[:, column], scores, middle)
    return ranks


def fit_blend(
    method: str, metric: Metric, y: np.ndarray, stack: np.ndarray, seed: int = 0
) -> Blend:
    """Fit `method` on labels and a stack (members, n, c) of the same rows."""
    equal = np.full(len(stack), 1 / len(stack))
    if method == "hill-climbing":
        return Blend(method, metric.task, hill_climb(metric, y, stack, seed))
    return Blend(method, metric.task, equal, stack if method == "rank" else None)


def hill_climb(
    metric: Metric, y: np.ndarray, stack: np.ndarray, seed: int = 0, bags: int = BAGS
) -> np.ndarray:
    """Return weights (members,) by bagged greedy selection with replacement.

    Each bag draws rows with replacement and climbs from the best single member, adding the member
    that helps the metric most under the rule that needs no fitting, up to `ROUNDS` members; the
    best prefix counts, and the bags are averaged. Ties go to the first member.

    References
    ----------
    R. Caruana, A. Niculescu-Mizil, G. Crew, A. Ksikes, Ensemble selection from libraries of
    models, ICML 2004.
    """
    rng = np.random.default_rng(seed)
    weights = np.zeros(len(stack))
    for _ in range(bags):
        rows = np.sort(rng.integers(0, len(y), len(y)))
        weights += _climb(metric, y[rows], stack[:, rows].astype(np.float64))
    return weights / weights.sum() if weights.any() else np.full(len(stack), 1 / len(stack))


def _climb(metric: Metric, y: np.ndarray, stack: np.ndarray) -> np.ndarray:
    counts, best_counts, best = np.zeros(len(stack)), np.zeros(len(stack)), -np.inf
    total = np.zeros(stack.shape[1:])
    for size in range(1, ROUNDS + 1):
        scores = [quick_score(metric, y, (total + member) / size) for member in stack]
        chosen = int(np.argmax(scores))
        counts[chosen] += 1
        total += stack[chosen]
        if scores[chosen] > best:
            best, best_counts = scores[chosen], counts.copy()
    return best_counts / max(1.0, best_counts.sum())  # zeros where the metric is undefined


def quick_score(metric: Metric, y: np.ndarray, probs: np.ndarray) -> float:
    """Return the metric, higher is better, under the rule that needs no fitting; -inf if undefined.

    From sums over rows rather than through scikit-learn, which checks its input for longer than
    the arithmetic takes; the tests of pipeline.metrics hold the two together.
    """
    answer = default_rule(metric).apply(np.clip(probs, 0, 1))
    one_group = np.zeros(len(y), np.int64)
    score = metric.scorer(y, answer, probs.shape[1], one_group)(np.ones((1, 1)))[0]
    return metric.sign * float(score) if np.isfinite(score) else -np.inf
