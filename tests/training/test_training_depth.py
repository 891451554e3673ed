"""Tests of training.networks.depth: stages, freezing, rates by layer, backbone and head."""

import copy

import pytest
import torch
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch.nn import functional as F

from pipeline.config.learning import Optimizer
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.networks.depth import (
    freeze,
    param_groups,
    split,
    stages,
    train_mode,
    unfreeze,
)
from pipeline.training.networks.zoo import build_model

KINDS = {
    "plain": {},
    "hidden": {"hidden": [8], "drop_rate": [0.2, 0.4]},
    "ordinal": {"head": "ordinal", "drop_rate": 0.3},
    "both": {"hidden": [8, 6], "head": "regression", "drop_rate": 0.3},
}
FAMILIES = [
    ("lenet", 20),
    ("simple-cnn", 32),
    ("alexnet", 64),
    ("squeezenet1_0", 32),
    ("resnet18", 32),
    ("resnetv2_50", 32),
    ("densenet121", 32),
    ("vgg11", 32),
    ("convnext_atto", 32),
    ("vit_tiny_patch16_224", 32),
    ("tf_efficientnet_lite0", 32),
    ("mobilenetv3_small_100", 32),
    ("efficientvit_b0", 32),
    ("levit_128s", 224),
    ("deit_tiny_distilled_patch16_224", 32),
    ("inception_v4", 80),
    ("swin_tiny_patch4_window7_224", 64),
]
FEW = [pair for pair in FAMILIES if pair[0] in ("lenet", "resnet18", "vit_tiny_patch16_224")]


def network(arch: str, size: int = 32, **model) -> torch.nn.Module:
    content = {"arch": arch, "pretrained": False, **model}
    torch.manual_seed(0)
    return build_model(
        Recipe.model_validate({"model": content, "image": {"size": size}, "training": {"ema": 0}}),
        5,
    )


def shapes(arch: str, size: int = 32, **model) -> torch.nn.Module:
    """Return a network whose parameters have names and shapes alone."""
    with torch.device("meta"):
        return network(arch, size, **model)


def pictures(size: int, n: int = 3) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def kinds_of(arch: str) -> list[str]:
    return list(KINDS) if arch in dict(FEW) else ["plain", "both"]


CASES = [(*family, kind) for family in FAMILIES for kind in kinds_of(family[0])]


@pytest.mark.parametrize(("arch", "size", "kind"), CASES)
def test_head_of_backbone_is_the_model(arch, size, kind):
    """Check answers, pooled features, whose parameters the head has, and stages of all names."""
    model, x = network(arch, size, **KINDS[kind]), pictures(size)
    with torch.no_grad():
        answers = model.eval()(x)
        backbone, head = split(model.train())
        features = backbone.train()(x)  # which stays in evaluation mode
        torch.testing.assert_close(head.eval()(features), answers, rtol=0, atol=0)
    assert features.ndim == 2 and len(features) == 3
    groups, names = stages(model), dict(model.named_parameters())
    assert sorted(name for group in groups for name in group) == sorted(names)
    assert len(groups) >= 4 and all(groups)
    assert {id(p) for p in head.parameters()} == {id(names[name]) for name in groups[-1]}
    rates = [m.p for m in head.modules() if isinstance(m, torch.nn.Dropout)]
    expected = {"plain": [0.0], "hidden": [0.2, 0.4], "ordinal": [0.3], "both": [0.3] * 3}
    assert rates == expected[kind]


