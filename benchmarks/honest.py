"""Does the honest score keep its word? In-sample, honest and private, with z, per submission.

    make train COMP=digit-sets ARCH="resnet18 densenet121" && make ensemble COMP=digit-sets
    make submit COMP=digit-sets && make score COMP=digit-sets     (and FROM=... for each run)
    .venv/bin/python -m benchmarks.honest --comp digit-sets

z = (honest - private) / sqrt(SE_honest^2 + SE_private^2), both errors by group bootstrap. Below,
what each rule and blend brings out of fold: cross-fitted gain over the plain mean and fixed rule.
"""

import argparse
from pathlib import Path

from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.ensemble.build import open_decided
from pipeline.folds import load_shared
from pipeline.show import number, table, with_error
from pipeline.submission import private_se
from pipeline.submission.standings import standings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comp", default="digit-sets")
    comp = parser.parse_args().comp
    project = Project(Path.cwd())
    data = load_data(project, comp)
    folds = load_shared(data)
    found, _ = standings(data, folds)
    lines, gains = [], []
    for standing in found:
        entry = standing.entry
        if entry is None or not entry.private:
            continue
        se = private_se(data, project.root / entry.file)
        private = float(entry.private)
        z = (standing.honest - private) / (standing.honest_se**2 + se**2) ** 0.5
        honest = with_error(standing.honest, standing.honest_se)
        chosen = f"{standing.blend}, {standing.rule}"
        scores = [number(standing.in_sample), honest, with_error(private, se), f"{z:+.2f}"]
        lines.append([standing.name, *scores, chosen])
        record = open_decided(data, folds, standing.name).record
        for row in record["candidates"]:
            gain = f"{row['gain']:+.4f} ± {row['gain_se']:.4f}"
            what = f"{standing.name}: {row['blend']} + {row['rule']}"
            gains.append([what, number(row["honest"]), gain])
    headers = [data.competition.metric, "in-sample", "honest ± SE", "private ± SE", "z", "chosen"]
    print(table(headers, lines))
    print()
    print(table(["candidate", "cross-fitted", "gain over the fixed rule"], gains))


if __name__ == "__main__":
    main()
