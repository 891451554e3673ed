"""Write a submission: the sample's columns, ids and order, checked, and entered in the ledger.

The file is a function of the answer alone (the same bytes each time), and is written before its
ledger row: a process killed in between leaves a file that the next run finds and enters.
"""

import hashlib
import io
import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.artifacts.files import write_text
from pipeline.competition import CompetitionData, Sample
from pipeline.config.project import checked_name
from pipeline.errors import PodiumError
from pipeline.submission.formats import decode, sample_of
from pipeline.submission.ledger import Entry, Ledger, locked

_CV = ("cv_in_sample", "cv_honest", "cv_se")


@dataclass(frozen=True)
class Submission:
    """A submission on disk; `made` is False where the ledger already had it."""

    number: int
    path: Path
    made: bool


def write_submission(
    data: CompetitionData,
    ids: np.ndarray,
    answer: np.ndarray | None,
    probs: np.ndarray | None,
    *,
    source: str,
    cv: dict[str, float | None] | None = None,
    note: str = "",
) -> Submission:
    """Write `submissions/COMP/NNN-SOURCE.csv` and its ledger row; the same content is not repeated.

    `source` is the run or ensemble the answer (see `frame_for`) comes from; `cv` holds its
    cv_in_sample, cv_honest and cv_se, None where unknown.
    """
    checked_name(source, "FROM")
    known = _cv_texts(cv or {}) | {"note": " ".join(note.split())}  # a row stays one line of a diff
    text = _text(frame_for(data, ids, answer, probs), sample_of(data).delimiter)
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    project, comp = data.project, data.competition.name
    with locked(project, comp):
        ledger = Ledger.load(project.ledger(comp))
        for row in ledger.rows:
            if row.source == source and row.sha256 == digest:
                return Submission(row.number, _restored(project.root / row.file, text), False)
        number, path = _place(project.submissions(comp), ledger, source, text)
        if not path.exists():
            write_text(path, text)
        file = Path(project.shown(path)).as_posix()
        time = datetime.now().astimezone().isoformat(timespec="seconds")
        parent = str(ledger.rows[-1].number) if ledger.rows else ""
        ledger.append(Entry(number, time, file, digest, source, parent=parent, **known)).save()
    return Submission(number, path, True)


def _cv_texts(cv: dict[str, float | None]) -> dict[str, str]:
    odd = [key for key in cv if key not in _CV]
    bad = [key for key, value in cv.items() if value is not None and not math.isfinite(value)]
    if odd or bad:
        raise ValueError(f"cv takes finite numbers or None for {_CV}, not {cv}")
    return {key: "" if cv.get(key) is None else repr(float(cv[key])) for key in _CV}


def _restored(path: Path, text: str) -> Path:
    """Write a submission again whose file was removed; one that was changed is refused."""
    if not path.exists():
        write_text(path, text)
    elif path.read_bytes() != text.encode("utf-8"):
        raise PodiumError(
            f"{path}: was changed after it was entered in the ledger; move it away and run again"
        )
    return path


def _place(folder: Path, ledger: Ledger, source: str, text: str) -> tuple[int, Path]:
    """Return number and path: those of a file whose process was killed before it was entered, or
    the next free ones."""
    numbers = {0, *(row.number for row in ledger.rows)}  # numbers begin at 1
    files = {}
    for path in sorted(folder.glob("*.csv")):
        found = re.fullmatch(r"(\d{3,})-(.+)\.csv", path.name)
        if found:
            files[path] = int(found[1])
            orphan = found[2] == source and files[path] not in numbers
            if orphan and path.read_bytes() == text.encode("utf-8"):
                return files[path], path
    number = 1 + max([*numbers, *files.values()])
    return number, folder / f"{number:03d}-{source}.csv"


def frame_for(
    data: CompetitionData, ids: np.ndarray, answer: np.ndarray | None, probs: np.ndarray | None
) -> pd.DataFrame:
    """Return the submission as a checked table of the sample's columns, ids and order.

    `answer`, (n,) class indices or (n, c) zeros and ones, is written where the metric is one of
    labels; `probs` (n, c), scaled to a sum of 1 for multi-class, where it needs probabilities.
    The other of the two may be None. Rows belong to `ids` (n,), columns to the classes.
    """
    sample = sample_of(data)
    given = probs if sample.of_probabilities else answer
    if given is None:
        wanted = "probs" if sample.of_probabilities else "answer"
        raise ValueError(f"a submission of kind {sample.kind!r} needs {wanted}")
    values = _checked(np.asarray(given)[_positions(ids, sample, len(given))], sample, data)
    columns: dict[str, np.ndarray | list[str]] = {sample.id_column: sample.written_ids}
    names = np.array(data.classes, dtype=object)
    if sample.kind == "name":
        columns[sample.values[0]] = names[values]
    elif sample.kind == "names":
        separator = data.competition.columns.separator
        columns[sample.values[0]] = [separator.join(names[row == 1]) for row in values]
    elif sample.kind == "positive":
        columns[sample.values[0]] = values[:, 1]
    else:
        columns |= {name: values[:, i] for i, name in enumerate(data.classes)}
    frame = pd.DataFrame(columns)[list(sample.columns)]
    validate(frame, sample, data)
    return frame


