"""What a user did that the pipeline cannot act on: one line, exit status 2, no traceback."""

import difflib
from collections.abc import Iterable


class PodiumError(Exception):
    """A mistake in the input. The message names file, rule, value received and remedy, on one line.

    Anything else that is raised is a bug and shows its traceback.
    """

    def __init__(self, message: str) -> None:
        # A data loader's worker hands its error on with a whole traceback before the message.
        if message.startswith("Caught ") and "PodiumError: " in message:
            message = message.rpartition("PodiumError: ")[2]
        super().__init__(" ".join(str(message).split()))


class Busy(PodiumError):
    """Another live process holds the lock of this job or ledger."""


class Diverged(PodiumError):
    """The loss of a training is no number any more."""


class TooLarge(PodiumError):
    """A network and its pictures do not fit into memory, however few at once."""


class TooFewRows(PodiumError):
    """Fewer rows, or groups of rows, than parts to deal them to."""


def nearest(name: str, choices: Iterable[str], n: int = 3) -> str:
    """Return ' (did you mean a, b?)' for the known names close to `name`, or '' for none."""
    close = difflib.get_close_matches(
        str(name), [str(choice) for choice in choices], n=n, cutoff=0.6
    )
    return f" (did you mean {', '.join(close)}?)" if close else ""
