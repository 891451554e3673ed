"""What an exported model says of itself, in words and as JSON."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.artifacts.files import read_object
from pipeline.decisions import Point
from pipeline.deploy.answers import DONT_KNOW, check_share
from pipeline.deploy.exported import Exported
from pipeline.errors import PodiumError
from pipeline.serve.limits import Limits

_RECORDS = ("ensemble.json", "chain.json")  # of decisions, beside an export
_PACKAGES = ("onnxruntime", "numpy", "opencv-python-headless", "pillow", "gradio")


def start_level(model: Exported, asked: float | None) -> float:
    """Return the confidence below which no answer is given at first: the one asked for, or the
    model's own."""
    level = model.confidence if asked is None else asked
    if level is None:
        return 0.0
    check_share(level, "CONFIDENCE")
    if level and not may_refuse(model):
        raise PodiumError(
            f'CONFIDENCE: {level}, but "{DONT_KNOW}" may be an answer of this model itself; leave '
            "CONFIDENCE out, and read the confidence"
        )
    return float(level)


def may_refuse(model: Exported) -> bool:
    """Whether "don't know" can only mean that no answer is given."""
    return DONT_KNOW not in model.classes


def points(model: Exported) -> tuple[Point, ...]:
    """Return what answering from some confidences on came to, out of fold."""
    return tuple(Point(**point) for point in model.model["coverage"]["points"])


def promise(model: Exported, level: float) -> str:
    """Say what the model's curve promises at a confidence: that of its highest level that is no
    higher."""
    point = [one for one in points(model) if one.confidence <= level][-1]
    if point.accuracy is None:
        return f"Out of fold, no answer had a confidence of {point.confidence:g} or more."
    if not point.confidence:
        return f"Out of fold, all pictures were answered, {point.accuracy:.1%} of them rightly."
    return (
        f"Out of fold, {point.coverage:.1%} of the pictures had a confidence of "
        f"{point.confidence:g} or more, and {point.accuracy:.1%} of these answers were right."
    )


def score(model: Exported) -> dict[str, Any] | None:
    """Return metric, honest score and its standard error: as the model says, or else the record of
    the run or ensemble that it lies in; None where neither does."""
    if model.model.get("score"):
        return model.model["score"]
    for name in _RECORDS:
        path = model.folder.parent / name
        if path.is_file():
            record = read_object(path, ("metric", "honest"), "make ensemble writes it anew")
            return {key: record.get(key) for key in ("metric", "honest", "honest_se")}
    return None


def score_words(model: Exported) -> str:
    """Return the honest score with its standard error, '' if it is not known."""
    found = score(model) or {}
    value, error = found.get("honest"), found.get("honest_se")
    if value is None:
        return ""
    return f"{found['metric']} {value:.4f}" + (f" ± {error:.4f}" if error is not None else "")


def described(model: Exported, level: float, limits: Limits) -> dict[str, Any]:
    """Return what `GET /v1/model` tells."""
    said = model.model
    return {
        "title": said.get("title") or said["source"],
        "source": said["source"],
        "task": model.task,
        "classes": list(model.classes),
        "confidence": level,
        "coverage": said["coverage"]["points"],
        "score": score(model),
        "networks": len(model.networks),
        "format": said["format"],
        "versions": versions(),
        "limits": limits.model_dump(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that answer."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
