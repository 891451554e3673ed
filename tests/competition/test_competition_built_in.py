"""The competitions that are made from scikit-learn's digits."""

import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from pipeline.competition import load_data
from pipeline.competition.built_in import digit_sets, digits, ensure_made
from pipeline.config.project import Project

CHECKOUT = Path(digits.__file__).parents[3]
TABLES = ("train", "test", "answers", "sample_submission", "leaderboard")


def tables_of(folder: Path) -> dict[str, pd.DataFrame]:
    return {name: pd.read_csv(folder / f"{name}.csv", dtype={"id": str}) for name in TABLES}


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files but the leaderboard, whose fitted baselines take seconds to make."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.stem != "leaderboard"
    }


@pytest.fixture(scope="module")
def digits_folder(tmp_path_factory) -> Path:
    """Make `digits` as the pipeline does."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    ensure_made("digits", folder)
    return folder


@pytest.fixture(scope="module")
def sets_folder(tmp_path_factory) -> Path:
    """Make `digit-sets` as the pipeline does."""
    folder = tmp_path_factory.mktemp("data") / "digit-sets"
    ensure_made("digit-sets", folder)
    return folder


def test_digits_are_scikit_learns(digits_folder):
    """Check that all 1,797 digits are there once, each picture with its own label."""
    tables, source = tables_of(digits_folder), load_digits()
    labels = pd.concat([tables["train"], tables["answers"]]).set_index("id")["label"]
    assert len(labels) == 1797 and labels.index.is_unique
    for i in range(0, 1797, 97):
        picture = cv2.imread(str(digits_folder / "images" / f"digit-{i:04d}.png"), 0)
        np.testing.assert_allclose(picture, source.images[i] * 255 / 16, atol=0.5)
        assert labels[f"digit-{i:04d}"] == source.target[i]
    assert len(list((digits_folder / "images").iterdir())) == 1797


def test_digits_are_split_fairly(digits_folder):
    """Check that the test split is stratified, its ids apart, and a third of it public."""
    tables = tables_of(digits_folder)
    assert not set(tables["train"]["id"]) & set(tables["test"]["id"])
    assert list(tables["test"].columns) == ["id"]
    for other in ("answers", "sample_submission"):
        assert tables[other]["id"].tolist() == tables["test"]["id"].tolist()
    assert len(tables["test"]) == math.ceil(0.3 * 1797)
    shares = [tables[name]["label"].value_counts(normalize=True) for name in ("train", "answers")]
    assert (shares[0] - shares[1]).abs().max() < 0.003
    assert (tables["answers"]["Usage"] == "Public").mean() == pytest.approx(0.3, abs=0.002)
    assert set(tables["answers"]["Usage"]) == {"Public", "Private"}


@pytest.mark.parametrize("name", ["digits_folder", "sets_folder"])
def test_the_leaderboard_is_worth_beating(name, request):
    """Check that baselines have scores between 0 and 1, a good one well above the worst."""
    board = tables_of(request.getfixturevalue(name))["leaderboard"]
    assert len(board) >= 4 and board["team"].is_unique
    scores = board[["public", "private"]]
    assert ((scores > 0) & (scores <= 1)).all(axis=None)
    assert scores.max().min() > scores.min().max() + 0.1


@pytest.mark.parametrize("name", ["digits", "digit-sets"])
def test_a_built_in_competition_loads(name, tmp_path, request):
    """Check that the project's own YAML reads the tables, with every picture on the disk."""
    made = request.getfixturevalue("digits_folder" if name == "digits" else "sets_folder")
    project = Project(tmp_path)
    project.competitions.mkdir(parents=True)
    text = Project(CHECKOUT).competition(name).read_text()
    project.competition(name).write_text(text)
    project.data(name).parent.mkdir()
    project.data(name).symlink_to(made)
    data = load_data(project, name)
    assert data.classes == tuple("0123456789")
    assert all(path.exists() for path in [*data.train.images, *data.test.images])
    assert (data.train.groups is None) == (name == "digits")


def test_digit_sets_pools_do_not_cross_the_split(sets_folder):
    """Check 40 pools of 90 canvases, 12 of them test alone."""
    tables = tables_of(sets_folder)
    train, test = tables["train"]["pool"], tables["test"]["pool"]
    assert not set(train) & set(test)
    assert train.nunique() == 28 and test.nunique() == 12
    assert set(train.value_counts()) == set(test.value_counts()) == {90}
    assert list(tables["test"].columns) == ["id", "pool"]


