"""A page from its template: escaped, strict about names, its style and script known by hash."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.page.text import printable, source_hash

_SHARED = Path(__file__).parent  # base.html.j2 and what it includes


def render(template: Path, **context: Any) -> str:
    """Return the page that a template makes, which may extend `base.html.j2` and import
    `macros.html.j2`. The same context makes the same text."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, _SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["source_hash"] = source_hash
    return environment.get_template(template.name).render(**context)
