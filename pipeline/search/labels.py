"""How parameters and their values are called in tables and pictures, and the ticks of an axis."""

import json
import math
from collections.abc import Sequence
from typing import Any

from pipeline.search.space import Param

MOST_TICKS = 5
NICE = (1, 2, 5)
SAYS_LITTLE = ("name", "kind", "fit", "size", "weight", "p")  # but with its section


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the shortest end of each key that no other key has, and that says what it is."""
    found = {}
    for key in keys:
        parts = key.split(".")
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[-count:])
            others = (other for other in keys if other != key)
            taken = any(other == name or other.endswith(f".{name}") for other in others)
            if not (taken or parts[-count].isdigit() or name in SAYS_LITTLE):
                break
        found[key] = name
    return found


def value_text(value: Any) -> str:
    """Return a value in few characters: numbers to three digits, anything else as YAML has it."""
    if isinstance(value, bool) or value is None or isinstance(value, list | tuple | dict):
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e")
    return str(value)


def ticks(param: Param) -> tuple[list[float], list[str]]:
    """Return positions in [0, 1] and labels of the ticks of a parameter's axis, in its own scale:
    all choices, few powers or whole numbers, round values of a range."""
    if param.kind == "choices":
        values = list(param.choices)
    elif param.kind == "powers_of_two":
        low, high = (value.bit_length() - 1 for value in param.said.powers_of_two)
        values = [2**n for n in range(low, high + 1, _stride(high - low + 1))]
    elif param.kind == "log":
        values = _log_values(*param.said.log)
    else:
        low, high = getattr(param.said, param.kind)
        step = param.said.step or (1 if param.kind == "integer" else None)
        values = _even_values(low, high, step)
    return [param.unit(value) for value in values], [value_text(value) for value in values]


def _stride(count: int) -> int:
    return math.ceil(count / MOST_TICKS)


def _log_values(low: float, high: float) -> list[float]:
    """Return powers of ten; with 2 and 5 times them, or the ends, where these are too few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1,), NICE):
        every = [float(f"{f}e{n}") for n in range(first, last + 1) for f in factors]
        inside = [value for value in every if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(inside) >= 3:
            return inside[:: _stride(len(inside))]
    return [low, high]


def _even_values(low: float, high: float, step: float | None) -> list[Any]:
    """Return values of a range: some of its steps where it has such, else round ones."""
    if step is not None:
        cells = int((high - low) / step + 1e-9) + 1
        whole = isinstance(low, int)
        values = (low + step * n for n in range(0, cells, _stride(cells)))
        return [int(value) if whole else float(value) for value in values]
    size = 10.0 ** math.floor(math.log10(high - low))
    width = next(w for w in (size * f for f in (0.2, 0.25, 0.5, 1, 2)) if (high - low) / w <= 5)
    first, last = math.ceil(low / width - 1e-9), math.floor(high / width + 1e-9)
    return [n * width for n in range(first, last + 1)]
