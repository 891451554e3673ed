"""Tests of training.networks.zoo and networks: every architecture by name, at any size."""

import random

import pytest
import timm
import torch
import torchvision

from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.networks.origin import normalisation
from pipeline.training.networks.small import OWN, LeNet, SimpleCNN, torchvision_weights
from pipeline.training.networks.zoo import build_model, check_arch, parameter_count


def recipe(arch: str, size: int = 64, **image) -> Recipe:
    model = {"arch": arch, "pretrained": False}
    return Recipe.model_validate({"model": model, "image": {"size": size, **image}})


def test_simple_cnn_has_its_parameters():
    """Check 11.1 million parameters for 14 classes at 128 px, by thirteen convolutions."""
    model = SimpleCNN(14, 128)
    assert 11.0e6 < parameter_count(model) < 11.2e6
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [32] * 2 + [64] * 2 + [128] * 3 + [256] * 3 + [
        512
    ] * 3


def test_lenet_has_its_parameters():
    """Check LeNet-5's 61,706 parameters, plus the two more input channels of its first layer."""
    assert parameter_count(LeNet(10, 28)) == 61_706 + 2 * 25 * 6


@pytest.mark.parametrize("size", [12, 16, 17, 31, 64])
@pytest.mark.parametrize("network", [LeNet, SimpleCNN])
def test_own_networks_take_any_size(network, size):
    """Check that both answer with a finite logit per class at odd and small sizes."""
    if network is SimpleCNN and size < 16:
        with pytest.raises(ValueError, match="at least 16 px"):
            network(5, size)
        return
    logits = network(5, size)(torch.randn(3, 3, size, size))
    assert logits.shape == (3, 5) and logits.isfinite().all()


@pytest.mark.parametrize(
    ("arch", "size"),
    [
        ("lenet", 20),
        ("simple-cnn", 33),
        ("alexnet", 63),
        ("squeezenet1_0", 21),
        ("squeezenet1_1", 17),
        ("resnet10t", 50),
        ("densenet121", 33),
        ("mobilenetv3_small_050", 41),
        ("tf_efficientnet_lite0", 37),
        ("convnext_atto", 57),
        ("regnetx_002", 45),
        ("vit_tiny_patch16_224", 49),
        ("vit_tiny_patch16_224.augreg_in21k", 75),
        ("deit_tiny_patch16_224", 90),
        ("mixer_s32_224", 64),
    ],
)
def test_timm_architectures_at_odd_sizes(arch, size):
    """Check that convolutional nets and transformers answer at sizes they were not made for."""
    model = build_model(recipe(arch, size), 7).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 3, size, size)).shape == (2, 7)


def test_unknown_architecture_names_the_nearest():
    """Check that a misspelt name is one error with the names that are close to it."""
    with pytest.raises(PodiumError, match=r"ARCH: .*'densnet121'.*did you mean.*densenet121"):
        check_arch("densnet121")
    for typed, meant in (("le-net", "lenet"), ("alex_net", "alexnet"), ("squeezenet11", "squeeze")):
        with pytest.raises(PodiumError, match=f"did you mean.*{meant}"):
            check_arch(typed)


def test_too_small_image_names_the_size():
    """Check that a network that cannot be built for a size is one error with the remedy."""
    for arch, least in {"lenet": 12, "alexnet": 63, "squeezenet1_0": 21}.items():
        said = rf"{arch} cannot be built .*{arch} needs images of at least {least} px.*image\.size"
        with pytest.raises(PodiumError, match=said):
            build_model(recipe(arch, least - 1), 3)


def test_unknown_weights_of_a_known_architecture_are_refused():
    """Check that a tag that timm does not have is one error, not a traceback."""
    with pytest.raises(PodiumError, match="ARCH"):
        build_model(recipe("resnet18.no_such_tag"), 3)


@pytest.mark.parametrize("arch", ["efficientformer_l1", "crossvit_9_240", "halonet26t"])
def test_image_size_that_a_network_cannot_take_is_one_error(arch):
    """Check that a network which builds for a size but cannot answer at it is refused when built.

    Else the first batch fails with a traceback from the middle of timm.
    """
    try:
        model = build_model(recipe(arch, 96), 3).eval()
    except PodiumError as error:
        assert f"{arch} cannot be built for images of 96 px" in str(error)
    else:
        with torch.no_grad():
            assert model(torch.randn(1, 3, 96, 96)).shape == (1, 3)


def test_every_timm_name_is_accepted():
    """Check a sample of names, with and without the name of their weights."""
    names = [*timm.list_models(), *timm.list_models(pretrained=True)]
    for name in random.Random(0).sample(names, 300):
        check_arch(name)


