"""Which exported model is served: that of a run or ensemble, or the newest."""

from pathlib import Path

from pipeline.config.competition import load_competition
from pipeline.config.project import Project
from pipeline.deploy.format import MODEL
from pipeline.errors import PodiumError, nearest

EXPORT = "export"  # the folder of a run or ensemble that an export goes into


def find_export(project: Project, comp: str, source: str) -> Path:
    """Return the exported folder of run or ensemble `source`, the newest one if it is empty."""
    if not project.runs(comp).is_dir():
        load_competition(project, comp)  # a name that is not there is told as such
    found = {path.parent.parent.name: path.parent for path in _exports(project.runs(comp))}
    if source:
        folder = project.run(comp, source) / EXPORT
        if source in found:
            return folder
        if not folder.parent.is_dir():
            hint = nearest(source, found) or f"; exported are: {', '.join(found) or 'none yet'}"
            raise PodiumError(f"FROM: {comp} has no run or ensemble {source!r}{hint}")
        raise PodiumError(
            f"FROM: {source} is not exported; make export COMP={comp} FROM={source} first"
        )
    if not found:
        raise PodiumError(
            f"FROM: nothing of {comp} is exported yet; make export COMP={comp} FROM=run first"
        )
    return max(found.values(), key=lambda folder: (folder / MODEL).stat().st_mtime_ns)


def _exports(runs: Path) -> list[Path]:
    return sorted(runs.glob(f"[!.]*/{EXPORT}/{MODEL}"))
