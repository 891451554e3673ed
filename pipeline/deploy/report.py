"""What a prediction of new pictures came to, ready to be shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.decisions import Point
from pipeline.deploy.answers import DONT_KNOW

MOST = 12  # classes in the table, the commonest
Part = str | tuple[list[str], list[list[str]]]  # a sentence, or a table: headers and rows


@dataclass(frozen=True)
class Prediction:
    """A written table of answers.

    `counts`: how many pictures each class was answered for. `dont_know`: how many have no answer,
    those that nothing could be seen of included where a confidence is asked for. `broken`: how many
    nothing could be seen of. `expected`: what the record says of out-of-fold rows, at the highest
    level of its curve that is no higher than the confidence asked for.
    """

    path: Path
    shown: str
    source: str
    images: int
    counts: dict[str, int]
    dont_know: int
    broken: int
    confidence: float | None
    expected: Point
    seconds: float

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds


def expected_at(record: dict[str, Any], level: float | None) -> Point:
    """Return what answering from confidence `level` on came to out of fold, by the record of a
    decision; between two of its levels the lower one counts."""
    points = [Point(**point) for point in record["coverage"]["points"]]
    return [point for point in points if point.confidence <= (level or 0.0)][-1]


def report_parts(made: Prediction) -> list[Part]:
    """Return what to print: sentences, and the table of answers as (headers, rows)."""
    common = sorted(made.counts, key=lambda name: -made.counts[name])[:MOST]
    counts = {name: n for name, n in made.counts.items() if n and name in common}
    others = sum(made.counts.values()) - sum(counts.values())
    lines = [*counts.items(), *([("other classes", others)] if others else [])]
    if made.confidence is not None:
        lines.append((DONT_KNOW, made.dont_know))
    rows = [[name, f"{n:,}", f"{n / made.images:.1%}"] for name, n in lines]
    parts: list[Part] = [(["answer", "pictures", "share"], rows), _expectation(made)]
    if made.broken:
        parts.append(
            f"warning: {made.broken:,} of {made.images:,} pictures could not be used; they have "
            "confidence 0, and the reason stands in the column note"
        )
    speed = f"{made.seconds:.1f} s, {made.images_per_second:.3g} pictures per second"
    return [*parts, f"{made.shown}: {made.images:,} pictures by {made.source}, {speed}"]


def _expectation(made: Prediction) -> str:
    point = made.expected
    if not point.confidence:
        return f"out of fold, {point.accuracy:.1%} of all answers were right"
    if point.accuracy is None:
        return f"out of fold, no answer had a confidence of {point.confidence:g} or more"
    return (
        f"out of fold, {point.coverage:.1%} of the answers had a confidence of "
        f"{point.confidence:g} or more, and {point.accuracy:.1%} of these were right"
    )
