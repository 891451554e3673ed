"""What blending and deciding bring on real competitions: in-sample, honest and private.

    make train ARCH="..." (or make import), then
    .venv/bin/python -m benchmarks.ensemble gains --comp digits digit-sets

Rows: the best single member (by out-of-fold score, which flatters it), the plain mean, the chosen
blend, all under the rule that needs no fitting; then blend and rule as `make ensemble` chooses
them. z = (honest - private) / sqrt(SE_honest^2 + SE_private^2); the last column is the private gain
over the best single with its paired standard error. Ensembles and submissions are written under
names that begin with `gain-`.
"""

import argparse
from pathlib import Path

from pipeline.artifacts.columns import table
from pipeline.artifacts.files import read_object
from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.decisions import rule_kinds
from pipeline.ensemble.build import build_ensemble
from pipeline.ensemble.choice import ANY, Menu
from pipeline.ensemble.diagnostics import DIAGNOSTICS
from pipeline.ensemble.members import usable_runs
from pipeline.folds import Folds, load_shared
from pipeline.show import number, with_error
from pipeline.submission import grade, private_se
from pipeline.submission.grading import paired_gain
from pipeline.submission.standings import submit

HEADERS = ["", "in-sample", "honest ± SE", "private ± SE", "z", "over the single", "chosen"]


def ways(data: CompetitionData, folds: Folds) -> list[list[str]]:
    """Return a line of the table for each way from the finished runs to an answer."""
    runs, _ = usable_runs(data, folds)
    plain = rule_kinds(data.metric)[0]
    everyone = build_ensemble(data, folds, runs, "gain-chain")
    found = read_object(everyone.folder / DIAGNOSTICS, ("subsets",), "make ensemble again")
    single = next(s for s in found["subsets"] if len(s["members"]) == 1)
    best = everyone.record["members"][single["members"][0]]["runs"]
    fixed, rule = Menu(("mean",), (plain,), ("none",)), Menu((), (plain,))
    made = [
        (f"best single: {' '.join(best)}", build_ensemble(data, folds, best, "gain-single",
                                                          menu=fixed)),
        (f"mean of {len(runs)}", build_ensemble(data, folds, runs, "gain-mean", menu=fixed)),
        ("chosen blend", build_ensemble(data, folds, runs, "gain-blend", menu=rule)),
        ("chosen blend and rule", build_ensemble(data, folds, runs, "gain-chain", menu=ANY)),
    ]  # fmt: skip
    lines, first = [], None
    for what, decided in made:
        path = submit(data, folds, decided.name)[1].path
        first, record = first or path, decided.record
        private, se = grade(data, path).private, private_se(data, path)
        z = (record["honest"] - private) / (record["honest_se"] ** 2 + se**2) ** 0.5
        gain, gain_se = paired_gain(data, first, path)
        honest = with_error(record["honest"], record["honest_se"])
        scores = [number(record["in_sample"]), honest, with_error(private, se), f"{z:+.2f}"]
        over = "-" if path == first else f"{gain:+.4f} ± {gain_se:.4f}"
        calibration = record["calibration"]["kind"]
        chosen = f"{record['blend']} + {calibration} + {record['rule']['kind']}"
        lines.append([what, *scores, over, chosen])
    return lines


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comp", nargs="+", default=["digits", "digit-sets"])
    args = parser.parse_args(argv)
    project = Project(Path.cwd())
    for comp in args.comp:
        data = load_data(project, comp)
        print(f"\n{comp}, {data.metric.name}")
        print(table(HEADERS, ways(data, load_shared(data))))


if __name__ == "__main__":
    main()
