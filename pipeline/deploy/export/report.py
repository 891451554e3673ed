"""How `make export` tells what it made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WIDEST = 64  # characters of an option's name
Part = str | tuple[list[str], list[list[str]], int]


@dataclass(frozen=True)
class Export:
    """An exported folder: whether it was `made` now or was there already, and its export.json."""

    folder: Path
    shown: str
    made: bool
    record: dict[str, Any] = field(repr=False)


def options_table(record: dict[str, Any]) -> Part:
    """Return the options that were tried, as (headers, rows, widest cell); the first row is the
    original."""
    original = record["original"]
    headers = ["option", "MB", "agreement", record["metric"], "difference ± SE", "ms", "verdict"]
    ms = f"{original['latency_ms']:.1f}"
    rows = [["original", f"{original['mb']:.1f}", "1", f"{original['metric']:.4f}", "-", ms, "-"]]
    for tried in record["tried"]:
        said, faults = tried["figures"], ", ".join(map(_short, tried["faults"])) or "passes"
        if tried["option"] == record["option"]:
            faults = "taken"
        cells = ["-", "-", "-", "-"]
        if said is not None:
            gain = f"{round(said['difference'], 4) + 0.0:+.4f} ± {said['se']:.4f}"
            cells = [f"{said['agreement']:.4f}", f"{said['metric']:.4f}", gain]
            if said["test_agreement"] is not None:  # other networks go along: theirs is not known
                cells[1:] = ["-", "-"]
            cells.append(f"{said['latency_ms']:.1f}")
        rows.append([tried["option"], f"{tried['mb']:.1f}", *cells, faults])
    return headers, rows, WIDEST


def _short(fault: str) -> str:
    """Return a fault in a word or two: the figures stand beside it."""
    known = {"agreement": "agreement", "the metric": "metric", "about": "too large"}
    named = [word for start, word in known.items() if fault.startswith(start)]
    return named[0] if named else "too large" if " MB" in fault else fault


def _networks(count: int) -> str:
    return "network" if count == 1 else f"{count} networks"


def report_parts(made: Export) -> list[Part]:
    """Return what to print: sentences, and the table of options as (headers, rows, widest cell)."""
    record = made.record
    pixels, gate = record["pixels"], record["gate"]
    judged = f"judged on {gate['rows']:,} out-of-fold pictures"
    if gate["test_agreement"] is not None:
        judged += f", and compared on {gate['test_rows']:,} test pictures"
        judged += f", where {gate['test_agreement']:.2%} of the answers are the original's"
    faster = record["original"]["latency_ms"] / gate["latency_ms"]
    done = "written" if made.made else "there already, and the same; FRESH=1 makes it anew"
    return [
        options_table(record),
        f"{judged}; ms per picture one at a time, {record['threads']} threads, the networks alone",
        f"taken: {record['option']}, {record['mb']:.1f} MB, {faster:.2g} times as fast as the "
        f"original's {_networks(record['original']['networks'])} in torch",
        f"from file to answer: {pixels['equal']:,} of {pixels['pictures']:,} answers are those of "
        f"torch, their probabilities differ by {pixels['largest_difference']:.2g} at most (of all "
        f"that were judged by {gate['largest_difference']:.2g}), "
        f"{pixels['ms_per_picture']:.1f} ms per picture",
        f"{made.shown}: {done}",
        f"next: python {made.shown}/predict.py PICTURES answers.csv, which needs no torch",
    ]