def test_training_the_head_trains_the_model():
    """Check that a step on kept features is the step of the whole model with a frozen backbone."""
    model = network("resnet18", hidden=[8])
    whole = copy.deepcopy(model)
    backbone, head = split(model)
    x, y = pictures(32), torch.tensor([0, 1, 2])
    with torch.no_grad():
        features = backbone(x)
    F.cross_entropy(head.train()(features), y).backward()
    torch.optim.SGD(head.parameters(), lr=0.1).step()
    freeze(whole, "backbone")
    F.cross_entropy(train_mode(whole)(x), y).backward()
    torch.optim.SGD([p for p in whole.parameters() if p.requires_grad], lr=0.1).step()
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arch", "size", "expected"),
    [
        ("lenet", 20, ["features.0", "features.3", "head.0", "head.5"]),
        (
            "resnet18",
            32,
            ["conv1", "layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv1", "layer4.0.conv1", "fc"],
        ),
        (
            "alexnet",
            64,
            ["features.0", "features.3", "features.6", "classifier.1", "classifier.6"],
        ),
        ("squeezenet1_1", 32, ["features.0", "features.3.squeeze", "features.6.squeeze"]),
        (
            "vgg11",
            32,
            [f"features.{n}" for n in (0, 3, 6, 11, 16)] + ["pre_logits.fc1", "head.fc"],
        ),
    ],
)
def test_stages_are_those_of_the_papers(arch, size, expected):
    """Check the first layer of each stage, with and without wrappers."""
    firsts = [group[0].removesuffix(".weight") for group in stages(shapes(arch, size))]
    assert firsts[: len(expected)] == expected
    wrapped = stages(shapes(arch, size, hidden=[8], head="regression"))
    inner = [group[0].removesuffix(".weight") for group in wrapped]
    assert (
        inner[: len(expected) - 1]
        == [f"network.backbone.{name}" for name in firsts[:-1]][: len(expected) - 1]
    )
    assert wrapped[-1][-1] == "ordered.raw_sigma" or "ordered.raw_sigma" in wrapped[-1]


def test_transformer_has_a_stage_per_block():
    """Check stem, twelve blocks and head, and that batch norm alone is no stage of VGG."""
    assert len(stages(shapes("vit_tiny_patch16_224"))) == 14
    with_norm = stages(shapes("vgg11_bn", 32))
    assert len(with_norm) == len(stages(shapes("vgg11", 32))) == 7
    assert with_norm[0][:4] == ["features.0.weight", "features.0.bias"] + [
        f"features.1.{n}" for n in ("weight", "bias")
    ]


