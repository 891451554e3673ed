"""What is odd about the labels: classes with few rows, without any in a fold, labels that always or
never come together."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from pipeline.artifacts.findings import Finding
from pipeline.competition import CompetitionData
from pipeline.folds import Folds
from pipeline.folds.balance import PART_NAMES, balance
from pipeline.folds.plan import TEST

LOPSIDED = 20  # times the smallest class that the largest may be
RARE = 10  # rows of a class under which its score is mostly chance
LISTED, EXAMPLES = 60, 6  # items of a finding; rows shown of one
FREQUENT = 10  # pictures of a label whose company is worth a line
PAIRS = 15  # lines of each kind of pair
EXPECTED = 10  # pictures that chance alone would give a pair that never comes
IMPLIED = 0.98  # share of one label's pictures that have the other too
LIFT, SURE = 1.5, 3.0  # times as often as by chance, and in standard errors more


def class_findings(data: CompetitionData, folds: Folds | None) -> list[Finding]:
    """Return what is odd about the labels of the training rows, weights and rows only trained on.

    Without `folds`, which are those of these rows, nothing is said of them. Rows that are only
    trained on count as rows of a class, but not towards its folds.
    """
    if folds is not None and not np.array_equal(folds.ids, data.train.ids):
        raise ValueError("the folds are not those of the competition's training rows")
    hot = _hot(data)
    found = [_class_counts(data, hot, folds), _rare(data, hot, folds)]
    if folds is not None:
        found.append(_missing_in_folds(data, hot, folds))
    if data.competition.task == "multilabel":
        both = np.asarray((hot.T @ hot).todense())  # (c, c): rows with both labels
        found += [_labels_per_image(data, hot), _unlabelled(data, hot)]
        found += [_co_occurrence(data, both), _always_together(data, hot, both)]
    return [*found, _weights(data), _train_only(data)]


def _hot(data: CompetitionData) -> sparse.csr_array:
    """Return the labels as 0/1, (n, c) int64."""
    labels, count = data.labels, len(data.classes)
    if labels.ndim == 2:
        return sparse.csr_array(labels > 0, dtype=np.int64)
    rows = np.arange(len(labels))
    return sparse.csr_array((np.ones(len(rows), np.int64), (rows, labels)), (len(rows), count))


def _totals(hot: sparse.csr_array) -> np.ndarray:
    return np.asarray(hot.sum(axis=0)).ravel()


def _class_counts(data: CompetitionData, hot: sparse.csr_array, folds: Folds | None) -> Finding:
    """Count the rows of every class, and those in the fold that has fewest and most of it, by the
    same counts as the folds' own report."""
    totals = _totals(hot)
    header, spans = ["class", "rows", "share"], [[]] * len(totals)
    if folds is not None:
        report = balance(folds.fold, data.labels, data.classes, folds.group)["folds"]
        parts = [list(report[str(k)]["counts"].values()) for k in folds.numbers]
        least, most = np.min(parts, axis=0).tolist(), np.max(parts, axis=0).tolist()
        spans = [[f"{a:,}–{b:,}" if a < b else f"{a:,}"] for a, b in zip(least, most, strict=True)]
        header.append("rows per fold")
    order = np.argsort(-totals, kind="stable").tolist()
    lines = [
        [data.classes[i], f"{totals[i]:,}", f"{totals[i] / hot.shape[0]:.2%}", *spans[i]]
        for i in order
    ]
    first, last = order[0], order[-1]
    lopsided = totals[first] > LOPSIDED * totals[last]
    return Finding(
        "class-counts",
        "warn" if lopsided else "note",
        f"{len(totals):,} classes: from {totals[last]:,} ({data.classes[last]}) to "
        f"{totals[first]:,} rows ({data.classes[first]})",
        "A metric of classes (macro, balanced) is decided by the small ones, which plain training "
        "neglects: weigh rows by columns.weight, or let the decision's multipliers mend it."
        if lopsided
        else "The classes are of comparable size.",
        len(totals),
        table=[header, *lines],
    )


def _item(data: CompetitionData, rows: np.ndarray, title: str) -> dict[str, Any]:
    return {"rows": data.train.ids[rows[:EXAMPLES]].tolist(), "table": "train", "title": title}


