"""One name per row, or several separated ones? Told by whether the parts recur."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.competition.labels import split

SEPARATORS = {";": "semicolons", "|": "pipes", ",": "commas", " ": "spaces"}
MANY = 1.5  # distinct texts per distinct part, from which texts with spaces are sets of names


@dataclass(frozen=True)
class Parts:
    """How the texts of a column come apart at `separator`."""

    separator: str
    texts: int
    parts: int
    recurring: int
    several: bool
    lengths: int
    sets: bool

    @property
    def plausible(self) -> bool:
        """Whether the texts are sets of names: half of the parts stand in two different texts.

        A space is also part of a name ("Ankle boot"); it counts only where texts are many for
        their parts and differ in length, as sets do and names of one scheme do not.
        """
        if not (self.several and self.sets and 2 * self.recurring >= self.parts):
            return False
        return self.separator != " " or (self.texts >= MANY * self.parts and self.lengths > 1)


def parts_of(values: Sequence[str], separator: str) -> Parts:
    """Return how the distinct texts among `values` come apart."""
    texts = {value for value in values if value.strip()}
    found = [split(text, separator) for text in texts]
    counts = Counter(part for parts in found for part in set(parts))
    repeated = sum(len(set(parts)) < len(parts) for parts in found)
    return Parts(
        separator=separator,
        texts=len(texts),
        parts=len(counts),
        recurring=sum(count > 1 for count in counts.values()),
        several=any(len(parts) > 1 for parts in found),
        lengths=len({len(parts) for parts in found}),
        sets=repeated <= 0.01 * len(found) and len(counts) <= max(2, len(values) / 2),
    )


def separator_of(values: Sequence[str]) -> str | None:
    """Return the separator at which a column's texts are sets of names, None for single names."""
    for separator in SEPARATORS:
        if parts_of(values, separator).plausible:
            return separator
    return None


def likeliest(values: Sequence[str]) -> str:
    """Return a separator for a column that is known to hold several names: the first that any
    text has."""
    return next((mark for mark in SEPARATORS if any(mark in value for value in values)), " ")


def undecided(values: Sequence[str]) -> str | None:
    """Return the separator that single names hold too, so that the reading must be said."""
    for separator in SEPARATORS:
        parts = parts_of(values, separator)
        if parts.several and parts.recurring:
            return separator
    return None
