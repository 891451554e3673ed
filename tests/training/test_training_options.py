"""Tests of what a run can be asked for: ONLY, LIMIT, workers, best checkpoint, local test."""

import csv
import json

import numpy as np
import pytest

from pipeline.artifacts.predictions import Predictions
from pipeline.errors import PodiumError
from pipeline.folds import load_folds


def test_one_fold_first_then_the_rest_is_the_same(project, train_tiny, whole, artefacts):
    """Check that ONLY=0 and later the rest end in the same bytes as all folds at once."""
    first = train_tiny(project, only=(0,))
    assert not first.complete
    partial = Predictions.load(first.run.folder / "oof.npz")
    assert len(partial.ids) == len(first.run.folds.valid_rows(0))
    assert "folds 1, 2 are not trained" in partial.meta["coverage"]["missing"]
    train_tiny(project, only=(2,))
    last = train_tiny(project)
    assert last.complete
    assert artefacts(last.run.folder) == artefacts(whole.run.folder)


def test_unknown_fold_is_refused(project, train_tiny):
    """Check that ONLY names the folds that there are."""
    with pytest.raises(PodiumError, match=r"no fold 7; the folds are 0, 1, 2"):
        train_tiny(project, only=(7,))


def test_workers_do_not_change_the_weights(project, train_tiny, whole, artefacts):
    """Check that two loader workers end in the same bytes as none."""
    summary = train_tiny(project, overrides="runtime.workers=2")
    assert summary.record["folds"]["0"]["setup"]["workers"] == 2
    assert artefacts(summary.run.folder) == artefacts(whole.run.folder)


def test_workers_do_not_change_what_dropout_drops(project, train_tiny, artefacts):
    """Check the same with dropout, whose random stream a loader must not draw from."""
    both = []
    for workers in (0, 2):
        overrides = f"model.drop_rate=0.5 training.epochs=3 runtime.workers={workers}"
        run = train_tiny(project, overrides=overrides, only=(0,), fresh=bool(workers)).run
        both.append(artefacts(run.folder))
    assert both[0] == both[1]


def test_best_checkpoint_is_the_best_epoch_and_is_marked(project, train_tiny):
    """Check that each fold keeps the first epoch of its best score, and that the run says so."""
    overrides = "training.checkpoint=best training.epochs=6 optimizer.lr=0.05 training.ema=0"
    summary = train_tiny(project, overrides=f"{overrides} schedule.name=constant")
    restored = False
    for fold in range(3):
        folder = summary.run.fold_folder(fold)
        lines = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
        scores = [float(line["valid_score"]) for line in lines]
        record = json.loads((folder / "fold.json").read_text())
        assert record["best_epoch"] == 1 + int(np.argmax(scores))
        assert record["score"] == pytest.approx(max(scores), rel=1e-5)
        valid, data = Predictions.load(folder / "valid.npz"), summary.run.data
        truth = dict(zip(data.train.ids.tolist(), data.labels.tolist(), strict=True))
        right = valid.probs.argmax(1) == [truth[name] for name in valid.ids.tolist()]
        assert right.mean() == pytest.approx(max(scores), rel=1e-5)
        restored |= scores[-1] < max(scores)
    assert restored  # else the last weights would do as well, and this test says nothing
    assert "selected-in-fold" in summary.record["warnings"][0]


def test_limit_is_marked_and_says_what_is_missing(project, train_tiny):
    """Check that a smoke run is limited in every part and cannot be taken for a whole one."""
    summary = train_tiny(project, limit=20)
    oof, test = (Predictions.load(summary.run.folder / f"{p}.npz") for p in ("oof", "test"))
    assert abs(len(oof.ids) - 20) <= 3 and len(test.ids) == 15
    assert "LIMIT=20" in oof.meta["coverage"]["missing"]
    assert summary.record["limited"]
    assert any("LIMIT=20" in warning for warning in summary.record["warnings"])
    again = train_tiny(project, limit=20, name="again")
    assert Predictions.load(again.run.folder / "oof.npz").ids.tolist() == oof.ids.tolist()
    smaller = train_tiny(project, "kinds", limit=8, name="smaller")
    few = Predictions.load(smaller.run.folder / "oof.npz"), smaller.record["folds"]["0"]["rows"]
    assert set(few[0].ids.tolist()) <= set(oof.ids.tolist())
    assert few[1]["test"] == 8 and few[1]["train"] < 10


