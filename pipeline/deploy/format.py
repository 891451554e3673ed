"""An exported folder's `model.json`: all that turns pictures into answers, written and read back.

The file carries a hash of its own content, and the size and hash of every other file of the folder,
so that whoever opens it knows that all of it is there and none of it was changed.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import read_object
from pipeline.artifacts.hashing import json_hash
from pipeline.decisions.calibration import Calibration
from pipeline.deploy.plan import Plan
from pipeline.ensemble.blending.blend import Blend
from pipeline.ensemble.blending.pools import Ranks
from pipeline.errors import PodiumError

VERSION = 1  # of the format; raise it when an older reader would misread a folder
MODEL = "model.json"
REMEDY = "copy the whole folder again, or export it anew with make export FRESH=1"
KEYS = ("format", "task", "classes", "separator", "source", "networks", "views", "plan", "rule")
KEYS += ("constant", "confidence", "coverage", "provenance", "gate", "files", "hash")


@dataclass(frozen=True)
class Network:
    """An exported network: its file, the run and the part of it (`fold-0`, `refit`) it is, by which
    of the folder's views it sees, how pixels become its input, in which turns it sees each look,
    what is averaged over them ('probs' or 'logits'), and whether it says where it looked."""

    file: str
    run: str
    part: str
    view: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int
    turns: tuple[tuple[bool, int], ...]
    space: str
    maps: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Network":
        turns = tuple((bool(flipped), int(quarters)) for flipped, quarters in content["turns"])
        numbers = {"mean": tuple(content["mean"]), "std": tuple(content["std"]), "turns": turns}
        return cls(**{**content, **numbers})


def plan_record(plan: Plan, ranks: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return a plan as JSON; the ranks of rank blends, which are large, are put into `ranks`."""
    if plan.blend is None or plan.calibration is None:
        return {"name": plan.name}
    place = ""
    if plan.blend.ranks is not None:
        place = f"{plan.name}-{len(ranks)}"
        for name, value in _rank_arrays(plan.blend.ranks, place):
            ranks[name] = value
    return {
        "name": plan.name,
        "members": [[plan_record(seed, ranks) for seed in seeds] for seeds in plan.members],
        "blend": {"method": plan.blend.method, "task": plan.blend.task, "ranks": place}
        | {"values": plan.blend.to_json()},
        "calibration": plan.calibration.to_json(),
    }


def read_plan(content: dict[str, Any], ranks: dict[str, np.ndarray]) -> Plan:
    """Return the plan that `plan_record` wrote."""
    if "blend" not in content:
        return Plan(content["name"])
    members = tuple(tuple(read_plan(s, ranks) for s in seeds) for seeds in content["members"])
    said = content["blend"]
    found = _ranks_of(ranks, said["ranks"], len(members)) if said["ranks"] else None
    blend = Blend.from_json(said["method"], said["task"], said["values"], found)
    return Plan(content["name"], members, blend, Calibration.from_json(content["calibration"]))


def _rank_arrays(ranks: Ranks, place: str) -> Iterator[tuple[str, np.ndarray]]:
    for kind, values in (("scores", ranks.scores), ("shares", ranks.shares)):
        for member, columns in enumerate(values):
            for column, array in enumerate(columns):
                yield f"{place}/{kind}/{member}/{column}", array


def _ranks_of(arrays: dict[str, np.ndarray], place: str, members: int) -> Ranks:
    classes = sum(name.startswith(f"{place}/scores/0/") for name in arrays)
    scores, shares = (
        tuple(
            tuple(arrays[f"{place}/{kind}/{member}/{column}"] for column in range(classes))
            for member in range(members)
        )
        for kind in ("scores", "shares")
    )
    return Ranks(scores, shares)


def signed(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a model.json with its own hash."""
    return {**content, "hash": _own_hash(content)}


def _own_hash(content: dict[str, Any]) -> str:
    return json_hash({key: value for key, value in content.items() if key != "hash"})


def file_record(path: Path) -> dict[str, Any]:
    """Return the size and the SHA-256 of a file, as model.json holds them."""
    with open(path, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def read_model(folder: Path) -> dict[str, Any]:
    """Return the checked model.json of an exported folder; a folder that is not whole, or of
    another version, is refused."""
    path = folder / MODEL
    if not path.is_file():
        raise PodiumError(f"{folder}: not an exported folder, it has no {MODEL}; name one that has")
    try:
        content = read_object(path, ("format",), REMEDY)
        own = _own_hash(content)
    except ValueError as error:  # a number of thousands of digits, half of a character
        raise PodiumError(f"{path}: cannot be read ({str(error)[:80]}); {REMEDY}") from None
    if content["format"] != VERSION:
        raise PodiumError(
            f"{path}: of format {content['format']!r}, this reader knows {VERSION}; use the Podium "
            "that exported it, or export it anew"
        )
    for key in KEYS:
        if key not in content:
            raise PodiumError(f"{path}: has no {key!r}; {REMEDY}")
    if content["hash"] != own:
        raise PodiumError(f"{path}: changed since it was exported; {REMEDY}")
    _check_types(path, content)
    for name, said in content["files"].items():
        _check_file(folder / name, said)
    return content


def _check_types(path: Path, content: dict[str, Any]) -> None:
    """Refuse a model.json, however well signed, whose parts are of other kinds than are read."""
    files, networks, level = (content[key] for key in ("files", "networks", "confidence"))
    views, classes = content["views"], content["classes"]
    sized = isinstance(files, dict) and all(
        isinstance(said, dict) and {"bytes", "sha256"} <= {*said} and _is_count(said["bytes"])
        for said in files.values()
    )
    looked = isinstance(views, list) and isinstance(networks, list) and bool(networks)
    looked = looked and all(
        isinstance(one, dict) and _is_count(one.get("view")) and one["view"] < len(views)
        for one in networks
    )
    sure = level is None or (isinstance(level, int | float) and 0 <= level <= 1)
    named = isinstance(classes, list) and bool(classes)
    named = named and all(isinstance(name, str) for name in classes)
    right = {"files": sized, "networks": looked, "confidence": sure, "classes": named}
    for key, fine in right.items():
        if not fine:
            raise PodiumError(f"{path}: {key!r} is not what an export writes; {REMEDY}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_file(path: Path, said: dict[str, Any]) -> None:
    if not path.is_file():
        raise PodiumError(f"{path}: no such file, {MODEL} names it; {REMEDY}")
    size = path.stat().st_size
    if size != said["bytes"]:
        raise PodiumError(f"{path}: damaged, {size:,} bytes, not {said['bytes']:,}; {REMEDY}")
    if file_record(path)["sha256"] != said["sha256"]:
        raise PodiumError(f"{path}: damaged, its SHA-256 is not that of {MODEL}; {REMEDY}")
