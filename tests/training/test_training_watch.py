"""Watchdogs: loss that is no number, collapse, early stopping, a disk that is nearly full."""

import json
from collections import namedtuple

import numpy as np
import pytest
import torch

from pipeline.errors import PodiumError
from pipeline.training import fold, session
from pipeline.training.learning import loop, watch
from pipeline.training.learning.watch import best_epoch, check_room, collapsed, stop_reason
from pipeline.training.scores import Scores

Usage = namedtuple("Usage", "total used free")
MIXED = np.array([0, 1, 1])


def lines(scores, same=0):
    """History of epochs with these scores."""
    common = {"valid_loss": 1.0, "train_loss": 1.0, "one_answer": same}
    return [{"valid_score": score, **common} for score in scores]


def record_of(run) -> dict:
    return json.loads((run.fold_folder(0) / "fold.json").read_text())


@pytest.mark.parametrize(
    ("same", "epochs", "expected"),
    [
        ([1, 1], 8, False),  # two epochs may be a warm-up
        ([1, 1, 1], 8, True),
        ([0, 1, 1, 1], 8, True),
        ([1, 1, 1, 0], 8, False),  # it has recovered
        ([1, 1, 1], 40, False),  # a quarter of 40 epochs are 10
        ([1] * 10, 40, True),
    ],
)
def test_collapse(same, epochs, expected):
    """Check that a quarter of the epochs with one answer, at least three, are a collapse."""
    history = [{"one_answer": value, "train_loss": 0.7} for value in same]
    assert collapsed(history, epochs, MIXED) is expected
    falling = [line | {"train_loss": 0.9**k} for k, line in enumerate(history)]
    assert not collapsed(falling, epochs, MIXED)  # something is being learnt
    assert not collapsed(history, epochs, np.array([1, 1, 1]))  # one answer is right


def test_patience_counts_from_the_best_epoch():
    """Check early stopping on scores that fall, rise late, tie, and where lower is better."""
    asked = 20, 2, 1, MIXED
    assert stop_reason(lines([0.5, 0.6, 0.6]), *asked) is None
    assert stop_reason(lines([0.5, 0.6, 0.6, 0.6]), *asked).kind == "patience"
    assert stop_reason(lines([0.5, 0.6, 0.5, 0.7]), *asked) is None
    assert stop_reason(lines([0.5, 0.6, 0.7]), 20, 2, -1, MIXED).kind == "patience"
    assert stop_reason(lines([0.9, 0.1, 0.1]), 3, 1, 1, MIXED) is None  # the last epoch anyway
    assert stop_reason(lines([0.9, 0.1, 0.1, 0.1]), 20, None, 1, MIXED) is None


def test_undefined_scores_are_judged_by_loss():
    """Check that the loss decides where a score is not defined."""
    history = [{"valid_score": None, "valid_loss": loss} for loss in (0.5, 0.2, 0.3)]
    assert best_epoch(history, 1) == 1


def test_a_fold_stops_by_patience(project, train_tiny):
    """Check a real training that stops early: its record, its history, and that it is finished."""
    run = train_tiny(
        project,
        only=(0,),
        overrides="training.epochs=30 training.patience=2 optimizer.lr=1e-9 training.ema=0",
    ).run
    record = record_of(run)
    assert record["epochs"] == 3 and record["stopped"]["kind"] == "patience"
    assert "stopped after epoch 3 of 30: none of the last 2 was better" in record["stopped"]["said"]
    assert len((run.fold_folder(0) / "history.csv").read_text().splitlines()) == 4
    assert not (run.fold_folder(0) / "last.pt").exists()


def test_a_stopped_fold_stays_stopped_after_a_kill(project, train_tiny, dying, killed, artefacts):
    """Check that a kill between the last epoch and the record adds no epoch."""
    options = {
        "only": (0,),
        "overrides": "training.epochs=30 training.patience=2 optimizer.lr=1e-9 training.ema=0",
    }
    whole = train_tiny(project, name="whole", **options).run
    with dying(fold, "finish", 1), pytest.raises(killed):
        train_tiny(project, name="r", **options)
    run = train_tiny(project, name="r", **options).run
    assert record_of(run)["resumed_at_epoch"] == 3 and record_of(run)["epochs"] == 3
    weights = "fold-0/model.safetensors"
    assert artefacts(run.folder)[weights] == artefacts(whole.folder)[weights]


def test_rare_labels_that_nobody_gets_are_no_collapse(whole_sets):
    """Check that several labels count as answered alike by their probabilities alone, and that a
    constant network is one answer in both tasks."""
    scores = Scores(whole_sets.run.jobs([0])[0][0])
    spread = np.random.default_rng(0).normal(-4, 0.5, (20, 3)).astype(np.float32)
    assert scores.one_answer(spread) == 0
    assert scores.one_answer(np.full((20, 3), -4.0, np.float32)) == 1
    assert scores.one_answer(spread[:0]) == 0


def test_a_collapsed_fold_is_stopped_and_flagged(project, train_tiny, monkeypatch):
    """Check that a network with one answer stops, and that the run's record says so."""
    build = session.build_model

    def one_sided(*asked):
        model = build(*asked)
        with torch.no_grad():
            model.head[-1].bias[1] = 100.0
        return model

    monkeypatch.setattr(session, "build_model", one_sided)
    summary = train_tiny(project, overrides="training.epochs=8 optimizer.lr=1e-9")
    record = record_of(summary.run)
    assert record["stopped"]["kind"] == "collapsed" and record["epochs"] == 3
    assert "stopped after epoch 3 of 8" in record["stopped"]["said"]
    assert any("collapsed" in warning for warning in summary.record["warnings"])


def test_a_loss_that_is_no_number_stops_at_once(project, train_tiny, monkeypatch):
    """Check that NaN is found within the epoch, said in one line, and leaves no fold behind."""
    monkeypatch.setattr(loop, "LOOK_EVERY", 1)
    steps, train_step = [], loop.train_step

    def broken(learner, *rest):
        steps.append(1)
        loss, output = train_step(learner, *rest)
        return (loss * float("nan") if len(steps) == 2 else loss), output

    monkeypatch.setattr(loop, "train_step", broken)
    with pytest.raises(PodiumError, match=r"the loss became nan at lr .* lower it, e.g. SET="):
        train_tiny(project, only=(0,))
    assert len(steps) == 2
    assert not (project.run("kinds", "r") / "fold-0" / "fold.json").exists()


def test_a_full_disk_stops_before_anything_is_written(
    project, train_tiny, monkeypatch, artefacts, whole
):
    """Check the one line of a nearly full disk, that no checkpoint is half there, and that the
    same command goes on once there is room."""
    with monkeypatch.context() as patch:
        patch.setattr(watch.shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - 1000, 1000))
        with pytest.raises(PodiumError, match="the disk is nearly full: a checkpoint needs"):
            train_tiny(project, overrides="runtime.checkpoint_seconds=0")
    folder = project.run("kinds", "r") / "fold-0"
    assert sorted(path.name for path in folder.iterdir()) == ["history.csv"]
    run = train_tiny(project, overrides="runtime.checkpoint_seconds=0").run
    assert artefacts(run.folder) == artefacts(whole.run.folder)


def test_room_is_asked_for_with_some_to_spare(tmp_path, monkeypatch):
    """Check the limit itself, a tenth above what is needed."""
    monkeypatch.setattr(watch.shutil, "disk_usage", lambda _: Usage(0, 0, 1100))
    check_room(tmp_path, 1000, "a file")
    with pytest.raises(PodiumError, match="make room and run the same command again"):
        check_room(tmp_path, 1001, "a file")
