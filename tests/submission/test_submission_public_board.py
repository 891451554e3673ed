"""Medal lines on the public part, by trying scores."""

import numpy as np
import pytest

from pipeline.submission.medals import PublicBoard, medal, public_board, rank_among

RANKED = ["gold", "silver", "bronze", ""]


@pytest.mark.parametrize("teams", [1, 4, 9, 10, 40, 99, 100, 250, 1200])
@pytest.mark.parametrize("up", [True, False])
def test_a_line_is_where_the_medal_begins(teams, up):
    """Check every line against the medal of a score on it and of the nearest one below."""
    rng = np.random.default_rng(teams)
    scores = np.round(rng.uniform(0, 1, teams), 2)  # with ties
    board = PublicBoard(tuple(sorted(scores.tolist(), reverse=up)), up)
    lines = board.lines()
    for name in RANKED[:3]:
        tried = np.append(np.unique(scores), [-1, 2])
        earning = [one for one in tried if _medal(one, scores, up) <= RANKED.index(name)]
        within = [one for one in earning if -1 < one < 2]
        if name in lines:
            assert lines[name] == (min(within) if up else max(within))
        else:
            assert not within or len(earning) == len(tried)
    assert board.teams == teams + 1
    assert all(board.rank(one) == rank_among(one, scores, up)[0] for one in scores)


def _medal(score: float, scores: np.ndarray, up: bool) -> int:
    return RANKED.index(medal(*rank_among(score, scores, up)))


def test_no_leaderboard_no_lines(contest_of):
    """Check that a competition that names none has none."""
    assert public_board(contest_of("name").data) is None
