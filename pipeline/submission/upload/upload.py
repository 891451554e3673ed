"""`make submit UPLOAD=1`: send a submission to Kaggle once, wait for its score, enter it.

A submission is known to the site by its description, which begins with its number and the first
digits of its file's sha256. The list of submissions is asked before anything is sent and after each
attempt that failed. Since a list may be late, the site's number of a submission is noted in the
ledger as soon as the site tells it, and what has such a note is not sent. So a file is sent once
however often the command is killed and run again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from pipeline.artifacts.locks import lock
from pipeline.competition import CompetitionData
from pipeline.errors import PodiumError
from pipeline.submission.grading import unchanged
from pipeline.submission.ledger import UPLOADED, Entry, enter, rows
from pipeline.submission.upload.faults import TooLate, Unreachable, said
from pipeline.submission.upload.scores import describe, enter_scores, find, numbers_of, sent_as
from pipeline.submission.upload.site import Sent, Site, open_site

ATTEMPTS = 4
Result = TypeVar("Result")


@dataclass(frozen=True)
class Pace:
    """Seconds: between attempts (doubled each time), between two looks for a score, and at most
    for it."""

    back_off: float = 5.0
    poll: float = 10.0
    limit: float = 600.0


@dataclass(frozen=True)
class Uploaded:
    """A ledger row after its upload; `sent` is what the site has, `found` whether it had it before,
    `warning` why a score was not entered, or ''."""

    competition: str
    entry: Entry
    sent: Sent
    found: bool
    warning: str = ""


def upload(
    data: CompetitionData,
    number: int,
    say: Callable[[str], None],
    *,
    site: Site | None = None,
    pace: Pace = Pace(),
) -> Uploaded:
    """Send submission `number` of the ledger unless the site has it, wait for its score, enter it.

    A score that does not come within the limit is no error: `make score` asks for it again. A file
    that the site refuses is one.
    """
    slug = slug_of(data)
    entry = next(row for row in rows(data.project, data.competition.name) if row.number == number)
    path = unchanged(data.project.root / entry.file, entry)
    site = site or _patiently(lambda: open_site(slug), say, pace)
    guard = data.project.submissions(data.competition.name) / "upload.lock"
    with lock(guard, f"an upload to {slug}"):
        numbers = numbers_of(entry, rows(data.project, data.competition.name))
        there = _patiently(lambda: find(site, entry, numbers), say, pace)
        sent = there or _send(data, site, entry, path, say, pace)
    sent = _wait(site, entry, sent, pace)
    if sent.status == "error":
        raise PodiumError(
            f"{entry.file}: Kaggle refused the file ({said(sent.fault) or 'no reason given'}); "
            f"look at https://www.kaggle.com/competitions/{slug}/submissions, mend the cause, and "
            "make a new submission"
        )
    entry, warning = enter_scores(data, entry, sent)
    return Uploaded(data.competition.name, entry, sent, there is not None, warning)


def slug_of(data: CompetitionData) -> str:
    """Return the competition's name on Kaggle."""
    if data.competition.kaggle is None:
        raise PodiumError(
            f"{data.yaml}: names no `kaggle`, so nothing can be uploaded; add the last part of the "
            "competition's address: kaggle: plant-pathology"
        )
    return data.competition.kaggle


def _send(
    data: CompetitionData,
    site: Site,
    entry: Entry,
    path: Path,
    say: Callable[[str], None],
    pace: Pace,
) -> Sent:
    """Send a file and note the site's number of it; before an attempt after one that failed, look
    whether that one arrived."""
    tried = False

    def attempt() -> Sent:
        nonlocal tried
        arrived = find(site, entry) if tried else None
        tried = True
        if arrived:
            return arrived
        ref, answer = site.send(path, describe(entry))
        if ref:
            enter(data.project, data.competition.name, entry.number, f"{UPLOADED} {ref}")
        say(f"{entry.file}: sent to Kaggle: {answer}")
        return sent_as(ref, entry)

    return _patiently(attempt, say, pace)


def _patiently(function: Callable[[], Result], say: Callable[[str], None], pace: Pace) -> Result:
    """Call a function again where what went wrong may pass. An answer that came too late is left:
    what was sent may arrive yet, so that no look at the list could tell that it did not."""
    pause = pace.back_off
    for left in reversed(range(ATTEMPTS)):
        try:
            return function()
        except Unreachable as fault:
            if isinstance(fault, TooLate) or not left:
                raise
            say(f"{str(fault).partition(';')[0]}; again in {pause:g} s")
            time.sleep(pause)
            pause *= 2
    raise AssertionError("the last attempt returns or raises")


def _wait(site: Site, entry: Entry, sent: Sent, pace: Pace) -> Sent:
    """Ask for the score until it is there or the time is over; what the site has is returned."""
    start = time.monotonic()
    bar = {"unit": "s", "disable": None, "leave": False, "bar_format": "{desc} {bar} {n:.0f} s"}
    with tqdm(total=pace.limit, desc="waiting for the score", **bar) as shown:
        while sent.status in ("pending", "sent") and time.monotonic() - start < pace.limit:
            time.sleep(pace.poll)
            shown.update(min(time.monotonic() - start, pace.limit) - shown.n)
            try:
                sent = find(site, entry, frozenset(filter(None, [sent.ref]))) or sent
            except Unreachable:
                continue  # the file has arrived; its score can be asked for at any time
    return sent
