"""Times in words: budgets that are read, durations that are said."""

import re

from pipeline.errors import PodiumError

UNITS = {"h": 3600, "m": 60, "s": 1}


def parse_budget(text: str) -> float:
    """Return the seconds that '2h', '1h30m', '90 m' or '45s' mean."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([hms])", text.lower())
    whole = re.sub(r"\s", "", text.lower())
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != whole or not seconds > 0:
        raise PodiumError(f"BUDGET: {text!r} is not a time; write 2h, 90m or 1h30m")
    return seconds


def duration(seconds: float) -> str:
    """Return seconds in words: '1 h 05 min', '12 min', '40 s'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def few(seconds: float) -> str:
    """Return seconds with a decimal where there are fewer than ten."""
    return f"{seconds:.1f}" if seconds < 9.95 else f"{seconds:,.0f}"
