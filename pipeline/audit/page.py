"""`audit.html`: the findings of an audit with their pictures, as one file that needs no other."""

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from pipeline.artifacts.files import write_text
from pipeline.artifacts.findings import Audit, Finding
from pipeline.audit.thumbnails import Album, Shelf, Thumbnail
from pipeline.competition import CompetitionData

TEMPLATE = "audit.html.j2"  # beside this module
FIRST, MOST = 6, 48  # items of a finding: that go before all items of others, that are shown
TOGETHER = 6  # pictures of one item
LINES = 200  # of a table
# A section's kind is its finding's level or `allowed`; in their order, with the word for each.
_WORDS = {"block": "blocks", "allowed": "allowed", "warn": "warns", "note": "note", "fine": "fine"}
_LABELS, _PLACES = ("labels", "label"), ("places", "place", "tables", "table")  # keys of an item
_OWN = ("rows", "title", *_LABELS, *_PLACES)  # those that have a place of their own
_NUMBER = re.compile(r"\s*([-+−]?[\d,]*\.?\d+(?:[eE][-+]?\d+)?)\s*%?(?:\s*±.*)?\s*")
# Characters that HTML forbids, and those that turn the direction of all text after them.
_HARMFUL = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)
_NOTHING = ("", "-", "–", "—")  # cells without a value


@dataclass(frozen=True)
class Cell:
    """A cell of a table; `value` is what a column of numbers is sorted by, '' of an empty cell."""

    text: str
    value: str = ""


@dataclass(frozen=True)
class Picture:
    """A row with its picture; `number` is its place in the album, None of one without pixels."""

    id: str
    label: str
    table: str
    thumbnail: Thumbnail
    number: int | None


@dataclass(frozen=True)
class Card:
    """An item as it is shown: a title, facts such as a distance, pictures; `more` are left out."""

    title: str
    facts: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]
    more: int


@dataclass(frozen=True)
class Section:
    """A finding as it is shown; `numeric`: which of its columns are of numbers."""

    number: int
    finding: Finding
    kind: str
    cards: tuple[Card, ...]
    headers: tuple[str, ...]
    numeric: tuple[bool, ...]
    lines: tuple[tuple[Cell, ...], ...]

    @property
    def more_items(self) -> int:
        return len(self.finding.items) - len(self.cards)

    @property
    def more_lines(self) -> int:
        return max(0, len(self.finding.table) - 1 - len(self.lines))


def write_page(path: Path, audit: Audit, data: CompetitionData, allowed: Sequence[str]) -> None:
    """Write the page of an audit; `allowed` are the names of blocking findings that training goes
    on with. The same findings and pictures make the same bytes."""
    write_text(path, render(audit, data, allowed))


def render(audit: Audit, data: CompetitionData, allowed: Sequence[str]) -> str:
    """Return the page as HTML."""
    album = Album()
    sections = _sections(audit, Shelf(data), album, allowed)
    by_kind = {kind: [one for one in sections if one.kind == kind] for kind in _WORDS}
    competition = data.competition
    return _template().render(
        audit=audit,
        data=data,
        title=competition.title or competition.name,
        yaml_path=data.yaml,
        permission=_permission([*allowed, *_allowable(by_kind["block"])]),
        allowable=_allowable(by_kind["block"]),
        sections=sections,
        by_kind=by_kind,
        words=_WORDS,
        album=album,
    )


def _allowable(sections: Sequence[Section]) -> list[str]:
    """Return the names of the findings that the YAML can allow."""
    return [section.finding.name for section in sections if section.finding.allowable]


def _permission(names: Sequence[str]) -> str:
    """Return the lines of a YAML that allow findings."""
    content = {"audit": {"allow": list(dict.fromkeys(names))}}
    return yaml.safe_dump(content, default_flow_style=None, width=math.inf).strip()


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["source_hash"] = _source_hash
    return environment.get_template(TEMPLATE)