@pytest.mark.parametrize("what", ["backbone", 1, 3])
@pytest.mark.parametrize(
    ("arch", "size"), [("lenet", 20), ("resnet18", 32), ("densenet121", 32), ("convnext_atto", 32)]
)
def test_frozen_stages_keep_every_bit(arch, size, what):
    """Check weights and batch norm's statistics after steps with decay and momentum, of the frozen
    stages alone, and that the rest moves, then all once unfrozen."""
    model = network(arch, size, drop_rate=0.2)
    groups = param_groups(model, Optimizer(weight_decay=0.1))
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    freeze(model, what)
    count = len(stages(model)) - 1 if what == "backbone" else what
    frozen = {name for group in stages(model)[:count] for name in group}
    owners = {name.rpartition(".")[0] for name in frozen}
    before = copy.deepcopy(model.state_dict())

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(train_mode(model)(pictures(size, 6)), torch.arange(6) % 5).backward()
        optimizer.step()

    for _ in range(3):
        step()
    for name, tensor in model.state_dict().items():
        if name.rpartition(".")[0] in owners:
            assert torch.equal(tensor, before[name]), name
    moved = [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trainable == set(before) & {n for n, _ in model.named_parameters()} - frozen
    assert len(moved) > 0.9 * len(trainable) and set(moved) <= trainable
    unfreeze(model)
    train_mode(model)
    assert all(m.training for m in model.modules())
    step()
    assert sum(not torch.equal(model.state_dict()[n], before[n]) for n in frozen) > 0


@pytest.mark.parametrize(("arch", "size"), [*FAMILIES, ("efficientnet_b0", 32)])
def test_frozen_backbone_gives_the_features_of_evaluation(arch, size):
    """Check that nothing random and no batch's statistics is left before the head, which drops."""
    paths = arch.startswith(("convnext", "vit", "efficientnet", "swin", "resnet18"))
    options = {"drop_path": 0.5} if paths else {}
    model, x = network(arch, size, hidden=[8], drop_rate=0.5, **options), pictures(size)
    freeze(model, "backbone")
    with torch.no_grad():
        expected = split(copy.deepcopy(model))[0](x)
        seen = []
        model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        answers = [train_mode(model)(x) for _ in range(2)]
    assert all(torch.equal(features, expected) for features in seen)
    assert not torch.equal(*answers)  # dropout of the head
    if arch == "vgg11":  # 128 million parameters anew
        return
    own = network(arch, size, drop_rate=0.0)
    freeze(own, "backbone")
    with torch.no_grad():
        first, answer = train_mode(own)(x), copy.deepcopy(own).eval()(x)
    if isinstance(first, torch.Tensor):  # distilled ones answer twice in training
        torch.testing.assert_close(first, answer, rtol=0, atol=0)


@pytest.mark.parametrize("arch", ["simple-cnn", "alexnet"])
def test_dropout_before_a_frozen_layer_is_off(arch):
    """Check fully connected layers of the architecture's own: dropout is that of the head alone."""
    model = network(arch, 64, drop_rate=0.5)
    freeze(model, "backbone")
    train_mode(model)
    drops = [m.training for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    assert drops == {"simple-cnn": [False, True], "alexnet": [False, False]}[arch]
    unfreeze(model)
    train_mode(model)
    assert all(m.training for m in model.modules())


def test_freezing_all_or_more_is_refused():
    """Check one line with the number of stages, and what can be said instead."""
    for kind in KINDS.values():
        model = network("resnet18", **kind)
        for what in (6, 60):
            with pytest.raises(PodiumError, match=rf"model.freeze: {what}, .* 6 stages.*1 to 5"):
                freeze(model, what)
        freeze(model, 5)
        first = [p.requires_grad for p in model.parameters()]
        freeze(model, "backbone")
        assert first == [p.requires_grad for p in model.parameters()] and not all(first)
        freeze(model, "none")
        assert all(p.requires_grad for p in model.parameters())


def as_names(model: torch.nn.Module, groups: list[dict]) -> list[dict]:
    """Replace parameters of groups by their names."""
    names = {id(p): name for name, p in model.named_parameters()}
    return [{**g, "params": [names[id(p)] for p in g["params"]]} for g in groups]


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize(("arch", "size"), FAMILIES[:14])
def test_groups_without_layer_decay_are_timms(arch, size, decay):
    """Check order and content, and that frozen parameters are in the same places."""
    model = shapes(arch, size, head="regression")
    ours = as_names(model, param_groups(model, Optimizer(weight_decay=decay)))
    assert ours == as_names(model, param_groups_weight_decay(model, decay))
    freeze(model, "backbone")
    assert ours == as_names(model, param_groups(model, Optimizer(weight_decay=decay)))


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize(
    "arch", ["resnet18", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_100"]
)
def test_layer_decay_is_timms(arch, decay):
    """Check scales, order and content of the groups, and that frozen parameters are among them."""
    model, config = shapes(arch), Optimizer(weight_decay=decay, layer_decay=0.7)
    ours = as_names(model, param_groups(model, config))
    theirs = param_groups_layer_decay(model, weight_decay=decay, layer_decay=0.7)
    assert ours == as_names(model, theirs)
    freeze(model, 2)
    assert as_names(model, param_groups(model, config)) == ours


@pytest.mark.parametrize(("arch", "size"), FAMILIES)
def test_layer_decay_through_wrappers(arch, size):
    """Check that each layer has the rate that it has without hidden layers, and the head 1."""
    config = Optimizer(layer_decay=0.5)
    scales = []
    for kind in ("plain", "both"):
        model = shapes(arch, size, **KINDS[kind])
        groups = as_names(model, param_groups(model, config))
        scales.append({name: g["lr_scale"] for g in groups for name in g["params"]})
    plain, both = scales
    assert {v for k, v in both.items() if not k.startswith("network.backbone.")} == {1.0}
    shared = {k.removeprefix("network.backbone."): v for k, v in both.items()}
    assert all(shared[k] == v for k, v in plain.items() if k in shared)
    assert max(plain.values()) == 1.0 and len(set(plain.values())) >= 4


def test_own_networks_have_a_layer_per_module():
    """Check LeNet's five rates from the output to the input."""
    model = shapes("lenet", 20)
    groups = as_names(model, param_groups(model, Optimizer(layer_decay=0.5)))
    scales = {name: g["lr_scale"] for g in groups for name in g["params"] if "weight" in name}
    layers = ("head.5", "head.2", "head.0", "features.3", "features.0")
    assert scales == {f"{name}.weight": 0.5**depth for depth, name in enumerate(layers)}
