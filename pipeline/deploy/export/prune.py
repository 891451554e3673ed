"""Units and channels that matter least, cut out of a network for good.

A unit can go where nothing but one next layer sees it: the layer before loses a row of weights, the
next one a column, and what the units that stay tell of it goes into the next one's other weights
and its bias. Which layers follow each other so is read from the graph that torch exports, so that
no branch is overlooked.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.fx import Node

from pipeline.deploy.export.onnx_file import quietly

BATCH = 32
LEAST_UNITS = 16  # a layer with fewer is left alone
RIDGE = 1e-3  # of the mean variance of the units that foretell others
PASSING = ("relu", "gelu", "silu", "hardtanh", "elu", "leaky_relu", "sigmoid", "tanh", "dropout")
PASSING += ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "hardswish", "relu_", "silu_")
PASSING += ("hardtanh_", "clamp", "clone", "contiguous", "hardswish_", "feature_dropout")
FLATTENING = ("flatten", "view", "reshape")
LAYERS = ("linear", "conv2d")


@dataclass(frozen=True)
class Pair:
    """Two layers by name, of which the second alone sees what the first says; the names of the
    norms between them; how many inputs of the second each unit of the first is; and whether it is
    of fully connected layers, without places."""

    first: str
    last: str
    norms: tuple[str, ...]
    places: int
    is_head: bool


def pairs(model: nn.Module, image: torch.Tensor) -> list[Pair]:
    """Return all pairs of layers of a network (in evaluation mode) that units between can be cut
    out of; `image` (2, channels, s, s) is an example of what it sees."""
    with quietly(), torch.no_grad():
        program = torch.export.export(model, (image,), strict=False)
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    found = []
    for node in program.graph.nodes:
        if _kind(node) in LAYERS and _is_plain(node, names):
            pair = _follow(node, names)
            if pair is not None:
                found.append(pair)
    firsts, lasts = [p.first for p in found], [p.last for p in found]
    return [p for p in found if firsts.count(p.first) == 1 and lasts.count(p.last) == 1]


def _kind(node: Node) -> str:
    target = getattr(node.target, "name", None)
    return node.target.name().removeprefix("aten::").partition(".")[0] if callable(target) else ""


def _is_plain(node: Node, names: dict[str, str]) -> bool:
    """Whether a layer's weight is a parameter of its own, in one group."""
    weight = node.args[1]
    groups = node.args[6] if _kind(node) == "conv2d" and len(node.args) > 6 else 1
    own = isinstance(weight, Node) and weight.name in names and len(weight.users) == 1
    return own and groups == 1 and names[weight.name].endswith(".weight")


def _follow(first: Node, names: dict[str, str]) -> Pair | None:
    """Return the pair that a layer begins, if all that it says goes one plain way to a next one."""
    node, norms, places = first, [], 1
    while len(node.users) == 1:
        before, node = node, next(iter(node.users))
        kind = _kind(node)
        if node.args[0] is not before or any(arg is before for arg in node.args[1:]):
            return None
        if kind in LAYERS:
            if not _is_plain(node, names):
                return None
            shape = before.meta["val"].shape
            head = len(shape) == 2 and len(first.meta["val"].shape) == 2
            head |= len(shape) == 4 and math.prod(_fixed(shape[2:])) == 1
            last = names[node.args[1].name].removesuffix(".weight")
            name = names[first.args[1].name].removesuffix(".weight")
            return Pair(name, last, tuple(norms), places, head)
        if kind == "batch_norm":
            norms.append(names[node.args[3].name].rpartition(".")[0])
        elif kind in FLATTENING:
            shape, flat = before.meta["val"].shape, node.meta["val"].shape
            if len(shape) != 4 or len(flat) != 2:
                return None
            places = math.prod(_fixed(shape[2:]))
        elif kind not in PASSING:
            return None
    return None


def _fixed(shape: torch.Size) -> list[int]:
    return [int(side) for side in shape]