def test_local_test_split_is_predicted_and_never_trained_on(project, train_tiny, remake_folds):
    """Check the part that the folds keep apart: its ids, its mean over folds, its score."""
    remake_folds(project, "sets", test=0.25, fresh=True)
    summary = train_tiny(project, "sets")
    folds = load_folds(project.folds("sets"), summary.run.data.train.ids)
    apart = folds.ids[folds.test_rows].tolist()
    assert apart
    local = Predictions.load(summary.run.folder / "local-test.npz")
    assert local.ids.tolist() == apart
    parts = [Predictions.load(summary.run.fold_folder(k) / "local-test.npz") for k in range(3)]
    np.testing.assert_allclose(local.probs, np.mean([p.probs for p in parts], 0), atol=1e-6)
    assert not set(apart) & set(Predictions.load(summary.run.folder / "oof.npz").ids.tolist())
    for k in range(3):
        rows = summary.record["folds"][str(k)]["rows"]
        assert rows["train"] + rows["valid"] + len(apart) == 45
    assert 0 <= summary.record["local_test_score"] <= 1


def test_hold_out_validates_one_part(project, train_tiny, remake_folds):
    """Check that a hold-out's run is complete with one fold and says which rows it leaves out."""
    remake_folds(project, "kinds", n_folds=1, holdout=0.2, fresh=True)
    summary = train_tiny(project)
    oof = Predictions.load(summary.run.folder / "oof.npz")
    assert summary.complete and len(oof.ids) == 9
    assert "validate 9 of 45 rows" in oof.meta["coverage"]["missing"]


def test_box_columns_of_the_competition_reach_the_pixels(project, train_tiny, boxed):
    """Check that training and test pictures are cut by the columns that the YAML names."""
    from pipeline.images.decode import decode

    boxed(project, in_recipe=False)
    run = train_tiny(project, only=(0,)).run
    jobs, _ = run.jobs([0])
    folder = project.data("kinds") / "images"
    for row, name in ((0, run.data.train.ids[0]), (50, run.data.test.ids[5])):
        whole = decode(folder / f"{name}.png")
        np.testing.assert_array_equal(jobs[0].pixels.read(row), whole[3:21, 2:20])


def test_box_crop_without_its_columns_is_refused(project, train_tiny, boxed):
    """Check that a crop by box which only the recipe names does not train on whole pictures.

    The recipe's hash says `box`; without boxes the pictures would silently stay whole.
    """
    boxed(project, in_recipe=True)
    try:
        run = train_tiny(project, only=(0,)).run
    except PodiumError as error:
        assert "columns" in str(error)
    else:
        jobs, _ = run.jobs([0])
        assert jobs[0].pixels.read(0).shape[:2] == (18, 18)


@pytest.fixture
def boxed():
    """Give every row the box 2, 3, 20, 21 and let the YAML, or its recipe alone, crop by it."""
    import pandas as pd
    import yaml

    def change(project, in_recipe: bool) -> None:
        for part in ("train", "test"):
            path = project.data("kinds") / f"{part}.csv"
            pd.read_csv(path).assign(x0=2, y0=3, x1=20, y1=21).to_csv(path, index=False)
        path = project.competition("kinds")
        content = yaml.safe_load(path.read_text())
        crop = {"kind": "box", "columns": ["x0", "y0", "x1", "y1"]}
        content |= {"recipe": {"image": {"crop": crop}}} if in_recipe else {"crop": crop}
        path.write_text(yaml.safe_dump(content))

    return change


def test_limit_decodes_no_more_than_it_keeps(project, train_tiny, whole):
    """Check that all folds of a LIMIT run share one set of rows, the only ones that are decoded."""
    jobs, _ = train_tiny(project, limit=20, only=(0,)).run.jobs(None)
    kept = np.flatnonzero(jobs[0].pixels.places >= 0).tolist()
    test = jobs[0].parts["test"].tolist()
    for job in jobs:
        train, valid = job.train.tolist(), job.parts["valid"].tolist()
        assert len(valid) >= 2 and not set(train) & set(valid)
        assert sorted([*train, *valid, *test]) == kept
    full = whole.run.jobs([0])[0][0].pixels
    assert full.places is None
    for row in kept:
        assert np.array_equal(jobs[0].pixels.read(row), full.read(row))
