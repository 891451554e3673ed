"""`make export`: the smallest loss that fits, as a folder that answers pictures without torch.

The folder is made beside its place and put there whole, and what users put into the old one moves
over. A second terminal is refused; the same question twice finds the same folder there.
"""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.artifacts.columns import table
from pipeline.artifacts.files import read_object, write_json, write_text, write_with
from pipeline.artifacts.locks import lock
from pipeline.artifacts.predictions import Predictions
from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.deploy.answers import check_level, check_share
from pipeline.deploy.export import bundle, record
from pipeline.deploy.export.check import Compared, compare, refuse_unfaithful
from pipeline.deploy.export.choose import MB, Tried, choose, none_passes, options_for
from pipeline.deploy.export.gate import Judge, Limits
from pipeline.deploy.export.latency import original_ms
from pipeline.deploy.export.options import AS_IT_IS
from pipeline.deploy.export.place import put, recover, work_folder
from pipeline.deploy.export.report import Export, options_table
from pipeline.deploy.export.rows import fitting_positions, judged_rows, test_pictures
from pipeline.deploy.export.sources import run_parts
from pipeline.deploy.export.workshop import Workshop
from pipeline.deploy.exported import RANKS, open_exported
from pipeline.deploy.format import MODEL, plan_record, read_model
from pipeline.deploy.plan import open_answering
from pipeline.ensemble.build import Decided, open_decided
from pipeline.ensemble.newest import newest_ensemble
from pipeline.errors import PodiumError
from pipeline.folds import load_shared

FOLDER = "export"
SPARE = 60_000  # bytes of model.json, export.json and README.md, beside the code, at least,
LISTS = 40_000  # and all of them but for what model.json says of classes and blend
Say = Callable[[str], None]


def export(
    project: Project,
    comp: str,
    source: str,
    *,
    max_mb: float = 100.0,
    agreement: float = 0.98,
    confidence: float | None = None,
    everything: bool = False,
    fresh: bool = False,
    say: Say,
) -> Export:
    """Export run or ensemble `source`, the newest ensemble if it is empty, as the most faithful
    folder of at most `max_mb` that gives the share `agreement` of its answers.

    With `everything`, all options are built and judged for the table. Below `confidence` the folder
    answers "don't know". A folder of the same inputs is left as it is, unless `fresh`.
    """
    if not 0 < max_mb < math.inf:
        raise PodiumError(f"MAX_MB: {max_mb:g} is no size; give the megabytes that it may take")
    check_share(agreement, "AGREEMENT")
    _refuse_missing_packages()
    data = load_data(project, comp)
    check_level(confidence, data)
    folds = load_shared(data)
    name = source or newest_ensemble(data, folds)[0]
    plan = open_answering(data, folds, name)
    decided = open_decided(data, folds, name)
    limits = Limits(max_mb, agreement)
    folder = project.run(comp, name) / FOLDER
    with lock(folder.parent.parent / ".locks" / f"{name}.export.lock", f"the export of {name}"):
        runs = tuple(run_parts(data, folds, run, say) for run in plan.runs())
        inputs = record.inputs_hash(decided, runs, limits, confidence, everything)
        recover(folder)
        known = None if fresh else _same(folder, inputs)
        if known is not None:
            return Export(folder, project.shown(folder), False, known)
        stored = {run.name: _oof(data, run.name) for run in runs}
        probs = decided.test_probs(data, folds) if len(data.test) else np.empty((0, 0))
        seen = {part.run.view: None for run in runs for part in (*run.all, run.one, *run.judged)}
        with work_folder(folder) as work:
            first = next(iter(stored.values()))
            views, shown = tuple(seen), judged_rows(data, first, {*seen})
            pictures = test_pictures(data, folds, {*seen})
            workshop = Workshop(data, work / "parts", views, fitting_positions(data, folds))
            test = probs[pictures.rows] if len(pictures) else probs
            given = (data, plan, decided.rule, runs, workshop, shown, pictures, stored, test)
            judge = Judge(*given, level=confidence)
            made = _make(judge, decided, limits, work, (everything, inputs), say)
            put(work / "new", folder)
    return Export(folder, project.shown(folder), True, made)


