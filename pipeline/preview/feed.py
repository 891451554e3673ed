"""What the network is fed: the batches of training itself, and the way back to pixels."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from pipeline.config.recipe import Recipe
from pipeline.images.augment import Augmenter, Evaluator
from pipeline.images.batches import Batches, Images, View, loader
from pipeline.images.cache import Pixels
from pipeline.preview.cells import cell
from pipeline.training.device import Setup, available_cores
from pipeline.training.learning.loop import Normalise
from pipeline.training.networks.weights import Statistics

EPOCHS = 6  # shown of each training picture


@dataclass(frozen=True)
class Column:
    """A way of looking at pictures: `view`, as it is in `epoch` (from 0)."""

    title: str
    view: View
    epoch: int = 0


def training_columns(recipe: Recipe) -> list[Column]:
    """Return what training sees in its first epochs."""
    training = recipe.training
    view = Augmenter(recipe.augment, recipe.image, training.seed, training.epochs)
    return [Column(f"epoch {epoch + 1}", view, epoch) for epoch in range(EPOCHS)]


def evaluation_columns(recipe: Recipe) -> list[Column]:
    """Return what validation and test see, which is one view."""
    return [Column("as fed", Evaluator(recipe.image))]


@dataclass
class Tally:
    """Sums over what was fed: of each channel the numbers, their sum and the sum of squares, before
    normalisation (in 0..1) and after it, and the range after it."""

    count: int = 0
    sums: np.ndarray = field(default_factory=lambda: np.zeros((2, 2, 3)))
    low: float = np.inf
    high: float = -np.inf

    def add(self, images: torch.Tensor, inputs: torch.Tensor) -> None:
        """Count images (b, h, w, 3) uint8 and what they became, (b, 3, h, w)."""
        pixels = images.double().div_(255).reshape(-1, 3)
        fed = inputs.double().permute(0, 2, 3, 1).reshape(-1, 3)
        self.count += len(pixels)
        for place, values in enumerate((pixels, fed)):
            both = values.sum(dim=0), values.square().sum(dim=0)
            self.sums[place] += torch.stack(both).numpy()
        self.low = min(self.low, fed.min().item())
        self.high = max(self.high, fed.max().item())

    def moments(self, fed: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of each channel (3,), of what is `fed` or before."""
        total, squares = self.sums[int(fed)] / self.count
        return total, np.sqrt(np.maximum(squares - total**2, 0))


@dataclass(frozen=True)
class Fed:
    """What pictures became: `cells[picture][column]`, (h, w, 3) uint8, as sheets show them, and
    `prints` (pictures, columns), by which equal images are known before they are scaled."""

    cells: list[list[np.ndarray]]
    prints: np.ndarray
    tally: Tally


@dataclass(frozen=True)
class Feed:
    """The way of `pixels` into a network that is trained on fold `fold` by `recipe`.

    `used` is the normalisation of training, `undone` the one that is taken back: that of the
    network's own weights where they have one, so that another is seen in the picture.
    """

    pixels: Pixels
    ids: np.ndarray
    recipe: Recipe
    fold: int
    used: Statistics
    undone: Statistics

    def through(self, rows: Sequence[int], columns: Sequence[Column]) -> Fed:
        """Return what the pictures `rows` become in each column."""
        place_of = {row: place for place, row in enumerate(rows)}
        cells = [[np.zeros(0, np.uint8)] * len(columns) for _ in rows]
        prints, tally = np.empty((len(rows), len(columns)), "U32"), Tally()
        for number, column in enumerate(columns):
            for images, inputs, found in self._batches(np.asarray(rows), column):
                tally.add(images, inputs)
                shown = denormalised(inputs, *self.undone)
                for image, pixels, row in zip(images.numpy(), shown, found.tolist(), strict=True):
                    cells[place_of[row]][number] = cell(pixels)
                    prints[place_of[row], number] = _print(image)
        return Fed(cells, prints, tally)

    def _batches(
        self, rows: np.ndarray, column: Column
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield images (b, h, w, 3) uint8, what the network gets (b, 3, h, w), and rows (b,)."""
        training, runtime = self.recipe.training, self.recipe.runtime
        channels_last = runtime.channels_last in ("auto", True)
        setup = Setup("cpu", "float32", channels_last, 0, available_cores())
        normalise = Normalise(*self.used, setup)
        key = (training.seed, self.fold) if isinstance(column.view, Augmenter) else None
        batches = Batches(rows, _batch_size(len(rows), training.batch_size), key)
        batches.epoch = column.epoch
        for images, found in loader(Images(self.pixels, self.ids, column.view), batches, 0):
            yield images, normalise(images), found


def _batch_size(rows: int, size: int) -> int:
    """Return `size`, or the next that leaves no single picture over, which training would drop."""
    while size < rows and rows % size == 1:
        size += 1
    return size


def denormalised(
    inputs: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]
) -> np.ndarray:
    """Take a normalisation back.

    Parameters
    ----------
    inputs : torch.Tensor of shape (b, 3, h, w)
        What a network gets, of any floating type.
    mean, std : three numbers
        Of the channels, of pixels in 0..1.

    Returns
    -------
    np.ndarray of shape (b, h, w, 3), uint8
        ``inputs * std + mean``, clipped to 0..1, in 256 levels.
    """
    channels = inputs.detach().cpu().double().permute(0, 2, 3, 1)
    pixels = channels * torch.tensor(std).double() + torch.tensor(mean).double()
    return pixels.clamp_(0, 1).mul_(255).round_().to(torch.uint8).numpy()


def _print(image: np.ndarray) -> str:
    return hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest()
