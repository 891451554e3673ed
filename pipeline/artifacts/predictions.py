"""Predictions with ids and class names: one checked format for folds, runs and ensembles.

A file (`*.npz`, never pickled) holds `ids` (n,), `classes` (c,), `logits` (n, c) float32, `probs`
(n, c) float32 or float16, and `meta`, a JSON string. Who joins two of them joins by id and class
name, never by position. Its arrays lie in it as they are, not compressed, so that the probabilities
can be mapped into memory instead of read.
"""

import json
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import write_with
from pipeline.errors import PodiumError

_ARRAYS = ("ids", "classes", "logits", "probs", "meta")
_REMEDY = "delete it and run the same command again"
BLOCK = 1 << 20  # values that are looked at together
CLIP = 1e-7  # float32 holds nothing between 1 - 6e-8 and 1, whose log odds would be infinite


@dataclass(frozen=True)
class Predictions:
    """Logits and probabilities (n, c) of named rows and classes; `meta` is their origin."""

    ids: np.ndarray
    classes: np.ndarray
    logits: np.ndarray
    probs: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write `path` atomically, after the same checks that `load` makes."""
        arrays = {
            "ids": np.asarray(self.ids, dtype=np.str_),
            "classes": np.asarray(self.classes, dtype=np.str_),
            "logits": np.asarray(self.logits, dtype=np.float32),
            "probs": np.asarray(self.probs, dtype=stored_type(self.probs)),
        }
        check(path, arrays)
        meta = np.asarray(json.dumps(self.meta, sort_keys=True, ensure_ascii=False))

        def write(temporary: Path) -> None:
            with open(temporary, "wb") as handle:  # a handle: savez would add .npz to a name
                np.savez(handle, **arrays, meta=meta)

        write_with(path, write)

    @classmethod
    def load(cls, path: Path, remedy: str = _REMEDY) -> "Predictions":
        """Read and check `path`; anything wrong is one error that names the file and `remedy`."""
        arrays, meta = _read(path, _ARRAYS, remedy)
        check(path, arrays)
        return cls(**arrays, meta=meta)

    @classmethod
    def mapped(cls, path: Path, remedy: str = _REMEDY) -> "Predictions":
        """The same with probabilities that stay on disk. They are looked at once, block by block,
        and the logits not at all: these are an empty array."""
        arrays, meta = _read(path, ("ids", "classes", "meta"), remedy)
        try:
            probs = mapped_probs(path)
        except Exception as error:  # as many kinds as in `_read`
            raise PodiumError(f"{path}: its probs cannot be read ({error}); {remedy}") from None
        check(path, arrays | {"probs": probs})
        return cls(**arrays, logits=np.empty((0, 0), np.float32), probs=probs, meta=meta)

    def rows(self, ids: Sequence[str] | np.ndarray, name: str = "predictions") -> "Predictions":
        """Return the rows of `ids`, in their order; an id that is missing is named."""
        order = self.positions(ids, name)
        values = self.ids[order], self.classes, self.logits[order], self.probs[order]
        return Predictions(*values, self.meta)

    def positions(
        self, ids: Sequence[str] | np.ndarray, name: str = "predictions"
    ) -> slice | np.ndarray:
        """Return where the rows of `ids` are: all of them, where they are in this order already."""
        ids = np.asarray(ids, dtype=np.str_)
        if np.array_equal(self.ids, ids):
            return slice(None)
        position = {row: i for i, row in enumerate(self.ids.tolist())}
        wanted = ids.tolist()
        missing = [row for row in wanted if row not in position]
        if missing:
            raise PodiumError(
                f"{name}: no prediction for {len(missing)} of {len(wanted)} ids, "
                f"first {missing[0]!r}; "
                "train the missing folds, or leave this run out with RUNS="
            )
        return np.array([position[row] for row in wanted], dtype=np.int64)

    def with_classes(self, classes: Sequence[str], name: str = "predictions") -> "Predictions":
        """Return the columns in the order of `classes`; other class names are refused."""
        order = self.columns(classes, name)
        names = np.asarray(classes, np.str_)
        return Predictions(self.ids, names, self.logits[:, order], self.probs[:, order], self.meta)

    def columns(self, classes: Sequence[str], name: str = "predictions") -> slice | list[int]:
        """Return where the columns of `classes` are: all of them, where they are in this order."""
        own = self.classes.tolist()
        if own == list(classes):
            return slice(None)
        if sorted(own) != sorted(classes):
            odd = sorted(set(own) ^ set(classes))
            raise PodiumError(
                f"{name}: its classes differ from the competition's, first {odd[0]!r}; "
                "train it again for this competition, or leave it out with RUNS="
            )
        return [own.index(label) for label in classes]


def stored_type(probs: np.ndarray) -> type[np.floating]:
    """Return the type that probabilities are stored as: theirs if that is float16, or float32."""
    return np.float16 if probs.dtype == np.float16 else np.float32


def _read(
    path: Path, names: Sequence[str], remedy: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return some arrays of a file, all of which must be there, and its meta."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = [name for name in _ARRAYS if name not in stored.files]
            if missing:
                raise PodiumError(f"{path}: no array {missing[0]!r} in it; {remedy}")
            arrays = {name: stored[name] for name in names}
        meta = json.loads(str(arrays.pop("meta")))
        if not isinstance(meta, dict):
            raise ValueError("meta is not a JSON object")
    except FileNotFoundError:
        raise PodiumError(f"{path}: no such file; {remedy}") from None
    except PodiumError:
        raise
    except Exception as error:  # numpy and zipfile raise a dozen kinds for a broken archive
        raise PodiumError(f"{path}: not a readable prediction file ({error}); {remedy}") from None
    return arrays, meta


def mapped_probs(path: Path) -> np.ndarray:
    """Return `probs` (n, c) of a file, mapped into memory; read where it is stored compressed, in
    Fortran's order, or has no values to map."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("probs.npy")
        start = _content_start(path, entry)
        with archive.open(entry) as head:
            known = np.lib.format.read_magic(head) == (1, 0)
            if known:
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(head)
                start += head.tell()
    stored_plain = known and entry.compress_type == zipfile.ZIP_STORED
    if not stored_plain or fortran or dtype.hasobject or 0 in shape:
        with np.load(path, allow_pickle=False) as stored:
            return stored["probs"]
    if start + int(np.prod(shape)) * dtype.itemsize > path.stat().st_size:
        raise ValueError("it is shorter than its header says")
    return np.memmap(path, dtype, "r", start, shape)


