"""How fast, and how good, the exact threshold search is against the usual grid.

The usual way scores 99 thresholds per class with scikit-learn's f1_score. Both run in this
process, in turns, on the same simulated scores; every class is compared. Run:

    .venv/bin/python -m benchmarks.thresholds
    .venv/bin/python -m benchmarks.thresholds --rows 2000 --labels 5 --repeats 3
"""

import argparse
import time

import numpy as np
from sklearn.metrics import f1_score

from pipeline.decisions import global_threshold, micro_f_beta, per_class_f_beta
from pipeline.metrics import get_metric

GRID = np.arange(1, 100) / 100


def simulate(rows: int, labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores of classes that differ in frequency and in difficulty."""
    rng = np.random.default_rng(seed)
    rates = np.geomspace(0.01, 0.4, labels)
    y = (rng.random((rows, labels)) < rates).astype(np.int8)
    strength = np.linspace(1.0, 2.5, labels)
    logits = np.log(rates / (1 - rates)) + strength * y + rng.normal(size=y.shape)
    probs = (1 / (1 + np.exp(-logits))).astype(np.float32)  # as a network writes them
    return y, probs.astype(np.float64)  # as rules compare them


def grid_thresholds(y: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return the best of 99 thresholds per class by f1_score."""
    columns = zip(y.T, probs.T, strict=True)
    scores = [[f1_score(t, p >= cut, zero_division=0) for cut in GRID] for t, p in columns]
    return GRID[np.argmax(scores, axis=1)]


def class_scores(y: np.ndarray, probs: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return the F1 of every class by scikit-learn."""
    columns = zip(y.T, probs.T, thresholds, strict=True)
    return np.array([f1_score(t, p >= cut, zero_division=0) for t, p, cut in columns])


def race(y: np.ndarray, probs: np.ndarray, repeats: int) -> tuple[list[float], list[np.ndarray]]:
    """Return the median seconds and the thresholds of the exact search and of the grid."""
    searches = (per_class_f_beta, grid_thresholds)
    seconds, found = np.empty((repeats, 2)), [None, None]
    for turn in seconds:
        for k, search in enumerate(searches):
            start = time.perf_counter()
            found[k] = search(y, probs)
            turn[k] = time.perf_counter() - start
    return np.median(seconds, axis=0).tolist(), found


def main() -> None:
    """Run both searches in turns and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    y, probs = simulate(options.rows, options.labels)
    (exact, usual), found = race(y, probs, options.repeats)
    ours, grid = (class_scores(y, probs, thresholds) for thresholds in found)
    micro = get_metric("f1_micro", "multilabel")
    joint = micro.score(y, (probs >= micro_f_beta(y, probs)).astype(np.int8))
    one = micro.score(y, (probs >= global_threshold(micro, y, probs)).astype(np.int8))
    print(f"{options.rows} rows x {options.labels} labels, {options.repeats} repeats in turns")
    print(
        f"per-class F1   exact {exact:.4f} s, grid of 99 {usual:.3f} s: {usual / exact:.0f} times"
    )
    print(f"classes lower than the grid: {int((ours < grid).sum())} of {options.labels}")
    print(f"macro-F1       exact {ours.mean():.6f}, grid {grid.mean():.6f}")
    print(f"micro-F1       joint {joint:.6f}, one global threshold {one:.6f}")


if __name__ == "__main__":
    main()
