"""New pictures get the answers that the pipeline gives its own test pictures, and every oddity of
a folder of pictures is told rather than fatal."""

import hashlib
import json
import os
import re
import shutil
import struct
import zlib

import cv2
import numpy as np
import pytest
import yaml

from pipeline.artifacts.files import write_json
from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.decisions import confidence, prior_probs
from pipeline.deploy import predict as module
from pipeline.deploy.answers import DONT_KNOW, decide_answers
from pipeline.deploy.networks import RunNetworks
from pipeline.deploy.predict import predict
from pipeline.ensemble.build import open_decided
from pipeline.errors import PodiumError
from pipeline.folds import load_shared

SOURCES = [
    *(("kinds", name) for name in ("a", "b", "a-refit", "ensemble-rank", "ensemble-mean")),
    *(("kinds", f"ensemble-{name}") for name in ("geometric", "power", "tempered", "per-class")),
    *(("kinds", f"ensemble-{name}") for name in ("hill-climbing", "stacking", "seeds", "nested")),
    *(("sets", name) for name in ("a", "b", "ensemble-rank")),
]


def decided_of(project: Project, comp: str, source: str):
    data = load_data(project, comp)
    return data, open_decided(data, load_shared(data), source)


def test_pictures_of(project, comp, folder, deep):
    """Copy the competition's test pictures into `folder`, all below `deep`."""
    data = load_data(project, comp)
    (folder / deep).mkdir(parents=True)
    for path in data.test.images:
        shutil.copy(path, folder / deep / path.name)
    return folder


test_pictures_of.__test__ = False


@pytest.mark.parametrize(("comp", "source"), SOURCES)
def test_copies_of_the_test_pictures_get_the_test_answers(trained, answers, tmp_path, comp, source):
    """Check probabilities, answers and confidence against test.npz and the submission's answer, for
    runs, a refit, every blend, averaged seeds, and an ensemble within an ensemble."""
    folder = test_pictures_of(trained, comp, tmp_path / "copies", "far/below")
    got = answers(trained, comp, source, folder)
    data, decided = decided_of(trained, comp, source)
    folds = load_shared(data)
    probs, answer = decided.test_probs(data, folds), decided.test_answer(data, folds)
    assert got.column("image") == [f"far/below/{name}" for name in data.test.ids.tolist()]
    np.testing.assert_allclose(got.probs, probs, atol=1e-5)
    rows = np.atleast_2d(answer.T).T if comp == "sets" else np.eye(3, dtype=int)[answer]
    names = ["+".join(np.array(data.classes)[row == 1]) for row in rows]
    assert got.column("answer") == names
    expected = np.where(rows == 1, probs, 1 - probs).min(axis=1)
    if comp == "kinds":
        expected = probs[rows == 1]
    np.testing.assert_allclose([float(x) for x in got.column("confidence")], expected, atol=1e-5)
    assert got.made.counts == dict(zip(data.classes, rows.sum(0).tolist(), strict=True))
    assert (got.made.images, got.made.dont_know, got.made.broken) == (15, 0, 0)
    assert len(np.unique(probs.round(6), axis=0)) > 10, "the networks tell pictures apart"


@pytest.mark.parametrize("comp", ["kinds", "sets"])
def test_a_metric_of_probabilities_is_answered_by_the_likeliest(project, answers, tmp_path, comp):
    """Check that under log loss the answer is the likeliest class, or the labels from 0.5 on, and
    that a broken picture's is made of the frequencies of the classes in the same way."""
    path = project.competition(comp)
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "metric": "log_loss"}))
    folder = test_pictures_of(project, comp, tmp_path / "copies", "")
    (folder / "zz.png").write_bytes(b"x")
    got = answers(project, comp, "a", folder)
    data, decided = decided_of(project, comp, "a")
    probs = np.vstack([decided.test_probs(data, load_shared(data)), prior_probs(data.labels, 3)])
    np.testing.assert_allclose(got.probs[:-1], probs[:-1], atol=1e-5)
    rows = probs >= 0.5 if comp == "sets" else np.eye(3, dtype=bool)[probs.argmax(1)]
    assert got.column("answer") == ["+".join(np.array(data.classes)[row]) for row in rows]
    assert decided.rule.kind == "identity"


