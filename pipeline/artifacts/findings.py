"""`audit.json`: what `make audit` found, read again by whoever trains."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.artifacts.files import read_object, write_json
from pipeline.errors import PodiumError

Level = Literal["block", "warn", "note", "fine"]
LEVELS: tuple[Level, ...] = ("block", "warn", "note", "fine")
MAY_BE_ALLOWED = (  # the findings that can keep training from starting, unless they are allowed
    "duplicates-across-folds",
    "leak-name",
    "leak-path",
    "leak-bytes",
    "leak-dimensions",
    "leak-compression",
)
# Training cannot do without these pictures, but for the policies of `missing_images`.
NEVER_ALLOWED = "unreadable-pictures"
MAY_BLOCK = (NEVER_ALLOWED, *MAY_BE_ALLOWED)
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

    @property
    def allowable(self) -> bool:
        """Whether the YAML can allow it, where it blocks."""
        return self.name != NEVER_ALLOWED

    def __post_init__(self) -> None:
        texts = (self.name, self.says, self.why, self.depends)
        if self.level not in LEVELS or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{self.name}: its level or words are none: {self.level}, {self.says}")
        if not all(isinstance(item, dict) for item in self.items) or isinstance(self.table, str):
            raise ValueError(f"{self.name}: its items must be objects, its table lines of text")
        list(map(list, self.table))


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
        except (TypeError, ValueError, AttributeError):
            raise PodiumError(f"{path}: not the findings of an audit; {_REMEDY}") from None
        return cls(*(content[key] for key in keys[:3]), findings, content["facts"])
