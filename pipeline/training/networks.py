"""The two small networks that timm does not have: the oldest one, and a plain one as a baseline."""

import torch
from torch import nn


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al., 1998) with ReLU, max pooling and RGB input of any size from 12 px."""

    CLASSIFIER = "head.5"

    def __init__(self, num_classes: int, size: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        side = (size // 2 - 4) // 2
        if side < 1:
            raise ValueError(f"lenet needs images of at least 12 px, not {size}")
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        )
        self.head = nn.Sequential(
            *(nn.Linear(16 * side * side, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
            *(nn.Dropout(drop_rate), nn.Linear(84, num_classes)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (b, 3, size, size) -> (b, classes)
        return self.head(self.features(x).flatten(1))


class SimpleCNN(nn.Module):
    """Thirteen 3x3 convolutions, 2x2 pooling after each of the first four blocks, and
    fully connected layers of 100 and 100: 11.1 million parameters for 14 classes at 128 px."""

    CLASSIFIER = "head.6"
    BLOCKS = ((32, 32), (64, 64), (128, 128, 128), (256, 256, 256), (512, 512, 512))

    def __init__(self, num_classes: int, size: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, side = 3, size
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
            nn.Linear(100, num_classes),
        )
        for module in self.modules():  # sixteen layers without normalisation need He's gain
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (b, 3, size, size) -> (b, classes)
        return self.head(self.features(x).flatten(1))


OWN = {"lenet": LeNet, "simple-cnn": SimpleCNN}
