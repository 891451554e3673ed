"""The competitions that need no download, made from scikit-learn's digits on first use."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipeline.artifacts.locks import lock
from pipeline.competition.built_in import digit_sets, digits

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
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder.parent) as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            _MAKERS[name](made)
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
