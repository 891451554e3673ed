"""What an exported folder says of itself: model.json, export.json, and what they were made of."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import file_hash
from pipeline.artifacts.hashing import json_hash
from pipeline.competition import CompetitionData
from pipeline.deploy.export.check import Compared
from pipeline.deploy.export.choose import MB, Tried
from pipeline.deploy.export.gate import Limits
from pipeline.deploy.export.gate import record as figures_record
from pipeline.deploy.export.latency import threads_here
from pipeline.deploy.export.sources import RunParts
from pipeline.deploy.export.workshop import Built
from pipeline.deploy.format import VERSION, file_record, signed
from pipeline.deploy.pictures import View
from pipeline.ensemble.build import Decided
from pipeline.ensemble.members import read_record

TABLE = "export.json"
GATE = 2  # raise it when the gate judges otherwise
MADE_WITH = (
    "torch",
    "timm",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "numpy",
    "opencv-python-headless",
)


def inputs_hash(
    decided: Decided,
    runs: tuple[RunParts, ...],
    limits: Limits,
    level: float | None,
    everything: bool,
) -> str:
    """Return a hash of all that decides an exported folder but for the machine's speed."""
    parts = {(part.name, part.file) for run in runs for part in (*run.all, run.one, *run.judged)}
    weights = {name: file_hash(file) for name, file in sorted(parts)}
    asked = [limits.max_mb, limits.agreement, level, everything, GATE]
    return json_hash([VERSION, decided.record, weights, asked, _versions()])


def model_content(
    data: CompetitionData,
    decided: Decided,
    runs: tuple[RunParts, ...],
    views: tuple[View, ...],
    plan: dict[str, Any],
    built: tuple[Built, ...],
    level: float | None,
) -> dict[str, Any]:
    """Return model.json but for its gate, its files and its hash."""
    competition = data.competition
    score = {key: decided.record.get(key) for key in ("honest", "honest_se")}
    return {
        "format": VERSION,
        "task": competition.task,
        "title": competition.title or competition.name,
        "score": {"metric": competition.metric, **score},
        "classes": list(data.classes),
        "separator": competition.columns.separator,
        "source": decided.name,
        "networks": [one.network.to_json() for one in built],
        "views": [view.model_dump(mode="json") for view in views],
        "plan": plan,
        "rule": decided.record["rule"],
        "constant": decided.record["constant"],
        "confidence": level,
        "coverage": decided.record["coverage"],
        "provenance": _provenance(data, runs),
    }


def finished(content: dict[str, Any], gate: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return model.json with its gate, and the size and hash of every other file of the folder."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    files = {path.relative_to(folder).as_posix(): file_record(path) for path in paths}
    kept = {name: said for name, said in files.items() if name != "model.json"}
    return signed(content | {"gate": gate, "files": kept})


def gate_record(chosen: Tried, limits: Limits, pixels: Compared | None) -> dict[str, Any]:
    """Return what the gate found of the option that is exported."""
    if chosen.figures is None:
        raise ValueError(f"{chosen.option}: not judged")
    limited = {"max_mb": limits.max_mb, "least_agreement": limits.agreement}
    here = {"threads": threads_here(), "machine": machine(), "option": str(chosen.option)}
    said = {"pixels": None if pixels is None else pixels.to_json(), "mb": chosen.mb}
    return figures_record(chosen.figures) | limited | here | said


def table_record(
    data: CompetitionData,
    tried: list[Tried],
    chosen: Tried,
    gate: dict[str, Any],
    original: dict[str, Any],
    inputs: str,
) -> dict[str, Any]:
    """Return export.json: the options that were tried, and which of them is in the folder."""
    return {
        "inputs": inputs,
        "option": str(chosen.option),
        "mb": chosen.mb,
        "metric": data.competition.metric,
        "threads": gate["threads"],
        "machine": gate["machine"],
        "original": original,
        "tried": [one.to_json() for one in tried],
        "gate": gate,
        "pixels": gate["pixels"],
    }


def original_record(runs: tuple[RunParts, ...], metric: float, latency_ms: float) -> dict[str, Any]:
    """Return the original's size, score and time, beside which the options stand."""
    size = sum(part.file.stat().st_size for run in runs for part in run.all)
    count = sum(len(run.all) for run in runs)
    return {"networks": count, "mb": size / MB, "metric": metric, "latency_ms": latency_ms}


def machine() -> str:
    """Return the processor's name, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _provenance(data: CompetitionData, runs: tuple[RunParts, ...]) -> dict[str, Any]:
    kept = ("recipe_hash", "data_hash", "folds_hash")
    found = {}
    for run in runs:
        record = read_record(data, run.name)
        found[run.name] = {key: record.get(key) for key in kept} | {
            "arch": run.all[0].run.recipe.model.arch
        }
    competition = {"competition": data.competition.name, "metric": data.competition.metric}
    return competition | {"data_hash": data.hash, "runs": found, "versions": _versions()}


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{n: metadata.version(n) for n in MADE_WITH}}
