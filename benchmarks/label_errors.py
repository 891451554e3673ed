"""How many planted label errors does `make label-errors` find, and how high do they stand?

    make init ..., make folds ..., then
    .venv/bin/python -m benchmarks.label_errors --comp clothing --seeds 5

Works on any competition with folds and a backbone whose weights are at home. For every seed and
kind a project in a scratch folder gets the competition with wrong labels planted in 5 % of its
rows (by a table of `corrections`, so that no table is touched; of several labels: one label of
those rows), trains heads on frozen features of every architecture, blends them by their plain
mean, and ranks the rows. Kinds: `uniform`, any other class; `confusable`, a class drawn by the
out-of-fold probabilities that networks on the unplanted labels give, on average over the rows of a
class, to the others.

Precision counts planted errors alone: what the data has of its own counts as a miss, so that all
figures are lower bounds, the same for all rankings. `--work` keeps the folder; what is trained
there is not trained again.
"""

import argparse
import csv
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import yaml

from pipeline.artifacts.files import write_text
from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.config.schema import read_yaml
from pipeline.ensemble.aligned import read_parts, validated_rows
from pipeline.ensemble.build import build_ensemble
from pipeline.ensemble.choice import Menu
from pipeline.ensemble.members import read_record, usable_runs
from pipeline.folds import Folds, load_shared
from pipeline.mislabelled.evidence import Evidence, gather
from pipeline.mislabelled.scoring import QUALITY, cleanlab_quality, flags, quality
from pipeline.training.request import TrainRequest
from pipeline.training.train import train

ARCHS = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
HEADS = {
    "multiclass": "features.fit=logistic model.hidden=[] model.drop_rate=0",
    "multilabel": "model.hidden=[] model.drop_rate=0.4 optimizer.lr=2e-2",
}
SHARE, KINDS = 0.05, ("uniform", "confusable")
MEASURES = ("precision at 50", "at 100", "recall at number planted")

Ranking = Callable[[Evidence], np.ndarray]


def combined(evidence: Evidence) -> np.ndarray:
    """Return the mean of self-confidence and the share of runs that answer the label, in the form
    of the labels."""
    return (cleanlab_quality(evidence, QUALITY) + evidence.agreement) / 2


def agreement_first(evidence: Evidence) -> np.ndarray:
    """Return the share of runs that answer the label; self-confidence parts equal ones."""
    steps = len(evidence.runs) + 1
    return (evidence.agreement * (steps - 1) + cleanlab_quality(evidence, QUALITY)) / steps


RANKINGS: Mapping[str, Ranking] = MappingProxyType(
    {
        "self-confidence, as the loss": quality,
        "normalized margin": partial(cleanlab_quality, method="normalized_margin"),
        "confidence-weighted entropy": partial(
            cleanlab_quality, method="confidence_weighted_entropy"
        ),
        "self-confidence, adjusted by class": partial(
            cleanlab_quality, method=QUALITY, adjust=True
        ),
        "self-confidence and agreement of runs": combined,
        "agreement, then self-confidence": agreement_first,
    }
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comp", required=True)
    parser.add_argument("--arch", nargs="*", default=ARCHS)
    parser.add_argument("--set", default="", help="further keys of the recipe `frozen`")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, help="folder to keep")
    asked = parser.parse_args()
    home = Project(Path.cwd())
    with tempfile.TemporaryDirectory() as scratch:
        work = (asked.work or Path(scratch)).resolve()
        recipe = f"{HEADS[load_data(home, asked.comp).competition.task]} {asked.set}".strip()
        clean = prepared(home, asked.comp, work / "clean")
        chances = confusion_chances(*trained(clean, asked.comp, asked.arch, recipe))
        for kind in KINDS:
            found = []
            for seed in range(asked.seeds):
                project = prepared(home, asked.comp, work / f"{kind}-{seed}")
                planted = plant(load_data(clean, asked.comp), chances, kind, seed)
                write_planted(project, asked.comp, planted)
                found.append(measured(*trained(project, asked.comp, asked.arch, recipe), planted))
            print(report(asked.comp, kind, found), flush=True)


def prepared(home: Project, comp: str, root: Path) -> Project:
    """Return a project that has the competition, its folds and the cache of the one at home."""
    project = Project(root)
    for folder in (project.competitions, project.recipes, project.folds(comp).parent):
        folder.mkdir(parents=True, exist_ok=True)
    content = read_yaml(home.competition(comp), "")
    content["data"] = str((home.root / content["data"]).resolve())
    write_text(project.competition(comp), yaml.safe_dump(content))
    copies = [home.folds(comp), home.folds(comp).with_suffix(".json")]
    for path in (*copies, *home.recipes.glob("*.yaml")):
        write_text(root / path.relative_to(home.root), path.read_text())
    project.cache.parent.mkdir(exist_ok=True)
    if not project.cache.exists():
        project.cache.symlink_to(home.cache.resolve(), target_is_directory=True)
    return project


def trained(
    project: Project, comp: str, archs: Sequence[str], recipe: str
) -> tuple[CompetitionData, Folds]:
    """Train a head for every architecture that lacks one; return what they were trained on."""
    request = TrainRequest(comp, archs, "frozen", overrides=recipe)
    train(project, request, lambda said: None)
    data = load_data(project, comp)
    return data, load_shared(data)


