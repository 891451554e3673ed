"""Rows without a picture, train-only rows and competitions without test rows, in training."""

import shutil

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.predictions import Predictions
from pipeline.competition import load_data
from pipeline.errors import PodiumError
from pipeline.folds import make_shared
from pipeline.images import cache

LOST_TRAIN, LOST_TEST = (2, 11, 23, 24, 40), (3, 9)
PRIOR = {"missing_images": "predict-prior"}


def ids_of(project, comp: str, table: str) -> list[str]:
    return pd.read_csv(project.data(comp) / f"{table}.csv")["id"].tolist()


@pytest.fixture
def lose(project):
    """Delete pictures of five training and two test rows, one of them only cut short."""

    def act(comp: str) -> set[str]:
        train, test = (ids_of(project, comp, table) for table in ("train", "test"))
        lost = [train[i] for i in LOST_TRAIN] + [test[i] for i in LOST_TEST]
        for name in lost[1:]:
            (project.data(comp) / "images" / f"{name}.png").unlink()
        cut = project.data(comp) / "images" / f"{lost[0]}.png"
        cut.write_bytes(cut.read_bytes()[:200])
        return set(lost)

    return act


@pytest.fixture
def read_rows(monkeypatch) -> set[int]:
    """The pictures that are read, by number."""
    seen, read = set(), cache.Pixels.read

    def watched(self, i: int) -> np.ndarray:
        assert self.places is None or self.places[i] >= 0
        seen.add(i)
        return read(self, i)

    monkeypatch.setattr(cache.Pixels, "read", watched)
    return seen


@pytest.mark.parametrize("comp", ["kinds", "sets"])
@pytest.mark.parametrize("limit", [None, 24])
def test_rows_without_a_picture_get_the_frequencies(
    comp, limit, project, train_tiny, lose, configure, read_rows, remake_folds
):
    """Check that each file has each id once, absent rows the frequencies of the classes in the
    fold's training rows by pandas, others not, and that no absent picture is read."""
    lost = lose(comp)
    configure(project, comp, **PRIOR)
    remake_folds(project, comp, test=0.2, fresh=True)
    summary, said = None, []
    summary = train_tiny(project, comp, say=said.append, limit=limit)
    run, table = summary.run, pd.read_csv(project.data(comp) / "train.csv").set_index("id")
    onehot = pd.get_dummies(table["kind"]) if comp == "kinds" else table[["cat", "dog", "eel"]]
    assert sum("missing or broken pictures: 5 of training rows" in line for line in said) == 1
    names = np.concatenate([run.data.train.ids, run.data.test.ids])
    assert not {str(names[i]) for i in read_rows} & lost
    met = set()
    for job in run.jobs(None)[0]:
        trained = names[job.train].tolist()
        assert not set(trained) & lost
        prior = onehot.loc[trained].to_numpy(float).mean(0)
        for part, rows in job.parts.items():
            stored = Predictions.load(job.folder / f"{part}.npz")
            assert stored.ids.tolist() == names[rows].tolist()
            absent = np.isin(stored.ids, list(lost))
            met |= set(stored.ids[absent].tolist())
            found = stored.probs[absent]
            np.testing.assert_allclose(found, np.tile(prior, (len(found), 1)), atol=1e-6)
            assert np.abs(stored.probs[~absent] - prior).max(axis=1).min() > 1e-6
    assert met == lost if limit is None else met < lost
    oof = Predictions.load(run.folder / "oof.npz").ids.tolist()
    if limit is None:
        assert oof == run.folds.ids[run.folds.fold >= 0].tolist()
    assert len(oof) == len(set(oof)) and set(oof) & lost


