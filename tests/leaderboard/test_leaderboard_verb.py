"""`make leaderboard` on a competition on disk: rows, noise, sizes, picture."""

import numpy as np
import pandas as pd
import pytest

from pipeline.ensemble.build import build_ensemble
from pipeline.ensemble.choice import Menu
from pipeline.errors import PodiumError
from pipeline.leaderboard.analysis import public_size
from pipeline.leaderboard.leaderboard import leaderboard
from pipeline.leaderboard.report import report_parts
from pipeline.metrics import paired_difference
from pipeline.submission import Ledger, grade_all, rows
from pipeline.submission.standings import submit


@pytest.fixture
def submitted(make_tiny):
    """The tiny competition with four runs and an ensemble, all submitted and graded."""
    tiny = make_tiny()
    for number, name in enumerate("abcd"):
        tiny.fake_run(name, skill=1.0 + number / 2)
    build_ensemble(tiny.data, tiny.folds(), None, menu=Menu(("mean",)))
    for name in ("a", "b", "c", "d", "ensemble-all"):
        submit(tiny.data, tiny.folds(), name)
    grade_all(tiny.data)
    return tiny


def test_all_of_it(submitted):
    """Check that every submission is a point, the picture is drawn, and two files are picked."""
    board = leaderboard(submitted.data, submitted.folds())
    assert {s.name for s in board.standings} >= {"a", "b", "c", "d", "ensemble-all"}
    files = {entry.sha256 for entry in rows(submitted.project, "tiny")}
    assert len(board.points.found) == len(files) == len(board.analysis.points)
    assert board.analysis.paired == len(files)
    assert board.analysis.size.public == 6 and board.analysis.size.cv == 42
    assert board.picture.name == "leaderboard.png" and board.picture.stat().st_size > 10_000
    assert board.shown == "experiments/runs/tiny/leaderboard.png"
    assert len({pick.point.entry.sha256 for pick in board.picks}) == 2
    assert board.picks[0].point.cv == max(point.cv for point in board.points.found)
    assert report_parts(board)[-1] == f"picture: {board.shown}"


def test_the_noise_is_that_of_the_paired_bootstrap(submitted):
    """Check the error of a difference of two honest scores against the metrics' own bootstrap."""
    from pipeline.leaderboard.noise import measure_noise
    from pipeline.leaderboard.points import points_of

    data, folds = submitted.data, submitted.folds()
    points = points_of(rows(submitted.project, "tiny")).found
    names = {point.entry.sha256: point.entry.source for point in points}
    noise = measure_noise(data, folds, points, names)
    answers = {}
    for point in points[:2]:
        with np.load(submitted.run(point.entry.source) / "answers.npz") as stored:
            place = {name: at for at, name in enumerate(stored["ids"].tolist())}
            answers[point] = stored["answer"][[place[one] for one in data.train.ids.tolist()]]
    _, se = paired_difference(data.metric, data.labels, *answers.values())
    assert noise.paired_se(*points[:2]) == pytest.approx(se, rel=0.02)


def test_answers_that_are_not_there_are_not_known(submitted):
    """Check that a run made anew, and a refit with the answers of its run, have no correlation."""
    submitted.fake_run("a", skill=0.1)
    folds = submitted.folds()
    board = leaderboard(submitted.data, folds)
    known = board.analysis.paired
    assert known < len(board.analysis.points)
    for part in ("oof.npz", "run.json"):
        (submitted.run("d-refit") / part).parent.mkdir(exist_ok=True)
        (submitted.run("d-refit") / part).write_bytes((submitted.run("d") / part).read_bytes())
    submitted.fake_run("d-refit", probs={"oof": _oof(submitted, "d")})
    submit(submitted.data, folds, "d-refit")
    grade_all(submitted.data)
    again = leaderboard(submitted.data, folds)
    assert len(again.analysis.points) == len(board.analysis.points) + 1
    assert again.analysis.paired == known


def _oof(tiny, name: str) -> np.ndarray:
    with np.load(tiny.run(name) / "oof.npz") as stored:
        return stored["probs"]


@pytest.mark.parametrize(
    ("keys", "rows_public", "known"),
    [
        ({}, 6, True),  # of the answers
        ({"public_rows": 5}, 5, True),
        ({"public_share": 0.3}, 5, True),
        ({"tables": None}, 18, False),
    ],
)
def test_where_the_size_of_the_public_part_comes_from(make_tiny, keys, rows_public, known):
    """Check that the YAML goes before the answers, and all test rows stand for what is unknown."""
    tiny = make_tiny()
    tiny.configure(**keys)
    size = public_size(tiny.data, 42)
    assert (size.public, size.known) == (rows_public, known)


