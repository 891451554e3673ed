"""Does the test set resemble the training set? Classifiers try to tell their pictures apart.

This is adversarial validation: where the AUC is one half nothing tells them apart, and out-of-fold
scores hold for the test set; where it is far above, they hold for other pictures than those to be
judged.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.findings import Finding, Level
from pipeline.artifacts.hashing import stable_int
from pipeline.audit.adversarial import Told, boosting, regression, told_apart
from pipeline.audit.evidence import differences, single_areas
from pipeline.audit.frozen import frozen_features
from pipeline.audit.traits import (
    PRESENT,
    Column,
    byte_columns,
    compression_columns,
    dimension_columns,
)
from pipeline.competition import CompetitionData
from pipeline.competition.rows import joined_groups
from pipeline.images.duplicates import find_duplicates

NAME = "test-unlike-train"
MOST, MOST_FROZEN = 10_000, 2_000  # rows of either table
LEAST = 20  # rows of either table below which nothing can be told
NOTES, WARNS = 0.5, 0.6  # the lower end of an interval
SINGLE = 0.75  # AUC of one statistic alone that no few clusters of pictures have by chance
SHOWN = 12  # pictures of each kind
HEADERS = ("by", "AUC", "95 % interval", "drawn groups", "what differs most, test against training")
_WHY = (
    "Out-of-fold scores are of pictures like the training ones. Look at the pictures below, and "
    "choose the validation like the test: whole groups (columns.group), or the most test-like rows."
)
_GROUPS = (
    "Test pictures of one group (say, photographer) recognise each other: whole groups of "
    "training rows, taken for a test set, have an AUC of up to {drawn:.3f}{so}."
)
_NO_GROUPS = (
    "No groups are known, or too few to compare with: clusters of similar pictures (one "
    "photographer, one film) give such an AUC without any shift, so set columns.group if there are "
    "such."
)


def likeness_findings(
    data: CompetitionData,
    looks: np.ndarray,
    cache: Path,
    say: Callable[[str], None] = print,
    groups: np.ndarray | None = None,
) -> list[Finding]:
    """Return one finding on how far the test pictures resemble the training pictures; none where
    there are no test rows.

    `looks` (n + m,) are of the training, then the test rows; `groups` (n,) of training rows stay in
    one part, and so do copies of a picture; `cache` is the project's folder for what can be made
    again. `warn` where the lower end of an AUC's interval is above .6, `note` above .5; where the
    training rows have groups, also above what whole groups of them, drawn as a test set, have.
    Without groups to draw it only warns where one statistic alone has an AUC of .75, since a
    classifier of many recognises the clusters of similar pictures that any table may have.
    """
    n = len(data.train)
    if not len(data.test):
        return []
    usable = np.flatnonzero(looks["fault"] == "")
    rows = np.concatenate([_drawn(data, part, MOST) for part in _split(usable, n)])
    few = min(map(len, _split(rows, n)))
    if few < LEAST:
        says = f"{few} pictures that can be decoded in one of both tables: too few to compare"
        return [Finding(NAME, "fine", says)]
    say(f"comparing {(rows < n).sum():,} training with {(rows >= n).sum():,} test pictures")
    cluster = _clusters(data, looks, groups)
    told = [
        *_by_columns(data, looks, rows, cluster),
        *_by_network(data, looks, rows, cluster, cache),
    ]
    return [_finding(data, told)]


def _by_columns(
    data: CompetitionData, looks: np.ndarray, rows: np.ndarray, cluster: np.ndarray
) -> Iterator[Told]:
    """Yield what statistics of the pixels and the form of the files tell, as far as rows differ."""
    n = len(data.train)
    for by, columns in (
        ("statistics of the pixels", _pixel_columns(looks[rows])),
        ("form of the file", _form_columns(looks[rows])),
    ):
        columns = [one for one in columns if len(np.unique(one.values)) > 1]
        if columns:
            table = np.stack([one.values for one in columns], axis=1)
            areas = single_areas(columns, rows >= n)
            yield told_apart(
                by,
                boosting,
                table,
                rows,
                n,
                cluster[rows],
                grouped=data.train.groups is not None,
                single=areas[0][0] if areas else 0.5,
                differs=differences(areas, rows >= n),
            )


def _by_network(
    data: CompetitionData, looks: np.ndarray, rows: np.ndarray, cluster: np.ndarray, cache: Path
) -> Iterator[Told]:
    """Yield what frozen features tell, where the weights are there."""
    n = len(data.train)
    rows = np.concatenate([_drawn(data, part, MOST_FROZEN) for part in _split(rows, n)])
    table = frozen_features(data, rows, looks, cache)
    if table is not None:
        grouped, by = data.train.groups is not None, "features of a network"
        yield told_apart(by, regression, table, rows, n, cluster[rows], grouped=grouped)


def _split(rows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    return rows[rows < n], rows[rows >= n]


def _drawn(data: CompetitionData, rows: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many rows, sorted, by the hashes of their ids."""
    if len(rows) <= most:
        return rows
    ids = np.concatenate([data.train.ids, data.test.ids])[rows].tolist()
    return np.sort(rows[np.argsort([stable_int(name) for name in ids], kind="stable")[:most]])


