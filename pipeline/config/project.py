"""Where everything lies: the one place that knows the project's paths."""

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PodiumError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_OF_RUNS = ("NAME", "run", "RUNS", "FROM")  # whose names are folders below the runs
_COMPARE = "compare"


def checked_name(name: str, what: str) -> str:
    """Return `name` if it can safely be part of a path; `what` says whose name it is."""
    if not _NAME.fullmatch(name) or ".." in name or len(name) > 120:
        raise PodiumError(
            f"{what}: {name!r} is not a usable name; use letters, digits and . _ + -, "
            "beginning with a letter or digit, at most 120 characters"
        )
    if what in _OF_RUNS and name.lower() == _COMPARE:  # some file systems do not tell the case
        raise PodiumError(
            f"{what}: {name!r} is taken, since make compare writes into a folder of that name; "
            "choose another name"
        )
    return name


@dataclass(frozen=True)
class Project:
    """A checkout, or any folder laid out like one; every path of the contracts is made here."""

    root: Path

    @property
    def competitions(self) -> Path:
        return self.root / "experiments" / "competitions"

    @property
    def recipes(self) -> Path:
        return self.root / "experiments" / "recipes"

    @property
    def studies(self) -> Path:
        return self.root / "experiments" / "studies"

    @property
    def cache(self) -> Path:
        return self.root / "data" / "cache"

    def competition(self, comp: str) -> Path:
        return self.competitions / f"{checked_name(comp, 'COMP')}.yaml"

    def recipe(self, name: str) -> Path:
        return self.recipes / f"{checked_name(name, 'RECIPE')}.yaml"

    def study(self, name: str) -> Path:
        return self.studies / f"{checked_name(name, 'STUDY')}.yaml"

    def data(self, comp: str) -> Path:
        return self.root / "data" / checked_name(comp, "COMP")

    def folds(self, comp: str) -> Path:
        return self.root / "folds" / f"{checked_name(comp, 'COMP')}.csv"

    def runs(self, comp: str) -> Path:
        return self.root / "experiments" / "runs" / checked_name(comp, "COMP")

    def run(self, comp: str, run: str) -> Path:
        return self.runs(comp) / checked_name(run, "run")

    def audit(self, comp: str) -> Path:
        return self.runs(comp) / "audit.json"

    def comparisons(self, comp: str) -> Path:
        return self.runs(comp) / _COMPARE

    def submissions(self, comp: str) -> Path:
        return self.root / "submissions" / checked_name(comp, "COMP")

    def ledger(self, comp: str) -> Path:
        return self.submissions(comp) / "ledger.csv"

    def shown(self, path: Path) -> str:
        """Return `path` as a user of this project would type it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)
