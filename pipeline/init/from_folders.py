"""The draft of a competition with a folder per class."""

from collections.abc import Sequence
from typing import Any

from pipeline.competition.sources import file_names
from pipeline.errors import PodiumError
from pipeline.init.classfolders import ClassFolders
from pipeline.init.draft import ASSUMED_METRIC, Draft
from pipeline.init.look import Look
from pipeline.init.roles import Shelved, find_sample
from pipeline.init.submission import Form
from pipeline.init.tables import Table


def from_folders(shelved: Shelved, found: ClassFolders, unused: Sequence[str]) -> Draft:
    """Return the draft for folders per class, with the sample submission where it fits them;
    `unused` says why tables are not used."""
    look = shelved.look
    if shelved.asked.get("columns"):
        raise PodiumError(
            f"SET: columns are of tables, but {look.shown} has a folder per class; leave them out, "
            "or name the table: SET='tables.train=...'"
        )
    folders: dict[str, Any] = {"train": found.train[0] if len(found.train) == 1 else found.train}
    folders |= {"test": found.test} if found.test else {}
    warnings = [f"not used: {reason}" for reason in unused[:3]]
    there = sample = find_sample(shelved) if found.test else None
    if found.test is None:
        warnings.append("no folder of test pictures was found: nothing can be submitted")
    elif sample is not None and (odd := _odd_ids(look, sample, found.test)):
        warnings.append(odd)
        sample = None
    form = Form("multiclass", _classes(look, found.train[0]), sample, "id")
    content = {"task": "multiclass", "metric": form.metric, "data": shelved.asked.data}
    if there is not None:
        content["tables"] = {"sample_submission": sample.name if sample else None}
    notes = {
        "task": "a folder per class",
        "metric": f"{ASSUMED_METRIC}; {form.describe()}",
        "folders": "a folder per class; ids are paths below data",
    }
    return Draft({**content, "folders": folders}, notes, (), tuple(warnings))


def _classes(look: Look, train: str) -> list[str]:
    inside = "" if train == "." else f"{train}/"
    below = [folder for folder in look.pictures if folder.startswith(inside)]
    return sorted({folder.removeprefix(inside).partition("/")[0] for folder in below})


def _odd_ids(look: Look, sample: Table, test: str) -> str:
    """Return why a sample submission cannot be used: its ids are neither the paths nor the file
    names of the test pictures."""
    paths = {
        f"{folder}/{name}"
        for folder, names in look.pictures.items()
        if f"{folder}/".startswith(f"{test}/")
        for name in names
    }
    ids = sample.frame[sample.header[0]].tolist()
    if not paths or set(ids) == paths or set(ids) in map(set, file_names(sorted(paths))):
        return ""
    return (
        f"{sample.name} is not used: its ids ({ids[0]!r}) are not those of the test pictures "
        f"({min(paths)!r}); for a submission of its form write train.csv with the columns id,label"
    )
