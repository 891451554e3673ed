"""Where all runs and ensembles stand, against the leaderboard, and against what is easy."""

from typing import Any

import numpy as np

from pipeline.config.recipe import LATER, Recipe
from pipeline.config.schema import merged
from pipeline.leaderboard.band import FEWEST
from pipeline.leaderboard.report import report_parts
from pipeline.page.blocks import Block, Charts, Heading, Section, Words
from pipeline.page.figures import FIRST, MUTED, SECOND, chart, legend, svg
from pipeline.report.gather import OTHERS, Scene
from pipeline.report.sections.shared import grid, leaves, number, parts, signed, weights_of
from pipeline.submission.standings import Standing

# What each baseline is for, and how it is made where there is none.
BASELINES = {
    "an untrained network": "RECIPE=untrained ARCH=resnet10t "
    'SET="training.epochs=0 training.ema=0"',
    "a simple CNN": "RECIPE=simple-cnn",
    "a frozen backbone": "RECIPE=frozen ARCH=tf_efficientnet_lite0",
}
SMALL = ("simple-cnn", "lenet")  # architectures


def runs_section(scene: Scene) -> Section:
    """The leaderboard of runs and ensembles, the majority answer last."""
    title, comp = "Runs and ensembles", scene.comp
    if not scene.standings:
        how = f"no run is finished yet: `make train COMP={comp}` makes one"
        how = "no run counts now" if scene.left_out else how
        return Section("runs", title, tuple(_left_out(scene)), scene.unreadable or how)
    last = [scene.majority] if scene.majority else []
    rows = [_line(scene, one) for one in (*scene.standings, *last)]
    headers = ["name", "in-sample", "honest", "SE", "public", "private", "rank", "minutes"]
    headers += ["networks", "MB", "decision"]
    caption = f"{scene.data.metric.name}, {_direction(scene)}; best honest score first"
    blocks = [grid(headers, rows, caption, most=500), *_left_out(scene)]
    return Section("runs", title, tuple(blocks))


def _direction(scene: Scene) -> str:
    return "higher is better" if scene.data.metric.greater_is_better else "lower is better"


def _line(scene: Scene, one: Standing) -> list[str]:
    public, private = (one.entry.value(k) if one.entry else None for k in ("public", "private"))
    scores = [number(one.in_sample), number(one.honest), number(one.honest_se)]
    networks, size = weights_of(scene.runs_folder, leaves(one.name, scene.records))
    minutes = "-" if one.seconds is None else f"{one.seconds / 60:.1f}"
    heavy = [str(networks), f"{size / 1e6:.1f}"] if networks else ["-", "-"]
    board = [number(public), number(private), one.place or "-"]
    return [one.name, *scores, *board, minutes, *heavy, one.decision]


def _left_out(scene: Scene) -> list[Block]:
    """Say what is not in the table, or not shown in full, and why, those of one reason together;
    and which of the other files cannot be used."""
    ranked = {one.name for one in scene.standings}
    by_reason: dict[tuple[str, str], list[str]] = {}
    for name, reason in {**scene.left_out, **scene.faults}.items():
        word = "not shown in full" if name in ranked else "left out"
        by_reason.setdefault((word, reason), []).append(name)
    found: list[Block] = []
    for (word, reason), names in by_reason.items():
        if reason == scene.unreadable and not ranked:
            continue  # the section says so itself
        shown = ", ".join(f"`{name}`" for name in names[:3])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        said = reason if names[0] in OTHERS else f"{word}: {shown}{more}: {reason}"
        found.append(Words(said, muted=True))
    return found


def board_section(scene: Scene) -> Section:
    """Cross-validation against the leaderboard, as `make leaderboard` tells it."""
    title = "Cross-validation against the leaderboard"
    board, comp = scene.board, scene.comp
    if board is None or board.analysis is None:
        why = "no submission has both an honest and a public score"
        how = f"`make submit COMP={comp}`, then `make score COMP={comp}`"
        return Section("board", title, nothing=f"{why}: {how}")
    count = len(board.analysis.points)
    says = f"public against honest scores of {count} submission{'' if count == 1 else 's'}"
    blocks = [Charts(((says, _board_chart(scene, says)),))]
    return Section("board", title, (*blocks, *parts(report_parts(board), "submissions")))


