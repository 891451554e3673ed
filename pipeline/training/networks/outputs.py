"""From what a network is trained on to what is kept of it: logits whose softmax is the answer.

A multi-class network trained by a sigmoid per class, or one whose logits are adjusted for the
classes' frequencies, answers in evaluation with other numbers than those its loss sees.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.config.recipe import Recipe


class Outputs(nn.Module):
    """A network that gives its raw outputs (b, c) in training and exported logits in evaluation.

    Exported are log s(z) of outputs z where each class is asked against the rest, s the logistic
    function, so that their softmax is the sigmoids divided by their sum; and less `tau` times
    `log_prior` (c,), the log of the classes' shares of the training rows, which the state dict
    keeps. It is 0, and changes nothing, until `set_prior`.

    References
    ----------
    Menon et al. (2021), Long-Tail Learning via Logit Adjustment, the post-hoc form.
    """

    def __init__(self, network: nn.Module, one_vs_rest: bool, tau: float, n_classes: int) -> None:
        super().__init__()
        self.network, self.one_vs_rest, self.tau = network, one_vs_rest, tau
        self.register_buffer("log_prior", torch.zeros(n_classes) if tau else None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (b, 3, size, size) -> (b, c)
        outputs = self.network(x)
        return outputs if self.training else self.export(outputs)

    def export(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return exported logits (b, c) of raw outputs (b, c), in single precision at least."""
        logits = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        if self.one_vs_rest:
            logits = F.logsigmoid(logits)
        return logits - self._shift(logits) if self.tau else logits

    def undo(self, logits: torch.Tensor) -> torch.Tensor:
        """Return raw outputs (b, c) of exported logits (b, c).

        Of log s(z) there is no telling how far above its largest value below 0 z was: that is 87 in
        single precision, and 16 where a prior was taken off, whose size sets the last digit.
        """
        if self.tau:
            logits = logits + self._shift(logits)
        if not self.one_vs_rest:
            return logits
        kind = torch.finfo(logits.dtype)
        logits = logits.clamp(max=-(kind.eps if self.tau else kind.tiny))
        return logits - torch.log(-torch.expm1(logits))

    def set_prior(self, labels: np.ndarray) -> None:
        """Take the classes' shares from the labels (n,) of the rows that are trained on; a class
        without a row counts as one with one, or it would win every answer."""
        if not self.tau:
            return
        counts = np.maximum(np.bincount(labels, minlength=len(self.log_prior)), 1)
        self.log_prior.copy_(torch.from_numpy(np.log(counts / len(labels)).astype(np.float32)))

    def _shift(self, like: torch.Tensor) -> torch.Tensor:
        return self.tau * self.log_prior.to(like)


def with_outputs(network: nn.Module, recipe: Recipe, task: str, n_classes: int) -> nn.Module:
    """Return the network, within `Outputs` where its outputs are not the logits to be exported.

    The recipe alone decides, so that whoever loads weights builds the same.
    """
    one_vs_rest, tau = recipe.loss.name == "bce", recipe.loss.logit_adjustment
    if task != "multiclass" or not (one_vs_rest or tau):
        return network
    return Outputs(network, one_vs_rest, tau, n_classes)


def set_prior(model: nn.Module, labels: np.ndarray) -> None:
    """Tell a network of `with_outputs` the labels of the rows it is trained on, if it asks.

    Before an average of its weights begins, which takes buffers over as they are then.
    """
    if isinstance(model, Outputs):
        model.set_prior(labels)


def exported(model: nn.Module, outputs: torch.Tensor) -> torch.Tensor:
    """Return the logits (b, c) that `model` exports for its raw outputs (b, c) in training."""
    return model.export(outputs) if isinstance(model, Outputs) else outputs


def raw(model: nn.Module, logits: torch.Tensor) -> torch.Tensor:
    """Return the raw outputs (b, c), which the loss takes, of logits (b, c) that were exported."""
    return model.undo(logits) if isinstance(model, Outputs) else logits
