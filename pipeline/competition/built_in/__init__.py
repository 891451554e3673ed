"""The competitions that the pipeline makes itself on first use, so that none is ever half there.

`digits` and `digit-sets` come from scikit-learn; `fashion-mnist` and `solar-cells` from public
data that are found, downloaded or installed when they are asked for.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.artifacts.locks import lock
from pipeline.competition.built_in import digit_sets, digits, fashion_mnist, solar_cells
from pipeline.errors import PodiumError

_MAKERS: dict[str, Callable[[Path], None]] = {
    "digits": digits.make,
    "digit-sets": digit_sets.make,
    "fashion-mnist": fashion_mnist.make,
    "solar-cells": solar_cells.make,
}
_WAIT = 600.0  # seconds for another process to finish; 30 MB may come through a slow line


def ensure_made(name: str, folder: Path) -> None:
    """Make the data of a built-in competition unless they are there; whole or not at all.

    The maker fills an empty folder beside `folder`, which then becomes `folder` by one rename.
    """
    if (folder / "train.csv").exists():
        return
    with lock(folder.with_name(f"{folder.name}.lock"), f"making {folder}", wait=_WAIT):
        if (folder / "train.csv").exists():
            return  # another process made it while this one waited
        if folder.exists() and any(folder.iterdir()):
            raise PodiumError(
                f"{folder}: not empty, and it has no train.csv of the built-in {name}; "
                "drop built_in from the YAML, or name another data folder"
            )
        for left in folder.parent.glob(f".{folder.name}.making*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        made = folder.with_name(f".{folder.name}.making")
        made.mkdir()
        try:
            _MAKERS[name](made)
            made.rename(folder)  # onto nothing, or onto an empty folder
        finally:
            shutil.rmtree(made, ignore_errors=True)
