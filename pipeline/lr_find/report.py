"""What a range test came to, ready to be shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.lr_find.suggest import RULES

Part = str | tuple[list[str], list[list[str]]]  # a sentence, or a table: headers and rows


@dataclass(frozen=True)
class LrFind:
    """A range test and where it was written; `record` is the content of `lr-find.json`, `shown`
    the paths as the user would type them."""

    name: str
    record: dict[str, Any]
    paths: tuple[Path, ...]
    shown: tuple[str, ...]

    @property
    def lr(self) -> float | None:
        """The suggested rate; None where the loss did not fall."""
        suggestion = self.record["suggestion"]
        return None if suggestion is None else suggestion["lr"]


def report_parts(made: LrFind) -> list[Part]:
    """Return what to print: the rate by each rule, the suggestion and why, the next command."""
    record = made.record
    parts: list[Part] = []
    if record["suggestions"]:
        parts.append(_table(record))
    parts.append(record["reason"])
    model = record["recipe"]["model"]
    if model["freeze"] != "none" and model["unfreeze_after"] is not None:
        parts.append(
            f"note: model.freeze {model['freeze']} held all through the test; what is trained from "
            f"epoch {model['unfreeze_after'] + 1} on was not"
        )
    parts.append("\n".join(["written:", *(f"  {path}" for path in made.shown)]))
    return [*parts, f"next: {record['next']}"] if record["next"] else parts


def _table(record: dict[str, Any]) -> Part:
    """Return the rates by rule, of the mean curve and of each seed's own."""
    seeds = record["by_seed"] if len(record["by_seed"]) > 1 else {}
    headers = ["rule", "learning rate", *(f"seed {seed}" for seed in seeds)]
    rows = [
        [
            rule,
            f"{record['suggestions'][rule]:.1e}",
            *(_shown(one["suggestions"].get(rule)) for one in seeds.values()),
        ]
        for rule in RULES
    ]
    return headers, rows


def _shown(lr: float | None) -> str:
    return "-" if lr is None else f"{lr:.1e}"
