"""What a frozen backbone sees in pictures: pooled features, one pass for each view, kept.

The file `COMP-features-KEY.npy` in data/cache holds those of one view, a row per picture, and is
mapped into memory. It is whole or absent; what a killed pass has done stays beside it in `.part`,
and is gone on from. All of it may be deleted at any time.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import nn
from tqdm import tqdm

from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.hashing import bytes_hash, json_hash
from pipeline.artifacts.locks import lock
from pipeline.errors import PodiumError
from pipeline.images.augment import Augmenter
from pipeline.images.batches import Batches, Images, View, loader
from pipeline.images.views import View as Turned
from pipeline.training.device import Setup
from pipeline.training.job import FoldJob
from pipeline.training.learning.loop import Normalise, answers
from pipeline.training.learning.watch import check_room
from pipeline.training.networks.origin import normalisation

BATCH = 64  # fixed, since the last digits of features depend on it
KEEP_SECONDS = 20.0  # how much of a pass a kill may cost
DAY = 86400.0
_FORMAT = 1  # raise it when the features of the same pictures change


@dataclass(frozen=True)
class Seen:
    """A view of pictures; `content` is all that decides it, `epoch` what it is called with."""

    view: View
    content: Any
    epoch: int = 0


def plain(view: Turned) -> Seen:
    """Return a view that is the same in every epoch and for every id."""
    return Seen(view, asdict(view))


def augmented(job: FoldJob, number: int) -> Seen:
    """Return augmented view `number`, from 1: what training would see in that epoch."""
    augment, image, seed = job.recipe.augment, job.recipe.image, job.recipe.training.seed
    names = bytes_hash("\n".join(job.ids.tolist()).encode())
    content = [augment.model_dump(mode="json"), seed, number, names]
    return Seen(Augmenter(augment, image, seed), content, number)


@dataclass(frozen=True)
class Kept:
    """Features of one view: `values` (r, d) float32, mapped; `places` (n + m,) of each row there,
    -1 for none."""

    values: np.ndarray
    places: np.ndarray

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return the features (b, d) of rows (b,), copied."""
        return self.values[self.places[rows]]


@dataclass
class FrozenBackbone:
    """The backbone of a job's network, on the device of `setup`; `head` are its parameters that are
    no part of it. `seconds` is what passes have taken."""

    job: FoldJob
    backbone: nn.Module
    head: nn.Module
    setup: Setup
    seconds: float = 0.0
    _found: dict[Path, Kept] = field(default_factory=dict, repr=False)
    _key: list[Any] = field(default_factory=list, repr=False)

    def features(self, seen: Seen, rows: np.ndarray) -> Kept:
        """Return the features of sorted rows in a view, from the disk or by a pass."""
        cache, name = self.job.data.project.cache, self.job.data.competition.name
        places = bytes_hash(np.asarray(rows, np.int64).tobytes())
        path = cache / f"{name}-features-{json_hash([*self._decisive(), seen.content, places])}.npy"
        if path not in self._found:
            started = time.perf_counter()
            values = _load(path, len(rows))
            if values is None:
                values = self._made(path, seen, rows)
            where = np.full(len(self.job.ids), -1, np.int64)
            where[rows] = np.arange(len(rows))
            self._found[path] = Kept(values, where)
            self.seconds += time.perf_counter() - started
        return self._found[path]

    def _decisive(self) -> list[Any]:
        """Return all that decides features but the view: weights, pictures, how these are read."""
        if not self._key:
            recipe, pixels = self.job.recipe, self.job.pixels
            self._key += [
                _FORMAT,
                recipe.model.arch,
                weights_hash(self.backbone, self.head),
                recipe.image.model_dump(mode="json", exclude={"mean", "std"}),
                normalisation(recipe),
                pixels.source.key(pixels.kind),
                self.setup.kind,
                self.setup.precision,
                self.setup.channels_last,
                torch.__version__,
                timm.__version__,
            ]
        return self._key

    def _made(self, path: Path, seen: Seen, rows: np.ndarray) -> np.ndarray:
        """Make the features, unless another process does; return them mapped."""
        with lock(path.with_suffix(".lock"), f"the features {path.name}", wait=DAY):
            values = _load(path, len(rows))
            if values is None:
                self._pass(path, seen, rows)
                values = _load(path, len(rows))
        if values is None:
            raise PodiumError(f"{path}: could not be kept; look at the disk, then try again")
        return values

    def _pass(self, path: Path, seen: Seen, rows: np.ndarray) -> None:
        """Pass what is missing of the rows through the backbone, batch by batch, into `path`."""
        part = path.with_suffix(".part")
        values, done = _begun(part, len(rows))
        order = Batches(rows[done:], BATCH, None)
        order.epoch = seen.epoch
        recipe, images = self.job.recipe, Images(self.job.pixels, self.job.ids, seen.view)
        normalise = Normalise(*normalisation(recipe), self.setup, recipe.image.channels)
        batches = loader(images, order, self.setup.workers, self.setup.kind == "cuda")
        bar = tqdm(None, "features", len(rows), initial=done, unit="img", disable=None, leave=False)
        saved = time.perf_counter()
        for found in passed(self.backbone, batches, self.setup, normalise):
            if values is None:
                values = _empty(part, (len(rows), found.shape[1]))
            values[done : done + len(found)] = found
            done += len(found)
            bar.update(len(found))
            if time.perf_counter() - saved >= KEEP_SECONDS:
                _keep(part, values, done)
                saved = time.perf_counter()
        bar.close()
        values.flush()
        os.replace(part, path)
        _note(part).unlink(missing_ok=True)