def _board_chart(scene: Scene, says: str) -> Any:
    """The submissions, the line of no difference, and the band that noise explains."""
    found = scene.board.analysis  # there is one: board_section asked
    figure, axes = chart()
    honest = np.array([point.cv for point in found.points])
    public = np.array([point.public for point in found.points], float)
    ends = np.array([honest.min(), honest.max()])
    ends = ends + np.array([-1, 1]) * max(0.15 * np.ptp(ends), 0.5 * float(np.median(found.errors)))
    axes.plot(ends, ends, ":", color=MUTED, lw=1, label="public = honest")
    axes.plot(ends, ends + found.band.offset, color=FIRST, lw=1.2, label="median offset")
    if found.size.known and len(found.points) >= FEWEST:
        half = float(np.median(found.band.halves))
        middle = ends + found.band.offset
        axes.fill_between(ends, middle - half, middle + half, color=FIRST, alpha=0.14, lw=0,
                          label="95 % band of noise")  # fmt: skip
    odd = {point.number for point in found.outliers}
    for point, x, y in zip(found.points, honest, public, strict=True):
        colour = SECOND if point.number in odd else FIRST
        axes.errorbar([x], [y], xerr=[point.se], fmt="o", ms=4.5, lw=0.9, color=colour)
        if len(found.points) <= 20:
            axes.annotate(f"{point.number:03d}", (x, y), xytext=(5, 5), fontsize=8,
                          textcoords="offset points", color=colour)  # fmt: skip
    axes.set_xlabel("honest ± SE")
    axes.set_ylabel("public")
    legend(axes, loc="best")
    return svg(figure, "board", says)


def baselines_section(scene: Scene) -> Section:
    """What is easy: the majority answer, an untrained network, a simple CNN, a frozen backbone."""
    title, comp = "Baselines", scene.comp
    if scene.majority is None:
        return Section("baselines", title, nothing="no run counts that could be held against one")
    best = scene.standings[0]
    kinds: dict[str, list[Standing]] = {name: [] for name in BASELINES}
    for one in scene.standings:
        kind = baseline_of(scene.records.get(one.name, {}))
        if kind:
            kinds[kind].append(one)
    rows, missing = [_baseline(scene, "the majority answer", scene.majority, best)], []
    for kind, standings in kinds.items():
        rows += [_baseline(scene, kind, one, best) for one in standings[:3]]
        if not standings:
            how = f"`make train COMP={comp} {BASELINES[kind]}`"
            missing.append(Words(f"{kind}: no such run yet; {how}", muted=True))
    headers = ["baseline", "run", "honest", "SE", "the best is better by"]
    table = grid(headers, rows, f"what the best, `{best.name}`, has to beat")
    heading = [Heading("Not there yet")] if missing else []
    return Section("baselines", title, (table, *heading, *missing))


def _baseline(scene: Scene, kind: str, one: Standing, best: Standing) -> list[str]:
    gain = "it is the best" if one is best else "-"
    if None not in (one.honest, best.honest) and one is not best:
        gain = signed(scene.data.metric.sign * (best.honest - one.honest))
    name = "-" if one is scene.majority else one.name
    return [kind, name, number(one.honest), number(one.honest_se), gain]


def baseline_of(record: dict[str, Any]) -> str:
    """Return which baseline a run is, by what its recipe says and not by its name; '' for none."""
    known = record.get("recipe")
    if not isinstance(known, dict) or "model" not in known:
        return ""
    recipe = merged(Recipe().model_dump(mode="json"), LATER, known)
    model, epochs = recipe["model"], recipe["training"]["epochs"]
    if not model["pretrained"] and epochs == 0:
        return "an untrained network"
    if (
        model["pretrained"]
        and model.get("freeze") == "backbone"
        and not model.get("unfreeze_after")
    ):
        return "a frozen backbone"
    if not model["pretrained"] and model.get("arch") in SMALL:
        return "a simple CNN"
    return ""
