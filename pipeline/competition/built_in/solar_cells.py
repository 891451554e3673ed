"""`solar-cells`: 2,624 electroluminescence photos of solar cells, four levels of defect, ordered.

Source: the PyPI package elpv-dataset (C. Buerhop-Lutz et al., A Benchmark for Visual
Identification of Defective Solar Cells in Electroluminescence Imagery, EU PVSEC 2018; S. Deitsch
et al., Solar Energy 185, 2019), CC BY-NC-SA 4.0: not for commercial use. Only its files are read;
none of its code is run.
"""

import importlib.util
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from pipeline.artifacts.files import read_text
from pipeline.competition.built_in.host import write_tables
from pipeline.errors import PodiumError

SEED = 50
TEST_SHARE = 0.25
# The annotators said whether a cell is defective, and whether they are sure of it; the package
# gives that as a probability of 0, 1/3, 2/3 or 1.
LEVELS = ("0-functional", "1-probably-functional", "2-probably-defective", "3-defective")
PACKAGE = "elpv_dataset"
REQUIREMENTS = "experiments/competitions/solar-cells.requirements.txt"
_LINE = re.compile(
    r"images/(?P<id>[\w-]+)\.png\s+(?P<probability>\d(?:\.\d+)?)\s+(?P<type>mono|poly)"
)
_REMEDY = f"install it again: python -m pip install --force-reinstall --no-deps -r {REQUIREMENTS}"


def make(folder: Path) -> None:
    """Write the competition into `folder`, which exists and is empty."""
    source = _package_data()
    labels = source / "labels.csv"
    cells = _cells(labels)
    tqdm.write(
        "solar-cells: photos of Buerhop-Lutz et al. (2018), CC BY-NC-SA 4.0: "
        "not for commercial use; name the authors, share alike"
    )
    strata = cells["label"] + " " + cells["type"]
    try:
        train, test = train_test_split(
            np.arange(len(cells)), test_size=TEST_SHARE, stratify=strata, random_state=SEED
        )
    except ValueError as error:  # a stratum of one cell: not the package as it was published
        raise PodiumError(f"{labels}: cannot be split ({error}); {_REMEDY}") from None
    train.sort()
    _copy_photos(source / "images", folder / "images", cells["id"].tolist())
    write_tables(folder, cells.iloc[train], cells.iloc[test], labels=["label"], seed=SEED)


def _package_data() -> Path:
    """Return the folder of the installed package's data, without importing the package."""
    found = importlib.util.find_spec(PACKAGE)
    places = list(found.submodule_search_locations or ()) if found else []
    if not places:
        raise PodiumError(
            f"solar-cells: the package elpv-dataset is not installed (91 MB); "
            f"python -m pip install -r {REQUIREMENTS}, or make folds COMP=solar-cells does it"
        )
    return Path(places[0]) / "data"


def _cells(path: Path) -> pd.DataFrame:
    """Return id, type and label of every cell; a line that is not as published is refused."""
    rows: dict[str, tuple[str, str, str]] = {}
    for number, line in enumerate(read_text(path, _REMEDY).splitlines(), start=1):
        match = _LINE.fullmatch(line.strip())
        if not match or match["id"] in rows:
            fault = "the same cell twice" if match else "not 'images/CELL.png PROBABILITY TYPE'"
            raise PodiumError(f"{path}: line {number} is {line!r}, {fault}; {_REMEDY}")
        label = _level(float(match["probability"]))
        if not label:
            raise PodiumError(f"{path}: line {number} is {line!r}, not 0, 1/3, 2/3 or 1; {_REMEDY}")
        rows[match["id"]] = match["id"], match["type"], label
    return pd.DataFrame(rows.values(), columns=["id", "type", "label"])


def _level(probability: float) -> str:
    """Return the name of the level, or '' for a probability that is none of the four."""
    level = round(3 * probability)
    near = level < len(LEVELS) and abs(3 * probability - level) < 0.01
    return LEVELS[level] if near else ""


def _copy_photos(source: Path, target: Path, ids: list[str]) -> None:
    target.mkdir()
    for name in tqdm(ids, "copying", unit="img", delay=1, disable=None, leave=False):
        try:
            shutil.copyfile(source / f"{name}.png", target / f"{name}.png")
        except OSError as error:
            raise PodiumError(
                f"{source / name}.png: cannot be copied ({error.strerror or error}); "
                f"make room on the disk, or {_REMEDY}"
            ) from None
