"""How fast, and how good, the exact threshold searches are against the usual ones.

The usual ways are 99 thresholds per class with scikit-learn's f1_score, and scipy's Nelder-Mead
from 0.5 on the same score. All run in this process, in turns, on the same simulated scores, and
every class that a usual way has searched is compared. Large matrices are searched by the usual
ways in some of their classes only, and their seconds multiplied up; the table says in how many.
Each size runs in a process of its own, so the peak of memory is its own, scores and labels
included. Run:

    .venv/bin/python -m benchmarks.thresholds
    .venv/bin/python -m benchmarks.thresholds --rows 2000 --labels 5 --repeats 3
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.optimize import minimize
from sklearn.metrics import f1_score

from pipeline.decisions import global_threshold, micro_f_beta, per_class_f_beta
from pipeline.metrics import get_metric
from pipeline.metrics.f_beta import f_beta

GRID = np.arange(1, 100) / 100
SIZES = ((20_000, 20), (100_000, 100), (1_000_000, 100))
SEARCHED = 4_000_000  # cells that the usual ways search; beyond, some classes stand for all
MICRO = get_metric("f1_micro", "multilabel")


def simulate(rows: int, labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 labels and float32 scores of classes that differ in frequency and difficulty."""
    rng = np.random.default_rng(seed)
    rates = np.geomspace(0.01, 0.4, labels)
    strength = np.linspace(1.0, 2.5, labels)
    y = np.empty((rows, labels), np.int8)
    probs = np.empty((rows, labels), np.float32)  # as a network writes them
    for start in range(0, rows, 20_000):  # in blocks: no float64 matrix
        block = slice(start, start + 20_000)
        y[block] = rng.random(y[block].shape) < rates
        noise = rng.normal(size=y[block].shape)
        logits = np.log(rates / (1 - rates)) + strength * y[block] + noise
        probs[block] = 1 / (1 + np.exp(-logits))
    return y, probs


def f1_at(truth: np.ndarray, scores: np.ndarray, threshold: float) -> float:
    """Return scikit-learn's F1 of one class, compared in float64 as rules compare."""
    return float(f1_score(truth, scores >= np.float64(threshold), zero_division=0))


def grid_search(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the best of 99 thresholds for one class."""
    return float(GRID[np.argmax([f1_at(truth, scores, cut) for cut in GRID])])


def nelder_mead(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return where Nelder-Mead ends from 0.5 for one class."""
    found = minimize(lambda t: -f1_at(truth, scores, t[0]), [0.5], method="Nelder-Mead")
    return float(found.x[0])


def each(
    search: Callable[[np.ndarray, np.ndarray], float], y: np.ndarray, probs: np.ndarray
) -> np.ndarray:
    """Return the thresholds of a search of one class for all classes."""
    pairs = zip(y.T, probs.T, strict=True)
    return np.array([search(truth.copy(), scores.copy()) for truth, scores in pairs])


def race(
    searches: list[Callable[[], np.ndarray | float]], repeats: int
) -> tuple[np.ndarray, list[np.ndarray | float]]:
    """Return the median seconds of each search, run in turns, and what it found."""
    seconds, found = np.empty((repeats, len(searches))), [None] * len(searches)
    for turn in seconds:
        for k, search in enumerate(searches):
            start = time.perf_counter()
            found[k] = search()
            turn[k] = time.perf_counter() - start
    return np.median(seconds, axis=0), found


def micro_score(y: np.ndarray, probs: np.ndarray, thresholds: np.ndarray | float) -> float:
    """Return micro-F1 by counts, block by block."""
    hits = counts = 0
    for start in range(0, len(y), 20_000):
        truth = y[start : start + 20_000]
        answer = probs[start : start + 20_000] >= np.float64(thresholds)
        hits += int(np.count_nonzero(answer & (truth == 1)))
        counts += int(np.count_nonzero(answer))
    return float(f_beta(hits, counts, np.count_nonzero(y)))


def compare(rows: int, labels: int, repeats: int) -> None:
    """Run all searches on matrices of one size and print the comparison."""
    y, probs = simulate(rows, labels)
    some = np.unique(np.linspace(0, labels - 1, max(1, min(labels, SEARCHED // rows))).astype(int))
    part, part_probs = y[:, some], probs[:, some]
    searches = [
        partial(per_class_f_beta, y, probs),
        partial(micro_f_beta, y, probs),
        partial(global_threshold, MICRO, y, probs),
    ]
    seconds, (exact, joint, one) = race(searches, repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    usual = [partial(each, search, part, part_probs) for search in (grid_search, nelder_mead)]
    slow, (grid, simplex) = race(usual, repeats if rows * len(some) <= 400_000 else 1)
    ours, by_grid, by_simplex = (
        np.array([f1_at(*case) for case in zip(part.T, part_probs.T, t, strict=True)])
        for t in (exact[some], grid, simplex)
    )
    slow = slow * labels / len(some)
    print(f"{rows} rows x {labels} labels, float32; usual searches on {len(some)} labels")
    print(f"  per-class F1  exact {seconds[0]:.4f} s   F1 {ours.mean():.6f}")
    for name, time_, scores in zip(
        ("grid of 99", "Nelder-Mead"), slow, (by_grid, by_simplex), strict=True
    ):
        lower = int((ours < scores).sum())
        times = f"{time_:.2f} s, {time_ / seconds[0]:.0f} times"
        print(f"    {name:<12}{times}; F1 {scores.mean():.6f}; exact lower in {lower} labels")
    print(f"  micro-F1      joint {seconds[1]:.4f} s   F1 {micro_score(y, probs, joint):.6f}")
    print(f"    one threshold   {seconds[2]:.4f} s   F1 {micro_score(y, probs, one):.6f}")
    print(f"    at 0.5                     F1 {micro_score(y, probs, 0.5):.6f}")
    size = (y.nbytes + probs.nbytes) / 2**30
    print(f"  peak of memory {peak:.2f} GiB, of which labels and scores {size:.2f} GiB", flush=True)


def main(argv: list[str] | None = None) -> None:
    """Compare one size here, or each of the usual sizes in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, help="with --labels: one size only")
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(argv)
    if options.rows:
        compare(options.rows, options.labels, options.repeats)
        return
    for rows, labels in SIZES:
        size = ["--rows", str(rows), "--labels", str(labels), "--repeats", str(options.repeats)]
        subprocess.run([sys.executable, "-m", "benchmarks.thresholds", *size], check=True)


if __name__ == "__main__":
    main()
