"""A metric of the host's own file: the same as a built-in one, and every way to get it wrong."""

import copy
import hashlib
import os
import pickle
import py_compile
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pipeline
from pipeline.errors import PodiumError
from pipeline.metrics import (
    CustomMetric,
    Undefined,
    custom_metric,
    get_metric,
    paired_difference,
    resample_scores,
)

ACCURACY = "def score(y, answer):\n    return (y == answer).mean()\n"
MACRO = """from sklearn.metrics import f1_score
def score(y, answer):
    return f1_score(y, answer, average="macro", zero_division=0)
"""
AUC = """import numpy as np
from sklearn.metrics import roc_auc_score
needs = "probs"
def score(y, answer):
    columns = [j for j in range(y.shape[1]) if 0 < y[:, j].sum() < len(y)]
    if not columns:
        return np.nan
    return np.mean([roc_auc_score(y[:, j], answer[:, j]) for j in columns])
"""
LOG_LOSS = """import numpy as np
needs = "probs"
greater_is_better = False
def score(y, answer):
    p = np.clip(answer, 1e-15, 1 - 1e-15)
    p /= p.sum(1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean()
"""
SAME = [
    (ACCURACY, "accuracy", "multiclass"),
    (MACRO, "f1_macro", "multiclass"),
    (MACRO, "f1_macro", "multilabel"),
    (AUC, "auc_macro", "multilabel"),
    (LOG_LOSS, "log_loss", "multiclass"),
]


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a metric's file and loads it."""

    def load(text, task="multiclass", name="cost.py") -> CustomMetric:
        path = tmp_path / name
        path.write_text(text)
        return custom_metric(path, task)

    return load


def case(metric, n=24, c=3, seed=0):
    """Return labels, two answers of the form the metric needs, and groups."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, c, n) if metric.task == "multiclass" else rng.integers(0, 2, (n, c))
    if metric.needs == "probs":
        answers = list(np.round(rng.random((2, n, c)), 1))
    else:
        answers = [np.where(rng.random(y.shape) < p, y, rng.permutation(y)) for p in (0.3, 0.7)]
    return y, answers, rng.integers(0, 6, n)


@pytest.mark.parametrize(("text", "name", "task"), SAME)
def test_a_file_is_the_same_as_the_metric_it_spells(write, text, name, task):
    """Check score, direction, every bootstrap resample and a paired difference."""
    custom, built_in = write(text, task), get_metric(name, task)
    assert (custom.needs, custom.sign, custom.task) == (built_in.needs, built_in.sign, task)
    y, answers, groups = case(custom)
    assert custom.score(y, answers[0]) == pytest.approx(built_in.score(y, answers[0]))
    for members in (None, groups):
        got, expected = (resample_scores(m, y, answers, members, 30) for m in (custom, built_in))
        assert got == pytest.approx(expected, abs=1e-12, nan_ok=True)
        pair = [paired_difference(m, y, *answers, members, 30) for m in (custom, built_in)]
        assert pair[0] == pytest.approx(pair[1], abs=1e-12)


@pytest.mark.parametrize(("text", "name", "task"), SAME)
def test_the_scorer_repeats_rows(write, text, name, task):
    """Check counts with zeros against a built-in metric, and one group of weight 1."""
    custom, built_in = write(text, task), get_metric(name, task)
    y, (answer, _), _ = case(custom, n=9)
    counts = np.random.default_rng(1).integers(0, 4, (20, 9)).astype(float)
    rows = np.arange(9)
    expected = built_in.scorer(y, answer, 3, rows)(counts)
    assert custom.scorer(y, answer, 3, rows)(counts) == pytest.approx(expected, nan_ok=True)
    once = custom.scorer(y, answer, 3, 0 * rows)(np.ones((1, 1)))
    assert once == pytest.approx([custom.score(y, answer)])
    assert np.isnan(custom.scorer(y, answer, 3, rows)(np.zeros((1, 9)))).all()
    for wrong in (0.5, -1.0):
        with pytest.raises(ValueError, match="whole numbers"):
            custom.scorer(y, answer, 3, rows)(np.full((1, 9), wrong))


def test_defaults_name_and_identity(write):
    """Check what a file of two lines means, and that its bytes alone make the identity."""
    metric = write(ACCURACY, name="my cost.py")
    assert (metric.name, metric.needs, metric.greater_is_better) == ("my cost", "labels", True)
    digest = hashlib.sha256(ACCURACY.encode()).hexdigest()[:8]
    assert metric.identity == f"my cost@{digest}"
    assert write(ACCURACY + "\n", name="my cost.py").identity != metric.identity
    assert get_metric("f1_macro", "multilabel").identity == "f1_macro"


def test_equal_bytes_are_equal_metrics(tmp_path):
    """Check that the folder of a file does not matter, its name, bytes and task do."""
    metrics = []
    for folder, name, text, task in [
        ("a", "cost", ACCURACY, "multiclass"),
        ("b", "cost", ACCURACY, "multiclass"),
        ("c", "cost", ACCURACY + "#", "multiclass"),
        ("d", "toll", ACCURACY, "multiclass"),
        ("e", "cost", ACCURACY, "multilabel"),
    ]:
        path = tmp_path / folder / f"{name}.py"
        path.parent.mkdir()
        path.write_text(text)
        metrics.append(custom_metric(path, task))
    assert metrics[0] == metrics[1]
    assert hash(metrics[0]) == hash(metrics[1])
    assert all(metrics[0] != other for other in metrics[2:])


def test_loading_leaves_no_trace(write, tmp_path, monkeypatch):
    """Check that no bytecode is written and no module stays, even one of a library's name."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = dict(sys.modules)
    write("import json\n" + ACCURACY, name="json.py")
    assert {name: sys.modules[name] for name in before} == before
    assert not [name for name in set(sys.modules) - set(before) if "podium_metric" in name]
    assert [path.name for path in tmp_path.iterdir()] == ["json.py"]


