"""Logistic regression on features, of a strength that an inner cross-validation chooses."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from pipeline.errors import PodiumError
from pipeline.folds import k_folds

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
MIDDLE = 3e-3  # where there are too few rows or groups to choose by
PARTS = 3  # of the inner cross-validation
ITERATIONS = 5000


class Linear(NamedTuple):
    """Logits are ``features @ weight.T + bias``; weight (c, d) and bias (c,), float64."""

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:  # (n, d) -> (n, c)
        return features @ self.weight.T + self.bias


@dataclass(frozen=True)
class Lesson:
    """What is learnt: features (n, d), targets (n,) of classes or (n, c) of shares, and what the
    rows weigh (n,).

    `positives`, if there are any, are what each of `n_classes` classes weighs, or each label's
    positives relative to its negatives.
    """

    features: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    n_classes: int
    multilabel: bool
    positives: np.ndarray | None = None

    def of(self, rows: np.ndarray) -> "Lesson":
        """Return the lesson of some of the rows, by number or as (n,) bool."""
        parts = self.features[rows], self.targets[rows], self.weights[rows]
        return replace(self, features=parts[0], targets=parts[1], weights=parts[2])

    def problems(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield, once or for each label, rows (m,), what they are (m,) and their weights (m,); a
        row of which there are but shares comes once for each class that it may be of."""
        if not self.multilabel:
            if self.targets.ndim == 1:
                rows, said = np.arange(len(self.targets)), self.targets
                share = np.ones(len(rows))
            else:
                rows, said = np.nonzero(self.targets)
                share = self.targets[rows, said].astype(np.float64)
            each = 1.0 if self.positives is None else self.positives[said]
            yield rows, said, self.weights[rows] * share * each
            return
        for label in range(self.n_classes):
            one = self.targets[:, label].astype(np.float64)
            yes, no = np.flatnonzero(one > 0), np.flatnonzero(one < 1)
            each = 1.0 if self.positives is None else self.positives[label]
            share = np.concatenate([one[yes] * each, 1 - one[no]])
            rows = np.concatenate([yes, no])
            said = np.repeat([1, 0], [len(yes), len(no)])
            yield rows, said, self.weights[rows] * share


