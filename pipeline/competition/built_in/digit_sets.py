"""`digit-sets`: which digits stand on a 64 x 64 canvas? Multi-label, 10 labels, grouped by pool.

0 to 3 digits lie in the middle; torn pieces of other digits lie near the borders and count for
nothing, so that a crop helps. Class frequencies are unequal and about half the canvases are
empty. The source digits are dealt into 40 disjoint pools, a canvas draws from one pool, and the
pool is its group: the same handwriting returns within a pool, never across pools. Whole pools
are kept as test.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from pipeline.competition.built_in.host import write_images, write_leaderboard, write_tables
from pipeline.competition.built_in.source import handwritten_digits
from pipeline.metrics import get_metric

SEED = 30
POOLS, TEST_POOLS, PER_POOL = 40, 12, 90
SIDE, BORDER = 64, 12  # pixels; digits keep clear of the border, clutter keeps to it
HOW_MANY = (0.5, 0.25, 0.15, 0.1)  # probability of 0, 1, 2, 3 digits
FREQUENCY = 0.8 ** np.arange(10)  # of 0, 1, ..., 9, relative


def make(folder: Path) -> None:
    """Write the competition into `folder`, which exists and is empty."""
    rng = np.random.default_rng(SEED)
    digits, values = handwritten_digits()
    pools = np.array_split(rng.permutation(len(values)), POOLS)
    canvases, labels, groups = [], [], []
    for number, pool in enumerate(pools):
        for _ in range(PER_POOL):
            canvas, present = _canvas(rng, digits[pool], values[pool])
            canvases.append(canvas)
            labels.append(present)
            groups.append(f"pool-{number:02d}")
    order = rng.permutation(len(labels))  # so that row order says nothing about the pool
    pictures, table = np.stack(canvases)[order], np.stack(labels)[order]
    frame = pd.DataFrame(table, columns=[str(digit) for digit in range(10)])
    frame.insert(0, "id", [f"set-{i:04d}" for i in range(len(frame))])
    frame.insert(1, "pool", np.array(groups)[order])
    test = np.isin(frame["pool"], [f"pool-{n:02d}" for n in range(POOLS - TEST_POOLS, POOLS)])
    write_images(folder, frame["id"].tolist(), pictures)
    names = frame.columns[2:].tolist()
    public = write_tables(folder, frame[~test], frame[test], labels=names, seed=SEED)
    write_leaderboard(folder, _baselines(pictures, table, test, public))


def _canvas(
    rng: np.random.Generator, digits: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one canvas (64, 64) uint8 and the labels (10,) on it, from one pool's digits."""
    canvas = np.zeros((SIDE, SIDE), np.float32)
    for _ in range(rng.integers(2, 6)):
        _draw_clutter(rng, canvas, digits[rng.integers(len(digits))])
    weights = FREQUENCY[values] / FREQUENCY[values].sum()
    labels = np.zeros(10, np.int8)
    taken: list[tuple[int, int]] = []
    for chosen in rng.choice(len(values), rng.choice(4, p=HOW_MANY), replace=False, p=weights):
        place = _free_place(rng, taken)
        if place is None:
            continue
        taken.append(place)
        stamp = _stamp(rng, digits[chosen])
        y, x = place
        region = canvas[y : y + stamp.shape[0], x : x + stamp.shape[1]]
        np.maximum(region, stamp[: region.shape[0], : region.shape[1]], out=region)
        labels[values[chosen]] = 1
    canvas += rng.normal(0, 18, canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8), labels


def _free_place(rng: np.random.Generator, taken: list[tuple[int, int]]) -> tuple[int, int] | None:
    """Return a corner (y, x) in the middle that keeps 16 pixels from the others, or None."""
    for _ in range(60):
        y, x = (int(v) for v in rng.integers(BORDER, SIDE - BORDER - 18, 2, endpoint=True))
        if all(max(abs(y - other[0]), abs(x - other[1])) >= 16 for other in taken):
            return y, x
    return None


def _stamp(rng: np.random.Generator, digit: np.ndarray) -> np.ndarray:
    """Scale a digit (8, 8) to 14-18 pixels, turn it by up to 12 degrees, vary its ink."""
    size = int(rng.integers(14, 18, endpoint=True))
    big = cv2.resize(digit.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    middle = ((size - 1) / 2, (size - 1) / 2)
    turn = cv2.getRotationMatrix2D(middle, float(rng.uniform(-12, 12)), 1.0)
    return cv2.warpAffine(np.clip(big, 0, 255), turn, (size, size)) * rng.uniform(0.45, 1.0)


def _draw_clutter(rng: np.random.Generator, canvas: np.ndarray, digit: np.ndarray) -> None:
    """Put the torn half of a digit at a random place on one of the four borders."""
    piece = _stamp(rng, digit)
    half = piece.shape[0] // 2
    piece = np.rot90(piece[:half] if rng.random() < 0.5 else piece[half:], rng.integers(4))
    piece = piece[:BORDER, :BORDER] if max(piece.shape) > BORDER else piece
    height, width = piece.shape
    along = int(rng.integers(0, SIDE - max(height, width)))
    y, x = [(0, along), (SIDE - height, along), (along, 0), (along, SIDE - width)][rng.integers(4)]
    region = canvas[y : y + height, x : x + width]
    np.maximum(region, piece, out=region)


def _baselines(
    pictures: np.ndarray, labels: np.ndarray, test: np.ndarray, public: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Score classical models on the middle of the canvas, at half size, by micro-F1."""
    middle = pictures[:, BORDER : SIDE - BORDER, BORDER : SIDE - BORDER]
    small = np.stack([cv2.resize(picture, (20, 20)) for picture in middle])
    pixels = small.reshape(len(small), -1) / 255.0
    models = {
        "extra trees": ExtraTreesClassifier(200, random_state=SEED, n_jobs=1),
        "5 nearest neighbours": KNeighborsClassifier(5),
        "nearest neighbour": KNeighborsClassifier(1),
        "ridge classifier": RidgeClassifier(alpha=100.0),
        "linear regression": RidgeClassifier(alpha=1.0),
        "decision tree": DecisionTreeClassifier(random_state=SEED),
        "small decision tree": DecisionTreeClassifier(max_depth=8, random_state=SEED),
        "3 nearest neighbours": KNeighborsClassifier(3),
    }
    metric = get_metric("f1_micro", "multilabel")
    truth = labels[test]
    scores = {}
    for team, model in models.items():
        answer = model.fit(pixels[~test], labels[~test]).predict(pixels[test]).astype(np.int8)
        parts = (metric.score(truth[rows], answer[rows]) for rows in (public, ~public))
        scores[team] = tuple(parts)
    scores["every digit everywhere"] = tuple(
        metric.score(truth[rows], np.ones_like(truth[rows])) for rows in (public, ~public)
    )
    return scores
