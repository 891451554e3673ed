"""What is in a file of somebody else's predictions: a CSV, or an `.npz` as Podium writes it."""

import csv
import json
import math
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.artifacts.predictions import mapped_probs
from pipeline.competition.csv import DELIMITERS
from pipeline.errors import PodiumError, nearest
from pipeline.folds.given import shown_id

ROWS = 1 << 16  # of a CSV that are read together
BESIDE = ("fold", "group")  # columns that are no classes


@dataclass(frozen=True, eq=False)
class Given:
    """The rows of a file: `ids` (n,), `probs` (n, c) in the order of `classes`, the `fold` (n,) of
    each as text if the file says it, and the hash of the folds that Podium made it on, or ''."""

    path: Path
    ids: np.ndarray
    classes: tuple[str, ...]
    probs: np.ndarray
    fold: np.ndarray | None = None
    folds_hash: str = ""

    def place(self, row: int) -> str:
        """Name a row: by its number in a CSV, whose header is row 1, and by its id."""
        number = "" if self.path.suffix == ".npz" else f"row {row + 2}, "
        return f"{self.path}: {number}id {shown_id(self.ids[row])}"


def read_given_probs(path: Path, id_column: str, classes: Sequence[str]) -> Given:
    """Read a file and refuse ids that repeat and other classes; values are not looked at."""
    if not path.is_file():
        raise PodiumError(f"{path}: no such file; DATA=oof.csv,test.csv names the files to import")
    read = _read_npz if path.suffix == ".npz" else _read_csv
    given = read(path, id_column, tuple(classes))
    _check_ids(given)
    return given


def _check_ids(given: Given) -> None:
    ids = given.ids.tolist()
    if not ids:
        raise PodiumError(f"{given.path}: has no rows; give one per id")
    if len(set(ids)) < len(ids):
        row = int(np.flatnonzero(pd.Series(given.ids).duplicated())[0])
        raise PodiumError(f"{given.place(row)} stands twice; keep one row per id")
    blank = next((row for row, name in enumerate(ids) if not name.strip()), None)
    if blank is not None:
        raise PodiumError(f"{given.place(blank)} is blank; give it an id")


def _check_classes(path: Path, found: Sequence[str], classes: tuple[str, ...]) -> None:
    """Refuse columns that are no class, and classes without a column."""
    missing = [name for name in classes if name not in found]
    odd = [name for name in found if name not in classes]
    if odd:
        hint = nearest(odd[0][:200], missing or classes)
        shown = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
        raise PodiumError(
            f"{path}: column {shown_id(odd[0])} is no class of the competition{hint}; "
            f"rename it, or take it out; the classes are {shown}"
        )
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise PodiumError(f"{path}: no column for class {missing[0]!r}{more}; add a column each")
    twice = next((name for name in classes if list(found).count(name) > 1), None)
    if twice:
        raise PodiumError(f"{path}: column {twice!r} stands twice; keep one of them")


def _read_csv(path: Path, id_column: str, classes: tuple[str, ...]) -> Given:
    header, delimiter = _header(path, id_column)
    column = id_column if id_column in header else "id"
    beside = [name for name in BESIDE if name in header and name not in classes]
    # A first column without a name is the index that pandas writes.
    index = header[:1] if header[0] == "" else []
    named = [name for name in header if name not in (column, *beside, *index)]
    _check_classes(path, named, classes)
    for name in (column, *beside):
        if header.count(name) > 1:
            raise PodiumError(f"{path}: column {name!r} stands twice; keep one of them")
    names = ["" if name in index else name for name in header]
    types = dict.fromkeys((column, *beside, *index), str) | dict.fromkeys(named, np.float32)
    ids, probs, folds = [], [], []
    try:
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            chunks = pd.read_csv(
                path, sep=delimiter, names=names, header=0, dtype=types, index_col=False,
                keep_default_na=False, encoding="utf-8-sig", chunksize=ROWS,
            )  # fmt: skip
            for chunk in chunks:
                ids.append(chunk[column].to_numpy(np.str_))
                probs.append(chunk[list(classes)].to_numpy(np.float32))
                folds.append(chunk["fold"].to_numpy(np.str_) if "fold" in beside else ids[-1])
    except (ValueError, pd.errors.ParserWarning) as error:
        _refuse_odd_cell(path, delimiter, named)
        raise PodiumError(f"{path}: not a readable CSV table ({error}); mend it") from None
    if not ids:
        raise PodiumError(f"{path}: has no rows; give one per id")
    fold = np.char.strip(np.concatenate(folds)) if "fold" in beside else None
    return Given(path, np.concatenate(ids), classes, np.concatenate(probs), fold)


