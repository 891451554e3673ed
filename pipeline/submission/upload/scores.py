"""Scores that Kaggle has of our submissions: found by their descriptions, entered in the ledger."""

import re
from collections.abc import Iterable, Sequence
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
    those that it refused with the reason, those that it does not have, and warnings; `asked` is
    False where there was nothing to ask for."""

    entered: tuple[Entry, ...]
    pending: tuple[Entry, ...]
    refused: dict[int, str]
    absent: tuple[Entry, ...]
    warnings: tuple[str, ...]
    asked: bool = True


def describe(entry: Entry) -> str:
    """Return the description that a submission is sent under, and found by."""
    return f"podium {entry.number:03d} {entry.sha256[:DIGITS]} {entry.source}"


def numbers_of(entry: Entry, entries: Sequence[Entry]) -> frozenset[int]:
    """Return the numbers under which the site took a file, as the notes of its rows say."""
    notes = [part for row in entries if row.sha256 == entry.sha256 for part in row.note.split("; ")]
    found = [re.fullmatch(rf"{UPLOADED} (\d+)", part) for part in notes]
    return frozenset(int(one[1]) for one in found if one)


def find(site: Site, entry: Entry, numbers: frozenset[int] = frozenset()) -> Sent | None:
    """Return what the site has of a file, under whatever number it was sent: by its description or
    by the site's `numbers`; where it took the file and does not list it yet, that."""
    found = _first(site.submissions(), entry, numbers)
    if found is None and numbers:
        return sent_as(max(numbers), entry)
    return found


def sent_as(number: int, entry: Entry) -> Sent:
    """Return a file that the site took under `number`, and does not list yet."""
    return Sent(number, describe(entry), "sent", "", "", "")


def _first(all_sent: Iterable[Sent], entry: Entry, numbers: frozenset[int]) -> Sent | None:
    """Return the newest that is of a file."""

    def ours(sent: Sent) -> bool:
        told = DESCRIPTION.match(sent.description)
        return sent.ref in numbers or (told is not None and told[2] == entry.sha256[:DIGITS])

    return next(filter(ours, all_sent), None)


def fetch_scores(data: CompetitionData, slug: str, *, site: Site | None = None) -> Fetched:
    """Ask the site for the scores of all rows that lack one, and enter them.

    A row that has a public score and no private one is asked for, too: the second is shown when the
    competition is over.
    """
    every_row = rows(data.project, data.competition.name)
    open_rows = [row for row in every_row if not (row.public and row.private)]
    if not open_rows:
        return Fetched((), (), {}, (), (), asked=False)
    everything = list((site or open_site(slug)).submissions())
    entered, pending, refused, absent, warnings = [], [], {}, [], []
    for entry in open_rows:
        numbers = numbers_of(entry, every_row)
        sent = _first(everything, entry, numbers)
        if sent is None and not numbers:
            absent += [] if entry.public else [entry]
        elif sent is None or sent.status == "pending":
            pending.append(entry)
        elif sent.status == "error":
            refused[entry.number] = said(sent.fault) or "no reason given"
        else:
            now, warning = enter_scores(data, entry, sent)
            changed = (now.public, now.private) != (entry.public, entry.private)
            entered += [now] if changed else []
            warnings += [warning] if warning else []
    return Fetched(tuple(entered), tuple(pending), refused, tuple(absent), tuple(warnings))


def enter_scores(data: CompetitionData, entry: Entry, sent: Sent) -> tuple[Entry, str]:
    """Enter the scores that the site shows and its number of the submission; return the row, and
    why a score was left out, or ''. One that is there stays, with a warning where it differs."""
    scores, warnings = {}, []
    for column in COLUMNS:
        text, there = getattr(sent, column), entry.value(column)
        if not text:
            continue
        where = f"Kaggle's {column} score of {entry.number:03d}"
        try:
            score = check_range(checked_score(text, where), data.competition.metric, where)
        except PodiumError as fault:
            rule = str(fault).partition(";")[0]
            warnings.append(f"{rule}; not entered: is `metric` in the YAML that of the site?")
            continue
        if there is None:
            scores[column] = repr(score)
        elif _differ(there, text):
            key = {"public": "SCORE", "private": "PRIVATE"}[column]
            warnings.append(
                f"{where} is {text}, but the ledger has {getattr(entry, column)}, which stays; "
                f"make score COMP={data.competition.name} FROM={entry.number} {key}={text} enters "
                "Kaggle's"
            )
    note = f"{UPLOADED} {sent.ref}" if sent.ref else ""
    made = enter(data.project, data.competition.name, entry.number, note, **scores)
    return made, " - ".join(warnings)


def _differ(there: float, text: str) -> bool:
    """Whether a score differs from the text of the site by more than its last digit rounds off."""
    digits = len(text.partition(".")[2]) if "e" not in text.lower() else 12
    return abs(there - float(text)) > 0.51 * 10.0**-digits + 1e-12
