"""What looking for label errors came to, ready to be printed."""

from collections import Counter
from collections.abc import Sequence

from pipeline.artifacts.columns import shortened
from pipeline.competition import CompetitionData
from pipeline.mislabelled.candidates import Candidates
from pipeline.mislabelled.table import Written

Part = str | tuple[Sequence[str], Sequence[Sequence[str]]]
SHOWN = 10  # candidates, and kinds of error


def report_parts(data: CompetitionData, found: Candidates, written: Written) -> list[Part]:
    """Return how many labels are suspected, the worst of them, the commonest kinds, and what to do
    about them."""
    runs = f"{len(found.runs)} run{'' if len(found.runs) == 1 else 's'}"
    parts: list[Part] = [
        f"{data.competition.name}: {found.judged:,} labels judged out of fold by {found.source}, "
        f"and by the answers of {runs}",
        f"candidates: {found.found:,}; cleanlab flags {found.flagged:,}",
    ]
    if len(found.rows) < found.found:
        parts.append(f"only the worst {len(found.rows):,} are kept")
    if found.rows:
        parts += [_worst(found), _kinds(found)]
    shown = data.project.shown(written.path)
    parts.append(f"written: {shown}{_answered(written)}")
    parts.append(_advice(data, shown))
    return parts


def _worst(found: Candidates) -> Part:
    several = bool(found.rows[0].name)
    what = ["class", "seems"] if several else ["label", "suggested"]
    lines = []
    for one in found.rows[:SHOWN]:
        named = [one.name, one.direction] if several else [one.label, one.suggested]
        disagree = f"{one.disagree} of {len(found.runs)}"
        flag = "yes" if one.flagged else "-"
        lines.append([shortened(one.id), *named, f"{one.score:.4f}", disagree, flag])
    return ["id", *what, "score", "runs against", "flagged"], lines


def _kinds(found: Candidates) -> Part:
    """Return the commonest kinds among what cleanlab flags, or all candidates if it flags none."""
    chosen = [one for one in found.rows if one.flagged] or list(found.rows)
    several = bool(chosen[0].name)
    kinds = Counter(
        f"{one.name} {one.direction}" if several else f"{one.label} -> {one.suggested}"
        for one in chosen
    )
    most = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    title = "flagged as wrong, and what for" if chosen[0].flagged else "candidates, and what for"
    return [title, "labels"], [[kind, f"{count:,}"] for kind, count in most]


def _answered(written: Written) -> str:
    if not written.answered:
        return ""
    said = f"; {written.answered:,} corrections that stood in it are kept"
    return said + (f", {written.beside:,} of no candidate any more" if written.beside else "")


def _advice(data: CompetitionData, shown: str) -> str:
    how = "1 or 0" if data.competition.task == "multilabel" else "a class"
    if data.competition.corrections:
        then = "make train again under another NAME"
    else:
        said = f"say corrections: {shown} in {data.yaml}"
        then = f"{said}; make train again under another NAME, and make compare"
    drop = "" if how != "a class" else "\n`drop` leaves a row out: new folds, and all runs anew"
    return f"next: look, fill in `corrected` ({how}); {then}{drop}"
