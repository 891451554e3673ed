"""The rule that turns probabilities into an answer: what it answers, and how it is written.

How each kind is fitted stands in `rules`. Multi-class: `argmax`, `multipliers`, and `cuts` for
ordered classes. Multi-label, by thresholds: `threshold` (fixed 0.5), `global`, `sized`, `half-f`,
`shrunk`, `bootstrap`, `per-class`; by sets: `top-k`, `expected-f`, `expected-jaccard`. Metrics of
probabilities: `identity`. A multi-label rule may also bound the number of labels of an image.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.decisions.multipliers import multiply
from pipeline.decisions.ordinal import cut_classes
from pipeline.decisions.sets import samples_f_sets, samples_jaccard_sets
from pipeline.decisions.sizes import limit_sizes, top_labels
from pipeline.errors import PodiumError, nearest
from pipeline.metrics.checks import check_probs

PER_CLASS = ("half-f", "shrunk", "bootstrap", "per-class")  # a threshold for each class
COMMON = ("threshold", "global", "sized")  # one threshold for all classes
SETS = ("top-k", "expected-f", "expected-jaccard")
LABELS = (*COMMON, *SETS, *PER_CLASS)  # those of multi-label tasks
KINDS = ("identity", "argmax", "multipliers", "cuts", *LABELS)
LENGTHS = {  # others: one value per class
    **dict.fromkeys(("identity", "argmax", "expected-jaccard"), 0),
    **dict.fromkeys((*COMMON, "top-k", "expected-f"), 1),
}
LIMITS = ("at_least", "at_most")
BLOCK = 1 << 20  # float64 values in a block of rows: 8 MB


@dataclass(frozen=True)
class Rule:
    """A kind of rule and its values: nothing, one number, or one per class (of cuts, one fewer).

    `values` holds the threshold or thresholds, the multipliers, the cuts, the k of `top-k` or the
    beta of `expected-f`. Whatever a multi-label rule answers, labels are then added or dropped, by
    the order of p - t (of p for sets), until a row has `at_least` and no more than `at_most`.
    """

    kind: str
    values: tuple[float, ...] = ()
    at_least: int = 0
    at_most: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            hint = nearest(str(self.kind), KINDS) or f"; known are {', '.join(KINDS)}"
            raise PodiumError(f"{self.kind!r} is not a kind of rule{hint}")
        expected = LENGTHS.get(self.kind)
        if expected is not None and len(self.values) != expected:
            raise PodiumError(f"rule {self.kind!r} takes {expected} values, got {self.values}")
        if expected is None and not self.values:
            raise PodiumError(f"rule {self.kind!r} takes one value per class, got none")
        for value in self.values:
            _check_value(self.kind, value)
        if self.kind == "cuts" and (np.diff(self.values) < 0).any():
            raise PodiumError(f"the cuts of a rule must not descend, got {self.values}")
        _check_limits(self.kind, self.at_least, self.at_most)

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Return the answer to probabilities (n, c); float32 ones are read without a whole copy.

        Returns
        -------
        ndarray
            (n,) int64 class indices, (n, c) int8 of 0 and 1, or the probabilities as float64.
        """
        probs = check_probs(probs, narrow=True)
        self._check_width(probs.shape[1])
        if self.kind == "identity":
            return probs.astype(np.float64, copy=False)
        if self.kind == "argmax":
            return np.argmax(probs, axis=1)
        width = probs.shape[1]
        of_labels = self.kind in LABELS
        answer = np.empty(probs.shape if of_labels else len(probs), np.int8 if of_labels else int)
        size = max(1, BLOCK // width)
        for start in range(0, len(probs), size):
            here = slice(start, start + size)
            block = probs[here].astype(np.float64, copy=False)
            answer[here] = self._labels(block) if of_labels else self._classes(block)
        return answer

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads; floats survive JSON exactly, limits stand where set."""
        content: dict[str, Any] = {"kind": self.kind, "values": list(self.values)}
        if self.at_least:
            content["at_least"] = self.at_least
        if self.at_most is not None:
            content["at_most"] = self.at_most
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Rule":
        """Return the rule that `to_json` wrote, or refuse what it cannot have written."""
        keys = {"kind", "values"}
        if not isinstance(content, dict) or set(content) - {*LIMITS} != keys:
            names = "a rule in JSON has the keys kind and values, maybe at_least and at_most"
            raise PodiumError(f"{names}; got {content!r:.200}")
        kind, values = content["kind"], content["values"]
        if not isinstance(kind, str) or not isinstance(values, list):
            rule = "a rule in JSON has a kind (text) and values (a list)"
            raise PodiumError(f"{rule}, got {content!r:.200}")
        for value in values:
            _check_value(kind, value)
        limits = {key: content[key] for key in LIMITS if key in content}
        return cls(kind, tuple(float(value) for value in values), **limits)

    def describe(self) -> str:
        """Return the rule in a few words."""
        low, high = min(self.values, default=0.0), max(self.values, default=0.0)
        span = f"{low:.3g} to {high:.3g}"
        words = {
            "identity": "probabilities as they are",
            "argmax": "argmax",
            "multipliers": f"argmax of p times {span}",
            "cuts": f"mean class, cut at {span}",
            "threshold": f"p >= {low:.3g}",
            "global": f"p >= {low:.3g}, fitted for all classes",
            "sized": f"p >= {low:.3g}, fitted for all classes",
            "top-k": f"the {low:.0f} most probable",
            "expected-f": f"the set of highest expected F{low:g}",
            "expected-jaccard": "the set of highest expected Jaccard",
            "half-f": f"p >= {span}, half the expected F",
            "shrunk": f"p >= {span}, per class, shrunk",
            "bootstrap": f"p >= {span}, median of resamples",
            "per-class": f"p >= {span}, fitted per class",
        }
        return words[self.kind] + self._limits_in_words()

    def _labels(self, block: np.ndarray) -> np.ndarray:
        """Return the sets of labels (b, c) of float64 probabilities, within the limits."""
        values, scores = np.array(self.values), block
        if self.kind == "top-k":
            answer = top_labels(block, int(values[0]))
        elif self.kind == "expected-f":
            answer = samples_f_sets(block, float(values[0]))
        elif self.kind == "expected-jaccard":
            answer = samples_jaccard_sets(block)
        else:
            answer = (block >= values).astype(np.int8)
            # One threshold alters no order; p - t could round two small p onto each other.
            scores = block - values if self.kind in PER_CLASS else block
        if self.at_least == 0 and self.at_most is None:
            return answer
        return limit_sizes(answer, scores, self.at_least, self.at_most)

    def _classes(self, block: np.ndarray) -> np.ndarray:
        values = np.array(self.values)
        return multiply(block, values) if self.kind == "multipliers" else cut_classes(block, values)

    def _check_width(self, n_classes: int) -> None:
        if self.kind == "top-k" and self.values[0] > n_classes:
            raise PodiumError(f"top-k asks for {self.values[0]:.0f} labels of {n_classes} classes")
        expected = len(self.values) + (self.kind == "cuts")
        if self.kind not in LENGTHS and expected != n_classes:
            shape = f"{len(self.values)} values, probs have {n_classes} columns"
            fewer = " (of cuts, one fewer)" if self.kind == "cuts" else ""
            raise PodiumError(f"rule {self.kind!r} needs one value per class{fewer}, got {shape}")
        if self.at_least > n_classes:
            raise PodiumError(f"at_least {self.at_least} labels, but there are {n_classes} classes")

    def _limits_in_words(self) -> str:
        low, high = self.at_least, self.at_most
        if high is None:
            return f"; {low} labels or more" if low else ""
        return f"; {low} to {high} labels"


def _check_value(kind: str, value: Any) -> None:
    """Refuse what no fit returns: a threshold outside [0, 2), a multiplier that is not positive."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not abs(value) < 1e300:  # NaN, infinities, and integers beyond float64
        raise PodiumError(f"the values of rule {kind!r} must be finite numbers, got {value!r}")
    if kind == "multipliers" and value <= 0:
        raise PodiumError(f"multipliers must be positive, got {value}")
    if kind in ("global", "sized", *PER_CLASS) and not 0 <= value < 2:
        raise PodiumError(f"a threshold must lie in [0, 2), got {value}")
    if kind == "threshold" and value != 0.5:
        raise PodiumError(f"rule 'threshold' is fixed at 0.5, got {value}; use 'global'")
    if kind == "top-k" and (value < 1 or value != int(value)):
        raise PodiumError(f"the k of rule 'top-k' must be a whole number from 1, got {value}")
    if kind == "expected-f" and value <= 0:
        raise PodiumError(f"the beta of rule 'expected-f' must be positive, got {value}")


def _check_limits(kind: str, at_least: Any, at_most: Any) -> None:
    if at_least == 0 and at_least is not False and at_most is None:
        return
    if kind not in LABELS:
        raise PodiumError(f"rule {kind!r} answers no sets; at_least and at_most suit multi-label")
    if type(at_least) is not int or at_least < 0:
        raise PodiumError(f"at_least must be a whole number from 0, got {at_least!r}")
    if at_most is not None and (type(at_most) is not int or at_most < max(1, at_least)):
        low = max(1, at_least)
        raise PodiumError(f"at_most must be a whole number from {low}, or None, got {at_most!r}")
