"""A network by its depth: stages to freeze, a learning rate for each layer, backbone and head.

The head is what no pretrained weights fill: the classifier, the layers of `model.hidden` and the
head for ordered classes. All that lies before it is the backbone.
"""

from timm.models._manipulate import group_with_matcher
from torch import nn

from pipeline.config.learning import Optimizer
from pipeline.errors import PodiumError
from pipeline.training.networks.classifier import (
    Backbone,
    Classifier,
    HeadedNetwork,
    PooledFeatures,
    classifier_layers,
)
from pipeline.training.networks.heads import OrderedNetwork
from pipeline.training.networks.matching import BACKBONE, classifiers
from pipeline.training.networks.outputs import Outputs

POOLING = (nn.MaxPool2d, nn.AvgPool2d)


def stages(model: nn.Module) -> list[list[str]]:
    """Return the names of all parameters, grouped into stages from input to output, the head last.

    timm says what belongs together: the stem, then blocks or the stages of blocks. A network with
    pooling layers in one row of `features` has a stage between each two of them, and one of its
    fully connected layers before the classifier.
    """
    prefix, network = _innermost(model)
    inside, head = dict(network.named_parameters()), _head_names(model)
    groups = _by_pooling(network) or _by_matcher(network, coarse=True)
    found: list[list[str]] = []
    for group in groups:
        names = [f"{prefix}{name}" for name in group if name in inside]
        names = [name for name in names if name not in head]
        # a stage of normalisation alone goes to what it normalises
        if found and all(inside[name.removeprefix(prefix)].ndim <= 1 for name in names):
            found[-1] += names
        elif names:
            found.append(names)
    return [*found, [name for name, _ in model.named_parameters() if name in head]]


def freeze(model: nn.Module, what: str | int) -> None:
    """Freeze `backbone`, all stages but the head; a number of stages from the input; or `none`."""
    model.requires_grad_(True)
    if what == "none":
        return
    groups = stages(model)
    count = len(groups) - 1 if what == "backbone" else int(what)
    if count >= len(groups):
        raise PodiumError(
            f"model.freeze: {what}, but the network has {len(groups)} stages, head included; "
            f"freeze 1 to {len(groups) - 1} of them, or backbone"
        )
    frozen = {name for group in groups[:count] for name in group}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)


def unfreeze(model: nn.Module) -> None:
    """Let all parameters train again."""
    model.requires_grad_(True)


def train_mode(model: nn.Module) -> nn.Module:
    """Set training mode but for frozen parts, whose batch norm and dropout stay as in evaluation.

    What has no parameters is frozen if what comes next to it, in its own module, is: dropout
    before a frozen layer would change the features, dropout before the head is the head's.
    """
    model.train()
    _still(model)
    return model


def param_groups(model: nn.Module, optimizer: Optimizer) -> list[dict]:
    """Return groups of parameters for an optimiser of torch, with `weight_decay` each.

    Biases and normalisation do not decay. With a `layer_decay` below 1 each group has an
    `lr_scale`, 1 for the head and times `layer_decay` for each layer before it. Frozen parameters
    are among them, since they may be trained later; torch's optimisers pass over them till then.
    """
    layers = _layers(model) if optimizer.layer_decay < 1 else {}
    last = max(layers.values(), default=0)
    groups: dict[tuple[int, bool], dict] = {}
    for name, parameter in model.named_parameters():
        decays = parameter.ndim > 1 and not name.endswith(".bias")
        if not layers:
            decays = decays and bool(optimizer.weight_decay)
        layer = layers.get(name, last)
        rate = optimizer.weight_decay if decays else 0.0
        scale = {"lr_scale": optimizer.layer_decay ** (last - layer)} if layers else {}
        group = groups.setdefault((layer, decays), {**scale, "weight_decay": rate, "params": []})
        group["params"].append(parameter)
    if layers:
        return list(groups.values())
    return [groups[key] for key in sorted(groups)]


