"""What a competition's YAML will say, and why, before it is checked and written."""

from dataclasses import dataclass
from typing import Any

from pipeline.init.proposals import Proposal

ASSUMED_METRIC = "assumed: the competition's page says which"


@dataclass(frozen=True)
class Draft:
    """What a YAML will say: nested `content`; `notes`, the reason by dotted key; what may be meant
    besides; and what the user should know."""

    content: dict[str, Any]
    notes: dict[str, str]
    proposals: tuple[Proposal, ...]
    warnings: tuple[str, ...]