def test_more_public_rows_than_there_are(make_tiny):
    """Check that a count beyond the test set is refused with the key."""
    tiny = make_tiny()
    tiny.configure(public_rows=19)
    with pytest.raises(PodiumError, match="public_rows is 19, but there are 18 test rows"):
        public_size(tiny.data, 42)


def test_honest_scores_by_other_labels_are_told_apart(make_tiny):
    """Check that runs on the table's labels keep their correlation when corrections come, and that
    it is said whose score is by them, with corrections and after these are taken back."""
    tiny = make_tiny(rows=120)
    folds = tiny.folds()
    for number, name in enumerate(("old", "older"), 1):
        tiny.fake_run(name, skill=number)
        submit(tiny.data, folds, name)
    before = leaderboard(tiny.data, folds)
    assert before.other_labels == () and "other labels" not in said(before)
    lines = [f"{tiny.data.train.ids[at]},{_next(tiny.data, at)}\n" for at in (2, 11, 40)]
    (tiny.root / "data" / "tiny" / "fix.csv").write_text("id,corrected\n" + "".join(lines))
    tiny.configure(corrections="fix.csv")
    tiny.fake_run("new", skill=2.5)
    submit(tiny.data, tiny.folds(), "new")
    grade_all(tiny.data)
    board = leaderboard(tiny.data, tiny.folds())
    assert board.other_labels == (1, 2) and board.analysis.paired == 3
    assert "the honest scores of 001, 002 are by other labels than the present ones" in said(board)
    assert all("by other labels than those of" in pick.reason for pick in board.picks)
    tiny.configure(corrections=None)
    assert leaderboard(tiny.data, tiny.folds()).other_labels == (3,)
    tiny.fake_run("old", skill=0.2)  # anew, on the same labels, so that of 001 nothing is known
    tiny.configure(corrections="fix.csv")
    assert leaderboard(tiny.data, tiny.folds()).other_labels == (2,)


def _next(data, at: int) -> str:
    return data.classes[(data.labels[at] + 1) % len(data.classes)]


def said(board) -> str:
    return "\n".join(part for part in report_parts(board) if isinstance(part, str))


def test_a_score_that_cannot_be_is_refused(submitted):
    """Check that a percentage in the ledger is no point."""
    ledger = Ledger.load(submitted.project.ledger("tiny"))
    ledger.update(2, public="99.38").save()
    with pytest.raises(PodiumError, match=r"ledger.csv: number 2, public is 99.38.* give 0.9938"):
        leaderboard(submitted.data, submitted.folds())


def test_a_picture_of_scores_that_are_gone_is_deleted(submitted):
    """Check that no picture stays that the words below the table contradict."""
    picture = leaderboard(submitted.data, submitted.folds()).picture
    ledger = Ledger.load(submitted.project.ledger("tiny"))
    for row in ledger.rows:
        ledger = ledger.update(row.number, public="")
    ledger.save()
    assert leaderboard(submitted.data, submitted.folds()).picture is None and not picture.exists()


def test_a_file_that_is_gone_does_not_stop_it(submitted):
    """Check that submissions that were deleted leave the advice to the scores."""
    for path in submitted.project.submissions("tiny").glob("0*.csv"):
        path.unlink()
    board = leaderboard(submitted.data, submitted.folds())
    assert len(board.picks) == 2 and "answers differ" not in board.picks[1].reason


def test_before_the_first_score(make_tiny):
    """Check that runs are shown without a picture, whether or not one was submitted."""
    tiny = make_tiny()
    tiny.fake_run("a")
    board = leaderboard(tiny.data, tiny.folds())
    assert board.analysis is None and board.picture is None and len(board.standings) == 2
    submit(tiny.data, tiny.folds(), "a")
    board = leaderboard(tiny.data, tiny.folds())
    assert board.analysis is None and len(board.picks) == 1
    assert not (tiny.project.runs("tiny") / "leaderboard.png").exists()


def test_the_teams_of_a_leaderboard(submitted):
    """Check that ranks and lines are among the teams of tables.leaderboard."""
    table = pd.DataFrame({"team": list("uvwxyz"), "public": 0.1, "private": 0.1})
    table.to_csv(submitted.root / "data" / "tiny" / "leaderboard.csv", index=False)
    submitted.configure(tables={"answers": "answers.csv", "leaderboard": "leaderboard.csv"})
    board = leaderboard(submitted.data, submitted.folds())
    assert board.teams.teams == 7 and board.teams.lines() == {"silver": 0.1, "bronze": 0.1}
    headers, lines = report_parts(board)[0]
    assert headers[-1] == "public rank" and lines[0][-1] == "1/7"
