"""The competitions that need no download, made from scikit-learn's digits on first use."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipeline.artifacts.locks import lock
from pipeline.competition.built_in import digit_sets, digits
from pipeline.errors import PodiumError

_MAKERS: dict[str, Callable[[Path], None]] = {
    "digits": digits.make,
    "digit-sets": digit_sets.make,
}


def ensure_made(name: str, folder: Path) -> None:
    """Make the data of a built-in competition unless they are there; whole or not at all."""
    if (folder / "train.csv").exists():
        return
    with lock(folder.with_name(f"{folder.name}.lock"), f"making {folder}", wait=120):
        if (folder / "train.csv").exists():
            return  # another process made it while this one waited
        if folder.exists() and any(folder.iterdir()):
            raise PodiumError(
                f"{folder}: not empty, and it has no train.csv of the built-in {name}; "
                "drop built_in from the YAML, or name another data folder"
            )
        prefix = f".{folder.name}.making."
        for left in folder.parent.glob(f"{prefix}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            _MAKERS[name](made)
            made.rename(folder)  # onto nothing, or onto an empty folder
