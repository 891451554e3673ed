"""`make init COMP=x DATA=folder`: look at an unpacked competition and write its YAML."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import write_text
from pipeline.config.competition import Competition
from pipeline.config.project import Project
from pipeline.config.schema import merged, read_yaml
from pipeline.errors import PodiumError
from pipeline.init.asked import Asked
from pipeline.init.check import Checked, ClassRow, Example, Pictures, checked, read_draft
from pipeline.init.decide import decide
from pipeline.init.draft import Draft
from pipeline.init.look import look
from pipeline.init.text import flow
from pipeline.init.write import yaml_text


@dataclass(frozen=True)
class Init:
    """A competition that was looked at: its YAML's `path`, whether it was `made` now or was there
    already with the same bytes, and what to tell the user. `shown` is the path as a user types it.
    """

    path: Path
    shown: str
    made: bool
    competition: Competition
    title: str
    assumptions: list[str]
    proposals: list[str]
    classes: tuple[ClassRow, ...]
    unlabelled: int
    examples: tuple[Example, ...]
    pictures: tuple[Pictures, ...]
    warnings: list[str]
    next: list[str]


def init(project: Project, comp: str, data: str, overrides: str = "", fresh: bool = False) -> Init:
    """Write `experiments/competitions/COMP.yaml` for the folder `data`.

    `overrides` is a SET text; its keys win over what is seen and steer what is looked for. A YAML
    that is there is kept unless `fresh`; nothing is written where anything is refused.
    """
    path = project.competition(comp)
    if not data.strip():
        raise PodiumError("DATA: no folder is named; make init COMP=name DATA=folder")
    if len(data) > 1:
        data = data.rstrip("/")
    asked = Asked.parsed(comp, data, overrides)
    folder = project.root / Path(data).expanduser()
    draft = _draft(look(folder, data, asked.folders_elsewhere()), asked)
    read = read_draft(project, comp, draft.content)
    seen = checked(project, comp, draft.content, read)
    if any(p.missing or p.broken for p in seen.pictures) and not asked.has("missing_images"):
        draft = _tolerant(draft, seen)
        seen = checked(project, comp, draft.content, read)
    about = _about(seen)
    text = yaml_text(comp, about, draft)
    made = _written(project, path, text, fresh)
    return _told(project, comp, made, about, draft, seen)


def _draft(found: Any, asked: Asked) -> Draft:
    """Return the draft with a title, and with what the user said in place of what was seen."""
    draft = decide(found, asked)
    words = asked.comp.replace("-", " ").replace("_", " ")
    content = {"title": words[:1].upper() + words[1:], **draft.content}
    notes = {key: why for key, why in draft.notes.items() if why and not asked.has(key)}
    return Draft(merged(content, asked.content), notes, draft.proposals, draft.warnings)


def _tolerant(draft: Draft, seen: Checked) -> Draft:
    """Keep rows whose picture is missing or broken, since some are."""
    parts = [
        f"{p.missing:,} of {p.missing + p.found:,} {p.table} pictures are missing"
        for p in seen.pictures
        if p.missing
    ]
    parts += [
        f"{p.broken} of {p.decoded} {p.table} ones are broken" for p in seen.pictures if p.broken
    ]
    why = f"{', '.join(parts)}; or drop, or error"
    content = {**draft.content, "missing_images": "predict-prior"}
    return Draft(content, {**draft.notes, "missing_images": why}, draft.proposals, draft.warnings)


def _about(seen: Checked) -> str:
    data = seen.data
    return (
        f"{seen.competition.title or seen.competition.name}: {len(data.train):,} training and "
        f"{len(data.test):,} test pictures, {len(data.classes):,} classes, {data.competition.task}."
    )


def _written(project: Project, path: Path, text: str, fresh: bool) -> bool:
    """Write the YAML unless it is there: then say so, or refuse to overwrite another one."""
    if path.exists():
        if path.read_bytes() == text.encode():
            return False
        shown = project.shown(path)
        if read_yaml(path, "").get("built_in"):
            raise PodiumError(f"{shown}: is built in; choose another name: COMP=")
        if not fresh:
            raise PodiumError(
                f"{shown}: is there already and says something else; edit it, choose another "
                "COMP=, or let FRESH=1 overwrite it"
            )
    write_text(path, text)
    return True


def _told(project: Project, comp: str, made: bool, about: str, draft: Draft, seen: Checked) -> Init:
    path = project.competition(comp)
    said = merged(seen.competition.model_dump(mode="json"), draft.content)
    assumed = [f"{key}: {_shown(said, key)}   # {why}" for key, why in draft.notes.items()]
    perhaps = [f"{p.dotted}: {flow(p.value)}   # {p.why}" for p in draft.proposals]
    return Init(
        path=path,
        shown=project.shown(path),
        made=made,
        competition=seen.competition,
        title=about,
        assumptions=assumed,
        proposals=perhaps,
        classes=seen.classes,
        unlabelled=seen.unlabelled,
        examples=seen.examples,
        pictures=seen.pictures,
        warnings=[*draft.warnings, *seen.warnings],
        next=[
            f"make audit COMP={comp}",
            f"make folds COMP={comp}",
            f"make train COMP={comp} ARCH=tf_efficientnet_lite0",
        ],
    )


def _shown(content: dict[str, Any], key: str) -> str:
    """Return the value of a dotted key, of a long list its ends."""
    value: Any = content
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, (list, tuple)) and len(value) > 6:
        return f"{len(value)} from {flow(value[0])} to {flow(value[-1])}"
    return flow(value)
