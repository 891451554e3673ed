"""Optimiser, learning-rate schedule, loss and weight average of a recipe."""

import math
from typing import Protocol

import torch
from timm.optim import param_groups_weight_decay
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn import functional as F

from pipeline.config.learning import Optimizer, Schedule
from pipeline.config.recipe import Recipe


class LossFunction(Protocol):
    """The mean over a batch of each row's loss times its weight, where there are weights (b,).

    The sum is divided by the number of rows and not by that of their weights: the weights of one
    row would cancel in a batch of its own.
    """

    def __call__(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor: ...


def build_optimizer(config: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """Return AdamW or SGD with Nesterov momentum; biases and normalisation do not decay."""
    groups = param_groups_weight_decay(model, config.weight_decay)
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, fused=True)
    nesterov = config.momentum > 0
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov)


def lr_factor(schedule: Schedule, step: int, steps: int) -> float:
    """Return the learning rate of `step` (from 0) of `steps` as a share of the recipe's.

    The warm-up rises to 1 over its share of the steps; the cosine (Loshchilov and Hutter, 2017)
    then falls and would reach `final` right after the last step.
    """
    warmup = round(schedule.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    if schedule.name == "constant":
        return 1.0
    progress = (step - warmup) / max(1, steps - warmup)
    return schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * progress))


def build_loss(task: str, smoothing: float) -> LossFunction:
    """Return the mean loss over a batch of logits (b, c) and targets (b,) int64 or (b, c) int8."""

    def cross_entropy(
        logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        if weights is None:
            return F.cross_entropy(logits, targets, label_smoothing=smoothing)
        each = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
        return (weights * each).mean()

    def bce(
        logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        soft = targets.to(logits.dtype) * (1 - smoothing) + 0.5 * smoothing
        if weights is None:
            return F.binary_cross_entropy_with_logits(logits, soft)
        each = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")  # (b, c)
        return (weights * each.mean(dim=1)).mean()

    return cross_entropy if task == "multiclass" else bce


def build_ema(recipe: Recipe, model: nn.Module, steps: int) -> ModelEmaV3 | None:
    """Return the moving average of weights and batch-norm statistics, if the recipe has one.

    Its horizon, 1 / (1 - decay), is a share of all steps, so that one number suits short and long
    trainings; the first steps use a shorter one, or the initial weights would stay in it.
    """
    if not recipe.training.ema:
        return None
    decay = 1 - 1 / max(1.0, recipe.training.ema * steps)
    return ModelEmaV3(model, decay=decay, use_warmup=True, warmup_gamma=1.0, warmup_power=1.0)
