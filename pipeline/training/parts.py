"""Which rows of a competition a run uses: those that LIMIT keeps, and of these the pictured ones.

Row numbers count through the training table, then the test table.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.artifacts.hashing import stable_int
from pipeline.competition import CompetitionData, require_pictures
from pipeline.config.pictures import Crop, Image
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.images.cache import Pixels, open_rows


@dataclass(frozen=True)
class Parts:
    """The rows of `data` under the shared folds and LIMIT."""

    data: CompetitionData
    folds: Folds
    limit: int | None

    def kept(self, rows: np.ndarray) -> np.ndarray:
        """Return those of the training rows that LIMIT keeps."""
        return rows[self._keeps[rows]]

    def trained(self, rows: np.ndarray) -> np.ndarray:
        """Return those of the training rows that LIMIT keeps and that have a picture."""
        return rows[self._keeps[rows] & self.data.train.pictured[rows]]

    @cached_property
    def test(self) -> np.ndarray:
        """The test rows that LIMIT keeps."""
        rows, ids = np.arange(len(self.data.test)), self.data.test.ids
        return len(self.data.train) + _limited(rows, ids, self._share(len(rows)))

    @cached_property
    def seen(self) -> np.ndarray:
        """The rows whose pictures are looked at, sorted."""
        test = self.test[self.data.test.pictured[self.test - len(self.data.train)]]
        return np.concatenate([self.trained(np.arange(len(self.data.train))), test])

    @cached_property
    def _keeps(self) -> np.ndarray:
        """Which training rows LIMIT keeps, (n,) bool: the same share of every shared fold."""
        share, keeps = self._share(len(self.data.train)), np.zeros(len(self.data.train), bool)
        for fold in np.unique(self.folds.fold):
            rows = np.flatnonzero(self.folds.fold == fold)
            keeps[_limited(rows, self.data.train.ids[rows], share)] = True
        return keeps

    def _share(self, rows: int) -> float:
        return 1.0 if self.limit is None or not rows else min(1.0, self.limit / rows)

    def check(self, crop: Crop) -> None:
        """Refuse a crop by columns that the competition does not read, and absent pictures where
        the competition wants them all."""
        competition = self.data.competition
        if crop.kind == "box" and crop.columns != competition.crop.columns:
            raise PodiumError(
                f"image.crop.columns: {crop.columns} are not the columns that the competition's "
                f"`crop` names ({competition.crop.columns}); set the box there"
            )
        if not len(self.seen):
            raise PodiumError(
                f"LIMIT: none of the rows that {self.limit} keeps has a picture; raise it"
            )
        if competition.missing_images == "error":
            tables = self.data.train, self.data.test
            require_pictures(self.data.project, competition, *tables, self.seen)

    def open(self, image: Image) -> tuple[Pixels, str]:
        """Open the pictures that are looked at; return them and where they come from."""
        return open_pictures(self.data, self.seen, image)


def open_pictures(data: CompetitionData, rows: np.ndarray, image: Image) -> tuple[Pixels, str]:
    """Open the pictures of sorted rows, as a recipe's `image` wants them; return them and where
    they come from."""
    train, test = data.train, data.test
    boxes = train.boxes
    if boxes is not None and len(test):
        boxes = None if test.boxes is None else np.concatenate([boxes, test.boxes])
    cache = data.project.cache, [*train.images, *test.images], boxes, rows
    return open_rows(*cache, image, data.competition.name, data.competition.max_megapixels)


def _limited(rows: np.ndarray, ids: np.ndarray, share: float) -> np.ndarray:
    """Return a share of `rows`, at least two, chosen by the ids alone."""
    if share >= 1:
        return rows
    order = np.argsort([stable_int(name) for name in ids.tolist()], kind="stable")
    return np.sort(rows[order[: max(2, round(share * len(rows)))]])
