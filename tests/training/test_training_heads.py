"""Tests of training.networks.heads: probabilities of ordered classes from few outputs."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file, save_file
from sklearn.metrics import cohen_kappa_score
from torch.nn import functional as F

from pipeline.artifacts.predictions import Predictions
from pipeline.config.learning import Optimizer
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.learning.averages import build_average
from pipeline.training.learning.optimizers import build_optimizer
from pipeline.training.networks.depth import param_groups
from pipeline.training.networks.heads import (
    HEADS,
    OrderedNetwork,
    OrdinalHead,
    RegressionHead,
    check_head,
)
from pipeline.training.networks.zoo import build_model, has_depthwise_batch_norm, parameter_count


def recipe(head: str, arch: str = "lenet", size: int = 32) -> Recipe:
    model = {"arch": arch, "pretrained": False, "head": head}
    return Recipe.model_validate({"model": model, "image": {"size": size}})


def steps(classes: int = 6):
    """Outputs (b, classes - 1) of moderate size, so that a product of probabilities is exact."""
    shape = st.tuples(st.integers(1, 5), st.just(classes - 1))
    return hnp.arrays(np.float64, shape, elements=st.floats(-12, 12))


@settings(deadline=None)
@given(steps())
def test_ordinal_probabilities_are_products_of_conditionals(z):
    """Check against P(y = k) = P(y > 0) P(y > 1 | y >= 1) ... (1 - P(y > k | y >= k)), written out,
    and that they sum to 1 with P(y > k) falling in k."""
    passes = 1 / (1 + np.exp(-z))
    expected = np.empty((len(z), z.shape[1] + 1))
    for row in range(len(z)):
        reached = 1.0
        for k in range(z.shape[1]):
            expected[row, k] = reached * (1 - passes[row, k])
            reached *= passes[row, k]
        expected[row, -1] = reached
    logits = OrdinalHead(z.shape[1] + 1)(torch.from_numpy(z))
    np.testing.assert_allclose(logits.exp().numpy(), expected, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(logits.exp().sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(logits.softmax(1), logits.exp(), atol=1e-12)
    above = 1 - np.cumsum(expected, axis=1)
    assert (np.diff(above, axis=1) <= 1e-12).all()


@settings(deadline=None)
@given(steps(), st.integers(0, 5))
def test_ordinal_cross_entropy_is_the_sum_of_conditional_binary_losses(z, label):
    """Check that each question "y > k?" is asked of the rows that reached k, and of no other."""
    outputs, target = torch.from_numpy(z), torch.full((len(z),), label)
    loss = F.cross_entropy(OrdinalHead(6)(outputs), target, reduction="sum")
    asked = min(label + 1, 5)
    answers = (torch.arange(asked) < label).double().expand(len(z), asked)
    binary = F.binary_cross_entropy_with_logits(outputs[:, :asked], answers, reduction="sum")
    torch.testing.assert_close(loss, binary, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 5, 8])
def test_regression_is_a_discretised_gaussian(classes):
    """Check against the formula in numpy, around the output plus the middle of the classes."""
    head = RegressionHead(classes)
    assert head.sigma.item() == pytest.approx(0.75)
    output = torch.linspace(-4, 4, 17)[:, None]
    place = output.double().numpy() + (classes - 1) / 2
    density = np.exp(-((np.arange(classes) - place) ** 2) / (2 * 0.75**2))
    expected = density / density.sum(1, keepdims=True)
    with torch.no_grad():
        np.testing.assert_allclose(head(output).softmax(1), expected, rtol=2e-4)
        labels = np.arange(17) % classes
        loss = F.cross_entropy(head(output), torch.from_numpy(labels)).item()
    assert loss == pytest.approx(-np.log(expected[np.arange(17), labels]).mean(), rel=1e-5)
    with torch.no_grad():
        start = head(torch.zeros(1, 1)).softmax(1)[0]
    np.testing.assert_allclose(start, start.flip(0), atol=1e-7)  # begins in the middle


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("head", HEADS)
def test_gradients_are_finite_at_extreme_outputs(head, dtype):
    """Check losses and gradients where probabilities are 0 or 1 to the last digit."""
    module = HEADS[head](5)
    for value in (-6e4, -100.0, 0.0, 100.0, 6e4):
        for label in range(5):
            output = torch.full((2, module.n_outputs), value, dtype=dtype, requires_grad=True)
            logits = module(output)
            assert logits.dtype == torch.float32 and logits.isfinite().all()
            loss = F.cross_entropy(logits, torch.tensor([label, label]))
            loss.backward()
            assert loss.isfinite() and output.grad.isfinite().all()
            assert all(p.grad.isfinite() for p in module.parameters())


@pytest.mark.parametrize("head", HEADS)
def test_wrong_and_far_still_pulls(head):
    """Check that an output far on the wrong side has a gradient towards the right one."""
    module = HEADS[head](5)
    for value, label in ((80.0, 0), (-80.0, 4)):
        output = torch.full((1, module.n_outputs), value, requires_grad=True)
        F.cross_entropy(module(output), torch.tensor([label])).backward()
        assert output.grad[0, 0] * value > 0


@pytest.mark.parametrize("head", HEADS)
def test_a_small_network_learns_an_order(head):
    """Check quadratic kappa on unseen rows, and that the expected class rises along the cause."""
    generator = torch.Generator().manual_seed(0)
    rows, cause = torch.randn(1500, 8, generator=generator), torch.zeros(8)
    cause[:2] = torch.tensor([1.0, -1.0])
    noise = 0.4 * torch.randn(1500, generator=generator)
    labels = torch.bucketize(rows @ cause + noise, torch.tensor([-2.0, -0.8, 0.5, 1.2]))
    torch.manual_seed(0)
    ordered = HEADS[head](5)
    network = OrderedNetwork(torch.nn.Linear(8, ordered.n_outputs), ordered)
    optimizer = build_optimizer(Optimizer(lr=0.05), [{"params": list(network.parameters())}])
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(network(rows[:1000]), labels[:1000]).backward()
        optimizer.step()
    with torch.no_grad():
        answers = network(rows[1000:]).argmax(1)
        along = network(torch.linspace(-2, 2, 41)[:, None] * cause).softmax(1)
    kappa = cohen_kappa_score(labels[1000:], answers, weights="quadratic")
    assert kappa > 0.8  # chance is 0; the noise alone leaves about 0.87
    assert (np.diff(along @ torch.arange(5.0)) > 0).all()


@pytest.mark.parametrize("arch", ["lenet", "simple-cnn", "resnet10t", "mobilenetv3_small_050"])
@pytest.mark.parametrize("head", HEADS)
def test_every_network_takes_a_head(arch, head, tmp_path):
    """Check shape, sum, the few outputs, and weights through a file and an average and back."""
    asked = recipe(head, arch)
    model, usual = build_model(asked, 7).eval(), build_model(recipe("classes", arch), 7)
    assert parameter_count(model) < parameter_count(usual)
    assert has_depthwise_batch_norm(model) == has_depthwise_batch_norm(usual)
    pictures = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        logits = model(pictures)
        assert logits.shape == (3, 7)
        torch.testing.assert_close(logits.exp().sum(1), torch.ones(3))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = build_model(asked, 7).eval()
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    average = build_average(asked, model, 5)
    average.update(model, step=1)
    with torch.no_grad():
        torch.testing.assert_close(again(pictures), logits, rtol=0, atol=0)
        torch.testing.assert_close(average.module.eval()(pictures), logits)
        torch.testing.assert_close(copy.deepcopy(model)(pictures), logits, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_spread_does_not_decay(name):
    """Check that sigma, which has no dimension, is in the group without weight decay and moves."""
    model = build_model(recipe("regression"), 5)
    config = Optimizer(name=name, lr=0.1, momentum=0.5)
    optimizer = build_optimizer(config, param_groups(model, config))
    spread = model.ordered.raw_sigma
    group = [g for g in optimizer.param_groups if any(p is spread for p in g["params"])]
    assert len(group) == 1 and group[0]["weight_decay"] == 0
    before = spread.item()
    F.cross_entropy(model(torch.zeros(2, 3, 32, 32)), torch.tensor([2, 2])).backward()
    optimizer.step()
    assert spread.item() < before  # the place is right, so the spread shrinks


@pytest.mark.parametrize("head", HEADS)
def test_a_run_with_a_head(head, project, train_tiny, configure):
    """Check a whole run: folds, average, files and probabilities of every class."""
    configure(project, "kinds", classes=["cat", "dog", "eel"])
    summary = train_tiny(project, overrides=f"model.head={head}")
    folder = project.run("kinds", "r")
    oof = Predictions.load(folder / "oof.npz")
    assert oof.probs.shape == (45, 3) and summary.complete
    np.testing.assert_allclose(oof.probs.sum(1), 1, atol=1e-5)


def test_head_is_refused_where_it_makes_no_sense():
    """Check one line with the remedy for several labels, two classes and classes without order."""
    check_head(recipe("classes"), "multilabel", 2, False)
    check_head(recipe("ordinal"), "multiclass", 3, True)
    cases = [
        (("multilabel", 5, True), "one label per picture, not multilabel"),
        (("multiclass", 2, True), "at least 3, not 2; classes is right for 2"),
        (("multiclass", 5, False), "in an order; list them from lowest to highest"),
    ]
    for case, said in cases:
        with pytest.raises(PodiumError, match=f"model.head: 'ordinal'.*{said}.*head=classes"):
            check_head(recipe("ordinal"), *case)
