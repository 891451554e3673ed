"""Words and picture of a board, of few and of many submissions."""

import numpy as np
import pytest
from ledger_rows import row
from matplotlib.text import Annotation

from pipeline.leaderboard.picture import draw, figure
from pipeline.leaderboard.report import report_parts

SIZES = [1, 2, 3, 4, 14, 60]


def season(k: int, *, odd: bool = False, up: bool = True):
    """Return k rows whose public scores differ from the honest ones by little but for the last."""
    rng = np.random.default_rng(k)
    cv = rng.uniform(0.9, 0.95, k)
    public = cv + rng.normal(0, 0.004, k) + 0.01
    if odd:
        public[-1] -= 0.2
    scores = zip(cv, public, strict=True)
    return [row(n, c if up else 1 - c, p if up else 1 - p) for n, (c, p) in enumerate(scores, 1)]


def names(picture) -> list[str]:
    """Return the names that are written beside points."""
    return [note.get_text() for note in picture.axes[0].texts
            if isinstance(note, Annotation) and note.get_text()]  # fmt: skip


@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize("up", [True, False])
def test_a_picture_of_any_size(board_of, tmp_path, k, up):
    """Check that it is drawn, holds all points, and that no two names cover each other."""
    board = board_of(season(k, up=up), up=up, teams=[0.8, 0.9, 0.93, 0.97, 0.98] * 3)
    path = tmp_path / "leaderboard.png"
    draw(path, board)
    assert path.read_bytes().startswith(b"\x89PNG")
    picture = figure(board)
    axes, written = picture.axes[0], names(picture)
    shown = [(x, y) for line in axes.lines for x, y in zip(*line.get_data(), strict=False)]
    for point in board.analysis.points:
        assert any(np.allclose((point.cv, point.public), at) for at in shown)
    boxes = [note.get_window_extent() for note in axes.texts if note.get_text()]
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])
    assert len(written) >= min(k, 12)
    assert (
        (axes.get_xlim()[0] < axes.get_xlim()[1]) == up == (axes.get_ylim()[0] < axes.get_ylim()[1])
    )


def test_what_the_picture_names(board_of):
    """Check that the odd one and the picks are named in full, even among sixty."""
    board = board_of(season(60, odd=True))
    assert [point.number for point in board.analysis.outliers] == [60]
    written = names(figure(board))
    for number in (60, *(pick.point.number for pick in board.picks)):
        assert f"{number:03d} run{number}" in written


def test_one_far_away_does_not_hide_the_others(board_of):
    """Check that a score far off stands at the edge, and the axis ends near the others."""
    axes = figure(board_of([*season(12), row(13, 0.2, 0.2)])).axes[0]
    assert axes.get_xlim()[0] > 0.8 and axes.get_ylim()[0] > 0.7
    drawn = [line for line in axes.lines if line.get_marker() == "^" and len(line.get_xdata())]
    assert len(drawn) == 1
    assert "013 run13 (0.2000, 0.2000)" in [note.get_text() for note in axes.texts]
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "beyond the picture (honest, public)" in words


@pytest.mark.parametrize("up", [True, False])
def test_the_best_is_never_beyond_the_picture(board_of, up):
    """Check that one far better than all others stands where its scores are."""
    best = (0.98, 0.985) if up else (0.26, 0.262)
    others = [row(n, 0.4 + n / 500, 0.4 + n / 490) for n in range(2, 10)]
    axes = figure(board_of([row(1, *best), *others], up=up)).axes[0]
    shown = [tuple(line.get_xydata()[0]) for line in axes.lines if len(line.get_xdata()) == 1]
    assert best in shown and "^" not in [line.get_marker() for line in axes.lines]


def test_tied_rows_have_their_band_in_the_picture(board_of):
    """Check that the frame holds the band at the scores of four rows that are all the same."""
    board = board_of([row(n, 0.8, 0.78) for n in range(1, 5)])
    (low, high), half = figure(board).axes[0].get_ylim(), board.analysis.band.halves[0]
    assert low < 0.78 - half and 0.78 + half < high


