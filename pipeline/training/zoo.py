"""Every architecture by name: timm's, `lenet` and `simple-cnn`."""

import timm
import torch
from timm.models import PretrainedCfg
from torch import nn

from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError, nearest
from pipeline.training.networks import LeNet, SimpleCNN

OWN = {"lenet": LeNet, "simple-cnn": SimpleCNN}
FROM_SCRATCH = "SET='model.pretrained=false' trains it from scratch"
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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


def check_weights(recipe: Recipe) -> None:
    """Refuse `pretrained: true` without weights: nothing trains silently from scratch."""
    arch = recipe.model.arch
    config = _weights_of(arch)
    if recipe.model.pretrained and (config is None or not config.has_weights):
        raise PodiumError(f"ARCH: there are no pretrained weights of {arch}; {FROM_SCRATCH}")


def build_model(recipe: Recipe, n_classes: int) -> nn.Module:
    """Return the network of a recipe, initialised from torch's current random state."""
    arch, size = recipe.model.arch, recipe.image.size
    check_arch(arch)
    check_weights(recipe)
    try:
        if arch in OWN:
            model = OWN[arch](n_classes, size, recipe.model.drop_rate)
        else:
            model = _from_timm(recipe, n_classes)
        with torch.no_grad():  # some of timm's build for any size and fail at the first batch
            model.eval()(torch.zeros(1, 3, size, size))
        return model.train()
    except (ValueError, AssertionError, RuntimeError) as error:
        raise PodiumError(
            f"ARCH: {arch} cannot be built for images of {size} px ({error}); "
            "choose another image.size or ARCH"
        ) from None


def _from_timm(recipe: Recipe, n_classes: int) -> nn.Module:
    arch = recipe.model.arch
    options = {"num_classes": n_classes, "drop_rate": recipe.model.drop_rate}
    config = _weights_of(arch)
    if config is not None and config.fixed_input_size:
        options["img_size"] = recipe.image.size
    if not recipe.model.pretrained:
        return timm.create_model(arch, **options)
    try:
        return timm.create_model(arch, pretrained=True, **options)
    except Exception as error:  # the hub client raises its own kinds and the network's
        short = f"{type(error).__name__}: {str(error)[:80]}"
        raise PodiumError(
            f"ARCH: the pretrained weights of {arch} could not be loaded ({short}); "
            f"try again with a network, or {FROM_SCRATCH}"
        ) from None


def normalisation(recipe: Recipe) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std of pixels in 0..1: the recipe's, the weights' own, or ImageNet's."""
    mean, std = IMAGENET
    if recipe.model.pretrained:
        config = _weights_of(recipe.model.arch)
        if config is not None:
            mean, std = config.mean, config.std
    return tuple(recipe.image.mean or mean), tuple(recipe.image.std or std)


def has_depthwise_batch_norm(model: nn.Module) -> bool:
    """Whether depthwise convolutions meet batch norm, as in MobileNet and EfficientNet."""
    modules = list(model.modules())
    depthwise = any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in modules)
    return depthwise and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in modules)


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