def confusion_chances(data: CompetitionData, folds: Folds) -> np.ndarray:
    """Return what the finished runs give to labels that rows of a class do not have, (n, c); of
    several labels, how wrong they are on average about a label of those rows that have it, or that
    lack it. 0 where no run says anything.

    The mean over rows, not the row's own: a label turned to what networks say of that very row is
    no error to them.
    """
    runs, rows = usable_runs(data, folds)[0], validated_rows(folds)
    oof = [read_parts(data, folds, run, read_record(data, run))["oof"] for run in runs]
    probs, labels = np.mean(oof, axis=0, dtype=np.float64), data.labels[rows]
    chances = np.zeros((len(data.train), probs.shape[1]))
    if labels.ndim == 2:
        have, lack = labels == 1, labels == 0
        missed = ((1 - probs) * have).sum(axis=0) / np.maximum(have.sum(axis=0), 1)
        added = (probs * lack).sum(axis=0) / np.maximum(lack.sum(axis=0), 1)
        chances[rows] = np.where(have, missed, added)
        return chances
    mean = np.stack([probs[labels == k].mean(axis=0) for k in range(probs.shape[1])])
    np.fill_diagonal(mean, 0)
    chances[rows] = mean[labels]
    return chances


def plant(data: CompetitionData, chances: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """Return which labels to get wrong in 5 % of the validated rows, (n, c) bool: of one label the
    class that takes the place of the right one, of several the label that is turned."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    able = np.flatnonzero(chances.sum(axis=1) > 0)
    rows = rng.choice(able, max(1, round(SHARE * len(able))), replace=False)
    wrong = np.zeros(chances.shape, bool)
    for row in rows.tolist():
        chance = chances[row] if kind == "confusable" else np.ones(chances.shape[1])
        if data.labels.ndim == 1:
            chance = np.where(np.arange(len(chance)) == data.labels[row], 0, chance)
        wrong[row, rng.choice(len(chance), p=chance / chance.sum())] = True
    return wrong


def write_planted(project: Project, comp: str, planted: np.ndarray) -> None:
    """Name the planted labels as the competition's corrections, beside those that it has."""
    path = project.competition(comp)
    content = read_yaml(path, "")
    data = load_data(project, comp)
    table = data.uncorrected.labels
    if table.ndim == 1:
        wanted = np.where(planted.any(axis=1), planted.argmax(axis=1), data.labels)
        cells = [
            [data.train.ids[i], data.classes[wanted[i]]] for i in np.flatnonzero(wanted != table)
        ]
    else:
        wanted = np.where(planted, 1 - data.labels, data.labels)
        where = np.argwhere(wanted != table).tolist()
        cells = [[data.train.ids[i], data.classes[k], wanted[i, k]] for i, k in where]
    out = io.StringIO()
    columns = ["id", "corrected"] if table.ndim == 1 else ["id", "class", "corrected"]
    csv.writer(out, lineterminator="\n").writerows([columns, *cells])
    write_text(project.root / "planted.csv", out.getvalue())
    write_text(path, yaml.safe_dump({**content, "corrections": "planted.csv"}))


def measured(data: CompetitionData, folds: Folds, planted: np.ndarray) -> dict[str, list[float]]:
    """Return the measures of every ranking."""
    plain = Menu(("mean",), calibrations=("none",))
    name = build_ensemble(data, folds, None, "planted", menu=plain).name
    evidence = gather(data, folds, name)
    wrong = planted[evidence.rows]
    truth = (wrong if evidence.labels.ndim == 2 else wrong.any(axis=1)).ravel()
    found = {name: placed(score(evidence).ravel(), truth) for name, score in RANKINGS.items()}
    single = [placed(quality(gather(data, folds, run)).ravel(), truth) for run in evidence.runs]
    found["self-confidence of one run, mean over the runs"] = np.mean(single, axis=0).tolist()
    flagged = flags(evidence).ravel()
    precision = truth[flagged].mean() if flagged.any() else 0.0
    found["cleanlab's flags: precision, -, recall"] = [precision, np.nan, flagged[truth].mean()]
    return found


def placed(score: np.ndarray, truth: np.ndarray) -> list[float]:
    """Return precision at 50, at 100, and recall at the number planted, the lowest scores first."""
    order = truth[np.argsort(score, kind="stable")]
    return [order[:50].mean(), order[:100].mean(), order[: truth.sum()].mean()]


def report(comp: str, kind: str, found: list[dict[str, list[float]]]) -> str:
    """Return a markdown table: the mean over the seeds and its standard error."""
    lines = [
        f"| {comp}, {kind}, {len(found)} seeds | {' | '.join(MEASURES)} |",
        "|---|---|---|---|",
    ]
    for name in found[0]:
        values = np.array([one[name] for one in found])
        error = values.std(axis=0, ddof=1) / len(found) ** 0.5 if len(found) > 1 else [0, 0, 0]
        cells = [
            "-" if np.isnan(m) else f"{m:.3f} ± {e:.3f}"
            for m, e in zip(values.mean(axis=0), error, strict=True)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
