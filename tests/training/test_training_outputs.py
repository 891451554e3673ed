"""Tests of training.networks.outputs: raw outputs in training, exported logits in evaluation."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load, save
from torch import nn

from pipeline.artifacts.predictions import probabilities
from pipeline.config.recipe import Recipe
from pipeline.training.learning.losses import build_loss
from pipeline.training.networks.outputs import Outputs, exported, raw, set_prior, with_outputs
from pipeline.training.networks.zoo import build_model

CLASSES = 4
LABELS = np.repeat([0, 1, 2], [70, 25, 5])  # the last class has no row


def recipe(**loss) -> Recipe:
    model = {"arch": "lenet", "pretrained": False}
    return Recipe.model_validate({"model": model, "image": {"size": 16}, "loss": loss})


def wrapped(**loss) -> nn.Module:
    """Return what a recipe makes of the identity, told the labels."""
    model = with_outputs(nn.Identity(), recipe(**loss), "multiclass", CLASSES)
    set_prior(model, LABELS)
    return model


def outputs(limit: float = 6):
    elements = st.floats(-limit, limit, width=32)
    return hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.just(CLASSES)), elements=elements)


@pytest.mark.parametrize("name", ["auto", "cross-entropy", "mse", "focal", "asymmetric"])
def test_a_network_whose_outputs_are_logits_stays_itself(name):
    """Check that nothing is wrapped where the softmax is the answer, and bce of labels alike."""
    network = nn.Identity()
    assert with_outputs(network, recipe(name=name), "multiclass", CLASSES) is network
    assert with_outputs(network, recipe(name="bce"), "multilabel", CLASSES) is network
    z = torch.randn(2, CLASSES)
    assert exported(network, z) is z and raw(network, z) is z
    set_prior(network, LABELS)


@settings(deadline=None)
@given(outputs())
def test_one_against_the_rest_exports_normalised_sigmoids(z):
    """Check the exported softmax, as predictions take it, against sigmoids over their sum."""
    sigmoids = 1 / (1 + np.exp(-z.astype(np.float64)))
    model = wrapped(name="bce").eval()
    probs = probabilities(model(torch.from_numpy(z)).numpy(), "multiclass")
    np.testing.assert_allclose(probs, sigmoids / sigmoids.sum(1, keepdims=True), atol=1e-6)


@settings(deadline=None)
@given(outputs(), st.sampled_from([0.5, 1.0, 2.0]))
def test_adjusted_probabilities_are_divided_by_the_prior(z, tau):
    """Check softmax(z - tau log prior) against p / prior^tau, normalised; an absent class counts
    one row."""
    prior = np.array([0.70, 0.25, 0.05, 0.01])
    model = wrapped(logit_adjustment=tau).eval()
    found = probabilities(model(torch.from_numpy(z)).numpy(), "multiclass")
    odds = np.exp(z.astype(np.float64)) / prior**tau
    np.testing.assert_allclose(found, odds / odds.sum(1, keepdims=True), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "loss", [{"name": "bce"}, {"logit_adjustment": 1.5}, {"name": "bce", "logit_adjustment": 1.5}]
)
def test_training_passes_raw_outputs(loss):
    """Check that outputs are raw in training, exported in evaluation, and that `exported` and `raw`
    lead from one to the other."""
    model, z = wrapped(**loss), 3 * torch.randn(50, CLASSES)
    assert torch.equal(model.train()(z), z)
    logits = model.eval()(z)
    assert not torch.allclose(logits, z)
    assert torch.equal(exported(model, z), logits)
    torch.testing.assert_close(raw(model, logits), z, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["bce", "auto"])
@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_the_loss_of_exported_logits_is_that_of_raw_outputs(name, tau):
    """Check the validation loss by way of `raw`, outputs up to 12 either way."""
    config = recipe(name=name, logit_adjustment=tau)
    model = wrapped(name=name, logit_adjustment=tau).eval()
    z = torch.linspace(-12, 12, 60).view(15, CLASSES)
    loss = build_loss("multiclass", config.loss, LABELS, CLASSES)
    targets = torch.arange(15) % CLASSES
    expected = loss(z, targets).item()
    assert loss(raw(model, model(z)), targets).item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("tau,limit", [(0.0, 87), (1.0, 12)])
def test_raw_outputs_come_back_up_to_what_single_precision_holds(tau, limit):
    """Check the range that comes back, and that beyond it all stays finite and high, though
    no higher than the last digit tells."""
    model = wrapped(name="bce", logit_adjustment=tau).eval()
    z = torch.cat([torch.linspace(-1000, limit, 400), torch.tensor([100.0, 1000, 1e30, -1e30])])
    z = z.view(-1, CLASSES)
    found = raw(model, model(z))
    assert found.isfinite().all() and model(z).isfinite().all()
    inside = z <= limit
    torch.testing.assert_close(found[inside], z[inside], rtol=0.01, atol=0.05)
    assert (found[z > limit] > limit).all()
    assert (found <= (16 if tau else 88)).all()


def test_half_precision_is_exported_in_single():
    """Check that outputs of autocast keep the digits of their logarithms."""
    model = wrapped(name="bce").eval()
    z = torch.tensor([[8.0, -8.0, 4.0, 0.5]], dtype=torch.bfloat16)
    found = model(z)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, nn.functional.logsigmoid(z.float()))


def test_the_prior_travels_in_the_state_dict():
    """Check that a network built from the recipe alone answers as the trained one after loading
    its file, and that its prior is 0 before."""
    asked = recipe(name="bce", logit_adjustment=1.0)
    trained, fresh = (
        with_outputs(build_model(recipe(), CLASSES), asked, "multiclass", CLASSES).eval()
        for _ in range(2)
    )
    set_prior(trained, LABELS)
    assert not fresh.log_prior.any()
    np.testing.assert_allclose(trained.log_prior.exp(), [0.7, 0.25, 0.05, 0.01], rtol=1e-6)
    state = {k: v.contiguous() for k, v in trained.state_dict().items()}
    fresh.load_state_dict(load(save(state)))
    pictures = torch.randn(3, 3, 16, 16)
    assert torch.equal(fresh(pictures), trained(pictures))
    assert "log_prior" in state and all(k == "log_prior" or k.startswith("network.") for k in state)


def test_only_an_adjusted_network_keeps_a_prior():
    """Check that one against the rest alone adds nothing to the state dict, and no parameter."""
    model = with_outputs(nn.Linear(3, CLASSES), recipe(name="bce"), "multiclass", CLASSES)
    set_prior(model, LABELS)
    assert sorted(model.state_dict()) == ["network.bias", "network.weight"]
    adjusted = with_outputs(nn.Linear(3, 4), recipe(logit_adjustment=1), "multiclass", 4)
    assert [name for name, _ in adjusted.named_parameters()] == ["network.weight", "network.bias"]


def test_a_copy_exports_alike():
    """Check the deep copy that an average of weights begins with."""
    model = wrapped(name="bce", logit_adjustment=1.0).eval()
    twin, z = copy.deepcopy(model), torch.randn(5, CLASSES)
    assert isinstance(twin, Outputs) and torch.equal(exported(twin, z), model(z))


def test_adjusting_lifts_rare_classes():
    """Check that a model of frequencies alone answers all classes alike once adjusted by tau 1."""
    model = wrapped(logit_adjustment=1.0).eval()
    z = torch.log(torch.tensor([[0.70, 0.25, 0.05, 0.01]]))
    torch.testing.assert_close(model(z).softmax(1), torch.full((1, 4), 0.25))
