"""The networks that timm does not have: the oldest one, a plain one as a baseline, and three of
torchvision. `num_classes` 0 gives what the classifier would see in place of its answers."""

import torch
import torchvision
from torch import nn


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al., 1998) with ReLU, max pooling and input of any size from 12 px."""

    CLASSIFIER = "head.5"

    def __init__(
        self, num_classes: int, size: int, drop_rate: float = 0.0, channels: int = 3
    ) -> None:
        super().__init__()
        side = (size // 2 - 4) // 2
        if side < 1:
            raise ValueError(f"lenet needs images of at least 12 px, not {size}")
        self.features = nn.Sequential(
            *(nn.Conv2d(channels, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        )
        self.head = nn.Sequential(
            *(nn.Linear(16 * side * side, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
            *(nn.Dropout(drop_rate), _last(84, num_classes)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (b, 3, size, size) -> (b, classes)
        return self.head(self.features(x).flatten(1))


class SimpleCNN(nn.Module):
    """Thirteen 3x3 convolutions, 2x2 pooling after each of the first four blocks, and
    fully connected layers of 100 and 100: 11.1 million parameters for 14 classes at 128 px."""

    CLASSIFIER = "head.6"
    BLOCKS = ((32, 32), (64, 64), (128, 128, 128), (256, 256, 256), (512, 512, 512))

    def __init__(
        self, num_classes: int, size: int, drop_rate: float = 0.0, channels: int = 3
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        side = size
        for number, block in enumerate(self.BLOCKS):
            for width in block:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            if number < 4:
                layers.append(nn.MaxPool2d(2))
                side //= 2
        if side < 1:
            raise ValueError(f"simple-cnn needs images of at least 16 px, not {size}")
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            *(nn.Linear(channels * side * side, 100), nn.ReLU(), nn.Dropout(drop_rate)),
            *(nn.Linear(100, 100), nn.ReLU(), nn.Dropout(drop_rate)),
            _last(100, num_classes),
        )
        for module in self.modules():  # sixteen layers without normalisation need He's gain
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (b, 3, size, size) -> (b, classes)
        return self.head(self.features(x).flatten(1))


class AlexNet(torchvision.models.AlexNet):
    """AlexNet as torchvision has it (Krizhevsky, 2014), with dropout before its first two fully
    connected layers."""

    CLASSIFIER = "classifier.6"

    def __init__(
        self, num_classes: int, size: int, drop_rate: float = 0.0, channels: int = 3
    ) -> None:
        super().__init__(dropout=drop_rate)
        _refuse_small("alexnet", size)
        self.classifier[6] = _last(4096, num_classes)
        _see(self, channels)


class SqueezeNet(nn.Module):
    """The convolutions of torchvision's SqueezeNet (Iandola et al., 2016), then pooling, dropout
    and a linear layer.

    The paper's classifier, a convolution of 1 x 1 before pooling, is the same but for a ReLU of
    the answers, which would keep them from being negative.
    """

    ARCH, CLASSIFIER = "squeezenet1_0", "classifier"

    def __init__(
        self, num_classes: int, size: int, drop_rate: float = 0.0, channels: int = 3
    ) -> None:
        super().__init__()
        _refuse_small(self.ARCH, size)
        self.features = torchvision.models.get_model(self.ARCH, weights=None).features
        self.drop, self.classifier = nn.Dropout(drop_rate), _last(512, num_classes)
        _see(self, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (b, 3, size, size) -> (b, classes)
        return self.classifier(self.drop(self.features(x).mean((2, 3))))


class SqueezeNet11(SqueezeNet):
    """Version 1.1, of the same accuracy by 2.4 times less computation."""

    ARCH = "squeezenet1_1"


OWN = {
    "lenet": LeNet,
    "simple-cnn": SimpleCNN,
    "alexnet": AlexNet,
    "squeezenet1_0": SqueezeNet,
    "squeezenet1_1": SqueezeNet11,
}


def torchvision_weights(arch: str) -> torchvision.models.WeightsEnum | None:
    """Return torchvision's weights of one of its networks here; None for all others."""
    if OWN.get(arch) not in (AlexNet, SqueezeNet, SqueezeNet11):
        return None
    return torchvision.models.get_model_weights(arch).DEFAULT


def _last(features: int, num_classes: int) -> nn.Module:
    return nn.Linear(features, num_classes) if num_classes else nn.Identity()


def _refuse_small(arch: str, size: int) -> None:
    least = max(torchvision_weights(arch).meta["min_size"])
    if size < least:
        raise ValueError(f"{arch} needs images of at least {least} px, not {size}")


def _see(network: nn.Module, channels: int) -> None:
    """Let the first convolution, which sees three channels, see so many."""
    first = network.features[0]
    if channels != first.in_channels:
        options = {"stride": first.stride, "padding": first.padding}
        shape = channels, first.out_channels, first.kernel_size
        network.features[0] = nn.Conv2d(*shape, **options)
