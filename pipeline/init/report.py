"""What `make init` prints: tables as headers and rows, and sentences."""

from pipeline.init.init import Init

Headers, Rows = list[str], list[list[str]]
MOST = 24  # classes shown; of more, the commonest and the rarest half
WIDEST = 60  # characters of a cell


def report_parts(made: Init) -> list[tuple[Headers, Rows] | str]:
    """Return the report from top to bottom: sentences, and tables as (headers, rows)."""
    parts: list[tuple[Headers, Rows] | str] = [made.title]
    parts += _listed("assumed (SET='key=value' FRESH=1 says otherwise):", made.assumptions)
    parts += _listed("perhaps (left as a comment in the YAML):", made.proposals)
    parts += [_classes(made), *_without(made), _examples(made), _pictures(made)]
    parts += [f"warning: {warning}" for warning in made.warnings]
    state = "written" if made.made else "there already, unchanged"
    parts.append(f"{made.shown}: {state}")
    parts.append("\n".join(f"next: {command}" for command in made.next))
    return parts


def _listed(title: str, sentences: list[str]) -> list[str]:
    return ["\n".join([title, *(f"  {sentence}" for sentence in sentences)])] if sentences else []


def _classes(made: Init) -> tuple[Headers, Rows]:
    """Return the classes, the commonest first; of many the commonest and the rarest."""
    ordered = sorted(made.classes, key=lambda row: -row.rows)
    rows = [[_cut(row.name), f"{row.rows:,}", f"{row.share:.1%}"] for row in ordered]
    if len(rows) > MOST:
        left = len(rows) - MOST
        rows = [*rows[: MOST // 2], [f"... {left:,} more", "", ""], *rows[-MOST // 2 :]]
    return ["class", "rows", "share"], rows


def _without(made: Init) -> list[str]:
    if not made.unlabelled:
        return []
    return [f"{made.unlabelled:,} training rows have no label"]


def _examples(made: Init) -> tuple[Headers, Rows]:
    rows = [[_cut(e.id), _end(e.image), _cut(e.labels)] for e in made.examples]
    return ["id", "picture", "labels"], rows


def _pictures(made: Init) -> tuple[Headers, Rows]:
    rows = [
        [p.table, f"{p.found:,}", f"{p.missing:,}", f"{p.broken} of {p.decoded} tried"]
        for p in made.pictures
        if p.found + p.missing
    ]
    return ["pictures", "found", "missing", "broken"], rows


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."


def _end(path: str) -> str:
    return path if len(path) <= WIDEST else f"...{path[-WIDEST + 3 :]}"
