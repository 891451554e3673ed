"""`make audit`: look for what is wrong with the data; write the findings and their page."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import write_text
from pipeline.artifacts.findings import Audit, Finding
from pipeline.artifacts.locks import lock
from pipeline.audit.classes import class_findings
from pipeline.audit.duplicates import duplicate_findings, spare_rows
from pipeline.audit.groups import group_findings
from pipeline.audit.leaks import leak_findings
from pipeline.audit.likeness import likeness_findings
from pipeline.audit.page import write_page
from pipeline.audit.pictures import picture_findings
from pipeline.competition import CompetitionData, load_data
from pipeline.competition.sources import Reader
from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.folds import Folds, draft_shared
from pipeline.folds.plan import TRAIN_ONLY
from pipeline.images.duplicates import competition_looks
from pipeline.training.gate import audited_settings

Say = Callable[[str], None]


@dataclass(frozen=True)
class Audited:
    """What an audit found, whether it was made now, and which of its findings keep training from
    starting; `lists` are files of training rows that `exclude` may leave out."""

    audit: Audit
    made: bool
    allowed: tuple[str, ...]
    json: Path
    page: Path
    lists: tuple[Path, ...]

    @property
    def blocking(self) -> list[Finding]:
        return self.audit.blocking(self.allowed)


def audit(project: Project, comp: str, say: Say, *, fresh: bool = False) -> Audited:
    """Audit a competition, or show again what was found in the same data and folds before."""
    data = load_data(project, comp)
    folds, unmade = _folds(data)
    json = project.audit(comp)
    with lock(json.parent / ".locks" / "audit.lock", f"the audit of {comp}", wait=0):
        looks = competition_looks(data)
        facts = facts_of(data, looks)
        found = None if fresh else _found_before(json, data, folds, facts)
        made = found is None
        if found is None:
            findings = [*unmade, *_findings(data, folds, looks, say)]
            found = Audit(comp, data.hash, folds.hash, findings, facts | {"made": _now()})
        lists = _write_lists(json.parent, data, looks)
        page = json.with_suffix(".html")
        write_page(page, found, data, data.competition.audit.allow)
        found.save(json)  # last: what is there is complete
    return Audited(found, made, data.competition.audit.allow, json, page, lists)


def _folds(data: CompetitionData) -> tuple[Folds, list[Finding]]:
    """Return the folds that are there or would be made; where that cannot be, folds that validate
    nothing, and the finding that says why: what is wrong with the data may be the reason."""
    try:
        return draft_shared(data), []
    except PodiumError as error:
        none = np.full(len(data.train), TRAIN_ONLY)
        why = "Leaks, and whatever depends on folds, are not looked for before they can be made."
        found = Finding("no-folds", "warn", f"no folds: {error}", why, depends="folds")
        return Folds(data.train.ids, none, None, "", {}), [found]


def facts_of(data: CompetitionData, looks: np.ndarray) -> dict[str, Any]:
    """Return what else decides the findings: settings, the files themselves, this code."""
    return {
        **audited_settings(data.competition),
        "pictures": hashlib.sha256(looks.view(np.uint8)).hexdigest()[:16],
        "rows": [len(data.train), len(data.test)],
    }


def _findings(data: CompetitionData, folds: Folds, looks: np.ndarray, say: Say) -> list[Finding]:
    return [
        *picture_findings(data, looks),
        *duplicate_findings(data, folds, looks),
        *group_findings(data),
        *class_findings(data, folds if folds.numbers else None),
        *leak_findings(data, folds, looks, say),
        *likeness_findings(data, looks, data.project.cache, say, folds.group),
    ]


def _found_before(
    path: Path, data: CompetitionData, folds: Folds, facts: dict[str, Any]
) -> Audit | None:
    """Return the audit that is there, if nothing that decides it has changed."""
    try:
        found = Audit.load(path)
    except PodiumError:  # not there, or broken: made anew
        return None
    same = found.data_hash == data.hash and found.folds_hash == folds.hash
    known = {key: found.facts.get(key) for key in facts}
    return found if same and known == facts else None


def _list_paths(folder: Path) -> tuple[Path, Path]:
    return folder / "duplicates-exact.txt", folder / "duplicates-near.txt"


def _write_lists(folder: Path, data: CompetitionData, looks: np.ndarray) -> tuple[Path, ...]:
    """Write which training rows `exclude` may leave out, and return the lists that have any; an
    empty one is removed."""
    paths, distance = _list_paths(folder), data.competition.duplicates.distance
    if Reader(data.project, data.competition).exclude_path() in paths:
        return ()  # the rows that it leaves out are not seen here, and must stay out
    for path, bits in zip(paths, (None, distance), strict=True):
        looked = path == paths[0] or distance is not None
        ids = spare_rows(data, looks, bits) if looked else []
        if ids:
            write_text(path, "".join(f"{name}\n" for name in ids))
        else:
            path.unlink(missing_ok=True)
    return tuple(path for path in paths if path.exists())


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="minutes")
