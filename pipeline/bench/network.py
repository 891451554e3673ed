"""A network as far as its speed goes: runs that differ in nothing of that share one measurement."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.artifacts.hashing import json_hash
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.device import Setup, resolve
from pipeline.training.networks.outputs import Outputs, with_outputs
from pipeline.training.networks.zoo import build_model


@dataclass(frozen=True)
class Network:
    """The network of a recipe for so many classes. `weights`: a file of trained ones, if there is
    any; they are loaded, but no part of what the network is known by."""

    recipe: Recipe
    n_classes: int
    task: str
    weights: Path | None = field(default=None, compare=False)

    @cached_property
    def key(self) -> str:
        """A hash of all that decides how long a picture takes on one machine."""
        recipe, runtime = self.recipe, self.recipe.runtime
        wrapped = with_outputs(nn.Identity(), recipe, self.task, self.n_classes)
        return json_hash(
            {
                "arch": recipe.model.arch,
                "hidden": recipe.model.hidden,
                "head": recipe.model.head,
                "size": recipe.image.size,
                "channels": recipe.image.channels,
                "classes": self.n_classes,
                "outputs": isinstance(wrapped, Outputs),
                "device": runtime.device,
                "precision": runtime.precision,
                "threads": runtime.threads,
                "channels_last": runtime.channels_last,
            }
        )

    def build(self) -> nn.Module:
        """Return the network with its trained weights, or with drawn ones where there are none."""
        scratch = self.recipe.model.model_copy(update={"pretrained": False, "weights": "auto"})
        recipe = self.recipe.model_copy(update={"model": scratch})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = build_model(recipe, self.n_classes)
        model = with_outputs(model, recipe, self.task, self.n_classes)
        if self.weights is not None:
            _load(model, self.weights)
        return model.eval()

    def setup(self, model: nn.Module) -> Setup:
        """Return how this machine runs the network: as its recipe says or, where the device that it
        names is of another machine, as is best here."""
        try:
            return resolve(self.recipe, model)
        except PodiumError:
            runtime = self.recipe.runtime
            best = runtime.model_copy(update={"device": "auto", "precision": "auto"})
            return resolve(self.recipe.model_copy(update={"runtime": best}), model)


def weights_bytes(file: Path) -> int:
    """Return the size of a file of weights; one that is missing or damaged is refused."""
    try:
        with safe_open(file, framework="pt"):  # checks its length and its list of tensors
            return file.stat().st_size
    except FileNotFoundError:
        raise PodiumError(f"{file}: no such file; {_remedy(file)}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise PodiumError(f"{file}: damaged ({str(error)[:80]}); {_remedy(file)}") from None


def _load(model: nn.Module, file: Path) -> None:
    weights_bytes(file)
    with safe_open(file, framework="pt") as opened:
        names = opened.keys()
        state = {name: opened.get_tensor(name) for name in names}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        short = str(error).splitlines()[-1].strip()[:120]
        said = f"{file}: not the weights of this run's network ({short}); {_remedy(file)}"
        raise PodiumError(said) from None


def _remedy(file: Path) -> str:
    return f"delete {file.parent} and make train the run again, which trains that part alone"


@torch.inference_mode()
def macs(model: nn.Module, recipe: Recipe, size: int) -> int:
    """Return the multiplications and additions of pairs that a picture of `size` pixels takes in
    convolutions, matrix products and attention, as torch counts them; the rest is not counted."""
    device = next(model.parameters()).device
    blank = torch.zeros(1, recipe.image.channels, size, size, device=device)
    with FlopCounterMode(display=False) as counter:
        model(blank)
    return counter.get_total_flops() // 2


def facts(network: Network, model: nn.Module, size: int) -> dict[str, Any]:
    """Return what is worth knowing of a network beside its time."""
    return {
        "arch": network.recipe.model.arch,
        "image_size": network.recipe.image.size,
        "size": size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "macs": macs(model, network.recipe, size),
    }
