"""What each member would bring to a mix of members: the metric after it joined.

A metric of labels moves only where an answer does. Answers that the next few members cannot turn
over are counted once; the others are kept as `Rivals`, found anew after a number of rounds that
grows with the mix, since a member then counts ever less.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.decisions.rules import default_rule
from pipeline.ensemble.blending.mix_loss import EVEN
from pipeline.ensemble.blending.rivals import ROUNDING, Cells, Rivals
from pipeline.ensemble.blending.scoring import ranking_score
from pipeline.ensemble.blending.tallies import tally_of
from pipeline.ensemble.stack import Stack
from pipeline.metrics import Metric

ROWS = 1 << 18  # cells looked at together
REACH = 3  # the next look comes after a third as many members as the mix has


@dataclass(frozen=True, eq=False)
class Library:
    """All rows of the members, and what is read off them once for all bags.

    `upper`, `lower` (n, c) float32 are the largest and smallest probability that any member gives;
    `answers` (members, n) the likeliest classes. `actual` (members, n) and `sums` are those of
    `ClassMixLoss`. None where the task or the metric has no use for them.
    """

    metric: Metric
    y: np.ndarray
    stack: Stack
    upper: np.ndarray | None = None
    lower: np.ndarray | None = None
    answers: np.ndarray | None = None
    actual: np.ndarray | None = None
    sums: np.ndarray | None = None

    @classmethod
    def of(cls, metric: Metric, y: np.ndarray, stack: Stack) -> "Library":
        """Read the stack once."""
        members, n, classes = stack.shape
        labels, one_class = metric.needs == "labels", metric.task == "multiclass"
        upper = np.empty((n, classes), np.float32) if labels else None
        lower = np.empty((n, classes), np.float32) if labels and not one_class else None
        answers = np.empty((members, n), np.int32) if labels and one_class else None
        actual = np.empty((members, n), np.float32) if one_class else None
        sums = np.empty((members, n), np.float32) if one_class else None
        ones = np.ones(classes, np.float32)
        for here, block in stack.blocks():
            if upper is not None:
                block.max(axis=0, out=upper[here])
            if lower is not None:
                block.min(axis=0, out=lower[here])
            if answers is not None:
                answers[:, here] = block.argmax(axis=2)
            if actual is not None:
                actual[:, here] = block[:, np.arange(block.shape[1]), y[here]]
                sums[:, here] = block @ ones
        if sums is not None and np.abs(sums - 1).max() < EVEN:
            sums = None
        return cls(metric, y, stack, upper, lower, answers, actual, sums)


class Gains(ABC):
    """The scores that each member would bring to the mix on weighted rows of a library."""

    def __init__(self, library: Library, weights: np.ndarray) -> None:
        rows = np.flatnonzero(weights)
        whole = len(rows) == len(weights)
        self.models, self.rows = library, rows
        self.stack = library.stack if whole else library.stack.take(rows)
        self.y = library.y if whole else library.y[rows]
        self.weights = weights[rows].astype(np.float64)
        self.total = np.zeros(self.stack.shape[1:])
        self.size = 0

    def gather(self, members: Sequence[int]) -> None:
        """Add members to the total."""
        if members:
            for here, block in self.stack.only(members).blocks():
                for values in block:
                    self.total[here] += values

    @abstractmethod
    def scores(self) -> np.ndarray:
        """Return the score with each member (members,), higher is better, -inf if undefined."""

    @abstractmethod
    def add(self, member: int) -> None:
        """Let a member join."""


class AnyGains(Gains):
    """Any metric, by scoring every mix: slow, for those that are a host's own."""

    def scores(self) -> np.ndarray:
        metric, found = self.models.metric, np.full(len(self.stack), -np.inf)
        rule, rows = default_rule(metric), np.arange(len(self.y))
        for member in range(len(self.stack)):
            mixed = self.mixed(member)
            answer = rule.apply(mixed)
            score = metric.scorer(self.y, answer, mixed.shape[1], rows)(self.weights[None])[0]
            if np.isfinite(score):
                found[member] = metric.sign * score
        return found

    def mixed(self, member: int) -> np.ndarray:
        """Return the mix (n, c) float64 after a member joined."""
        mixed = self.total + self.stack.member(member)
        mixed /= self.size + 1
        return np.clip(mixed, 0, 1, out=mixed)

    def add(self, member: int) -> None:
        self.gather([member])
        self.size += 1