def test_an_edited_file_is_read_anew(write, tmp_path):
    """Check that bytecode of an older file of the same size and time is not used."""
    one, two = "def score(y, answer):\n    return 1.0\n", "def score(y, answer):\n    return 2.0\n"
    path = tmp_path / "cost.py"
    path.write_text(one)
    os.utime(path, (1e9, 1e9))
    py_compile.compile(str(path))
    path.write_text(two)
    os.utime(path, (1e9, 1e9))
    assert custom_metric(path, "multiclass").score([0, 1], [0, 1]) == 2.0


def test_a_file_may_hold_a_dataclass(write):
    """Check that text annotations, which are looked up in the module, work while it runs."""
    text = """from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
@dataclass
class Cost:
    each: ClassVar[float]
    wrong: float = 2.0
def score(y, answer):
    return Cost(3.0).wrong
"""
    assert write(text).score([0, 1], [1, 1]) == 3.0


def test_the_function_gets_copies_of_wide_integers(write):
    """Check that it can neither change the caller's labels nor wrap around in int8."""
    metric = write(
        "def score(y, answer):\n    y[:] = 1\n    answer[:] = 1\n    return y.T @ answer"
    )
    y = np.zeros(300, dtype=np.int8)
    assert metric.score(y, y) == 300
    assert not y.any()
    matrix = np.zeros((200, 1), dtype=np.int8)
    body = "y[:] = answer[:] = 1\n    return (y.T @ y + answer.T @ answer)[0, 0]"
    text = f"def score(y, answer):\n    {body}"
    assert write(text, "multilabel").score(matrix, matrix) == 400
    assert not matrix.any()
    text = 'needs = "probs"\ndef score(y, answer):\n    answer[:] = 0\n    return 1'
    probs = np.full((2, 2), 0.5)
    assert write(text).score([0, 1], probs) == 1
    assert (probs == 0.5).all()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", 1.0), ("np.float32(0.5)", 0.5), ("np.int64(3)", 3.0), ("np.array(0.25)", 0.25)],
)
def test_any_one_number_will_do(write, value, expected):
    """Check that integers, numpy's scalars and arrays of no dimension are numbers."""
    metric = write(f"import numpy as np\ndef score(y, answer):\n    return {value}")
    score = metric.score([0], [0])
    assert (type(score), score) == (float, expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\ndef score(y, answer)\n    return 1", r"cost\.py, line 2: SyntaxError: expected"),
        ("def score(y, answer):\nreturn 1", r"cost\.py, line 2: IndentationError"),
        ("\0", r"cost\.py.*null bytes"),
        ("import numpi\n" + ACCURACY, r"line 1: ModuleNotFoundError: No module named 'numpi'"),
        ("def f():\n    return 1 / 0\n\nf()\n" + ACCURACY, r"line 2: ZeroDivisionError"),
        ("import json\n\njson.loads('x')\n" + ACCURACY, r"line 3: JSONDecodeError"),
        ("raise SystemExit(3)\n" + ACCURACY, r"line 1: SystemExit: 3"),
        ("raise ValueError('a\\nb')", r"ValueError: a b"),
        ("", r"no function score; write def score\(y, answer\)"),
        ("def scores(y, answer):\n    return 1", r"no function score \(did you mean scores\?\)"),
        ("score = 0.5", r"score must be a function, got 0\.5"),
        ("def score(y):\n    return 1", r"2 arguments, not \(y\)"),
        (
            "def score(y, answer, classes):\n    return 1",
            r"2 arguments, not \(y, answer, classes\)",
        ),
        ("def score(y, answer, *, k):\n    return 1", r"2 arguments"),
        ("needs = 'scores'\n" + ACCURACY, r"needs must be one of labels, probs, got 'scores'"),
        ("needs = None\n" + ACCURACY, r"needs must be one of labels, probs, got None"),
        ("greater_is_better = 0\n" + ACCURACY, r"must be True or False, got 0"),
        ("greater_is_beter = False\n" + ACCURACY, r"did you mean greater_is_better"),
        ("need = 'probs'\n" + ACCURACY, r"need is unknown \(did you mean needs\?\)"),
    ],
)
def test_files_that_break_the_contract_are_refused(write, tmp_path, text, words):
    """Check that each mistake is one line that names the file and, where it has one, the line."""
    with pytest.raises(PodiumError, match=words) as caught:
        write(text)
    assert str(caught.value).startswith(str(tmp_path / "cost.py"))
    assert "\n" not in str(caught.value)
    assert not [name for name in sys.modules if name.startswith("podium_metric")]


