"""What out-of-fold answers are worth: the gain over always answering the commonest class.

The gain in accuracy is a mean of paired differences over rows. Its standard error counts groups
(the sandwich of a mean over clusters), since rows of one photographer are not independent, and is
widened since the models of a cross-validation share rows. (60 tables of noise each, 90 to 300 rows:
the gains spread by 0.8 to 1.2 times the error before it is widened by 1.5: most for a trait of two
values.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipeline.audit.auc import cross_validation_factor

CERTAIN, VERY_CERTAIN = 3.0, 4.0  # standard errors of one test alone
SMALLEST_CLASS = 10  # rows of a class that a trait can be said to identify
TOLD = 0.9  # F1 of a class against the rest from which it counts as told
HEADERS = ("trait", "accuracy ± SE", "commonest class", "errors removed", "best class")


@dataclass(frozen=True)
class Score:
    """What a trait says of labels, out of fold; `label` is '' where there are several classes.

    `removed`: the share of the majority answer's errors that are right. `best_class`: the one, not
    the majority, that is told best from the others, the F1 of that, and a bound for the chance that
    any class and threshold would hit so many rows of it by guessing.
    """

    label: str
    accuracy: float
    majority: float
    se: float
    clusters: int
    best_class: str
    best_f1: float
    best_rows: int
    best_chance: float

    @property
    def gain(self) -> float:
        return self.accuracy - self.majority

    @property
    def removed(self) -> float:
        return self.gain / (1 - self.majority) if self.majority < 1 else 0.0

    def beyond(self, errors: float, tests: int) -> bool:
        """Whether the gain is beyond so many standard errors of a normal, if `tests` are made
        (Bonferroni), by Student's t where clusters are few."""
        if self.gain <= 0 or self.clusters < 2:
            return False
        limit = stats.t.isf(stats.norm.sf(errors) / tests, self.clusters - 1)
        return bool(self.gain > limit * self.se)

    def tells_class(self, f1: float, errors: float, tests: int) -> bool:
        """Whether a class is told with such an F1, and beyond chance in the sense of `beyond`."""
        return self.best_f1 >= f1 and self.best_chance < stats.norm.sf(errors) / tests


def score_answers(
    label: str,
    truth: np.ndarray,
    probs: np.ndarray,
    common: np.ndarray,
    names: Sequence[str],
    group: np.ndarray,
    parts: int,
) -> Score:
    """Score probabilities (v, classes) for the truth (v,) against the commonest class (v,) of the
    rows that each model was fitted to; groups (v,) are independent, `parts` were cross-validated.
    """
    hit, base = probs.argmax(axis=1) == truth, common == truth
    se, clusters = clustered_error(hit * 1.0 - base, group)
    se *= cross_validation_factor(parts) ** 0.5
    best = _best_class(truth, probs, names, group)
    return Score(label, float(hit.mean()), float(base.mean()), se, clusters, *best)


def clustered_error(values: np.ndarray, group: np.ndarray) -> tuple[float, int]:
    """Return the standard error of the mean of values (n,) whose groups are independent, and how
    many groups there are (the sandwich estimator, with g / (g - 1))."""
    codes = np.unique(group, return_inverse=True)[1].ravel()
    sums = np.bincount(codes, values - values.mean())
    if len(sums) < 2:
        return float("inf"), len(sums)
    spread = (sums**2).sum() * len(sums) / (len(sums) - 1)
    return float(np.sqrt(spread)) / len(values), len(sums)


def best_f1(positive: np.ndarray, scores: np.ndarray) -> tuple[float, int, int]:
    """Return the F1 of the best threshold on scores (n,) for the rows that are positive (n,), how
    many rows are answered with it, and how many of these rightly."""
    order = np.argsort(-scores, kind="stable")
    last = np.r_[scores[order][1:] != scores[order][:-1], True]  # equal scores go together
    hits = np.cumsum(positive[order])[last]
    answered = np.flatnonzero(last) + 1
    f1 = 2 * hits / (answered + positive.sum())
    best = int(f1.argmax())
    return float(f1[best]), int(answered[best]), int(hits[best])


def chance_of_hits(positive: np.ndarray, answered: int, hits: int, group: np.ndarray) -> float:
    """Return the probability that so many of so many answers are right by guessing.

    That of the hypergeometric distribution. Positive rows of one group are hit or missed together:
    all numbers of rows are divided by the number of positive rows in the group of a positive row,
    on average (Kish's design effect where rows of a group are alike); 1 where rows stand alone.

    Parameters
    ----------
    positive : (n,) bool
    answered, hits : numbers of rows said to be positive, and of those that are
    group : (n,) of anything sortable

    References
    ----------
    Kish, Survey Sampling, 1965, section 5.4.
    """
    of_group = np.bincount(np.unique(group[positive], return_inverse=True)[1].ravel())
    size = (of_group**2).sum() / of_group.sum()
    total, own, said = (max(1, round(k / size)) for k in (len(positive), positive.sum(), answered))
    return float(stats.hypergeom.sf(int(hits / size) - 1, total, own, said))


def _best_class(
    truth: np.ndarray, probs: np.ndarray, names: Sequence[str], group: np.ndarray
) -> tuple[str, float, int, float]:
    """Return the class that is told best from the others, the F1, how many rows it has, and the
    chance of that by guessing, times the classes and thresholds that were tried (Bonferroni)."""
    counts = np.bincount(truth, minlength=len(names))
    told, tried = ("", 0.0, 0, 1.0), 0
    for k in np.flatnonzero(counts >= SMALLEST_CLASS):
        if k != counts.argmax() and names[k]:
            positive, scores = truth == k, probs[:, k]
            tried += len(np.unique(scores))
            found, answered, hits = best_f1(positive, scores)
            if found > told[1]:
                chance = chance_of_hits(positive, answered, hits, group)
                told = (names[k], found, int(counts[k]), chance)
    return *told[:3], min(1.0, told[3] * tried)


def in_words(score: Score) -> str:
    """Say how well a label is predicted, against the answer that looks at nothing."""
    always = "the commoner answer" if score.label else "the commonest class"
    said = f"predicted with accuracy {score.accuracy:.3f}"
    if score.best_f1 >= TOLD:
        sure = f"class '{score.best_class}' ({score.best_rows:,} rows)"
        said += f", and {sure} almost surely (F1 {score.best_f1:.2f})"
    return (
        f"{said}; always answering {always} gives {score.majority:.3f} "
        f"(difference {score.gain:.3f} ± {score.se:.3f})"
    )


def line_of(title: str, score: Score) -> tuple[str, ...]:
    """Return a line of a table under `HEADERS`."""
    best = f"{score.best_class} {score.best_f1:.2f}" if score.best_class else "-"
    label = f" ({score.label})" if score.label else ""
    accuracy = f"{score.accuracy:.4f} ± {score.se:.4f}"
    return title + label, accuracy, f"{score.majority:.4f}", f"{score.removed:.1%}", best
