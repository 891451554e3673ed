"""Findings on pictures that come more than once: which, where, and with which labels."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from pipeline.artifacts.findings import Finding
from pipeline.audit.copies import SHOWN, Copies
from pipeline.competition import CompetitionData
from pipeline.folds import Folds
from pipeline.images.duplicates import find_duplicates

SURE = 0.99  # correlation of the colours from which near-duplicates are surely the same picture


def duplicate_findings(data: CompetitionData, folds: Folds, looks: np.ndarray) -> list[Finding]:
    """Return the findings on duplicates; looks (n,) are those of training, then test rows."""
    distance = data.competition.duplicates.distance
    copies = Copies(data, folds, looks, find_duplicates(looks, distance))
    # Two training rows that only a test picture joins may lie in two folds.
    known = looks[: len(data.train)]
    trained = Copies(data, folds, known, find_duplicates(known, distance))
    return [_exact(copies), _near(copies), _across(trained), _in_test(copies), _conflicts(trained)]


def _exact(copies: Copies) -> Finding:
    exact, known = copies.found.exact, copies.known
    several = np.bincount(exact)[exact] > 1
    train, test = int(several[:known].sum()), int(several[known:].sum())
    return Finding(
        "exact-duplicates",
        "warn" if train + test else "fine",
        f"pictures with the same bytes as another: {train:,} of training, {test:,} of test rows",
        "A picture that comes twice counts twice in the loss and the score. The list "
        "duplicates-exact.txt beside this page leaves one of each, of the label that most of them "
        "have, and none where no label leads: name it under `exclude`.",
        count=train + test,
        items=copies.items(copies.same_bytes()),
    )


def _near(copies: Copies) -> Finding:
    distance, near = copies.data.competition.duplicates.distance, copies.found.near
    if distance is None:
        says = "not looked for (duplicates.distance is null)"
        return Finding("near-duplicates", "note", says)
    joined = np.isin(copies.found.cluster, copies.found.cluster[near.first])
    several = copies.found.cluster[np.unique(copies.found.exact, return_index=True)[1]]
    counts = np.bincount(several)  # pictures of different bytes in each cluster
    largest = int(counts.max(initial=0)) if len(near) else 0
    too_large = largest > max(10, 0.05 * len(copies.looks))
    says = (
        f"pairs of other bytes that differ in at most {distance} of 256 bits: {len(near):,}; they "
        f"join {int(joined.sum()):,} pictures, at most {largest:,} different ones in a cluster"
    )
    why = "make folds keeps them together. " if copies.data.competition.duplicates.group else ""
    why += "Look at the pairs: the last ones show whether the distance is right."
    if too_large:
        why += (
            " A cluster this large leaves little to deal: plain pictures look alike to a dHash; "
            "lower duplicates.distance in the YAML."
        )
    bits = np.bincount(near.distance, minlength=distance + 1)
    table = [["bits that differ", "pairs"], *([str(d), f"{n:,}"] for d, n in enumerate(bits))]
    places = np.unique(np.linspace(0, max(len(near) - 1, 0), SHOWN).astype(int))[: len(near)]
    shown = near.take(places)
    columns = (shown.distance.tolist(), shown.first.tolist(), shown.second.tolist())
    level = "warn" if too_large else "note" if len(near) else "fine"
    items = copies.items(list(zip(*columns, strict=True)))
    return Finding("near-duplicates", level, says, why, len(near), items=items, table=table)


def _across(copies: Copies) -> Finding:
    """Find clusters whose training rows some fold trains on while it validates others."""
    fold, group, apart = copies.folds.fold, copies.folds.group, copies.data.train.train_only

    def leaks(i: int, j: int) -> bool:
        tied = group is not None and group[i] == group[j]
        return not (tied and (apart[i] or apart[j]))  # then left out of that fold's training

    pairs = copies.nearest(fold, leaks)
    return Finding(
        "duplicates-across-folds",
        "block" if pairs else "fine",
        f"clusters of duplicates with rows in several folds: {len(pairs):,}"
        if pairs
        else "no picture is trained on in a fold that validates its duplicate",
        "The network has seen the picture that it is scored on: every out-of-fold score is too "
        "good. make folds FRESH=1 keeps them together (unless duplicates.group is false in "
        f"{copies.data.yaml}), and runs on the old folds must be trained again.",
        count=len(pairs),
        depends="folds",
        items=copies.items(pairs),
    )


def _in_test(copies: Copies) -> Finding:
    known = copies.known
    table = np.arange(len(copies.looks)) >= known
    pairs = copies.nearest(table, lambda i, j: True)
    rows = sum(int((rows >= known).sum()) for rows in copies.clusters if rows.min() < known)
    return Finding(
        "duplicates-in-test",
        "warn" if pairs else "fine",
        f"test pictures that are duplicates of training pictures: {rows:,}",
        "The leaderboard is easier than new pictures by so much. Where the rules allow it, their "
        "labels are known; where the two should be apart, tell the host.",
        count=rows,
        items=copies.items(pairs),
    )


def _conflicts(copies: Copies) -> Finding:
    said = np.unique(copies.labels, return_inverse=True)[1].ravel()
    pairs = copies.nearest(said, lambda i, j: True)
    same = sum(apart < 0 or copies.alike(i, j) >= SURE for apart, i, j in pairs)
    return Finding(
        "conflicting-labels",
        "warn" if same else "note" if pairs else "fine",
        f"clusters of duplicates with different labels: {len(pairs):,}, surely the same picture: "
        f"{same:,}",
        "At least one label of each is wrong, or the pictures differ in what matters: correct the "
        "table, or leave such rows out under `exclude`.",
        count=len(pairs),
        items=copies.items(pairs),
    )


def spare_rows(data: CompetitionData, looks: np.ndarray, distance: int | None) -> list[str]:
    """Return the ids of training rows that `exclude` may leave out, so that one row of each cluster
    of duplicates stays: that of the most pixels, the first of equal ones. Of rows with the same
    bytes and different labels, the label of most of them is taken; none stays where none leads."""
    looks = looks[: len(data.train)]
    found = find_duplicates(looks, distance)
    copies = Copies(data, _no_folds(data), looks, found)
    return [data.train.ids[row] for row in sorted(_spare(copies))]


def _spare(copies: Copies) -> Iterator[int]:
    pixels = copies.looks["width"].astype(np.int64) * copies.looks["height"]
    for rows in copies.clusters:
        sound = _sound(copies, rows)
        kept = max(sound, key=lambda row: (pixels[row], -row), default=None)
        yield from (row for row in rows.tolist() if row != kept)


def _sound(copies: Copies, rows: np.ndarray) -> list[int]:
    """Return those of the rows whose label most rows of the same bytes have."""
    said: dict[int, Counter[str]] = {}
    for row in rows.tolist():
        said.setdefault(int(copies.found.exact[row]), Counter())[copies.labels[row]] += 1
    leading = {}
    for exact, labels in said.items():
        first, *others = labels.most_common(2)
        if not others or others[0][1] < first[1]:
            leading[exact] = first[0]
    return [r for r in rows.tolist() if leading.get(int(copies.found.exact[r])) == copies.labels[r]]


def _no_folds(data: CompetitionData) -> Folds:
    return Folds(data.train.ids, np.zeros(len(data.train), np.int64), None, "", {})
