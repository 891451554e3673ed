"""Text in columns, as tables on the terminal are."""

from collections.abc import Mapping, Sequence

WIDEST = 48  # characters of a cell; the end of a name tells as much as its beginning
CUT, TO = "...", " -> "
MOST = 3  # names that one line of reasons holds


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], widest: int | None = WIDEST
) -> str:
    """Align text in columns: the first to the left, the others to the right. Longer cells than
    `widest` are cut in the middle; None leaves all of them whole, as headers always are."""
    lines = [list(headers), *([shortened(cell, widest) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headers))]
    rule = ["-" * width for width in widths]
    shown = [lines[0], rule, *lines[1:]]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in shown
    )


def shortened(text: str, widest: int | None = WIDEST) -> str:
    """Cut text in the middle, of `a -> b` both sides; None leaves it whole."""
    if widest is None or len(text) <= widest:
        return text
    if text.count(TO) == 1:
        return TO.join(shortened(side, (widest - len(TO)) // 2) for side in text.split(TO))
    kept = widest - len(CUT)
    return text[: kept - kept // 2] + CUT + text[len(text) - kept // 2 :]


def left_out(reasons: Mapping[str, str]) -> list[str]:
    """Return 'names: reason' for things that are left out, those of one reason together, so that a
    study's forty trials are one line."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    found = []
    for reason, names in by_reason.items():
        if len(names) > MOST:
            names = [*names[: MOST - 1], f"{len(names) - MOST + 1} more"]
        found.append(f"{', '.join(names)}: {reason}")
    return found
