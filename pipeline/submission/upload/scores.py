"""Scores that Kaggle has of our submissions: found by their descriptions, entered in the ledger."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.competition import CompetitionData
from pipeline.errors import PodiumError
from pipeline.submission.ledger import UPLOADED, Entry, checked_score, enter, rows
from pipeline.submission.ranges import check_range
from pipeline.submission.upload.faults import said
from pipeline.submission.upload.site import Sent, Site, open_site

DIGITS = 12  # of the sha256; two files that share them are the same
DESCRIPTION = re.compile(rf"podium (\d+) ([0-9a-f]{{{DIGITS}}})\b")
COLUMNS = ("public", "private")


@dataclass(frozen=True)
class Fetched:
    """What asking the site came to: rows that have a new score now, those that it still scores,
    those that it refused with the reason, those that it does not have, and warnings."""

    entered: tuple[Entry, ...]
    pending: tuple[Entry, ...]
    refused: dict[int, str]
    absent: tuple[Entry, ...]
    warnings: tuple[str, ...]


def describe(entry: Entry) -> str:
    """Return the description that a submission is sent under, and found by."""
    return f"podium {entry.number:03d} {entry.sha256[:DIGITS]} {entry.source}"


def find(site: Site, entry: Entry) -> Sent | None:
    """Return what the site has of a file, under whatever number it was sent."""
    return next((sent for sent in site.submissions() if _is_of(sent, entry)), None)


def _is_of(sent: Sent, entry: Entry) -> bool:
    told = DESCRIPTION.match(sent.description)
    return told is not None and told[2] == entry.sha256[:DIGITS]


def fetch_scores(data: CompetitionData, slug: str, *, site: Site | None = None) -> Fetched:
    """Ask the site for the scores of all rows that lack one, and enter them.

    A row that has a public score and no private one is asked for, too: the second is shown when the
    competition is over.
    """
    open_rows = [
        r for r in rows(data.project, data.competition.name) if not (r.public and r.private)
    ]
    if not open_rows:
        return Fetched((), (), {}, (), ())
    everything = list((site or open_site(slug)).submissions())
    entered, pending, refused, absent, warnings = [], [], {}, [], []
    for entry in open_rows:
        sent = _newest(everything, entry)
        if sent is None:
            absent += [] if entry.public else [entry]
        elif sent.status == "pending":
            pending.append(entry)
        elif sent.status == "error":
            refused[entry.number] = said(sent.fault) or "no reason given"
        else:
            now, warning = enter_scores(data, entry, sent)
            changed = (now.public, now.private) != (entry.public, entry.private)
            entered += [now] if changed else []
            warnings += [warning] if warning else []
    return Fetched(tuple(entered), tuple(pending), refused, tuple(absent), tuple(warnings))


def _newest(everything: Sequence[Sent], entry: Entry) -> Sent | None:
    return next((sent for sent in everything if _is_of(sent, entry)), None)


def enter_scores(data: CompetitionData, entry: Entry, sent: Sent) -> tuple[Entry, str]:
    """Enter the scores that the site shows and its number of the submission; return the row, and
    why a score was left out, or ''."""
    scores, warning = {}, ""
    for column in COLUMNS:
        text = getattr(sent, column)
        if not text or getattr(entry, column):
            continue
        try:
            where = f"Kaggle's {column} score of {entry.number:03d}"
            score = check_range(checked_score(text, where), data.competition.metric, where)
            scores[column] = repr(score)
        except PodiumError as fault:
            rule = str(fault).partition(";")[0]
            warning = f"{rule}; not entered: is `metric` in the YAML that of the site?"
    note = f"{UPLOADED} {sent.ref}" if sent.ref else ""
    return enter(data.project, data.competition.name, entry.number, note, **scores), warning
