"""The optimisers, from torch, timm and schedulefree."""

from collections.abc import Callable
from typing import Any

import torch
from schedulefree import AdamWScheduleFree
from timm.optim import Lion

from pipeline.config.learning import Optimizer

Groups = list[dict[str, Any]]

FUSED = {"cpu", "cuda", "mps"}  # devices on which torch has Adam's step in one kernel


def build_optimizer(config: Optimizer, groups: Groups) -> torch.optim.Optimizer:
    """Return the recipe's optimiser of parameter groups (`params`, `weight_decay`, `lr_scale`).

    `adam`, `amsgrad`, `sgd` and `rmsprop` add the decay to the gradient (L2); the others take it
    off the weights (Loshchilov and Hutter, 2019). Where the device has a kernel for a whole step,
    that one is used.
    """
    return BUILDERS[config.name](config, groups)


def to_training(optimizer: torch.optim.Optimizer) -> None:
    """Put the weights where gradients are taken: schedule-free trains at other weights than it
    is judged by. For all other optimisers, nothing happens; nor does it twice in a row."""
    if isinstance(optimizer, AdamWScheduleFree):
        optimizer.train()


def to_evaluation(optimizer: torch.optim.Optimizer) -> bool:
    """Put the weights where they are judged and saved; return whether these are other weights.

    They are for schedule-free, whose average batch norm's statistics do not belong to: measure
    them anew before the network answers. The way back to training rounds, so that a training
    repeats itself exactly only if it comes here at the same steps: at the end of every epoch.
    """
    if not isinstance(optimizer, AdamWScheduleFree):
        return False
    optimizer.eval()
    return True


def _adamw(config: Optimizer, groups: Groups) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=config.lr, fused=_fused(groups), **_betas(config))


def _adam(config: Optimizer, groups: Groups) -> torch.optim.Optimizer:
    options = {"amsgrad": config.name == "amsgrad", "fused": _fused(groups)}
    return torch.optim.Adam(groups, lr=config.lr, **options, **_betas(config))


def _sgd(config: Optimizer, groups: Groups) -> torch.optim.Optimizer:
    """Not fused: torch's fused SGD fails on parameters that are unfrozen later, and begins with
    momentum from uninitialised memory where float16 has its first step skipped."""
    nesterov = config.nesterov and config.momentum > 0
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov)


def _rmsprop(config: Optimizer, groups: Groups) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, lr=config.lr, momentum=config.momentum)


def _lion(config: Optimizer, groups: Groups) -> torch.optim.Optimizer:
    return Lion(groups, lr=config.lr, **_betas(config))


def _schedule_free(config: Optimizer, groups: Groups) -> torch.optim.Optimizer:
    """Defazio et al. (2024), The Road Less Scheduled; it begins at the weights for training."""
    optimizer = AdamWScheduleFree(groups, lr=config.lr, **_betas(config))
    optimizer.train()
    return optimizer


BUILDERS: dict[str, Callable[[Optimizer, Groups], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adam": _adam,
    "amsgrad": _adam,
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "lion": _lion,
    "schedule-free": _schedule_free,
}


def _betas(config: Optimizer) -> dict[str, Any]:
    """Return the betas as a keyword, or none, which leaves each optimiser its own."""
    return {} if config.betas is None else {"betas": config.betas}


def _fused(groups: Groups) -> bool | None:
    """Whether all parameters are on devices with a fused kernel; None lets torch choose."""
    kinds = {parameter.device.type for group in groups for parameter in group["params"]}
    return True if kinds <= FUSED else None
