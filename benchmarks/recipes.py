"""The claims of published systems, tried on a competition at hand: is A better than B, and surely?

    .venv/bin/python -m benchmarks.recipes --comp clothing
    .venv/bin/python -m benchmarks.recipes --comp attributes
    .venv/bin/python -m benchmarks.recipes --comp clothing --pixels --folds "0 1 2"

Each claim is two trainings that differ in what it is about. Heads are trained on frozen features
(the recipe `frozen`); `--pixels` are claims that need the pictures, on the recipe `baseline`, small
and short. A difference is B less A, paired fold by fold: mean ± standard deviation / sqrt(folds),
and a side is surely better where 0 lies outside the 95 % interval of Student's t.
Where learning rates stand to choice, each side takes its best on the first fold, which is then left
out. Runs are kept, without their weights, as `bench-...`, so that a second call prints at once.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from pipeline.artifacts.hashing import json_hash
from pipeline.artifacts.predictions import Predictions
from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.folds import load_shared
from pipeline.metrics import Metric, get_metric
from pipeline.show import table
from pipeline.training.assemble import Summary
from pipeline.training.request import TrainRequest
from pipeline.training.scores import score_probs
from pipeline.training.train import train

RARE = ("balanced_accuracy", "f1_macro")  # what attention to rare classes is for
RATES = (2e-3, 7e-3, 2e-2, 6e-2)
DEEP, SGD = (1e-3, 3e-3, 1e-2), (0.03, 0.1, 0.3)


@dataclass(frozen=True)
class Side:
    """A training: its name in the table, what SET changes, the learning rates to choose from, and
    which score of the record counts."""

    name: str
    overrides: str = ""
    rates: tuple[float, ...] = ()
    score: str = "score"


@dataclass(frozen=True)
class Claim:
    """What is said, and the two trainings that show it; `metrics` beside the competition's."""

    said: str
    first: Side
    second: Side
    metrics: tuple[str, ...] = ()


PLAIN = Side("plain")
WEIGHTS = "loss.class_weights=balanced"
DRAWS = "training.sampling=balanced"
DEEPER = Side("two layers", "model.hidden=[512]", DEEP)
DROPPED = Side(".25 .5", "model.hidden=[512] model.drop_rate=[0.25,0.5]", DEEP)
# A head that does not fit every training row, as the linear one does, for what is about fitting.
GOOD = "model.hidden=[512] model.drop_rate=[0.25,0.5] optimizer.lr=3e-3"
USUAL = Side("two layers", GOOD)
OPTIMISERS = (
    Side("SGD", "optimizer.name=sgd optimizer.weight_decay=1e-4", SGD),
    Side("AdamW", "", RATES),
)

