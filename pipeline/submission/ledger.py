"""The ledger: a row per submission, with what cross-validation promised and the site said."""

import csv
import io
import math
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from pipeline.artifacts.files import read_text, write_text
from pipeline.artifacts.locks import lock
from pipeline.config.project import Project
from pipeline.errors import PodiumError, nearest
from pipeline.submission.ranges import check_range

_REMEDY = "mend it, or restore the file from git"
_NUMBERS = ("cv_in_sample", "cv_honest", "cv_se", "public", "private")
BY_HAND = "by hand"
UPLOADED = "kaggle"  # and the site's number of the submission


@dataclass(frozen=True)
class Entry:
    """A row of the ledger. All but the number stays the text of the file, '' where unknown."""

    number: int
    time: str
    file: str
    sha256: str
    source: str
    cv_in_sample: str = ""
    cv_honest: str = ""
    cv_se: str = ""
    public: str = ""
    private: str = ""
    note: str = ""
    parent: str = ""

    def value(self, column: str) -> float | None:
        """Return a score column as a number, None where it is unknown."""
        text = getattr(self, column)
        return float(text) if text else None


COLUMNS = tuple(field.name for field in fields(Entry))


@dataclass(frozen=True)
class Ledger:
    """The rows of one competition's ledger, oldest first. Change and save under `locked` only."""

    path: Path
    rows: tuple[Entry, ...] = ()

    @classmethod
    def load(cls, path: Path) -> "Ledger":
        """Read and check the ledger; where there is none yet it is empty."""
        if not path.exists():
            return cls(path)
        text = read_text(path, _REMEDY).removeprefix("\ufeff")  # a spreadsheet's mark
        try:
            lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
        except csv.Error as error:
            raise PodiumError(f"{path}: not a readable CSV table ({error}); {_REMEDY}") from None
        if not lines or tuple(lines[0]) != COLUMNS:
            found = ",".join(lines[0]) if lines else "nothing"
            raise PodiumError(
                f"{path}: its columns must be {','.join(COLUMNS)}, not {found}; {_REMEDY}"
            )
        rows = tuple(_entry(line, row, path) for row, line in enumerate(lines[1:], start=2))
        numbers = [entry.number for entry in rows]
        for row, number in enumerate(numbers):
            if number in numbers[:row]:
                raise PodiumError(
                    f"{path}: row {row + 2}: number {number} stands twice; give one of them "
                    "the next free number"
                )
        return cls(path, rows)

    def append(self, entry: Entry) -> "Ledger":
        """Return the ledger with `entry` at its end."""
        return replace(self, rows=(*self.rows, entry))

    def update(self, number: int, **changes: str) -> "Ledger":
        """Return the ledger with the given columns of row `number` changed."""
        if number not in [entry.number for entry in self.rows]:
            raise PodiumError(
                f"{self.path}: no submission has number {number}; use a number of its rows"
            )
        rows = [replace(row, **changes) if row.number == number else row for row in self.rows]
        return replace(self, rows=tuple(rows))

    def save(self) -> None:
        """Replace the file in one step."""
        lines = [COLUMNS, *(tuple(str(value) for value in astuple(row)) for row in self.rows)]
        write_text(self.path, "".join(",".join(map(_quoted, line)) + "\n" for line in lines))


def _quoted(text: str) -> str:
    """Quote as CSV does; the csv module of Python 3.11 leaves a lone carriage return bare."""
    return '"' + text.replace('"', '""') + '"' if re.search(r'[,"\r\n]', text) else text


def _entry(line: list[str], row: int, path: Path) -> Entry:
    if len(line) != len(COLUMNS):
        raise PodiumError(
            f"{path}: row {row} has {len(line)} fields, not {len(COLUMNS)}; {_REMEDY}"
        )
    text = dict(zip(COLUMNS, line, strict=True))
    for column, pattern in (("number", r"[1-9][0-9]*"), ("parent", r"([1-9][0-9]*)?")):
        if not re.fullmatch(pattern, text[column]):
            raise PodiumError(
                f"{path}: row {row}, column {column!r} is {text[column]!r}, not a whole number "
                f"of 1 or more; {_REMEDY}"
            )
    for column in _NUMBERS:
        if text[column]:
            score = checked_score(text[column], f"{path}: row {row}, column {column!r}")
            if column == "cv_se" and score < 0:
                raise PodiumError(
                    f"{path}: row {row}, column 'cv_se' is {score:g}, but a standard error is 0 or "
                    f"more; {_REMEDY}"
                )
    for column in ("time", "file", "sha256", "source"):
        if not text[column].strip():
            raise PodiumError(f"{path}: row {row}, column {column!r} is blank; {_REMEDY}")
    return Entry(int(text.pop("number")), **text)


def checked_score(value: float | str, where: str) -> float:
    """Return a finite score; `where` says whose value it is."""
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise PodiumError(f"{where} is {value!r}, not a finite number; give a score such as 0.74")
    return score


def locked(project: Project, comp: str) -> AbstractContextManager[None]:
    """Hold the ledger of `comp`; every change to it or to its folder is made inside."""
    path = project.submissions(comp) / "ledger.lock"
    return lock(path, f"the ledger of {comp}", wait=30)