def _printable(value: Any) -> Any:
    """Make text of whatever bytes something that can be written and shown; whole numbers get
    commas."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _HARMFUL.sub("\ufffd", value.encode("utf-8", "backslashreplace").decode("utf-8"))


def _source_hash(text: str) -> str:
    """Return what a Content-Security-Policy knows an inline style or script by."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _sections(audit: Audit, shelf: Shelf, album: Album, allowed: Sequence[str]) -> list[Section]:
    """Return the findings in order of level, allowed ones after those that block."""

    def kind(finding: Finding) -> str:
        return "allowed" if finding.level == "block" and finding.name in allowed else finding.level

    order = list(_WORDS)
    findings = sorted(audit.findings, key=lambda finding: order.index(kind(finding)))
    cards = _cards(findings, shelf, album)
    return [
        Section(number, finding, kind(finding), tuple(shown), *_table(finding.table))
        for number, (finding, shown) in enumerate(zip(findings, cards, strict=True), 1)
    ]


def _cards(findings: Sequence[Finding], shelf: Shelf, album: Album) -> list[list[Card]]:
    """Return the items that are shown of each finding: the first few of all of them, then more of
    the most severe, until the album is full."""
    cards: list[list[Card]] = [[] for _ in findings]
    for stop in (FIRST, MOST):
        for finding, shown in zip(findings, cards, strict=True):
            if finding.level == "fine":
                continue
            for item in finding.items[len(shown) : stop]:
                card = _card(item, shelf, album)
                if card is None:
                    break
                shown.append(card)
    return cards


def _card(item: dict[str, Any], shelf: Shelf, album: Album) -> Card | None:
    """Return an item as it is shown, None where there is no room for its pictures."""
    given = item.get("rows") or ()
    ids = [str(name) for name in ([given] if isinstance(given, str | int) else given)]
    known = [shelf.find(name) for name in ids[:TOGETHER]]
    taken = album.take([row.path for row in known if row.path is not None])
    if taken is None:
        return None
    thumbnails = iter(taken)
    pictures = []
    for place, row in enumerate(known):
        thumbnail = Thumbnail(reason=row.reason) if row.path is None else next(thumbnails)
        label = _of_row(item, _LABELS, place, row.label)
        table = _of_row(item, _PLACES, place, row.table)
        number = album.number(thumbnail) if thumbnail.uri else None
        pictures.append(Picture(row.id, label, table, thumbnail, number))
    facts = ((key, _text(value)) for key, value in item.items() if key not in _OWN)
    shown = tuple((key, text) for key, text in facts if text)
    return Card(_text(item.get("title")), shown, tuple(pictures), len(ids) - len(known))


def _of_row(item: dict[str, Any], keys: Iterable[str], place: int, otherwise: str) -> str:
    """Return what an item says of one of its rows: a list has one value for each, anything else
    holds for all."""
    for key in keys:
        value = item.get(key)
        if isinstance(value, list | tuple):
            value = value[place] if place < len(value) else None
        if value is not None:
            return _text(value)
    return otherwise


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _table(
    table: Sequence[Sequence[str]],
) -> tuple[tuple[str, ...], tuple[bool, ...], tuple[tuple[Cell, ...], ...]]:
    """Return headers, which columns are of numbers, and lines as long as the headers."""
    if not table:
        return (), (), ()
    headers = tuple(map(_text, table[0]))
    lines = [[*map(_text, line), *[""] * len(headers)][: len(headers)] for line in table[1:]]
    columns = list(zip(*lines, strict=True)) or [()] * len(headers)
    numeric = tuple(_is_numeric(column) for column in columns)
    cells = (
        tuple(
            Cell(text, _value(text) if number else "")
            for text, number in zip(line, numeric, strict=True)
        )
        for line in lines[:LINES]
    )
    return headers, numeric, tuple(cells)


def _is_numeric(column: Sequence[str]) -> bool:
    texts = [text for text in column if text.strip() not in _NOTHING]
    return bool(texts) and all(map(_NUMBER.fullmatch, texts))


def _value(text: str) -> str:
    found = _NUMBER.fullmatch(text)
    return found[1].replace(",", "").replace("−", "-") if found else ""
