"""Tests of resuming: whatever a training dies of, the same command ends in the same bytes."""

import json
import shutil

import pytest
import torch

from pipeline.artifacts import files
from pipeline.errors import PodiumError
from pipeline.training import checkpoint, fold, session
from pipeline.training.learning import loop

OFTEN, SELDOM = "runtime.checkpoint_seconds=0", ""


def kill_run(project, train_tiny, killed, **options) -> None:
    with pytest.raises(killed):
        train_tiny(project, **options)


@pytest.mark.parametrize("overrides", [OFTEN, SELDOM], ids=["every epoch", "default"])
@pytest.mark.parametrize("step", [1, 3, 5, 8, 11])
def test_dead_in_a_step(step, overrides, project, train_tiny, dying, killed, whole, artefacts):
    """Check that a death within epoch 1 or 2, before or after a checkpoint, costs no bit.

    A fold has 30 rows, 4 steps an epoch: step 11 is in the second fold.
    """
    with dying(loop, "train_step", step):
        kill_run(project, train_tiny, killed, overrides=overrides)
    summary = train_tiny(project, overrides=overrides)
    assert artefacts(summary.run.folder) == artefacts(whole.run.folder)
    resumed = [record["resumed_at_epoch"] for record in summary.record["folds"].values()]
    epochs = 1 if overrides == OFTEN and step in (5, 8) else 0
    assert resumed == [epochs, 0, 0]


@pytest.mark.parametrize("workers", [0, 2])
def test_dead_with_dropout(workers, project, train_tiny, dying, killed, artefacts):
    """Check that a resumed epoch drops what it would have dropped, with workers or without."""
    overrides = f"{OFTEN} model.drop_rate=0.5 training.epochs=3 runtime.workers={workers}"
    reference = artefacts(train_tiny(project, overrides=overrides, only=(0,)).run.folder)
    with dying(loop, "train_step", 7):
        kill_run(project, train_tiny, killed, overrides=overrides, only=(0,), fresh=True)
    summary = train_tiny(project, overrides=overrides, only=(0,))
    assert summary.record["folds"]["0"]["resumed_at_epoch"] == 1
    assert artefacts(summary.run.folder) == reference


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_dead_while_predicting(call, project, train_tiny, dying, killed, whole, artefacts):
    """Check the same for a death while validating an epoch, or predicting valid or test."""
    for after in (False, True):
        with dying(session, "predict", call, after=after):
            kill_run(project, train_tiny, killed, overrides=OFTEN)
    summary = train_tiny(project, overrides=OFTEN)
    assert artefacts(summary.run.folder) == artefacts(whole.run.folder)


def test_dead_at_every_write(project, train_tiny, dying, killed, artefacts):
    """Check one fold that dies before and after each file that it puts in place, one by one."""
    reference = artefacts(train_tiny(project, only=(0,), name="r").run.folder)
    kills = 0
    for after in (False, True):
        for write in range(1, 100):
            shutil.rmtree(project.run("kinds", "r"))
            try:
                with dying(files.os, "replace", write, after=after):
                    train_tiny(project, only=(0,), overrides=OFTEN)
            except killed:
                kills += 1
            else:
                break  # fewer writes than that: this one was not interrupted
            summary = train_tiny(project, only=(0,), overrides=OFTEN)
            assert artefacts(summary.run.folder) == reference, (write, after)
    assert kills > 20
    assert not list(project.root.rglob("*.tmp"))


