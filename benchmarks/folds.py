"""Multi-label folds: how even and how fast, beside iterative-stratification; and at a large scale.

    python -m benchmarks.folds                 # side by side, then 1,000,000 rows in groups
    python -m benchmarks.folds --rows 100000   # a smaller large case

The worst error is the largest deviation of a label's count in a fold from a fifth of its total, in
rows, over labels, rows without any label, and rows.
"""

import argparse
import resource
import time

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

from pipeline.folds import k_folds

SMALL = ((1_000, 10), (3_000, 20), (2_000, 30), (10_000, 20), (20_000, 50))
FOLDS = 5


def labels_of(rows: int, classes: int, seed: int) -> np.ndarray:
    """Return 0/1 labels (rows, classes) int8 of frequencies spread evenly over octaves."""
    rng = np.random.default_rng(seed)
    frequencies = np.exp(rng.uniform(np.log(0.0005), np.log(0.3), classes))
    labels = np.empty((rows, classes), np.int8)
    for j, frequency in enumerate(frequencies):
        labels[:, j] = rng.random(rows) < frequency
    return labels


def worst_error(labels: np.ndarray, fold: np.ndarray) -> float:
    """Return the worst deviation of a count from its fair share, in rows."""
    worst = 0.0
    for column in (*labels.T, ~labels.any(axis=1), np.ones(len(labels), bool)):
        counts = np.bincount(fold[column > 0], minlength=FOLDS)
        worst = max(worst, float(np.abs(counts - counts.sum() / FOLDS).max()))
    return worst


def theirs(labels: np.ndarray, seed: int) -> np.ndarray:
    fold = np.empty(len(labels), np.int64)
    splitter = MultilabelStratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for k, (_, valid) in enumerate(splitter.split(labels, labels)):
        fold[valid] = k
    return fold


def timed(make, *arguments) -> tuple[float, np.ndarray]:
    started = time.perf_counter()
    made = make(*arguments)
    return time.perf_counter() - started, made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    print("ungrouped, worst label-count error in rows and seconds, medians over seeds")
    for rows, classes in SMALL:
        results = []
        for seed in range(asked.seeds):
            labels = labels_of(rows, classes, seed)
            one = timed(lambda y, s: k_folds(y, None, FOLDS, s), labels, seed)
            other = timed(theirs, labels, seed)
            results.append([worst_error(labels, one[1]), one[0]])
            results[-1] += [worst_error(labels, other[1]), other[0]]
        ours_error, ours, their_error, their = np.median(results, axis=0)
        higher = sum(r[0] > r[2] for r in results)
        print(
            f"{rows:>7,} x {classes:<3} ours {ours_error:6.1f} {ours:7.2f} s   "
            f"iterative-stratification {their_error:6.1f} {their:7.2f} s   "
            f"ours worse in {higher} of {asked.seeds}, {their / ours:.1f} times faster"
        )
    labels = labels_of(asked.rows, 100, 0)
    groups = np.random.default_rng(1).integers(0, asked.rows * 3 // 10, asked.rows)
    seconds, fold = timed(lambda y, g: k_folds(y, g, FOLDS, 0), labels, groups)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    together = len(np.unique(np.stack([groups, fold]), axis=1).T) == len(np.unique(groups))
    print(
        f"grouped {asked.rows:,} x 100, {len(np.unique(groups)):,} groups: {seconds:.1f} s, worst "
        f"error {worst_error(labels, fold):.1f} rows, peak {peak:,.0f} MB, whole groups: {together}"
    )


if __name__ == "__main__":
    main()