def _clusters(data: CompetitionData, looks: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Return the cluster (n + m,) int of every row: groups and copies of a picture together."""
    n, m = len(data.train), len(data.test)
    copies = find_duplicates(looks, data.competition.duplicates.distance).cluster
    named = [str(k) for k in range(n)] if groups is None else groups.tolist()
    own = np.array([*(f"train/{g}" for g in named), *(f"test/{k}" for k in range(m))])
    return np.unique(joined_groups(own, own, copies), return_inverse=True)[1].ravel()


def _pixel_columns(looks: np.ndarray) -> list[Column]:
    columns = [Column("sharpness", looks["sharpness"].astype(float))]
    for k, colour in enumerate(("red", "green", "blue")):
        columns.append(Column(f"mean of {colour}", looks["mean"][:, k].astype(float)))
        columns.append(Column(f"spread of {colour}", looks["std"][:, k].astype(float)))
    for field, name in {"grey": "grey", "constant": "of one colour"}.items():
        columns.append(Column(name, looks[field].astype(float), PRESENT))
    columns.append(Column("see-through share", looks["clear"].astype(float)))
    thumbs = looks["thumb"].reshape(len(looks), -1).astype(float)
    return [*columns, *(Column("", values) for values in thumbs.T)]


def _form_columns(looks: np.ndarray) -> list[Column]:
    return [*dimension_columns(looks), *byte_columns(looks), *compression_columns(looks)]


def _finding(data: CompetitionData, told: Sequence[Told]) -> Finding:
    if not told:
        return Finding(NAME, "fine", "test and training pictures have all the same statistics")
    best = max(told, key=lambda one: (one.beyond(WARNS), one.beyond(NOTES), one.area.low))
    warns = best.drawn is not None or max(one.single for one in told) >= SINGLE
    level: Level = "fine"
    if best.beyond(NOTES):
        level = "warn" if best.beyond(WARNS) and warns else "note"
    table, area = [HEADERS, *map(_line, told)], best.area
    auc = f"AUC {area.value:.3f} (95 %: {area.low:.3f} to {area.high:.3f}) by the {best.by}"
    if level == "fine":
        drawn = "" if best.drawn is None else _drawn_in_words(best)
        says = f"a classifier hardly tells test from training pictures: {auc}"
        if not np.isfinite(area.se):
            says = "all pictures of one table are of one group or copies: nothing can be compared"
        return Finding(NAME, level, says, drawn, table=table)
    says = f"a classifier tells test from training pictures: {auc}"
    compared = int((best.rows >= len(data.train)).sum())
    why = f"{_WHY} {_NO_GROUPS if best.drawn is None else _drawn_in_words(best)}"
    return Finding(NAME, level, says, why, compared, items=_items(data, best), table=table)


def _drawn_in_words(best: Told) -> str:
    so = "; so the test pictures differ by more" if best.beyond(NOTES) else ", by no shift at all"
    return _GROUPS.format(drawn=best.drawn, so=so)


def _line(one: Told) -> tuple[str, ...]:
    interval = f"{one.area.low:.3f} to {one.area.high:.3f}"
    drawn = "-" if one.drawn is None else f"{one.drawn:.3f}"
    return one.by, f"{one.area.value:.3f}", interval, drawn, one.differs


def _items(data: CompetitionData, best: Told) -> list[dict[str, Any]]:
    """Return the training pictures that are most like test ones, the test pictures that are least
    like training ones, and the training pictures that are least like test ones."""
    n = len(data.train)
    order = np.argsort(best.probs, kind="stable")
    train, test = order[best.rows[order] < n], order[best.rows[order] >= n]
    chosen = (
        ("training picture, most like the test", "train", train[::-1]),
        ("test picture, least like the training", "test", test[::-1]),
        ("training picture, least like the test", "train", train),
    )
    ids = np.concatenate([data.train.ids, data.test.ids])
    return [
        {
            "title": title,
            "rows": [str(ids[best.rows[place]])],
            "table": table,
            "score": round(float(best.probs[place]), 3),
        }
        for title, table, places in chosen
        for place in places[:SHOWN].tolist()
    ]