def test_without_a_source_the_newest_ensemble_answers(project, new_pictures):
    """Check the default source, and that its answers lie with it under the folder's name and a hash
    of its whole path."""
    path = project.run("sets", "ensemble-rank") / "ensemble.json"
    older = json.loads(path.read_text()) | {"created": "2020-01-01T00:00:00+00:00"}
    shutil.copytree(path.parent, project.run("sets", "ensemble-older"))
    write_json(project.run("sets", "ensemble-older") / path.name, older)
    made = predict(project, "sets", "", new_pictures, say=str)
    assert made.source == "ensemble-rank"
    digest = hashlib.sha256(f'"{new_pictures}"'.encode()).hexdigest()[:6]  # of the path in JSON
    file = f"new-{digest}.csv"
    assert made.path == path.parent / "predictions" / file and made.path.exists()
    assert made.shown == f"experiments/runs/sets/ensemble-rank/predictions/{file}"


def test_every_folder_has_a_table_of_its_own(project, new_pictures, tmp_path):
    """Check that folders of one name, or of a name that is none for a file, do not replace each
    other's tables, while the same folder, however it is written, replaces its own."""
    folders = ["a/images", "b/images", "mes étés", ".hidden", "x" * 200, os.fsdecode(b"caf\xe9")]
    for folder in folders:
        shutil.copytree(new_pictures, tmp_path / folder)
    made = [predict(project, "kinds", "a", tmp_path / folder, say=str) for folder in folders]
    slugs = ["images", "images", "mes--t-s", "hidden", "x" * 80, "caf-"]
    for one, slug in zip(made, slugs, strict=True):
        assert re.fullmatch(re.escape(slug) + "-[0-9a-f]{6}", one.path.stem)
    assert len({one.path for one in made}) == len(folders)
    odd = [tmp_path / "a" / "images" / "deep" / "..", f"{tmp_path}/a/images/"]
    for folder in odd:
        assert predict(project, "kinds", "a", folder, say=str).path == made[0].path
    assert len(list(made[0].path.parent.iterdir())) == len(folders)


def huge_png() -> bytes:
    """Return a PNG of a few bytes that says it has 3.6 billion pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(b"0"), b"IEND": b""}
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture
def with_broken(new_pictures):
    """Add an empty, a truncated, a foreign and a huge file, and a picture that b's crop leaves
    nothing of."""
    (new_pictures / "huge.png").write_bytes(huge_png())
    (new_pictures / "empty.png").touch()
    whole = (new_pictures / "45.jpg").read_bytes()
    (new_pictures / "short.jpg").write_bytes(whole[: len(whole) // 2])
    (new_pictures / "text.png").write_text("not a picture")
    cv2.imwrite(str(new_pictures / "flat.png"), np.full((3, 20, 3), 90, np.uint8))
    return new_pictures


def test_broken_pictures_are_told_and_answered_by_the_constant(
    trained, answers, with_broken, capfd
):
    """Check notes, answers, confidence and counts of pictures of which nothing can be seen, and
    that the others' answers are what they are without them."""
    got = answers(trained, "kinds", "ensemble-rank", with_broken)
    rows = got.table.set_index("image")
    notes = rows["note"][rows["note"] != ""].to_dict()
    assert notes.pop("flat.png") == "crop 'sides' leaves nothing of 20 x 3 pixels"
    assert notes.pop("text.png").startswith(("not an image", "broken"))
    told = {"empty.png": "an empty file", "short.jpg": "truncated"}
    assert notes == {**told, "huge.png": "too large to be decoded"}
    assert capfd.readouterr() == ("", ""), "the decoders print nothing of their own"
    _, decided = decided_of(trained, "kinds", "ensemble-rank")
    constant = ["cat", "dog", "eel"][decided.constant]
    broken = rows["note"] != ""
    assert set(rows["answer"][broken]) == {constant} and set(rows["confidence"][broken]) == {"0"}
    assert np.isnan(got.probs[broken.to_numpy()]).all()
    assert (got.made.images, got.made.broken, got.made.dont_know) == (11, 5, 0)
    assert sum(got.made.counts.values()) == 11
    for name in notes.keys() | {"flat.png", "text.png"}:
        (with_broken / name).unlink()
    alone = answers(trained, "kinds", "ensemble-rank", with_broken).table.set_index("image")
    assert rows[~broken].equals(alone)


def test_broken_pictures_are_not_known_where_confidence_is_asked_for(trained, answers, with_broken):
    """Check that any confidence above 0 leaves them without an answer, and 0 does not."""
    for level, count in ((0.0, 0), (1e-9, 5)):
        got = answers(trained, "kinds", "ensemble-mean", with_broken, confidence=level)
        assert got.made.dont_know == got.column("answer").count(DONT_KNOW) == count
        assert got.made.broken == 5


