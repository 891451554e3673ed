"""Submissions as points: an honest cross-validation score against one of the leaderboard."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.submission.ledger import BY_HAND, UPLOADED, Entry


@dataclass(frozen=True)
class Point:
    """A submission with an honest score and its standard error, 0 where that says nothing;
    leaderboard scores may be None."""

    entry: Entry
    cv: float
    se: float
    public: float | None
    private: float | None

    @property
    def number(self) -> int:
        return self.entry.number

    @property
    def name(self) -> str:
        return f"{self.number:03d} {self.entry.source}"

    @property
    def kind(self) -> tuple[str, str]:
        """What it was made by: its source, and what the note says of the decision, without what
        came into the note later."""
        later = (BY_HAND, f"{UPLOADED} ", "against ")
        parts = self.entry.note.split("; ")
        return self.entry.source, "; ".join(p for p in parts if not p.startswith(later))


@dataclass(frozen=True)
class Points:
    """The submissions with an honest score; `repeated` maps the number of a file that was entered
    before to the number under which it counts, `without` numbers to what keeps them from being held
    against the leaderboard."""

    found: tuple[Point, ...]
    repeated: dict[int, int]
    without: dict[int, str]


def points_of(entries: Sequence[Entry]) -> Points:
    """Return the rows of a ledger as points; a file that was entered several times counts once, as
    its first row with an honest score, with whichever leaderboard scores any of its rows has."""
    by_file: dict[str, list[Entry]] = {}
    for entry in entries:
        by_file.setdefault(entry.sha256, []).append(entry)
    found, repeated, without = [], {}, {}
    for same in by_file.values():
        told = [entry for entry in same if entry.value("cv_honest") is not None]
        first = (told or same)[0]
        repeated |= {entry.number: first.number for entry in same if entry is not first}
        if not told:
            without[first.number] = "has no honest score"
            continue
        if not first.value("cv_se"):  # none, or 0: what is always right has no bootstrap error
            without[first.number] = "has no standard error above 0"
        found.append(_point(first, same))
    return Points(tuple(found), repeated, without)


def _point(first: Entry, same: Sequence[Entry]) -> Point:
    scores = {}
    for column in ("public", "private"):
        known = [value for entry in same if (value := entry.value(column)) is not None]
        scores[column] = known[0] if known else None
    cv, se = first.value("cv_honest"), first.value("cv_se")
    return Point(first, float(cv or 0.0), float(se or 0.0), scores["public"], scores["private"])
