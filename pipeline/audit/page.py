"""`audit.html`: the findings of an audit with their pictures, as one file that needs no other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipeline.artifacts.files import write_text
from pipeline.artifacts.findings import Audit, Finding
from pipeline.competition import CompetitionData
from pipeline.page.cards import TOGETHER, Card, card
from pipeline.page.document import render as render_template
from pipeline.page.shelf import Shelf
from pipeline.page.tables import LINES, Table, table_of
from pipeline.page.thumbnails import Album

__all__ = ["FIRST", "LINES", "TOGETHER", "Section", "render", "write_page"]

TEMPLATE = Path(__file__).with_name("audit.html.j2")
FIRST, MOST = 6, 48  # items of a finding: that go before all items of others, that are shown
# A section's kind is its finding's level or `allowed`; in their order, with the word for each.
_WORDS = {"block": "blocks", "allowed": "allowed", "warn": "warns", "note": "note", "fine": "fine"}


@dataclass(frozen=True)
class Section:
    """A finding as it is shown."""

    number: int
    finding: Finding
    kind: str
    cards: tuple[Card, ...]
    table: Table

    @property
    def more_items(self) -> int:
        return len(self.finding.items) - len(self.cards)


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
    return render_template(
        TEMPLATE,
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


def _sections(audit: Audit, shelf: Shelf, album: Album, allowed: Sequence[str]) -> list[Section]:
    """Return the findings in order of level, allowed ones after those that block."""

    def kind(finding: Finding) -> str:
        return "allowed" if finding.level == "block" and finding.name in allowed else finding.level

    order = list(_WORDS)
    findings = sorted(audit.findings, key=lambda finding: order.index(kind(finding)))
    cards = _cards(findings, shelf, album)
    return [
        Section(number, finding, kind(finding), tuple(shown), table_of(finding.table))
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
                one = card(item, shelf, album)
                if one is None:
                    break
                shown.append(one)
    return cards