def _header(path: Path, id_column: str) -> tuple[list[str], str]:
    """Return the names of the columns, and the delimiter between them."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            first = handle.readline()
    except UnicodeDecodeError as error:
        raise PodiumError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from None
    if not first.strip():
        raise PodiumError(f"{path}: the file is empty; give a header and one row per id")
    for delimiter in DELIMITERS:
        header = next(csv.reader([first], delimiter=delimiter))
        if len(header) > 1 and (id_column in header or "id" in header):
            return header, delimiter
    names = f"{id_column!r} or 'id'" if id_column != "id" else "'id'"
    raise PodiumError(f"{path}: no column {names} in {first.strip()[:80]!r}; name the ids' column")


def _refuse_odd_cell(path: Path, delimiter: str, named: Sequence[str]) -> None:
    """Name the first row with a surplus or missing field, or with text where a number belongs."""
    with open(path, encoding="utf-8-sig", newline="") as handle:
        lines = (line for line in csv.reader(handle, delimiter=delimiter) if line)
        header = next(lines)
        places = [(header.index(name), name) for name in named]
        for row, line in enumerate(lines, start=2):
            if len(line) != len(header):
                raise PodiumError(
                    f"{path}: row {row} has {len(line)} fields, the header has {len(header)}; "
                    "mend that row"
                )
            for at, name in places:
                if not _is_number(line[at]):
                    raise PodiumError(
                        f"{path}: row {row}, column {name!r} is {shown_id(line[at])}, not a "
                        "number; give every row a probability per class"
                    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _read_npz(path: Path, id_column: str, classes: tuple[str, ...]) -> Given:
    """Read `ids`, `classes` and `probs`; `fold` and `meta` are optional, anything else ignored."""
    remedy = (
        "it needs ids (n,) and classes (c,) as text, such as ids.astype('U'), and probs (n, c) as "
        "float32 or float16"
    )
    try:
        with np.load(path, allow_pickle=False) as stored:
            ids, names = stored["ids"], stored["classes"]
            fold = stored["fold"].astype(np.str_) if "fold" in stored.files else None
            meta = json.loads(str(stored["meta"])) if "meta" in stored.files else {}
        probs = mapped_probs(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise PodiumError(f"{path}: not readable as predictions ({error}); {remedy}") from None
    for name, values in (("ids", ids), ("classes", names)):
        if values.ndim != 1 or values.dtype.kind not in "Uiu":
            raise PodiumError(f"{path}: {name} are {values.dtype} {values.shape}; {remedy}")
    if probs.shape != (len(ids), len(names)) or probs.dtype.kind != "f":
        raise PodiumError(f"{path}: probs are {probs.dtype} {probs.shape}; {remedy}")
    if fold is not None and fold.shape != ids.shape:
        raise PodiumError(f"{path}: fold has shape {fold.shape}; one per id is needed")
    own = names.astype(np.str_).tolist()
    _check_classes(path, own, classes)
    folds_hash = str(meta.get("folds_hash") or "") if isinstance(meta, dict) else ""
    return Given(path, ids.astype(np.str_), tuple(own), probs, fold, folds_hash)
