"""What the members of an ensemble bring, and how alike their errors are."""

import numpy as np

from pipeline.page.blocks import Block, Matrix, Section, Square, Words
from pipeline.report.gather import Scene, Subject
from pipeline.report.sections.shared import by_subject, grid, number, signed

MOST = 16  # members of a matrix
CANDIDATES = 12


def members_section(scene: Scene) -> Section:
    """Members, weights, marginal gains and the correlation of errors of each ensemble shown."""
    title = "Members of ensembles"

    def show(subject: Subject) -> tuple[Block, ...]:
        return _of(subject) if subject.blended else ()

    blocks = by_subject(scene, show)
    if not blocks:
        why = "there is no ensemble"
        return Section("members", title, nothing=f"{why}: `make ensemble COMP={scene.comp}`")
    return Section("members", title, blocks)


def _of(subject: Subject) -> tuple[Block, ...]:
    record, members = subject.decided.record, subject.decided.record["members"]
    headers = ["member", "weight", "alone", "lost without it", "SE", "minutes"]
    rows = []
    for at, one in enumerate(members, 1):
        lost = "-" if one.get("loss") is None else signed(one["loss"])
        minutes = f"{one['seconds'] / 60:.1f}" if one.get("seconds") else "-"
        scores = [number(one.get("weight"), 3), number(one.get("score"))]
        rows.append([f"{at} {one['name']}", *scores, lost, number(one.get("loss_se")), minutes])
    caption = f"blend: {record.get('blend_described', record['blend'])}"
    blocks: list[Block] = [grid(headers, rows, caption)]
    blocks += _alike([one["name"] for one in members], subject)
    table = sorted(record.get("candidates", []), key=lambda line: -line["gain"])[:CANDIDATES]
    if len(table) > 1:
        lines = [_candidate(line) for line in table]
        headers = ["blend", "calibration", "rule", "cross-fitted", "gain over the mean", "SE"]
        blocks.append(grid(headers, lines, "what competed; the simplest within noise is taken"))
    return tuple(blocks)


def _candidate(line: dict) -> list[str]:
    scores = number(line["honest"]), signed(line["gain"]), number(line["gain_se"])
    return [line["blend"], line["calibration"], line["rule"], *scores]


def _alike(names: list[str], subject: Subject) -> list[Block]:
    """The correlation of the members' errors: as a matrix, or of many the ends of it in words."""
    values = np.array(subject.diagnostics["error_correlation"], float)
    if len(values) < 2:
        return []
    numbered = tuple(f"{at} {name}" for at, name in enumerate(names, 1))
    pairs = np.triu_indices(len(values), 1)
    order = np.argsort(-values[pairs], kind="stable")
    most, least = ([int(side[at]) for side in pairs] for at in (order[0], order[-1]))
    said = (
        f"Errors most alike: `{names[most[0]]}` and `{names[most[1]]}` ({values[tuple(most)]:.2f})"
    )
    if len(order) > 1:
        said += f"; least: `{names[least[0]]}` and `{names[least[1]]}` ({values[tuple(least)]:.2f})"
    if len(names) > MOST:
        return [Words(f"{said}.")]
    squares = tuple(
        tuple(
            Square(f"{value:.2f}", max(0, min(10, round(10 * value))), f"correlation {value:.2f}")
            for value in line
        )
        for line in values
    )
    columns = tuple(str(at) for at in range(1, len(names) + 1))
    caption = "correlation of errors; the less alike, the more a mean gains"
    return [Words(f"{said}."), Matrix(caption, "member", numbered, columns, squares)]
