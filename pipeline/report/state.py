"""Where a competition stands, what is wrong, and which steps were taken: told by its scene."""

import re
from collections import Counter
from itertools import chain, count

from pipeline.compare.verdict import judge
from pipeline.ensemble.members import list_runs
from pipeline.report.commands import command
from pipeline.report.gather import Scene
from pipeline.report.problems import (
    Problem,
    audit_problems,
    broken_problems,
    certainty_problems,
    class_problems,
    gap_problems,
    member_problems,
    ranked,
    rate_problems,
    training_problems,
    unreadable_problems,
)
from pipeline.report.sections.shared import SHOWN, leaves
from pipeline.report.sentences import (
    AUDITED,
    CLASSES,
    COMPARED,
    LOOKED_AT,
    SURENESS,
    Done,
    Gain,
    Where,
)
from pipeline.submission.standings import Standing

ARCHS = ("densenet121", "convnext_tiny", "resnet50")  # to try next, the first that no run has


def problems_of(scene: Scene) -> tuple[Problem, ...]:
    """Return what is wrong, worst first."""
    comp, best = scene.comp, scene.best
    found = unreadable_problems(scene.unreadable, comp)
    if not scene.unreadable:
        found += broken_problems(scene.broken, comp)
    found += audit_problems(scene.audit, scene.data.competition.audit.allow, comp)
    within = leaves(best.name, scene.records) if best is not None else []
    found += training_problems(scene.records, within, comp)
    if scene.board is not None:
        found += gap_problems(scene.board.analysis, comp)
    if best is None:
        return ranked(found)
    arch = next((a for n in within if (a := scene.records.get(n, {}).get("arch"))), ARCHS[0])
    table = best.diagnostics["per_class"]
    known = {*scene.records, *list_runs(scene.data)}
    found += member_problems(best.name, best.decided.record, known, scene.records, comp)
    if best.data.metric.needs == "labels":
        found += class_problems(best.name, arch, best.data.classes, table, comp)
    found += certainty_problems(best.name, best.diagnostics["reliability"], comp)
    return ranked(found + rate_problems(best.name, best.decided.record["rates"], comp))


def where_of(scene: Scene) -> Where:
    """Return what is known of the best."""
    metric = scene.data.metric
    if not scene.standings:
        return Where(metric.name, None, unreadable=bool(scene.unreadable), left=_left(scene))
    top, single = scene.standings[0], _best_run(scene)
    floor = None
    if scene.majority is not None and None not in (top.honest, scene.majority.honest):
        beyond = metric.sign * (float(top.honest or 0) - float(scene.majority.honest or 0))
        floor = Gain(scene.majority.name, beyond)
    public, private = (top.entry.value(k) if top.entry else None for k in ("public", "private"))
    scores = metric.name, top.name, top.honest, top.honest_se
    gain = _gain(scene, single)
    return Where(*scores, gain, floor, public, private, top.place, looked_at=_looked_at(scene))


def _left(scene: Scene) -> str:
    """Return the runs that do not count for the commonest reason, and it; '' if there are none."""
    if not scene.left_out:
        return ""
    reason = Counter(scene.left_out.values()).most_common(1)[0][0]
    names = [name for name, why in scene.left_out.items() if why == reason]
    shown = ", ".join(f"`{name}`" for name in names[:SHOWN])
    more = len(scene.left_out) - len(names[:SHOWN])
    return f"{shown}: {reason}" + (f"; and {more} more" if more else "")


def _looked_at(scene: Scene) -> tuple[str, ...]:
    """Return what of the usual troubles was looked for."""
    compared = scene.board is not None and scene.board.analysis is not None
    there = {
        AUDITED: scene.audit is not None,
        CLASSES: scene.data.metric.needs == "labels",
        SURENESS: True,
        COMPARED: compared and scene.board.analysis.size.known,
    }
    return tuple(name for name in LOOKED_AT if there[name])


def _best_run(scene: Scene) -> Standing | None:
    """Return the best single run, None where it is the best of all."""
    single = [one for one in scene.standings if one.blend == "-" and one.honest is not None]
    return single[0] if single and single[0] is not scene.standings[0] else None


def _gain(scene: Scene, single: Standing | None) -> Gain | None:
    """Return by how much the best is better than the best single run, tested on the same rows."""
    best = scene.best
    if single is None or best is None or scene.folds is None or best.standing.honest is None:
        return None
    other = scene.subject(single.name)
    if other is None:
        gain = scene.data.metric.sign * (best.standing.honest - float(single.honest or 0))
        return Gain(single.name, gain)
    groups = best.ids if scene.folds.group is None else scene.folds.group[best.rows]
    seed = int(scene.folds.hash[:8], 16)
    verdict = judge(scene.data.metric, best.labels, other.given, best.given, groups, seed)
    return Gain(single.name, verdict.gain.difference, verdict.gain.se, verdict.word)


def done_of(scene: Scene) -> Done:
    """Return which steps of the way were taken."""
    folder = scene.runs_folder
    pretrained = scene.data.competition.recipe.get("model", {}).get("pretrained", True)
    known = {record.get("arch") for record in scene.records.values()}
    entry = scene.standings[0].entry if scene.standings else None
    ensembles = [one for one in scene.standings if one.blend != "-"]
    return Done(
        comp=scene.comp,
        folds=scene.folds is not None,
        audited=scene.audit is not None,
        runs=len(scene.standings) - len(ensembles),
        ensembles=len(ensembles),
        best=scene.standings[0].name if scene.standings else None,
        usual="tf_efficientnet_lite0" if pretrained else "densenet121",
        other=next((arch for arch in ARCHS if arch not in known), "convnext_small"),
        submits=scene.data.sample is not None,
        submitted=entry is not None,
        scored=entry is not None and bool(entry.public or entry.private),
        label_errors=(folder / "label-errors.csv").exists(),
        curves=any(folder.glob("curve-*/curve.json")),
        again=_again(scene),
    )


def _again(scene: Scene) -> str:
    """Return the command that makes of a run which does not count now one that does: that goes on
    with it, or trains its like on the present folds and labels, under another name."""
    for name, record in scene.records.items():
        if name not in scene.left_out or "arch" not in record or record.get("imported"):
            continue
        said = command(scene.data, name, record)
        if said.startswith("#"):
            continue
        if not scene.left_out[name].startswith("trained on other"):
            return said
        base = "corrected" if scene.data.corrections else "anew"
        numbered = (f"{base}-{number}" for number in count(2))
        free = next(one for one in chain([base], numbered) if one not in scene.left_out)
        return f"{re.sub(r' NAME=[^ ]+', '', said)} NAME={free}"
    return ""