HEADS = {
    "multiclass": (
        *(
            Claim("dropout of a linear head", PLAIN, Side(f"{rate}", f"model.drop_rate={rate}"))
            for rate in (0.1, 0.2, 0.4, 0.6)
        ),
        Claim("a second layer", Side("linear", "", RATES), DEEPER),
        Claim("dropout in both layers", DEEPER, DROPPED),
        Claim("Adam or SGD, linear", *OPTIMISERS),
        Claim("EMA, linear", Side("off", "training.ema=0"), PLAIN),
        Claim("label smoothing, linear", PLAIN, Side("0.1", "loss.label_smoothing=0.1")),
        Claim("label smoothing", USUAL, Side("0.1", f"{GOOD} loss.label_smoothing=0.1")),
        Claim("balanced draws", USUAL, Side("draws", f"{GOOD} {DRAWS}"), RARE),
        Claim("class weights", USUAL, Side("weights", f"{GOOD} {WEIGHTS}"), RARE),
        Claim("draws and weights", USUAL, Side("both", f"{GOOD} {DRAWS} {WEIGHTS}"), RARE),
        Claim("augmented views", USUAL, Side("4", f"{GOOD} features.views=4")),
    ),
    "multilabel": (
        Claim(
            "squared error or BCE",
            Side("MSE", "loss.name=mse", RATES),
            Side("BCE", "loss.name=bce", RATES),
            ("subset_accuracy", "f1_macro"),
        ),
        Claim("Adam or SGD, linear", *OPTIMISERS),
        Claim("balanced draws, linear", PLAIN, Side("draws", DRAWS), ("f1_macro",)),
        Claim("class weights, linear", PLAIN, Side("weights", WEIGHTS), ("f1_macro",)),
        Claim("asymmetric loss, linear", PLAIN, Side("on", "loss.name=asymmetric"), ("f1_macro",)),
        Claim("a second layer", Side("linear", "", RATES), DEEPER),
        Claim("dropout in both layers", DEEPER, DROPPED),
        Claim("EMA, linear", Side("off", "training.ema=0"), PLAIN),
        Claim("label smoothing, linear", PLAIN, Side("0.1", "loss.label_smoothing=0.1")),
        Claim("label smoothing", USUAL, Side("0.1", f"{GOOD} loss.label_smoothing=0.1")),
    ),
}
# The same training shows what both views of a picture bring: its record has the score of one.
BASE = Side("baseline", "views.flips=horizontal", score="score_one_view")
NO_AUGMENT = "augment.scale=null augment.horizontal_flip=0"
PIXELS = (
    Claim("flipped views at test time", BASE, Side("on", BASE.overrides)),
    Claim("augmentation", Side("off", NO_AUGMENT), BASE),
    Claim("milder crops", BASE, Side("70 %", "augment.scale=[0.7,1]")),
    Claim("EMA", Side("off", "training.ema=0"), BASE),
    Claim("label smoothing", BASE, Side("0.1", "loss.label_smoothing=0.1")),
    Claim("mixup", BASE, Side("0.2", "mix.mixup=0.2")),
    Claim("layer decay", BASE, Side("0.8", "optimizer.layer_decay=0.8")),
    Claim("RandAugment", BASE, Side("2 of 7", "augment.rand_augment=2 augment.magnitude=7")),
    Claim("erasing", BASE, Side("0.25", "augment.erasing=0.25")),
)