def _rows_of(hot: sparse.csr_array, column: int) -> np.ndarray:
    return np.flatnonzero(hot[:, [column]].toarray().ravel())


def _rare(data: CompetitionData, hot: sparse.csr_array, folds: Folds | None) -> Finding:
    """Name the classes with fewer rows to validate on than folds, or hardly any."""
    apart = data.train.train_only
    dealt, beside = _totals(hot[~apart]), _totals(hot[apart])
    wanted = max(RARE, 0 if folds is None else len(folds.numbers))
    rare = np.flatnonzero(dealt < wanted)
    rare = rare[np.argsort(dealt[rare], kind="stable")]
    items = []
    for i in rare[:LISTED].tolist():
        more = f" and {beside[i]:,} only trained on" if beside[i] else ""
        title = f"{data.classes[i]}: {dealt[i]:,} row{'' if dealt[i] == 1 else 's'}{more}"
        items.append(_item(data, _rows_of(hot, i), title))
    return Finding(
        "rare-classes",
        "warn" if len(rare) else "fine",
        f"classes with fewer than {wanted} rows: {len(rare):,} of {len(dealt):,}",
        "Their scores are mostly chance, and some fold validates none of them: add rows as "
        "`external`, or judge runs by a metric that they do not decide.",
        len(rare),
        items=items,
    )


def _missing_in_folds(data: CompetitionData, hot: sparse.csr_array, folds: Folds) -> Finding:
    """Name, for each fold, the classes that it does not validate or does not train on."""
    there = _totals(hot) > 0
    items = []
    parts: list[tuple[str, Callable[[], np.ndarray]]] = []
    for k in folds.numbers:
        parts.append((f"fold {k} validates no row of", lambda k=k: folds.valid_rows(k)))
        parts.append((f"fold {k} trains on no row of", lambda k=k: folds.train_rows(k)))
    if len(folds.test_rows):
        parts.append((f"fold {PART_NAMES[TEST]} has no row of", lambda: folds.test_rows))
    missing = set()
    for words, rows in parts:
        absent = np.flatnonzero(there & (_totals(hot[rows()]) == 0)).tolist()
        missing |= set(absent)
        if absent:
            items.append({"rows": [], "table": "train", "title": f"{words} {_names(data, absent)}"})
    return Finding(
        "classes-missing-in-folds",
        "warn" if missing else "fine",
        f"classes that some fold does not have: {len(missing):,} of {there.sum():,}",
        "A fold's score leaves out what it does not validate, and its network cannot predict what "
        "it was not trained on: make fewer folds, or add rows.",
        len(missing),
        "folds",
        items[:LISTED],
    )


def _names(data: CompetitionData, chosen: Sequence[int], most: int = 20) -> str:
    more = f" and {len(chosen) - most:,} more" if len(chosen) > most else ""
    return ", ".join(data.classes[i] for i in chosen[:most]) + more


def _labels_per_image(data: CompetitionData, hot: sparse.csr_array) -> Finding:
    numbers = np.asarray(hot.sum(axis=1)).ravel()
    counts = np.bincount(numbers)
    lines = [
        [f"{k}", f"{counts[k]:,}", f"{counts[k] / len(numbers):.2%}"]
        for k in np.flatnonzero(counts).tolist()
    ]
    return Finding(
        "labels-per-image",
        "note",
        f"labels per picture: {numbers.min()} to {numbers.max()}, {numbers.mean():.2f} on average",
        "A threshold that answers with as many labels on average is a sound first choice.",
        int((numbers > 1).sum()),
        table=[["labels", "pictures", "share"], *lines],
    )


def _unlabelled(data: CompetitionData, hot: sparse.csr_array) -> Finding:
    rows = np.flatnonzero(np.asarray(hot.sum(axis=1)).ravel() == 0)
    share = len(rows) / hot.shape[0]
    return Finding(
        "unlabelled-images",
        ("warn" if share > 0.5 else "note") if len(rows) else "fine",
        f"pictures without any label: {len(rows):,} of {hot.shape[0]:,} ({share:.1%})",
        "Training takes each for a picture that has none of the labels: make sure that none means "
        "none, and not that nobody looked; otherwise leave them out by `exclude`.",
        len(rows),
        items=[_item(data, rows[i : i + 1], "no label") for i in range(min(len(rows), LISTED))],
    )