@pytest.mark.parametrize("source", ["a", "b"])
def test_nothing_but_broken_pictures_is_refused(trained, tmp_path, snapshot, source):
    """Check the refusal of files that are no pictures and of pictures that the crop takes whole."""
    folder = tmp_path / "new"
    folder.mkdir()
    if source == "b":
        cv2.imwrite(str(folder / "flat.png"), np.zeros((3, 20, 3), np.uint8))
    else:
        (folder / "empty.png").touch()
    reason = {"a": "an empty file", "b": "leaves nothing"}[source]
    before = snapshot(trained.root)
    with pytest.raises(PodiumError, match=f"{reason}.*none of 1 pictures"):
        predict(trained, "kinds", source, folder, say=str)
    assert snapshot(trained.root) == before


@pytest.mark.parametrize("comp", ["kinds", "sets"])
def test_below_the_confidence_there_is_no_answer(trained, answers, tmp_path, comp):
    """Check that exactly the pictures below the level say don't know, the one at it does not, and
    that the level 1 leaves next to nothing."""
    folder = test_pictures_of(trained, comp, tmp_path / "copies", "")
    data, decided = decided_of(trained, comp, "a")
    probs = decided.test_probs(data, load_shared(data))
    sure = confidence(probs, decided.test_answer(data, load_shared(data)), data.competition.task)
    middle = float(np.sort(sure)[7]) - 1e-6  # pictures are answered alike up to the sixth digit
    got = answers(trained, comp, "a", folder, confidence=middle)
    said = np.array(got.column("answer"))
    np.testing.assert_array_equal(said == DONT_KNOW, sure < middle)
    assert got.made.dont_know == 7 and (got.made.confidence, got.made.images) == (middle, 15)
    none = answers(trained, comp, "a", folder, confidence=1.0)
    assert none.made.dont_know == 15 and sum(none.made.counts.values()) == 0
    rule, task = (decided.rule, decided.constant), data.competition.task
    for level, count in ((float(sure.min()), 0), (np.nextafter(sure.min(), 2), 1)):
        exact = decide_answers(*rule, task, probs, {}, level)
        assert (~exact.given).sum() == count


def test_the_same_command_writes_the_same_bytes_and_nothing_else(
    project, new_pictures, snapshot, monkeypatch
):
    """Check idempotence, that the table is all that is written, and that it replaces an old one."""
    decided_of(project, "kinds", "a")  # the rule of a run is fitted once, as for a submission
    before = snapshot(project.root)
    made = predict(project, "kinds", "a", new_pictures, say=str)
    table = made.path.read_bytes()
    after = snapshot(project.root)
    assert after.keys() - before.keys() == {made.shown}
    assert all(after[name] == content for name, content in before.items())
    made.path.write_text("old")
    monkeypatch.setattr(module, "PART_BYTES", 1)
    predict(project, "kinds", "a", new_pictures, say=str)
    assert made.path.read_bytes() == table and snapshot(project.root) == after
    assert b"\r" not in table and table.decode("utf-8").count("\n") == 7


@pytest.mark.parametrize("raised", [KeyboardInterrupt, RuntimeError])
def test_a_failure_leaves_nothing(trained, new_pictures, snapshot, monkeypatch, raised):
    """Check that what is interrupted in the middle has written no file."""

    def fail(*_):
        raise raised

    decided_of(trained, "kinds", "b")
    before = snapshot(trained.root)
    monkeypatch.setattr(RunNetworks, "probs", fail)
    with pytest.raises(raised):
        predict(trained, "kinds", "b", new_pictures, say=str)
    assert snapshot(trained.root) == before
    assert not (trained.run("kinds", "b") / "predictions").exists()


def test_parts_of_any_size_give_the_same(trained, answers, tmp_path, monkeypatch):
    """Check that pictures in parts are answered as at once, each decoded once per way of looking:
    a, a1 and the refit look alike, b does not."""
    folder = test_pictures_of(trained, "kinds", tmp_path / "copies", "")
    for number in range(45, 60):
        path = next(folder.glob(f"{number}.*"))
        shutil.copy(path, folder / f"again {path.name}")
    from pipeline.images import cache

    decoded, canonical = [], cache.canonical

    def counted(path, *rest):
        decoded.append(path)
        return canonical(path, *rest)

    monkeypatch.setattr(cache, "canonical", counted)
    whole = answers(trained, "kinds", "ensemble-seeds", folder)
    monkeypatch.setattr(module, "PART_BYTES", 1)
    parts = answers(trained, "kinds", "ensemble-seeds", folder)
    np.testing.assert_allclose(parts.probs, whole.probs, atol=1e-5)
    assert parts.column("answer") == whole.column("answer")
    assert len(decoded) == 2 * 30 * 2 and all(decoded.count(path) == 4 for path in decoded)
