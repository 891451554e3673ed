"""The gate: does an exported form still answer as the original does, and is it small enough?

Every option is judged on out-of-fold pictures, each answered by the exported network of its own
fold, against what the original's `oof.npz` says there; and where the networks that go along are not
those (one of several, or a refit, which has seen every row) on pictures of the test table as well,
of which only the answers are compared.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipeline.artifacts.predictions import Predictions
from pipeline.competition import CompetitionData
from pipeline.decisions import Rule, answered, as_labels, confidence
from pipeline.deploy.export.latency import threads_here
from pipeline.deploy.export.options import Change, Option
from pipeline.deploy.export.rows import Shown
from pipeline.deploy.export.sources import Part, RunParts
from pipeline.deploy.export.workshop import Workshop
from pipeline.deploy.plan import Plan
from pipeline.metrics import paired_difference

LOSS = 0.005  # of the metric, that is always let pass,
MOST_LOSS = 0.02  # and that never is, however few rows there are to tell


@dataclass(frozen=True)
class Figures:
    """What an option came to beside the original.

    `agreement` is the share of equal answers, the lower of `oof_agreement` (out of fold) and
    `test_agreement` (on test pictures, where the networks that go along are others). `difference`
    is that of the metric, positive where the option is better, `se` its standard error.
    """

    rows: int
    test_rows: int
    oof_agreement: float
    test_agreement: float | None
    metric: float
    original_metric: float
    difference: float
    se: float
    largest_difference: float
    latency_ms: float | None = None

    @property
    def agreement(self) -> float:
        known = (self.oof_agreement, self.test_agreement)
        return min(share for share in known if share is not None)

    @property
    def loss_passes(self) -> bool:
        """Whether what the metric loses is little, or no more than what chance could make of it."""
        return -self.difference <= min(max(LOSS, self.se), MOST_LOSS)


@dataclass(frozen=True)
class Limits:
    """What an export must keep to."""

    max_mb: float
    agreement: float

    def faults(self, mb: float, figures: Figures) -> tuple[str, ...]:
        """Return what keeps an option from being taken."""
        said = []
        if mb > self.max_mb:
            said.append(f"{mb:.1f} MB, more than {self.max_mb:g}")
        if figures.agreement < self.agreement:
            said.append(f"agreement {figures.agreement:.4f}, less than {self.agreement:g}")
        if not figures.loss_passes:
            said.append(f"the metric loses {-figures.difference:.4f}")
        return tuple(said)


@dataclass(eq=False)
class Judge:
    """Judges options; what a network says in a form is worked out once.

    `oof` and `test` are the pictures, `stored` the original's out-of-fold predictions by run, and
    `test_probs` (n, c) what the original says of the test pictures. Below confidence `level`, where
    there is one, "don't know" is the answer.
    """

    data: CompetitionData
    plan: Plan
    rule: Rule
    runs: tuple[RunParts, ...]
    workshop: Workshop
    oof: Shown
    test: Shown
    stored: dict[str, Predictions]
    test_probs: np.ndarray
    level: float | None = None
    said: dict[tuple[str, Change, str, str], np.ndarray] = field(default_factory=dict)

    @property
    def original_metric(self) -> float:
        """The original's score on the rows of the gate."""
        return self._score(self._original())

    def figures(self, option: Option) -> Figures | None:
        """Return the figures of an option; None where nothing shows how far it is off: other
        networks than the judged ones would go along, and there is no test picture."""
        original = self._original()
        probs = self.plan.probs({run.name: self._oof(run, option)[None] for run in self.runs})
        y = self.data.labels[self.oof.rows]
        before, after = self.rule.apply(original), self.rule.apply(probs)
        groups = self.data.train.groups
        groups = self.oof.ids if groups is None else groups[self.oof.rows]
        metric = self.data.metric
        difference, se = paired_difference(metric, y, before, after, groups)
        found = Figures(
            rows=len(self.oof),
            test_rows=0,
            oof_agreement=self._agreement(original, probs),
            test_agreement=None,
            metric=self._score(probs),
            original_metric=self._score(original),
            difference=difference,
            se=0.0 if np.isnan(se) else se,
            largest_difference=float(np.abs(probs - original).max()),
        )
        others = [run for run in self.runs if run.shipped(option.few) != run.judged]
        if not others:
            return found
        if not len(self.test):
            return None
        of_runs = {run.name: self._test(run, option) for run in self.runs}
        agreement = self._agreement(self.test_probs, self.plan.probs(of_runs))
        return replace(found, test_agreement=agreement, test_rows=len(self.test))

    def _original(self) -> np.ndarray:
        """Return what the original says of the rows of the gate, (n, c): its blend of what the
        runs' out-of-fold files hold."""
        rows = {name: one.rows(self.oof.ids, name) for name, one in self.stored.items()}
        return self.plan.probs({name: one.probs[None] for name, one in rows.items()})

    def _score(self, probs: np.ndarray) -> float:
        y = self.data.labels[self.oof.rows]
        return self.data.metric.score(y, self.rule.apply(probs))

    def _agreement(self, before: np.ndarray, after: np.ndarray) -> float:
        """Return the share of rows that two probabilities (n, c) answer alike."""
        (one, told), (other, also) = self._answers(before), self._answers(after)
        equal = one == other
        equal = equal if equal.ndim == 1 else equal.all(axis=1)
        return float(np.mean(np.where(told & also, equal, told == also)))

    def _answers(self, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of probabilities (n, c), and which rows (n,) they are given for."""
        task = self.data.competition.task
        labels = as_labels(self.rule.apply(probs), task)
        return labels, answered(confidence(probs, labels, task), self.level or 0.0)

    def _oof(self, run: RunParts, option: Option) -> np.ndarray:
        """Return what a run's networks say out of fold (n, c) float32: each row by those that have
        not seen it, their mean where folds are repeated."""
        total = np.zeros((len(self.oof), len(self.data.classes)))
        times = np.zeros(len(self.oof), np.int64)
        for part in run.judged:
            unseen = part.validated()
            mine = np.flatnonzero([name in unseen for name in self.oof.ids.tolist()])
            if len(mine):
                total[mine] += self._said(part, option, "oof", mine)
                times[mine] += 1
        if not times.all():
            raise ValueError(f"{run.name}: rows that no fold validates")
        return (total / times[:, None]).astype(np.float32)

    def _test(self, run: RunParts, option: Option) -> np.ndarray:
        everything = np.arange(len(self.test))
        shipped = run.shipped(option.few)
        return np.stack([self._said(part, option, "test", everything) for part in shipped])

    def _said(self, part: Part, option: Option, which: str, rows: np.ndarray) -> np.ndarray:
        """Return the probabilities (n, c) of a network, in an option's form, of some pictures."""
        key = part.name, option.change, option.precision, which
        if key not in self.said:
            built = self.workshop.file(part, option.change, option.precision)
            running = built.running(threads_here())
            looks = getattr(self, which).seen(part.run.view)
            task = self.data.competition.task
            self.said[key] = running.probs([images[rows] for images in looks], task)
        return self.said[key]


def record(figures: Figures) -> dict[str, Any]:
    """Return figures as JSON holds them."""
    return {**figures.__dict__, "agreement": figures.agreement}
