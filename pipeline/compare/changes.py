"""What was changed between two runs or ensembles: recipe, members, blend, calibration, rule."""

from dataclasses import dataclass
from typing import Any

from pipeline.config.recipe import LATER
from pipeline.config.schema import differing, merged

NOT_SCIENCE = ("runtime", "describe")
SHOWN = 4  # changes in a line
UNWEIGHTED = ("stacking",)  # blends in which no number says what a member counts
THERE = "in"


@dataclass(frozen=True)
class Change:
    """A key whose value differs; a value is '' where there is none."""

    key: str
    before: str
    after: str

    def __str__(self) -> str:
        if not self.before or not self.after:
            return f"{'+' if self.after else '-'}{self.key}"
        return f"{self.key} {self.before}->{self.after}"


def changes(
    before: dict[str, Any], after: dict[str, Any], decided: tuple[dict, dict]
) -> list[Change]:
    """Return what differs between two records of runs or ensembles, and between the records of
    their decisions; two runs differ by their recipes, others by their members."""
    found: list[Change] = []
    if "recipe" in before and "recipe" in after:
        found += _recipe_changes(before["recipe"], after["recipe"])
    else:
        found += _member_changes(*(_members(record) for record in decided))
    for key in ("blend", "calibration", "rule"):
        old, new = (_kind(record.get(key)) for record in decided)
        if old != new:
            found.append(Change(key, old, new))
    return found


def in_a_line(found: list[Change]) -> str:
    """Return the changes as a few words."""
    shown = ", ".join(str(change) for change in found[:SHOWN])
    rest = len(found) - SHOWN
    return (shown + (f" and {rest} more" if rest > 0 else "")) or "nothing that is recorded"


def _recipe_changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """Return the keys of the science that differ; what a recipe is too old to have is what its
    lack means."""
    whole = [
        merged(LATER, {key: value for key, value in recipe.items() if key not in NOT_SCIENCE})
        for recipe in (before, after)
    ]
    found = []
    for line in differing(*whole):
        key, _, values = line.partition(": ")
        old, _, new = values.partition(" -> ")
        found.append(Change(key, *(value.strip("'") or value for value in (old, new))))
    return found


def _members(decided: dict[str, Any]) -> dict[str, str]:
    """Return the members' weights; a member of a blend without such is just there."""
    unweighted = decided.get("blend") in UNWEIGHTED
    return {
        member["name"]: THERE if unweighted or weight is None else f"{weight:.3f}"
        for member in decided["members"]
        for weight in [member["weight"]]
    }


def _member_changes(before: dict[str, str], after: dict[str, str]) -> list[Change]:
    """Return members that came, went, or weigh something else by a thousandth or more."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, ""), after.get(name, "")
        stayed = old and new and THERE in (old, new)
        if old != new and not stayed:
            found.append(Change(name, old, new))
    return found


def _kind(part: Any) -> str:
    """Return how a blend, calibration or rule is called, without its values."""
    if isinstance(part, dict):
        part = part.get("kind") or part.get("method")
    return str(part or "none")
