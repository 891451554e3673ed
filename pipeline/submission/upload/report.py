"""What an upload, and asking for scores, came to: sentences to be printed."""

from collections.abc import Sequence

from pipeline.submission.ledger import Entry
from pipeline.submission.upload.scores import Fetched
from pipeline.submission.upload.upload import Uploaded


def uploaded_parts(made: Uploaded) -> list[str]:
    """Return what to print after an upload."""
    entry, comp = made.entry, made.competition
    parts = [f"{entry.file}: Kaggle has it already; not sent again"] if made.found else []
    parts += [f"warning: {made.warning}"] if made.warning else []
    if made.sent.status == "sent":
        what = "Kaggle does not list it yet"
        if made.found:
            what += (
                f" (the ledger notes it as Kaggle's {made.sent.ref}; take that out of the note if "
                "it was sent to another competition)"
            )
        return [*parts, f"{what}; ask again: make score COMP={comp}"]
    if made.sent.status == "pending":
        return [*parts, f"no score yet; ask again: make score COMP={comp}"]
    if not (entry.public or entry.private):
        return [*parts, f"Kaggle shows no score of number {entry.number}"]
    return [*parts, _scores(entry)]


def fetched_parts(made: Fetched) -> list[str]:
    """Return what to print after asking for scores."""
    if not made.asked:
        return ["all rows have a public and a private score, so Kaggle was not asked"]
    parts = [_scores(entry) for entry in made.entered] or ["no new score on Kaggle"]
    parts += [f"warning: {warning}" for warning in made.warnings]
    parts += [f"number {n}: Kaggle refused the file: {why}" for n, why in made.refused.items()]
    parts += [f"not scored yet: {_named(made.pending)}"] if made.pending else []
    parts += [f"not on Kaggle under our description: {_named(made.absent)}"] if made.absent else []
    return parts


def _scores(entry: Entry) -> str:
    shown = [f"{c} {getattr(entry, c)}" for c in ("public", "private") if getattr(entry, c)]
    return f"number {entry.number}, {entry.source}: {', '.join(shown)}"


def _named(entries: Sequence[Entry]) -> str:
    return ", ".join(f"{entry.number:03d} {entry.source}" for entry in entries)
