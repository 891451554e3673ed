"""What `make audit` found, before anything is trained: what it blocks is not trained on."""

from collections.abc import Callable
from typing import Any

from pipeline.artifacts.findings import Audit
from pipeline.competition import CompetitionData
from pipeline.config.competition import Competition
from pipeline.errors import PodiumError
from pipeline.folds import Folds

VERSION = 1  # raise it when an audit finds something else in the same data


def check_audit(data: CompetitionData, folds: Folds, say: Callable[[str], None]) -> None:
    """Refuse what a finding blocks that the YAML does not allow; say where there is no audit, or
    one of other data or folds."""
    project, comp = data.project, data.competition.name
    path = project.audit(comp)
    if not path.exists():
        say(f"audit: none yet; make audit COMP={comp} looks for leaks, duplicates and bad pictures")
        return
    audit = Audit.load(path)
    changed = _changed(audit, data, folds)
    blocking = audit.blocking(data.competition.audit.allow)
    if not blocking:
        if changed:
            say(f"audit: stale, the {changed} changed since; make audit COMP={comp} looks again")
        return
    names = ", ".join(finding.name for finding in blocking)
    allowable = ", ".join(f.name for f in blocking if f.allowable)
    if changed:
        raise PodiumError(
            f"{project.shown(path)}: {names} kept training from starting; the {changed} changed "
            f"since, so make audit COMP={comp} must look again"
        )
    raise PodiumError(
        f"{project.shown(path)}: {names}: {blocking[0].says}; mend the data and run make audit "
        f"COMP={comp} again"
        + (f", or allow it in {data.yaml}: audit: {{allow: [{allowable}]}}" if allowable else "")
    )


def audited_settings(competition: Competition) -> dict[str, Any]:
    """Return what decides findings beside the data: the YAML, and this code."""
    return {
        "version": VERSION,
        "crop": competition.crop.model_dump(mode="json"),
        "distance": competition.duplicates.distance,
        "max_megapixels": competition.max_megapixels,
        "missing_images": competition.missing_images,
    }


def _changed(audit: Audit, data: CompetitionData, folds: Folds) -> str:
    """Say what is not as it was audited, '' where all is."""
    if audit.data_hash != data.hash:
        return "data"
    if audit.folds_hash != folds.hash:
        return "folds"
    settings = audited_settings(data.competition)
    return "settings" if any(audit.facts.get(k) != v for k, v in settings.items()) else ""
