"""Heads for ordered classes: from few outputs of a network to log-probabilities of all classes.

What they give is "logits" (b, c) whose softmax is the class distribution, so that loss, metrics and
predictions treat them as any other network's.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from pipeline.competition import CompetitionData
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError

# In classes: at first most of the mass lies on a class and its neighbours; with the smallest, a
# place a tenth off the middle between two classes is as good as certain, and gradients are bounded.
INITIAL_SIGMA, SMALLEST_SIGMA = 0.75, 0.1
USUAL = "SET='model.head=classes' takes the usual head"


class OrdinalHead(nn.Module):
    """Log-probabilities of c ordered classes from c - 1 continuation ratios.

    Output k of the network, counted from 0, is z_k = logit P(y > k | y >= k). Then

        log P(y = k) = sum_{j < k} log s(z_j) + log s(-z_k)    for k < c - 1,
        log P(y = c - 1) = sum_j log s(z_j),                   s the logistic function,

    which sums to 1 whatever the z_k are: P(y > k) can only fall with k. Cross-entropy on these is
    the sum of the binary cross-entropies of the questions "y > k?" over the rows with y >= k.

    Parameters
    ----------
    n_classes : int
        c, at least 2.

    References
    ----------
    Fienberg and Mason (1979), continuation-ratio logits; Shi, Cao and Raschka (2021), CORN, which
    averages each question over its own rows instead of summing all, as the likelihood does here.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.n_outputs = n_classes - 1

    def forward(self, z: torch.Tensor) -> torch.Tensor:  # (b, c - 1) -> (b, c)
        z = _at_least_float32(z)
        passed = F.pad(F.logsigmoid(z).cumsum(1), (1, 0))  # log P(y >= k)
        stops = F.pad(F.logsigmoid(-z), (0, 1))  # log P(y = k | y >= k); the last class stops all
        return passed + stops


class RegressionHead(nn.Module):
    """Log-probabilities of c ordered classes around one predicted place on their scale 0 .. c - 1.

    The one output, plus the middle (c - 1) / 2, is the place m; P(y = k) is proportional to
    exp(-(k - m)^2 / (2 sigma^2)), a Gaussian discretised on the classes, sigma learned with the
    weights. Cross-entropy on it is its likelihood: a squared error in classes, with a spread that
    fits the residuals. The square is multiplied out, since m^2 is the same for all classes and
    would cost the digits of the rest where m is large.

    Parameters
    ----------
    n_classes : int
        c, at least 2.
    """

    n_outputs = 1

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        start = math.log(math.expm1(INITIAL_SIGMA - SMALLEST_SIGMA))  # softplus gives it back
        self.raw_sigma = nn.Parameter(torch.tensor(start))
        middle = (n_classes - 1) / 2
        places = torch.arange(n_classes, dtype=torch.float32) - middle
        self.register_buffer("places", places, persistent=False)

    @property
    def sigma(self) -> torch.Tensor:
        """The spread in classes."""
        return SMALLEST_SIGMA + F.softplus(self.raw_sigma)

    def forward(self, output: torch.Tensor) -> torch.Tensor:  # (b, 1) -> (b, c)
        output = _at_least_float32(output)
        scores = (output * self.places - self.places.square() / 2) / self.sigma.square()
        return F.log_softmax(scores, dim=1)


HEADS = {"ordinal": OrdinalHead, "regression": RegressionHead}


class OrderedNetwork(nn.Module):
    """A network and the head for ordered classes at its end."""

    def __init__(self, network: nn.Module, ordered: nn.Module) -> None:
        super().__init__()
        self.network, self.ordered = network, ordered

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (b, 3, size, size) -> (b, classes)
        return self.ordered(self.network(x))


def _at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """Sums of logarithms lose too much in the half precisions of autocast."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def is_ordered(data: CompetitionData) -> bool:
    """Whether the competition knows an order of its classes: it lists them, by themselves or as
    columns, or they are numbers."""
    listed = data.competition.classes, data.competition.columns.classes
    return listed != (None, None) or all(name.isdecimal() for name in data.classes)


def check_head(recipe: Recipe, task: str, n_classes: int, ordered: bool) -> None:
    """Refuse a head for ordered classes where there are none, or too few of them.

    `ordered` says whether the competition knows an order of its classes.
    """
    head = recipe.model.head
    if head == "classes":
        return
    if task != "multiclass":
        raise PodiumError(f"model.head: {head!r} is for one label per picture, not {task}; {USUAL}")
    if n_classes < 3:
        raise PodiumError(
            f"model.head: {head!r}, but a head for ordered classes needs at least 3, not "
            f"{n_classes}; classes is right for 2: {USUAL}"
        )
    if not ordered:
        raise PodiumError(
            f"model.head: {head!r} needs classes in an order; list them from lowest to highest as "
            f"`classes` in the competition's YAML, or {USUAL}"
        )
