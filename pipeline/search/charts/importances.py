"""`importances.png`: what share of the scores' variance each parameter explains, and how it goes
with the score, both with what luck could make of them."""

from pathlib import Path

from matplotlib.axes import Axes

from pipeline.artifacts.columns import shortened
from pipeline.charts.figure import BLUE, GREY, ORANGE, new_figure, save
from pipeline.search.charts.canvas import level_name, title
from pipeline.search.importance import Ranked, rank
from pipeline.search.labels import short_names
from pipeline.search.records import Found

CAREFUL = "(not causal; pale: no more than luck may do)"


def draw(path: Path, found: Found, ranked: Ranked | None = None) -> None:
    """Write fANOVA's shares with standard errors, and correlations with intervals."""
    known = ranked or rank(found)
    names = short_names(found.space.keys)
    figure = new_figure(9.5, 0.3 * len(known.keys) + 2.0)
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_shares(left, known)
    _draw_correlations(right, known, found)
    labels = [shortened(names[key], 30) for key in known.keys]
    left.set_yticks(range(len(labels)), labels, fontsize=9)
    left.set_ylim(len(labels) - 0.4, -0.6)
    there = known.judged
    words = f"what matters at {level_name(found, there.level)}, {len(there)} compared"
    figure.suptitle(f"{title(found, words)}\n{CAREFUL}", fontsize=11)
    pairs = [axes.get_legend_handles_labels() for axes in (left, right)]
    handles, labels = ([*a, *b] for a, b in zip(*pairs, strict=True))
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    save(path, figure)


def _draw_shares(axes: Axes, known: Ranked) -> None:
    axes.set_xlabel("share of the variance (fANOVA) ± SE", fontsize=9)
    axes.grid(alpha=0.3, axis="x")
    if known.note:
        axes.set_xlim(0, 1)
        words = known.note.replace(": ", ":\n").replace("; ", ";\n")
        axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes, fontsize=9)
        return
    for place, one in enumerate(known.importances):
        if one.share is None:
            words = f"too few trials ({one.trials})"
            axes.text(0.01, place, words, va="center", fontsize=8, color=GREY)
            continue
        clear = one.share - one.se > one.luck
        error = [[min(one.se, one.share)], [one.se]]
        axes.barh(place, one.share, height=0.6, color=BLUE, alpha=1 if clear else 0.4)
        axes.errorbar(one.share, place, xerr=error, color="black", capsize=2, lw=1)
        label = "what luck reaches (1 in 20)" if place == 0 else None
        axes.plot([one.luck] * 2, [place - 0.4, place + 0.4], color=ORANGE, lw=1.5, label=label)
    axes.set_xlim(left=0)


def _draw_correlations(axes: Axes, known: Ranked, found: Found) -> None:
    metric = shortened(found.metric, 24)
    axes.set_xlabel(f"rank correlation with {metric}, 95 % interval", fontsize=9)
    axes.grid(alpha=0.3, axis="x")
    axes.axvline(0, color="black", lw=0.8)
    axes.set_xlim(-1, 1)
    said = set()
    for place, one in enumerate(known.correlations):
        if one.value is None:
            axes.text(
                0.02, place, f"untold ({one.trials} trials)", va="center", fontsize=8, color=GREY
            )
            continue
        kind = "numbers: Spearman" if one.kind == "spearman" else "choices: epsilon squared"
        look = {"color": BLUE, "alpha": 1 if one.p_holm < 0.05 else 0.4}
        marker = "o" if one.kind == "spearman" else "D"
        if one.low is not None:
            axes.plot([one.low, one.high], [place, place], lw=1.5, **look)
        label = None if kind in said else kind
        axes.plot([one.value], [place], marker, markersize=6, ls="", label=label, **look)
        said.add(kind)
