"""Tests of training.learning.losses and row_losses: against torch, timm, torchvision and numpy."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import brier_score_loss
from sklearn.utils.class_weight import compute_class_weight
from timm.loss import AsymmetricLossMultiLabel, AsymmetricLossSingleLabel, BinaryCrossEntropy
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from pipeline.config.learning import Loss
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.learning.losses import (
    build_loss,
    check_loss,
    class_weights,
    imbalance_warnings,
)

ROWS, CLASSES = 12, 5
NAMES = [
    *(("multiclass", name) for name in ("cross-entropy", "bce", "mse", "focal", "asymmetric")),
    *(("multilabel", name) for name in ("bce", "mse", "focal", "asymmetric")),
]
COUNTS = (40, 20, 6, 3, 1)


def labels_of(task: str) -> np.ndarray:
    """Return rare and common labels of 70 rows, (70,) or (70, 5)."""
    kinds = np.repeat(np.arange(CLASSES), COUNTS)
    if task == "multiclass":
        return kinds
    return (np.arange(70)[:, None] < np.array(COUNTS)).astype(np.int8)


def example(task: str, soft: bool = False, dtype=torch.float64, seed: int = 0):
    """Return logits (12, 5) and hard or soft targets."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(3 * rng.normal(size=(ROWS, CLASSES))).to(dtype)
    if task == "multiclass":
        shares = rng.dirichlet(np.ones(CLASSES), ROWS)
        targets = shares if soft else rng.integers(0, CLASSES, ROWS)
    else:
        shares = rng.random((ROWS, CLASSES))
        targets = shares if soft else (shares < 0.4).astype(np.int8)
    return logits, torch.from_numpy(targets)


def loss_of(task: str, name: str = "auto", **keys):
    return build_loss(task, Loss(name=name, **keys), labels_of(task), CLASSES)