@torch.no_grad()
def prune(model: nn.Module, images: torch.Tensor, units: float, channels: float) -> int:
    """Cut units out of a network in place: of fully connected layers all but the share `units`, of
    others all but the share `channels`. Return how many were cut.

    Kept are the units whose variation on pictures moves the next layer most: the standard deviation
    of what reaches it times the norm of its weights on it; at least `LEAST_UNITS`. Those that go
    are foretold from those that stay by least squares, a_gone = M a_kept + c, and the next layer
    takes W_kept + W_gone M and b + W_gone c in place of W and b.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode; changed.
    images : Tensor of shape (n, channels, s, s)
        Normalised training pictures.
    units, channels : float
        In (0, 1]; 1 cuts nothing.

    Returns
    -------
    int

    References
    ----------
    He, Zhang and Sun, Channel pruning for accelerating very deep neural networks, ICCV 2017 (the
    reconstruction by least squares); Li et al., Pruning filters for efficient ConvNets, ICLR 2017.
    """
    wanted = [p for p in pairs(model, images[:2]) if (units if p.is_head else channels) < 1]
    moments = _moments(model, images, wanted)
    cut = 0
    for pair in wanted:
        cut += _cut(model, pair, *moments[pair.last], units if pair.is_head else channels)
    return cut


def _moments(
    model: nn.Module, images: torch.Tensor, wanted: list[Pair]
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return mean (d,) and covariance (d, d) of the d units of each pair, as they reach the second
    layer, over pictures and places; by that layer's name."""
    sums: dict[str, list[torch.Tensor | int]] = {}

    def note(name: str, places: int) -> Callable[..., None]:
        def add(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            seen = inputs[0].double()  # variances are small differences of large sums
            if places > 1:
                seen = seen.unflatten(1, (-1, places, 1))
            rows = seen.transpose(0, 1).flatten(1).T if seen.ndim == 4 else seen.flatten(0, -2)
            now = [len(rows), rows.sum(0), rows.T @ rows]
            sums[name] = [one + two for one, two in zip(sums.get(name, [0] * 3), now, strict=True)]

        return add

    with contextlib.ExitStack() as stack:
        for pair in wanted:
            layer = model.get_submodule(pair.last)
            stack.callback(layer.register_forward_pre_hook(note(pair.last, pair.places)).remove)
        for batch in images.split(BATCH):
            model(batch)
    return {
        name: (total / n, products / n - torch.outer(total / n, total / n))
        for name, (n, total, products) in sums.items()
    }


def _cut(
    model: nn.Module, pair: Pair, mean: torch.Tensor, covariance: torch.Tensor, share: float
) -> int:
    """Cut the units of one pair that matter least; return how many."""
    first, last = model.get_submodule(pair.first), model.get_submodule(pair.last)
    count = len(first.weight)
    keep = max(math.ceil(share * count), min(LEAST_UNITS, count))
    if keep >= count:
        return 0
    weight = last.weight.double().flatten(1).unflatten(1, (count, -1))  # (out, units, taps)
    score = covariance.diagonal().clamp_min(0) * weight.square().sum((0, 2))
    kept = score.topk(keep).indices.sort().values
    gone = torch.ones(count, dtype=torch.bool)
    gone[kept] = False
    among = covariance[kept][:, kept]
    ridge = RIDGE * among.diagonal().mean().clamp_min(1e-12) * torch.eye(keep, dtype=torch.double)
    told = torch.linalg.solve(among + ridge, covariance[kept][:, gone]).T  # (gone, kept)
    lost = weight[:, gone]
    moved = weight[:, kept] + torch.einsum("ogt,gk->okt", lost, told)
    shift = lost.sum(2) @ (mean[gone] - told @ mean[kept])
    bias = torch.zeros(len(weight)) if last.bias is None else last.bias.detach()
    last.bias = nn.Parameter((bias.double() + shift).float())
    _keep_outputs(first, kept)
    for name in pair.norms:
        _keep_norm(model.get_submodule(name), kept)
    shape = (len(weight), keep * pair.places, *last.weight.shape[2:])
    last.weight = nn.Parameter(moved.float().reshape(shape).contiguous())
    _set_width(last, "in", shape[1])
    return count - keep


def _keep_outputs(layer: nn.Module, kept: torch.Tensor) -> None:
    layer.weight = nn.Parameter(layer.weight.detach()[kept].clone())
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[kept].clone())
    _set_width(layer, "out", len(kept))


def _keep_norm(norm: nn.Module, kept: torch.Tensor) -> None:
    for name in ("weight", "bias"):
        if getattr(norm, name) is not None:
            setattr(norm, name, nn.Parameter(getattr(norm, name).detach()[kept].clone()))
    norm.running_mean, norm.running_var = norm.running_mean[kept], norm.running_var[kept]
    norm.num_features = len(kept)


def _set_width(layer: nn.Module, side: str, width: int) -> None:
    kind = "features" if isinstance(layer, nn.Linear) else "channels"
    setattr(layer, f"{side}_{kind}", width)
