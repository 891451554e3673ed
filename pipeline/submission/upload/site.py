"""Kaggle through its own client: the submissions that it has, and sending it another one.

The client waits for answers without end and prints what goes wrong; each call is therefore made in
a thread that is waited for so long and no longer, with what it prints kept.
"""

import contextlib
import importlib.util
import io
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pipeline.submission.upload.faults import (
    AGAIN,
    UNUSABLE,
    TooLate,
    Unreachable,
    fault_of,
    no_credentials,
    not_installed,
    refused_credentials,
    said,
    spoilt,
    unusable,
)

SECONDS = 60.0  # to wait for an answer
SENDING = 600.0  # to wait while a file is sent
PAGE, MOST_PAGES = 100, 50  # submissions of a page; pages that are read
NOT_SENT = "Could not submit to competition"  # what the client says where the file did not arrive


@dataclass(frozen=True)
class Sent:
    """A submission as the site has it; scores are its text, '' where it shows none."""

    ref: int
    description: str
    status: str  # 'pending', 'complete' or 'error'; 'sent': taken, but not in the list yet
    fault: str
    public: str
    private: str


@dataclass(frozen=True, eq=False)
class Site:
    """One competition on Kaggle; `api` is an authenticated client."""

    api: Any
    slug: str
    seconds: float = SECONDS
    sending: float = SENDING

    def submissions(self) -> Iterator[Sent]:
        """Yield our team's submissions, the newest first, pages as they are needed."""
        first = None
        for page in range(1, MOST_PAGES + 1):
            found, _ = self._call(
                lambda page=page: self.api.competition_submissions(
                    self.slug, page_number=page, page_size=PAGE
                ),
                self.seconds,
            )
            found = [one for one in found or [] if one is not None]
            if not found or found[0].ref == first:  # the end, or a site that has one page
                return
            first = first or found[0].ref
            yield from map(_sent, found)

    def send(self, path: Path, description: str) -> tuple[int, str]:
        """Send a file and return its number at the site, 0 where it names none, and what the site
        says; Unreachable where it did not arrive."""
        answer, printed = self._call(
            lambda: self.api.competition_submit(
                str(path), description, self.slug, quiet=not sys.stderr.isatty()
            ),
            self.sending,
        )
        if answer.message == NOT_SENT:
            why = said(printed) or "no reason given"
            raise Unreachable(f"Kaggle did not take the file {path} ({why}); {AGAIN}")
        return int(getattr(answer, "ref", 0) or 0), said(answer.message)

    def _call(self, function: Callable[[], Any], seconds: float) -> tuple[Any, str]:
        """Return what a call of the client returns, and what it printed."""
        result, printed = called(function, seconds)
        if isinstance(result, Exception):
            _raise(result, self.slug)
        return result, printed


def called(function: Callable[[], Any], seconds: float) -> tuple[Any, str]:
    """Return what a function returned, or the exception that it raised, and what it printed."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(function())
        except SystemExit as leaving:  # how the client says that it has no credentials
            results.append(RuntimeError(f"exit {leaving.code}"))
        except Exception as error:
            results.append(error)

    thread, printed = threading.Thread(target=run, daemon=True), io.StringIO()
    with contextlib.redirect_stdout(printed):
        thread.start()
        thread.join(seconds)
    if not results:
        raise TooLate(f"Kaggle did not answer within {seconds:g} s; in a minute, {AGAIN}")
    return results[0], printed.getvalue()


def _sent(one: Any) -> Sent:
    status = one.status.name.lower()
    known = one.ref, one.description, status, one.error_description
    return Sent(*known, one.public_score.strip(), one.private_score.strip())


def open_site(slug: str) -> Site:
    """Import Kaggle's client, let it find its credentials, and return the competition."""
    if importlib.util.find_spec("kaggle") is None:
        raise not_installed("no package kaggle")
    api, _ = called(_client, SECONDS)
    if isinstance(api, ImportError):  # something that it needs is missing
        raise not_installed(said(api)) from api
    if isinstance(api, Exception):
        raise api
    result, printed = called(api.authenticate, SECONDS)
    if isinstance(result, RuntimeError):  # it left: it found nothing that the site takes
        wrong = _has_token() or "Invalid credentials" in printed
        raise refused_credentials("the token is not valid") if wrong else no_credentials()
    if isinstance(result, Exception):
        if unusable(result):
            raise refused_credentials(UNUSABLE)
        _raise(result, slug)
    return Site(api, slug)


def _raise(error: Exception, slug: str) -> NoReturn:
    """Raise what an exception of the client means; its own text, which is left out where it is of
    credentials, would show them."""
    fault = fault_of(error, slug)
    raise fault from (None if spoilt(error) else error)


def _client() -> Any:
    from kaggle.api.kaggle_api_extended import KaggleApi

    return KaggleApi()


def _has_token() -> bool:
    from kagglesdk.kaggle_env import get_access_token_from_env

    return get_access_token_from_env()[0] is not None
