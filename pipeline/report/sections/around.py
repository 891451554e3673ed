"""What was found around the runs: the audit, studies, learning-rate tests, learning curves."""

import csv
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, NullLocator

from pipeline.artifacts.files import read_json
from pipeline.artifacts.findings import LEVELS
from pipeline.errors import PodiumError
from pipeline.page.blocks import Block, Charts, Heading, Section, Shots, Words
from pipeline.page.figures import FIRST, MUTED, SECOND, chart, legend, svg
from pipeline.page.photos import photo
from pipeline.report.gather import AUDIT, Scene
from pipeline.report.sections.shared import grid, number, signed

MOST = 4  # of each kind of folder
STUDY_PICTURES = ("importances", "slices")
WIDE, PHOTO_CHARACTERS = 640, 60_000  # pixels, and characters, of a picture that is taken over


def audit_section(scene: Scene) -> Section:
    """The audit in short."""
    title, audit = "Audit", scene.audit
    if audit is None:
        why = scene.faults.get(AUDIT, "the data was not looked at yet")
        return Section("audit", title, nothing=f"{why}: `make audit COMP={scene.comp}`")
    allowed = scene.data.competition.audit.allow
    found = sorted(audit.findings, key=lambda one: LEVELS.index(one.level))
    rows = [
        [
            "allowed" if one.level == "block" and one.name in allowed else one.level,
            one.name,
            one.says,
        ]
        for one in found
        if one.level != "fine"
    ]
    fine = len(found) - len(rows)
    said = [Words(f"{fine} checks found nothing.")]
    if (scene.runs_folder / "audit.html").is_file():
        said = [Words(f"{fine} checks found nothing; with all pictures:", link="audit.html")]
    if audit.data_hash != scene.data.hash:
        again = f"`make audit COMP={scene.comp}` looks again"
        said.append(Words(f"It is of other data than that of today: {again}."))
    table = [grid(["level", "finding", "what was found"], rows, "findings")] if rows else []
    return Section("audit", title, (*said, *table))


def studies_section(scene: Scene) -> Section:
    """Tuning: trials, the best, and what it gains over the recipe that the study began with."""
    how = (
        f"no study was made: `make tune COMP={scene.comp} STUDY=small` searches for a better recipe"
    )
    return _by_folder(scene, "studies", "Studies", "study-", partial(_study, scene), how)


def rates_section(scene: Scene) -> Section:
    """Learning-rate range tests, with the schedule of the recipe as it was drawn."""
    how = f"no test was made: `make lr-find COMP={scene.comp} ARCH=tf_efficientnet_lite0`"
    return _by_folder(scene, "rates", "Learning-rate tests", "lr-find-", _rates, how)


def growth_section(scene: Scene) -> Section:
    """Learning curves over the number of rows: what more data would bring."""
    how = f"`make learning-curve COMP={scene.comp} ARCH=tf_efficientnet_lite0`"
    nothing = f"what more rows would bring was not tried: {how}"
    return _by_folder(scene, "growth", "More data", "curve-", _curve, nothing)


def _by_folder(
    scene: Scene,
    key: str,
    title: str,
    prefix: str,
    show: Callable[[Path, int], list[Block]],
    nothing: str,
) -> Section:
    """Return a section of what `show` makes of each folder of a kind; where its files are broken
    that is said: other hands or versions may have written them, and the page is worth more than one
    of its charts."""
    blocks: list[Block] = []
    for at, folder in enumerate(_folders(scene, prefix)):
        try:
            blocks += show(folder, at)
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            IndexError,
            OverflowError,
        ) as error:
            why = f"its files are not as they were written ({type(error).__name__}: {error})"
            said = f"`{folder.name}` cannot be shown: {why}"
            blocks += [Heading(folder.name), Words(said, muted=True)]
    return Section(key, title, tuple(blocks), "" if blocks else nothing)


def _study(scene: Scene, folder: Path, at: int) -> list[Block]:
    """A study by its trials.csv: the chart of the best score so far, and pictures it drew."""
    trials = _table(folder / "trials.csv")
    scored = [(one, float(one["score"])) for one in trials if _is_number(one.get("score"))]
    name = folder.name.removeprefix("study-")
    if not scored:
        return [Heading(name), Words(f"No trial of `{name}` has a score yet.", muted=True)]
    sign = scene.data.metric.sign
    levels = [one["level"] for one, _ in scored]
    top = (
        "full"
        if "full" in levels
        else max(set(levels), key=lambda level: (levels.count(level), level))
    )
    full = [pair for pair in scored if pair[0]["level"] == top]
    best, score = max(full, key=lambda pair: sign * pair[1])
    first = next((pair for pair in full if pair[0]["number"] == "0"), None)
    said = f"{len(trials):,} trials, {len(full):,} of them to level {top}; the best is "
    said += f"`{best['run']}` with {number(score)}"
    if first is not None and first[0] is not best:
        said += f", {signed(sign * (score - first[1]))} over trial 0, the recipe it began with"
    said += "; on the folds that chose it, so it is optimistic"
    history = _history(full, sign, f"study-{at}", f"score of trials of study {name}")
    blocks: list[Block] = [Heading(name), Words(f"{said}."), Charts((("trials", history),))]
    shots = [_taken(folder / f"{picture}.png", picture) for picture in STUDY_PICTURES]
    return [*blocks, *([Shots(tuple(filter(None, shots)))] if any(shots) else [])]


