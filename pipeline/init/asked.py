"""What the user already said with SET, and how to ask for what is still open."""

import posixpath
import shlex
from dataclasses import dataclass
from typing import Any

import yaml

from pipeline.config.competition import Columns, Folders, Tables, parse_competition
from pipeline.config.schema import parse, parse_overrides
from pipeline.init.text import flow

LABELLED = ("task", "columns", "tables", "folders", "classes")  # which hang together


@dataclass(frozen=True)
class Asked:
    """The command line of `make init`; keys of `content`, the parsed SET, win over what is seen."""

    comp: str
    data: str
    text: str
    content: dict[str, Any]

    @classmethod
    def parsed(cls, comp: str, data: str, text: str) -> "Asked":
        """Read a SET text; a key or a value that no YAML could have is refused at once."""
        content = parse_overrides(text, "metric=f1_macro")
        for key, model in (("columns", Columns), ("tables", Tables), ("folders", Folders)):
            if key in content and not (key == "folders" and content[key] is None):
                parse(model, content[key], f"SET, {key}")
        rest = {key: value for key, value in content.items() if key not in LABELLED}
        column = {"columns": {"label": "label"}}
        whole = {"metric": "", "data": data, **rest, "task": "multiclass", **column}
        parse_competition(comp, whole, "SET")
        return cls(comp, data, text, content)

    def has(self, key: str) -> bool:
        """Whether SET names the dotted key, be it with null."""
        return self._find(key)[0]

    def get(self, key: str, default: Any = None) -> Any:
        """Return what SET says of the dotted key."""
        found, value = self._find(key)
        return value if found else default

    def _find(self, key: str) -> tuple[bool, Any]:
        place: Any = self.content
        for part in key.split("."):
            if not isinstance(place, dict) or part not in place:
                return False, None
            place = place[part]
        return True, place

    def folders_elsewhere(self) -> list[str]:
        """Return the picture folders that SET names and that do not lie in the data folder."""
        told = self.get("images")
        named = list(told.values()) if isinstance(told, dict) else [told]
        texts = [posixpath.normpath(name) for name in named if isinstance(name, str)]
        return [name for name in texts if name.startswith(("/", ".."))]

    def command(self, key: str, value: Any) -> str:
        """Return the command that says `key` too, as a shell and then make read it."""
        said = f"{key}={_value(value)}"
        quoted = shlex.quote(f"{self.text} {said}".strip())
        quoted = quoted if quoted.startswith("'") else f"'{quoted}'"
        text = f"make init COMP={self.comp} DATA={shlex.quote(self.data)} SET={quoted}"
        return text.replace("$", "$$")


def _value(value: Any) -> str:
    """Return a value as SET takes it: YAML without a space."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_value, value))}]"
    text = flow(value)
    if not any(mark.isspace() for mark in text):
        return text
    quoted = yaml.safe_dump(value, default_style='"', width=10**9, allow_unicode=True).strip()
    return "".join(f"\\u{ord(mark):04x}" if mark.isspace() else mark for mark in quoted)
