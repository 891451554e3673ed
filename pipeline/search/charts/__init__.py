"""The pictures and tables of a study."""

from pathlib import Path

from pipeline.search.charts import fidelity, history, importances, parallel, slices, tables
from pipeline.search.importance import Ranked, rank
from pipeline.search.records import Found

__all__ = ["draw_all"]


def draw_all(folder: Path, found: Found, ranked: Ranked | None = None) -> list[Path]:
    """Write all pictures and tables of a study to a folder; return their paths."""
    known = ranked or rank(found)
    drawn = {
        "parallel.png": lambda path: parallel.draw(path, found, known),
        "slices.png": lambda path: slices.draw(path, found, known),
        "importances.png": lambda path: importances.draw(path, found, known),
        "history.png": lambda path: history.draw(path, found),
        "fidelity.png": lambda path: fidelity.draw(path, found),
        "correlations.csv": lambda path: tables.write_correlations(path, found, known),
        "trials.csv": lambda path: tables.write_trials(path, found),
    }
    for name, draw in drawn.items():
        draw(folder / name)
    return [folder / name for name in drawn]
