"""The end of a network: fully connected layers between pooled features and outputs."""

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.errors import PodiumError
from pipeline.training.networks.matching import HEAD, classifiers


class HeadedNetwork(nn.Module):
    """A backbone that gives pooled features, and the fully connected layers of `model.hidden`."""

    CLASSIFIER = HEAD

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (b, 3, size, size) -> (b, outputs)
        return self.head(self.backbone(x))


class Classifier(nn.Module):
    """The layers of a network that answer with classes, on pooled features, after dropout.

    A distilled network has two such layers, each with its own features, and answers with their
    mean. A convolution of 1 x 1 is a fully connected layer where features are pooled.
    """

    def __init__(self, layers: Sequence[nn.Linear | nn.Conv2d], drop_rate: float) -> None:
        super().__init__()
        self.drop, self.layers = nn.Dropout(drop_rate), nn.ModuleList(layers)
        self.widths = [_width(layer) for layer in layers]

    def forward(self, features: torch.Tensor) -> torch.Tensor:  # (b, sum of widths) -> (b, outputs)
        parts = self.drop(features).split(self.widths, dim=1)
        answers = [
            layer(part[:, :, None, None] if isinstance(layer, nn.Conv2d) else part).flatten(1)
            for layer, part in zip(self.layers, parts, strict=True)
        ]
        return sum(answers[1:], start=answers[0]) / len(answers)


def _width(layer: nn.Linear | nn.Conv2d) -> int:
    return layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features


def fully_connected(
    features: int, hidden: Sequence[int], outputs: int, drop_rates: Sequence[float]
) -> nn.Sequential:
    """Return dropout and a linear layer for each of `drop_rates`, ReLU between them."""
    layers: list[nn.Module] = []
    widths = [features, *hidden, outputs]
    for before, after, rate in zip(widths[:-1], widths[1:], drop_rates, strict=True):
        layers += [nn.Dropout(rate), nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Backbone(nn.Module):
    """A network that gives pooled features (b, d), always in evaluation mode."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval()

    def train(self, mode: bool = True) -> "Backbone":
        """Stay in evaluation mode: features are the same each time."""
        return super().train(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (b, 3, size, size) -> (b, d)
        return self.network(x)


class PooledFeatures(Backbone):
    """A whole network that gives what its classifier sees in place of what it answers.

    At the first batch the answers are compared with those of the classifier on these features.
    """

    def __init__(self, network: nn.Module, layers: list[nn.Module]) -> None:
        super().__init__(network)
        self.classifier, self.is_checked = Classifier(layers, 0.0).eval(), False

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (b, 3, size, size) -> (b, d)
        seen: list[torch.Tensor] = []
        layers = self.classifier.layers
        handles = [
            layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
            for layer in layers
        ]
        try:
            answers = self.network(x)
        finally:
            for handle in handles:
                handle.remove()
        features = torch.cat([part.flatten(1) for part in seen], dim=1)
        if not self.is_checked:
            self._check(features, answers)
            self.is_checked = True
        return features

    @torch.no_grad()
    def _check(self, features: torch.Tensor, answers: torch.Tensor) -> None:
        """Refuse a network that does more than the classifier after its features."""
        if features.shape[1] == sum(self.classifier.widths):
            again = self.classifier(features)
            if again.shape == answers.shape:
                off = (again - answers).abs().max().item()
                if not off > 1e-3 * answers.abs().max().item():
                    return
        raise _cannot_be_split(self.network)


def _cannot_be_split(network: nn.Module) -> PodiumError:
    arch = getattr(network, "pretrained_cfg", {}).get("architecture") or type(network).__name__
    return PodiumError(
        f"features: ARCH {arch} is no classifier on pooled features, which could be kept; take "
        "another ARCH, or train it whole with SET='features=null'"
    )


def classifier_layers(network: nn.Module) -> list[nn.Module]:
    """Return the layers that answer with classes; what is not one layer each is refused."""
    names = classifiers(network)
    layers = [dict(network.named_modules()).get(name) for name in names]
    if not layers or not all(isinstance(layer, nn.Linear | nn.Conv2d) for layer in layers):
        raise _cannot_be_split(network)
    return layers
