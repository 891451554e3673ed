"""Send the chosen pictures through the code of training, and set them beside their originals."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config.project import Project
from pipeline.config.recipe import Recipe
from pipeline.images.decode import decode
from pipeline.preview.asked import Asked
from pipeline.preview.cells import box_in_cell, cell
from pipeline.preview.feed import Fed, Feed, evaluation_columns, training_columns
from pipeline.preview.geometry import Geometry, geometry
from pipeline.preview.rows import Chosen, copy_of_few, id_of, label_of, path_of
from pipeline.preview.sheet import Shown
from pipeline.training.parts import Parts


@dataclass(frozen=True)
class Looked:
    """What the pictures of a part became, in columns of these `titles`, and where from."""

    titles: list[str]
    fed: Fed
    geometries: list[Geometry]
    shown: list[Shown]


def look(asked: Asked, chosen: dict[str, Chosen]) -> tuple[dict[str, Looked], Fed]:
    """Return what the pictures of each part become, and the training ones without augmentation.

    The cache of these few lies in a folder that is deleted afterwards.
    """
    parts, recipe = asked.parts, asked.recipe
    rows = np.array(sorted(row for one in chosen.values() for row in one.rows), np.int64)
    with tempfile.TemporaryDirectory(prefix="preview-") as scratch:
        few = copy_of_few(parts, rows, Project(Path(scratch)))
        few.check(recipe.image.crop)
        ids = np.concatenate([few.data.train.ids, few.data.test.ids])
        pixels, _ = few.open(recipe.image)
        feed = Feed(pixels, ids, recipe, asked.fold, asked.used, asked.undone)
        found, evaluation = {}, evaluation_columns(recipe)
        for part, one in chosen.items():
            if one.rows:
                columns = training_columns(recipe) if part == "train" else evaluation
                places = np.searchsorted(rows, one.rows).tolist()
                fed = feed.through(places, columns)
                cached = [pixels.read(place) for place in places]
                each = zip(one.rows, cached, fed.cells, strict=True)
                seen = [_shown(parts, recipe, *picture) for picture in each]
                titles = [column.title for column in columns]
                found[part] = Looked(titles, fed, [g for g, _ in seen], [s for _, s in seen])
        places = np.searchsorted(rows, chosen["train"].rows).tolist()
        return found, feed.through(places, evaluation)


def _shown(
    parts: Parts, recipe: Recipe, row: int, cached: np.ndarray, views: list[np.ndarray]
) -> tuple[Geometry, Shown]:
    """Return what becomes of the area of a picture, of which the cache holds the pixels `cached`,
    and the picture with its views."""
    known = len(parts.data.train)
    rows, at = (parts.data.train, row) if row < known else (parts.data.test, row - known)
    original = decode(path_of(parts, row))
    box, thumbnail = None if rows.boxes is None else rows.boxes[at], cell(original)
    found = geometry(recipe.image, _size(original), box, _size(cached))
    sizes = _size(original), _size(thumbnail)
    square = None if found.square is None else box_in_cell(found.square, *sizes)
    boxes = box_in_cell(found.crop, *sizes), square
    return found, Shown(id_of(parts, row), label_of(parts, row), thumbnail, *boxes, views)


def _size(pixels: np.ndarray) -> tuple[int, int]:
    """Return width and height of pixels (h, w, 3)."""
    return pixels.shape[1], pixels.shape[0]