def _co_occurrence(data: CompetitionData, both: np.ndarray) -> Finding:
    """List pairs of frequent labels: those that come together most, one that implies another, and
    those that never come together though chance alone would bring them."""
    names, counts, rows = data.classes, both.diagonal(), len(data.train)
    first, second = np.triu_indices(len(counts), 1)
    frequent = (counts[first] >= FREQUENT) & (counts[second] >= FREQUENT)
    first, second = first[frequent], second[frequent]
    a, b, together = counts[first], counts[second], both[first, second]
    expected = a * b / rows
    jaccard = together / np.maximum(a + b - together, 1)
    implied = together >= IMPLIED * np.minimum(a, b)
    surely = expected + SURE * np.sqrt(expected)
    lifted = ~implied & (together > 0) & (together >= np.maximum(LIFT * expected, surely))
    never = (together == 0) & (expected > EXPECTED)
    table = [["pair", "what", "together", "expected", "of the first", "of the second"]]
    for chosen, what, key in (
        (implied, "implies", together / np.minimum(a, b)),
        (lifted, "together", jaccard),
        (never, "never", expected),
    ):
        at = np.flatnonzero(chosen)
        for p in at[np.argsort(-key[at], kind="stable")][:PAIRS].tolist():
            i, j = first[p], second[p]
            if counts[i] > counts[j]:
                i, j = j, i  # the rarer one implies the other
            shares = (f"{together[p] / counts[k]:.1%}" for k in (i, j))
            pair = f"{names[i]} → {names[j]}" if what == "implies" else f"{names[i]}, {names[j]}"
            table.append([pair, what, f"{together[p]:,}", f"{expected[p]:,.1f}", *shares])
    telling = int((implied | lifted | never).sum())
    return Finding(
        "co-occurrence",
        "note" if telling else "fine",
        f"pairs of labels: {implied.sum():,} where one implies the other, {lifted.sum():,} at "
        f"least {LIFT:g} times as often together as by chance, {never.sum():,} never together",
        "Networks learn company by themselves; an answer that breaks a rule without exception can "
        "be mended after the decision.",
        telling,
        table=table if telling else [],
    )


def _always_together(data: CompetitionData, hot: sparse.csr_array, both: np.ndarray) -> Finding:
    """Name the labels that the same pictures have."""
    counts = both.diagonal()
    same = (both == counts) & (both == counts[:, None])
    leads = [i for i in np.flatnonzero(counts).tolist() if same[i].argmax() == i]
    groups = [np.flatnonzero(same[i]).tolist() for i in leads if same[i].sum() > 1]
    items = [
        _item(data, _rows_of(hot, one[0]), f"{_names(data, one)}: {counts[one[0]]:,} pictures")
        for one in groups[:LISTED]
    ]
    return Finding(
        "always-together",
        "warn" if groups else "fine",
        f"labels that the same pictures have: {sum(map(len, groups)):,} in {len(groups):,} groups",
        "They are one label under several names, or a column was copied by mistake; a metric of "
        "classes counts it as often.",
        sum(map(len, groups)),
        items=items,
    )


def _weights(data: CompetitionData) -> Finding:
    why = "Weights act in the training loss alone: the metric does not know them."
    weights = data.train.weights
    if weights is None:
        return Finding("weights", "fine", "rows without weights", why)
    none = int((weights == 0).sum())
    said = f"weights of rows: {weights.min():g} to {weights.max():g}, median {np.median(weights):g}"
    said += f"; {none:,} of them 0" if none else ""
    return Finding("weights", "note", said, why, int((weights != 1).sum()))


def _train_only(data: CompetitionData) -> Finding:
    count, rows = int(data.train.train_only.sum()), len(data.train)
    said = f"rows that are only trained on: {count:,} of {rows:,}"
    why = "They are in no fold: no score tells whether they help; compare a run without them."
    return Finding("train-only", "note" if count else "fine", said, why, count)
