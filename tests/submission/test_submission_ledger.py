"""The ledger: strict reading, preserved text, scores by hand, two writers at once."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.submission import Entry, Ledger, rows, set_score, write_submission
from pipeline.submission.ledger import COLUMNS

HEADER = ",".join(COLUMNS)
ROW = "{number},2026-01-01T00:00:00+00:00,submissions/tiny/001-a.csv,ff,a,0.80,,,,,,"


def entry(number: int, source: str = "a", **more: str) -> Entry:
    return Entry(number, "2026-01-01T00:00:00+00:00", f"{source}.csv", "ff", source, **more)


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


def saved(project: Project, *entries: Entry) -> Path:
    Ledger(project.ledger("tiny"), entries).save()
    return project.ledger("tiny")


def test_columns_are_the_contract():
    """Check that the columns are those that the documents promise."""
    assert HEADER == (
        "number,time,file,sha256,source,cv_in_sample,cv_honest,cv_se,public,private,note,parent"
    )


def test_no_ledger_is_an_empty_one(project):
    """Check that nothing is needed before the first submission."""
    assert rows(project, "tiny") == ()


def test_text_is_preserved(project):
    """Check that an update changes its own cell and no other character of the file."""
    path = project.ledger("tiny")
    path.parent.mkdir(parents=True)
    text = "\n".join([HEADER, ROW.format(number=1), ROW.format(number=12), ""])
    path.write_text(text)
    ledger = Ledger.load(path)
    ledger.save()
    assert path.read_text() == text
    ledger.update(12, public="0.5").save()
    changed = ROW.format(number=12).replace("0.80,,,,", "0.80,,,0.5,")
    assert path.read_text() == text.replace(ROW.format(number=12), changed)


@settings(max_examples=50, deadline=None)
@given(note=st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"])))
def test_any_note_survives(tmp_path_factory, note):
    """Check that commas, quotes, line breaks and every other character come back."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.csv"
    ledger = Ledger(path, (entry(1, note=note), entry(2)))
    ledger.save()
    assert Ledger.load(path) == ledger


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its columns must be number,"),
        ("number,time\n", "not number,time"),
        (HEADER.replace("public", "lb") + "\n", "its columns must be"),
        (f"{HEADER}\n1,2,3\n", "row 2 has 3 fields, not 12"),
        (f"{HEADER}\n{ROW.format(number=1)}\n{ROW.format(number=1)}\n", "number 1 stands twice"),
        (f"{HEADER}\n{ROW.format(number='x')}\n", "row 2, column 'number' is 'x'"),
        (f"{HEADER}\n{ROW.format(number='0')}\n", "column 'number' is '0'"),
        (f"{HEADER}\n<<<<<<< HEAD\n", "row 2 has 1 fields"),
        (f"{HEADER}\n{ROW.format(number=1)}x\n", "column 'parent' is 'x'"),
        (f"{HEADER}\n{ROW.format(number=1).replace('0.80', 'nan')}\n", "'nan', not a finite"),
        (f"{HEADER}\n{ROW.format(number=1).replace(',a,', ',,')}\n", "'source' is blank"),
        (f'{HEADER}\n1,"2\n', "not a readable CSV table"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_broken_ledger_is_refused(project, text, message):
    """Check that a broken file is named with its rule and a remedy, and is left as it is."""
    path = project.ledger("tiny")
    path.parent.mkdir(parents=True)
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(content)
    with pytest.raises(PodiumError, match=message) as raised:
        set_score(project, "tiny", public=0.5)
    assert str(path) in str(raised.value)
    assert path.read_bytes() == content


def test_score_by_hand(project):
    """Check that a score goes to the newest row, a number, or the newest row of a source."""
    saved(project, entry(1), entry(3, "b", note="first try"), entry(2))
    assert set_score(project, "tiny", public=0.1 + 0.2).number == 2
    assert set_score(project, "tiny", 1, public=0.7405).public == "0.7405"
    assert set_score(project, "tiny", "003", public=1).number == 3
    assert set_score(project, "tiny", "b", public=-2.5).note == "first try; by hand"
    assert set_score(project, "tiny", "a", public=0.25).number == 2
    found = {row.number: (row.value("public"), row.note) for row in rows(project, "tiny")}
    assert found == {1: (0.7405, "by hand"), 3: (-2.5, "first try; by hand"), 2: (0.25, "by hand")}


@pytest.mark.parametrize("score", [float("nan"), float("inf"), "abc", None])
def test_score_must_be_finite(project, score):
    """Check that what is no number is refused, whatever the metric."""
    saved(project, entry(1))
    with pytest.raises(PodiumError, match=r"SCORE is .* not a finite number"):
        set_score(project, "tiny", public=score)


def test_score_of_unknown_submission(project):
    """Check that an unknown source names the known ones, and an empty ledger the next step."""
    with pytest.raises(PodiumError, match="make submit COMP=tiny"):
        set_score(project, "tiny", public=0.5)
    saved(project, entry(1, "resnet18-baseline"))
    with pytest.raises(PodiumError, match="did you mean resnet18-baseline"):
        set_score(project, "tiny", "resnet18-baselin", public=0.5)
    with pytest.raises(PodiumError, match="there are: resnet18-baseline"):
        set_score(project, "tiny", 7, public=0.5)


def submit_ten(root: str, name: str) -> None:
    """Submit ten times, as one of two processes; each submission has a source of its own."""
    data = load_data(Project(Path(root)), "tiny")
    answer = np.zeros(len(data.test), dtype=np.int64)
    for i in range(10):
        write_submission(data, data.test.ids, answer, None, source=f"{name}{i}", cv={}, note="")


def test_two_writers_lose_nothing(contest_of):
    """Check that two processes at once make twenty rows with numbers and files of their own."""
    contest = contest_of("name")
    project = contest.data.project
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=submit_ten, args=(str(project.root), name)) for name in ("x", "y")
    ]
    for process in writers:
        process.start()
    for process in writers:
        process.join(60)
    assert [process.exitcode for process in writers] == [0, 0]
    found = rows(project, "tiny")
    assert sorted(row.source for row in found) == sorted(f"{n}{i}" for n in "xy" for i in range(10))
    assert [row.number for row in found] == list(range(1, 21))
    assert [row.parent for row in found] == ["", *map(str, range(1, 20))]
    assert all((project.root / row.file).exists() for row in found)


def test_a_score_that_takes_the_place_of_another_is_said(tmp_path):
    """Check that both numbers are told, and that the first one, and the same again, say nothing."""
    project, said = Project(tmp_path), []
    Ledger(project.ledger("tiny"), (Entry(1, "t", "1.csv", "s", "a"),)).save()
    for score in (0.9938, 0.9938, 0.0):
        set_score(project, "tiny", public=score, metric="accuracy", say=said.append)
    assert said == ["warning: public of number 1 was 0.9938, and is 0.0 now"]


def test_a_standard_error_below_0_is_refused(tmp_path):
    """Check that it is named by row and column."""
    path = tmp_path / "ledger.csv"
    Ledger(path, (Entry(1, "t", "1.csv", "s", "a", cv_se="-0.0027"),)).save()
    with pytest.raises(
        PodiumError, match=r"row 2, column 'cv_se' is -0\.0027, but a standard error"
    ):
        Ledger.load(path)