def test_pretrained_without_weights_is_refused():
    """Check that nothing trains silently from scratch: no weights is an error with a remedy."""
    name = next(
        n for n in timm.list_models("*resnet*") if not timm.get_pretrained_cfg(n).has_weights
    )
    asked = Recipe.model_validate({"model": {"arch": name, "pretrained": True}})
    with pytest.raises(PodiumError, match=r"no pretrained weights.*model\.pretrained=false"):
        build_model(asked, 3)


def test_normalisation_is_the_recipes_then_the_weights_own():
    """Check whose mean and std count: the recipe's, else the weights', else ImageNet's."""
    lite = Recipe.model_validate({"model": {"arch": "tf_efficientnet_lite0"}})
    assert normalisation(lite) == ((0.5,) * 3, (0.5,) * 3)
    scratch = recipe("tf_efficientnet_lite0")
    assert normalisation(scratch) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    own = recipe("lenet", mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    assert normalisation(own) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


FIELD = {
    "lenet": (28, None),
    "alexnet": (63, 61_100_840),
    "vgg11": (32, 132_863_336),
    "vgg16": (32, 138_357_544),
    "resnet18": (32, 11_689_512),
    "resnet50": (32, 25_557_032),
    "densenet121": (32, 7_978_856),
    "densenet161": (32, 28_681_000),
    "densenet201": (32, 20_013_928),
    "squeezenet1_1": (32, 1_235_496),
    "mobilenetv3_large_100": (32, 5_483_032),
    "wide_resnet50_2": (32, 68_883_240),
    "inception_v4": (80, 42_679_816),
    "inception_resnet_v2": (80, 55_843_464),
    "resnext50_32x4d": (32, 25_028_904),
}


@pytest.mark.parametrize("arch", FIELD)
def test_networks_of_the_field(arch):
    """Check the published number of parameters for ImageNet, and an answer per class.

    No weights are made: shapes alone run through the network.
    """
    size, parameters = FIELD[arch]
    with torch.device("meta"):
        for channels in (3, 1):
            asked = recipe(arch, size, channels=channels)
            logits = build_model(asked, 7).eval()(torch.zeros(2, channels, size, size))
            assert logits.shape == (2, 7)
        if parameters is not None:
            assert parameter_count(build_model(recipe(arch, size), 1000)) == parameters


@pytest.mark.parametrize("arch", ["alexnet", "squeezenet1_0", "squeezenet1_1"])
def test_torchvisions_networks_are_torchvisions(arch):
    """Check that torchvision's own weights give its own features, by the classifier's input."""
    theirs = torchvision.models.get_model(arch, weights=None).eval()
    ours = build_model(recipe(arch, 64), 1000).eval()
    state = theirs.state_dict()
    if arch == "alexnet":
        ours.load_state_dict(state)
    else:  # a convolution of 1 x 1, then ReLU, then pooling
        for end in ("weight", "bias"):
            last = state.pop(f"classifier.1.{end}")
            state[f"classifier.{end}"] = last.flatten(1) if last.ndim > 1 else last
        ours.load_state_dict(state)
        theirs.classifier[2] = torch.nn.Identity()
    with torch.no_grad():
        pictures = torch.randn(2, 3, 64, 64)
        torch.testing.assert_close(ours(pictures), theirs(pictures), rtol=1e-4, atol=1e-5)
    assert torchvision_weights(arch).url.startswith("https://download.pytorch.org/models/" + arch)
    assert normalisation(recipe(arch)) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("arch", ["resnet18", "convnext_atto", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("hidden", [[], [8]])
def test_drop_path_is_in_the_network(arch, hidden):
    """Check that the largest rate is the recipe's, that without it nothing drops, and that training
    is random by it and evaluation is not."""
    plain = recipe(arch, 32).model_copy()
    model = {"arch": arch, "pretrained": False, "drop_path": 0.4, "hidden": hidden}
    asked = Recipe.model_validate({"model": model, "image": {"size": 32}})
    network = build_model(asked, 3)
    rates = [getattr(m, "drop_prob", 0.0) for m in network.modules()]
    assert max(rates) == pytest.approx(0.4)
    assert not any(getattr(m, "drop_prob", 0.0) for m in build_model(plain, 3).modules())


@pytest.mark.parametrize("arch", [*OWN, "densenet121", "vgg11", "inception_v4", "inception_v3"])
def test_drop_path_where_there_is_none_is_refused(arch):
    """Check one line with the key for networks that cannot, or take the rate and leave it."""
    model = {"arch": arch, "pretrained": False, "drop_path": 0.1}
    asked = Recipe.model_validate({"model": model, "image": {"size": 80}})
    with torch.device("meta"), pytest.raises(PodiumError, match=rf"model\.drop_path: 0\.1.*{arch}"):
        build_model(asked, 3)
