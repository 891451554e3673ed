"""`lr-find.png`: the loss against the rate. `schedule.png`: the rate over a training's steps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.charts.figure import BLUE, ORANGE, new_figure, save
from pipeline.lr_find.suggest import Suggestions

LOSS, LINE = BLUE, ORANGE
DASHES = {"minimum/3": "-", "minimum/10": "-.", "steepest": "--", "valley": ":"}
ROOM = 0.1  # of the fall, left below the lowest loss; three times that above the first
MOST_EPOCHS = 12  # that are marked


def draw_losses(
    path: Path,
    title: str,
    lrs: np.ndarray,
    raw: Sequence[np.ndarray],
    smooth: np.ndarray,
    found: Suggestions,
) -> None:
    """Write the chart of the raw losses of each seed, all (n,), and the smoothed mean (n,)."""
    figure, axes = _figure(1, (7.2, 4.5))
    for number, losses in enumerate(raw):
        label = "loss of a batch" if number == 0 else None
        axes[0].plot(lrs, losses, color=LOSS, alpha=0.3, lw=0.9, label=label)
    axes[0].plot(lrs, smooth, color=LOSS, lw=2.2, label="smoothed")
    for rule, lr in found.by_rule.items():
        chosen = rule == found.rule
        label = f"{rule}: {lr:.1e}" + (", suggested" if chosen else "")
        weight = {"color": LINE, "lw": 2.0} if chosen else {"color": "0.35", "lw": 1.2}
        axes[0].axvline(lr, ls=DASHES[rule], label=label, **weight)
    axes[0].set_xscale("log")
    axes[0].set_xlim(lrs[0], lrs[-1])
    axes[0].set_ylim(*_limits(np.concatenate(raw), smooth))
    axes[0].set_xlabel("learning rate (logarithmic)")
    axes[0].set_ylabel("training loss")
    _save(figure, axes, path, title)


def _limits(raw: np.ndarray, smooth: np.ndarray) -> tuple[float, float]:
    """Return what is drawn of the losses: nearly all that are better than at the start, and some
    that are worse; the rest of a divergence would flatten these."""
    low = min(float(smooth.min()), float(np.quantile(raw, 0.02)))
    high = float(np.median(smooth[: max(1, len(smooth) // 10)]))
    room = ROOM * max(high - low, 0.05 * abs(high), 1e-6)
    return low - room, high + 3 * room


def draw_schedule(
    path: Path, title: str, table: dict[str, np.ndarray], momentum: float, per_epoch: int
) -> None:
    """Write the chart of a `schedule_table` in steps, with its epochs of `per_epoch` steps marked;
    `momentum` is drawn where the schedule leaves it as it is."""
    figure, axes = _figure(2, (7.2, 5.4))
    steps = table["step"]
    momenta = np.where(np.isnan(table["momentum"]), momentum, table["momentum"])
    axes[0].plot(steps, table["lr"], color=LOSS, lw=1.8)
    axes[0].set_ylabel("learning rate")
    axes[0].set_ylim(bottom=0)
    axes[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes[1].plot(steps, momenta, color=LINE, lw=1.8)
    axes[1].set_ylabel("momentum, or first beta")
    low, high = momenta.min(), momenta.max()
    axes[1].set_ylim(max(0.0, low - 0.05), min(1.0, high + 0.05))
    axes[1].set_xlabel("optimiser step")
    axes[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    epochs = len(steps) // per_epoch
    marked = range(0, epochs + 1, max(1, -(-epochs // MOST_EPOCHS)))
    for one in axes:
        one.set_xlim(0, len(steps))
        for epoch in marked:
            one.axvline(epoch * per_epoch, color="0.75", lw=0.8, zorder=0)
    above = axes[0].secondary_xaxis("top")
    above.set_xticks([epoch * per_epoch for epoch in marked], [str(epoch) for epoch in marked])
    above.set_xlabel("epochs done")
    _save(figure, axes, path, title)


def _figure(rows: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    figure = new_figure(*size)
    return figure, list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])


def _save(figure: Figure, axes: list[Axes], path: Path, title: str) -> None:
    axes[0].set_title(title, fontsize=11)
    for one in axes:
        one.grid(alpha=0.3)
        if one.get_legend_handles_labels()[0]:
            one.legend(loc="best", fontsize=9)
    save(path, figure)
