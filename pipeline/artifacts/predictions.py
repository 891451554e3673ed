"""Predictions with ids and class names: one checked format for folds, runs and ensembles.

A file (`*.npz`, never pickled) holds `ids` (n,), `classes` (c,), `logits` and `probs` (n, c)
float32 and `meta`, a JSON string. Who joins two of them joins by id and class name, never by
position.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import write_with
from pipeline.errors import PodiumError

_ARRAYS = ("ids", "classes", "logits", "probs", "meta")


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
            "probs": np.asarray(self.probs, dtype=np.float32),
        }
        check(path, arrays)
        meta = np.asarray(json.dumps(self.meta, sort_keys=True, ensure_ascii=False))

        def write(temporary: Path) -> None:
            with open(temporary, "wb") as handle:  # a handle: savez would add .npz to a name
                np.savez(handle, **arrays, meta=meta)

        write_with(path, write)

    @classmethod
    def load(
        cls, path: Path, remedy: str = "delete it and run the same command again"
    ) -> "Predictions":
        """Read and check `path`; anything wrong is one error that names the file and `remedy`."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                missing = [name for name in _ARRAYS if name not in stored.files]
                if missing:
                    raise PodiumError(f"{path}: no array {missing[0]!r} in it; {remedy}")
                arrays = {name: stored[name] for name in _ARRAYS}
            meta = json.loads(str(arrays.pop("meta")))
            if not isinstance(meta, dict):
                raise ValueError("meta is not a JSON object")
        except FileNotFoundError:
            raise PodiumError(f"{path}: no such file; {remedy}") from None
        except PodiumError:
            raise
        except Exception as error:  # numpy and zipfile raise a dozen kinds for a broken archive
            raise PodiumError(
                f"{path}: not a readable prediction file ({error}); {remedy}"
            ) from None
        check(path, arrays)
        return cls(**arrays, meta=meta)

    def rows(self, ids: Sequence[str] | np.ndarray, name: str = "predictions") -> "Predictions":
        """Return the rows of `ids`, in their order; an id that is missing is named."""
        position = {row: i for i, row in enumerate(self.ids.tolist())}
        wanted = np.asarray(ids, dtype=np.str_).tolist()
        missing = [row for row in wanted if row not in position]
        if missing:
            raise PodiumError(
                f"{name}: no prediction for {len(missing)} of {len(wanted)} ids, "
                f"first {missing[0]!r}; "
                "train the missing folds, or leave this run out with RUNS="
            )
        order = np.array([position[row] for row in wanted], dtype=np.int64)
        return Predictions(
            self.ids[order], self.classes, self.logits[order], self.probs[order], self.meta
        )

    def with_classes(self, classes: Sequence[str], name: str = "predictions") -> "Predictions":
        """Return the columns in the order of `classes`; other class names are refused."""
        own = self.classes.tolist()
        if sorted(own) != sorted(classes):
            odd = sorted(set(own) ^ set(classes))
            raise PodiumError(
                f"{name}: its classes differ from the competition's, first {odd[0]!r}; "
                "train it again for this competition, or leave it out with RUNS="
            )
        order = [own.index(label) for label in classes]
        return Predictions(
            self.ids,
            np.asarray(classes, np.str_),
            self.logits[:, order],
            self.probs[:, order],
            self.meta,
        )


def check(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Refuse arrays that break the contract, naming `path` and the first offender."""
    remedy = "make this file again"
    ids, classes, probs = arrays["ids"], arrays["classes"], arrays["probs"]
    for name in ("ids", "classes"):
        values = arrays[name]
        if values.ndim != 1 or values.dtype.kind != "U":
            raise PodiumError(
                f"{path}: {name} must be one row of text, not {values.dtype}; {remedy}"
            )
        unique, counts = np.unique(values, return_counts=True)
        if len(unique) != len(values):
            twice = unique[counts > 1][0]
            raise PodiumError(
                f"{path}: {name} must be unique, {str(twice)!r} stands twice; {remedy}"
            )
    for name in ("logits", "probs"):
        values = arrays[name]
        if values.shape != (len(ids), len(classes)) or values.dtype.kind != "f":
            wanted = f"({len(ids)}, {len(classes)}) floats"
            raise PodiumError(f"{path}: {name} must be {wanted}, not {values.shape}; {remedy}")
        bad = ~np.isfinite(values)
        if name == "probs":
            bad |= (values < 0) | (values > 1)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise PodiumError(
                f"{path}: {name} of id {str(ids[row])!r}, class {str(classes[column])!r} is "
                f"{probs[row, column] if name == 'probs' else values[row, column]}, not a finite "
                f"{'probability' if name == 'probs' else 'number'}; {remedy}"
            )


def probabilities(logits: np.ndarray, task: str) -> np.ndarray:
    """Turn logits (n, c) into probabilities: softmax (multiclass) or sigmoid (multilabel), float32.

    Computed in float64, so that rows of the softmax sum to 1 within float32's last digit.
    """
    values = logits.astype(np.float64)
    if task == "multilabel":
        return (0.5 * (1.0 + np.tanh(0.5 * values))).astype(np.float32)
    values -= values.max(axis=1, keepdims=True)
    exponentials = np.exp(values)
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


def logits_of(probs: np.ndarray, task: str) -> np.ndarray:
    """Return float32 logits whose probabilities are `probs`: log p (multiclass) or log odds.

    Probabilities are first clipped to [1e-7, 1 - 1e-7], so that 0 and 1 stay finite.
    """
    clipped = np.clip(probs.astype(np.float64), 1e-7, 1 - 1e-7)
    odds = np.log(clipped) - (np.log1p(-clipped) if task == "multilabel" else 0.0)
    return odds.astype(np.float32)