def _history(scored: list[tuple[dict[str, str], float]], sign: int, name: str, says: str) -> Markup:
    ordered = sorted((int(one["number"]), score) for one, score in scored)
    x, y = np.array([n for n, _ in ordered]), np.array([score for _, score in ordered])
    figure, axes = chart()
    axes.plot(x, y, "o", color=FIRST, ms=3.5, alpha=0.6, label="a trial")
    axes.step(
        x, sign * np.maximum.accumulate(sign * y), where="post", color=SECOND, label="the best"
    )
    low, high = np.quantile(y, [0.1, 0.9])
    room = 0.3 * max(high - low, 1e-3)
    best = (min, None, max)[sign + 1](y)
    axes.set_ylim(min(low - room, best - room / 3), max(high + room, best + room / 3))
    axes.set_xlabel("trial")
    legend(axes, loc="best")
    return svg(figure, name, says)


def _rates(folder: Path, at: int) -> list[Block]:
    """A test by its table: the chart of the losses, what it suggests, the schedule it drew."""
    record, lines = _record(folder / "lr-find.json"), _table(folder / "lr-find.csv")
    if record is None or not lines:
        return []
    name = folder.name.removeprefix("lr-find-")
    found = record.get("suggestion") or {}
    drawn = _losses(lines, found, f"rates-{at}", f"loss by learning rate, {name}")
    reason = record.get("reason") or "No rate is suggested"
    blocks: list[Block] = [Heading(name), Words(f"{reason}.")]
    if record.get("next"):
        blocks.append(Words(f"`{record['next']}`"))
    blocks.append(Charts((("loss by learning rate", drawn),)))
    shot = _taken(folder / "schedule.png", "the schedule of the recipe")
    return [*blocks, *([Shots((shot,))] if shot else [])]


def _losses(lines: list[dict[str, str]], found: dict[str, Any], name: str, says: str) -> Markup:
    columns = [[float(line[key]) for line in lines] for key in ("lr", "loss", "smoothed")]
    lr, raw, smooth = map(np.array, columns)
    figure, axes = chart()
    axes.plot(lr, raw, color=FIRST, lw=0.6, alpha=0.4, label="of a batch")
    axes.plot(lr, smooth, color=FIRST, lw=2, label="smoothed")
    if found.get("lr"):
        axes.axvline(found["lr"], color=SECOND, ls="--", label=f"suggested {found['lr']:.1e}")
    axes.set_xscale("log")
    start = float(np.median(smooth[: max(1, len(smooth) // 10)]))
    room = max(start - float(smooth.min()), 1e-3)
    axes.set_ylim(float(smooth.min()) - 0.15 * room, start + 0.4 * room)
    axes.set_xlabel("learning rate")
    legend(axes, loc="best")
    return svg(figure, name, says)


def _curve(folder: Path, at: int) -> list[Block]:
    """A learning curve by its record: what it says, and its points."""
    record = _record(folder / "curve.json")
    if record is None or not record.get("sizes"):
        return []
    drawn = _growth(record, f"growth-{at}", f"score by training rows, {folder.name}")
    said = str(record.get("sentence") or "").rstrip(".")
    words = [Words(f"{said}.")] if said else []
    heading = Heading(folder.name.removeprefix("curve-"))
    return [heading, *words, Charts((("score by training rows", drawn),))]


def _growth(record: dict[str, Any], name: str, says: str) -> Markup:
    figure, axes = chart()
    sizes = [one for one in record["sizes"] if one.get("mean") is not None]
    for one in sizes:
        scores = list(one["scores"].values())
        axes.plot([one["rows"]] * len(scores), scores, "o", color=FIRST, ms=3.5, alpha=0.5)
    rows = [one["rows"] for one in sizes]
    ticks = list(rows)
    axes.plot(rows, [one["mean"] for one in sizes], "D-", color=FIRST, ms=5, label="mean")
    expected = (record.get("fit") or {}).get("expected") or {}
    for key, one in expected.items():
        times = key.removesuffix("n")
        if rows and times.isdigit() and int(times) > 1:
            x, y = int(times) * max(rows), one["median"]
            axes.errorbar([x], [y], [[y - one["low"]], [one["high"] - y]], fmt="s", color=SECOND,
                          ms=5, capsize=3, label=f"{times} times the rows")  # fmt: skip
            ticks.append(x)
    axes.set_xscale("log")
    if ticks:
        axes.set_xticks(sorted({round(x) for x in ticks}))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("training rows")
    legend(axes, loc="best")
    axes.tick_params(axis="x", labelsize=7.5, colors=MUTED)
    return svg(figure, name, says)


def _folders(scene: Scene, prefix: str) -> list[Path]:
    """Return the first folders of a kind, by name."""
    if not scene.runs_folder.is_dir():
        return []
    found = (path for path in scene.runs_folder.iterdir() if path.name.startswith(prefix))
    return sorted(path for path in found if path.is_dir())[:MOST]


def _record(path: Path) -> dict[str, Any] | None:
    try:
        found = read_json(path)
    except PodiumError:  # not finished, or broken: the verb that makes it says what is wrong
        return None
    return found if isinstance(found, dict) else None


def _table(path: Path) -> list[dict[str, str]]:
    try:
        return list(_whole(path))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _whole(path: Path) -> Iterator[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as handle:
        yield from (line for line in csv.DictReader(handle) if None not in line.values())


def _is_number(text: str | None) -> bool:
    try:
        return math.isfinite(float(text or "nan"))
    except ValueError:
        return False


def _taken(path: Path, title: str) -> Any:
    return photo(path, title, WIDE, PHOTO_CHARACTERS) if path.is_file() else None
