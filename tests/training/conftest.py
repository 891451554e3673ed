"""A project with two tiny competitions and one shrunken recipe, and ways to kill a training."""

import contextlib
import hashlib
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.folds import make_folds
from pipeline.training.assemble import Summary
from pipeline.training.request import TrainRequest
from pipeline.training.train import train

ROOT = Path(__file__).parents[2]
CLASSES = ["cat", "dog", "eel"]
RECIPE = {
    "model": {"arch": "lenet", "pretrained": False},
    "image": {"size": 16},
    "training": {"epochs": 2, "batch_size": 8},
    "runtime": {"device": "cpu", "threads": 1, "workers": 0},
}
COMPETITIONS: dict[str, dict[str, Any]] = {
    "kinds": {"task": "multiclass", "metric": "accuracy", "columns": {"label": "kind"}},
    "sets": {
        "task": "multilabel",
        "metric": "f1_macro",
        "columns": {"classes": CLASSES, "group": "herd"},
    },
}


def write_competition(project: Project, comp: str) -> None:
    """Write 45 training and 15 test pictures of 20 x 24; a class is a coloured bar."""
    rng, folder = np.random.default_rng(5), project.data(comp)
    (folder / "images").mkdir(parents=True)
    ids = [f"{comp} {i:03d}" for i in rng.permutation(60)]
    labels = (rng.random((60, 3)) < 0.45).astype(int)
    if comp == "kinds":
        labels = np.eye(3, dtype=int)[rng.permutation(np.arange(60) % 3)]
    for name, row in zip(ids, labels, strict=True):
        picture = rng.integers(0, 140, (24, 20, 3), dtype=np.uint8)
        for k in np.flatnonzero(row):
            picture[4 + 6 * k : 8 + 6 * k, 3:17, k] = 255
        cv2.imwrite(str(folder / "images" / f"{name}.png"), picture)
    frame = pd.DataFrame({"id": ids, "herd": [f"h{i % 12}" for i in range(60)]})
    if comp == "kinds":
        frame["kind"] = [CLASSES[k] for k in labels.argmax(1)]
    else:
        frame[CLASSES] = labels
    frame[:45].to_csv(folder / "train.csv", index=False)
    frame[45:][["id"]].to_csv(folder / "test.csv", index=False)
    content = {"data": f"data/{comp}", "extension": ".png", **COMPETITIONS[comp]}
    project.competitions.mkdir(parents=True, exist_ok=True)
    project.competition(comp).write_text(yaml.safe_dump(content))


def new_project(root: Path) -> Project:
    """Write both competitions, the recipe and three folds each."""
    project = Project(root)
    project.recipes.mkdir(parents=True)
    project.recipe("tiny").write_text(yaml.safe_dump(RECIPE))
    for comp in COMPETITIONS:
        write_competition(project, comp)
        fold_it(project, comp)
    return project


def fold_it(project: Project, comp: str, **options: Any) -> None:
    data = load_data(project, comp)
    rows = data.train.ids, data.labels, data.classes, data.train.groups
    make_folds(project.folds(comp), *rows, **{"n_folds": 3, **options})


def run_tiny(
    project: Project,
    comp: str = "kinds",
    say: Callable[[str], None] = str,
    arch: str = "lenet",
    **options: Any,
) -> Summary:
    """Train lenet, or `arch`, by the tiny recipe as run `r` and return its summary."""
    overrides = {"name": "r", "recipe": "tiny", **options}
    return train(project, TrainRequest(comp, [arch], **overrides), say)[0]


@pytest.fixture
def project(tmp_path) -> Project:
    return new_project(tmp_path / "project")


@pytest.fixture
def remake_folds() -> Callable[..., None]:
    return fold_it


@pytest.fixture
def train_tiny() -> Callable[..., Summary]:
    return run_tiny


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Summary:
    """The run of `kinds` that nothing interrupts; not to be changed."""
    return run_tiny(new_project(tmp_path_factory.mktemp("whole") / "project"))


@pytest.fixture(scope="session")
def whole_sets(tmp_path_factory) -> Summary:
    """The same of `sets`."""
    return run_tiny(new_project(tmp_path_factory.mktemp("sets") / "project"), "sets")


def with_refit(
    project: Project, comp: str = "kinds", say: Callable[[str], None] = str, **options: Any
) -> list[Summary]:
    """Train run `r` and its refit; return both summaries."""
    overrides = {"name": "r", "recipe": "tiny", "refit": True, **options}
    return train(project, TrainRequest(comp, ["lenet"], **overrides), say)


@pytest.fixture
def refit_tiny() -> Callable[..., list[Summary]]:
    return with_refit


@pytest.fixture(scope="session")
def refitted(tmp_path_factory) -> list[Summary]:
    """The run of `kinds` and its refit that nothing interrupts; not to be changed."""
    return with_refit(new_project(tmp_path_factory.mktemp("refit") / "project"))


@pytest.fixture(scope="session")
def twice(tmp_path_factory) -> dict[str, Summary]:
    """The runs of both competitions with two repeats that nothing interrupts."""
    made = {}
    for comp in COMPETITIONS:
        project = new_project(tmp_path_factory.mktemp("twice") / "project")
        made[comp] = run_tiny(project, comp, overrides="training.repeats=2")
    return made


@pytest.fixture
def artefacts() -> Callable[[Path], dict[str, str]]:
    """Hash what a run's folder holds in predictions and weights, by path."""

    def hashed(folder: Path) -> dict[str, str]:
        paths = sorted([*folder.rglob("*.npz"), *folder.rglob("*.safetensors")])
        assert paths
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in paths
        }

    return hashed


class Killed(BaseException):
    """What no `except Exception` catches: it stands for a kill."""


@pytest.fixture
def killed() -> type[BaseException]:
    return Killed


@pytest.fixture
def dying(monkeypatch) -> Callable[..., contextlib.AbstractContextManager[None]]:
    """Let the n-th call of a function raise, before it acts or after."""

    @contextlib.contextmanager
    def at(owner: Any, name: str, n: int, *, after: bool = False) -> Iterator[None]:
        original, calls = getattr(owner, name), itertools.count(1)

        def mortal(*args: Any, **options: Any) -> Any:
            last = next(calls) == n
            if last and not after:
                raise Killed
            result = original(*args, **options)
            if last:
                raise Killed
            return result

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, mortal)
            yield

    return at


@pytest.fixture
def held_elsewhere() -> Callable[[Path], contextlib.AbstractContextManager[None]]:
    """Hold a lock file in another process."""
    code = (
        "import sys; from pathlib import Path; from pipeline.artifacts.locks import lock\n"
        "with lock(Path(sys.argv[1]), 'it'):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )

    @contextlib.contextmanager
    def hold(path: Path) -> Iterator[None]:
        command = [sys.executable, "-c", code, str(path)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
            assert process.stdout.readline() == "held\n"
            yield
            process.stdin.close()

    return hold


@pytest.fixture
def configure() -> Callable[..., None]:
    """Change keys of a competition's YAML."""

    def change(project: Project, comp: str, **keys: Any) -> None:
        path = project.competition(comp)
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))

    return change


@pytest.fixture
def edit_table() -> Callable[..., None]:
    """Add columns to a table of a competition, or replace them."""

    def change(project: Project, comp: str, table: str = "train", **columns: Any) -> None:
        path = project.data(comp) / f"{table}.csv"
        pd.read_csv(path).assign(**columns).to_csv(path, index=False)

    return change
