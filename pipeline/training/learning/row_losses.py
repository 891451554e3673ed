"""The losses of rows, by task and name: from logits (b, c) and targets to one number a row (b,).

Label smoothing moves a target towards equal shares of all classes (multi-class), or each label
towards one half (multi-label). What is raised to a power is kept as a logarithm, so that values and
gradients are finite in single precision however large the logits are.

References
----------
Lin et al. (2017), focal loss; Ridnik et al. (2021), asymmetric loss; Brier (1950), squared error of
probabilities; Wightman et al. (2021), binary cross-entropy of one label.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.config.learning import Loss

Rows = Callable[[Tensor, Tensor, Loss, Tensor | None], Tensor]
Mean = Callable[[Tensor, Tensor, float], Tensor]

# Multi-class: targets (b,) or shares (b, c), class weights (c,), losses of rows (b,).


def _shares(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Return targets as smoothed shares of the classes (b, c)."""
    if targets.ndim == 1:
        targets = torch.zeros_like(logits).scatter_(1, targets[:, None], 1.0)
    return targets * (1 - smoothing) + smoothing / logits.shape[1]


def _weighed(logits: Tensor, targets: Tensor, loss: Loss, weights: Tensor | None) -> Tensor:
    """Return the smoothed shares times the weights of their classes (b, c)."""
    shares = _shares(logits, targets, loss.label_smoothing)
    return shares if weights is None else shares * weights


def _easiness(log_p: Tensor, gamma: float) -> Tensor:
    """Return (1 - p)^gamma; the bound keeps the gradient of a small gamma finite at p = 1."""
    return (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny).pow(gamma)


def _cross_entropy_rows(
    logits: Tensor, targets: Tensor, loss: Loss, weights: Tensor | None
) -> Tensor:
    return F.cross_entropy(
        logits, targets, weights, reduction="none", label_smoothing=loss.label_smoothing
    )


def _each_against_the_rest_rows(
    logits: Tensor, targets: Tensor, loss: Loss, weights: Tensor | None
) -> Tensor:
    """A row of class y weighs w_y in all its questions, so that weights act as repeated rows do."""
    shares = _weighed(logits, targets, loss, weights)
    others = shares.sum(1, keepdim=True) - shares
    return -(shares * F.logsigmoid(logits) + others * F.logsigmoid(-logits)).mean(1)


def _brier_rows(logits: Tensor, targets: Tensor, loss: Loss, weights: Tensor | None) -> Tensor:
    """With weights, the mean over a row's shares of w_c |p - e_c|^2, but for a constant."""
    shares = _weighed(logits, targets, loss, weights)
    total = shares.sum(1, keepdim=True)
    return (total * (logits.softmax(1) - shares / total).square()).mean(1)


def _focal_rows(logits: Tensor, targets: Tensor, loss: Loss, weights: Tensor | None) -> Tensor:
    log_p = logits.log_softmax(1)
    shares = _weighed(logits, targets, loss, weights)
    return -(shares * _easiness(log_p, loss.gamma) * log_p).sum(1)


def _asymmetric_rows(logits: Tensor, targets: Tensor, loss: Loss, weights: Tensor | None) -> Tensor:
    """timm's variant for one label: smoothing gives each wrong class a term, which weighs
    p^gamma_negative; without it, this is the focal loss of gamma_positive."""
    log_p, share = logits.log_softmax(1), loss.label_smoothing / logits.shape[1]
    right = _shares(logits, targets, 0.0)
    focus = right * (1 - loss.label_smoothing + share) * _easiness(log_p, loss.gamma_positive)
    focus = focus + (1 - right) * share * (loss.gamma_negative * log_p).exp()
    return -((focus if weights is None else focus * weights) * log_p).sum(1)


# Multi-label: targets (b, c) floats, weights (c,) of the positive terms, losses of rows (b,).


def _sides(targets: Tensor, loss: Loss, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return what the terms of yes and of no count for (b, c)."""
    soft = _halved(targets, loss.label_smoothing)
    return soft if weights is None else soft * weights, 1 - soft


def _halved(targets: Tensor, smoothing: float) -> Tensor:
    return targets * (1 - smoothing) + 0.5 * smoothing


def _label_bce_rows(logits: Tensor, targets: Tensor, loss: Loss, weights: Tensor | None) -> Tensor:
    soft = _halved(targets, loss.label_smoothing)
    each = F.binary_cross_entropy_with_logits(logits, soft, reduction="none", pos_weight=weights)
    return each.mean(dim=1)


def _label_brier_rows(
    logits: Tensor, targets: Tensor, loss: Loss, weights: Tensor | None
) -> Tensor:
    """With weights, yes (1 - p)^2 + no p^2, but for a constant."""
    yes, no = _sides(targets, loss, weights)
    return ((yes + no) * (logits.sigmoid() - yes / (yes + no)).square()).mean(1)


def _label_focal_rows(
    logits: Tensor, targets: Tensor, loss: Loss, weights: Tensor | None
) -> Tensor:
    yes, no = _sides(targets, loss, weights)
    log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
    right, wrong = (loss.gamma * log_q).exp() * log_p, (loss.gamma * log_p).exp() * log_q
    return -(yes * right + no * wrong).mean(1)


def _label_asymmetric_rows(
    logits: Tensor, targets: Tensor, loss: Loss, weights: Tensor | None
) -> Tensor:
    """Soft and smoothed labels weigh the two terms; the exponents stay those of yes and no."""
    yes, no = _sides(targets, loss, weights)
    log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
    right = (loss.gamma_positive * log_q).exp() * log_p
    if loss.clip:
        tiny = torch.finfo(logits.dtype).tiny  # keeps gradients of exponents below 1 finite
        shifted = (logits.sigmoid() - loss.clip).clamp(min=tiny)
        log_q = ((-logits).sigmoid() + loss.clip).clamp(max=1).log()
        wrong = shifted.pow(loss.gamma_negative) * log_q
    else:
        wrong = (loss.gamma_negative * log_p).exp() * log_q
    return -(yes * right + no * wrong).mean(1)


ROWS: dict[str, dict[str, Rows]] = {
    "multiclass": {
        "cross-entropy": _cross_entropy_rows,
        "bce": _each_against_the_rest_rows,
        "mse": _brier_rows,
        "focal": _focal_rows,
        "asymmetric": _asymmetric_rows,
    },
    "multilabel": {
        "bce": _label_bce_rows,
        "mse": _label_brier_rows,
        "focal": _label_focal_rows,
        "asymmetric": _label_asymmetric_rows,
    },
}
# torch's own mean, whose last digits differ from those of a mean of rows.
MEANS = {
    ("multiclass", "cross-entropy"): lambda logits, targets, smoothing: F.cross_entropy(
        logits, targets, label_smoothing=smoothing
    ),
    ("multilabel", "bce"): lambda logits, targets, smoothing: F.binary_cross_entropy_with_logits(
        logits, _halved(targets, smoothing)
    ),
}
