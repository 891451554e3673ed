"""The refit: one model on all rows, for as many epochs as the folds found right."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file
from scipy.special import softmax

from pipeline.artifacts import files
from pipeline.artifacts.predictions import Predictions
from pipeline.competition import load_data
from pipeline.config.recipe import Recipe
from pipeline.errors import Busy, PodiumError
from pipeline.folds import make_shared
from pipeline.training import session
from pipeline.training.learning import loop
from pipeline.training.refit import settled_recipe
from pipeline.training.request import TrainRequest
from pipeline.training.train import train

OFTEN = "runtime.checkpoint_seconds=0"


def test_refit_is_a_run_with_these_files(refitted, whole, artefacts):
    """Check the files, the record's keys beside a plain run's, and that the base is what it was."""
    base, refit = refitted
    assert artefacts(base.run.folder) == artefacts(whole.run.folder)
    folder = refit.run.folder
    assert folder.name == "r-refit" and refit.run.name == "r-refit"
    expected = {"run.json", "oof.npz", "test.npz"}
    inner = {"model.safetensors", "history.csv", "test.npz", "fold.json"}
    expected |= {f"refit/{name}" for name in inner}
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == expected
    record = json.loads((folder / "run.json").read_text())
    plain = json.loads((base.run.folder / "run.json").read_text())
    assert set(record) == set(plain) | {"refit_of", "oof_hash"}
    assert record["refit_of"] == "r" and record["complete"] and record == refit.record
    assert record["seedless_hash"] != plain["seedless_hash"]
    assert record["oof_score"] == plain["oof_score"]
    same = ("competition", "folds_hash", "data_hash", "arch", "seed", "metric")
    assert all(record[key] == plain[key] for key in same)
    fold = record["folds"]["refit"]
    assert fold["rows"] == {"train": 45, "test": 15} and fold["score"] is None
    assert fold["fold"] == 3  # after all folds, so that its seeds are no fold's
    assert fold["epochs"] == 2 and record["recipe"]["training"]["checkpoint"] == "last"


def test_refit_predictions(refitted):
    """Check oof against the base's, test against the one model's, and the meta of both."""
    base, refit = refitted
    oof, theirs = (Predictions.load(s.run.folder / "oof.npz") for s in (refit, base))
    assert oof.ids.tolist() == theirs.ids.tolist()
    assert np.array_equal(oof.probs, theirs.probs) and np.array_equal(oof.logits, theirs.logits)
    assert oof.meta == theirs.meta | refit.run.meta and oof.meta["run"] == "r-refit"
    test = Predictions.load(refit.run.folder / "test.npz")
    one = Predictions.load(refit.run.folder / "refit" / "test.npz")
    np.testing.assert_allclose(test.probs, one.probs, atol=1e-6)
    np.testing.assert_allclose(softmax(test.logits, axis=1), test.probs, atol=1e-5)
    assert test.meta["run"] == "r-refit" and test.meta["refit_of"] == "r"
    folds = Predictions.load(base.run.folder / "test.npz")
    assert np.abs(test.probs - folds.probs).max() > 1e-3


def test_refit_sees_every_row(project, monkeypatch, refit_tiny):
    """Check that an epoch takes each training row once, and no weights of a fold are gone on from.

    Rows are told by their targets' places, so the labels' counts are compared too.
    """
    taken, train_epoch = [], loop.train_epoch

    def watched(*args):
        epoch = train_epoch(*args)
        taken.append(epoch.rows)
        return epoch

    monkeypatch.setattr(session, "train_epoch", watched)
    base, refit = refit_tiny(project)
    assert all(sorted(rows.tolist()) == [*range(45)] for rows in taken[-2:])
    assert len(taken) == 3 * 2 + 2
    weights = [load_file(s.run.fold_folder(0) / "model.safetensors") for s in (base, refit)]
    assert any((weights[0][key] != weights[1][key]).any() for key in weights[0])


def test_refit_keeps_the_local_test_split_apart(
    project, remake_folds, configure, edit_table, refit_tiny
):
    """Check that rows of fold -2, and train-only rows of their herds, are not trained on; all
    others are, hold-out or not."""
    edit_table(project, "sets", extra=(np.arange(45) % 5 == 0).astype(int))
    columns = {"classes": ["cat", "dog", "eel"], "group": "herd", "train_only": "extra"}
    configure(project, "sets", columns=columns)
    make_shared(load_data(project, "sets"), n_folds=1, test=0.3, fresh=True)
    base, refit = refit_tiny(project, "sets")
    table = pd.read_csv(project.data("sets") / "train.csv")
    folds = base.run.folds
    local = set(folds.ids[folds.test_rows].tolist())
    herds = set(table["herd"][table["id"].isin(local)])
    job = refit.run.jobs(None)[0][0]
    assert set(job.ids[job.train].tolist()) == set(table["id"][~table["herd"].isin(herds)])
    assert local and table["extra"][table["herd"].isin(herds)].any()
    for place in (refit.run.folder, refit.run.folder / "refit"):
        stored = Predictions.load(place / "local-test.npz")
        assert set(stored.ids.tolist()) == local
    assert 0 <= refit.record["local_test_score"] <= 1


@pytest.mark.parametrize(
    ("best", "epochs"), [([3, 5, 9], 5), ([2, 3], 3), ([1, 2, 3, 4], 3), ([1], 1), ([None], 7)]
)
def test_epochs_are_the_median_of_the_best(best, epochs):
    """Check odd and even numbers of folds, halves rounded up, and the recipe's own elsewhere."""
    recipe = Recipe.model_validate({"training": {"epochs": 7, "checkpoint": "best"}})
    folds = [{"best_epoch": epoch} for epoch in best]
    settled = settled_recipe(recipe, folds).training
    assert settled.epochs == epochs and settled.checkpoint == "last"
    last = Recipe.model_validate({"training": {"epochs": 7}})
    assert settled_recipe(last, [{"best_epoch": None}]).training.epochs == 7


