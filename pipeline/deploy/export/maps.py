"""Where a network looked: class activation maps as a second output, where they are exact.

In a network whose answer is a linear layer on the mean over its last feature map, the answer is the
mean over the places of the map of that layer on each place (Zhou et al., Learning deep features for
discriminative localization, CVPR 2016; Grad-CAM gives the same there). Whether a network is one is
not read from its name: it is measured.
"""

import torch
from torch import nn
from torch.nn import functional as F

from pipeline.training.networks.matching import classifiers
from pipeline.training.networks.outputs import Outputs

TOLERANCE = 1e-4  # of the largest answer
POOLS = ("global_pool", "avgpool")  # as networks call the layer that takes the mean over places


class Mapped(nn.Module):
    """A network that also gives its class activation maps (b, c, h, w)."""

    def __init__(self, network: nn.Module, pool: nn.Module, layer: nn.Linear) -> None:
        super().__init__()
        self.network, self.pool, self.layer = network, pool, layer

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen: list[torch.Tensor] = []
        handle = self.pool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            answers = self.network(x)
        finally:
            handle.remove()
        return answers, F.conv2d(seen[0], self.layer.weight[:, :, None, None])


@torch.no_grad()
def with_maps(model: nn.Module, example: torch.Tensor) -> nn.Module:
    """Return the network with maps, or as it is where they would not be exact.

    `example` (b, channels, s, s) is what the answers and the means over the maps are compared on.
    """
    inner = model.network if isinstance(model, Outputs) else model
    layers = [dict(inner.named_modules()).get(name) for name in classifiers(inner)]
    if len(layers) != 1 or not isinstance(layers[0], nn.Linear):
        return model
    pools = [m for name, m in inner.named_modules() if name.rpartition(".")[2] in POOLS]
    if len(pools) != 1:
        return model
    mapped = Mapped(model, pools[0], layers[0])
    raw: list[torch.Tensor] = []
    handle = layers[0].register_forward_hook(lambda *said: raw.append(said[2]))
    try:
        maps = mapped(example)[1]
    except (RuntimeError, IndexError):  # what reaches the pool is no map of these channels
        return model
    finally:
        handle.remove()
    bias = 0.0 if layers[0].bias is None else layers[0].bias
    exact = raw and maps.ndim == 4 and maps.shape[2] * maps.shape[3] > 1
    if not exact or raw[0].shape != maps.shape[:2]:
        return model
    off = (maps.mean((2, 3)) + bias - raw[0]).abs().max()
    return mapped if off <= TOLERANCE * raw[0].abs().max() else model
