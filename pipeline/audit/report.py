"""What an audit found, ready to be shown in a terminal."""

from pipeline.artifacts.findings import LEVELS
from pipeline.audit.audit import Audited
from pipeline.config.project import Project

Part = str | tuple[list[str], list[list[str]]]  # a sentence, or a table: headers and rows


def report_parts(project: Project, comp: str, audited: Audited) -> list[Part]:
    """Return what was found, worst first, and what to do about it."""
    audit, blocking = audited.audit, audited.blocking
    found = sorted(audit.findings, key=lambda f: LEVELS.index(f.level))
    fine = [finding.name for finding in found if finding.level == "fine"]
    rows = []
    for finding in found:
        if finding.level != "fine":
            allowed = finding.level == "block" and finding.name in audited.allowed
            rows.append(["allowed" if allowed else finding.level, finding.name, finding.says])
    parts: list[Part] = []
    if not audited.made:
        made = audit.facts.get("made", "")
        parts.append(f"nothing has changed since {made}: found then (FRESH=1 looks again)")
    width = max((len(row[1]) for row in rows), default=0)
    parts += [f"{level:<8} {name:<{width}}  {says}" for level, name, says in rows]
    if fine:
        parts.append(f"fine     {', '.join(fine)}")
    parts += [project.shown(audited.page), project.shown(audited.json)]
    for path in audited.lists:
        shown = project.shown(path)
        parts.append(f"{shown}: training rows to leave out, for `exclude` in the YAML")
    yaml = project.shown(project.competition(comp))
    if blocking:
        names = ", ".join(finding.name for finding in blocking)
        allowable = ", ".join(f.name for f in blocking if f.allowable)
        said = f"training does not start before this is mended: {names}"
        if allowable:
            said += f"; where it must be so, say in {yaml}: audit: {{allow: [{allowable}]}}"
        parts.append(said)
    else:
        parts.append(f"next: read the page, then make folds COMP={comp}")
    return parts
