'''A metric of the host's own, from a small Python file: `metric: cost.py` in a competition's YAML.

The file's contract:

    """Cost of a wrong answer ..."""          # optional
    needs = "labels"                          # or "probs"; "labels" where left out
    greater_is_better = True                  # True where left out
    def score(y, answer): ...                 # returns one number

`y` holds class indices (n,) int64, or 0/1 (n, c) int64 in a multi-label task. `answer` has the same
form, or is (n, c) float64 probabilities where `needs` is "probs". Both are copies, which `score`
may change. It returns NaN (or divides by zero) on rows where it is undefined: a bootstrap leaves
such resamples out. The file stands alone: it may import installed packages, not its neighbours, so
that its bytes say when two metrics are the same. It runs as any program of the user does: name
only a file that you have read.
'''

import hashlib
import importlib.machinery
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from pipeline.errors import PodiumError, nearest
from pipeline.metrics.checks import TASKS
from pipeline.metrics.metric import Metric, Undefined

NEEDS = ("labels", "probs")
WRITE = "write def score(y, answer): returning one number"


@dataclass(frozen=True, kw_only=True)
class CustomMetric(Metric):
    """The function `score` of a file; two of them are equal where name, bytes and task are."""

    path: Path = field(compare=False)
    digest: str  # the first 8 hexadecimal digits of the SHA-256 of the file's bytes
    function: Callable[[np.ndarray, np.ndarray], Any] = field(compare=False, repr=False)
    needs: str = "labels"
    greater_is_better: bool = True

    @property
    def identity(self) -> str:
        return f"{self.name}@{self.digest}"

    def __reduce__(self) -> tuple[Callable, tuple[Path, str, str]]:
        # The function lives in no importable module: another process reads the file again.
        return _reloaded, (self.path.absolute(), self.task, self.identity)

    def scorer(
        self, y: np.ndarray, answer: np.ndarray, n_classes: int, members: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        """As in `Metric`, for weights that are whole numbers: rows are repeated that often."""
        y, answer = self.check(y, answer, n_classes)

        def scores(weights: np.ndarray) -> np.ndarray:
            times = weights.astype(np.int64)
            if (times != weights).any() or (times < 0).any():
                raise ValueError(f"{self.name} repeats rows: weights must be whole numbers")
            return np.array([self._repeated(y, answer, row[members]) for row in times])

        return scores

    def _repeated(self, y: np.ndarray, answer: np.ndarray, times: np.ndarray) -> float:
        rows = np.repeat(np.arange(len(y)), times)
        if not len(rows):
            return float("nan")
        try:
            value = self._score(y[rows], answer[rows])
        except Undefined:
            return float("nan")
        return value if np.isfinite(value) else float("nan")

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        # int64: products and counts of int8 would wrap around at 127.
        wide = np.float64 if self.needs == "probs" else np.int64
        try:
            value = self.function(y.astype(np.int64), answer.astype(wide))
        except (Exception, SystemExit) as error:
            undefined = isinstance(error, ZeroDivisionError | Undefined)
            raise (Undefined if undefined else PodiumError)(_told(self.path, error)) from error
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value.item()
        if not isinstance(value, Real) or isinstance(value, bool):
            got = f"{type(value).__name__} {value!r:.80}"
            raise PodiumError(f"{self.path}: score must return one number, got {got}")
        return float(value)

    def _why(self) -> str:
        return f"score of {self.path} returned no finite number"

    def _stats(self, y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
        raise TypeError(f"{self.name} is a function of all rows: it has no sums of rows")

    def from_sums(self, sums: np.ndarray) -> np.ndarray:
        raise TypeError(f"{self.name} is a function of all rows: it has no sums of rows")


def custom_metric(path: Path, task: str) -> CustomMetric:
    """Return the metric that a Python file defines; the module's docstring says how.

    Raises
    ------
    PodiumError
        Where the file cannot be read or run, or does not keep its contract.
    """
    path = Path(path)
    if task not in TASKS:
        raise PodiumError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    if not path.stem.isprintable():
        raise PodiumError(f"{str(path)!r}: a metric's file name must be printable; rename it")
    content = _read(path)
    digest = hashlib.sha256(content).hexdigest()[:8]
    module = _run(path, content, f"podium_metric_{digest}")
    function = _function(path, module)
    needs, greater = _settings(path, module)
    return CustomMetric(
        path.stem,
        task,
        path=path,
        digest=digest,
        function=function,
        needs=needs,
        greater_is_better=greater,
    )


class _Source(importlib.machinery.SourceFileLoader):
    """Runs the bytes that were hashed, and neither reads nor writes a __pycache__ beside them."""

    def __init__(self, name: str, path: Path, content: bytes) -> None:
        super().__init__(name, str(path))
        self.content = content

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.content, self.path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        hint = nearest(path.name, (p.name for p in path.parent.glob("*.py")))
        raise PodiumError(f"{path}: there is no such metric file{hint}") from None
    except OSError as error:
        raise PodiumError(f"{path}: the metric file cannot be read: {error.strerror}") from error


def _run(path: Path, content: bytes, name: str) -> ModuleType:
    loader = _Source(name, path, content)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None:
        raise AssertionError("a spec with a loader is always found")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # while it runs: a dataclass in it looks for its own module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise PodiumError(_told(path, error)) from error
    finally:
        sys.modules.pop(name, None)
    return module


def _told(path: Path, error: BaseException) -> str:
    """Return the file, the innermost of its lines that an error passed, and the error."""
    steps = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in steps if frame.f_code.co_filename == str(path)]
    message = str(error)
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines, message = [error.lineno], error.msg
    place = f"{path}, line {lines[-1]}" if lines else str(path)
    return f"{place}: {type(error).__name__}: {message:.200}"


def _function(path: Path, module: ModuleType) -> Callable[[np.ndarray, np.ndarray], Any]:
    """Return the module's `score`, which can be called with two arguments, or refuse."""
    content = vars(module)
    if "score" not in content:
        names = [n for n, value in content.items() if callable(value) and not n.startswith("_")]
        raise PodiumError(f"{path}: there is no function score{nearest('score', names)}; {WRITE}")
    function = content["score"]
    if not callable(function):
        raise PodiumError(f"{path}: score must be a function, got {function!r:.80}; {WRITE}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C do not say
        raise PodiumError(f"{path}: score does not say what it takes; {WRITE}") from None
    try:
        signature.bind(None, None)
    except TypeError:
        rule = f"score must take 2 arguments, not {signature}"
        raise PodiumError(f"{path}: {rule}; {WRITE}") from None
    return function


def _settings(path: Path, module: ModuleType) -> tuple[str, bool]:
    """Return `needs` and `greater_is_better`, or refuse wrong values and names that are close.

    A misspelt `greater_is_better = False` would otherwise turn the metric upside down in silence.
    """
    content = vars(module)
    for kind, setting in ((str, "needs"), (bool, "greater_is_better")):
        for name, value in content.items():
            if type(value) is kind and name != setting and nearest(name, [setting]):
                raise PodiumError(f"{path}: {name} is unknown (did you mean {setting}?)")
    needs = content.get("needs", "labels")
    if not isinstance(needs, str) or needs not in NEEDS:
        raise PodiumError(f"{path}: needs must be one of {', '.join(NEEDS)}, got {needs!r:.80}")
    greater = content.get("greater_is_better", True)
    if not isinstance(greater, bool):
        rule = "greater_is_better must be True or False"
        raise PodiumError(f"{path}: {rule}, got {greater!r:.80}")
    return needs, greater


def _reloaded(path: Path, task: str, identity: str) -> CustomMetric:
    """Return the metric that was pickled, from its file, which must not have changed since."""
    metric = custom_metric(path, task)
    if metric.identity != identity:
        now = f"was {identity}, is {metric.identity}"
        raise PodiumError(f"{path}: changed while it was in use ({now}); start the command again")
    return metric
