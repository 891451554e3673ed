"""Predictions: what is saved comes back, what is wrong is refused by name, joins go by id."""

import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from pipeline.artifacts.predictions import Predictions, logits_of, mapped_probs, probabilities
from pipeline.errors import PodiumError

IDS = np.array(["007", "NA", "é, 1", "b"])
CLASSES = np.array(["cat", "dog", "owl"])


def some(**changes) -> Predictions:
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    parts = {"ids": IDS, "classes": CLASSES, "logits": logits}
    parts["probs"] = probabilities(logits, "multiclass")
    return Predictions(**{**parts, "meta": {"run": "a", "é": [1]}, **changes})


def write_raw(path, **changes) -> None:
    """Write an archive as a stranger might, without any check."""
    parts = some()
    arrays = {name: getattr(parts, name) for name in ("ids", "classes", "logits", "probs")}
    arrays = {**arrays, "meta": np.array("{}"), **changes}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


def with_value(value: float, name: str = "probs") -> dict[str, np.ndarray]:
    array = getattr(some(), name).copy()
    array[2, 1] = value
    return {name: array}


def test_round_trip_and_bytes(tmp_path):
    """Check that everything saved is loaded again, and that saving twice gives equal bytes."""
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    some().save(first)
    Predictions.load(first).save(second)
    assert first.read_bytes() == second.read_bytes()
    loaded, saved = Predictions.load(second), some()
    for name in ("ids", "classes", "logits", "probs"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
    assert loaded.meta == saved.meta
    assert loaded.probs.dtype == loaded.logits.dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (with_value(np.nan), ["probs", "é, 1", "dog", "nan"]),
        (with_value(1.5), ["probs", "é, 1", "dog", "1.5"]),
        (with_value(-0.1), ["probs", "é, 1", "dog", "-0.1"]),
        (with_value(np.inf, "logits"), ["logits", "é, 1", "dog", "inf"]),
        ({"ids": np.array(["a", "b", "c", "a"])}, ["ids", "unique", "'a'"]),
        ({"classes": np.array(["cat", "dog", "cat"])}, ["classes", "unique", "'cat'"]),
        ({"probs": np.full((4, 2), 0.5, "f4")}, ["probs", "(4, 3)", "(4, 2)"]),
        ({"logits": np.zeros((3, 3), "f4")}, ["logits", "(4, 3)", "(3, 3)"]),
        ({"probs": np.zeros((4, 3), "i4")}, ["probs", "floats"]),
        ({"ids": np.arange(4)}, ["ids", "text"]),
        ({"ids": IDS.reshape(2, 2)}, ["ids", "one row"]),
        ({"ids": IDS.astype(object)}, ["not a readable prediction file"]),
        ({"probs": None}, ["'probs'"]),
        ({"meta": None}, ["'meta'"]),
        ({"meta": np.array("{")}, ["not a readable prediction file"]),
        ({"meta": np.array("[1]")}, ["meta"]),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, changes, words):
    """Check that each breach of the contract names the file, the array and the offender."""
    path = tmp_path / "oof.npz"
    write_raw(path, **changes)
    with pytest.raises(PodiumError) as refused:
        Predictions.load(path, "train again")
    text = str(refused.value)
    assert str(path) in text and "\n" not in text and len(text) < 400
    for word in words:
        assert word in text


def test_a_raw_file_that_is_right_is_accepted(tmp_path):
    """Check that the refusals above are due to their changes alone."""
    write_raw(tmp_path / "oof.npz")
    assert Predictions.load(tmp_path / "oof.npz").meta == {}


@pytest.mark.parametrize("name", ["probs", "logits"])
def test_save_refuses_what_load_would(tmp_path, name):
    """Check that a NaN never reaches the disk, and the file that was there stays."""
    path = tmp_path / "oof.npz"
    some().save(path)
    before = path.read_bytes()
    with pytest.raises(PodiumError, match=name):
        some(**with_value(np.nan, name)).save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "npy", "folder", "missing"])
def test_not_an_archive(tmp_path, kind):
    """Check that what is no archive at all is one line naming file and remedy."""
    path = tmp_path / "oof.npz"
    if kind == "truncated":
        some().save(path)
        path.write_bytes(path.read_bytes()[:-200])
    elif kind in ("empty", "text"):
        path.write_text("" if kind == "empty" else "id,label\n")
    elif kind == "npy":
        np.save(path.open("wb"), np.zeros(3))
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(PodiumError, match="train again") as refused:
        Predictions.load(path, "train again")
    assert str(path) in str(refused.value)


def test_a_pickle_is_never_opened(tmp_path):
    """Check that code hidden in an object array does not run."""

    class Bomb:
        def __reduce__(self):
            return exec, ("raise SystemExit('a pickle was opened')",)

    path = tmp_path / "oof.npz"
    bomb = np.empty(4, dtype=object)
    bomb[:] = [Bomb()] * 4
    write_raw(path, ids=bomb)
    with pytest.raises(PodiumError, match="not a readable prediction file"):
        Predictions.load(path)


def test_rows_join_by_id():
    """Check that rows come in the order asked for, each with its own values."""
    order = [3, 1, 2]
    part = some().rows(IDS[order])
    np.testing.assert_array_equal(part.ids, IDS[order])
    np.testing.assert_array_equal(part.probs, some().probs[order])
    np.testing.assert_array_equal(part.logits, some().logits[order])
    with pytest.raises(PodiumError, match=r"1 of 2 ids, first 'nobody'"):
        some().rows(["b", "nobody"])