def test_epochs_are_the_median_of_those_that_patience_left():
    """Check that the epochs trained count for the checkpoint `last`, the best ones for `best`, that
    a fold that collapsed counts for neither unless all did, and that no fold is followed."""
    content = {"epochs": 30, "patience": 2}
    folds = [{"epochs": n, "best_epoch": b, "stopped": None} for n, b in ((9, 3), (12, 8), (14, 6))]
    gone = {"epochs": 3, "best_epoch": 1, "stopped": {"kind": "collapsed", "said": ""}}
    plateau = {"name": "plateau", "monitor": "valid"}
    for checkpoint, epochs in (("last", 12), ("best", 6)):
        training = content | {"checkpoint": checkpoint}
        recipe = Recipe.model_validate({"training": training, "schedule": plateau})
        for more in ([], [gone], [gone] * 3):
            settled = settled_recipe(recipe, [*folds, *more])
            assert settled.training.epochs == epochs and settled.training.checkpoint == "last"
        assert settled.training.patience is None
        assert settled.schedule.monitor == "train" and settled.schedule.name == "plateau"
        assert settled_recipe(recipe, [gone]).training.epochs == (3 if checkpoint == "last" else 1)
    plain = Recipe.model_validate({"training": {"epochs": 30}})
    assert settled_recipe(plain, [*folds, gone]).hash == plain.hash


def test_refit_after_early_stopping(project, refit_tiny):
    """Check that the refit trains as long as the folds did, and carries their warning."""
    options = "training.patience=1 training.epochs=9 optimizer.lr=0.02"
    base, refit = refit_tiny(project, overrides=options)
    trained = [fold["epochs"] for fold in base.record["folds"].values()]
    assert min(trained) < 9
    assert refit.record["folds"]["refit"]["epochs"] == int(np.median(trained))
    assert refit.record["recipe"]["training"]["patience"] is None
    assert refit.record["warnings"] == base.record["warnings"] != []


