"""What `make audit` found, before anything is trained: what it blocks is not trained on."""

from collections.abc import Callable
from typing import Any

from pipeline.artifacts.findings import Audit
from pipeline.competition import CompetitionData
from pipeline.config.competition import Competition
from pipeline.errors import PodiumError
from pipeline.folds import Folds


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
    again = f"make audit COMP={comp} looks again"
    blocking = audit.blocking(data.competition.audit.allow)
    if blocking:
        first, more = blocking[0], [finding.name for finding in blocking[1:]]
        names = ", ".join([first.name, *more])
        yaml = project.shown(project.competition(comp))
        also = f" (and {', '.join(more)})" if more else ""
        since = f"; the {changed} changed since: {again}" if changed else ""
        raise PodiumError(
            f"{project.shown(path)}: {first.name}{also} keeps training from starting: "
            f"{first.says}{since}; mend it and run make audit COMP={comp}, or allow it in {yaml}: "
            f"audit: {{allow: [{names}]}}"
        )
    if changed:
        say(f"audit: stale, the {changed} changed since; {again}")


def audited_settings(competition: Competition) -> dict[str, Any]:
    """Return what the YAML says that decides findings."""
    return {
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
