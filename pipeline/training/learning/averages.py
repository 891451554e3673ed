"""Averages of the weights: the moving one over steps (EMA), and the plain one over epochs (SWA).

P. Izmailov and others, "Averaging Weights Leads to Wider Optima and Better Generalization", UAI
2018. Batch norm's statistics are no weights: those of a plain average have to be measured anew.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from pipeline.config.recipe import Recipe


class Average(Protocol):
    """An average of the weights of a model in training.

    `module` is a network of its own that holds the average. `stale_statistics`: its batch norm's
    statistics are not those of its weights; whoever has measured them (`measure_batch_norm`) sets
    it to False. The state, for checkpoints, holds all of it.
    """

    module: nn.Module
    stale_statistics: bool

    def update(self, model: nn.Module, step: int) -> None:
        """Take note of `model` after optimiser step `step`, counted from 1."""

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """Take note of `model` at the end of `epoch`, counted from 0."""

    def judged(self, model: nn.Module) -> nn.Module:
        """Return what is validated and kept: the average, or `model` where there is none yet."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def build_average(recipe: Recipe, model: nn.Module, steps_per_epoch: int) -> Average | None:
    """Return the average that the recipe asks for, None if it asks for none."""
    training = recipe.training
    if training.ema:
        return MovingAverage(model, training.ema * (training.epochs * steps_per_epoch))
    if training.swa:
        count = max(1, int(training.swa * training.epochs + 0.5))
        return EpochAverage(model, training.epochs - count)
    return None


class MovingAverage:
    """The exponential moving average of weights and batch-norm statistics (timm's ModelEmaV3).

    Its horizon, 1 / (1 - decay), is a number of steps; the first steps use a shorter one, or the
    initial weights would stay in it.
    """

    stale_statistics = False

    def __init__(self, model: nn.Module, horizon: float) -> None:
        decay, warmup = 1 - 1 / max(1.0, horizon), {"warmup_gamma": 1.0, "warmup_power": 1.0}
        self._ema = ModelEmaV3(model, decay=decay, use_warmup=True, **warmup)
        self.module: nn.Module = self._ema.module

    def update(self, model: nn.Module, step: int) -> None:
        self._ema.update(model, step=step)

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """Epochs are nothing to it."""

    def judged(self, model: nn.Module) -> nn.Module:
        return self.module

    def state_dict(self) -> dict[str, Any]:
        return self.module.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state)


class EpochAverage:
    """The equal mean of the weights at the ends of epochs, from epoch `first` (counted from 0) on.

    Until then the model itself is judged. Buffers, batch norm's statistics among them, are the
    newest model's until they are measured anew.
    """

    def __init__(self, model: nn.Module, first: int) -> None:
        self._first, self._mean = first, AveragedModel(model)
        self.module: nn.Module = self._mean.module.eval()
        self.stale_statistics = False

    def update(self, model: nn.Module, step: int) -> None:
        """Steps are nothing to it."""

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        if epoch < self._first:
            return
        self._mean.update_parameters(model)
        for own, other in zip(self.module.parameters(), model.parameters(), strict=True):
            own.requires_grad_(other.requires_grad)  # says which statistics are frozen
        self.stale_statistics = bool(_measurable(self.module))

    def judged(self, model: nn.Module) -> nn.Module:
        return self.module if self._mean.n_averaged > 0 else model

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self._mean.state_dict(), "stale_statistics": self.stale_statistics}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._mean.load_state_dict(state["mean"])
        self.stale_statistics = state["stale_statistics"]


def _measurable(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch-norm layers that keep statistics, but for those that are frozen: whose
    weight is not trained."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    return [m for m in layers if m.weight is None or m.weight.requires_grad]


@torch.no_grad()
def measure_batch_norm(
    model: nn.Module, batches: Iterable[Any], forward: Callable[[Any], object]
) -> None:
    """Measure batch norm's running statistics anew, as the mean over `batches`.

    As `torch.optim.swa_utils.update_bn` does, but with all other layers as in prediction: no
    dropout shifts the statistics, and no random number is drawn. Layers whose weight is frozen
    keep theirs.

    Parameters
    ----------
    model : nn.Module
        Its statistics are replaced; the modes of its modules and the momenta stay as they are.
    batches : iterable
        Of training batches, each counting the same; not read where there is nothing to measure.
    forward : callable
        Passes one of the batches through `model`.
    """
    layers = _measurable(model)
    if not layers:
        return
    modes = {module: module.training for module in model.modules()}
    momenta = {layer: layer.momentum for layer in layers}
    model.eval()
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # torch's word for a mean of all batches
            layer.training = True
        for batch in batches:
            forward(batch)
    finally:
        for layer, momentum in momenta.items():
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
