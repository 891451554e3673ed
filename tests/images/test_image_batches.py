"""Tests of pipeline.images.batches: each row once, the same batches for any number of workers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.pictures import Augment, Image
from pipeline.errors import PodiumError
from pipeline.images.augment import Augmenter, Evaluator
from pipeline.images.batches import Batches, Images, loader
from pipeline.images.cache import Pixels, open_pixels

IDS = np.array([f"id {i}" for i in range(37)])
EVERYTHING = Augment(scale=(0.4, 0.9), vertical_flip=0.5, rotate=20, brightness=0.2, contrast=0.2)


@pytest.fixture
def pixels(noise, written, tmp_path) -> Pixels:
    """Cache 37 pictures of noise."""
    paths: list[Path] = [written(noise(i), f"{i:02d}.png") for i in range(37)]
    return open_pixels(tmp_path / "cache", paths, None, Image(size=16), "comp")[0]


def epochs(pixels: Pixels, workers: int, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return all batches of two epochs, from one loader."""
    images = Images(pixels, IDS, Augmenter(EVERYTHING, Image(size=16), seed))
    batches = Batches(np.arange(37), 8, (seed, 1))
    read, found = loader(images, batches, workers), []
    for number in range(2):
        batches.epoch = number
        found += list(read)
    return found


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_any_number_of_workers_gives_the_same_batches(pixels):
    """Check that 0, 2 and 4 workers, kept over two epochs, give equal pixels in equal order."""
    alone = epochs(pixels, 0)
    assert len(alone) == 10 and alone[0][0].shape == (8, 16, 16, 3)
    assert not torch.equal(alone[0][1], alone[5][1])
    for workers in (2, 4):
        for (a, rows), (b, other) in zip(alone, epochs(pixels, workers), strict=True):
            assert torch.equal(rows, other) and torch.equal(a, b)


def test_validation_sees_one_view_in_table_order(pixels):
    """Check that evaluation is in order, complete, and the same in every epoch and process."""
    images = Images(pixels, IDS, Evaluator(Image(size=16)))
    passes = []
    for workers in (0, 2):
        batches = Batches(np.arange(5, 38 - 1), 8, None)
        read = loader(images, batches, workers)
        for number in range(2):
            batches.epoch = number
            found = list(read)
            assert torch.cat([rows for _, rows in found]).tolist() == list(range(5, 37))
            passes.append(torch.cat([x for x, _ in found]))
    assert all(torch.equal(passes[0], other) for other in passes[1:])


@given(
    n=st.integers(1, 50),
    size=st.integers(2, 12),
    key=st.one_of(st.none(), st.tuples(st.integers(0, 9), st.integers(0, 9))),
    epoch=st.integers(0, 5),
)
def test_each_row_once_per_epoch(n, size, key, epoch):
    """Check that an epoch is a partition of the rows; training alone drops a last batch of one."""
    rows = np.arange(100, 100 + n)
    batches = Batches(rows, size, key)
    batches.epoch = epoch
    found = list(batches)
    seen = [row for batch in found for _, row in batch]
    dropped = 1 if key is not None and n > size and n % size == 1 else 0
    assert len(found) == len(batches)
    assert len(seen) == len(set(seen)) == n - dropped
    assert set(seen) <= set(rows.tolist())
    assert all(e == epoch for batch in found for e, _ in batch)
    assert all(len(batch) == size for batch in found[:-1])
    if key is None:
        assert seen == rows.tolist()
    elif n > size:
        assert len(found[-1]) > 1


def test_dropped_row_changes_from_epoch_to_epoch():
    """Check that the row left over by the last batch is not always the same one."""
    rows, batches = set(range(9)), Batches(np.arange(9), 4, (0, 0))
    left = set()
    for batches.epoch in range(12):
        left |= rows - {row for batch in batches for _, row in batch}
    assert len(left) > 3


def order(key: tuple[int, int], epoch: int) -> list[int]:
    batches = Batches(np.arange(64), 8, key)
    batches.epoch = epoch
    return [row for batch in batches for _, row in batch]


def test_order_depends_on_seed_fold_and_epoch_alone():
    """Check that the order is drawn anew for another seed, fold or epoch, and is else the same."""
    drawn = [order(key, epoch) for key in ((0, 0), (0, 1), (1, 0)) for epoch in (0, 1)]
    assert all(drawn[i] != drawn[j] for i in range(6) for j in range(i))
    assert order((0, 1), 1) == drawn[3]
    assert drawn[0] != sorted(drawn[0])


def broken(pixels: np.ndarray, epoch: int, id_hash: int) -> np.ndarray:
    raise PodiumError("a.png: not an image that can be decoded; replace it")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_stays_one_line(pixels, workers):
    """Check that a picture that breaks in a worker process is named without its traceback."""
    images = Images(pixels, IDS, broken)
    with pytest.raises(PodiumError) as caught:
        list(loader(images, Batches(np.arange(37), 8, None), workers))
    assert str(caught.value) == "a.png: not an image that can be decoded; replace it"