@pytest.mark.parametrize(
    "text",
    [
        "seeds = [1]\nmeans = 0.5\n" + ACCURACY,
        "def score(y, answer, beta=2):\n    return 1.0",
        "from sklearn.metrics import accuracy_score as score",
        "class Score:\n    def __call__(self, y, answer):\n        return 1.0\nscore = Score()",
    ],
)
def test_what_can_be_called_with_two_arguments_is_a_score(write, text):
    """Check that defaults, imported functions and other constants are no mistake."""
    assert write(text).score([0, 1], [0, 1]) == 1.0


def test_files_that_cannot_be_read_are_refused(write, tmp_path):
    """Check that a missing file names the nearest, and a folder or a strange name is refused."""
    write(ACCURACY)
    with pytest.raises(PodiumError, match=r"csot\.py: there is no .*did you mean cost\.py"):
        custom_metric(tmp_path / "csot.py", "multiclass")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(PodiumError, match=r"folder\.py: .*cannot be read: Is a directory"):
        custom_metric(tmp_path / "folder.py", "multiclass")
    with pytest.raises(PodiumError, match="printable"):
        write(ACCURACY, name="a\nb.py")
    with pytest.raises(PodiumError, match="task must be one of"):
        write(ACCURACY, "regression")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('cat')", r"cost\.py, line 3: KeyError: 'cat'"),
        ("return np.linalg.inv(y)", r"cost\.py, line 3: LinAlgError"),
        ("raise SystemExit", r"cost\.py, line 3: SystemExit"),
        ("return None", r"cost\.py: score must return one number, got NoneType None"),
        ("return '0.5'", r"must return one number, got str '0\.5'"),
        ("return y == answer", r"must return one number, got ndarray"),
        ("return True", r"must return one number, got bool"),
        ("return 1j", r"must return one number, got complex"),
        ("yield 1", r"must return one number, got generator"),
    ],
)
def test_scores_that_go_wrong_are_refused(write, body, words):
    """Check that an exception or a wrong result is one line, in score and in resamples alike."""
    metric = write(f"import numpy as np\ndef score(y, answer):\n    {body}\n")
    y = np.array([0, 1, 2])
    for attempt in (
        lambda: metric.score(y, y),
        lambda: metric.scorer(y, y, 3, y)(np.ones((1, 3))),
    ):
        with pytest.raises(PodiumError, match=words) as caught:
            attempt()
        assert not isinstance(caught.value, Undefined)
        assert "\n" not in str(caught.value)


