"""All that `make leaderboard` found."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.leaderboard.advice import Pick
from pipeline.leaderboard.analysis import Analysis
from pipeline.leaderboard.points import Points
from pipeline.submission.medals import PublicBoard
from pipeline.submission.standings import Standing


@dataclass(frozen=True, eq=False)
class Board:
    """Runs and ensembles, the majority answer last; our submissions; what they tell, None without
    a public score; the other teams, None where they are not known; the picks; the numbers of those
    whose honest score is by other labels than the present ones; the picture."""

    competition: str
    metric: str
    greater_is_better: bool
    standings: tuple[Standing, ...]
    left_out: dict[str, str]
    points: Points
    analysis: Analysis | None
    teams: PublicBoard | None
    picks: tuple[Pick, ...]
    other_labels: tuple[int, ...] = ()
    picture: Path | None = None
    shown: str = ""
