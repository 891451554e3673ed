"""Boards that are invented, without a competition on disk."""

from collections.abc import Callable

import pytest
from ledger_rows import noise_of

from pipeline.leaderboard.advice import advise
from pipeline.leaderboard.analysis import Size, analyse
from pipeline.leaderboard.board import Board
from pipeline.leaderboard.points import points_of
from pipeline.submission.medals import PublicBoard


@pytest.fixture
def board_of() -> Callable[..., Board]:
    """Return a function from rows of a ledger to a board with all but standings."""

    def make(entries, *, rho=0.5, known=True, up=True, teams=(), rows=(1000, 300)) -> Board:
        points = points_of(entries)
        noise = noise_of(points.found, rho)
        metric = "accuracy" if up else "log_loss"
        analysis = analyse(points.found, noise, Size(*rows, known, "the test"), metric)
        apart = advise(points.found, noise, analysis, 1 if up else -1, lambda a, b: 0.1)
        others = PublicBoard(tuple(sorted(teams, reverse=up)), up) if teams else None
        return Board("tiny", metric, up, (), {}, points, analysis, others, apart)

    return make