def test_refit_of_the_best_checkpoint(project, refit_tiny):
    """Check that the refit anneals over the median of the best epochs, and keeps the warning."""
    options = "training.checkpoint=best training.epochs=5 optimizer.lr=0.02"
    base, refit = refit_tiny(project, overrides=options)
    best = [fold["best_epoch"] for fold in base.record["folds"].values()]
    epochs = int(np.median(best))
    history = pd.read_csv(refit.run.folder / "refit" / "history.csv")
    assert len(history) == epochs == refit.record["folds"]["refit"]["epochs"]
    lr = history["lr"].tolist()
    steps = 6 * epochs
    step = np.arange(steps)
    warm = round(0.1 * steps)
    factor = np.where(
        step < warm,
        (step + 1) / max(warm, 1),
        (1 + np.cos(np.pi * (step - warm) / (steps - warm))) / 2,
    )
    assert lr == pytest.approx(0.02 * factor[5::6], rel=1e-4)
    assert refit.record["warnings"] == base.record["warnings"] != []
    assert history[["valid_loss", "valid_score"]].isna().all(axis=None)


def test_finished_refit_is_left_alone(project, refitted, artefacts, monkeypatch, refit_tiny):
    """Check that asking later gives the same bytes, and asking again trains nothing."""
    from pipeline.training import train as module

    refit_tiny(project, refit=False)
    said = []
    before = artefacts(refit_tiny(project, say=said.append)[1].run.folder)
    assert before == artefacts(refitted[1].run.folder)
    assert any("45 rows, 2 epochs to train" in line for line in said)
    monkeypatch.setattr(module, "train_fold", None)  # calling it would raise
    again = []
    _, refit = refit_tiny(project, say=again.append)
    assert artefacts(refit.run.folder) == before
    assert any("r-refit: nothing to train, refit is finished" in line for line in again)


@pytest.mark.parametrize("step", [26, 31, 35])
def test_dead_in_a_refit(step, project, dying, killed, refitted, artefacts, refit_tiny):
    """Check deaths in its first and second epoch; the folds take steps 1 to 24, it 12 more."""
    with dying(loop, "train_step", step), pytest.raises(killed):
        refit_tiny(project, overrides=OFTEN)
    base, refit = refit_tiny(project, overrides=OFTEN)
    assert refit.record["folds"]["refit"]["resumed_at_epoch"] == (step > 30)
    assert artefacts(refit.run.folder) == artefacts(refitted[1].run.folder)
    assert artefacts(base.run.folder) == artefacts(refitted[0].run.folder)


def test_dead_at_every_write_of_a_refit(
    project, dying, killed, artefacts, refitted, train_tiny, refit_tiny
):
    """Check a refit that dies before each file that it puts in place, one by one."""
    reference, kills = artefacts(refitted[1].run.folder), 0
    train_tiny(project)
    for write in range(1, 60):
        shutil.rmtree(project.run("kinds", "r-refit"), ignore_errors=True)
        try:
            with dying(files.os, "replace", write):
                refit_tiny(project, overrides=OFTEN)
        except killed:
            kills += 1
        else:
            break
        assert artefacts(refit_tiny(project, overrides=OFTEN)[1].run.folder) == reference, write
    assert kills > 15


def test_refit_follows_a_base_made_anew(project, artefacts, refit_tiny):
    """Check that other out-of-fold predictions make the refit anew, saying so; the same do not."""
    refit_tiny(project)
    first = artefacts(project.run("kinds", "r-refit"))
    refit_tiny(project, refit=False, fresh=True)
    said = []
    refit_tiny(project, say=said.append)
    assert not any("made anew" in line for line in said)
    refit_tiny(project, refit=False, fresh=True, overrides="optimizer.lr=0.01")
    base, refit = refit_tiny(project, say=said.append, overrides="optimizer.lr=0.01")
    assert any("r-refit: made anew, since r has other" in line for line in said)
    assert (
        artefacts(refit.run.folder)["refit/model.safetensors"] != (first["refit/model.safetensors"])
    )
    assert refit.record["recipe"]["optimizer"]["lr"] == 0.01
    oof, theirs = (Predictions.load(s.run.folder / "oof.npz") for s in (refit, base))
    assert np.array_equal(oof.probs, theirs.probs)