def test_dead_twice_with_the_best_checkpoint(project, train_tiny, dying, killed, artefacts):
    """Check that the best epoch so far survives a death, with checkpoint: best."""
    overrides = f"training.checkpoint=best training.epochs=5 optimizer.lr=0.02 {OFTEN}"
    reference = train_tiny(project, overrides=overrides, only=(1,), name="reference")
    best = reference.record["folds"]["1"]["best_epoch"]
    for step in (7, 9):
        with dying(loop, "train_step", step):
            kill_run(project, train_tiny, killed, overrides=overrides, only=(1,))
    summary = train_tiny(project, overrides=overrides, only=(1,))
    assert summary.record["folds"]["1"]["resumed_at_epoch"] > 1
    assert summary.record["folds"]["1"]["best_epoch"] == best
    weights = "fold-1/model.safetensors"
    assert artefacts(summary.run.folder)[weights] == artefacts(reference.run.folder)[weights]


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "other content"])
def test_damaged_checkpoint_is_ignored(
    damage, project, train_tiny, dying, killed, whole, artefacts
):
    """Check that a last.pt which cannot be read costs time and nothing else."""
    with dying(loop, "train_step", 6):
        kill_run(project, train_tiny, killed, overrides=OFTEN)
    path = project.run("kinds", "r") / "fold-0" / "last.pt"
    content = path.read_bytes()
    if damage == "other content":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        path.write_bytes({"empty": b"", "text": b"hello", "cut": content[:-200]}[damage])
    summary = train_tiny(project, overrides=OFTEN)
    assert summary.record["folds"]["0"]["resumed_at_epoch"] == 0
    assert artefacts(summary.run.folder) == artefacts(whole.run.folder)


def test_checkpoint_of_another_recipe_is_ignored(
    project, train_tiny, dying, killed, whole, artefacts
):
    """Check that a last.pt copied from a run with another learning rate is not gone on from."""
    with dying(loop, "train_step", 6):
        kill_run(project, train_tiny, killed, overrides=f"{OFTEN} optimizer.lr=0.1", name="other")
    with dying(loop, "train_step", 2):
        kill_run(project, train_tiny, killed, overrides=OFTEN)
    runs = project.runs("kinds")
    (runs / "r" / "fold-0").mkdir(exist_ok=True)
    shutil.copy(runs / "other" / "fold-0" / "last.pt", runs / "r" / "fold-0" / "last.pt")
    summary = train_tiny(project, overrides=OFTEN)
    assert summary.record["folds"]["0"]["resumed_at_epoch"] == 0
    assert artefacts(summary.run.folder) == artefacts(whole.run.folder)


def test_checkpoint_is_rare_by_default(project, train_tiny, monkeypatch):
    """Check that short epochs are not slowed down by a checkpoint each, but the end has one."""
    saved, save = [], checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *a: (saved.append(a[1].step), save(*a)))
    train_tiny(project, only=(0,))
    assert saved == [8]
    train_tiny(project, only=(0,), overrides=OFTEN, name="often")
    assert saved == [8, 4, 8]


def test_checkpoint_beside_a_finished_fold_is_removed(
    project, train_tiny, dying, killed, whole, artefacts
):
    """Check that a death between the fold's record and the removal of last.pt leaves no last.pt.

    It is three times the size of the weights, and nothing would ever delete it.
    """
    with dying(fold, "write_json", 1, after=True):
        kill_run(project, train_tiny, killed)
    assert (project.run("kinds", "r") / "fold-0" / "fold.json").exists()
    summary = train_tiny(project)
    assert artefacts(summary.run.folder) == artefacts(whole.run.folder)
    assert not list(summary.run.folder.rglob("last.pt"))


def test_kill_in_the_first_write_does_not_make_the_folder_foreign(
    project, train_tiny, whole, artefacts
):
    """Check that a folder with nothing but the torn-off run.json of a killed process is usable.

    SIGKILL between making the folder and renaming the record leaves exactly this.
    """
    folder = project.run("kinds", "r")
    folder.mkdir(parents=True)
    (folder / f".run.json.{files._HOST}.999999999.tmp").write_text('{"run"')
    summary = train_tiny(project)
    assert artefacts(summary.run.folder) == artefacts(whole.run.folder)
    assert not list(folder.rglob("*.tmp"))


def test_loss_that_is_not_finite_stops_with_a_remedy(project, train_tiny):
    """Check that NaN is one error that says what to lower, and leaves no fold that looks done."""
    overrides = "optimizer.lr=1e30 optimizer.name=sgd schedule.warmup=0"
    with pytest.raises(PodiumError, match=r"loss became (nan|inf).*optimizer\.lr=.*FRESH=1"):
        train_tiny(project, overrides=overrides)
    folder = project.run("kinds", "r")
    assert not list(folder.rglob("*.npz")) and not list(folder.rglob("fold.json"))
    assert json.loads((folder / "run.json").read_text())["folds"] == {}
    assert train_tiny(project, fresh=True).complete
