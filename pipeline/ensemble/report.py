"""What a decision came to, ready to be shown: sentences, and tables as (headers, rows)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.artifacts.columns import left_out
from pipeline.artifacts.files import read_object
from pipeline.decisions import Rule
from pipeline.decisions.calibration import Calibration
from pipeline.ensemble.build import Decided
from pipeline.ensemble.diagnostics import DIAGNOSTICS

Part = str | tuple[Sequence[str], Sequence[Sequence[str]]]
MOST = 12  # classes or candidates in a table
WORST = 5  # classes and confusions that are named


def report_parts(made: Decided) -> list[Part]:
    """Return members, candidates, the choice, its scores and what is wrong with it, in the order in
    which they are read: the score comes last."""
    record = made.record
    found = read_object(made.folder / DIAGNOSTICS, ("classes", "per_class"), "make ensemble again")
    state = "made" if made.made else "there already, unchanged"
    parts: list[Part] = [f"{made.name}: {state}"]
    if made.replaced:
        parts.append(f"in the place of {made.replaced}; another NAME= would have kept it")
    parts.append(_members(record))
    parts += [*_alike(record, found), *_subsets(record, found), _candidates(record)]
    parts += [*_wrong(found, made.rule), _coverage(record), _calibration(found), *_rates(record)]
    parts += [f"warning: {warning}" for warning in record["warnings"]]
    parts += [f"left out: {line}" for line in left_out(made.left_out or {})]
    return [part for part in [*parts, *_scores(record, made.rule)] if part]


def _members(record: dict[str, Any]) -> Part:
    """The members: what each counts, scores alone, and what is lost without it, per minute of its
    training where that is known."""
    headers, rows = ["member", "weight", "alone", "lost without it ± SE"], []
    timed = any(member["seconds"] for member in record["members"])
    for at, m in enumerate(record["members"], 1):
        minutes = m["seconds"] / 60
        lost = "-" if m["loss"] is None else f"{m['loss']:+.4f} ± {m['loss_se']:.4f}"
        price = "-" if m["loss"] is None or not minutes else f"{m['loss'] / minutes:+.5f}"
        weight = "-" if m["weight"] is None else f"{m['weight']:.3f}"
        cells = [f"{at} {m['name']}", weight, _number(m["score"]), lost]
        times = [f"{minutes:.1f}" if minutes else "-", price] if timed else []
        rows.append([*cells, *times])
    return [*headers, *(["minutes", "per minute"] if timed else [])], rows


def _alike(record: dict[str, Any], found: dict[str, Any]) -> list[Part]:
    """The pairs of members whose errors are most and least alike."""
    matrix = np.array(found["error_correlation"])
    if len(matrix) < 2:
        return []
    pairs = np.triu_indices(len(matrix), 1)
    order = np.argsort(-matrix[pairs], kind="stable")
    said = []
    for words, at in (("most", order[0]), ("least", order[-1])):
        a, b = (record["members"][int(side[at])]["name"] for side in pairs)
        said.append(f"errors {words} alike ({matrix[pairs][at]:.2f}): {a} and {b}")
    return said if len(order) > 1 else said[:1]


def _subsets(record: dict[str, Any], found: dict[str, Any]) -> list[Part]:
    """The plain mean of all members beside the best subsets of each size."""
    best: dict[int, dict[str, Any]] = {}
    for subset in found["subsets"]:
        best.setdefault(len(subset["members"]), subset)
    if len(best) < 2:
        return []
    rows = []
    for size in sorted(best):
        members = " ".join(str(at + 1) for at in best[size]["members"])
        rows.append([str(size), members, _number(best[size]["score"])])
    return [(["plain mean of", "best members", record["metric"]], rows)]


def _candidates(record: dict[str, Any]) -> Part:
    """The candidates of highest score, and always the simplest and the chosen one."""
    table = record["candidates"]
    order = sorted(range(len(table)), key=lambda at: -table[at]["gain"])
    chosen = [at for at in order if _is_chosen(table[at], record)]
    shown = sorted({*order[:MOST], 0, *chosen}, key=order.index)
    rows = []
    for at in shown:
        line = table[at]
        calibrated = "" if line["calibration"] == "none" else f" + {line['calibration']}"
        name = f"{line['blend']}{calibrated} + {line['rule']}{' *' if at in chosen else ''}"
        gain = f"{line['gain']:+.4f} ± {line['gain_se']:.4f}"
        rows.append([name, _number(line["honest"]), gain])
    mixed = " (mixed folds: too good)" if record["mixed"] else ""
    what = f"cross-fitted {record['metric']}{mixed}, * chosen"
    return [what, "score", "gain over the plain mean"], rows


def _is_chosen(line: dict[str, Any], record: dict[str, Any]) -> bool:
    of_line = line["blend"], line["calibration"], line["rule"]
    calibration, rule = record["calibration"]["kind"], record["rule"]["kind"]
    return of_line == (record["blend"], calibration, rule)


def _wrong(found: dict[str, Any], rule: Rule) -> list[Part]:
    """The classes of lowest F1, and the commonest confusions of one class with another."""
    classes, table = found["classes"], found["per_class"]
    worst = sorted(range(len(table)), key=lambda at: table[at]["f1"])[:WORST]
    fitted = len(rule.values) == len(classes) and rule.kind != "multipliers"
    rows = []
    for at in worst:
        line = table[at]
        shares = [_share(line[key]) for key in ("precision", "recall")]
        cells = [classes[at], str(line["support"]), *shares, f"{line['f1']:.3f}"]
        rows.append([*cells, *([f"{rule.values[at]:.3f}"] if fitted else [])])
    headers = ["weakest classes", "rows", "precision", "recall", "F1"]
    parts: list[Part] = [([*headers, *(["threshold"] if fitted else [])], rows)]
    if found["confusion"] is None:
        return parts
    matrix, share = np.array(found["confusion"]), np.array(found["confusion_by_row"])
    np.fill_diagonal(matrix, 0)
    pairs = [np.unravel_index(at, matrix.shape) for at in np.argsort(-matrix, axis=None)[:WORST]]
    lines = [
        [f"{classes[i]} -> {classes[j]}", str(matrix[i, j]), f"{share[i, j]:.1%}"]
        for i, j in pairs
        if matrix[i, j]
    ]
    return [*parts, (["taken for another", "rows", "of the class"], lines)] if lines else parts


def _coverage(record: dict[str, Any]) -> Part:
    """How many out-of-fold rows are answered from a confidence on, and how many rightly."""
    rows = [
        [f"{point['confidence']:g}", f"{point['coverage']:.1%}", _share(point["accuracy"])]
        for point in record["coverage"]["points"]
        if point["coverage"]
    ]
    return ["answered from confidence", "coverage", "right"], rows


def _calibration(found: dict[str, Any]) -> str:
    """Whether confidence means what it says, beside what chance alone would show."""
    curve = found["reliability"]
    said = f"calibration error {curve['ece']:.3f}"
    noise = curve.get("ece_of_a_calibrated_model")
    if noise is None:
        return said
    chance = f"chance (up to {noise['high']:.3f} if perfectly calibrated)"
    if curve["ece"] <= noise["high"]:
        return f"{said}: no more than {chance}"
    return f"{said}: beyond {chance}; a confidence is not to be taken at its word"


def _rates(record: dict[str, Any]) -> list[Part]:
    """How often each class is answered, out of fold and on test rows; the widest gaps if many."""
    rates = sorted(record["rates"], key=lambda rate: -abs(rate["gap"]))[:MOST]
    shown = [r for r in record["rates"] if r in rates]  # in the order of the classes
    rows = [[r["class"], f"{r['oof']:.1%}", f"{r['test']:.1%}", _signed(r["gap"])] for r in shown]
    return [(["answered", "out-of-fold", "test", "gap in SE"], rows)] if rows else []


def _scores(record: dict[str, Any], rule: Rule) -> list[Part]:
    calibration = Calibration.from_json(record["calibration"])
    calibrated = "" if calibration.kind == "none" else f", {calibration.describe()}"
    said: list[Part] = [f"chosen: {record['blend_described']}{calibrated}, {rule.describe()}"]
    in_sample = f"in-sample {_number(record['in_sample'])}"
    if record["honest"] is None:
        return [*said, f"{in_sample}, honest n/a (mixed folds)"]
    low, high = record["honest_interval"]
    honest = f"{record['honest']:.4f} ± {record['honest_se']:.4f}"
    said.append(f"{in_sample}, honest {honest} (95 % from {low:.4f} to {high:.4f})")
    over = record["gain_over_mean"]
    if len(record["members"]) > 1:
        sure = abs(over["gain"]) > 1.96 * over["se"]
        verdict = ("better" if over["gain"] > 0 else "worse") if sure else "within noise"
        gain = f"{over['gain']:+.4f} ± {over['se']:.4f}"
        said.append(f"honestly {gain} over the plain mean of all members: {verdict}")
    local = record["local_test_score"]
    return said if local is None else [*said, f"local test split {_number(local)}"]


def next_after_deciding(made: Decided, comp: str, submits: bool) -> str:
    """Return the commands that follow: is it better than its best member, and hand it in."""
    members, commands = made.record["members"], []
    if len(members) > 1 and made.record["honest"] is not None:
        first = max if made.record["greater_is_better"] else min
        best = first(members, key=lambda member: member["score"])
        commands.append(f'make compare COMP={comp} RUNS="{best["runs"][0]} {made.name}"')
    if submits:
        commands.append(f"make submit COMP={comp} FROM={made.name}")
    return "; ".join(commands) or f"make leaderboard COMP={comp}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # adding 0.0 turns -0.0 into +0.0