def test_a_fold_of_absent_pictures_is_answered_too(project, train_tiny, configure):
    """Check that a part without any picture needs no network, and the other folds train."""
    train = load_data(project, "kinds").train.ids
    run = train_tiny(project, only=(0,)).run
    for name in train[run.folds.valid_rows(1)]:
        (project.data("kinds") / "images" / f"{name}.png").unlink()
    configure(project, "kinds", **PRIOR)
    summary = train_tiny(project, name="again")
    valid = Predictions.load(summary.run.fold_folder(1) / "valid.npz")
    assert summary.complete and np.ptp(valid.probs, axis=0).max() == 0
    labels = summary.run.data.labels[summary.run.folds.train_rows(1)]
    np.testing.assert_allclose(valid.probs[0], np.bincount(labels, minlength=3) / 30, atol=1e-6)


def test_dropped_rows_are_gone_and_test_rows_stay(project, train_tiny, lose, configure):
    """Check `drop`: no prediction of a dropped row, frequencies for the test rows."""
    lost = lose("kinds")
    configure(project, "kinds", missing_images="drop")
    make_shared(load_data(project, "kinds"), n_folds=3, fresh=True)
    run = train_tiny(project).run
    oof, test = (Predictions.load(run.folder / f"{part}.npz") for part in ("oof", "test"))
    assert len(oof.ids) == 40 and not set(oof.ids.tolist()) & lost
    assert test.ids.tolist() == ids_of(project, "kinds", "test")
    absent = np.isin(test.ids, list(lost))
    assert absent.sum() == 2 and np.ptp(test.probs[absent], axis=0).max() < 1e-6


@pytest.mark.parametrize("options", [{}, {"limit": 40}, {"overrides": "training.repeats=2"}])
def test_absent_picture_is_refused_before_anything_is_written(
    options, project, train_tiny, lose, snapshot
):
    """Check that the first run of a competition with a missing picture leaves no folds file, no
    run and no pixels, and that the picture put back is all it takes."""
    shutil.copytree(project.data("kinds"), project.root / "copy")
    lose("kinds")
    shutil.rmtree(project.root / "folds")
    before = snapshot(project.root)
    with pytest.raises(PodiumError, match=r"train\.csv: row \d+.*\.png: .*missing_images:"):
        train_tiny(project, **options)
    after = snapshot(project.root)
    checked = {path for path in after.keys() - before.keys() if "cache/pictures-" in path}
    assert {path: after[path] for path in after if path not in checked} == before
    assert not (project.root / "folds").exists() and not project.runs("kinds").exists()
    shutil.rmtree(project.data("kinds"))
    (project.root / "copy").rename(project.data("kinds"))
    assert train_tiny(project, **options).complete


def test_absent_picture_does_not_cost_the_run_that_is_there(project, train_tiny, lose, artefacts):
    """Check that FRESH=1 on a competition that lost a picture deletes nothing."""
    before = artefacts(train_tiny(project).run.folder)
    lose("kinds")
    with pytest.raises(PodiumError, match="missing_images"):
        train_tiny(project, fresh=True)
    assert artefacts(project.run("kinds", "r")) == before


@pytest.fixture
def no_test(project, configure):
    """Take the test table from a competition."""

    def act(comp: str) -> None:
        configure(project, comp, tables={"test": None, "sample_submission": None})

    return act


@pytest.mark.parametrize("options", [{}, {"limit": 20}, {"refit": True}])
@pytest.mark.parametrize("comp", ["kinds", "sets"])
def test_competition_without_test_rows(comp, options, project, train_tiny, no_test):
    """Check that all runs as ever, with test.npz of no rows."""
    no_test(comp)
    run = train_tiny(project, comp, **options).run
    folders = [run.folder, run.fold_folder(0)]
    folders += [project.run(comp, "r-refit")] if options.get("refit") else []
    for folder in folders:
        test = Predictions.load(folder / "test.npz")
        assert test.ids.shape == (0,) and test.probs.shape == test.logits.shape == (0, 3)
    assert len(Predictions.load(run.folder / "oof.npz").ids) == (45 if not run.parts.limit else 21)


