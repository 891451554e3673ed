"""What does a search find for its budget? Samplers and schedules replayed on real learning curves.

    .venv/bin/python -m benchmarks.tuning table                  # trains 640 configurations, once
    .venv/bin/python -m benchmarks.tuning replay --seeds 24
    .venv/bin/python -m benchmarks.tuning replay --policies "tpe multitask" --chart curves.png
    .venv/bin/python -m benchmarks.tuning speed

`table` trains every configuration of a scrambled Sobol sequence for all its epochs and keeps both
losses after each, below data/benchmarks/; killed, it goes on where it was. `--task digits` is LeNet
on pixels of the built-in digits; `heads` wants a competition called clothing. `replay` lets each
policy search the table: what it proposes becomes the nearest configuration that this replay has not
had yet. An epoch costs 1/27 of a whole training. What counts is the lowest validation loss of all
networks so far, at any level, and that network's loss on the test fold. Replays are kept beside the
table; `--fresh` makes them anew. `speed` is the time of a decision of `multitask`.
"""

import argparse
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.tuning_replay import Path as Found
from benchmarks.tuning_replay import Replay, ladder_of
from benchmarks.tuning_table import TASKS, Table, drawn, make_table
from pipeline.artifacts.files import read_json, write_json
from pipeline.config.project import Project
from pipeline.search.multitask import Multitask
from pipeline.search.seen import Seen
from pipeline.show import table

POLICIES = (
    "random",
    "grid",
    "quasi-random",
    "tpe",
    "gp",
    "random+halving",
    "random+hyperband",
    "tpe+halving",
    "multitask",
)
BUDGETS = np.array([5.0, 10.0, 20.0, 40.0])
SPEEDS = (50, 150, 400)  # observations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("table", "replay", "speed"))
    parser.add_argument("--task", choices=sorted(TASKS), default="digits")
    parser.add_argument("--configs", type=int, default=640)
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--policies", default=" ".join(POLICIES))
    parser.add_argument("--chart", type=Path, help="a PNG of the curves")
    parser.add_argument("--fresh", action="store_true")
    arguments = parser.parse_args()
    project, task = Project(Path.cwd()), TASKS[arguments.task]
    folder = project.root / "data" / "benchmarks"
    path = folder / f"tuning-{arguments.task}.npz"
    if arguments.verb == "table":
        make_table(project, task, arguments.configs, path, lambda line: print(line, flush=True))
    elif arguments.verb == "replay":
        kept = folder / f"tuning-{arguments.task}-replays.json"
        if arguments.fresh:
            kept.unlink(missing_ok=True)
        bench = Replay(Table.load(path), task.parsed)
        found = replayed(bench, arguments.policies.split(), arguments.seeds, kept)
        report(bench, found)
        if arguments.chart:
            draw(found, arguments.chart)
    else:
        speed(arguments.task)


def replayed(bench: Replay, policies: list[str], seeds: int, kept: Path) -> dict[str, list[Found]]:
    """Return the replays of every policy by seed; those that are kept are not made again."""
    warnings.filterwarnings("ignore", module="optuna")
    done = read_json(kept) if kept.exists() else {}
    for name in policies:
        paths, started = done.setdefault(name, []), time.perf_counter()
        for seed in range(len(paths), seeds):
            paths.append(vars(bench.run(name, seed, float(BUDGETS[-1]))))
            write_json(kept, done)
        print(f"{name}: {seeds} replays, {time.perf_counter() - started:.0f} s", flush=True)
    return {name: [Found(**one) for one in done[name][:seeds]] for name in policies}


def report(bench: Replay, found: dict[str, list[Found]]) -> None:
    """Print losses after each budget, and what they say about the policies."""
    last = bench.table.valid_loss[:, bench.epochs]
    best = float(last[np.isfinite(last)].min())
    count = len(next(iter(found.values())))
    print(f"{len(last)} configurations, {count} replays each, mean ± SE; best of all {best:.4f}")
    at = {name: np.array([one.at(BUDGETS) for one in paths]) for name, paths in found.items()}
    columns = [f"{budget:g}" for budget in BUDGETS]
    for side, what in ((0, "validation loss"), (1, "test loss")):
        lines = [
            [name, *(_mean_and_error(losses[:, side, k]) for k in range(len(BUDGETS)))]
            for name, losses in at.items()
        ]
        print(table([what, *columns], lines) + "\n")
    lines = [[n, *(f"{x.mean() - best:.4f}" for x in losses[:, 0].T)] for n, losses in at.items()]
    print(table(["regret", *columns], lines) + "\n")
    if "random" in at:
        target = at["random"][:, 0, -1].mean()
        print(f"random's mean after {BUDGETS[-1]:g}, {target:.4f}, is passed after:")
        for name, paths in found.items():
            print(f"  {name}: {_passed(paths, target)}")
    if {"tpe", "multitask"} <= at.keys():
        pairs = [(0, "validation"), (1, "test")]
        for side, what in pairs:
            apart = at["multitask"][:, side, 2] - at["tpe"][:, side, 3]
            wins = f"{(apart < 0).sum()} lower, {(apart > 0).sum()} higher of {len(apart)}"
            print(f"multitask after 20 less tpe after 40, {what}: {_mean_and_error(apart)}; {wins}")


def _mean_and_error(losses: np.ndarray) -> str:
    return f"{losses.mean():.4f} ± {losses.std(ddof=1) / len(losses) ** 0.5:.4f}"


def _passed(paths: list[Found], target: float) -> str:
    """Return after how many whole trainings a policy's mean loss is as low as `target`."""
    budgets = np.arange(1, 27 * int(BUDGETS[-1]) + 1) / 27
    mean = np.mean([one.at(budgets)[0] for one in paths], axis=0)
    below = np.flatnonzero(mean <= target)
    return f"{budgets[below[0]]:.1f}" if len(below) else f"not within {BUDGETS[-1]:g}"


def draw(found: dict[str, list[Found]], path: Path) -> None:
    """Draw mean validation losses with their standard errors."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), constrained_layout=True)
    budgets = np.geomspace(1, BUDGETS[-1], 200)
    for name, paths in found.items():
        losses = np.array([one.at(budgets)[0] for one in paths])
        mean, error = losses.mean(axis=0), losses.std(axis=0, ddof=1) / len(losses) ** 0.5
        (line,) = axes.plot(budgets, mean, label=name, linewidth=2 if name == "multitask" else 1)
        axes.fill_between(budgets, mean - error, mean + error, color=line.get_color(), alpha=0.15)
    axes.set(xscale="log", yscale="log", xlabel="whole trainings", ylabel="validation loss")
    axes.legend()
    figure.savefig(path, dpi=120)


def speed(name: str) -> None:
    """Print the time of a decision, by how many losses are known."""
    space, ladder = TASKS[name].parsed, ladder_of()
    for count in SPEEDS:
        rng, seen = np.random.default_rng(0), []
        for number, config in enumerate(drawn(space, count)):
            reached = min(int(rng.geometric(0.6)) - 1, ladder.top)
            losses = {k: float(rng.random() + 3 - k) for k in range(reached + 1)}
            seen.append(Seen(number, config, losses, reached))
            if sum(len(one.losses) for one in seen) >= count:
                break
        seconds = []
        for seed in range(5):
            started = time.perf_counter()
            Multitask(space, ladder, seed).next([replace(one) for one in seen], 40.0)
            seconds.append(time.perf_counter() - started)
        print(f"{count} losses of {len(seen)} trials: {np.median(seconds):.2f} s, median of 5")


if __name__ == "__main__":
    main()
