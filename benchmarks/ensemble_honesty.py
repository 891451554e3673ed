"""Does the honest score keep its word? Hundreds of competitions whose truth is known.

    .venv/bin/python -m benchmarks.ensemble honesty [--each 50] [--comp clothing]

Each competition is decided as `make ensemble` does, and what comes out answers fresh rows: the
truth. Table 1, per kind of competition: the mean of |honest - truth|, the bias of the honest, of
the in-sample and of the best cross-fitted score (the winner's curse), how often the stated 95 %
interval and +- 1.96 SE hold the truth (of a real competition resampled, the truth is itself a
sample, and the interval of the difference is asked), and what three ways of choosing are truly
worth beyond the plain mean. Tables 2 and 3, per blend (under one rule) and per rule (of the plain
mean): the mean error of its own cross-fitted score, optimism in-sample and cross-fitted, how often
its 1.96 SE hold the truth, what it truly gains, how often it was chosen.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.ensemble_worlds import WORLDS, World, resampled, simulated
from pipeline.artifacts.columns import table
from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.decisions import needs_calibration, rule_kinds
from pipeline.ensemble.blending.blend import methods
from pipeline.ensemble.chain import Candidate, fit_chain
from pipeline.ensemble.choice import choose
from pipeline.ensemble.cross_fit import CrossFit
from pipeline.ensemble.decide import Inputs
from pipeline.ensemble.honest import honest_score
from pipeline.ensemble.members import usable_runs
from pipeline.ensemble.rows import Rows
from pipeline.folds import load_shared
from pipeline.metrics import Metric, get_metric, standard_error


@dataclass(frozen=True)
class Outcome:
    """One competition: scores are signed, so that higher is better."""

    world: str
    honest: float
    se: float
    interval: tuple[float, float]
    in_sample: float
    truth: float
    truth_se: float
    best_crossed: float
    best_truth: float
    mean_truth: float
    seconds: float
    chosen: str
    blends: dict[str, tuple[float, ...]] = field(default_factory=dict)
    rules: dict[str, tuple[float, ...]] = field(default_factory=dict)


def outcome(name: str, metric: Metric, rows: Rows, fresh: Rows, seed: int) -> Outcome:
    """Decide on `rows`, and see on `fresh` ones what it is worth."""
    started = perf_counter()
    choice, honest = choose(metric, rows, seed), honest_score(metric, rows, seed)
    seconds = perf_counter() - started
    best = max(choice.table, key=lambda line: line["gain"])
    top = Candidate(best["blend"], best["rule"], best["calibration"])
    simplest = Candidate("mean", rule_kinds(metric)[0])
    worth = {one: _worth(one, metric, rows, fresh) for one in {choice.chosen, top, simplest}}
    sign, (in_sample, truth, answer) = metric.sign, worth[choice.chosen]
    small = len(fresh) < 10_000
    truth_se = standard_error(metric, fresh.labels, answer, fresh.groups, 300) if small else 0.0
    low, high = sorted(sign * end for end in honest.interval)
    kinds = rule_kinds(metric)
    common = "global" if "global" in kinds else kinds[0]
    blends = {blend: Candidate(blend, common) for blend in methods(metric, len(rows.stack))}
    rules = {kind: Candidate("mean", kind, _calibration(kind, metric)) for kind in kinds}
    return Outcome(
        name,
        sign * honest.score,
        honest.se,
        (low, high),
        in_sample,
        truth,
        truth_se,
        sign * best["honest"],
        worth[top][1],
        worth[simplest][1],
        seconds,
        str(choice.chosen),
        {name: _method(one, metric, rows, fresh) for name, one in blends.items()},
        {name: _method(one, metric, rows, fresh) for name, one in rules.items()},
    )


def _calibration(kind: str, metric: Metric) -> str:
    if not needs_calibration(kind):
        return "none"
    return "per-class" if metric.task == "multilabel" else "temperature"


def _worth(
    candidate: Candidate, metric: Metric, rows: Rows, fresh: Rows
) -> tuple[float, float, np.ndarray]:
    """Return the score in-sample and on fresh rows of a candidate fitted on `rows`."""
    chain = fit_chain(candidate, metric, rows)
    fitted, answer = (chain.answer(chain.probs(r.stack), r.without) for r in (rows, fresh))
    scores = (metric.sign * metric.score(rows.labels, fitted),)
    return *scores, metric.sign * metric.score(fresh.labels, answer), answer


def _method(one: Candidate, metric: Metric, rows: Rows, fresh: Rows) -> tuple[float, ...]:
    """Return a candidate's score in-sample, cross-fitted and on fresh rows, and the standard error
    of the second."""
    fits = CrossFit(metric, rows.with_parts(0))
    fits.add([one])
    answer = fits.answers[one]
    crossed = metric.sign * metric.score(rows.labels, answer)
    se = standard_error(metric, rows.labels, answer, rows.groups, 200)
    in_sample, truth, _ = _worth(one, metric, rows, fresh)
    return in_sample, crossed, truth, se


def _simulation(job: tuple[World, int]) -> Outcome:
    world, seed = job
    with threadpool_limits(1):
        return outcome(str(world), world.scored_by(), *simulated(world, seed), seed)


def _resampling(job: tuple[Path, str, int]) -> Outcome:
    root, comp, seed = job
    data = load_data(Project(root), comp)
    folds = load_shared(data)
    inputs = Inputs(data, folds, usable_runs(data, folds)[0])
    rows = inputs.rows(inputs.members()).seen
    with threadpool_limits(1):
        half, other = resampled(rows, seed)
        return outcome(f"{comp}, halves", get_metric(data.metric.name, data.metric.task), half,
                       other, seed)  # fmt: skip


def summary(outcomes: list[Outcome]) -> list[str]:
    """Return a line of the first table for outcomes of one kind."""
    get = {key: np.array([getattr(o, key) for o in outcomes]) for key in (
        "honest", "se", "in_sample", "truth", "truth_se", "best_crossed", "best_truth",
        "mean_truth", "seconds")}  # fmt: skip
    off = get["honest"] - get["truth"]
    spread = np.hypot(get["se"], get["truth_se"])
    low, high = np.array([o.interval for o in outcomes]).T
    wider = spread / get["se"]
    middle = get["honest"]
    inside = (middle - (middle - low) * wider <= get["truth"]) & (
        get["truth"] <= middle + (high - middle) * wider
    )
    return [
        str(len(outcomes)),
        f"{np.abs(off).mean():.4f}",
        _bias(off),
        _bias(get["in_sample"] - get["truth"]),
        _bias(get["best_crossed"] - get["best_truth"]),
        f"{inside.mean():.1%}",
        f"{(np.abs(off) <= 1.96 * spread).mean():.1%}",
        _bias(get["truth"] - get["mean_truth"]),
        _bias(get["best_truth"] - get["mean_truth"]),
        f"{np.median(get['seconds']):.1f}",
    ]


HEADERS = ["competitions", "n", "mean |honest - truth|", "honest bias", "in-sample bias",
           "best cross-fitted bias", "interval holds", "1.96 SE holds", "gain of the choice",
           "gain of the best", "s"]  # fmt: skip


def _bias(values: np.ndarray) -> str:
    se = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{values.mean():+.4f} ± {se:.4f}"


def methods_table(outcomes: list[Outcome], what: str) -> str:
    """Return the table of each blend or rule over the competitions scored between 0 and 1."""
    lines, place = [], {"blends": 0, "rules": -1}[what]
    outcomes = [o for o in outcomes if "log_loss" not in o.world]
    for name in dict.fromkeys(name for o in outcomes for name in getattr(o, what)):
        among = [getattr(o, what) for o in outcomes if name in getattr(o, what)]
        found = np.array([(*one[name], next(iter(one.values()))[2]) for one in among])
        inside, crossed, truth, se, simplest = found.T
        times = sum(o.chosen.split(" + ")[place] == name for o in outcomes)
        off = crossed - truth
        cells = [f"{np.abs(off).mean():.4f}", _bias(inside - truth), _bias(off)]
        cells += [f"{(np.abs(off) <= 1.96 * se).mean():.1%}", _bias(truth - simplest)]
        lines.append([name, str(len(among)), *cells, f"{times / len(among):.1%}"])
    return table([what, *METHOD_HEADERS], lines)


METHOD_HEADERS = ["n", "mean |cross-fitted - truth|", "in-sample bias", "cross-fitted bias",
                  "1.96 SE holds", "true gain", "chosen"]  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=50, help="competitions of each kind")
    parser.add_argument("--comp", nargs="*", default=[], help="real ones to halve, too")
    parser.add_argument("--halves", type=int, default=15, help="random halves of each of these")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    simulations = [(world, seed) for seed in range(args.each) for world in WORLDS]
    resamplings = [(Path.cwd(), comp, seed) for seed in range(args.halves) for comp in args.comp]
    with ProcessPoolExecutor(args.workers) as pool:
        jobs = [pool.submit(_simulation, job) for job in simulations]
        jobs += [pool.submit(_resampling, job) for job in resamplings]
        outcomes = [job.result() for job in tqdm(jobs, "competitions")]
    kinds = dict.fromkeys(o.world for o in outcomes)
    lines = [[kind, *summary([o for o in outcomes if o.world == kind])] for kind in kinds]
    unit = [o for o in outcomes if "log_loss" not in o.world]
    print(table(HEADERS, [*lines, ["all but log loss", *summary(unit)]]))
    print()
    print(methods_table(outcomes, "blends"))
    print()
    print(methods_table(outcomes, "rules"))


if __name__ == "__main__":
    main()