class Regression:
    """Regressions of a lesson on standardised features, for one strength after another: each begins
    where the one before ended."""

    def __init__(self, lesson: Lesson) -> None:
        self._lesson = lesson
        self._mean = lesson.features.mean(axis=0, dtype=np.float64)
        scale = lesson.features.std(axis=0, dtype=np.float64)
        self._scale = np.where(scale > 0, scale, 1.0)
        self._table = (lesson.features - self._mean) / self._scale
        self._problems = list(lesson.problems())
        one = {"warm_start": True, "max_iter": ITERATIONS}
        self._fits = [LogisticRegression(**one) for _ in self._problems]

    def fit(self, c: float) -> Linear:
        """Return logits of features as they are: the standardisation is part of the weights."""
        weights, biases = [], []
        for fit, (rows, said, weight) in zip(self._fits, self._problems, strict=True):
            if len(np.unique(said[weight > 0])) > 1:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", ConvergenceWarning)
                    try:
                        fit.set_params(C=c).fit(self._table[rows], said, weight)
                    except ConvergenceWarning:
                        raise _endless(c) from None
                found = self._of_classes(fit) if not self._lesson.multilabel else _of_label(fit)
            else:
                found = self._constant(said, weight)
            weights.append(found[0])
            biases.append(found[1])
        weight = np.concatenate(weights) / self._scale
        return Linear(weight, np.concatenate(biases) - weight @ self._mean)

    def _of_classes(self, fit: LogisticRegression) -> tuple[np.ndarray, np.ndarray]:
        """Return weights and biases of all classes; one without a row is as likely on the mean row
        as if it had one."""
        weight, bias = fit.coef_, fit.intercept_
        if len(fit.classes_) == 2:  # of the second class against the first
            weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        every = np.zeros((self._lesson.n_classes, weight.shape[1]))
        total = np.logaddexp.reduce(bias)  # the mean row is 0
        biases = np.full(self._lesson.n_classes, total - np.log(len(self._table) + 1))
        every[fit.classes_], biases[fit.classes_] = weight, bias
        return every, biases

    def _constant(self, said: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits that do not depend on the features, where all rows are answered alike: by
        the rule of succession."""
        width = self._table.shape[1]
        if self._lesson.multilabel:
            positive = len(said) * float(said[weight > 0].any())
            odds = (positive + 1) / (len(said) - positive + 1)
            return np.zeros((1, width)), np.log([odds])
        counts = np.bincount(said[weight > 0], minlength=self._lesson.n_classes)
        return np.zeros((self._lesson.n_classes, width)), np.log(counts + 1.0)


def fit_logistic(lesson: Lesson, c: float) -> Linear:
    """Return scikit-learn's logistic regression of strength `c` on standardised features.

    Multi-class: one regression of all classes; multi-label: one per label. A class without a row
    and a label of one value get the constant that the rule of succession gives them.

    Parameters
    ----------
    lesson : Lesson
    c : float
        The inverse of the L2 penalty's strength, as scikit-learn's ``C``.

    Returns
    -------
    Linear
        Of features as they come, not standardised ones.

    Raises
    ------
    PodiumError
        Where the regression does not converge.
    """
    with threadpool_limits(1):  # for matrices this small, more threads wait for each other
        return Regression(lesson).fit(c)


def choose_strength(
    lesson: Lesson, judged: np.ndarray, labels: np.ndarray, groups: np.ndarray | None
) -> float:
    """Return the strength with the lowest log loss on rows that a regression has not seen.

    Parameters
    ----------
    lesson : Lesson
        Of r rows, some of which may be views of one picture.
    judged : ndarray of shape (r,), int64
        Which of n labelled pictures a row shows, -1 for rows that are of none. A picture's first
        row is the one that it is judged by; no row of it is learnt where it is judged.
    labels : ndarray of shape (n,) or (n, c)
    groups : ndarray of shape (n,), or None
        None straddles two parts of the cross-validation.

    Returns
    -------
    float
        Of `STRENGTHS`, which are tried from the smallest until the loss rises; `MIDDLE` where there
        are fewer pictures, or groups, than `PARTS`.
    """
    try:
        part = k_folds(labels, groups, PARTS, 0)
    except PodiumError:
        return MIDDLE
    shown = np.where(judged >= 0, part[judged], -1)
    first = np.zeros(len(judged), bool)
    first[np.unique(judged, return_index=True)[1]] = True
    first &= judged >= 0
    with threadpool_limits(1):
        fits = [Regression(lesson.of(shown != k)) for k in range(PARTS)]
        tests = [lesson.of(first & (shown == k)) for k in range(PARTS)]
        best, lowest = MIDDLE, np.inf
        for c in STRENGTHS:
            pairs = zip(fits, tests, strict=True)
            loss = sum(log_loss(fit.fit(c)(test.features), test) for fit, test in pairs)
            if loss >= lowest:
                break
            best, lowest = c, loss
    return best


def log_loss(logits: np.ndarray, lesson: Lesson) -> float:
    """Return the sum over rows of the weighted log loss of logits (n, c)."""
    total = 0.0
    for label, (rows, said, weight) in enumerate(lesson.problems()):
        if lesson.multilabel:
            losses = np.logaddexp(0, np.where(said == 1, -1, 1) * logits[rows, label])
        else:
            losses = np.logaddexp.reduce(logits[rows], axis=1) - logits[rows, said]
        total += float(weight @ losses)
    return total


def _of_label(fit: LogisticRegression) -> tuple[np.ndarray, np.ndarray]:
    return fit.coef_, fit.intercept_


def _endless(c: float) -> PodiumError:
    return PodiumError(
        f"features.c: the regression of strength {c:g} does not converge in {ITERATIONS} steps; "
        "set a smaller one, 0.01 say"
    )