def test_box_crop_without_test_rows(project, train_tiny, no_test, configure, edit_table):
    """Check that boxes of the training table count where there is no test table to have any."""
    no_test("kinds")
    edit_table(project, "kinds", x0=2, y0=3, x1=20, y1=21)
    configure(project, "kinds", crop={"kind": "box", "columns": ["x0", "y0", "x1", "y1"]})
    jobs, _ = train_tiny(project, only=(0,)).run.jobs([0])
    assert jobs[0].pixels.read(0).shape[:2] == (18, 18)


def test_train_only_rows_are_trained_on_and_never_validated(
    project, train_tiny, configure, edit_table
):
    """Check jobs and predictions of a table that marks every fifth row, by sets of ids; a marked
    row whose herd is validated is left out of that fold."""
    marked = (np.arange(45) % 5 == 0).astype(int)
    edit_table(project, "sets", extra=marked)
    columns = {"classes": ["cat", "dog", "eel"], "group": "herd", "train_only": "extra"}
    configure(project, "sets", columns=columns)
    make_shared(load_data(project, "sets"), n_folds=3, fresh=True)
    run = train_tiny(project, "sets").run
    table = pd.read_csv(project.data("sets") / "train.csv")
    herds = dict(zip(table["id"], table["herd"], strict=True))
    extra = set(table["id"][table["extra"] == 1])
    oof = Predictions.load(run.folder / "oof.npz").ids.tolist()
    assert set(oof) == set(table["id"]) - extra
    used = set()
    for job in run.jobs(None)[0]:
        trained, valid = (set(job.ids[r].tolist()) for r in (job.train, job.parts["valid"]))
        held = {herds[name] for name in valid}
        assert not held & {herds[name] for name in trained}
        wanted = {name for name in set(table["id"]) - valid if herds[name] not in held}
        assert trained == wanted
        used |= trained & extra
    assert used


def test_external_table_is_trained_on(project, train_tiny, configure):
    """Check that rows of an external table, weighed, join every fold's training and no part."""
    folder = project.data("kinds")
    table = pd.read_csv(folder / "train.csv")
    table[:6].to_csv(folder / "more.csv", index=False)
    table[6:].to_csv(folder / "train.csv", index=False)
    configure(project, "kinds", external=[{"table": "more.csv", "prefix": "x", "weight": 2.0}])
    data = load_data(project, "kinds")
    make_shared(data, n_folds=3, fresh=True)
    run = train_tiny(project).run
    for job in run.jobs(None)[0]:
        names = job.ids[job.train]
        assert sum(name.startswith("x") for name in names) == 6
        weights = job.loss_weights()[job.train]
        assert weights.mean() == pytest.approx(1) and weights.max() == 2 * weights.min()
    oof = Predictions.load(run.folder / "oof.npz").ids.tolist()
    assert sorted(oof) == sorted(table["id"][6:])


@pytest.mark.parametrize("limit", [None, 20])
def test_refit_without_some_pictures(limit, project, train_tiny, refit_tiny, lose, configure):
    """Check that a refit trains on all pictured rows that LIMIT keeps, and answers the others by
    their frequencies."""
    lost = lose("kinds")
    configure(project, "kinds", **PRIOR)
    base, refit = refit_tiny(project, limit=limit)
    job = refit.run.jobs(None)[0][0]
    used = {row for fold in base.run.jobs(None)[0] for row in fold.train.tolist()}
    assert set(job.train.tolist()) == used and not set(job.ids[job.train].tolist()) & lost
    assert refit.record["limited"] is (limit is not None)
    test = Predictions.load(refit.run.folder / "test.npz")
    absent = np.isin(test.ids, list(lost))
    prior = np.bincount(refit.run.data.labels[job.train], minlength=3) / len(job.train)
    found = test.probs[absent]
    np.testing.assert_allclose(found, np.tile(prior, (len(found), 1)), atol=1e-6)
    assert len(found) == 2 or limit