def test_classes_join_by_name():
    """Check that columns follow the competition's class names; foreign names are refused."""
    turned = some().with_classes(["owl", "cat", "dog"])
    np.testing.assert_array_equal(turned.probs, some().probs[:, [2, 0, 1]])
    np.testing.assert_array_equal(turned.logits, some().logits[:, [2, 0, 1]])
    for foreign in (["owl", "cat", "cow"], ["owl", "cat"], ["cat", "dog", "owl", "yak"]):
        with pytest.raises(PodiumError, match="classes differ"):
            some().with_classes(foreign)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_probabilities_are_mapped_not_read(tmp_path, dtype):
    """Check that a saved file's probabilities come as a map of the file, of their type, equal to
    those loaded, and that the logits are left alone."""
    path = tmp_path / "oof.npz"
    saved = some(probs=some().probs.astype(dtype))
    saved.save(path)
    for probs in (mapped_probs(path), Predictions.mapped(path).probs):
        assert isinstance(probs, np.memmap) and probs.dtype == dtype
        np.testing.assert_array_equal(probs, Predictions.load(path).probs)
        np.testing.assert_array_equal(probs, saved.probs)
        with pytest.raises(ValueError, match="read-only"):
            probs[0] = 0
    mapped = Predictions.mapped(path)
    assert mapped.logits.size == 0 and mapped.meta == saved.meta
    np.testing.assert_array_equal(mapped.ids, saved.ids)


def test_what_cannot_be_mapped_is_read(tmp_path):
    """Check compressed files, Fortran's order, no rows at all, and archives of longer headers."""
    path, parts = tmp_path / "oof.npz", some()
    names = ("ids", "classes", "logits", "probs")
    arrays = {name: getattr(parts, name) for name in names} | {"meta": np.array("{}")}
    np.savez_compressed(path, **arrays)
    np.testing.assert_array_equal(mapped_probs(path), parts.probs)
    np.savez(path, **arrays | {"probs": np.asfortranarray(parts.probs)})
    np.testing.assert_array_equal(mapped_probs(path), parts.probs)
    parts.rows([]).save(path)
    assert mapped_probs(path).shape == Predictions.mapped(path).probs.shape == (0, 3)
    parts.save(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "b.npz", "w") as new:
        for entry in old.infolist():
            copied = zipfile.ZipInfo(entry.filename)
            copied.extra = b"\xca\xfe\x04\x00abcd"  # as archivers leave times and owners
            new.writestr(copied, old.read(entry))
    np.testing.assert_array_equal(mapped_probs(tmp_path / "b.npz"), parts.probs)


@pytest.mark.parametrize("rows", [[2], [900_000]])
def test_a_mapped_file_is_checked(tmp_path, rows):
    """Check that an odd value in any block, and a file cut short, are refused by the name."""
    path, n = tmp_path / "oof.npz", 1_000_000
    probs = np.full((n, 2), 0.5, np.float16)
    probs[rows, 1] = np.nan
    ids = np.arange(n).astype(np.str_)
    empty = np.broadcast_to(np.float32(0), (n, 2))
    arrays = {"ids": ids, "classes": np.array(["a", "b"]), "logits": empty, "probs": probs}
    np.savez(path, **arrays, meta=np.array("{}"))
    with pytest.raises(PodiumError, match=f"probs of id '{rows[0]}', class 'b' is nan"):
        Predictions.mapped(path)
    path.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(PodiumError, match="again, please"):
        Predictions.mapped(path, "again, please")


def test_logits_of_many_rows_are_those_of_few(monkeypatch):
    """Check that working by blocks changes no bit."""
    probs = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    whole = logits_of(probs, "multilabel")
    monkeypatch.setattr("pipeline.artifacts.predictions.BLOCK", 7)
    np.testing.assert_array_equal(logits_of(probs, "multilabel"), whole)


LOGITS = st.lists(
    st.lists(st.floats(-60, 60, width=32), min_size=3, max_size=3), min_size=1, max_size=5
)


@given(LOGITS)
@settings(max_examples=60, deadline=None)
def test_probabilities_against_scipy(values):
    """Check softmax and sigmoid against scipy; softmax rows sum to 1 within float32."""
    logits = np.array(values, np.float32)
    multi = probabilities(logits, "multiclass")
    np.testing.assert_allclose(multi, softmax(logits.astype(float), axis=1), rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(multi.sum(axis=1), 1, atol=1e-6)
    single = probabilities(logits, "multilabel")
    np.testing.assert_allclose(single, expit(logits.astype(float)), rtol=1e-6, atol=1e-16)
    assert multi.dtype == single.dtype == np.float32


def test_extreme_logits_stay_probabilities():
    """Check that huge logits give 0 and 1 without a warning or NaN."""
    logits = np.array([[1e30, -1e30, 0], [800, 0, -800]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for task in ("multiclass", "multilabel"):
            probs = probabilities(logits, task)
            assert np.isfinite(probs).all() and (probs >= 0).all() and (probs <= 1).all()


@given(LOGITS, st.sampled_from(["multiclass", "multilabel"]))
@settings(max_examples=60, deadline=None)
def test_logits_of_inverts_probabilities(values, task):
    """Check that probabilities come back from their logits, zeros and ones within the clip."""
    probs = probabilities(np.array(values, np.float32), task)
    again = probabilities(logits_of(probs, task), task)
    np.testing.assert_allclose(again, probs, atol=5e-7)
    assert np.isfinite(logits_of(np.array([[0.0, 1.0]]), task)).all()
