"""What several sections need: numbers as text, sizes of weights, an album with a room for each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.page.blocks import Block, Folded, Grid, Words
from pipeline.page.shelf import Shelf
from pipeline.page.tables import table_of
from pipeline.page.thumbnails import Album
from pipeline.report.gather import Scene, Subject

SHOWN = 6  # runs and ensembles that are shown in full


@dataclass(frozen=True, eq=False)
class Pictures:
    """Where pictures come from, and the album of the page that they go to."""

    shelf: Shelf
    album: Album


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with four decimals; a dash where there is none."""
    return "-" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def signed(value: float, digits: int = 4) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def grid(
    headers: Sequence[str], rows: Iterable[Sequence[str]], caption: str, most: int = 200
) -> Grid:
    return Grid(table_of([list(headers), *map(list, rows)], most, caption))


def parts(found: Iterable[Any], caption: str) -> list[Block]:
    """Return what a verb prints, sentences and (headers, rows), as blocks of a page."""
    blocks: list[Block] = []
    for one in found:
        if isinstance(one, str):
            blocks += [Words(line) for line in one.split("\n") if line.strip()]
        else:
            blocks.append(grid(one[0], one[1], caption))
    return blocks


def by_subject(scene: Scene, show: Callable[[Subject], tuple[Block, ...]]) -> tuple[Block, ...]:
    """Return what `show` makes of each run and ensemble that is shown in full, the first open."""
    found = [(subject, show(subject)) for subject in scene.subjects]
    return tuple(
        Folded(_summary(subject), blocks, open=at == 0)
        for at, (subject, blocks) in enumerate((s, b) for s, b in found if b)
    )


def _summary(subject: Subject) -> str:
    return f"{subject.name}, honest {number(subject.standing.honest)}"


def weights_of(runs_folder: Path, names: Iterable[str]) -> tuple[int, int]:
    """Return how many networks some runs have, and the bytes of their weights."""
    files = [
        path
        for name in dict.fromkeys(names)
        for pattern in ("fold-*/model.safetensors", "refit/model.safetensors")
        for path in (runs_folder / name).glob(pattern)
    ]
    return len(files), sum(path.stat().st_size for path in files)


def leaves(name: str, records: dict[str, dict[str, Any]]) -> list[str]:
    """Return the runs that an ensemble is made of in the end; a run by itself."""
    members = records.get(name, {}).get("members")
    if members is None:
        return [name]
    runs = [run for member in members for run in member["runs"] if run != name]
    return list(dict.fromkeys(leaf for run in runs for leaf in leaves(run, records)))
