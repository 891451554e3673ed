"""`audit.json`: what `make audit` found, read again by whoever trains."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.artifacts.files import read_object, write_json
from pipeline.errors import PodiumError

Level = Literal["block", "warn", "note", "fine"]
LEVELS: tuple[Level, ...] = ("block", "warn", "note", "fine")
MAY_BLOCK = (  # the findings that can keep training from starting, and can be allowed
    "unreadable-pictures",
    "duplicates-across-folds",
    "leak-name",
    "leak-path",
    "leak-bytes",
    "leak-dimensions",
    "leak-compression",
)
_REMEDY = "make audit writes it anew"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for. `name` is what `audit.allow` allows it by.

    `level`: `block` keeps training from starting, `warn` and `note` do not, `fine` was looked for
    and not found. `says`: one sentence with its numbers. `why`: what it costs and what to do about
    it. `count`: how many rows or pictures. `depends`: whether it holds for the data, whatever the
    folds, or for these folds. `items`: examples, dicts of text and numbers; `rows` of an item are
    ids of training or test rows whose pictures are shown. `table`: headers, then rows of text.
    """

    name: str
    level: Level
    says: str
    why: str = ""
    count: int = 0
    depends: Literal["data", "folds"] = "data"
    items: Sequence[dict[str, Any]] = field(default_factory=list)
    table: Sequence[Sequence[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.level not in LEVELS or not isinstance(self.says, str):
            raise ValueError(f"{self.name}: not a level and a sentence: {self.level}, {self.says}")


@dataclass(frozen=True)
class Audit:
    """All findings about a competition; the hashes say of which data and folds ('' for none)."""

    competition: str
    data_hash: str
    folds_hash: str
    findings: Sequence[Finding]
    facts: dict[str, Any] = field(default_factory=dict)

    def named(self, name: str) -> Finding | None:
        """Return the finding of that name, if there is one."""
        return next((f for f in self.findings if f.name == name), None)

    def blocking(self, allowed: Sequence[str] = ()) -> list[Finding]:
        """Return the findings that block and are not allowed."""
        return [f for f in self.findings if f.level == "block" and f.name not in allowed]

    def save(self, path: Path) -> None:
        """Write the audit; a finding that blocks and could not be allowed is a bug."""
        for finding in self.blocking():
            if finding.name not in MAY_BLOCK:
                raise ValueError(f"{finding.name} must not block: MAY_BLOCK does not name it")
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> "Audit":
        keys = ("competition", "data_hash", "folds_hash", "findings", "facts")
        content = read_object(path, keys, _REMEDY)
        try:
            findings = [Finding(**one) for one in content["findings"]]
            dict(content["facts"])
        except (TypeError, ValueError):
            raise PodiumError(f"{path}: not the findings of an audit; {_REMEDY}") from None
        return cls(*(content[key] for key in keys[:3]), findings, content["facts"])