def test_refit_needs_all_folds(project, snapshot, held_elsewhere, refit_tiny):
    """Check that ONLY with folds missing is refused before anything is trained, and folds in work
    elsewhere are said; ONLY with all of them finished is not in the way."""
    before = snapshot(project.root)
    with pytest.raises(
        PodiumError, match=r"REFIT: needs all folds of r, but ONLY= leaves out 1, 2"
    ):
        refit_tiny(project, only=(0,))
    assert snapshot(project.root) == before
    lock = project.runs("kinds") / ".locks" / "r.fold-1.lock"
    some = "REFIT: needs all folds of r, but some are in work"
    with held_elsewhere(lock), pytest.raises(PodiumError, match=some):
        refit_tiny(project)
    refit_tiny(project, only=(1,))
    with pytest.raises(PodiumError, match="leaves out 1, 2"):
        refit_tiny(project, only=(0,), fresh=True)


def test_refit_in_work_elsewhere_is_busy(project, train_tiny, held_elsewhere, refit_tiny):
    """Check that two processes do not refit the same run."""
    train_tiny(project)
    lock = project.runs("kinds") / ".locks" / "r-refit.refit.lock"
    with held_elsewhere(lock), pytest.raises(Busy, match="refit of run r-refit is being worked"):
        refit_tiny(project)
    assert refit_tiny(project)[1].complete


def test_foreign_folder_is_not_taken_for_a_refit(
    project, train_tiny, artefacts, snapshot, refit_tiny
):
    """Check that a run of one's own named r-refit is kept, even under FRESH=1, and that a refit is
    not gone on with as a run."""
    mine = artefacts(train_tiny(project, name="r-refit", only=(0,)).run.folder)
    before = snapshot(project.root)
    for fresh in (False, True):
        with pytest.raises(PodiumError, match=r"r-refit: not the refit of r; rename that folder"):
            refit_tiny(project, fresh=fresh)
    assert snapshot(project.root) == before, "refused before anything was trained"
    assert artefacts(project.run("kinds", "r-refit")) == mine
    refit_tiny(project, name="s")
    with pytest.raises(PodiumError, match=r"s-refit: the refit of s; choose another NAME="):
        train_tiny(project, name="s-refit")


@pytest.mark.parametrize("content", ["{", "[]"])
def test_unreadable_record_of_a_refit_costs_nothing(project, refit_tiny, snapshot, content):
    """Check that the remedy is to delete the refit's folder, that FRESH=1 deletes nothing before it
    is refused, and that the remedy works."""
    _, refit = refit_tiny(project)
    refit.run.record_path.write_text(content)
    before = snapshot(project.root)
    for fresh in (False, True):
        with pytest.raises(PodiumError, match=r"delete that folder, .*/r-refit, and run") as caught:
            refit_tiny(project, fresh=fresh)
        assert "FRESH" not in str(caught.value) and snapshot(project.root) == before
    shutil.rmtree(refit.run.folder)
    assert refit_tiny(project)[1].complete


def test_classes_listed_as_columns_are_in_an_order(project, configure, edit_table, train_tiny):
    """Check that a head for ordered classes takes the order of the columns, as that of a list."""
    kinds = pd.read_csv(project.data("kinds") / "train.csv")["kind"]
    names = ["dog", "cat", "eel"]
    edit_table(project, "kinds", **{name: (kinds == name).astype(int) for name in names})
    ordinal = {"overrides": "model.head=ordinal training.epochs=1"}
    with pytest.raises(PodiumError, match="needs classes in an order"):
        train_tiny(project, **ordinal)
    configure(project, "kinds", columns={"classes": names})
    assert train_tiny(project, **ordinal, only=(0,)).run.data.classes == tuple(names)


def test_several_seeds_with_repeats(project):
    """Check that each run is followed by its refit, whose hash without the seed is the same."""
    request = TrainRequest(
        "kinds", ["lenet"], recipe="tiny", seed=(0, 1), overrides="training.repeats=2", refit=True
    )
    summaries = train(project, request, str)
    names = [summary.run.name for summary in summaries]
    assert [name.endswith("-refit") for name in names] == [False, True, False, True]
    assert names[1] == f"{names[0]}-refit" and names[3] == f"{names[2]}-refit"
    assert all(summary.complete for summary in summaries)
    hashes = [summary.record["seedless_hash"] for summary in summaries]
    assert hashes[0] == hashes[2] != hashes[1] == hashes[3]
    weights = [load_file(s.run.fold_folder(0) / "model.safetensors") for s in summaries[1::2]]
    assert any((weights[0][key] != weights[1][key]).any() for key in weights[0])
