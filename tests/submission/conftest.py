"""Tiny competitions of every form, written to disk with awkward ids, names and orders."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.metrics import get_metric

IDS = ["007", "7", "0", "a,b", 'say "x"', "NA", " x", "1e3", "é", "10", "11", "12"]
CLASSES = ("NA", 'big, "red"', "dog")
FORMS = {
    "name": ("multiclass", "accuracy"),
    "onehot": ("multiclass", "f1_macro"),
    "probability": ("multiclass", "log_loss"),
    "names": ("multilabel", "f1_samples"),
    "binary": ("multilabel", "f1_macro"),
    "multilabel probability": ("multilabel", "auc_macro"),
}


@dataclass
class Contest:
    """A competition with the truth and a guess, rows in the order of `ids`."""

    data: CompetitionData
    folder: Path
    ids: np.ndarray
    truth: np.ndarray
    answer: np.ndarray
    probs: np.ndarray
    public: np.ndarray

    @property
    def metric(self):
        return get_metric(self.data.competition.metric, self.data.competition.task)

    @property
    def guess(self) -> np.ndarray:
        """What the metric scores."""
        return self.probs if self.metric.needs == "probs" else self.answer

    def reload(self) -> None:
        self.data = load_data(self.data.project, "tiny")

    def edit(self, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """Change a table on disk."""
        path = self.folder / name
        change(read(path)).to_csv(path, index=False)

    def configure(self, **keys) -> None:
        """Change keys of the YAML; a dict is merged into its section."""
        path = self.data.project.competition("tiny")
        content = yaml.safe_load(path.read_text())
        for key, value in keys.items():
            both = isinstance(value, dict) and isinstance(content.get(key), dict)
            content[key] = {**content[key], **value} if both else value
        path.write_text(yaml.safe_dump(content))
        self.reload()


def read(path: Path) -> pd.DataFrame:
    """Read a table as text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def label_table(ids: list[str], labels: np.ndarray, form: str) -> pd.DataFrame:
    """Return ids with labels as the competition's train table and answers show them."""
    frame = pd.DataFrame({"id": ids})
    if labels.ndim == 1:
        return frame.assign(label=[CLASSES[i] for i in labels])
    if form == "names":
        return frame.assign(tags=[";".join(np.array(CLASSES)[row == 1]) for row in labels])
    return frame.assign(**{name: labels[:, i] for i, name in enumerate(CLASSES)})


def sample_table(ids: list[str], form: str) -> pd.DataFrame:
    """Return a sample submission: rows and class columns in an order of its own."""
    shuffled = pd.DataFrame({"id": np.random.default_rng(1).permutation(ids)})
    if form == "name":
        return shuffled.assign(label="dog")
    if form == "names":
        return shuffled.assign(tags="")
    return shuffled.assign(**{CLASSES[i]: 0 for i in (2, 0, 1)})


def write_tables(folder: Path, form: str, truth: np.ndarray, public: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    folder.mkdir(parents=True)
    train = np.resize(truth, (9, *truth.shape[1:]))
    label_table([f"t{i}" for i in range(9)], train, form).to_csv(folder / "train.csv", index=False)
    pd.DataFrame({"id": IDS}).to_csv(folder / "test.csv", index=False)
    sample_table(IDS, form).to_csv(folder / "sample_submission.csv", index=False)
    usage = np.where(public, "Public", "Private")
    answers = label_table(IDS, truth, form).assign(Usage=usage)
    answers.iloc[rng.permutation(len(IDS))].to_csv(folder / "answers.csv", index=False)


def write_yaml(project: Project, folder: Path, form: str) -> None:
    task, metric = FORMS[form]
    columns = {"id": "id", "label": "label"}
    if task == "multilabel":
        columns = {"id": "id", "classes": list(CLASSES)}
    if form == "names":
        columns = {"id": "id", "labels": "tags", "separator": ";"}
    content = {
        "task": task,
        "metric": metric,
        "data": str(folder),
        "columns": columns,
        "tables": {"answers": "answers.csv"},
    }
    path = project.competition("tiny")
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(content))


@pytest.fixture
def contest_of(tmp_path) -> Callable[[str], Contest]:
    """Make the tiny competition of a form, with a guess that is neither perfect nor empty."""

    def make(form: str) -> Contest:
        multilabel = FORMS[form][0] == "multilabel"
        truth = np.resize([0, 1, 2, 2, 1, 0, 1], len(IDS)).astype(np.int64)
        answer = np.where(np.arange(len(IDS)) % 3 == 0, (truth + 1) % 3, truth)
        if multilabel:
            truth, answer = (np.eye(3, dtype=np.int8)[v] for v in (truth, answer))
            truth[3], answer[4] = 0, [1, 0, 1]
        probs = np.random.default_rng(3).uniform(0.01, 1, (len(IDS), 3))
        if not multilabel:
            probs /= probs.sum(axis=1, keepdims=True)
        public = np.isin(np.arange(len(IDS)), [0, 1, 2, 3, 5])
        project, folder = Project(tmp_path / "project"), tmp_path / "files"
        write_tables(folder, form, truth, public)
        write_yaml(project, folder, form)
        ids = np.array(IDS)
        return Contest(
            load_data(project, "tiny"), folder, ids, truth, answer, probs.astype("f4"), public
        )

    return make
