"""Medals and ranks against Kaggle's published table and a count by hand."""

import numpy as np
import pytest

from pipeline.errors import PodiumError
from pipeline.submission import Entry, medal, medal_table, rank_among


@pytest.mark.parametrize(
    ("teams", "gold", "silver", "bronze"),
    [
        (1, 0, 0, 0),
        (9, 0, 1, 3),  # the example of kaggle.com/progression: 9 teams, no gold
        (10, 1, 2, 4),
        (99, 9, 19, 39),
        (100, 10, 20, 40),
        (249, 10, 49, 99),
        (250, 10, 50, 100),
        (500, 11, 50, 100),  # its example: 500 teams, 11 gold medals
        (999, 11, 50, 100),
        (1000, 12, 50, 100),
        (1999, 13, 99, 199),
        (5000, 20, 250, 500),  # its example: 5000 teams, 20 gold medals
    ],
)
def test_medal_thresholds(teams, gold, silver, bronze):
    """Check that each medal goes to exactly the published number of ranks."""
    medals = [medal(rank, teams) for rank in range(1, teams + 1)]
    counts = [medals.count(name) for name in ("gold", "silver", "bronze")]
    assert np.cumsum(counts).tolist() == [gold, silver, bronze]
    order = ["gold", "silver", "bronze", ""]
    assert medals == sorted(medals, key=order.index)


@pytest.mark.parametrize(("rank", "teams"), [(0, 10), (11, 10)])
def test_impossible_rank(rank, teams):
    """Check that a rank beyond the teams is a bug."""
    with pytest.raises(ValueError, match="rank"):
        medal(rank, teams)


def test_rank_among():
    """Check both directions, and that ties share the better rank."""
    assert rank_among(0.8, [0.9, 0.8, 0.8, 0.1]) == (2, 5)
    assert rank_among(0.8, [0.9, 0.8, 0.8, 0.1], greater_is_better=False) == (2, 5)
    assert rank_among(0.05, [0.9, 0.1], greater_is_better=False) == (1, 3)
    assert rank_among(0.5, []) == (1, 1)
    with pytest.raises(ValueError, match="finite"):
        rank_among(float("nan"), [0.5])


def entry(number: int, public: str, private: str) -> Entry:
    return Entry(number, "t", "f", "h", f"run{number}", public=public, private=private)


def leaderboard(contest, text: str) -> None:
    (contest.folder / "leaderboard.csv").write_text(text)
    contest.configure(tables={"answers": "answers.csv", "leaderboard": "leaderboard.csv"})


def test_medal_table(contest_of):
    """Check that graded rows are ranked by their private score, each among the teams alone."""
    contest = contest_of("name")
    teams = "".join(f"t{i},{i / 10},{max(i, 0.1) / 10}\n" for i in range(9))
    leaderboard(contest, "team,public,private\n" + teams)
    ours = [entry(1, "0.1", "0.85"), entry(2, "", "0.8"), entry(3, "0.9", ""), entry(4, "1", "0")]
    table = medal_table(contest.data, ours)
    found = [(r.number, r.source, r.public_rank, r.private_rank, r.teams, r.medal) for r in table]
    assert found == [
        (1, "run1", 8, 1, 10, "gold"),
        (2, "run2", None, 1, 10, "gold"),
        (4, "run4", 1, 10, 10, ""),
    ]


def test_medal_table_of_a_loss(contest_of):
    """Check that the smallest log loss is first."""
    contest = contest_of("probability")
    leaderboard(contest, "team,public,private\n" + "".join(f"t{i},0,{i}\n" for i in range(9)))
    assert medal_table(contest.data, [entry(1, "", "0.5")])[0].private_rank == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("team,private\na,1\n", "its columns are team,private"),
        ("team,public,private\na,1,x\n", "row 2, column 'private' is 'x', not a finite"),
        ("team,public,private\na,,1\n", "row 2, column 'public' is ''"),
        ("team,public,private\na,1,1\na,1,1\n", "row 3, column 'team': .* stands twice"),
        ("team,public,private\na,1\nb,1,2\n", "row 2 has 2 fields"),
        ("team,public,private\n", "has no rows"),
        ("team,public,private\na,1,99.1\n", "row 2, column 'private' is 99.1, but accuracy lies"),
    ],
)
def test_bad_leaderboard_is_refused(contest_of, text, message):
    """Check that a fault of the leaderboard is named by row and column."""
    contest = contest_of("name")
    leaderboard(contest, text)
    with pytest.raises(PodiumError, match=f"leaderboard.csv: {message}"):
        medal_table(contest.data, [])


@pytest.mark.parametrize(("public", "private"), [("99.38", "0.9"), ("0.9", "99.38")])
def test_our_own_scores_must_be_possible(contest_of, public, private):
    """Check that a percentage of the ledger is not ranked."""
    contest = contest_of("name")
    leaderboard(contest, "team,public,private\na,1,1\n")
    with pytest.raises(PodiumError, match=r"ledger.csv: number 7, p\w+ is 99.38, .* give 0.9938"):
        medal_table(contest.data, [entry(7, public, private)])


def test_no_leaderboard(contest_of):
    """Check that a competition without one says what to add."""
    with pytest.raises(PodiumError, match=r"names no tables\.leaderboard"):
        medal_table(contest_of("name").data, [])
