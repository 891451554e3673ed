"""What can go wrong between us and Kaggle, each as one line with its remedy."""

import re

from pipeline.errors import PodiumError

AGAIN = "run the same command again; it asks Kaggle first, and sends nothing twice"
LIMIT = re.compile(r"allowance|daily|submissions? limit|maximum number|too many", re.IGNORECASE)
WIDEST = 300  # characters of what the site says
UNUSABLE = "they cannot be read, or hold a character that none has, such as a line's end"


class Unreachable(PodiumError):
    """The site cannot be reached, answers too late, or has a fault of its own: may pass."""


class TooLate(Unreachable):
    """No answer in time; whether the site took what it was sent is not known."""


def said(text: object) -> str:
    """Return what somebody else said as a part of one line."""
    words = " ".join(str(text).split()).rstrip(".")
    return words[:WIDEST]


def spoilt(error: Exception) -> bool:
    """Whether credentials cannot be sent, for a newline or a letter that no token has."""
    from requests.exceptions import InvalidHeader

    header = isinstance(error, ValueError) and str(error).startswith("Invalid header value")
    return header or isinstance(error, InvalidHeader | UnicodeEncodeError)


def unusable(error: Exception) -> bool:
    """Whether looking for credentials failed for what stands in a file or variable of them."""
    from requests import RequestException

    if spoilt(error):
        return True
    if isinstance(error, RequestException):
        return False
    of_a_file = isinstance(error, OSError) and error.filename is not None
    return of_a_file or isinstance(error, ValueError | TypeError | AttributeError | KeyError)


def fault_of(error: Exception, slug: str) -> PodiumError:
    """Return what an exception of the client means; one that is not of the network is a bug."""
    from requests import RequestException

    if spoilt(error):
        return refused_credentials(UNUSABLE)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None and not isinstance(error, RequestException):
        raise error
    if status is None:
        return Unreachable(
            f"Kaggle cannot be reached ({said(error)}); mend the network, then {AGAIN}"
        )
    words, page = said(error), f"https://www.kaggle.com/competitions/{slug}"
    if status == 401:
        return refused_credentials("401")
    if status == 429 or (status in (400, 403) and LIMIT.search(words)):
        return PodiumError(
            f"Kaggle: {slug}: the limit of submissions is reached ({status}: {words}); when it "
            f"allows more (its day begins at 0:00 UTC), {AGAIN}"
        )
    if status == 403:
        return PodiumError(
            f"Kaggle: {slug}: not allowed (403: {words}); accept the rules at {page}/rules with "
            f"the account of your credentials, then {AGAIN}"
        )
    if status == 404:
        return PodiumError(
            f"Kaggle: no competition {slug!r} that takes submissions (404: {words}); `kaggle` in "
            "the competition's YAML is the last part of its address"
        )
    if status >= 500:
        return Unreachable(f"Kaggle has a fault of its own ({status}: {words}); later, {AGAIN}")
    return PodiumError(
        f"Kaggle: {slug}: refused ({status}: {words}); look at {page}/submissions, mend that, "
        f"then {AGAIN}"
    )


def refused_credentials(why: str) -> PodiumError:
    """Return the error of credentials that the site does not take."""
    return PodiumError(
        f"Kaggle does not take your credentials ({why}); make a new token at "
        "https://www.kaggle.com/settings, and put it into KAGGLE_API_TOKEN or "
        "~/.kaggle/access_token"
    )


def no_credentials() -> PodiumError:
    """Return the error of credentials that are nowhere."""
    return PodiumError(
        "Kaggle: no credentials; make a token at https://www.kaggle.com/settings, and put it into "
        "KAGGLE_API_TOKEN or ~/.kaggle/access_token"
    )


def not_installed(why: str) -> PodiumError:
    """Return the error of a client that cannot be imported."""
    return PodiumError(
        f"UPLOAD: Kaggle's client is not installed ({why}); make setup EXTRAS=upload, then the "
        "same command again"
    )
