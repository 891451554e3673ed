"""Numbers, the ledger's rows, and what a process killed half-way leaves to the next."""

import hashlib

import pandas as pd
import pytest

from pipeline.errors import PodiumError
from pipeline.submission import Ledger, rows, write_submission
from pipeline.submission import writer as writer_module


def write(contest, source="run"):
    return write_submission(contest.data, contest.ids, contest.answer, None, source=source)


def test_ledger_row_says_what_was_written(contest_of):
    """Check every column of the ledger row of a first and a second submission."""
    contest = contest_of("name")
    cv = {"cv_in_sample": 0.8, "cv_honest": 0.1 + 0.2, "cv_se": None}
    args = (contest.data, contest.ids, contest.answer, None)
    first = write_submission(*args, source="run-a", cv=cv, note="a, \n b")
    second = write_submission(*args, source="run-b", cv={}, note="")
    one, two = rows(contest.data.project, "tiny")
    assert one.file == "submissions/tiny/001-run-a.csv"
    assert contest.data.project.root / one.file == first.path
    assert one.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest() == two.sha256
    assert (one.cv_in_sample, one.value("cv_honest"), one.cv_se) == ("0.8", 0.1 + 0.2, "")
    assert (one.note, one.parent, two.parent, two.cv_honest) == ("a, b", "", "1", "")
    assert (one.public, one.private, second.number, two.source) == ("", "", 2, "run-b")
    assert pd.Timestamp(one.time).tzinfo is not None


def test_number_is_beyond_every_row_and_file(contest_of):
    """Check that a file nobody entered keeps its number, and other files do not count."""
    contest = contest_of("name")
    folder = contest.data.project.submissions("tiny")
    folder.mkdir(parents=True)
    (folder / "041-other.csv").write_text("id,label\n")
    (folder / "99-notes.csv").write_text("")
    assert write(contest).path.name == "042-run.csv"


def test_removed_file_is_restored_and_changed_one_refused(contest_of):
    """Check that a second run heals a missing file, and does not hide a changed one."""
    contest = contest_of("name")
    first = write(contest)
    content = first.path.read_bytes()
    first.path.unlink()
    assert not write(contest).made
    assert first.path.read_bytes() == content
    first.path.write_bytes(content + b"x,dog\n")
    with pytest.raises(PodiumError, match="was changed after it was entered"):
        write(contest)


class Killed(BaseException):
    """What a dying process looks like from inside."""


def test_killed_between_file_and_ledger(contest_of, monkeypatch):
    """Check that the rerun adopts the file, even after another submission, and loses no row."""
    contest = contest_of("name")
    write(contest, "before")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "save", lambda self: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            write(contest, "killed")
    folder = contest.data.project.submissions("tiny")
    assert (folder / "002-killed.csv").exists()
    assert [row.source for row in rows(contest.data.project, "tiny")] == ["before"]
    assert write(contest, "after").number == 3
    adopted = write(contest, "killed")
    assert (adopted.number, adopted.made) == (2, True)
    assert [row.number for row in rows(contest.data.project, "tiny")] == [1, 3, 2]
    assert len(list(folder.glob("*.csv"))) == 4  # three submissions and the ledger
    assert not write(contest, "killed").made


def test_killed_while_writing_the_file(contest_of, monkeypatch):
    """Check that nothing of a submission that was never whole is left or counted."""
    contest = contest_of("name")
    with monkeypatch.context() as patch:
        patch.setattr(writer_module, "write_text", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            write(contest)
    assert write(contest).number == 1


def test_orphan_of_number_zero_is_not_adopted(contest_of):
    """Check that a stray 000 does not bring a number into the ledger that it refuses to read."""
    contest = contest_of("name")
    first = write(contest, "other").path
    first.with_name("000-run.csv").write_bytes(first.read_bytes())
    assert write(contest).number == 2
    assert len(rows(contest.data.project, "tiny")) == 2


def test_orphan_with_other_content_is_not_adopted(contest_of):
    """Check that a left file of the same name but other answers keeps its number to itself."""
    contest = contest_of("name")
    folder = contest.data.project.submissions("tiny")
    folder.mkdir(parents=True)
    (folder / "001-run.csv").write_text("id,label\n007,dog\n")
    assert write(contest).number == 2


def test_file_of_a_number_that_is_taken_is_not_adopted(contest_of):
    """Check that a stray file cannot give two rows of the ledger one number."""
    contest = contest_of("name")
    first = write(contest, "other").path
    first.with_name("001-run.csv").write_bytes(first.read_bytes())
    assert write(contest).number == 2
    assert [row.number for row in rows(contest.data.project, "tiny")] == [1, 2]


def test_unsafe_source_and_odd_cv_are_refused(contest_of):
    """Check that a source cannot leave the folder, and that a NaN score is a bug."""
    contest = contest_of("name")
    with pytest.raises(PodiumError, match="not a usable name"):
        write(contest, "../x")
    for cv in ({"cv_se": float("nan")}, {"cv": 0.5}):
        with pytest.raises(ValueError, match="finite numbers or None"):
            write_submission(contest.data, contest.ids, contest.answer, None, source="run", cv=cv)
