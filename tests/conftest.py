"""One tiny competition serves all tests, with pictures to train on or invented predictions."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import settings

from pipeline.artifacts.files import write_json
from pipeline.artifacts.hashing import stable_int
from pipeline.artifacts.predictions import Predictions, logits_of, probabilities
from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.folds import Folds, load_folds, make_folds
from pipeline.metrics import get_metric

# How long an example takes on a busy machine says nothing about the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

SIDE = 16  # pixels
RECIPE = {
    "model": {"pretrained": False},
    "image": {"size": SIDE},
    "augment": {"horizontal_flip": 0.5},
    "optimizer": {"lr": 3e-3},
    "training": {"epochs": 1, "batch_size": 16},
    "runtime": {"device": "cpu", "threads": 1, "workers": 0},
}


@dataclass
class Tiny:
    """A project of one competition, `tiny`; `truth` holds the labels of its test rows."""

    root: Path
    truth: np.ndarray

    @property
    def project(self) -> Project:
        return Project(self.root)

    @property
    def data(self) -> CompetitionData:
        return load_data(self.project, "tiny")

    def folds(self, **options) -> Folds:
        """Make the folds, five unless asked otherwise; those that are there are loaded."""
        data, path = self.data, self.project.folds("tiny")
        if path.exists() and not options:
            return load_folds(path, data.train.ids)
        rows = data.train.ids, data.labels, data.classes, data.train.groups
        return make_folds(path, *rows, **options)[0]

    def run(self, name: str) -> Path:
        return self.project.run("tiny", name)

    def configure(self, **keys) -> None:
        """Change keys of the competition's YAML; None takes one out."""
        path = self.project.competition("tiny")
        content = {**yaml.safe_load(path.read_text()), **keys}
        path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))

    def edit(self, table: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """Change a table of the competition on disk."""
        path = self.root / "data" / "tiny" / f"{table}.csv"
        change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)

    def fake_run(
        self, name: str, *, skill: float = 1.0, probs: dict | None = None, **record
    ) -> Path:
        """Write a finished run without training it.

        Its probabilities are noise plus `skill` on the true classes, or `probs` by part, rows in
        the order of the tables. `record` changes keys of its run.json.
        """
        data, folds, folder = self.data, self.folds(), self.run(name)
        meta = {"competition": "tiny", "run": name, "folds_hash": folds.hash}
        meta["data_hash"] = data.hash
        validated, apart = np.flatnonzero(folds.fold >= 0), folds.test_rows
        parts = {
            "oof": (data.train.ids[validated], data.labels[validated]),
            "test": (data.test.ids, self.truth),
            "local-test": (data.train.ids[apart], data.labels[apart]),
        }
        for part, (ids, labels) in parts.items():
            if not len(ids):
                continue
            rng = np.random.default_rng(stable_int(f"{name}/{part}"))
            invented = invent(labels, len(data.classes), skill, rng)
            values = np.asarray((probs or {}).get(part, invented), np.float32)
            logits = logits_of(values, data.competition.task)
            classes = np.array(data.classes)
            saved = Predictions(ids, classes, logits, values, meta | {"part": part})
            saved.save(folder / f"{part}.npz")
        content = {
            **meta,
            "complete": True,
            "limited": False,
            "seedless_hash": name,
            "recipe": {},
            "folds": {str(fold): {"fold": fold, "score": 0.5} for fold in folds.numbers},
            "seconds": 1.0,
            "warnings": [],
        }
        write_json(folder / "run.json", content | record)
        return folder


def invent(labels: np.ndarray, classes: int, skill: float, rng: np.random.Generator) -> np.ndarray:
    """Return probabilities (n, c) that know the labels (n,) or (n, c) with a signal of `skill`."""
    if labels.ndim == 1:
        hot = np.eye(classes)[labels]
        return probabilities(skill * hot + rng.normal(size=hot.shape), "multiclass")
    signal = skill * (2 * labels - 1.0) + rng.normal(size=labels.shape)
    return probabilities(signal, "multilabel")


