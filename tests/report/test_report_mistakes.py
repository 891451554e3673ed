"""MISTAKES=1: folders of links to the wrongly answered pictures."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.project import Project
from pipeline.report import report, report_parts
from pipeline.report.mistakes import LONGEST, safe_name, safe_names


def nothing(_: str) -> None:
    """Say nothing."""


def linked(folder: Path) -> dict[str, Path]:
    """Return every link below a folder and what it leads to."""
    found = [path for path in folder.rglob("*") if not path.is_dir()]
    return {str(path.relative_to(folder)): path.resolve() for path in sorted(found)}


def made(tiny, **options):
    return report(tiny.project, "tiny", options.pop("source", ""), mistakes=True, say=nothing)


def answers_of(tiny, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and honest answers of a run, from its own file."""
    with np.load(tiny.run(name) / "answers.npz") as stored:
        return stored["ids"], stored["answer"]


def test_each_wrong_row_has_a_link_to_its_picture(tiny):
    """Check folders against the answers and labels, that links lead to the pictures and are links,
    and that right rows have none."""
    tiny.fake_run("a", skill=0.5)
    done = made(tiny)
    ids, answer = answers_of(tiny, "a")
    data = tiny.data
    labels = dict(zip(data.train.ids.tolist(), data.labels.tolist(), strict=True))
    wanted = {
        f"{data.classes[labels[i]]}/{data.classes[a]}/{i}.png": (
            data.train.images[data.train.ids.tolist().index(i)].resolve()
        )
        for i, a in zip(ids.tolist(), answer.tolist(), strict=True)
        if labels[i] != a
    }
    folder = tiny.run("a") / "mistakes"
    assert wanted and linked(folder) == wanted
    assert all((folder / name).is_symlink() for name in wanted)
    assert done.mistakes.rows == len(wanted) and done.mistakes.links == "symbolic"
    assert any(f"{len(wanted)} pictures by symbolic links" in part for part in report_parts(done))


def test_of_several_labels_missing_and_superfluous_are_apart(make_tiny):
    """Check the two kinds of folders against the answers."""
    tiny = make_tiny(task="multilabel", images=False)
    folder = tiny.root / "data" / "tiny" / "images"
    folder.mkdir()
    for name in tiny.data.train.ids:
        (folder / f"{name}.png").write_bytes(b"any file will do")
    tiny.fake_run("a", skill=0.3)
    made(tiny)
    ids, answer = answers_of(tiny, "a")
    data, wanted = tiny.data, set()
    for name, given_ in zip(ids.tolist(), answer, strict=True):
        label = data.labels[data.train.ids.tolist().index(name)]
        for kind, here in (("MISSING", label > given_), ("SUPERFLUOUS", label < given_)):
            wanted |= {f"{kind}/{data.classes[i]}/{name}.png" for i in np.flatnonzero(here)}
    assert wanted and set(linked(tiny.run("a") / "mistakes")) == wanted


def test_the_folder_is_made_anew_and_pictures_stay(tiny):
    """Check that what was there before is gone, that nothing is left beside it, and that deleting
    links deletes no picture."""
    tiny.fake_run("a", skill=0.5)
    made(tiny)
    folder = tiny.run("a") / "mistakes"
    first = linked(folder)
    (folder / "stale").mkdir()
    (tiny.run("a") / ".mistakes.tmp").mkdir()
    made(tiny)
    assert linked(folder) == first and not (folder / "stale").exists()
    assert not list(tiny.run("a").glob(".mistakes*"))
    assert all(path.is_file() for path in tiny.data.train.images)


def test_links_still_lead_there_when_the_project_moves(tiny, tmp_path):
    """Check that links are relative."""
    tiny.fake_run("a", skill=0.5)
    made(tiny)
    before = len(linked(tiny.run("a") / "mistakes"))
    moved = tiny.root.rename(tmp_path / "moved elsewhere")
    links = linked(Project(moved).run("tiny", "a") / "mistakes")
    assert len(links) == before and all(path.is_file() for path in links.values())


def test_without_symbolic_links_hard_ones_are_made(tiny, monkeypatch):
    """Check a file system that has hard links alone, and one that has none: no copy, and a word."""

    def refuse(*_, **__):
        raise OSError(95, "Operation not supported")

    tiny.fake_run("a", skill=0.5)
    monkeypatch.setattr(os, "symlink", refuse)
    done = made(tiny)
    folder = tiny.run("a") / "mistakes"
    paths = [folder / name for name in linked(folder)]
    assert done.mistakes.links == "hard" and paths
    assert all(path.stat().st_nlink > 1 and not path.is_symlink() for path in paths)
    monkeypatch.setattr(os, "link", refuse)
    done = made(tiny)
    assert "neither symbolic nor hard links" in done.mistakes.reason
    assert any("no folder of mistakes" in part for part in report_parts(done))
    assert len(linked(folder)) == len(paths)  # that of before is not lost


def test_class_names_that_no_file_system_takes(tiny):
    """Check names with separators, dots, 300 letters, and two that become the same: every wrong row
    has its link, within the folder."""
    names = {"cat": "../..", "dog": "a/b" + "x" * 300, "owl": "a:b" + "x" * 300}
    for table in ("train", "answers", "sample_submission"):
        tiny.edit(table, lambda frame: frame.assign(label=frame["label"].map(names)))
    tiny.fake_run("a", skill=0.2)
    done = made(tiny)
    folder = tiny.run("a") / "mistakes"
    assert done.mistakes.rows == len(linked(folder)) > 0
    parts = {part for name in linked(folder) for part in Path(name).parts[:2]}
    assert len(parts) == 3 and all(len(part.encode()) <= LONGEST + 9 for part in parts)


@given(st.lists(st.text(max_size=120), unique=True, max_size=8))
def test_safe_names_are_safe_and_different(names):
    """Check any text: no separator, no way up, not too long, no two alike in any case."""
    found = safe_names(names)
    assert len({name.casefold() for name in found}) == len(names)
    for name in found:
        assert name not in ("", ".", "..") and not set(name) & set('/\\:*?"<>|\0')
        assert not name.startswith(".") and not name.endswith((".", " "))
        assert len(name.encode("utf-8")) <= LONGEST + 40


@pytest.mark.parametrize("name", ["cat", "t-shirt", "\u732b", "caf\u00e9 au lait"])
def test_usual_names_stay_as_they_are(name):
    """Check that a name which is safe is not touched."""
    assert safe_name(name) == name and safe_names([name, "x"]) == [name, "x"]
