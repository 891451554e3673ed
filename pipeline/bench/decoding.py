"""How long a picture takes from its file to the network's square, apart from the network."""

from collections.abc import Callable
from functools import partial

import numpy as np

from pipeline.artifacts.hashing import json_hash
from pipeline.bench.entries import Part
from pipeline.competition import CompetitionData
from pipeline.images.cache import Pixels, Source
from pipeline.images.shrunk import pixel_limit
from pipeline.images.views import test_looks

PICTURES = 16  # spread over the table


def decoding_key(data: CompetitionData, part: Part) -> str:
    """A hash of all that decides how long a picture of the competition takes; the turns of
    test-time views, which copy pixels, count nothing."""
    recipe = part.network.recipe
    image = recipe.image.model_dump(mode="json") | {"mean": None, "std": None, "channels": 3}
    views = recipe.views.model_dump(mode="json") | {"flips": "none", "average": "auto"}
    return json_hash([data.hash, image, views, data.competition.max_megapixels])


def decoder(data: CompetitionData, part: Part) -> tuple[Callable[[], None], int]:
    """Return a function that reads some pictures in one thread, from their files into what the
    networks of a run see, and how many these are: of the test table, where there is one."""
    recipe = part.network.recipe
    boxed = recipe.image.crop.kind == "box" and data.test.boxes is None
    rows = data.train if boxed or not data.test.pictured.any() else data.test
    there = np.flatnonzero(rows.pictured)
    chosen = there[np.unique(np.linspace(0, len(there) - 1, PICTURES).astype(int))]
    boxes = None if rows.boxes is None else rows.boxes[chosen]
    limit = pixel_limit(data.competition.max_megapixels)
    crop, side = recipe.image.crop, recipe.image.canonical_side
    source = Source([rows.images[i] for i in chosen], boxes, crop, side, limit)
    pixels = Pixels(source, "jpeg" if recipe.image.cache == "jpeg" else "raw")
    looks = test_looks(recipe.views, recipe.image)

    def read(count: int) -> None:
        for place in range(count):
            whole = pixels.read(place)
            for look in looks:
                look(whole)

    return partial(read, len(chosen)), len(chosen)
