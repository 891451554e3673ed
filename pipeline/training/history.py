"""`history.csv`: loss, score and speed of every epoch."""

import csv
import io
from pathlib import Path

from pipeline.artifacts.files import write_text


def write_history(path: Path, lines: list[dict[str, float | int | None]]) -> None:
    """Write all epochs so far, one a line; an undefined score is an empty field."""
    if not lines:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({key: _number(value) for key, value in line.items()})
    write_text(path, text.getvalue())


def _number(value: float | int | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"
