"""What is known of a row by its id: where its picture lies, its label, its table."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.competition import CompetitionData


@dataclass(frozen=True)
class Shown:
    """A row of either table: where its picture lies, or the `reason` why there is none to look
    for; `label` of training rows."""

    id: str
    path: Path | None = None
    label: str = ""
    table: str = ""
    reason: str = ""


class Shelf:
    """The rows of both tables by id, and those that were left out for want of a picture."""

    def __init__(self, data: CompetitionData) -> None:
        self._data = data

    def find(self, name: str) -> Shown:
        """Return what is known of a row; one that is in neither table has no path."""
        data = self._data
        if name in self._places["train"]:
            place = self._places["train"][name]
            return Shown(name, data.train.images[place], self._data.label_in_words(place), "train")
        if name in self._places["test"]:
            return Shown(name, data.test.images[self._places["test"][name]], "", "test")
        for one in data.absent:  # its row may have been left out
            if one.id == name:
                return Shown(name, None, "", one.table, one.reason)
        return Shown(name, reason="in neither table")

    @cached_property
    def _places(self) -> dict[str, dict[str, int]]:
        tables = {"train": self._data.train, "test": self._data.test}
        return {
            table: {name: place for place, name in enumerate(rows.ids.tolist())}
            for table, rows in tables.items()
        }
