"""Ranks among the teams of a finished competition, and the medal each rank earns.

Kaggle's rules, https://www.kaggle.com/progression: how many medals there are depends on how many
teams took part, and percentages are rounded down (9 teams: no gold medal).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.competition.csv import checked_ids, read_csv
from pipeline.errors import PodiumError
from pipeline.submission.ledger import Entry, checked_score
from pipeline.submission.ranges import check_range

Medal = Literal["gold", "silver", "bronze", ""]
_COLUMNS = ["team", "public", "private"]


@dataclass(frozen=True)
class MedalRow:
    """A submission of ours among the teams; `public_rank` is None without a public score."""

    number: int
    source: str
    public_rank: int | None
    private_rank: int
    teams: int
    medal: Medal


def medal(rank: int, teams: int) -> Medal:
    """Return the medal of `rank` among `teams`, '' for none; whole-number arithmetic throughout."""
    if not 1 <= rank <= teams:
        raise ValueError(f"rank {rank} of {teams} teams")
    return next((name for name, end in _last_ranks(teams).items() if rank <= end), "")


def _last_ranks(teams: int) -> dict[Medal, int]:
    """Return the last rank that each medal goes to; 0 where nobody gets it."""
    if teams < 100:
        last = (teams * 10 // 100, teams * 20 // 100, teams * 40 // 100)
    elif teams < 250:
        last = (10, teams * 20 // 100, teams * 40 // 100)
    elif teams < 1000:
        last = (10 + teams * 2 // 1000, 50, 100)
    else:
        last = (10 + teams * 2 // 1000, teams * 5 // 100, teams * 10 // 100)
    names: tuple[Medal, ...] = ("gold", "silver", "bronze")
    return dict(zip(names, last, strict=True))


def rank_among(
    score: float, others: Iterable[float], greater_is_better: bool = True
) -> tuple[int, int]:
    """Return our rank and the number of teams, ourselves included; ties share the better rank."""
    scores = np.asarray(list(others), dtype=float)
    if not np.isfinite([score, *scores]).all():
        raise ValueError("scores to rank must be finite")
    better = scores > score if greater_is_better else scores < score
    return 1 + int(better.sum()), len(scores) + 1


@dataclass(frozen=True)
class PublicBoard:
    """The public scores of the other teams, best first."""

    scores: tuple[float, ...]
    greater_is_better: bool

    @property
    def teams(self) -> int:
        """How many teams there are, ourselves included."""
        return len(self.scores) + 1

    def rank(self, score: float) -> int:
        """Return our public rank with that score."""
        return rank_among(score, self.scores, self.greater_is_better)[0]

    def lines(self) -> dict[Medal, float]:
        """Return the worst public score that would bring each medal if the public part counted;
        no line where nobody gets the medal, or everybody does."""
        last = _last_ranks(self.teams)
        return {name: self.scores[end - 1] for name, end in last.items() if 1 <= end < self.teams}


def public_board(data: CompetitionData) -> PublicBoard | None:
    """Return the public leaderboard of the competition's YAML, None where it names none."""
    if data.competition.tables.leaderboard is None:
        return None
    up = data.metric.greater_is_better
    return PublicBoard(tuple(sorted(_leaderboard(data)[0], reverse=up)), up)


def medal_table(data: CompetitionData, rows: Iterable[Entry]) -> list[MedalRow]:
    """Rank each graded row of ours, as if it were our only one, among the leaderboard's teams."""
    public, private = _leaderboard(data)
    metric = data.metric
    up = metric.greater_is_better
    table = []
    for row in rows:
        ours = row.value("private")
        if ours is None:
            continue
        shown = row.value("public")
        rank, teams = rank_among(ours, private, up)
        for column, score in (("public", shown), ("private", ours)):
            if score is not None:
                where = f"{data.project.ledger(data.competition.name)}: number {row.number}"
                check_range(score, data.competition.metric, f"{where}, {column}")
        before = None if shown is None else rank_among(shown, public, up)[0]
        table.append(MedalRow(row.number, row.source, before, rank, teams, medal(rank, teams)))
    return table


def _leaderboard(data: CompetitionData) -> tuple[list[float], list[float]]:
    """Return the teams' public and private scores."""
    tables = data.competition.tables
    yaml = data.yaml
    if tables.leaderboard is None:
        raise PodiumError(
            f"{yaml}: names no tables.leaderboard to rank among; give it a CSV table with the "
            f"columns {','.join(_COLUMNS)}"
        )
    path = data.competition.folder(data.project) / tables.leaderboard
    frame = read_csv(path, [], yaml)
    columns = [str(name) for name in frame.columns]
    if sorted(columns) != sorted(_COLUMNS):
        raise PodiumError(
            f"{path}: its columns are {','.join(columns)}, but must be {','.join(_COLUMNS)}; "
            "mend the table"
        )
    checked_ids(frame, "team", path)
    public, private = (
        [
            _score(text, f"{path}: row {row}, column {column!r}", data.competition.metric)
            for row, text in enumerate(frame[column], start=2)
        ]
        for column in ("public", "private")
    )
    return public, private


def _score(text: str, where: str, metric: str) -> float:
    return check_range(checked_score(text, where), metric, where)
