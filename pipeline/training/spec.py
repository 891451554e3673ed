"""A job as a file: all that another process needs to do it, here or on a machine that shares the
project's disk."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import write_with
from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.job import FoldJob, Lessons
from pipeline.training.parts import open_pictures


def save_spec(job: FoldJob, path: Path, started: dict[str, Any] | None = None) -> None:
    """Write what decides `job`, the hash of its data and, for whoever works on it without having
    opened the run, what `started` says of the run's record."""
    project = job.data.project
    said = {
        "root": str(project.root),
        "competition": job.data.competition.name,
        "data_hash": job.data.hash,
        "folder": str(job.folder),
        "fold": job.fold,
        "recipe": job.recipe.model_dump(mode="json"),
        "meta": job.meta,
        "started": started or {},
        "parts": list(job.parts),
        "weight": None if job.lessons is None else job.lessons.weight,
    }
    rows = {f"part {name}": rows for name, rows in job.parts.items()}
    arrays = {"train": job.train, "seen": job.pixels.numbers, **rows}
    if job.lessons is not None:
        arrays |= {"taught": job.lessons.rows, "targets": job.lessons.targets}

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as handle:
            np.savez(handle, said=np.array(json.dumps(said)), **arrays)

    write_with(path, write)


def read_said(path: Path) -> dict[str, Any]:
    """Return what a job's file says beside its rows."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return json.loads(str(stored["said"]))
    except FileNotFoundError:
        raise PodiumError(
            f"{path}: no such job, the command that wrote it has ended; run it again"
        ) from None


def load_spec(path: Path, runtime: dict[str, Any] | None = None) -> FoldJob:
    """Return the job in a file; `runtime` changes keys of its recipe's runtime."""
    said = read_said(path)
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    data = load_data(Project(Path(said["root"])), said["competition"])
    if data.hash != said["data_hash"]:
        raise PodiumError(f"{path}: the data changed since; run the same command again")
    content = said["recipe"]
    recipe = Recipe.model_validate(content | {"runtime": content["runtime"] | (runtime or {})})
    lessons = None
    if said["weight"] is not None:
        lessons = Lessons(arrays["taught"], arrays["targets"], said["weight"])
    pixels, _ = open_pictures(data, arrays["seen"], recipe.image)
    parts = {name: arrays[f"part {name}"] for name in said["parts"]}
    place = Path(said["folder"]), said["fold"], recipe, data, pixels
    return FoldJob(*place, arrays["train"], parts, said["meta"], lessons)
