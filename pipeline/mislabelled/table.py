"""`label-errors.csv`: the candidates for a person to judge, who fills in `corrected`.

It is a table of corrections (`pipeline.competition.corrections`); written again, it keeps every
correction that stands in it, and the columns that somebody added.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.artifacts.files import write_text
from pipeline.artifacts.locks import lock
from pipeline.competition import CompetitionData
from pipeline.competition.corrections import Line, filled_lines, table_of_corrections
from pipeline.errors import PodiumError
from pipeline.mislabelled.candidates import Candidate, Candidates

TAIL = ("label", "suggested", "score", "disagree", "flagged", "image", "reason", "corrected")
Key = tuple[str, str]  # of id and class
NO_LABEL = Line(0, "", "", None, "")


@dataclass(frozen=True)
class Own:
    """What somebody wrote into columns beside ours: their names, and their fields by id and class,
    those that are blank throughout left out."""

    names: tuple[str, ...]
    fields: dict[Key, list[str]]

    def of(self, key: Key) -> list[str]:
        return self.fields.get(key, [""] * len(self.names))


@dataclass(frozen=True)
class Written:
    """The file; `answered` corrections that stood in it and stand in it now, `beside` of which
    belong to no candidate any more."""

    path: Path
    answered: int
    beside: int


def table_path(data: CompetitionData) -> Path:
    """Return where the candidates of a competition are listed."""
    return data.project.runs(data.competition.name) / "label-errors.csv"


def write_table(data: CompetitionData, found: Candidates) -> Written:
    """Write the candidates, worst first, with what was filled in before; corrections of labels that
    are no candidates any more come last."""
    path, several = table_path(data), data.competition.task == "multilabel"
    with lock(path.parent / ".locks" / f"{path.name}.lock", path.name, wait=60):
        kept = _kept(path, several)
        header = ("id", *(("class",) if several else ()), *TAIL)
        own = _own(path, header, several)
        lines = [
            [*_line(data, one, kept.get(_key(one)), several), *own.of(_key(one))]
            for one in found.rows
        ]
        listed = {_key(one) for one in found.rows}
        beside = [key for key in dict.fromkeys((*kept, *own.fields)) if key not in listed]
        images = dict(zip(data.train.ids.tolist(), data.train.images, strict=True))
        for key in beside:
            line = kept.get(key, replace(NO_LABEL, id=key[0], name=key[1]))
            image = data.project.shown(images[line.id]) if line.id in images else ""
            lines.append([*_bare(line, image, several), *own.of(key)])
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([(*header, *own.names), *lines])
        write_text(path, out.getvalue())
    return Written(path, len(kept), len([key for key in beside if key in kept]))


def _own(path: Path, header: Iterable[str], several: bool) -> Own:
    """Return what stands in the columns that are not ours."""
    if not path.exists():
        return Own((), {})
    frame = table_of_corrections(path)
    names = [name for name in frame.columns if name not in header]
    keys = zip(frame["id"], frame["class"] if several else [""] * len(frame), strict=True)
    fields = dict(zip(keys, frame[names].to_numpy().tolist(), strict=True))
    return Own(tuple(names), {key: line for key, line in fields.items() if any(line)})


def _kept(path: Path, several: bool) -> dict[Key, Line]:
    """Return the lines that somebody filled in, by id and class."""
    if not path.exists():
        return {}
    remedy = "mend it, or move it away: what is filled in is never written over"
    kept: dict[Key, Line] = {}
    for line in filled_lines(path, several, remedy):
        first = kept.setdefault((line.id, line.name), line)
        if first.corrected != line.corrected:
            raise PodiumError(
                f"{path}: row {line.number}: {line.id!r} is corrected to {line.corrected!r} here "
                f"and to {first.corrected!r} in row {first.number}; keep one of them"
            )
    return kept


def _key(one: Candidate) -> Key:
    return one.id, one.name


def _line(data: CompetitionData, one: Candidate, kept: Line | None, several: bool) -> list[str]:
    """Return a candidate's line. `label` is that of the competition's table, which corrections are
    checked against, unless the correction was made for another one, and must be looked at again."""
    stated = kept.stated if kept is not None and kept.stated else one.in_table
    return [
        one.id,
        *([one.name] if several else []),
        stated,
        one.suggested,
        f"{one.score:.4f}",
        str(one.disagree),
        str(int(one.flagged)),
        data.project.shown(one.image),
        one.reason,
        "" if kept is None else kept.corrected,
    ]


def _bare(line: Line, image: str, several: bool) -> list[str]:
    """Return the line of a correction, or of a remark, without a candidate: what is still known."""
    name = [line.name] if several else []
    return [line.id, *name, line.stated or "", "", "", "", "", image, "", line.corrected]