def rows(project: Project, comp: str, metric: str = "") -> tuple[Entry, ...]:
    """Return the submissions of `comp`, oldest first; a score that `metric` cannot have is
    refused, '' leaves that unchecked."""
    ledger = Ledger.load(project.ledger(comp))
    for row in ledger.rows:
        for column in ("cv_in_sample", "cv_honest", "public", "private"):
            score = row.value(column)
            if score is not None:
                check_range(score, metric, f"{ledger.path}: number {row.number}, {column}")
    return ledger.rows


def set_score(
    project: Project,
    comp: str,
    which: int | str | None = None,
    *,
    public: float | None = None,
    private: float | None = None,
    metric: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Entry:
    """Enter leaderboard scores by hand, and say so in the note.

    `which` is a number or a source (its newest submission); None is the newest submission of all.
    A score that the competition's `metric` cannot have is refused; '' leaves that unchecked. One
    that takes the place of another is said, with both.
    """
    given = {"SCORE": ("public", public), "PRIVATE": ("private", private)}
    scores = {
        column: repr(check_range(checked_score(score, variable), metric, variable))
        for variable, (column, score) in given.items()
        if score is not None
    }
    if not scores:
        checked_score(public, "SCORE")
    with locked(project, comp):
        ledger = Ledger.load(project.ledger(comp))
        entry = _chosen(ledger, which, comp)
        changed = ledger.update(entry.number, **scores, note=noted(entry.note, BY_HAND))
        if changed != ledger:
            changed.save()
    for column, score in scores.items():
        before = entry.value(column)
        if before is not None and before != float(score):
            text = getattr(entry, column)
            say(f"warning: {column} of number {entry.number} was {text}, and is {score} now")
    return next(row for row in changed.rows if row.number == entry.number)


def enter(project: Project, comp: str, number: int, said: str = "", **scores: str) -> Entry:
    """Enter scores of row `number`, and `said` into its note; what is there already is kept."""
    with locked(project, comp):
        ledger = Ledger.load(project.ledger(comp))
        row = next((row for row in ledger.rows if row.number == number), None)
        blank = {key: text for key, text in scores.items() if row and not getattr(row, key)}
        note = noted(row.note, said) if row and said else row.note if row else ""
        changed = ledger.update(number, **blank, note=note)
        if changed != ledger:
            changed.save()
    return next(row for row in changed.rows if row.number == number)


def noted(note: str, said: str) -> str:
    """Return a note with `said` at its end, unless it is there."""
    return note if said in note.split("; ") else "; ".join(filter(None, (note, said)))


def note_comparison(project: Project, comp: str, honest: dict[str, float], said: str) -> list[int]:
    """Note in the ledger what a comparison said, and return the numbers of the rows.

    `honest` maps the source before and the one after to their honest scores. Noted is it in rows of
    the one after whose parent is of the one before, or is none: it becomes their parent. Rows of an
    earlier decision under the same name, with another honest score, are let be. What stands in a
    note stays; only what an earlier comparison with the same source said is replaced.
    """
    path = project.ledger(comp)
    if not path.exists():
        return []
    before, after = honest
    with locked(project, comp):
        ledger = Ledger.load(path)
        there = [r for r in ledger.rows if r.value("cv_honest") in (None, honest.get(r.source))]
        parents = [str(row.number) for row in there if row.source == before]
        found = [row for row in there if row.source == after and row.parent in ("", *parents)]
        changed = ledger
        for row in found:
            earlier = [number for number in parents if int(number) < row.number]
            parent = row.parent or (earlier[-1] if earlier else "")
            note = _with_comparison(row.note, before, said)
            changed = changed.update(row.number, note=note, parent=parent)
        if changed != ledger:
            changed.save()
    return [row.number for row in found]


def _with_comparison(note: str, before: str, said: str) -> str:
    """Return a note with what a comparison said at its end, or where an earlier one said it."""
    new = f"against {before}: {said.replace(';', ',')}"
    old = re.compile(rf"against {re.escape(before)}: [^;]* [+-]\S+ ± \S+ (keep|worse|noise)")
    found = [part for part in note.split("; ") if old.fullmatch(part)]
    if found:
        return "; ".join(new if part == found[0] else part for part in note.split("; "))
    return f"{note}; {new}" if note else new


def _chosen(ledger: Ledger, which: int | str | None, comp: str) -> Entry:
    if not ledger.rows:
        raise PodiumError(f"{ledger.path}: no submission yet; make one: make submit COMP={comp}")
    by_source = [row for row in ledger.rows if which is None or row.source == which]
    if by_source:
        return by_source[-1]
    by_number = [row for row in ledger.rows if str(row.number) == str(which).lstrip("0")]
    if by_number:
        return by_number[0]
    known = [row.source for row in ledger.rows]
    hint = nearest(str(which), known) or f"; there are: {', '.join(dict.fromkeys(known))}"
    raise PodiumError(f"{ledger.path}: no submission has number or source {which!r}{hint}")