@dataclass
class Bench:
    """Trains sides of claims on some folds of a competition, each once."""

    data: CompetitionData
    recipe: str
    arch: str
    common: str
    folds: tuple[int, ...]
    _chosen: dict[Side, Side] = field(default_factory=dict)
    _done: dict[tuple[str, tuple[int, ...]], Summary] = field(default_factory=dict)

    def scores(self, side: Side, metric: str, folds: tuple[int, ...]) -> list[float]:
        """Return a side's score on each fold, by a metric of the competition's task."""
        done = self.trained(side, folds)
        if metric == self.data.metric.name:
            return [done.record["folds"][str(fold)][side.score] for fold in folds]
        judge, names = self.judge(metric), self.data.train.ids.tolist()
        at = {name: number for number, name in enumerate(names)}
        scores = []
        for fold in folds:
            path = done.run.fold_folder(fold) / "valid.npz"
            found = Predictions.load(path, f"delete {done.run.folder} and try again")
            labels = self.data.labels[[at[name] for name in found.ids.tolist()]]
            scores.append(score_probs(judge, labels, found.probs))
        return scores

    def judge(self, metric: str) -> Metric:
        """Return the metric of that name: the competition's own, or another of its task."""
        own = self.data.metric
        return own if metric == own.name else get_metric(metric, own.task)

    def seconds(self, side: Side, folds: tuple[int, ...]) -> float:
        """Return what a side took on each fold, on average."""
        record = self.trained(side, folds).record["folds"]
        return float(np.mean([record[str(fold)]["seconds"] for fold in folds]))

    def trained(self, side: Side, folds: tuple[int, ...]) -> Summary:
        """Train what is missing of a side, drop the weights, and return its summary."""
        overrides = f"{self.common} {side.overrides}"
        if (overrides, folds) in self._done:
            return self._done[overrides, folds]
        name = f"bench-{json_hash([self.recipe, self.arch, overrides], 10)}"
        comp = self.data.competition.name
        request = TrainRequest(comp, [self.arch], self.recipe, (0,), overrides, name, folds)
        summary = train(self.data.project, request, lambda _: None)[0]
        for path in summary.run.folder.glob("fold-*/model.safetensors"):
            path.unlink()
        self._done[overrides, folds] = summary
        return summary

    def chosen(self, side: Side) -> Side:
        """Return a side with the learning rate that scores best on the first fold."""
        if not side.rates:
            return side
        if side not in self._chosen:
            first, metric = self.folds[:1], self.data.metric
            tried = [
                Side(f"{side.name} {rate:g}", f"{side.overrides} optimizer.lr={rate}")
                for rate in side.rates
            ]
            found = [metric.sign * self.scores(one, metric.name, first)[0] for one in tried]
            self._chosen[side] = tried[int(np.argmax(found))]
        return self._chosen[side]

    def lines(self, claim: Claim) -> list[list[str]]:
        """Return a line of the table for each metric of a claim."""
        first, second = self.chosen(claim.first), self.chosen(claim.second)
        chose = claim.first.rates or claim.second.rates
        folds = self.folds[1:] if chose else self.folds
        seconds = " -> ".join(f"{self.seconds(side, folds):.0f}" for side in (first, second))
        lines = []
        for metric in (self.data.metric.name, *claim.metrics):
            a, b = (np.array(self.scores(side, metric, folds)) for side in (first, second))
            mean, se = paired(a, b)
            cells = [f"{side.name}: {x.mean():.4f}" for side, x in ((first, a), (second, b))]
            better = mean * self.judge(metric).sign
            sure = abs(better) > stats.t.ppf(0.975, len(folds) - 1) * se
            verdict = "-" if not sure else "B" if better > 0 else "A"
            gain = f"{mean:+.4f} ± {se:.4f}"
            lines.append([claim.said, metric, *cells, gain, str(len(folds)), verdict, seconds])
        return lines


def paired(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return the mean of b - a over folds (k,), and its standard error, sd / sqrt(k)."""
    difference = b - a
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


HEADERS = ["claim", "metric", "A", "B", "B - A ± SE", "folds", "surely better", "s a fold"]


def main() -> None:
    """Train what is missing, claim by claim, and print the table, for a terminal or in markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comp", required=True)
    parser.add_argument("--arch", default="tf_efficientnet_lite0")
    parser.add_argument("--pixels", action="store_true", help="claims that need the pictures")
    parser.add_argument("--claims", default="", help="some of them, by words in their names")
    parser.add_argument("--folds", default="", help="some of the folds")
    parser.add_argument("--set", default="", help="what all trainings have in common")
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args()
    project = Project(Path.cwd())
    data = load_data(project, asked.comp)
    folds = tuple(map(int, asked.folds.split())) or tuple(load_shared(data).numbers)
    recipe, usual = "frozen", "image.size=128 training.epochs=30 optimizer.lr=2e-2"
    claims = HEADS[data.metric.task]
    if asked.pixels:
        recipe, usual = "baseline", "image.size=64 training.epochs=5 optimizer.lr=2e-3"
        claims = PIXELS
    bench = Bench(data, recipe, asked.arch, asked.set or usual, folds)
    lines = []
    for claim in claims:
        if not asked.claims or any(word in claim.said for word in asked.claims.split()):
            lines += (found := bench.lines(claim))
            print(*("  ".join(line) for line in found), sep="\n", flush=True)
    print(f"\n{recipe}, {asked.arch}, {bench.common}\n")
    print(markdown(HEADERS, lines) if asked.markdown else table(HEADERS, lines))


def markdown(headers: list[str], lines: list[list[str]]) -> str:
    """Return the table as markdown."""
    rows = [headers, ["---"] * len(headers), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
