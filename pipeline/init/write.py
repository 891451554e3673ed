"""The text of a competition's YAML: commented, and read back as exactly what was meant."""

import textwrap
from collections.abc import Sequence
from typing import Any

import yaml

from pipeline.init.draft import Draft
from pipeline.init.text import flow, plain

WIDTH = 98  # columns
KEYS = (
    "title task metric data tables folders columns images extension nested missing_images "
    "exclude external classes crop recipe"
)
ORDER = KEYS.split()
CROP = "# crop: {kind: sides, top: 0.1, bottom: 0, left: 0, right: 0}   # a border to cut off"


def yaml_text(comp: str, about: str, draft: Draft) -> str:
    """Return the YAML of `draft`; `about` says in a few words what the competition is."""
    content = draft.content
    lines = [
        f"# {_comment(about)}",
        "# Made by `make init`, yours to edit; docs/competition.md lists the keys.",
        f"#   make folds COMP={comp} && make train COMP={comp} ARCH=tf_efficientnet_lite0",
    ]
    known = [key for key in ORDER if key in content]
    for key in [*known, *(key for key in content if key not in ORDER)]:
        if key == "tables" and isinstance(content[key], dict):
            lines += _tables(content[key], draft.notes)
        elif key == "columns" and isinstance(content[key], dict):
            lines += _section(key, content[key], draft)
        else:
            lines += _line(key, content[key], draft.notes.get(key, ""))
    for proposal in draft.proposals:
        if not proposal.section:
            lines.append(f"# {proposal.key}: {flow(proposal.value)}   # {_comment(proposal.why)}")
    if "crop" not in content:
        lines.append(CROP)
    text = "\n".join(lines) + "\n"
    if yaml.safe_load(text) != plain(content):
        raise AssertionError(f"the YAML does not read back as what it should say:\n{text}")
    return text


def _comment(text: str) -> str:
    """Return a text that can stand in a comment, whatever a column was called."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _line(key: str, value: Any, why: str, indent: str = "") -> list[str]:
    """Return a key and its value; a long list is broken, a reason stands behind or above."""
    text = f"{indent}{key}: {flow(value)}"
    lines = [text]
    if isinstance(value, (list, tuple)) and len(text) > WIDTH:
        lines = _broken(f"{indent}{key}: [", [flow(item) for item in value], indent + "    ")
    if not why:
        return lines
    if len(lines) == 1 and len(text) + len(why) + 5 <= WIDTH:
        return [f"{text}   # {_comment(why)}"]
    return [*_comments(why, indent), *lines]


def _comments(text: str, indent: str = "") -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(
        _comment(text), WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False
    )


def _broken(start: str, items: Sequence[str], indent: str) -> list[str]:
    lines, line = [], start
    for place, item in enumerate(items):
        piece = item + ("]" if place == len(items) - 1 else ",")
        if len(line) + len(piece) + 1 > WIDTH and line.strip():
            lines.append(line.rstrip())
            line = indent
        line += piece + " "
    return [*lines, line.rstrip()]


def _tables(tables: dict[str, Any], notes: dict[str, str]) -> list[str]:
    """Return the section of tables with its reasons above it."""
    reasons = [(key, notes.get(f"tables.{key}")) for key in tables]
    comments = [line for key, why in reasons if why for line in _comments(f"{key}: {why}")]
    text = f"tables: {flow(tables)}"
    if len(text) > WIDTH:
        return [*comments, "tables:", *(f"  {key}: {flow(value)}" for key, value in tables.items())]
    return [*comments, text]


def _section(key: str, section: dict[str, Any], draft: Draft) -> list[str]:
    lines = [f"{key}:"]
    for name, value in section.items():
        lines += _line(name, value, draft.notes.get(f"{key}.{name}", ""), "  ")
    for proposal in draft.proposals:
        if proposal.section == key:
            said = f"  # {proposal.key}: {flow(proposal.value)}"
            lines.append(f"{said}   # {_comment(proposal.why)}")
    return lines
