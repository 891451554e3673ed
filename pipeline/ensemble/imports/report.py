"""What `make import` says."""

from pipeline.competition import CompetitionData
from pipeline.decisions import default_rule
from pipeline.ensemble.imports.run import Imported


def report(data: CompetitionData, made: Imported) -> str:
    """Say what was imported, how it scores, and what to do next."""
    record, comp = made.record, data.competition.name
    done = "imported" if made.made else "there already, unchanged"
    score = "not defined" if record["oof_score"] is None else f"{record['oof_score']:.4f}"
    rows = ", ".join(f"{count:,} rows {part}" for part, count in record["rows"].items())
    rule = default_rule(data.metric).describe()
    lines = [
        f"{data.project.shown(made.folder)}: {done}{f' {made.said}' if made.said else ''}",
        f"{rows}; {len(data.classes)} classes",
        f"out-of-fold {data.metric.name} {score} ({rule})",
    ]
    if record["dropped"]:
        lines.append(f"{record['dropped']:,} rows dropped: no fold validates them")
    lines += [f"warning: {warning}" for warning in record["warnings"]]
    return "\n".join([*lines, f"next: {_next(comp, made)}"])


def _next(comp: str, made: Imported) -> str:
    """Say how it gets into an ensemble: at once, or with proof of its folds, or without."""
    if made.record["folds_hash"] is not None:
        return f"make ensemble COMP={comp}"
    if made.record.get("proven_folds") == "other":
        return f"make ensemble COMP={comp} MIXED_FOLDS=1"
    return (
        "prove its folds: make import again with DATA=...,folds.csv (id,fold) and FRESH=1; "
        f"or make ensemble COMP={comp} MIXED_FOLDS=1"
    )