def _make(
    judge: Judge,
    decided: Decided,
    limits: Limits,
    work: Path,
    asked: tuple[bool, str],
    say: Say,
) -> dict:
    """Fill the folder work/new; return its export.json."""
    new, (everything, inputs), runs = work / "new", asked, judge.runs
    bundle.write_program(new)
    ranks: dict[str, np.ndarray] = {}
    plan = plan_record(judge.plan, ranks)
    if ranks:
        write_with(new / RANKS, lambda path: _save(path, ranks))
    views, level = judge.workshop.views, judge.level
    described = record.model_content(judge.data, decided, runs, views, plan, (), level)
    overhead = max(SPARE, LISTS + len(json.dumps(described, indent=2).encode())) + _size(new)
    options = options_for(runs)
    tried, chosen = choose(judge, options, limits, overhead, say, everything=everything)
    original = record.original_record(runs, judge.original_metric, original_ms(runs))
    if chosen is None:
        said = {"original": original, "tried": [one.to_json() for one in tried], "option": ""}
        say(table(*options_table(said | {"metric": judge.data.competition.metric})))
        raise none_passes(tried, limits)
    (new / "networks").mkdir()
    for built in chosen.built:
        shutil.copyfile(built.path, new / built.network.file)
    content = record.model_content(judge.data, decided, runs, views, plan, chosen.built, level)
    write_json(new / MODEL, record.finished(content, record.gate_record(chosen, limits, None), new))
    pixels = _compared(judge, decided, chosen, new)
    for _ in range(2):  # first with the size as it was reckoned, then as it is
        gate = record.gate_record(chosen, limits, pixels)
        made = record.table_record(judge.data, tried, chosen, gate, original, inputs)
        write_json(new / record.TABLE, made)
        write_text(new / "README.md", bundle.readme(content | {"gate": gate}, made))
        write_json(new / MODEL, record.finished(content, gate, new))
        chosen = replace(chosen, mb=_size(new) / MB)
    _refuse_large(new, limits)
    return made


def _compared(judge: Judge, decided: Decided, chosen: Tried, folder: Path) -> Compared:
    """Open the folder as its users do, and compare it with torch from pixel to answer."""
    option, rule = chosen.option, (decided.rule, decided.constant)
    opened = open_exported(folder)
    found = compare(opened, judge.runs, option.few, judge.plan, rule, judge.oof)
    refuse_unfaithful(found, option.precision, option.change != AS_IT_IS)
    return found


def _oof(data: CompetitionData, run: str) -> Predictions:
    path = data.project.run(data.competition.name, run) / "oof.npz"
    return Predictions.load(path).with_classes(data.classes, str(path))


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with open(path, "wb") as handle:  # a handle: savez would add .npz to a name
        np.savez_compressed(handle, **arrays)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _refuse_large(folder: Path, limits: Limits) -> None:
    """Refuse a folder that came out larger than it was reckoned."""
    size = _size(folder) / MB
    if size > limits.max_mb:
        raise PodiumError(
            f"MAX_MB: {limits.max_mb:g}, but the folder takes {size:.2f} MB with its lists; give a "
            "little more"
        )


def _same(folder: Path, inputs: str) -> dict | None:
    """Return the export.json of a whole folder that was made of the same inputs."""
    try:
        read_model(folder)
        found = read_object(folder / record.TABLE, ("inputs",), "export again")
    except PodiumError:
        return None
    return found if found["inputs"] == inputs else None


def _refuse_missing_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise PodiumError(
            f"export: the package {error.name} is not installed; make setup EXTRAS=export"
        ) from None
