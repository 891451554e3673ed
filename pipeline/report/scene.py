"""Open all that is there of a competition, as far as it can be opened, and name what is wrong."""

from dataclasses import replace
from pathlib import Path

from pipeline.artifacts.findings import Audit
from pipeline.compare.verdict import judge
from pipeline.competition import CompetitionData
from pipeline.ensemble.members import list_runs, read_record
from pipeline.errors import PodiumError
from pipeline.folds import Folds, load_shared
from pipeline.leaderboard.leaderboard import look
from pipeline.report.gather import (
    AUDIT,
    BOARD,
    FLOOR,
    FOLDS,
    LEDGER,
    RUNS,
    Scene,
    all_records,
    attempt,
    before_of,
    chosen,
    open_subject,
)
from pipeline.report.problems import (
    Problem,
    audit_problems,
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
from pipeline.report.sentences import Done, Gain, Where
from pipeline.submission.floor import majority
from pipeline.submission.ledger import rows
from pipeline.submission.standings import Standing, standings

ARCHS = ("densenet121", "convnext_tiny", "resnet50")  # to try next, the first that no run has


def scene_of(data: CompetitionData, source: str) -> Scene:
    """Return all that is known of a competition; `source` is the run or ensemble whose pictures are
    shown, the best if it is empty."""
    faults: dict[str, str] = {}
    comp = data.competition.name
    if source:
        read_record(data, source, "FROM")
    audit = _audit(data.project.audit(comp), faults)
    entries = attempt(LEDGER, faults, lambda: rows(data.project, comp)) or ()
    records = all_records(data, faults)
    folds = None
    if data.project.folds(comp).exists():
        folds = attempt(FOLDS, faults, lambda: load_shared(data))
    base = {"records": records, "audit": audit, "entries": entries, "faults": faults}
    if folds is None or not records:
        return Scene(data, folds, **base)
    stand = attempt(RUNS, faults, lambda: standings(data, folds))
    found, left = stand or ([], {})
    for name in left:
        faults.pop(name, None)
    if source and source not in [one.name for one in found]:
        why = left.get(source) or faults.get(RUNS, "it has no score")
        raise PodiumError(f"FROM: {source} cannot be shown: {why}; name another run or ensemble")
    return _with_subjects(Scene(data, folds, tuple(found), left, **base), folds, source)


def _audit(path: Path, faults: dict[str, str]) -> Audit | None:
    return attempt(AUDIT, faults, lambda: Audit.load(path)) if path.exists() else None


def _with_subjects(scene: Scene, folds: Folds, source: str) -> Scene:
    """Open what is shown in full: the focus, the best, what it is held against, and more."""
    data, found, faults = scene.data, scene.standings, dict(scene.faults)
    if not found:
        return scene
    focus = source or found[0].name
    before = before_of(focus, found, scene.entries)
    names = [one.name for one in found if one.name in (focus, before)]
    picked = [one for one in chosen(found, focus, SHOWN) if one.name not in names]
    order = sorted((one for one in found if one.name in names), key=lambda one: one.name != focus)
    shown = [*order, *picked][:SHOWN]
    opened = (open_subject(data, folds, one, faults) for one in shown)
    subjects = {one.name: one for one in opened if one is not None}
    if source and source not in subjects:
        raise PodiumError(f"FROM: {source} cannot be shown: {faults[source]}")
    floor = attempt(FLOOR, faults, lambda: majority(data, folds))
    board = attempt(BOARD, faults, lambda: look(data, folds, found, dict(scene.left_out)))
    return replace(
        scene,
        majority=floor,
        subjects=tuple(subjects.values()),
        best=subjects.get(found[0].name),
        focus=subjects.get(focus),
        before=subjects.get(before),
        board=board,
        faults=faults,
    )


def problems_of(scene: Scene) -> tuple[Problem, ...]:
    """Return what is wrong, worst first."""
    comp, best = scene.comp, scene.best
    found = unreadable_problems(scene.unreadable, comp)
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
        return Where(metric.name, None, unreadable=bool(scene.unreadable))
    top, single = scene.standings[0], _best_run(scene)
    floor = None
    if scene.majority is not None and None not in (top.honest, scene.majority.honest):
        gain = metric.sign * (float(top.honest or 0) - float(scene.majority.honest or 0))
        floor = Gain(scene.majority.name, gain)
    public, private = (top.entry.value(k) if top.entry else None for k in ("public", "private"))
    scores = metric.name, top.name, top.honest, top.honest_se
    return Where(*scores, _gain(scene, single), floor, public, private, top.place)


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
    )
