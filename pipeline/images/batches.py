"""Batches of uint8 images, identical for any number of worker processes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from pipeline.artifacts.hashing import stable_int
from pipeline.images.cache import Pixels

Item = tuple[int, int]  # (epoch, row): an item says all that its pixels depend on
View = Callable[[np.ndarray, int, int], np.ndarray]
Draw = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass
class Images(Dataset):
    """Rows of `pixels` seen through `view`; fetched a batch at a time."""

    pixels: Pixels
    ids: np.ndarray
    view: View

    def __post_init__(self) -> None:
        self._hashes = [stable_int(name) for name in self.ids.tolist()]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, items: list[Item]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (b, size, size, 3) uint8 and their rows (b,) int64."""
        rows = [row for _, row in items]
        images = [self.view(self.pixels.read(row), e, self._hashes[row]) for e, row in items]
        return torch.from_numpy(np.stack(images)), torch.tensor(rows)


class Batches(Sampler[list[Item]]):
    """The rows of one epoch in batches: shuffled by (seed, fold, epoch), in order without `key`.

    `draw` makes of the rows and a generator what an epoch sees of them, as many as there are; a
    permutation if it is not given. Training drops a last batch of one image, on which batch norm is
    undefined. `share` is (i, n): of every batch this process takes row i and each n-th after it;
    then a last batch of fewer than two rows a process is dropped too.
    """

    def __init__(
        self,
        rows: np.ndarray,
        batch_size: int,
        key: tuple[int, int] | None,
        draw: Draw | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.rows, self.batch_size, self.key, self.epoch = rows, batch_size, key, 0
        self.share, self._draw = share, draw or _permuted

    def __len__(self) -> int:
        whole, rest = divmod(len(self.rows), self.batch_size)
        alone = self.share[1] == 1
        least = (1 if self.key is not None and whole else 0) if alone else 2 * self.share[1] - 1
        return whole + (rest > least)

    def size(self, number: int) -> int:
        """Return how many rows batch `number` has in all processes together."""
        return min(self.batch_size, len(self.rows) - number * self.batch_size)

    def __iter__(self) -> Iterator[list[Item]]:
        rows, (first, step) = self.rows, self.share
        if self.key is not None:
            rows = self._draw(rows, np.random.default_rng([*self.key, self.epoch]))
        for number in range(len(self)):
            start = number * self.batch_size
            batch = rows[start : start + self.batch_size][first::step]
            yield [(self.epoch, int(row)) for row in batch]


def _permuted(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(rows)


def _as_is(batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    return batch


def loader(images: Images, batches: Batches, workers: int, pin: bool = False) -> DataLoader:
    """Return a loader of (images uint8, rows). Set `batches.epoch` before each pass over it.

    It draws its seeds from a generator of its own: from torch's, it would draw once per pass
    without workers and once in all with persistent ones, and so shift the dropout that follows.
    """
    return DataLoader(
        images,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_as_is,
        pin_memory=pin,
        generator=torch.Generator(),
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
    )
