"""Two tiny competitions with trained runs and ensembles, and pictures that are in no table."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.deploy.predict import Prediction, predict
from pipeline.ensemble.build import build_ensemble
from pipeline.ensemble.choice import Menu
from pipeline.folds import load_shared, make_shared
from pipeline.training.request import TrainRequest
from pipeline.training.train import train

CLASSES = ["cat", "dog", "eel"]
RECIPE = {
    "model": {"arch": "lenet", "pretrained": False},
    "image": {"size": 16},
    "optimizer": {"lr": 3e-3},
    "training": {"epochs": 2, "batch_size": 8},
    "runtime": {"device": "cpu", "threads": 1, "workers": 0},
}
METHODS = ("mean", "geometric", "power", "tempered", "hill-climbing", "per-class", "stacking")
COLUMNS = {"kinds": {"label": "kind"}, "sets": {"labels": "names", "separator": "+"}}
OTHER_VIEW = (
    "image.size=20 image.fit=pad image.cache=jpeg image.crop.kind=sides image.crop.top=4 "
    "image.mean=[0.3,0.4,0.5] image.std=[0.2,0.3,0.2]"
)


def write_pictures(folder: Path, labels: np.ndarray) -> list[str]:
    """Write a picture of varying size per row of labels (n, 3); a class is a coloured bar."""
    rng, ids = np.random.default_rng(5), []
    folder.mkdir(parents=True)
    for number, row in enumerate(labels):
        picture = rng.integers(0, 140, (24 + number % 5, 20 + number % 7, 3), dtype=np.uint8)
        for k in np.flatnonzero(row):
            picture[5 + 6 * k : 9 + 6 * k, 3:17, k] = 255
        ids.append(f"{number:02d}" + (".png", ".jpg")[number % 2])
        cv2.imwrite(str(folder / ids[-1]), picture)
    return ids


def write_competition(project: Project, comp: str) -> None:
    """Write tables of 45 training and 15 test pictures, and three folds."""
    rng, folder = np.random.default_rng(1), project.data(comp)
    labels = np.eye(3, dtype=int)[rng.permutation(np.arange(60) % 3)]
    if comp == "sets":
        labels = (rng.random((60, 3)) < 0.45).astype(int)
    names = ["+".join(np.array(CLASSES)[row == 1]) for row in labels]
    frame = pd.DataFrame({"id": write_pictures(folder / "images", labels), "names": names})
    frame = frame.rename(columns={"names": next(iter(COLUMNS[comp].values()))})
    frame[:45].to_csv(folder / "train.csv", index=False)
    frame[45:][["id"]].to_csv(folder / "test.csv", index=False)
    task, metric = ("multilabel", "f1_macro") if comp == "sets" else ("multiclass", "accuracy")
    content = {"task": task, "metric": metric, "data": f"data/{comp}", "columns": COLUMNS[comp]}
    content["tables"] = {"sample_submission": None}
    project.competitions.mkdir(parents=True, exist_ok=True)
    project.competition(comp).write_text(yaml.safe_dump(content))
    make_shared(load_data(project, comp), n_folds=3)


def build(project: Project, comp: str, runs: str, name: str, method: str = "") -> None:
    """Build an ensemble; its blend is `method` whatever scores best, where one is given."""
    data = load_data(project, comp)
    menu = Menu((method,) if method else ("mean", "hill-climbing"))
    build_ensemble(data, load_shared(data), runs.split(), name, menu=menu)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Project:
    """A project whose runs a, a-refit, a1 (another seed of a) and b (which looks otherwise at
    pictures) are trained and blended in every way; not to be changed."""
    project = Project(tmp_path_factory.mktemp("deploy") / "project")
    project.recipes.mkdir(parents=True)
    project.recipe("tiny").write_text(yaml.safe_dump(RECIPE))
    for comp in COLUMNS:
        write_competition(project, comp)
        tiny = {"recipe": "tiny"}
        train(project, TrainRequest(comp, ["lenet"], name="a", refit=True, **tiny), str)
        train(project, TrainRequest(comp, ["lenet"], name="a1", seed=[1], **tiny), str)
        train(project, TrainRequest(comp, ["lenet"], name="b", overrides=OTHER_VIEW, **tiny), str)
        build(project, comp, "a b", "rank", "rank")
    for method in METHODS:
        build(project, "kinds", "a b", method, method)
    build(project, "kinds", "a a1 a-refit b", "seeds", "rank")
    build(project, "kinds", "ensemble-rank a1", "nested", "geometric")
    return project


@pytest.fixture
def project(trained, tmp_path) -> Project:
    """A copy of the trained project, to be changed."""
    return Project(shutil.copytree(trained.root, tmp_path / "project"))


@dataclass(frozen=True)
class Answered:
    """A prediction with its table, read back as text."""

    made: Prediction
    table: pd.DataFrame

    def column(self, name: str) -> list[str]:
        return self.table[name].tolist()

    @property
    def probs(self) -> np.ndarray:
        """The probability columns (n, c), NaN where blank."""
        names = [name for name in self.table.columns if name.startswith("p_")]
        return self.table[names].apply(pd.to_numeric).to_numpy(float)


@pytest.fixture
def answers(tmp_path) -> Callable[..., Answered]:
    """Return a function that predicts and reads the table."""

    def run(project: Project, comp: str, source: str, data: Any, **options: Any) -> Answered:
        options = {"out": tmp_path / "answers.csv", "say": str} | options
        made = predict(project, comp, source, data, **options)
        return Answered(made, pd.read_csv(made.path, dtype=str, keep_default_na=False))

    return run


@pytest.fixture
def new_pictures(trained, tmp_path) -> Path:
    """Six of the test pictures in a folder `new`, some deeper in it."""
    folder = tmp_path / "new"
    (folder / "deep" / "er").mkdir(parents=True)
    for number, place in zip(range(45, 51), ["", "", "", "deep", "deep", "deep/er"], strict=True):
        path = next((trained.data("kinds") / "images").glob(f"{number}.*"))
        shutil.copy(path, folder / place / path.name)
    return folder