NAMED = "from pipeline.metrics import get_metric\nM = get_metric('qwk', 'multiclass')\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return float('nan')", "undefined on these 3 rows: score of .*no finite number"),
        ("return float('-inf')", "undefined on these 3 rows"),
        ("return 1 / (y.max() - y.min()).item()", "line 4: ZeroDivisionError"),
        ("return M.score(y, answer)", "line 4: Undefined: qwk is undefined"),
    ],
)
def test_undefined_rows_are_nan_in_resamples(write, body, words):
    """Check that score refuses rows where it is undefined, and a resample of them is NaN."""
    metric = write(NAMED + f"def score(y, answer):\n    {body}\n")
    y = np.array([1, 1, 1])
    with pytest.raises(Undefined, match=words):
        metric.score(y, y)
    assert np.isnan(metric.scorer(y, y, 3, np.arange(3))(np.ones((2, 3)))).all()


def test_inputs_are_checked_before_the_function_sees_them(write):
    """Check that labels, shapes and probabilities meet the rules of every other metric."""
    with pytest.raises(PodiumError, match="same rows"):
        write(ACCURACY).score([0, 1], [0])
    with pytest.raises(PodiumError, match="nan at row 0"):
        write(LOG_LOSS).score([0], np.array([[np.nan, 1.0]]))


def test_a_pickle_reads_the_file_again(write, tmp_path, monkeypatch):
    """Check copies and another process, from another folder, and that an edit is noticed."""
    write(LOG_LOSS)
    monkeypatch.chdir(tmp_path)
    metric = custom_metric(Path("cost.py"), "multiclass")
    probs = np.array([[0.25, 0.75], [0.5, 0.5]])
    expected = metric.score([0, 1], probs)
    stored = pickle.dumps(metric)
    for other in (copy.deepcopy(metric), pickle.loads(stored)):
        assert other == metric
        assert other.score([0, 1], probs) == expected
    (tmp_path / "stored").write_bytes(stored)
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'stored')!r}, 'rb')).identity)"
    root = Path(pipeline.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == metric.identity
    (tmp_path / "cost.py").write_text(LOG_LOSS + "# edited\n")
    with pytest.raises(PodiumError, match="changed while it was in use"):
        pickle.loads(stored)


def test_a_file_has_no_sums(write):
    """Check that asking for sums of rows is a bug with a reason."""
    metric = write(ACCURACY)
    with pytest.raises(TypeError, match="function of all rows"):
        metric.stats([0, 1], [0, 1], 2)
    with pytest.raises(TypeError, match="function of all rows"):
        metric.from_sums(np.zeros(3))


def test_a_file_is_no_name():
    """Check that a name ending in .py says that its folder is needed."""
    for task in ("multiclass", "multilabel"):
        with pytest.raises(PodiumError, match=r"'cost\.py' is a file.*custom_metric"):
            get_metric("cost.py", task)