def hot(targets: torch.Tensor) -> torch.Tensor:
    return F.one_hot(targets, CLASSES).double()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", ["auto", "named"])
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_defaults_are_those_of_torch_to_the_bit(task, name, smoothing):
    """Check values and gradients of the defaults, with row weights and without, bit for bit."""
    logits, targets = example(task, dtype=torch.float32)
    logits.requires_grad_()
    weights = torch.linspace(0, 2, ROWS)
    usual = {"multiclass": "cross-entropy", "multilabel": "bce"}[task]
    loss = loss_of(task, usual if name == "named" else "auto", label_smoothing=smoothing)
    if task == "multiclass":
        whole = F.cross_entropy(logits, targets, label_smoothing=smoothing)
        each = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    else:
        soft = targets.to(logits.dtype) * (1 - smoothing) + 0.5 * smoothing
        whole = F.binary_cross_entropy_with_logits(logits, soft)
        each = F.binary_cross_entropy_with_logits(logits, soft, reduction="none").mean(dim=1)
    pairs = (
        (loss(logits, targets), whole),
        (
            loss(logits, targets, weights),
            (weights * each).mean(),
        ),
    )
    for found, expected in pairs:
        assert torch.equal(found, expected)
        assert torch.equal(*(torch.autograd.grad(x, logits)[0] for x in (found, expected)))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("kind", ["none", "balanced", "effective"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("task,name", NAMES)
def test_row_weights_multiply_the_losses_of_rows(task, name, smoothing, kind, soft):
    """Check that sum(w l) / b holds with l the loss of a batch of that row alone."""
    logits, targets = example(task, soft)
    loss = loss_of(task, name, label_smoothing=smoothing, class_weights=kind)
    weights = torch.linspace(0, 3, ROWS, dtype=torch.float64)
    alone = torch.stack([loss(logits[i : i + 1], targets[i : i + 1]) for i in range(ROWS)])
    torch.testing.assert_close(loss(logits, targets, weights), (weights * alone).sum() / ROWS)
    torch.testing.assert_close(loss(logits, targets), alone.mean())


@pytest.mark.parametrize("kind", ["none", "balanced"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("task,name", NAMES)
def test_soft_targets_that_are_hard_give_the_same(task, name, smoothing, kind):
    """Check shares of 0 and 1 against classes (multi-class) and floats against int8."""
    logits, targets = example(task)
    loss = loss_of(task, name, label_smoothing=smoothing, class_weights=kind)
    shares = hot(targets) if task == "multiclass" else targets.float()
    torch.testing.assert_close(loss(logits, shares), loss(logits, targets))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weighted_cross_entropy_is_that_of_torch(smoothing, soft):
    """Check class weights on classes and on shares against F.cross_entropy, over rows."""
    logits, targets = example("multiclass", soft)
    weight = torch.from_numpy(
        compute_class_weight("balanced", classes=np.arange(5), y=labels_of("multiclass"))
    )
    found = loss_of("multiclass", label_smoothing=smoothing, class_weights="balanced")
    expected = F.cross_entropy(
        logits, targets, weight, reduction="none", label_smoothing=smoothing
    ).mean()
    torch.testing.assert_close(found(logits, targets), expected, rtol=1e-6, atol=0)
    for name in ("focal", "asymmetric"):  # without focus they are cross-entropy
        keys = {"gamma": 0, "gamma_positive": 0, "gamma_negative": 0}
        keys |= {"label_smoothing": smoothing, "class_weights": "balanced"}
        value = loss_of("multiclass", name, **keys)(logits, targets)
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weighted_bce_of_labels_is_that_of_torch(smoothing, soft):
    """Check positive weights (n - n_c) / n_c against torch's pos_weight."""
    logits, targets = example("multilabel", soft)
    pos = torch.tensor([(70 - n) / n for n in COUNTS], dtype=torch.float64)
    shares = targets.double() * (1 - smoothing) + smoothing / 2
    expected = F.binary_cross_entropy_with_logits(logits, shares, pos_weight=pos)
    keys = {"label_smoothing": smoothing, "class_weights": "balanced"}
    found = loss_of("multilabel", "bce", **keys)(logits, targets)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    plain = loss_of("multilabel", "focal", gamma=0, **keys)(logits, targets)
    torch.testing.assert_close(plain, expected, rtol=1e-6, atol=0)
    keys |= {"gamma_negative": 0, "gamma_positive": 0, "clip": 0}
    plain = loss_of("multilabel", "asymmetric", **keys)(logits, targets)
    torch.testing.assert_close(plain, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_bce_of_classes_is_that_of_timm(smoothing):
    """Check one sigmoid per class and its smoothing, and weights that act as repeated rows do."""
    logits, targets = example("multiclass")
    found = loss_of("multiclass", "bce", label_smoothing=smoothing)(logits, targets)
    torch.testing.assert_close(found, BinaryCrossEntropy(smoothing)(logits, targets))
    if not smoothing:
        weights = torch.from_numpy(class_weights(labels_of("multiclass"), 5, "balanced"))[targets]
        expected = loss_of("multiclass", "bce")(logits, targets, weights)
        found = loss_of("multiclass", "bce", class_weights="balanced")(logits, targets)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_of_labels_is_that_of_torchvision(gamma):
    """Check hard labels against sigmoid_focal_loss without its alpha."""
    logits, targets = example("multilabel")
    expected = sigmoid_focal_loss(logits, targets.double(), -1, gamma, "mean")
    torch.testing.assert_close(
        loss_of("multilabel", "focal", gamma=gamma)(logits, targets), expected
    )


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_is_its_formula(gamma, soft):
    """Check both tasks in numpy: -sum t_c w_c (1 - p_c)^gamma log p_c, and of yes and no."""
    logits, targets = example("multiclass", soft)
    z, t = logits.numpy(), (targets if soft else hot(targets)).numpy()
    t = 0.8 * t + 0.2 / CLASSES
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    weight = np.array([70 / (5 * n) for n in COUNTS])
    expected = -(t * weight * (1 - p) ** gamma * np.log(p)).sum(1).mean()
    keys = {"gamma": gamma, "label_smoothing": 0.2, "class_weights": "balanced"}
    found = loss_of("multiclass", "focal", **keys)(logits, targets)
    assert found.item() == pytest.approx(expected, rel=1e-6)
    logits, targets = example("multilabel", soft)
    z, t = logits.numpy(), 0.8 * targets.numpy() + 0.1
    p, weight = 1 / (1 + np.exp(-z)), np.array([(70 - n) / n for n in COUNTS])
    yes, no = weight * (1 - p) ** gamma * np.log(p), p**gamma * np.log(1 - p)
    found = loss_of("multilabel", "focal", **keys)(logits, targets)
    assert found.item() == pytest.approx(-(t * yes + (1 - t) * no).mean(), rel=1e-6)


def test_mse_is_the_brier_score():
    """Check hard targets against scikit-learn: of classes, divided by their number; of labels."""
    logits, targets = example("multiclass")
    probs = logits.softmax(1).numpy()
    options = {"labels": range(CLASSES), "scale_by_half": False}
    expected = brier_score_loss(targets, probs, **options) / CLASSES
    assert loss_of("multiclass", "mse")(logits, targets).item() == pytest.approx(expected)
    logits, targets = example("multilabel")
    expected = brier_score_loss(targets.numpy().ravel(), logits.sigmoid().numpy().ravel())
    assert loss_of("multilabel", "mse")(logits, targets).item() == pytest.approx(expected)
    soft = example("multilabel", soft=True)[1]
    found = loss_of("multilabel", "mse", label_smoothing=0.2)(logits, soft)
    torch.testing.assert_close(found, F.mse_loss(logits.sigmoid(), 0.8 * soft + 0.1))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_weighted_mse_pulls_as_weighted_squares_do(task, smoothing):
    """Check gradients against sum_c t_c w_c |p - e_c|^2 and w t (1 - p)^2 + (1 - t) p^2."""
    logits, targets = example(task, soft=True)
    logits.requires_grad_()
    found = loss_of(task, "mse", class_weights="balanced", label_smoothing=smoothing)
    if task == "multiclass":
        weight = torch.tensor([70 / (5 * n) for n in COUNTS], dtype=torch.float64)
        shares = (1 - smoothing) * targets + smoothing / CLASSES
        gap = logits.softmax(1)[:, None] - torch.eye(CLASSES, dtype=torch.float64)
        each = (shares * weight * gap.square().sum(2)).sum(1) / CLASSES
    else:
        weight = torch.tensor([(70 - n) / n for n in COUNTS], dtype=torch.float64)
        shares, p = (1 - smoothing) * targets + smoothing / 2, logits.sigmoid()
        each = weight * shares * (1 - p).square() + (1 - shares) * p.square()
    gradients = (torch.autograd.grad(x, logits)[0] for x in (found(logits, targets), each.mean()))
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("positive,negative", [(0, 4), (1, 4), (2.5, 0.5), (0, 0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_asymmetric_of_classes_is_that_of_timm(positive, negative, smoothing):
    """Check hard classes against timm's single-label variant, with its smoothing and without."""
    logits, targets = example("multiclass")
    expected = AsymmetricLossSingleLabel(positive, negative, smoothing)(logits, targets)
    keys = {"gamma_positive": positive, "gamma_negative": negative, "label_smoothing": smoothing}
    torch.testing.assert_close(
        loss_of("multiclass", "asymmetric", **keys)(logits, targets), expected
    )
    shares = example("multiclass", soft=True)[1]
    loss = loss_of("multiclass", "asymmetric", **keys)
    by_class = torch.stack(
        [
            shares[i, k] * loss(logits[i : i + 1], torch.tensor([k]))
            for i, k in itertools.product(range(ROWS), range(CLASSES))
        ]
    )
    torch.testing.assert_close(loss(logits, shares), by_class.sum() / ROWS)


@pytest.mark.parametrize("positive,negative", [(0, 4), (1, 4), (2.5, 0.5), (0, 0)])
@pytest.mark.parametrize("clip", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("kind", ["none", "balanced"])
def test_asymmetric_of_labels_is_that_of_timm(positive, negative, clip, kind):
    """Check hard labels and positive weights against timm's multi-label loss; soft labels as the
    mean of both answers."""
    logits, targets = example("multilabel", dtype=torch.float32)
    pos = None if kind == "none" else torch.tensor([(70 - n) / n for n in COUNTS])
    expected = AsymmetricLossMultiLabel(negative, positive, clip, reduction="mean", pos_weight=pos)(
        logits, targets
    )
    keys = {"gamma_positive": positive, "gamma_negative": negative, "clip": clip}
    loss = loss_of("multilabel", "asymmetric", class_weights=kind, **keys)
    torch.testing.assert_close(loss(logits, targets), expected, rtol=1e-4, atol=1e-6)
    one = torch.ones(1, 1, dtype=torch.float64)
    single = build_loss("multilabel", Loss(name="asymmetric", **keys), np.ones((1, 1), np.int8), 1)
    mixed = 0.3 * single(one, one) + 0.7 * single(one, 0 * one)
    torch.testing.assert_close(single(one, 0.3 * one), mixed)


EXTREME = st.one_of(st.floats(-100, 100, width=32), st.sampled_from([-100.0, 0.0, 100.0]))


@settings(deadline=None, max_examples=60)
@given(
    z=hnp.arrays(np.float32, (4, CLASSES), elements=EXTREME),
    gammas=st.tuples(*[st.sampled_from([0.0, 0.01, 0.5, 1.0, 2.0, 4.0])] * 2),
    clip=st.sampled_from([0.0, 1e-12, 0.05, 0.99]),
    smoothing=st.sampled_from([0.0, 0.1]),
    kind=st.sampled_from(["none", "balanced", "effective"]),
    soft=st.booleans(),
)
def test_values_and_gradients_are_finite(z, gammas, clip, smoothing, kind, soft):
    """Check all losses for logits up to 100 either way, where probabilities are 0 or 1."""
    for task, name in NAMES:
        targets = example(task, soft)[1][:4]
        keys = {"gamma": gammas[0], "gamma_positive": gammas[0], "gamma_negative": gammas[1]}
        keys |= {"clip": clip, "label_smoothing": smoothing, "class_weights": kind}
        logits = torch.tensor(z, requires_grad=True)
        loss = loss_of(task, name, **keys)(logits, targets)
        loss.backward()
        assert loss.dtype == torch.float32 and loss.isfinite(), (task, name)
        assert loss > -1e-6 and logits.grad.isfinite().all(), (task, name)


def test_gradient_is_finite_where_the_clip_begins():
    """Check a no whose probability is the clip to the bit, with an exponent below 1."""
    logits = torch.zeros(1, 1, requires_grad=True)
    config = Loss(name="asymmetric", clip=0.5, gamma_negative=0.5)
    loss = build_loss("multilabel", config, np.ones((1, 1), np.int8), 1)
    loss(logits, torch.zeros(1, 1)).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("task,name", [pair for pair in NAMES if pair[1] != "mse"])
def test_float32_keeps_the_digits_of_float64(task, name):
    """Check values and gradients of confident answers, right and wrong, against doubles."""
    logits, targets = example(task)
    loss = loss_of(task, name, gamma_positive=1.0, clip=0, label_smoothing=0.1)
    for scale in (1, 5, 30):
        results = []
        for dtype in (torch.float32, torch.float64):
            z = (scale / 10 * logits).float().to(dtype).requires_grad_()
            value = loss(z, targets)
            results.append((value.double(), torch.autograd.grad(value, z)[0].double()))
        for single, double in zip(*results, strict=True):
            torch.testing.assert_close(single, double, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("task,name", NAMES)
def test_gradients_are_those_of_the_values(task, name, soft):
    """Check autograd against finite differences, with class and row weights."""
    logits, targets = example(task, soft)
    loss = loss_of(task, name, gamma_positive=1.5, label_smoothing=0.1, class_weights="effective")
    weights = torch.linspace(0.5, 2, ROWS, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda z: loss(z, targets, weights), logits.requires_grad_(), rtol=1e-4
    )


@pytest.mark.parametrize("task,name", NAMES)
def test_gradient_descent_finds_the_labels(task, name):
    """Check that a batch's own logits, trained, answer it."""
    targets = example(task)[1]
    logits = torch.zeros(ROWS, CLASSES, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    loss = loss_of(task, name)
    for _ in range(60):
        optimizer.zero_grad()
        loss(logits, targets).backward()
        optimizer.step()
    found = logits.argmax(1) if task == "multiclass" else (logits > 0).to(torch.int8)
    assert torch.equal(found, targets)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_balanced_weights_are_those_of_scikit_learn(found):
    """Check classes with a row against compute_class_weight; the others weigh 1, the mean is 1."""
    labels = np.array(found)
    weights, there = class_weights(labels, 5, "balanced"), np.unique(labels)
    expected = compute_class_weight("balanced", classes=there, y=labels)
    np.testing.assert_allclose(weights[there], expected)
    assert (weights[np.setdiff1d(range(5), there)] == 1).all()
    effective = class_weights(labels, 5, "effective", beta=0.99)
    for each in (weights, effective):
        assert each[labels].mean() == pytest.approx(1) and np.isfinite(each).all()


def test_effective_weights_are_their_formula():
    """Check Cui et al. in both tasks; beta 0 weighs all alike and beta near 1 by frequency."""
    counts = np.array(COUNTS)
    raw = (1 - 0.9) / (1 - 0.9**counts)
    expected = raw / (raw * counts).sum() * counts.sum()
    found = class_weights(labels_of("multiclass"), 5, "effective", beta=0.9)
    np.testing.assert_allclose(found, expected)
    pairs = class_weights(labels_of("multilabel"), 5, "effective", beta=0.9)
    np.testing.assert_allclose(pairs, raw / ((1 - 0.9) / (1 - 0.9 ** (70 - counts))))
    for task in ("multiclass", "multilabel"):
        labels = labels_of(task)
        np.testing.assert_array_equal(class_weights(labels, 5, "effective", beta=0.0), 1)
        near, balanced = (
            class_weights(labels, 5, kind, beta=1 - 1e-7) for kind in ("effective", "balanced")
        )
        np.testing.assert_allclose(near, balanced, rtol=1e-4)
    assert class_weights(labels, 5, "none") is None


@pytest.mark.parametrize("kind", ["balanced", "effective"])
def test_classes_without_a_row_weigh_one(kind):
    """Check a class that is absent, and labels that none or every row has, in weights and loss."""
    assert class_weights(np.array([0, 0, 2]), 4, kind)[[1, 3]].tolist() == [1, 1]
    labels = np.array([[0, 1, 1], [0, 1, 0], [0, 1, 0]], np.int8)
    weights = class_weights(labels, 3, kind)
    assert weights[:2].tolist() == [1, 1] and weights[2] > 1
    for task, name in NAMES:
        rows = np.array([0, 0, 2]) if task == "multiclass" else labels
        targets = torch.from_numpy(np.array([1, 0, 2]) if task == "multiclass" else labels)
        config = Loss(name=name, class_weights=kind, label_smoothing=0.1)
        assert build_loss(task, config, rows, 3)(torch.zeros(3, 3), targets).isfinite()


def recipe(**sections) -> Recipe:
    return Recipe.model_validate({"model": {"arch": "lenet"}, **sections})


@pytest.mark.parametrize(
    "task,sections,message",
    [
        ("multilabel", {"loss": {"name": "cross-entropy"}}, r"loss\.name: 'cross-entropy' .*bce"),
        ("multilabel", {"loss": {"logit_adjustment": 1}}, r"loss\.logit_adjustment: 1 .*to 0"),
        *(
            (
                "multiclass",
                {"loss": {"name": name}, "model": {"arch": "lenet", "head": head}},
                rf"loss\.name: '{name}' .*model\.head={head} .*cross-entropy",
            )
            for name in ("bce", "asymmetric")
            for head in ("ordinal", "regression")
        ),
    ],
)
def test_impossible_losses_are_refused(task, sections, message):
    """Check that a combination without sense is one line that names the key and the remedy."""
    with pytest.raises(PodiumError, match=message) as error:
        check_loss(recipe(**sections), task)
    assert "\n" not in str(error.value)


def test_cross_entropy_of_labels_is_refused_where_it_is_built():
    """Check that build_loss refuses what check_loss would have."""
    with pytest.raises(PodiumError, match=r"loss\.name: 'cross-entropy' .*multilabel"):
        loss_of("multilabel", "cross-entropy")


def test_possible_losses_pass():
    """Check every loss of both tasks, and those that go with a head for ordered classes."""
    for task, name in NAMES:
        check_loss(recipe(loss={"name": name, "class_weights": "balanced"}), task)
    for name, head in itertools.product(
        ("auto", "cross-entropy", "focal", "mse"), ("ordinal", "regression")
    ):
        loss = {"name": name, "logit_adjustment": 1.0, "class_weights": "effective"}
        check_loss(recipe(loss=loss, model={"arch": "lenet", "head": head}), "multiclass")


def test_two_corrections_at_once_are_warned_of():
    """Check a line for each pair of balanced sampling, class weights and logit adjustment."""
    sampled = {"training": {"sampling": "balanced"}}
    weighed, adjusted = {"class_weights": "effective"}, {"logit_adjustment": 1.0}
    for sections in ({}, sampled, {"loss": weighed}, {"loss": adjusted}):
        assert imbalance_warnings(recipe(**sections)) == []
    both = imbalance_warnings(recipe(loss=weighed, **sampled))
    assert len(both) == 1
    said = "the two together over-weight the rare class and were seen to collapse training"
    assert said in both[0]
    for sections in ({"loss": adjusted, **sampled}, {"loss": adjusted | weighed}):
        (line,) = imbalance_warnings(recipe(**sections))
        assert "loss.logit_adjustment" in line and "twice" in line
    assert len(imbalance_warnings(recipe(loss=adjusted | weighed, **sampled))) == 3
