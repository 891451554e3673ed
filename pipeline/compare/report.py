"""What comparisons came to, ready to be printed."""

from collections.abc import Sequence
from typing import Any

from pipeline.artifacts.columns import shortened
from pipeline.compare.compare import Comparison
from pipeline.compare.grounds import CORRECTED, ORIGINAL, UNCHANGED
from pipeline.compare.pictures import KINDS
from pipeline.compare.verdict import MOST, signed

Table = tuple[list[str], list[list[str]]]
Part = str | Table | tuple[list[str], list[list[str]], None]  # None: no cell is cut
SETS = {
    CORRECTED: "all rows, corrected labels",
    ORIGINAL: "all rows, the table's labels",
    UNCHANGED: "rows whose label is unchanged",
}
IDS = 3  # of a kind, or fewer where they are long
WIDEST_ID, WIDEST_IDS = 36, 76  # a UUID, and two of them


def report_parts(made: Sequence[Comparison]) -> list[Part]:
    """Return what to print: the verdicts, then what lies behind each."""
    parts: list[Part] = [_verdicts(made), *(_said(one) for one in made), *_drawn(made)]
    if len(made) > 1:
        parts.append(
            f"each of the {len(made)} verdicts stands for itself; the chance that luck made one of "
            "them is larger than 5 %"
        )
    parts += [part for one in made for part in _by_labels(one)]
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
        interval = f"{signed(gain['low'])} to {signed(gain['high'])}"
        better = f"{signed(gain['difference'])} ± {gain['se']:.4f}"
        score = _with_error(after["honest"], after["se"])
        lines.append([after["name"], score, better, interval, f"{gain['p']:.4f}", one.verdict])
    return headers, lines


def _by_labels(one: Comparison) -> list[Part]:
    """Return the scores by each set of labels, where those of one of the two were corrected, and
    which of them the verdict stands on."""
    labels = one.record.get("labels")
    if labels is None:
        return []
    if "sets" not in labels:
        return [f"{one.before}, {one.after}: trained on the table's labels, and scored by these"]
    headers = ["labels", "rows", one.before, one.after, "better by ± SE", "verdict"]
    lines = []
    for name, words in SETS.items():
        found, gain = labels["sets"][name], labels["sets"][name]["gain"]
        scores = [f"{score:.4f}" for score in found["scores"]]
        better = f"{signed(gain['difference'])} ± {gain['se']:.4f}"
        lines.append([words, f"{found['rows']:,}", *scores, better, gain["verdict"]])
    corrected = one.after if labels["after"] == CORRECTED else one.before
    changed = labels["rows"] - labels["sets"][UNCHANGED]["rows"]
    said = (
        f"{corrected} was trained on corrected labels, the other on the table's; {changed:,} of "
        f"{labels['rows']:,} validated rows have another label. The verdict stands on the rest, "
        "where both are scored by a label that neither was given alone; the honest scores are by "
        "each one's own labels"
    )
    return [said, (headers, lines)]


def _said(one: Comparison) -> str:
    """Say what the verdict means."""
    gain, rows = one.record["gain"], one.record["rows"]
    if one.record["same_answers"]:
        return f"{one.after}: noise, since it answers every row as {one.before} does"
    if one.verdict == "keep":
        return f"{one.after}: keep, since it is better than {one.before} by more than luck explains"
    if one.verdict == "worse":
        return f"{one.after}: worse than {one.before} by more than luck explains"
    if gain["rows_needed"] is None:
        return f"{one.after}: noise, since there is no difference"
    if gain["rows_needed"] <= rows:
        return (
            f"{one.after}: noise, since interval and p-value do not both tell it from {one.before}"
        )
    needed = f"about {gain['rows_needed']:,} rows, not {rows:,}"
    return f"{one.after}: noise; it would take {needed}, to tell a difference of this size"


def _drawn(made: Sequence[Comparison]) -> list[str]:
    """Say how many resamples and swaps were made, by run where they are not as many."""
    said = {one.after: _swapped(one.record) for one in made}
    if len(set(said.values())) == 1:
        return [f"by {next(iter(said.values()))}"]
    return [f"{name}: by {words}" for name, words in said.items()]


def _swapped(record: dict[str, Any]) -> str:
    gain, groups = record["gain"], record["groups"]
    number, swaps = gain["n_resamples"], gain["n_swaps"]
    what = f"{record['rows']:,} rows" if groups is None else f"{groups:,} groups of rows"
    fewer = "" if number >= MOST else f" ({MOST:,} would take too long here)"
    if not swaps:
        return f"{number:,} resamples of {what}, of which no swap changes a score{fewer}"
    every = "all " if gain["all_swaps"] and swaps > 1 else ""
    word = "swap" if swaps == 1 else "swaps"
    return f"{number:,} resamples and {every}{swaps:,} {word} of {what}{fewer}"


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
    parts.append("\n".join(["written:", *(f"  {path}" for path in one.shown)]))
    if one.noted:
        numbers = ", ".join(f"{number:03d}" for number in one.noted)
        parts.append(f"noted in the ledger, number {numbers}")
    return parts


def _pictures(record: dict[str, Any]) -> Part:
    """Return how many rows, and of several labels how many of these, b fixed and broke."""
    found = record["pictures"]
    labels = found.get("labels")
    of_labels = ["labels"] if labels else []
    headers = ["pictures", "rows", *of_labels, "the first by id"]
    lines = []
    for kind in (*KINDS, "both right"):
        counts = [f"{of[kind]:,}" for of in (found, labels) if of]
        lines.append([kind, *counts, _ids(found["first"].get(kind, []))])
    return headers, lines, None  # ids are cut one by one


def _ids(ids: Sequence[str]) -> str:
    """Return the first ids, of which more than one only where there is room for it."""
    short = [shortened(name, WIDEST_ID) for name in ids[:IDS]]
    while len(", ".join(short)) > WIDEST_IDS:
        short.pop()
    return ", ".join(short) or "-"


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
    return [line["name"], f"{line['rows']:,}", *scores, signed(change)]


def _with_error(value: float, se: float) -> str:
    return f"{value:.4f} ± {se:.4f}"