def _content_start(path: Path, entry: zipfile.ZipInfo) -> int:
    """Return where the bytes of an entry begin, from its own header: the lengths of its name and
    extra field there may differ from those in the archive's directory."""
    with open(path, "rb") as handle:
        handle.seek(entry.header_offset)
        header = handle.read(30)
    name, extra = struct.unpack("<HH", header[26:30])
    return entry.header_offset + len(header) + name + extra


def check(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Refuse arrays that break the contract, naming `path` and the first offender."""
    remedy = "make this file again"
    ids, classes = arrays["ids"], arrays["classes"]
    for name in ("ids", "classes"):
        values = arrays[name]
        if values.ndim != 1 or values.dtype.kind != "U":
            raise PodiumError(
                f"{path}: {name} must be one row of text, not {values.dtype}; {remedy}"
            )
        if len(set(values.tolist())) != len(values):
            unique, counts = np.unique(values, return_counts=True)
            twice = unique[counts > 1][0]
            raise PodiumError(
                f"{path}: {name} must be unique, {str(twice)!r} stands twice; {remedy}"
            )
    for name in [name for name in ("logits", "probs") if name in arrays]:
        values = arrays[name]
        if values.shape != (len(ids), len(classes)) or values.dtype.kind != "f":
            wanted = f"({len(ids)}, {len(classes)}) floats"
            raise PodiumError(f"{path}: {name} must be {wanted}, not {values.shape}; {remedy}")
        top = np.finfo(values.dtype).max
        found = first_odd(values, within=(0, 1) if name == "probs" else (-top, top))
        if found is not None:
            row, column = found
            raise PodiumError(
                f"{path}: {name} of id {str(ids[row])!r}, class {str(classes[column])!r} is "
                f"{values[row, column]}, not a finite "
                f"{'probability' if name == 'probs' else 'number'}; {remedy}"
            )


def blocks(rows: int, columns: int, values: int | None = None) -> Iterator[slice]:
    """Yield slices of rows, each of about that many values, by default `BLOCK`."""
    size = max(1, (values or BLOCK) // max(columns, 1))
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def first_odd(values: np.ndarray, within: tuple[float, float]) -> tuple[int, int] | None:
    """Return row and column of the first value (n, c) that is NaN, or outside of a finite range."""
    low, high = within
    for here in blocks(*values.shape):
        block = values[here]
        if block.dtype == np.float16:
            block = block.astype(np.float32)  # three times as fast, conversion included
        if not block.size or (block.min() >= low and block.max() <= high):
            continue  # a NaN would make both NaN
        row, column = np.argwhere(~((block >= low) & (block <= high)))[0]
        return here.start + int(row), int(column)
    return None


def probabilities(logits: np.ndarray, task: str) -> np.ndarray:
    """Turn logits (..., c) into probabilities: softmax (multiclass) or sigmoid (multilabel),
    float32.

    Computed in float64, so that rows of the softmax sum to 1 within float32's last digit.
    """
    values = logits.astype(np.float64, copy=False)
    if task == "multilabel":
        return (0.5 * (1.0 + np.tanh(0.5 * values))).astype(np.float32)
    return softmax(values).astype(np.float32)


def softmax(values: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis of values (..., c), in their own type."""
    chance = np.exp(values - values.max(axis=-1, keepdims=True))
    chance /= chance.sum(axis=-1, keepdims=True)
    return chance


def log_values(probs: np.ndarray, task: str, dtype: type[np.floating] = np.float64) -> np.ndarray:
    """Return log p (multiclass) or the log odds (multilabel) of probabilities (..., c), which are
    first clipped to [1e-7, 1 - 1e-7], so that 0 and 1 stay finite."""
    clipped = np.clip(probs, CLIP, 1 - CLIP, dtype=dtype)
    logs = np.log(clipped)
    return logs - np.log1p(-clipped) if task == "multilabel" else logs


def logits_of(probs: np.ndarray, task: str) -> np.ndarray:
    """Return float32 logits whose probabilities are `probs` (n, c), or those (c,) of one row: log p
    (multiclass) or log odds, of probabilities clipped as in `log_values`.
    """
    if probs.ndim == 1:
        return logits_of(probs[None], task)[0]
    logits = np.empty(probs.shape, np.float32)
    for here in blocks(*probs.shape):
        logits[here] = log_values(probs[here], task)
    return logits
