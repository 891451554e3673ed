"""How fast, and how good, is greedy ensemble selection beside AutoGluon's, on simulated members?

    .venv/bin/python -m benchmarks.ensemble_greedy --peer PYTHON
    .venv/bin/python -m benchmarks.ensemble_greedy --rows 2000 --classes 10 --repeats 1
    .venv/bin/python -m benchmarks.ensemble_greedy --bagging 40

PYTHON is an interpreter that has AutoGluon: python -m venv DIR; DIR/bin/pip install autogluon.core.
Each side runs in a process of its own, one at a time: `one climb` and `bags` are Podium's, the peer
is AutoGluon's EnsembleSelection as it comes. Seconds are those of the selection, from arrays in
memory (peer) or mapped from a file that was read before (Podium). The honest score is that of the
weights on as many fresh rows. Memory is the peak of the process, mapped pages included (Linux). On
a processor that others use too, look at the seconds of the processor.

`--bagging N` asks instead which bags are best: on N simulated competitions of 300 to 3,000 rows,
none, resamples of the rows, or random halves of the members; by honest score on 20,000 fresh rows.
`--even` makes all members nearly as good as each other.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.ensemble.blending.greedy import BAGS, ROUNDS, greedy_weights
from pipeline.ensemble.stack import Stack
from pipeline.metrics import get_metric
from pipeline.show import table

METRICS = ("accuracy", "log_loss")
ROOT = Path(__file__).resolve().parents[1]
FRESH = 20_000  # rows that a small competition is judged on


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(argv)
    if options.side is not None:
        print(json.dumps(own_side(Path(options.side), options)), flush=True)
    elif options.bagging:
        print(bagging_report(options.bagging, options.even))
    else:
        print(race(options))


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="to fit on, and as many fresh")
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--members", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3, help="of Podium's sides")
    parser.add_argument("--peer-repeats", type=int, default=1)
    parser.add_argument("--peer", help="the interpreter that has autogluon.core")
    parser.add_argument("--metrics", nargs="*", default=METRICS, choices=METRICS)
    parser.add_argument("--bagging", type=int, default=0, metavar="N", help="competitions")
    parser.add_argument("--even", action="store_true", help="with --bagging")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--bags", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def simulate(
    sizes: Sequence[int], classes: int, members: int, seed: int, even: bool = False
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return labels (rows,) and members (members, rows, c) float32 for each number of rows.

    Members differ in skill and temperature, come in families of five that share some of their
    noise, and every tenth one is bad; `even` ones hardly differ. All share how hard a row is.
    """
    rng = np.random.default_rng(seed)
    skill = rng.uniform(2.6, 3.6, members)  # how far the actual class stands out
    skill[9::10] = 0.5
    heat = np.exp(rng.normal(0, 0.4, members))  # below 1: too sure
    if even:
        skill, heat = 3.1 + (skill - skill.mean()) / 20, heat**0.1
    parts = []
    for rows in sizes:
        y = rng.integers(0, classes, rows)
        hard = rng.standard_normal((rows, classes), np.float32)
        stack = np.empty((members, rows, classes), np.float32)
        for member, values in enumerate(stack):
            if member % 5 == 0:
                family = rng.standard_normal((rows, classes), np.float32)
            own = rng.standard_normal((rows, classes), np.float32)
            values[:] = 0.9 * hard + 0.4 * family + 0.4 * own
            values[np.arange(rows), y] += skill[member]
            values *= 2.5 / heat[member]
            values -= values.max(axis=1, keepdims=True)
            np.exp(values, out=values)
            values /= values.sum(axis=1, keepdims=True)
        parts.append((y, stack))
    return parts


def score(metric: str, y: np.ndarray, stack: Stack, weights: np.ndarray) -> float:
    """Return the metric of the weighted mean."""
    mixed = stack.mix(weights)
    if metric == "accuracy":
        return float((mixed.argmax(axis=1) == y).mean())
    actual = mixed[np.arange(len(y)), y] / mixed.sum(axis=1, dtype=np.float64)
    return float(-np.log(np.maximum(actual, 1e-15)).mean())


def own_side(folder: Path, options: argparse.Namespace) -> dict:
    """Be the process of one of Podium's sides."""
    y = np.load(folder / "labels.npy")
    stack = Stack.of(list(np.load(folder / "members.npy", mmap_mode="r")))
    metric = get_metric(options.metrics[0], "multiclass")
    start, used = time.perf_counter(), time.process_time()
    weights = greedy_weights(metric, y, stack, bags=options.bags, rounds=options.rounds)
    return {
        "weights": weights.tolist(),
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - used,
        "peak": peak_memory(),
        "version": "Podium",
    }