def passed(
    backbone: nn.Module, batches: Iterable, setup: Setup, normalise: Normalise
) -> Iterator[np.ndarray]:
    """Yield the features (b, d) float32 of batches of (images uint8, rows)."""
    backbone.eval()
    for images, _ in batches:
        with torch.inference_mode():
            features = answers(backbone, normalise(images), setup).cpu().numpy()
        if not np.isfinite(features).all():
            raise PodiumError(
                f"features: the backbone answers in {setup.precision} with numbers that are not "
                "finite; set runtime.precision=float32, or take another ARCH"
            )
        yield features


def weights_hash(backbone: nn.Module, head: nn.Module) -> str:
    """Hash names, types, shapes and bytes of a backbone's tensors, without those of the head."""
    others = {id(parameter) for parameter in head.parameters()}
    digest = hashlib.sha256()
    for name, tensor in sorted(backbone.state_dict(keep_vars=True).items()):
        if id(tensor) not in others:
            plain_bytes = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(plain_bytes.numpy().tobytes())
    return digest.hexdigest()[:16]


def _load(path: Path, rows: int) -> np.ndarray | None:
    """Map a file of features; None where it is missing or not whole."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if values.ndim == 2 and len(values) == rows and values.dtype == np.float32:
            return values
    return None


def _begun(part: Path, rows: int) -> tuple[np.ndarray | None, int]:
    """Return what a killed pass has left, open for writing, and how many rows of it count: whole
    batches."""
    with contextlib.suppress(PodiumError, OSError, ValueError, EOFError, TypeError, KeyError):
        done = int(read_json(_note(part))["done"])
        values = np.load(part, mmap_mode="r+", allow_pickle=False)
        whole = values.ndim == 2 and len(values) == rows and values.dtype == np.float32
        if whole and 0 < done <= rows and (done % BATCH == 0 or done == rows):
            return values, done
    return None, 0


def _empty(part: Path, shape: tuple[int, int]) -> np.ndarray:
    """Make the file of a pass that begins."""
    _note(part).unlink(missing_ok=True)
    check_room(part.parent, 4 * shape[0] * shape[1], "a file of features")
    return np.lib.format.open_memmap(part, "w+", np.float32, shape)


def _keep(part: Path, values: np.ndarray, done: int) -> None:
    """Bring a pass to the disk, and only then say how far it is."""
    values.flush()
    write_json(_note(part), {"done": done})


def _note(part: Path) -> Path:
    return part.with_suffix(".part.json")
