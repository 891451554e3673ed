"""What the leaderboard tells, ready to be printed: a short table and sentences."""

from collections.abc import Sequence

from pipeline.artifacts.columns import left_out, shortened
from pipeline.leaderboard.analysis import FEWEST_WRONG, Analysis
from pipeline.leaderboard.band import FEWEST, LEVEL
from pipeline.leaderboard.board import Board
from pipeline.leaderboard.correlation import Correlation
from pipeline.leaderboard.points import Point

Table = tuple[list[str], list[list[str]]]
Part = str | Table
WIDEST = 36
MOST = 12  # lines of the table: those farthest outside, and the picks


def report_parts(board: Board) -> list[Part]:
    """Return what to print below the table of standings."""
    parts: list[Part] = []
    if board.analysis is None:
        parts.append(_nothing(board))
    else:
        parts += [_table(board, board.analysis), *_said(board.analysis)]
    parts += _labels(board)
    parts += _medals(board)
    parts += _not_counted(board)
    parts += _advice(board)
    if board.shown:
        parts.append(f"picture: {board.shown}")
    return parts


def _labels(board: Board) -> list[str]:
    if not board.other_labels:
        return []
    named = ", ".join(f"{number:03d}" for number in board.other_labels)
    return [
        f"the honest scores of {named} are by other labels than the present ones, so that others "
        "cannot be compared with them; make compare scores two runs by the same labels"
    ]


def _nothing(board: Board) -> str:
    comp = board.competition
    if any(point.public is not None for point in board.points.found):
        return (
            "no submission with a public score has a standard error above 0 of its honest one, so "
            "cross-validation cannot be held against the leaderboard"
        )
    return (
        "no submission has both an honest and a public score yet, so cross-validation cannot be "
        f"held against the leaderboard: make submit COMP={comp}, then make score COMP={comp}"
    )


def _table(board: Board, found: Analysis) -> Table:
    """Return a line per submission, those that noise explains least first."""
    ranked = board.teams is not None
    headers = ["submission", "honest ± SE", "public", "beyond offset", "band"]
    headers += ["public rank"] if ranked else []
    picks = {pick.point.number for pick in board.picks}
    order = sorted(range(len(found.points)), key=lambda at: (found.band.p[at], at))
    kept = [at for n, at in enumerate(order) if n < MOST or found.points[at].number in picks]
    rows = []
    for at in kept:
        point, residual = found.points[at], found.band.residuals[at]
        row = [shortened(point.name, WIDEST), f"{point.cv:.4f} ± {point.se:.4f}"]
        row += [f"{point.public:.4f}", f"{round(residual, 4) + 0.0:+.4f}", _band(found, at)]
        if board.teams is not None:
            row.append(f"{board.teams.rank(point.public or 0.0)}/{board.teams.teams}")
        rows.append(row)
    if len(kept) < len(order):
        rows.append([f"and {len(order) - len(kept)} more", *[""] * (len(headers) - 1)])
    return headers, rows


def _band(found: Analysis, at: int) -> str:
    if len(found.points) < FEWEST or not found.size.known:
        return "-"
    point = found.points[at]
    return f"± {found.band.halves[at]:.4f}" + (" outside" if point in found.outliers else "")


def _said(found: Analysis) -> list[str]:
    return [_size(found), _offset(found), *_spread(found), *_correlations(found)]


def _size(found: Analysis) -> str:
    size = found.size
    if not size.known:
        return (
            f"the number of public rows is not known; with all {size.public:,} test rows the noise "
            "would be smallest, so no submission is called odd: say public_rows or public_share in "
            "the competition's YAML"
        )
    k, paired = len(found.points), found.paired
    noise = f"public scores are of {size.public:,} rows ({size.why}), honest ones of {size.cv:,}"
    if k == 1:
        return noise
    if paired == k:
        return f"{noise}; the noise that submissions share, on the same rows, is taken out"
    known = f"of {paired} of {k}" if paired else "of none"
    return (
        f"{noise}; how noise is shared is known {known} of them, so the bands are too wide, if "
        "anything"
    )


def _offset(found: Analysis) -> str:
    band = found.band
    if not found.size.known:
        return f"public scores are {band.offset:+.4f} off the honest ones in the median"
    verdict = "noise explains it" if band.offset_p >= 1 - LEVEL else "more than noise explains"
    return (
        f"offset {band.offset:+.4f} ± {band.offset_se:.4f} (median of public minus honest), "
        f"p {band.offset_p:.4f}: {verdict}"
    )


def _spread(found: Analysis) -> list[str]:
    if not found.size.known:
        return []
    if len(found.points) < FEWEST:
        return [f"below {FEWEST} submissions with both scores nothing is said of single ones"]
    if found.few_wrong:
        return [
            f"about {found.wrong:.0f} rows of the smaller part are answered wrong, below "
            f"{FEWEST_WRONG}, so no submission is called odd"
        ]
    if not found.outliers:
        p = found.band.spread_p
        all_agree = "noise explains how the submissions differ from that"
        differ = "together they differ from that by more than noise, though none does by itself"
        return [f"{differ if found.scattered else all_agree} (p {p:.4f})"]
    names = [f"{point.name} (p {_p(found, point):.4f})" for point in found.outliers]
    return [f"outside the band, {len(found.points)} comparisons allowed for: {', '.join(names)}"]


def _p(found: Analysis, point: Point) -> float:
    return float(found.band.p[found.points.index(point)])


def _correlations(found: Analysis) -> list[str]:
    said = []
    if found.pearson and found.spearman:
        both = f"Pearson {_coefficient(found.pearson)}, Spearman {_coefficient(found.spearman)}"
        said.append(f"honest and public go together: {both}; n = {found.pearson.n}")
    honest, public = found.private
    if honest and public:
        said.append(
            f"ranks on the private part: by honest {_coefficient(honest)}, by public "
            f"{_coefficient(public)}; n = {honest.n}"
        )
    return said


def _coefficient(found: Correlation) -> str:
    return f"{found.value:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def _medals(board: Board) -> list[str]:
    lines = board.teams.lines() if board.teams else {}
    if not lines or board.teams is None:
        return []
    named = ", ".join(f"{medal} from {score:.4f}" for medal, score in lines.items())
    return [f"on the public part, among {board.teams.teams} teams with ours: {named}"]


def _not_counted(board: Board) -> list[str]:
    said = [f"{n:03d} is the same file as {of:03d}" for n, of in board.points.repeated.items()]
    reasons = {f"{number:03d}": why for number, why in board.points.without.items()}
    return [f"not counted: {line}" for line in (*said, *left_out(reasons))]


def _advice(board: Board) -> Sequence[str]:
    said = [
        f"pick {at}: {pick.point.name}: {pick.reason}" for at, pick in enumerate(board.picks, 1)
    ]
    if len(board.picks) == 1:
        said.append("there is only one file to pick; a second one needs another run or ensemble")
    elif len(board.picks) == 2 and board.picks[0].point.kind == board.picks[1].point.kind:
        said.append("both are of the same source and decision, since there is no other")
    return said