def test_few_wrong_rows_call_nothing_odd(board_of):
    """Check that where noise is not normal nothing is called odd, and that this is said."""
    rows = [row(n, 0.97 + n / 1000, 0.97 + n / 1000, 0.003) for n in range(1, 8)]
    rows.append(row(8, 0.975, 0.70, 0.003))
    assert [p.number for p in board_of(rows, rows=(1000, 900)).analysis.outliers] == [8]
    few = board_of(rows, rows=(1000, 200))
    assert not few.analysis.outliers and not few.analysis.disagrees
    assert "about 5 rows of the smaller part are answered wrong, below 10" in said(few)


def test_without_an_error_it_is_said_why(board_of):
    """Check that a public score beside an honest one of error 0 is not said to be missing."""
    words = said(board_of([row(1, 1.0, 0.9, 0.0)]))
    assert "no submission with a public score has a standard error above 0" in words
    assert "has both" not in words and "pick 1: 001" in words


def test_medal_lines(board_of):
    """Check that lines are drawn where they are in the picture, and named where they are not."""
    teams = [0.95] * 5 + [0.94] * 10 + [0.5] * 26
    legend = figure(board_of(season(8), teams=teams)).axes[0].get_legend()
    words = [text.get_text() for text in legend.get_texts()]
    assert "gold from 0.9500" in words and "silver from 0.9400" in words
    assert "bronze from 0.5000 (off the picture)" in words


def said(board) -> str:
    return "\n".join(part for part in report_parts(board) if isinstance(part, str))


def test_the_words_for_an_odd_submission(board_of):
    """Check that offset, outlier, correlation with n, and both picks are told."""
    board = board_of(season(8, odd=True), teams=[0.9, 0.95, 0.97, 0.99] * 5)
    headers, lines = report_parts(board)[0]
    assert headers[-1] == "public rank" and lines[0][0] == "008 run8" and "outside" in lines[0][4]
    words = said(board)
    assert "public scores are of 300 rows (the test), honest ones of 1,000" in words
    assert "offset +0.0" in words and "noise explains it" in words
    assert "outside the band, 8 comparisons allowed for: 008 run8 (p 0.0001)" in words
    assert "n = 8" in words and "pick 1: " in words and "pick 2: " in words
    assert "on the public part, among 21 teams with ours: gold from 0.9900" in words


def test_few_submissions_say_little(board_of):
    """Check that below four nothing is said of correlation or of single ones."""
    words = said(board_of(season(3)))
    assert "below 4 submissions" in words and "Pearson" not in words and "outside" not in words
    assert "there is only one file to pick" in said(board_of(season(1)))


def test_an_unknown_public_part_calls_nothing_odd(board_of):
    """Check that the key that would tell is named, and no outlier is."""
    board = board_of(season(8, odd=True), known=False)
    assert not board.analysis.outliers and not board.analysis.disagrees
    assert "say public_rows or public_share in the competition's YAML" in said(board)
    assert "outside" not in said(board)


def test_many_submissions_fit_a_terminal(board_of):
    """Check that the table of sixty holds the odd ones and the picks, and counts the rest."""
    _, lines = report_parts(board_of(season(60, odd=True)))[0]
    assert len(lines) <= 16 and lines[0][0] == "060 run60"
    assert lines[-1][0] == f"and {60 - (len(lines) - 1)} more"


def test_nothing_to_compare(board_of):
    """Check that without a public score there is no picture, but next commands and picks."""
    board = board_of([row(1, 0.9, ""), row(2, 0.95, ""), row(3, "", 0.9)])
    words = said(board)
    assert "make score COMP=tiny" in words and "pick 1: 002 run2" in words
    assert "not counted: 003: has no honest score" in words
    with pytest.raises(ValueError, match="no picture"):
        figure(board)


def test_ranks_on_the_private_part(board_of):
    """Check that after the end it is told which of both knew it better."""
    rows = [row(n, 0.9 + n / 100, 0.99 - n / 100, private=0.9 + n / 90) for n in range(1, 7)]
    words = said(board_of(rows))
    assert "ranks on the private part: by honest +1.00 (+0." in words
    assert " to +1.00), by public -1.00 (-1.00 to -0." in words