def test_digit_sets_labels(sets_folder):
    """Check that half the canvases are empty, none has more than 3 digits, rare ones are rare."""
    tables = tables_of(sets_folder)
    names = [str(digit) for digit in range(10)]
    labels = pd.concat([tables["train"], tables["answers"]])[names].to_numpy()
    assert set(np.unique(labels)) == {0, 1}
    count = labels.sum(axis=1)
    assert (count == 0).mean() == pytest.approx(0.5, abs=0.03)
    assert count.max() == 3 and (count == 3).mean() > 0.02
    frequency = labels.mean(axis=0)
    assert frequency[0] > 3 * frequency[9] > 0
    assert np.corrcoef(frequency, np.arange(10))[0, 1] < -0.9


def test_digit_sets_deal_each_digit_to_one_pool(tmp_path, monkeypatch):
    """Check that no handwritten digit is drawn from in two pools, and all are dealt."""
    drawn: list[np.ndarray] = []
    real, (pictures, values) = digit_sets._canvas, digit_sets.handwritten_digits()
    numbers = np.arange(len(values))
    marked = pictures.copy()  # two pixels of every digit say which one it is
    marked[:, 0, 0], marked[:, 0, 7] = numbers // 256, numbers % 256

    def watched(rng, digits, its_values):
        drawn.append(digits[:, 0, 0].astype(int) * 256 + digits[:, 0, 7])
        return real(rng, digits, its_values)

    monkeypatch.setattr(digit_sets, "handwritten_digits", lambda: (marked, values))
    monkeypatch.setattr(digit_sets, "_canvas", watched)
    monkeypatch.setattr(digit_sets, "_baselines", lambda *_: {})
    digit_sets.make(tmp_path)
    assert len(drawn) == 40 * 90
    pools = {tuple(sorted(pool.tolist())) for pool in drawn}
    assert len(pools) == 40
    assert sorted(n for pool in pools for n in pool) == numbers.tolist()


def test_clutter_lies_near_the_borders(sets_folder):
    """Check that empty canvases are darker in the middle, so that a crop helps."""
    answers = tables_of(sets_folder)["train"]
    empty = answers[answers[[str(d) for d in range(10)]].sum(axis=1) == 0]["id"][:100]
    pictures = [cv2.imread(str(sets_folder / "images" / f"{name}.png"), 0) for name in empty]
    mean = np.mean(pictures, axis=0)
    assert mean.shape == (64, 64)
    border = np.ones((64, 64), bool)
    border[12:52, 12:52] = False
    assert mean[border].mean() > 2 * mean[~border].mean()


@pytest.mark.parametrize("module", [digits, digit_sets])
def test_made_again_it_is_the_same(module, tmp_path, monkeypatch, request):
    """Check that tables and pictures are the same bytes on every machine that makes them."""
    name = "digits_folder" if module is digits else "sets_folder"
    monkeypatch.setattr(module, "_baselines", lambda *_: {})
    module.make(tmp_path)
    assert contents(tmp_path) == contents(request.getfixturevalue(name))


def test_what_is_there_is_not_made_again(tmp_path, monkeypatch):
    """Check that a folder with a training table is left as it is."""
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "train.csv").write_text("mine")
    ensure_made("digits", tmp_path / "digits")
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["train.csv"]


def test_making_that_fails_leaves_nothing(tmp_path, monkeypatch):
    """Check that an error half-way leaves no half competition behind."""

    def broken(folder: Path) -> None:
        (folder / "train.csv").write_text("half")
        raise RuntimeError("disk full")

    monkeypatch.setitem(sys.modules["pipeline.competition.built_in"]._MAKERS, "digits", broken)
    with pytest.raises(RuntimeError, match="disk full"):
        ensure_made("digits", tmp_path / "digits")
    assert not (tmp_path / "digits").exists()
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_two_processes_make_it_once(tmp_path):
    """Check that a process that comes second waits and finds the competition made."""
    code = """
import sys, time
from pathlib import Path
import pipeline.competition.built_in as built_in
def make(folder):
    time.sleep(0.5)
    (folder / "train.csv").write_text("made")
    print("made")
built_in._MAKERS["digits"] = make
built_in.ensure_made("digits", Path(sys.argv[1]))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "digits")]
    options = {"stdout": subprocess.PIPE, "text": True, "cwd": CHECKOUT}
    processes = [subprocess.Popen(command, **options) for _ in range(2)]
    printed = [process.communicate()[0] for process in processes]
    assert sorted(printed) == ["", "made\n"] and not any(p.returncode for p in processes)