def _labels(rng: np.random.Generator, rows: int, classes: int, task: str) -> np.ndarray:
    if task == "multiclass":
        return rng.permutation(np.arange(rows) % classes)
    return (rng.random((rows, classes)) < 0.4).astype(np.int8)


def _table(ids: list[str], labels: np.ndarray, names: list[str]) -> pd.DataFrame:
    if labels.ndim == 1:
        return pd.DataFrame({"id": ids, "label": [names[i] for i in labels]})
    return pd.DataFrame({"id": ids}).assign(**{n: labels[:, i] for i, n in enumerate(names)})


def _write_pictures(folder: Path, ids: list[str], labels: np.ndarray) -> None:
    """Write noisy pictures whose bright channel is the class."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name, label in zip(ids, labels, strict=True):
        picture = rng.integers(0, 120, (SIDE, SIDE, 3)).astype(np.uint8)
        picture[:, :, label % 3] += 90
        cv2.imwrite(str(folder / f"{name}.png"), picture)


@pytest.fixture
def make_tiny(tmp_path) -> Callable[..., Tiny]:
    """Return a function that makes a tiny competition, multiclass unless asked otherwise."""

    def make(*, folder="tiny", **options) -> Tiny:
        return write_tiny(tmp_path / folder, **options)

    return make


def write_tiny(
    root: Path, *, task="multiclass", metric="", rows=42, test=18, classes=3, images=False
) -> Tiny:
    """Write YAML, recipe, tables and, if asked, pictures of the tiny competition."""
    rng = np.random.default_rng(0)
    names = ["cat", "dog", "owl", *(f"class-{i}" for i in range(3, classes))][:classes]
    ids = [f"{i:03d}" for i in range(rows + test)]
    labels = _labels(rng, rows + test, classes, task)
    folder = root / "data" / "tiny"
    folder.mkdir(parents=True)
    tables = {"train": _table(ids[:rows], labels[:rows], names)}
    tables["test"] = pd.DataFrame({"id": ids[rows:]})
    tables["answers"] = _table(ids[rows:], labels[rows:], names)
    default = "accuracy" if task == "multiclass" else "f1_macro"
    sample = tables["answers"].copy()
    sample.iloc[:, 1:] = "cat" if labels.ndim == 1 else 0
    if get_metric(metric or default, task).needs == "probs":
        sample = sample[["id"]].assign(**dict.fromkeys(names, 0.5))
    tables["sample_submission"] = sample
    public = np.where(np.arange(test) % 3 == 0, "Public", "Private")
    tables["answers"] = tables["answers"].assign(Usage=public)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    if images:
        _write_pictures(folder / "images", ids, labels)
    columns = {"id": "id", "label": "label"} if labels.ndim == 1 else {"classes": names}
    content = {
        "task": task,
        "metric": metric or default,
        "data": "data/tiny",
        "tables": {"answers": "answers.csv"},
        "columns": columns,
        "extension": ".png",
    }
    for kind, name, document in (
        ("competitions", "tiny", content),
        ("recipes", "baseline", RECIPE),
    ):
        path = root / "experiments" / kind / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump(document))
    return Tiny(root, labels[rows:])


@pytest.fixture
def tiny(tmp_path) -> Tiny:
    """Make the tiny competition: 42 training and 18 test pictures of 16 x 16 px, three classes."""
    return write_tiny(tmp_path / "tiny", images=True)


@dataclass(frozen=True)
class Result:
    """What a command printed and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture
def podium(monkeypatch, capfd) -> Callable[..., Result]:
    """Return a function that runs a command line in this process, from a project's root."""
    from pipeline import cli

    def run(root: Path, *arguments: str) -> Result:
        monkeypatch.chdir(root)
        monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
        capfd.readouterr()
        status = 0
        try:
            cli.main()
        except SystemExit as leaving:
            status = leaving.code or 0
        return Result(status, *capfd.readouterr())

    return run


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """Return a function from a folder to the bytes of every file in it; locks and the cache, which
    may be deleted at any time, do not count."""

    def read(root: Path) -> dict[str, bytes]:
        cache = root / "data" / "cache"
        every = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock")
        files = [path for path in every if not path.is_relative_to(cache)]
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(files)}

    return read
