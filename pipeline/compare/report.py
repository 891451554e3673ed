"""What comparisons came to, ready to be printed."""

from collections.abc import Sequence
from typing import Any

from pipeline.compare.compare import FIRST, Comparison
from pipeline.compare.pictures import KINDS
from pipeline.compare.verdict import MOST

Part = str | tuple[list[str], list[list[str]]]  # a sentence, or a table: headers and rows


def report_parts(made: Sequence[Comparison]) -> list[Part]:
    """Return what to print: the verdicts, then what lies behind each."""
    parts: list[Part] = [_verdicts(made), *(_said(one) for one in made), _drawn(made[0])]
    if len(made) > 1:
        parts.append(
            f"each of the {len(made)} verdicts stands for itself; the chance that luck made one of "
            "them is larger than 5 %"
        )
    for one in made:
        parts += [f"\na is {one.before}, b is {one.after}", *_details(one)]
    return parts


def _verdicts(made: Sequence[Comparison]) -> Part:
    """Return a line per run: honest score, and by how much it is better than the first."""
    record = made[0].record
    headers = [record["metric"], "honest ± SE", "better by ± SE", "95 % interval", "p", "verdict"]
    first = record["before"]
    lines = [[first["name"], _with_error(first["honest"], first["se"]), "-", "-", "-", "-"]]
    for one in made:
        after, gain = one.record["after"], one.record["gain"]
        interval = f"{gain['low']:+.4f} to {gain['high']:+.4f}"
        better = f"{gain['difference']:+.4f} ± {gain['se']:.4f}"
        score = _with_error(after["honest"], after["se"])
        lines.append([after["name"], score, better, interval, f"{gain['p']:.4f}", one.verdict])
    return headers, lines


def _said(one: Comparison) -> str:
    """Say what the verdict means."""
    gain, rows = one.record["gain"], one.record["rows"]
    if one.record["same_answers"]:
        return f"{one.after}: noise: it answers every row as {one.before} does"
    if one.verdict == "keep":
        return f"{one.after}: keep: it is better than {one.before}, by more than luck explains"
    if one.verdict == "worse":
        return f"{one.after}: worse than {one.before}, by more than luck explains"
    if gain["rows_needed"] is None:
        return f"{one.after}: noise: there is no difference"
    if gain["rows_needed"] <= rows:
        return f"{one.after}: noise: interval and p-value do not both tell it from {one.before}"
    needed = f"about {gain['rows_needed']:,} rows, not {rows:,}"
    return f"{one.after}: noise: to tell a difference of this size takes {needed}"


def _drawn(one: Comparison) -> str:
    record = one.record
    number, groups = record["gain"]["n_resamples"], record["groups"]
    what = f"{record['rows']:,} rows" if groups is None else f"{groups:,} groups of rows"
    fewer = "" if number >= MOST else f" ({MOST:,} would take too long here)"
    return f"by {number:,} resamples and {number:,} swaps of {what}{fewer}"


def _details(one: Comparison) -> list[Part]:
    record = one.record
    parts: list[Part] = []
    if record["changes"]:
        lines = [[c["key"], c["before"] or "-", c["after"] or "-"] for c in record["changes"]]
        parts.append((["changed", "a", "b"], lines))
    else:
        parts.append("changed: nothing that is recorded")
    parts += [_pictures(record), *_confusions(record["classes"])]
    classes = record["classes"]
    if classes["changed"]:
        headers = ["class", "rows", f"{classes['by']} a", "b", "change"]
        parts.append((headers, [_class_line(line) for line in classes["changed"]]))
    parts.append("written: " + ", ".join(one.shown))
    if one.noted:
        numbers = ", ".join(f"{number:03d}" for number in one.noted)
        parts.append(f"noted in the ledger, number {numbers}")
    return parts


def _pictures(record: dict[str, Any]) -> Part:
    """Return how many rows, and of several labels how many of these, b fixed and broke."""
    found = record["pictures"]
    labels = found.get("labels")
    of_labels = ["labels"] if labels else []
    headers = ["pictures", "rows", *of_labels, f"the first {FIRST}"]
    lines = []
    for kind in (*KINDS, "both right"):
        counts = [f"{of[kind]:,}" for of in (found, labels) if of]
        lines.append([kind, *counts, ", ".join(found["first"].get(kind, [])) or "-"])
    return headers, lines


def _confusions(classes: dict[str, Any]) -> list[Part]:
    if "errors" in classes:
        lines = [
            [line["name"], *map(str, (*line["wrong"], *line["missed"]))]
            for line in classes["errors"]
        ]
        headers = ["label", "answered wrongly a", "b", "missed a", "b"]
    else:
        lines = [
            [f"{c['actual']} -> {c['answered']}", str(c["before"]), str(c["after"])]
            for c in classes["confusions"]
        ]
        headers = ["confused", "a", "b"]
    return [(headers, lines)] if lines else []


def _class_line(line: dict[str, Any]) -> list[str]:
    change = line["after"] - line["before"]
    scores = f"{line['before']:.4f}", f"{line['after']:.4f}"
    return [line["name"], f"{line['rows']:,}", *scores, f"{change:+.4f}"]


def _with_error(value: float, se: float) -> str:
    return f"{value:.4f} ± {se:.4f}"
