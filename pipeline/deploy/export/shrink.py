"""Large fully connected layers as two thin ones that give nearly the same on pictures.

VGG's first layer on 7 x 7 x 512 features holds 103 of its 133 million weights, and what it answers
lies close to a space of a few hundred directions. The directions are those of its own answers on
training pictures, not those of its weights: what no picture calls for costs nothing.
"""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn

LEAST = 2**18  # weights of a layer that counts as large,
SHARE = 0.05  # and its share of all weights of the network
MOST_ROWS = 2048  # answers of a layer that tell its directions
BATCH = 32

Layer = nn.Linear | nn.Conv2d


def large_layers(model: nn.Module) -> dict[str, Layer]:
    """Return the layers, by name, that may be worth two thin ones."""
    total = sum(p.numel() for p in model.parameters())
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
        and getattr(module, "groups", 1) == 1
        and module.weight.numel() >= max(LEAST, SHARE * total)
    }


def head_layers(model: nn.Module, image: torch.Tensor) -> dict[str, Layer]:
    """Return the large layers that are fully connected: linear ones, and convolutions that see a
    whole picture (1, channels, s, s) at once and so answer in one place."""
    found = large_layers(model)
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[..., None]:
        return lambda *said: shapes.__setitem__(name, tuple(said[2].shape))

    with _hooked(found, note):
        model.eval()(image)
    return {
        name: layer
        for name, layer in found.items()
        if name in shapes and (isinstance(layer, nn.Linear) or shapes[name][2:] == (1, 1))
    }


@torch.no_grad()
def shrink(model: nn.Module, images: torch.Tensor, explained: float) -> list[str]:
    """Replace large fully connected layers of a network by two thin ones each, in place.

    Of answers y = W x + b with mean m and covariance C over pictures, the projection onto the r
    leading eigenvectors U of C loses the least variance of all maps of rank r, so W becomes U (U'W)
    and b becomes b + (I - U U')(m - b): the best that two layers of r units can do on these
    pictures. r is the smallest that explains the share `explained` of the variance. A layer stays
    as it is where two would not be smaller.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode; changed.
    images : Tensor of shape (n, channels, s, s)
        Normalised training pictures.
    explained : float
        In (0, 1).

    Returns
    -------
    list of str
        The names of the layers that were replaced.

    References
    ----------
    Yuan et al., ASVD: activation-aware singular value decomposition for compressing large language
    models, 2023; Chen et al., DRONE: data-aware low-rank compression, NeurIPS 2021 (the optimum).
    """
    layers = head_layers(model, images[:1])
    batches = images.split(BATCH)
    said: dict[str, list[torch.Tensor]] = {name: [] for name in layers}

    def note(name: str) -> Callable[..., None]:
        return lambda *passed: said[name].append(_rows(passed[2], MOST_ROWS // len(batches)))

    with _hooked(layers, note):
        for batch in batches:
            model(batch)
    done = []
    for name, layer in layers.items():
        thin = _two(layer, torch.cat(said[name]).double(), explained)
        if thin is not None:
            model.set_submodule(name, thin)
            done.append(name)
    return done


def _two(layer: Layer, answers: torch.Tensor, explained: float) -> nn.Sequential | None:
    """Return the two layers in place of one that gave answers (n, d), None where they would not be
    smaller."""
    weight, mean = layer.weight.flatten(1), answers.mean(0)
    values, basis = _directions(answers - mean)
    shares = values.cumsum(0) / values.sum().clamp_min(1e-30)
    rank = int((shares < explained).sum()) + 1
    if rank > len(values) or rank * sum(weight.shape) >= weight.numel():
        return None
    basis = basis[:, :rank]
    bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias
    rest = mean - bias.double()
    shift = mean - basis @ (basis.T @ rest)
    first, last = _pair(layer, rank)
    first.weight.copy_((basis.T.float() @ weight).view_as(first.weight))
    last.weight.copy_(basis.float().view_as(last.weight))
    last.bias.copy_(shift.float())
    return nn.Sequential(first, last).eval()


def _directions(centred: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the variances (m,), falling, of centred rows (n, d) along orthonormal directions
    (d, m), by the smaller of the two products of the rows."""
    if len(centred) >= centred.shape[1]:
        values, vectors = torch.linalg.eigh(centred.T @ centred)
        return values.flip(0).clamp_min(0), vectors.flip(1)
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    kept = values > 1e-12 * values.max()
    values, vectors = values[kept].flip(0), vectors[:, kept].flip(1)
    return values, centred.T @ vectors / values.sqrt()


def _pair(layer: Layer, rank: int) -> tuple[Layer, Layer]:
    if isinstance(layer, nn.Linear):
        first = nn.Linear(layer.in_features, rank, bias=False)
        return first, nn.Linear(rank, layer.out_features)
    shape = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    first = nn.Conv2d(layer.in_channels, rank, layer.kernel_size, bias=False, **shape)
    return first, nn.Conv2d(rank, layer.out_channels, 1)


def _rows(answers: torch.Tensor, most: int) -> torch.Tensor:
    """Return a layer's answers (b, d), (b, places, d) or (b, d, 1, 1) as rows (n, d), at most about
    `most` of them, evenly spread."""
    rows = answers.flatten(1) if answers.ndim == 4 else answers.flatten(0, -2)
    return rows[:: max(1, len(rows) // max(most, 1))].clone()


@contextlib.contextmanager
def _hooked(layers: dict[str, Layer], note: Callable[[str], Callable[..., None]]) -> Iterator[None]:
    handles = [layer.register_forward_hook(note(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
