"""Weights of rows: in the training loss alone, scaled so that they do not cancel in a batch."""

import csv

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import log_loss
from torch import nn

from pipeline.artifacts.predictions import Predictions
from pipeline.config.learning import Loss
from pipeline.errors import PodiumError
from pipeline.training.learning import loop
from pipeline.training.learning.losses import build_loss

OFTEN = "runtime.checkpoint_seconds=0"


def batch(task: str, rows=7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return inputs (rows, 5), targets and weights, one of them 0."""
    rng = np.random.default_rng(4)
    inputs = torch.tensor(rng.normal(size=(rows, 5)))
    kinds = torch.tensor(rng.integers(0, 3, rows))
    sets = torch.tensor(rng.integers(0, 2, (rows, 3)), dtype=torch.int8)
    weights = torch.tensor(rng.integers(0, 4, rows), dtype=torch.float64)
    weights[2] = 0
    return inputs, kinds if task == "multiclass" else sets, weights


def loss_and_gradient(task, smoothing, inputs, targets, weights):
    """Return the loss of a fixed linear network and its gradient."""
    torch.manual_seed(1)
    network = nn.Linear(5, 3, dtype=torch.float64)
    loss = loss_of(task, smoothing)(network(inputs), targets, weights)
    loss.backward()
    return loss.item(), network.weight.grad


def loss_of(task: str, smoothing: float):
    labels = np.array([0, 1, 2]) if task == "multiclass" else np.eye(3, dtype=np.int8)
    return build_loss(task, Loss(label_smoothing=smoothing), labels, 3)


TASKS = pytest.mark.parametrize("task", ["multiclass", "multilabel"])
SMOOTHINGS = pytest.mark.parametrize("smoothing", [0.0, 0.1])


@TASKS
@SMOOTHINGS
def test_weighted_loss_equals_the_sum_by_hand(task, smoothing):
    """Check mean_i(w_i l_i) against formulas in numpy, label smoothing included."""
    logits, targets, weights = batch(task)
    logits = logits[:, :3]
    x, w = logits.numpy(), weights.numpy()
    if task == "multiclass":
        y = np.eye(3)[targets.numpy()] * (1 - smoothing) + smoothing / 3
        each = -(y * log_softmax(x, axis=1)).sum(1)
    else:
        y = targets.numpy() * (1 - smoothing) + smoothing / 2
        p = 1 / (1 + np.exp(-x))
        each = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(1)
    found = loss_of(task, smoothing)(logits, targets, weights)
    assert found.item() == pytest.approx((w * each).sum() / len(w))


@TASKS
@SMOOTHINGS
def test_weights_of_one_change_nothing(task, smoothing):
    """Check that the weighted path at weight 1 is the unweighted loss and gradient."""
    inputs, targets, _ = batch(task)
    plain = loss_and_gradient(task, smoothing, inputs, targets, None)
    ones = loss_and_gradient(task, smoothing, inputs, targets, torch.ones(7, dtype=torch.float64))
    assert ones[0] == pytest.approx(plain[0])
    torch.testing.assert_close(ones[1], plain[1])


@TASKS
@SMOOTHINGS
def test_weight_of_zero_is_absence_and_whole_ones_are_repetition(task, smoothing):
    """Check loss and gradient against a batch that leaves out or repeats the rows, up to the
    number of rows that each mean divides by."""
    inputs, targets, weights = batch(task)
    assert 0 in weights and weights.max() > 1
    weighted = loss_and_gradient(task, smoothing, inputs, targets, weights)
    rows = torch.repeat_interleave(torch.arange(7), weights.long())
    repeated = loss_and_gradient(task, smoothing, inputs[rows], targets[rows], None)
    factor = 7 / len(rows)
    assert weighted[0] * factor == pytest.approx(repeated[0])
    torch.testing.assert_close(weighted[1] * factor, repeated[1])


@pytest.fixture
def weigh(project, configure, edit_table):
    """Give the training rows of `kinds` weights."""

    def change(weights) -> None:
        edit_table(project, "kinds", importance=weights)
        columns = {"label": "kind", "weight": "importance"}
        configure(project, "kinds", columns=columns)

    return change


def history(run, fold: int) -> list[dict[str, str]]:
    return list(csv.DictReader((run.fold_folder(fold) / "history.csv").read_text().splitlines()))


def test_weights_reach_the_steps_with_mean_one(project, train_tiny, weigh, monkeypatch):
    """Check that each step gets the weights of its rows, scaled over the fold's training rows."""
    weigh(np.arange(45) % 4)
    taken, train_step = [], loop.train_step

    def watched(learner, images, targets, weights, share):
        taken.append((targets.tolist(), weights.tolist()))
        return train_step(learner, images, targets, weights, share)

    monkeypatch.setattr(loop, "train_step", watched)
    run = train_tiny(project, only=(0,), overrides="training.epochs=1").run
    rows = run.folds.train_rows(0)
    raw = run.data.train.weights[rows]
    expected = sorted(zip(run.data.labels[rows].tolist(), (raw / raw.mean()).round(5), strict=True))
    found = sorted(
        (target, round(weight, 5)) for step in taken for target, weight in zip(*step, strict=True)
    )
    assert found == expected
    assert np.mean([weight for _, weight in found]) == pytest.approx(1, abs=1e-5)


def test_equal_weights_train_as_none(project, train_tiny, weigh, whole):
    """Check that a weight of 3 for every row gives the predictions of a run without weights."""
    weigh(3)
    run = train_tiny(project).run
    found, plain = (Predictions.load(r.folder / "oof.npz") for r in (run, whole.run))
    np.testing.assert_allclose(found.logits, plain.logits, atol=1e-4)


def test_class_of_weight_zero_is_not_learned(project, train_tiny, weigh):
    """Check that a class which no step sees is answered to no row, where the others are learned."""
    table = pd.read_csv(project.data("kinds") / "train.csv")
    weigh((table["kind"] != "eel").astype(float))
    overrides = "training.epochs=10 optimizer.lr=0.01 augment.scale=null"
    run = train_tiny(project, overrides=overrides).run
    oof = Predictions.load(run.folder / "oof.npz").rows(table["id"])
    answers = oof.classes[oof.probs.argmax(1)]
    seen = (table["kind"] != "eel").to_numpy()
    assert "eel" not in answers
    assert (answers == table["kind"])[seen].mean() > 0.9


def test_validation_and_metric_are_not_weighted(project, train_tiny, weigh):
    """Check valid_loss against scikit-learn's log loss of the fold's rows, each counted once."""
    weigh(np.arange(45) % 7)
    run = train_tiny(project, only=(1,)).run
    valid = Predictions.load(run.fold_folder(1) / "valid.npz")
    truth = pd.read_csv(project.data("kinds") / "train.csv").set_index("id")["kind"][valid.ids]
    last = history(run, 1)[-1]
    expected = log_loss(truth, valid.probs, labels=valid.classes)
    assert float(last["valid_loss"]) == pytest.approx(expected, rel=1e-4)
    right = (valid.classes[valid.probs.argmax(1)] == truth.to_numpy()).mean()
    assert float(last["valid_score"]) == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("step", [3, 6])
def test_weighted_run_is_resumed_to_the_same_bytes(
    step, project, train_tiny, weigh, dying, killed, artefacts
):
    """Check a death before and after the first checkpoint."""
    weigh(np.arange(45) % 5 + 0.5)
    reference = artefacts(train_tiny(project, only=(0,)).run.folder)
    with dying(loop, "train_step", step), pytest.raises(killed):
        train_tiny(project, only=(0,), overrides=OFTEN, fresh=True)
    assert artefacts(train_tiny(project, only=(0,), overrides=OFTEN).run.folder) == reference


def test_fold_without_any_weight_is_refused(project, train_tiny, weigh):
    """Check that training rows which all weigh 0 are one error that names fold and remedy."""
    from pipeline.folds import load_folds

    table = pd.read_csv(project.data("kinds") / "train.csv", dtype=str)
    folds = load_folds(project.folds("kinds"), table["id"].to_numpy())
    weigh((folds.fold == 1).astype(int))
    with pytest.raises(PodiumError, match="fold 1: the weights of all its 30 training rows are 0"):
        train_tiny(project, only=(1,))