def _positions(ids: np.ndarray, sample: Sample, rows: int) -> np.ndarray:
    """Return where each id of the sample stands in `ids`."""
    given = np.asarray(ids, dtype=np.str_).tolist()
    if len(given) != rows:
        raise ValueError(f"{len(given)} ids for {rows} rows of answers")
    position = {one: i for i, one in enumerate(given)}
    if len(position) < len(given):
        twice = next(one for i, one in enumerate(given) if position[one] != i)
        raise PodiumError(f"submission: id {twice!r} is answered twice; predict each test id once")
    missing = [one for one in sample.ids.tolist() if one not in position]
    if missing:
        raise PodiumError(
            f"submission: no answer for {len(missing)} of {len(sample.ids)} test ids, first "
            f"{missing[0]!r}; train without LIMIT"
        )
    return np.array([position[one] for one in sample.ids.tolist()], dtype=np.int64)


def _checked(values: np.ndarray, sample: Sample, data: CompetitionData) -> np.ndarray:
    """Return answers in the form of `sample.kind`; the first impossible one is named by its id."""
    multiclass = data.competition.task == "multiclass"
    labels = multiclass and not sample.of_probabilities
    n, c = len(sample.ids), len(data.classes)
    if values.shape != ((n,) if labels else (n, c)):
        raise ValueError(f"answers of shape {values.shape} for {n} ids and {c} classes")
    if labels:
        bad, rule = ~np.isin(values, np.arange(c)), f"a class index from 0 to {c - 1}"
    elif sample.of_probabilities:
        bad, rule = ~((values >= 0) & (values <= 1)), "a probability from 0 to 1"
    else:
        bad, rule = ~np.isin(values, [0, 1]), "0 or 1"
    if bad.any():
        place = tuple(np.argwhere(bad)[0])
        where = f", class {data.classes[place[1]]!r}" if len(place) == 2 else ""
        raise PodiumError(
            f"submission: id {str(sample.ids[place[0]])!r}{where} has {values[place]}, "
            f"not {rule}; make the predictions again"
        )
    if labels:
        values = values.astype(np.int64)
        return np.eye(c, dtype=np.int8)[values] if sample.kind == "binary" else values
    if not sample.of_probabilities:
        return values.astype(np.int8)
    values = values.astype(np.float64)
    return _normalised(values, sample) if multiclass else values


def _normalised(probs: np.ndarray, sample: Sample) -> np.ndarray:
    sums = probs.sum(axis=1, keepdims=True)
    if (sums == 0).any():
        row = int(np.flatnonzero(sums[:, 0] == 0)[0])
        raise PodiumError(
            f"submission: id {str(sample.ids[row])!r} has probability 0 for every class; "
            "make the predictions again"
        )
    return probs / sums


def validate(frame: pd.DataFrame, sample: Sample, data: CompetitionData) -> None:
    """Refuse a table that the site would: other columns, ids or order than the sample's, or values
    that are blank, unknown or out of range. The text is checked as it will be written."""
    name = f"submission for {sample.path.name}"
    if tuple(frame.columns) != sample.columns:
        raise PodiumError(
            f"{name}: its columns are {','.join(map(str, frame.columns))}, not those of the "
            f"sample: {','.join(sample.columns)}; keep the sample's columns and their order"
        )
    text = io.StringIO(_text(frame, sample.delimiter))
    read = pd.read_csv(text, sep=sample.delimiter, dtype=str, keep_default_na=False)
    ids = read[sample.id_column].tolist()
    if ids != sample.written_ids:
        pairs = enumerate(zip(ids, sample.written_ids, strict=False))
        row = next(
            (i for i, (own, wanted) in pairs if own != wanted), min(len(ids), len(sample.ids))
        )
        raise PodiumError(
            f"{name}: its ids differ from the sample's, first in row {row + 2}; "
            "keep the sample's ids and their order"
        )
    decode(read, sample, data, name)
    if sample.kind == "probability" and data.competition.task == "multiclass":
        sums = read[list(data.classes)].astype(float).sum(axis=1).to_numpy()
        if not np.allclose(sums, 1, rtol=0, atol=1e-6):
            row = int(np.argmax(np.abs(sums - 1)))
            raise PodiumError(
                f"{name}: row {row + 2}: the probabilities sum to {sums[row]:.9g}, not 1; "
                "divide each row by its sum"
            )


def _text(frame: pd.DataFrame, delimiter: str) -> str:
    """Return the bytes to be: nine digits hold a float32 exactly."""
    return frame.to_csv(index=False, sep=delimiter, lineterminator="\n", float_format="%.9g")
