"""Logistic regression pulled to the geometric mean, and the choice of how strongly.

Arrays have classes first and rows last, (c, members, n): each step is then two products of
matrices over contiguous rows, and a softmax that runs along them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

PENALTIES = (1e4, 1e3, 1e2, 1e1, 1.0, 0.1)
PARTS = 3  # of the rows, to choose the penalty on
ROUGH, FINE = 1e-5, 1e-7  # relative changes of the loss at which a fit ends


@dataclass(frozen=True)
class Model:
    """What is fitted: a vector of (a, d, intercept, F), each part divided by its scale."""

    task: str
    members: int
    classes: int
    scales: tuple[float, float, float]
    pulled: bool = True  # to the geometric mean; else to zero

    @property
    def size(self) -> int:
        each = self.members * self.classes
        return self.members + each + self.classes + (each * self.classes if self.scales[2] else 0)

    def geometric(self) -> np.ndarray:
        """Return the coefficients (c, members) or (c, members, c) of the geometric mean."""
        equal = np.full((self.classes, self.members), self.pulled / self.members)
        return self._spread(equal) if self.scales[2] else equal

    def _spread(self, own: np.ndarray) -> np.ndarray:
        """Return (c, members) as the coefficients (c, members, c) from each class to itself."""
        return own[:, :, None] * np.eye(self.classes)[:, None]

    def unpack(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the change of the coefficients, (c, members) or (c, members, c), and (c,)."""
        m, c, (shared, own, between) = self.members, self.classes, self.scales
        each = shared * values[:m] + own * values[m : m + m * c].reshape(c, m)
        intercept = values[m + m * c : m + m * c + c]
        if not between:
            return each, intercept
        coef = between * values[m + m * c + c :].reshape(c, m, c)
        return coef + self._spread(each), intercept

    def pack(self, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        """Return the gradient of `unpack`'s vector from those of what it returns."""
        shared, own, between = self.scales
        each = np.einsum("kmk->km", coef) if between else coef
        parts = [shared * each.sum(0), own * each.ravel(), intercept]
        return np.concatenate([*parts, between * coef.ravel()] if between else parts)

    def predict(self, values: np.ndarray, logs: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Return the logits (c, n) of logs (c, members, n) whose geometric mean is `base`."""
        coef, intercept = (part.astype(logs.dtype) for part in self.unpack(values))
        if self.scales[2]:
            logits = coef.reshape(-1, self.classes).T @ logs.reshape(-1, logs.shape[2])
        else:
            logits = np.matmul(coef[:, None], logs)[:, 0]
        logits += intercept[:, None]
        return np.add(logits, base, out=logits) if self.pulled else logits

    def loss(self, logits: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the summed log loss, and its gradient by the logits, which it overwrites."""
        if self.task == "multilabel":
            truth = y.T
            loss = np.logaddexp(0, logits).sum(dtype=np.float64)
            loss -= logits.sum(dtype=np.float64, where=truth == 1)
            expit(logits, out=logits)
            return float(loss), np.subtract(logits, truth, out=logits)
        actual = y, np.arange(len(y))
        logits -= logits.max(axis=0)
        loss = -logits[actual].sum(dtype=np.float64)
        np.exp(logits, out=logits)
        sums = logits.sum(axis=0)
        loss += np.log(sums).sum(dtype=np.float64)
        logits /= sums
        logits[actual] -= 1
        return float(loss), logits

    def fit(
        self,
        logs: np.ndarray,
        y: np.ndarray,
        penalty: float,
        start: np.ndarray | None = None,
        accuracy: float = FINE,
    ) -> np.ndarray:
        """Return the vector of the lowest penalised log loss."""
        base, rows = logs.mean(axis=1), len(y)

        def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
            loss, residuals = self.loss(self.predict(values, logs, base), y)
            if self.scales[2]:
                slope = (logs.reshape(-1, rows) @ residuals.T).reshape((*logs.shape[:2], -1))
            else:
                slope = np.matmul(logs, residuals[:, :, None])[:, :, 0]
            slope = self.pack(slope.astype(np.float64), residuals.sum(1, dtype=np.float64))
            loss += 0.5 * penalty * (values @ values)
            return loss / rows, (slope + penalty * values) / rows

        start = np.zeros(self.size) if start is None else start
        options = {"maxiter": 300, "maxcor": 20, "ftol": accuracy, "gtol": accuracy}
        return minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x


def best_fit(
    model: Model, logs: np.ndarray, y: np.ndarray, part: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the fit to all rows under the penalty that predicts the parts best, and the penalty.

    From the largest penalty on, each fit starts where the last one ended; the first penalty that
    predicts worse than the one before ends the search.
    """
    parts = [part == at for at in range(PARTS)]
    if min(kept.sum() for kept in parts) == 0:
        return model.fit(logs, y, PENALTIES[0]), PENALTIES[0]
    starts, best, chosen, mean = [None] * PARTS, np.inf, PENALTIES[0], None
    for penalty in PENALTIES:
        total = 0.0
        for at, out in enumerate(parts):
            starts[at] = model.fit(logs[:, :, ~out], y[~out], penalty, starts[at], ROUGH)
            unseen = logs[:, :, out]
            total += model.loss(model.predict(starts[at], unseen, unseen.mean(axis=1)), y[out])[0]
        if not total < best:
            break
        best, chosen, mean = total, penalty, np.mean(starts, axis=0)
    return model.fit(logs, y, chosen, mean), chosen
