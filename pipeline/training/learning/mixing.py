"""Mixup and cutmix: pairs of images of a batch mixed together with their labels.

H. Zhang and others, "mixup: Beyond Empirical Risk Minimization", ICLR 2018; S. Yun and others,
"CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from pipeline.config.learning import Mix

STREAM = 0x6D6978  # keeps the draws of batch 0 apart from those that shuffle the epoch's rows


class Mixed(NamedTuple):
    """What a batch became: images (b, ch, h, w), targets (b, c) float, or, where the batch was not
    mixed, the very targets that came in; row weights (b,), None where none came in."""

    images: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor | None


class Mixer:
    """Mix each image of a batch with a partner from the same batch, as the recipe's `mix` says.

    What is drawn depends on (seed, fold, epoch, number of the batch) and on the batch's shape, and
    on nothing else: neither on device and workers nor on whether the epoch was resumed. Mix the
    whole batch before it is split into micro-batches. One lambda serves the batch. Tensors that
    come in are not written to.
    """

    def __init__(
        self, mix: Mix, task: str, n_classes: int, seed: int, fold: int, epochs: int
    ) -> None:
        self._mix, self._task, self._classes = mix, task, n_classes
        self._key, self._epochs = (seed, fold), epochs

    def __call__(
        self,
        images: torch.Tensor,
        targets: torch.Tensor,
        epoch: int,
        number: int,
        weights: torch.Tensor | None = None,
    ) -> Mixed:
        """Mix batch `number` (from 0) of `epoch` (from 0).

        Parameters
        ----------
        images : torch.Tensor of shape (b, ch, h, w), float
        targets : torch.Tensor of shape (b,), int64, or (b, c), int8 or float
            Classes, or the 0/1 labels or probabilities of each.
        epoch, number : int
        weights : torch.Tensor of shape (b,), float, optional
            Of the rows in the loss; each row's goes with its own label.

        Returns
        -------
        Mixed
            ``lam * own + (1 - lam) * partner's`` of targets and weights; images likewise (mixup),
            or with a box of the partner's pixels, of which ``1 - lam`` is the true area (cutmix).
            With weights, the targets are such means weighed by them, so that the loss is the sum of
            ``lam * w_own * loss(y_own)`` and the partner's.
        """
        mix, untouched = self._mix, Mixed(images, targets, weights)
        if not mix.is_on or epoch / self._epochs >= mix.until:
            return untouched
        rng = np.random.default_rng([*self._key, epoch, number, STREAM])
        if rng.random() >= mix.share:
            return untouched
        cut = rng.random() < 0.5 if mix.mixup and mix.cutmix else bool(mix.cutmix)
        alpha = mix.cutmix if cut else mix.mixup
        lam = float(rng.beta(alpha, alpha))
        order = torch.from_numpy(rng.permutation(len(images)))
        partner = order.to(images.device, non_blocking=True)
        if cut:
            mixed, lam = _with_box(images, partner, lam, rng)
        else:
            mixed = torch.lerp(images[partner], images, lam)
        soft = self._soft(targets)
        if weights is None:
            return Mixed(mixed, torch.lerp(soft[partner], soft, lam), None)
        own, other = (lam * weights)[:, None], ((1 - lam) * weights[partner])[:, None]
        both = own + other
        shares = (own * soft + other * soft[partner]) / both.clamp(min=torch.finfo(both.dtype).tiny)
        return Mixed(mixed, torch.where(both > 0, shares, soft), both[:, 0])

    def _soft(self, targets: torch.Tensor) -> torch.Tensor:
        """Return targets as floats (b, c)."""
        if targets.ndim == 1 and self._task == "multiclass":
            return F.one_hot(targets, self._classes).float()
        return targets.float()


def _with_box(
    images: torch.Tensor, partner: torch.Tensor, lam: float, rng: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """Return images with a box of their partners' pixels, and the share of pixels that are their
    own; the box is as large as ``1 - lam`` asks for, less what lies outside the image."""
    height, width = images.shape[-2:]
    y, x = int(rng.integers(height)), int(rng.integers(width))
    half = 0.5 * math.sqrt(1 - lam)
    tall, wide = int(half * height), int(half * width)
    top, bottom = max(0, y - tall), min(height, y + tall)
    left, right = max(0, x - wide), min(width, x + wide)
    box = (..., slice(top, bottom), slice(left, right))
    mixed = images.clone()
    mixed[box] = images[box][partner]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
