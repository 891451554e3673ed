"""What can be exported, from the most faithful to the smallest: the options that are tried."""

from dataclasses import dataclass, replace

PRECISIONS = {"float32": 4, "float16": 2, "int8": 1}  # bytes of a weight, at least


@dataclass(frozen=True)
class Change:
    """What is done to a network before it is exported.

    `explained`: large fully connected layers become two thin ones that keep this share of the
    variance of what they answer. `units`: the share of the units between fully connected layers
    that is kept; `channels`: that of the channels between convolutions. 1 changes nothing.
    """

    explained: float = 1.0
    units: float = 1.0
    channels: float = 1.0

    def __str__(self) -> str:
        parts = []
        if self.channels < 1:
            parts.append(f"channels {self.channels:.0%}")
        if self.units < 1:
            parts.append(f"units {self.units:.0%}")
        if self.explained < 1:
            parts.append(f"head {100 * self.explained:g}%")
        return ", ".join(parts)

    @property
    def slug(self) -> str:
        """The change as part of a file's name."""
        values = (self.explained, self.units, self.channels)
        return "-".join(f"{round(1e6 * value):07d}" for value in values)


AS_IT_IS = Change()
SHRUNK = (Change(0.999999), Change(0.9999), Change(0.999), Change(0.99))
PRUNED = (Change(0.999, units=0.5), Change(0.999, units=0.25))
NARROWED = (Change(0.999, units=0.5, channels=0.75), Change(0.999, units=0.25, channels=0.5))


@dataclass(frozen=True)
class Option:
    """One way to export: the change of every network, how its numbers are stored, and whether all
    networks go along or `few`: one of each run."""

    change: Change
    few: bool
    precision: str

    def __str__(self) -> str:
        which = "one per run" if self.few else "all networks"
        return ", ".join(filter(None, [which, self.precision, str(self.change)]))


def ladder(several: bool, head: bool, hidden: bool, channels: bool) -> list[Option]:
    """Return the options in the order in which they are tried.

    `several`: whether a run has more networks than one; `head`, `hidden`, `channels`: whether there
    are large fully connected layers to shrink, units between such layers, channels between
    convolutions to prune. What would change nothing is not among the options.
    """
    counts = (False, True) if several else (False,)
    found = [Option(AS_IT_IS, few, name) for few in counts for name in PRECISIONS]
    changes = [change for change in SHRUNK if head]
    changes += [_without(change, head) for change in PRUNED if hidden]
    changes += [
        _without(change if hidden else replace(change, units=1.0), head)
        for change in NARROWED
        if channels
    ]
    small = ("float16", "int8")  # whoever shrinks a network has found float32 too large
    return found + [
        Option(change, few, name) for change in changes for few in counts for name in small
    ]


def _without(change: Change, head: bool) -> Change:
    return change if head else replace(change, explained=1.0)
