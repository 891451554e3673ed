"""`make leaderboard`: where we stand, and whether cross-validation and leaderboard agree."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.competition import CompetitionData
from pipeline.ensemble.members import validated_rows
from pipeline.folds import Folds
from pipeline.leaderboard.advice import advise, distances
from pipeline.leaderboard.analysis import analyse, public_size
from pipeline.leaderboard.board import Board
from pipeline.leaderboard.noise import measure_noise
from pipeline.leaderboard.picture import draw
from pipeline.leaderboard.points import points_of
from pipeline.submission import rows
from pipeline.submission.floor import majority
from pipeline.submission.medals import public_board
from pipeline.submission.standings import Standing, standings

PICTURE = "leaderboard.png"


def leaderboard(data: CompetitionData, folds: Folds) -> Board:
    """Return where we stand, and draw the picture where there is a public score."""
    found, left = standings(data, folds)
    board = look(data, folds, found, left)
    path = data.project.runs(data.competition.name) / PICTURE
    if board.analysis is None:
        path.unlink(missing_ok=True)  # one of scores that are no longer there
        return board
    draw(path, board)
    return replace(board, picture=path, shown=data.project.shown(path))


def look(
    data: CompetitionData, folds: Folds, found: Sequence[Standing], left: dict[str, str]
) -> Board:
    """Return the same of standings that are at hand, without a picture."""
    points = points_of(rows(data.project, data.competition.name, data.competition.metric))
    names = {s.entry.sha256: s.name for s in found if s.entry is not None}
    noise = measure_noise(data, folds, points.found, names)
    size = public_size(data, len(validated_rows(folds)))
    analysis = analyse(points.found, noise, size, data.competition.metric)
    sign = data.metric.sign
    all_standings = (*found, majority(data, folds)) if found else ()
    return Board(
        data.competition.name,
        data.competition.metric,
        data.metric.greater_is_better,
        all_standings,
        left,
        points,
        analysis,
        public_board(data) if analysis else None,
        advise(points.found, noise, analysis, sign, distances(data)),
        tuple(number for number, labels in noise.labels.items() if labels != data.hash),
    )
