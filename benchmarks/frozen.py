"""What does fine-tuning bring over a logistic regression on the same network's frozen features?

    make train COMP=clothing ARCH=tf_efficientnet_lite0 SET="image.size=128" && make submit ...
    .venv/bin/python -m benchmarks.frozen --comp clothing --from tf_efficientnet_lite0-baseline-...

Features are the pooled outputs of the run's network with its pretrained weights, one view of each
picture, the run's own crop, size and normalisation. C of the regression (one for all, or one
against the rest of each label) is chosen by cross-validation on the competition's folds. Its
answers are written and entered like any submission (`frozen-ARCH`); then both are graded, and the
difference is bootstrapped in pairs on the private rows, whole groups where there are any.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from pipeline.artifacts.files import read_json
from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.config.recipe import Recipe
from pipeline.config.schema import parse
from pipeline.folds import load_shared
from pipeline.images.augment import Evaluator
from pipeline.images.batches import Batches, Images, loader
from pipeline.images.cache import open_pixels
from pipeline.show import number, table, with_error
from pipeline.submission import grade_all, paired_gain, private_se, rows, write_submission
from pipeline.submission.standings import submit
from pipeline.training.device import resolve
from pipeline.training.learning.loop import Normalise
from pipeline.training.networks.origin import normalisation
from pipeline.training.networks.zoo import build_model

COSTS = (0.0003, 0.001, 0.003, 0.01, 0.03)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comp", required=True)
    parser.add_argument("--from", dest="run", required=True, help="a finished, pretrained run")
    arguments = parser.parse_args()
    project = Project(Path.cwd())
    data = load_data(project, arguments.comp)
    folds = load_shared(data)
    record = read_json(project.run(arguments.comp, arguments.run) / "run.json")
    recipe = parse(Recipe, record["recipe"], arguments.run)
    train, test = frozen_features(data, recipe)
    print(f"{train.shape[1]} features of {len(train):,} training rows", flush=True)
    threadpool_limits(1)  # for matrices this small, more threads wait for each other
    scores = {cost: cross_validated(data, train, folds.fold, cost) for cost in COSTS}
    cost = max(scores, key=lambda one: data.metric.sign * scores[one])
    singles = np.random.default_rng(0).permutation(len(train)) % len(folds.numbers)
    print(
        f"C={cost}: {data.metric.name} {scores[cost]:.4f} out of fold, "
        f"{cross_validated(data, train, singles, cost):.4f} where groups straddle the folds",
        flush=True,
    )
    answer = regression(data, cost).fit(train, data.labels).predict(test)
    source = f"frozen-{recipe.model.arch}"
    cv = {"cv_honest": scores[cost]}
    frozen = write_submission(data, data.test.ids, answer, None, source=source, cv=cv)
    tuned = submit(data, folds, arguments.run)[1]
    grade_all(data)
    entries = {entry.number: entry for entry in rows(project, arguments.comp)}
    lines = []
    for made in (frozen, tuned):
        entry, se = entries[made.number], private_se(data, made.path)
        scores = [number(entry.cv_honest), number(entry.public)]
        lines.append([entry.source, *scores, with_error(float(entry.private), se)])
    print(table([data.metric.name, "honest", "public", "private ± SE"], lines))
    for what, private in (("private", True), ("all", False)):
        gain, se = paired_gain(data, frozen.path, tuned.path, private=private)
        span = f"{gain - 1.96 * se:+.4f} to {gain + 1.96 * se:+.4f}"
        print(f"paired gain on {what} rows {gain:+.4f} ± {se:.4f} (95 %: {span})")


def frozen_features(data: CompetitionData, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return the pooled features (n, d) of the training and of the test rows."""
    model = build_model(recipe, len(data.classes))
    setup = resolve(recipe, model)
    model = model.to(setup.device, memory_format=setup.memory_format).eval()
    normalise = Normalise(*normalisation(recipe), setup)
    paths = [*data.train.images, *data.test.images]
    label = data.competition.name
    cache, limit = data.project.cache, data.competition.max_megapixels
    pixels, _ = open_pixels(cache, paths, None, recipe.image, label, limit)
    ids = np.concatenate([data.train.ids, data.test.ids])
    images = Images(pixels, ids, Evaluator(recipe.image))
    batches = loader(images, Batches(np.arange(len(ids)), 64, None), setup.workers)
    with torch.inference_mode():
        found = [model.forward_head(model.forward_features(normalise(x)), True) for x, _ in batches]
    features = torch.cat(found).float().cpu().numpy()
    return features[: len(data.train)], features[len(data.train) :]


def regression(data: CompetitionData, cost: float):
    one = LogisticRegression(C=cost, max_iter=2000)
    several = data.competition.task == "multilabel"
    return make_pipeline(StandardScaler(), OneVsRestClassifier(one) if several else one)


def cross_validated(
    data: CompetitionData, features: np.ndarray, part: np.ndarray, cost: float
) -> float:
    """Return the out-of-fold score of the regression, each part (n,) of the rows left out once."""
    answer = np.empty_like(data.labels)
    for k in np.unique(part[part >= 0]):
        model = regression(data, cost).fit(features[part != k], data.labels[part != k])
        answer[part == k] = model.predict(features[part == k])
    return data.metric.score(data.labels, answer)


if __name__ == "__main__":
    main()
