"""What `make preview` prints: sentences, and tables as (headers, rows)."""

from pipeline.preview.preview import Preview
from pipeline.preview.sheet import clean

Headers, Rows = list[str], list[list[str]]
MOST = 8  # skipped pictures that are named


def report_parts(made: Preview) -> list[tuple[Headers, Rows] | str]:
    """Return the report from top to bottom, the paths of the sheets and the next command last."""
    low, high = made.numbers.low, made.numbers.high
    parts: list[tuple[Headers, Rows] | str] = [
        f"{made.title}: {made.name}, fold {made.fold}",
        f"input: {made.fed}; crop: {clean(made.cropped)}",
        _channels(made),
        f"range after normalisation: {low:.3g} to {high:.3g}",
        _sheets(made),
        *map(clean, made.notes),
    ]
    if made.skipped:
        named = [f"  {one}" for one in made.skipped[:MOST]]
        more = len(made.skipped) - len(named)
        named += [f"  ... {more:,} more"] if more else []
        parts.append("\n".join(["skipped, missing or broken:", *named]))
    parts += [f"warning: {clean(warning)}" for warning in made.warnings]
    parts.append("\n".join(["written:", *(f"  {sheet.shown}" for sheet in made.sheets)]))
    return [*parts, f"next: {made.next}"]


def _channels(made: Preview) -> tuple[Headers, Rows]:
    """Return mean and std of the training pictures on the sheet, beside those that are used."""
    found = made.numbers
    headers = ["channel", "mean of pixels", "std", "mean used", "std used", "mean fed", "std fed"]
    columns = [values for pair in (found.pixels, found.used, found.fed) for values in pair]
    rows = [
        [name, *(f"{values[k]:.3f}" for values in columns)]
        for k, name in enumerate(("red", "green", "blue"))
    ]
    return headers, rows


def _sheets(made: Preview) -> tuple[Headers, Rows]:
    rows = [
        [
            sheet.part,
            f"{len(sheet.ids):,}",
            f"{sheet.pool:,}",
            "-" if sheet.part == "test" else f"{sheet.classes} of {made.n_classes}",
        ]
        for sheet in made.sheets
    ]
    return ["sheet", "pictures", "of", "classes"], rows
