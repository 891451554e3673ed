"""What a metric or a rule may be given: labels, answers and probabilities of the right form."""

import numpy as np

from pipeline.errors import PodiumError

TASKS = ("multiclass", "multilabel")
NARROW = (np.float16, np.float32)


def check_labels(
    y: np.ndarray, task: str, *, n_classes: int | None = None, what: str = "y"
) -> np.ndarray:
    """Return labels as (n,) int64 class indices or an (n, c) int8 matrix of 0 and 1, or refuse."""
    y = np.asarray(y)
    if task not in TASKS:
        raise PodiumError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    if y.dtype.kind not in "iub":
        raise PodiumError(
            f"{what} must hold integers, got dtype {y.dtype}; pass labels, not scores"
        )
    if y.ndim != (1 if task == "multiclass" else 2) or y.size == 0:
        shape = "(rows,)" if task == "multiclass" else "(rows, classes)"
        raise PodiumError(f"{what} of a {task} task must have shape {shape}, got {y.shape}")
    if task == "multiclass":
        return _check_indices(y, n_classes, what)
    if n_classes is not None and y.shape[1] != n_classes:
        raise PodiumError(f"{what} must have {n_classes} columns, one per class, got {y.shape[1]}")
    if y.min() < 0 or y.max() > 1:
        worst = y.min() if y.min() < 0 else y.max()
        raise PodiumError(f"{what} of a multilabel task must hold only 0 and 1, got {worst}")
    return y.astype(np.int8, copy=False)


def _check_indices(y: np.ndarray, n_classes: int | None, what: str) -> np.ndarray:
    if y.min() < 0:
        raise PodiumError(f"{what} must hold class indices from 0, got {y.min()}")
    if n_classes is not None and y.max() >= n_classes:
        raise PodiumError(f"{what} must hold class indices below {n_classes}, got {y.max()}")
    return y.astype(np.int64, copy=False)


def check_probs(probs: np.ndarray, *, what: str = "probs", narrow: bool = False) -> np.ndarray:
    """Return probabilities as an (n, c) float64 matrix, or refuse NaN and values outside [0, 1].

    With `narrow`, float16 and float32 come back as they are, uncopied: for what reads a matrix in
    parts, and compares it in float64.
    """
    probs = np.asarray(probs)
    if probs.dtype.kind not in "fiub":
        raise PodiumError(f"{what} must hold numbers, got dtype {probs.dtype}")
    if probs.ndim != 2 or probs.size == 0:
        raise PodiumError(f"{what} must have shape (rows, classes), got {probs.shape}")
    if not (narrow and probs.dtype in NARROW):
        probs = probs.astype(np.float64, copy=False)
    low, high = probs.min(), probs.max()  # a NaN anywhere makes both NaN
    if not (low >= 0 and high <= 1):
        bad = ~((probs >= 0) & (probs <= 1))
        row, column = np.argwhere(bad)[0]
        value = probs[row, column]
        raise PodiumError(f"{what} must lie in [0, 1], got {value} at row {row}, column {column}")
    return probs


def check_pair(
    y: np.ndarray, probs: np.ndarray, task: str, *, narrow: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return checked labels and probabilities of the same rows and classes; see `check_probs`."""
    probs = check_probs(probs, narrow=narrow)
    y = check_labels(y, task, n_classes=probs.shape[1])
    check_rows(y, probs)
    if task == "multiclass" and probs.shape[1] < 2:
        raise PodiumError("probs of a multiclass task must have at least 2 columns, got 1")
    return y, probs


def check_rows(y: np.ndarray, answer: np.ndarray) -> None:
    """Refuse labels and answers of different lengths."""
    if len(y) != len(answer):
        raise PodiumError(f"labels and answer must have the same rows, got {len(y)}, {len(answer)}")