def split(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return backbone and head: head(backbone(x)) is model(x) in evaluation mode.

    The backbone, always in evaluation mode, gives pooled features (b, d); the head has the dropout
    and the very parameters of the model's, so that training it trains the model. A network that
    cannot be parted like that is refused here or at the first batch.
    """
    ordered = model.ordered if isinstance(model, OrderedNetwork) else None
    network = model.network if isinstance(model, OrderedNetwork) else model
    if isinstance(network, HeadedNetwork):
        backbone, head = Backbone(network.backbone), network.head
    else:
        layers = classifier_layers(network)
        head = Classifier(layers, getattr(network, "classifier_dropout", 0.0))
        backbone = PooledFeatures(network, layers)
    return backbone, nn.Sequential(head, ordered) if ordered else head


def _innermost(model: nn.Module) -> tuple[str, nn.Module]:
    """Return the network inside the wrappers, and what its parameters' names begin with there."""
    prefix = ""
    while isinstance(model, OrderedNetwork | Outputs):
        prefix, model = f"{prefix}network.", model.network
    if isinstance(model, HeadedNetwork):
        prefix, model = f"{prefix}{BACKBONE}.", model.backbone
    return prefix, model


def _head_names(model: nn.Module) -> set[str]:
    """Return the names of the head's parameters: all that is not the innermost network's, and of
    that the classifier's."""
    prefix, network = _innermost(model)
    heads = tuple(f"{prefix}{name}." for name in classifiers(network))
    found = {
        name
        for name, _ in model.named_parameters()
        if not name.startswith(prefix) or name.startswith(heads)
    }
    if not found:
        raise PodiumError(
            f"model.freeze: {type(network).__name__} of timm does not say which of its layers is "
            "the classifier; choose another ARCH, or model.freeze=none"
        )
    return found


def _by_pooling(network: nn.Module) -> list[list[str]]:
    """Group parameters by the pooling layers between them, if `features` is a row with several."""
    features = getattr(network, "features", None)
    if not isinstance(features, nn.Sequential):
        return []
    if sum(isinstance(child, POOLING) for child in features) < 2:
        return []
    groups: list[list[str]] = [[]]
    for name, child in features.named_children():
        if isinstance(child, POOLING):
            groups.append([])
        groups[-1] += [f"features.{name}.{inner}" for inner, _ in child.named_parameters()]
    rest = [n for n, _ in network.named_parameters() if not n.startswith("features.")]
    return [*groups, rest]


def _by_matcher(network: nn.Module, coarse: bool) -> list[list[str]]:
    """Group parameters as timm does, `coarse` into stages, else into layers; a network of which
    timm does not know it by the modules that it consists of.

    The classifier is among the groups even where the network was built without one, so that the
    last group is always the one that it belongs to.
    """
    names = [name for name, _ in network.named_parameters()]
    names += [f"{head}.weight" for head in classifiers(network) if f"{head}.weight" not in names]
    if not hasattr(network, "group_matcher"):
        depth = 1 if coarse else 2
        groups: dict[str, list[str]] = {}
        for name in names:
            module = name.split(".")[:-1]
            groups.setdefault(".".join(module[:depth]), []).append(name)
        return list(groups.values())
    matched = group_with_matcher(zip(names, names, strict=True), network.group_matcher(coarse))
    return [group for _, group in sorted(matched.items())]


def _layers(model: nn.Module) -> dict[str, int]:
    """Return the number of the layer of each parameter of the innermost network, from the input."""
    prefix, network = _innermost(model)
    groups = enumerate(_by_matcher(network, coarse=False))
    return {f"{prefix}{name}": number for number, group in groups for name in group}


def _still(module: nn.Module) -> None:
    """Set the frozen parts of a module to evaluation mode."""
    follows = False
    for child in reversed(list(module.children())):
        trains = [parameter.requires_grad for parameter in child.parameters()]
        follows = not any(trains) if trains else follows
        if follows:
            child.eval()
        elif trains:
            _still(child)
