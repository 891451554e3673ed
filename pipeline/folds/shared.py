"""The folds of a competition: the one file that all its runs share.

Pictures that are the same never straddle folds: before the rows are dealt, the clusters of
duplicates are joined to the groups of the table.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.artifacts.hashing import json_hash
from pipeline.competition import CompetitionData
from pipeline.competition.rows import joined_groups
from pipeline.errors import PodiumError, TooFewRows
from pipeline.folds.assignment import ANEW, Folds, groups_differ, refuse_other
from pipeline.folds.file import draft_folds, load_folds, make_folds
from pipeline.images.duplicates import find_duplicates, kept_looks
from pipeline.images.looks import looks_of

GIVEN = "given"  # the scheme of folds that `make folds DATA=` installed


def make_shared(data: CompetitionData, **options: Any) -> tuple[Folds, bool]:
    """Make the folds of a competition, or load those there; options as in `make_folds`."""
    path = data.project.folds(data.competition.name)
    old = load_folds(path) if path.exists() and not options.get("fresh") else None
    if old is not None and old.info["scheme"] == GIVEN:
        refuse_other(path, [f"{_origin(old)} -> dealt here"])
    groups, found = grouped(data)
    if old is not None:
        _refuse_otherwise_joined(old, data, found)
    info = {"duplicates": found} if found else {}
    rows = _rows(data, groups)
    with _telling_of(data, found):
        return make_folds(*rows, train_only=data.train.train_only, extra=info, **options)


def load_shared(data: CompetitionData) -> Folds:
    """Load and check the folds of a competition, in the order of its training table."""
    path = data.project.folds(data.competition.name)
    folds = load_folds(path, data.train.ids, data.train.train_only)
    joined, given = folds.info.get("duplicates"), folds.info.get("given")
    if given:
        if given["groups"] not in ("the file's", groups_hash(data)):
            refuse_other(path, ["the groups of the table have changed"])
    elif joined is None:
        refuse_other(path, list(filter(None, [groups_differ(folds, data.train.groups)])))
    elif joined.get("groups") != groups_hash(data):
        torn = _torn(data.train.groups, folds.group)
        refuse_other(path, [f"the groups of the table have changed{torn}"])
    return folds


def draft_shared(data: CompetitionData) -> Folds:
    """Return the folds that are there, or those that `make_shared` would make, writing nothing."""
    if data.project.folds(data.competition.name).exists():
        return load_shared(data)
    groups, found = grouped(data)
    info = {"duplicates": found} if found else {}
    with _telling_of(data, found):
        return draft_folds(*_rows(data, groups), data.train.train_only, extra=info)


def duplicates_sentence(folds: Folds) -> str:
    """Say which pictures were found to be the same when the folds were made."""
    if folds.info["scheme"] == GIVEN:
        return _given_sentence(folds)
    found = folds.info.get("duplicates")
    if found is None:
        return "duplicates: not looked for when these folds were made"
    what = "the same bytes"
    if found["distance"] is not None:
        what += f", or dHashes that differ in at most {found['distance']} of 256 bits"
    if not found["clusters"]:
        return f"duplicates: none among the training pictures ({what})"
    return (
        f"duplicates: {found['rows']:,} training pictures show what another shows, the largest "
        f"cluster {found['largest']:,} of them; each cluster is in one fold ({what})"
    )


def _origin(folds: Folds) -> str:
    """Say which file folds were given by."""
    return f"given by {folds.info['given']['file']}"


def _given_sentence(folds: Folds) -> str:
    """Say whose folds these are, and what they know of duplicates."""
    given = folds.info["given"]
    said = f"{_origin(folds)}; groups in more than one fold: {given['straddling']:,}"
    if given["duplicates"] is None:
        return f"{said}; duplicates: not looked for"
    return f"{said}; training pictures that show what another shows: {given['duplicates']:,}"


@contextlib.contextmanager
def _telling_of(data: CompetitionData, found: dict[str, Any] | None) -> Iterator[None]:
    """Add to what is wrong with the rows that duplicates among them were joined."""
    try:
        yield
    except TooFewRows as error:
        if not found or not found["clusters"]:
            raise
        raise PodiumError(
            f"{error} ({found['rows']} of {len(data.train)} training pictures show what another "
            f"shows and were joined; duplicates: {{group: false}} in {data.yaml} deals them apart)"
        ) from None


def grouped(data: CompetitionData) -> tuple[np.ndarray | None, dict[str, Any] | None]:
    """Return the groups that join duplicates, and what was found of them; None if not asked for."""
    asked, train = data.competition.duplicates, data.train
    if not asked.group:
        return train.groups, None
    looks = looks_of(train.images, kept_looks(data.project, data.competition.name))
    duplicates = find_duplicates(looks, asked.distance)
    sizes = duplicates.sizes(np.ones(len(train), bool))
    found = {
        "distance": asked.distance,
        "clusters": len(sizes),
        "rows": int(sizes.sum()),
        "largest": int(sizes.max(initial=0)),
        "groups": groups_hash(data),
    }
    return joined_groups(train.ids, train.groups, duplicates.cluster), found


def groups_hash(data: CompetitionData) -> str:
    """Hash the groups of the table; the order of rows does not count."""
    train = data.train
    if train.groups is None:
        return ""
    return json_hash(dict(zip(train.ids.tolist(), train.groups.tolist(), strict=True)))


def _torn(groups: np.ndarray | None, folded: np.ndarray | None) -> str:
    """Name the first group of the table that the groups of the folds do not hold together."""
    if groups is None or folded is None:
        return ""
    pairs = np.unique(np.stack([groups, folded]), axis=1)
    torn = pairs[0, 1:][pairs[0, 1:] == pairs[0, :-1]]
    return f": '{torn[0]}' is one now" if len(torn) else ""


def _refuse_otherwise_joined(
    old: Folds, data: CompetitionData, found: dict[str, Any] | None
) -> None:
    """Refuse folds that were made with other `duplicates`, or before any were looked for."""
    path, before = data.project.folds(data.competition.name), old.info.get("duplicates")
    if before and found is None:
        refuse_other(path, ["duplicates.group true -> false"])
    if before and found and before["distance"] != found["distance"]:
        bits = f"{before['distance']} -> {found['distance']}"
        refuse_other(path, [f"duplicates.distance {bits}"])
    if found and found["clusters"] and not before:
        raise PodiumError(
            f"{path}: made without joining duplicates, though {found['rows']} training pictures "
            f"show what another shows; {ANEW}; or keep these folds and say "
            f"duplicates: {{group: false}} in {data.yaml}"
        )


def _rows(data: CompetitionData, groups: np.ndarray | None) -> tuple[Any, ...]:
    path = data.project.folds(data.competition.name)
    return path, data.train.ids, data.labels, data.classes, groups
