"""What a host does once the pictures exist: write images, tables, hidden answers, a leaderboard."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.errors import PodiumError

PUBLIC_SHARE = 0.3  # of the test rows, as on most competition sites


def write_images(folder: Path, ids: list[str], pictures: np.ndarray) -> None:
    """Write greyscale pictures (n, h, w) uint8 as `images/ID.png`; a bar shows from a second on."""
    (folder / "images").mkdir()
    pairs = zip(ids, pictures, strict=True)
    bar = {"unit": "img", "delay": 1, "disable": None, "leave": False}
    for name, picture in tqdm(pairs, "writing", len(ids), **bar):
        path = folder / "images" / f"{name}.png"
        if not cv2.imwrite(str(path), picture):
            raise PodiumError(f"{path}: cannot be written; make room on the disk and run it again")


def write_tables(
    folder: Path, train: pd.DataFrame, test: pd.DataFrame, labels: list[str], seed: int
) -> np.ndarray:
    """Write train, test, sample submission and answers; return which test rows are public (n,).

    `test` comes with its labels, which go to the answers alone. The sample submission answers
    every row alike, with the first training row's labels.
    """
    rng = np.random.default_rng(seed)
    public = np.zeros(len(test), dtype=bool)
    public[rng.permutation(len(test))[: round(PUBLIC_SHARE * len(test))]] = True
    answers = test[["id", *labels]].assign(Usage=np.where(public, "Public", "Private"))
    sample = test[["id"]].copy()
    for column in labels:
        sample[column] = train[column].iloc[0]
    tables = {
        "test": test.drop(columns=labels),
        "sample_submission": sample,
        "answers": answers,
        "train": train,  # last: its presence says that all the others are there
    }
    for name, frame in tables.items():
        frame.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    return public


def write_leaderboard(folder: Path, scores: dict[str, tuple[float, float]]) -> None:
    """Write the host's baselines as a leaderboard: team, public and private score."""
    rows = [(team, f"{public:.6f}", f"{private:.6f}") for team, (public, private) in scores.items()]
    frame = pd.DataFrame(rows, columns=["team", "public", "private"])
    frame.to_csv(folder / "leaderboard.csv", index=False, lineterminator="\n")