def peak_memory() -> int:
    """Return the most bytes this process held; getrusage would count its parent's before exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def race(options: argparse.Namespace) -> str:
    """Run all sides on the same members, and return the table."""
    sizes = options.rows, options.rows
    (y, stack), (fresh_y, fresh) = simulate(sizes, options.classes, options.members, 0)
    lines = []
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name, "labels.npy"), y)
        np.save(Path(name, "members.npy"), stack)
        for metric in options.metrics:
            for side, command in commands(options, metric, name).items():
                repeats = options.peer_repeats if side == "peer" else options.repeats
                runs = [answer(command) for _ in range(repeats)]
                took = (statistics.median(run[what] for run in runs) for what in ("seconds", "cpu"))
                weights = np.array(runs[0]["weights"])
                line = [metric, runs[0]["version"] if side == "peer" else side]
                line += [*(f"{value:.2f}" for value in took), str(repeats)]
                line += [f"{score(metric, y, Stack.of(stack), weights):.5f}"]
                line += [f"{score(metric, fresh_y, Stack.of(fresh), weights):.5f}"]
                line += [str((weights > 0).sum()), f"{max(run['peak'] for run in runs) / 1e6:.0f}"]
                lines.append(line)
                print(*line, sep="  ", flush=True)
    size = f"{options.members} members x {options.rows:,} rows x {options.classes} classes"
    headers = ["metric", "side", "seconds", "of the processor", "n", "in-sample", "honest"]
    headers += ["members", "peak MB"]
    return f"\n{size}\n{table(headers, lines)}"


def commands(options: argparse.Namespace, metric: str, folder: str) -> dict[str, list[str]]:
    """Return what starts each side."""
    found = {}
    for bags, rounds in ((0, options.rounds), (BAGS, ROUNDS)):
        side = f"{bags} bags, {rounds} rounds" if bags else f"one climb, {rounds} rounds"
        words = f"-m benchmarks.ensemble_greedy --metrics {metric} --bags {bags} --rounds {rounds}"
        found[side] = [sys.executable, *words.split(), "--side", folder]
    if options.peer:
        script = str(ROOT / "benchmarks" / "ensemble_peers.py")
        found["peer"] = [options.peer, script, folder, metric, str(options.rounds)]
    return found


def answer(command: list[str]) -> dict:
    """Run a side, and return its line of JSON."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"a side ended with status {done.returncode}; its own words stand above")
    return json.loads(done.stdout.splitlines()[-1])


def bags_of_members(metric: str, y: np.ndarray, stack: Stack, seed: int) -> np.ndarray:
    """Return the mean weights of climbs on all rows that each had a random half of the members."""
    rng, weights = np.random.default_rng(seed), np.zeros(len(stack))
    for _ in range(BAGS):
        half = np.sort(rng.permutation(len(stack))[: (len(stack) + 1) // 2])
        found = greedy_weights(get_metric(metric, "multiclass"), y, stack.only(half), bags=0)
        weights[half] += found / BAGS
    return weights


def bagging_report(count: int, even: bool) -> str:
    """Return a table of the honest scores of each kind of bag, as gains over one climb."""
    lines = []
    for metric in METRICS:
        sign = get_metric(metric, "multiclass").sign
        for rows in (300, 1000, 3000):
            gains = np.array([gained(metric, rows, seed, even) for seed in range(count)]) * sign
            error = gains.std(axis=0, ddof=1) / np.sqrt(count)
            pairs = zip(gains.mean(axis=0), error, strict=True)
            lines.append([metric, f"{rows:,}", *(f"{m:+.5f} ± {e:.5f}" for m, e in pairs)])
    headers = ["metric", "rows", *KINDS]
    return f"honest gain over one climb, n={count} each\n{table(headers, lines)}"


KINDS = ("row bags", "member bags", "mean of all", "best member")


def gained(metric: str, rows: int, seed: int, even: bool) -> list[float]:
    """Return by how much each kind's score on fresh rows is above that of one climb."""
    members = (5, 12, 30)[seed % 3]
    (y, values), (fresh_y, fresh_values) = simulate((rows, FRESH), 10, members, seed, even)
    stack, fresh = Stack.of(values), Stack.of(fresh_values)
    one = get_metric(metric, "multiclass")
    alone = [one.sign * score(metric, y, stack, w) for w in np.eye(members)]
    weights = [
        greedy_weights(one, y, stack, bags=0),
        greedy_weights(one, y, stack, seed=seed),
        bags_of_members(metric, y, stack, seed),
        np.full(members, 1 / members),
        np.eye(members)[int(np.argmax(alone))],
    ]
    scores = [score(metric, fresh_y, fresh, w) for w in weights]
    return [value - scores[0] for value in scores[1:]]


if __name__ == "__main__":
    main()