class RankGains(AnyGains):
    """AUC and average precision, of rows that stand as often as they weigh, by `ranking_score`."""

    def __init__(self, library: Library, weights: np.ndarray) -> None:
        rows = np.repeat(np.arange(len(weights)), weights)
        repeated = Library(library.metric, library.y[rows], library.stack.take(rows))
        super().__init__(repeated, np.ones(len(rows)))

    def scores(self) -> np.ndarray:
        metric = self.models.metric
        mixes = (self.mixed(member) for member in range(len(self.stack)))
        found = np.array([metric.sign * ranking_score(metric, self.y, mixed) for mixed in mixes])
        return np.where(np.isfinite(found), found, -np.inf)


class LabelGains(Gains):
    """A metric of labels: the likeliest class, or each label at 0.5."""

    def __init__(self, library: Library, weights: np.ndarray) -> None:
        super().__init__(library, weights)
        members, _, classes = self.stack.shape
        metric = library.metric
        self.tally = tally_of(metric)(metric, self.y, self.weights, classes, members)
        self.rivals: Rivals | None = None
        self.pending: list[int] = []  # joined since the total was last up to date
        self.serves = 0  # how many more members the rivals serve

    def add(self, member: int) -> None:
        if self.rivals is not None:
            self.rivals.add(member)
        self.pending.append(member)
        self.size += 1
        self.serves -= 1

    def scores(self) -> np.ndarray:
        if self.size == 0 and self.models.metric.task == "multiclass":
            return self._alone()
        if self.serves <= 0:
            self._look()
        self.tally.clear()
        for members, at, sums in self.rivals.fallen():
            rows, classes = np.divmod(self.rivals.cells.at[at], self.total.shape[1])
            if self.y.ndim == 1:
                best = strongest(members, rows, sums)
                members, rows, classes = members[best], rows[best], classes[best]
            self.tally.change(members, rows, classes)
        return self.tally.scores()

    def _alone(self) -> np.ndarray:
        found = np.empty(len(self.stack))
        for member, answers in enumerate(self.models.answers):
            self.tally.start(answers[self.rows])
            found[member] = self.tally.scores()[0]
        return found

    def _look(self) -> None:
        """Bring the total up to date, and find the answers and what could turn them over."""
        self.gather(self.pending)
        self.pending = []
        self.serves = horizon = max(1, self.size // REACH)
        one_class, classes = self.y.ndim == 1, self.total.shape[1]
        contested = self._rival_classes if one_class else self._open_labels
        standing = np.empty(self.y.shape, np.int64 if one_class else np.int8)
        step = max(1, ROWS // classes)
        pieces = [slice(at, at + step) for at in range(0, len(self.y), step)]
        parts = [contested(here, standing, horizon) for here in pieces]
        cells = Cells.joined(parts)
        self.rivals = Rivals(cells, self.stack, self.models.metric.task, horizon)
        self.tally.start(standing)

    def _rival_classes(self, here: slice, standing: np.ndarray, horizon: int) -> Cells:
        """Fill in the likeliest classes of some rows, and return the cells that could pass them."""
        total = self.total[here]
        likeliest = standing[here] = total.argmax(axis=1)
        lines = np.arange(len(total))
        top = total[lines, likeliest]
        close = total + horizon * self.models.upper[self.rows[here]] >= top[:, None] - ROUNDING
        close[lines, likeliest] = False
        rows, classes = np.divmod(np.flatnonzero(close), total.shape[1])
        lead = total[rows, classes] - top[rows]
        base = likeliest[rows]
        return Cells((rows + here.start) * total.shape[1] + classes, base, classes < base, lead)

    def _open_labels(self, here: slice, standing: np.ndarray, horizon: int) -> Cells:
        """Fill in the answers of some rows at 0.5, and return the cells that could be flipped."""
        rows, total = self.rows[here], self.total[here] - 0.5 * self.size
        upper, lower = self.models.upper[rows] - 0.5, self.models.lower[rows] - 0.5
        # Before anyone joined, the answer that is given if all members agree.
        yes = standing[here] = total >= 0 if self.size else upper + lower >= 0
        most = np.where(yes, -lower, upper)
        most = np.maximum(most, horizon * most)
        found = np.flatnonzero(np.where(yes, -total, total) + most >= -ROUNDING)
        said = yes.reshape(-1)[found]
        lead = np.where(said, -1.0, 1.0) * total.reshape(-1)[found]
        return Cells(found + here.start * total.shape[1], said.astype(np.int8), ~said, lead)


def strongest(members: np.ndarray, rows: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Return where each run of one member and row has its largest sum, the first among equals."""
    if not len(rows):
        return np.empty(0, np.int64)
    new = np.append(True, (np.diff(rows) != 0) | (np.diff(members) != 0))
    starts = np.flatnonzero(new)
    runs = np.cumsum(new) - 1
    at = np.flatnonzero(sums == np.maximum.reduceat(sums, starts)[runs])
    return at[np.unique(runs[at], return_index=True)[1]]
