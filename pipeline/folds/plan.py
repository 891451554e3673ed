"""What was asked of the folds: k folds or a hold-out, with a local test split or without."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.errors import PodiumError
from pipeline.folds.stratify import k_folds, split_parts

TRAIN_ONLY = -1  # trained on, never validated on
HOLDOUT = 0.2  # validated share of a hold-out that names none
TEST = -2  # kept apart as the local test split, neither trained nor validated on

VARIABLES = {"n_folds": "FOLDS", "holdout": "HOLDOUT", "test": "TEST", "seed": "SEED"}


@dataclass(frozen=True)
class Plan:
    """The arguments of `make folds`; `holdout` counts only for one fold, and is None otherwise.

    Both fractions are of all rows: FOLDS=1 HOLDOUT=0.1 TEST=0.1 splits 80/10/10.
    """

    n_folds: int = 5
    holdout: float | None = None
    test: float = 0.0
    seed: int = 0

    @classmethod
    def checked(cls, *, n_folds: int, holdout: float | None, test: float, seed: int) -> "Plan":
        """Build a plan, or say which variable breaks which rule."""
        if n_folds < 1:
            _refuse("n_folds", "at least 1 (1 is a hold-out)", n_folds, "5")
        if holdout is not None and not 0 < holdout < 1:
            _refuse("holdout", "a fraction between 0 and 1", holdout, "0.2")
        if holdout is not None and n_folds != 1:
            _refuse("n_folds", f"1 with HOLDOUT={holdout:g}", n_folds, "1")
        holdout = HOLDOUT if holdout is None else holdout
        if not 0 <= test < 1:
            _refuse("test", "a fraction from 0 to below 1", test, "0 or 0.1")
        if n_folds == 1 and not holdout + test < 1:
            rule = f"below 1 together with TEST={test:g}, so that rows to train on are left"
            _refuse("holdout", rule, holdout, "0.2")
        if not 0 <= seed < 2**32:
            _refuse("seed", "a whole number from 0 to 2^32 - 1", seed, "0")
        return cls(n_folds, float(holdout) if n_folds == 1 else None, float(test), seed)

    def arguments(self) -> dict[str, Any]:
        """Return what decides the folds, for the JSON beside them."""
        return asdict(self)

    def fractions(self) -> dict[int, float]:
        """Return the share of all rows asked for by fold, where one was asked for."""
        asked = {TEST: self.test} if self.test else {}
        return asked if self.holdout is None else asked | {0: self.holdout}

    def scheme(self, grouped: bool) -> str:
        """Say in words what the folds are."""
        what = f"{self.n_folds} folds" if self.holdout is None else f"hold-out of {self.holdout:g}"
        apart = f", {self.test:g} of the rows kept apart as a local test split" if self.test else ""
        together = ", whole groups together" if grouped else ""
        return f"{what}{apart}, stratified by class{together}"

    def check_left(self, units: int, left_out: int, *, grouped: bool) -> None:
        """Refuse where rows that are only trained on leave too few, of rows or groups, to split."""
        parts = max(self.n_folds, 2) + (self.test > 0)
        if units < parts:
            asked = f"FOLDS={self.n_folds}" + (f" TEST={self.test:g}" if self.test else "")
            raise PodiumError(
                f"folds: {asked} splits at least {parts} {'groups' if grouped else 'rows'}, but "
                f"{units} are left beside the {left_out} train-only rows; ask for fewer folds, or "
                "give more rows to validate on"
            )

    def assign(self, labels: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
        """Return the fold of every row, (n,) int64.

        The test split is carved first and alone, so that it is the same for any FOLDS and HOLDOUT.
        """
        self._check_rows(len(labels))
        fold = np.full(len(labels), TRAIN_ONLY, np.int64)
        left = np.arange(len(labels))
        if self.test:
            apart = split_parts(labels, groups, (1 - self.test, self.test), self.seed)
            fold[apart == 1] = TEST
            left = np.flatnonzero(apart == 0)
        rest = labels[left], None if groups is None else groups[left]
        if self.holdout is None:
            fold[left] = k_folds(*rest, self.n_folds, self.seed)
            return fold
        share = self.holdout / (1 - self.test)
        fold[left[split_parts(*rest, (1 - share, share), self.seed) == 1]] = 0
        return fold

    def _check_rows(self, n: int) -> None:
        for number, fraction in self.fractions().items():
            name = "test" if number == TEST else "holdout"
            if not 1 <= round(fraction * n) < n:
                rule = f"a fraction of the {n} rows that takes one row and leaves one"
                _refuse(name, rule, fraction, "0.2")


def _refuse(name: str, rule: str, value: float, remedy: str) -> None:
    variable = VARIABLES[name]
    raise PodiumError(f"folds: {variable}= must be {rule}, got {value}; try {variable}={remedy}")
