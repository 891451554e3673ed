"""From what lies in a folder to the draft of a YAML: labels in a table, or a folder per class."""

from pipeline.errors import PodiumError
from pipeline.init.asked import Asked
from pipeline.init.classfolders import find_class_folders
from pipeline.init.draft import Draft
from pipeline.init.from_folders import from_folders
from pipeline.init.from_tables import from_tables
from pipeline.init.look import Look
from pipeline.init.roles import Shelved, find_sample, find_train


def decide(look: Look, asked: Asked) -> Draft:
    """Return the draft for a folder; what cannot be decided is asked for by its key."""
    shelved = Shelved.of(look, asked)
    if asked.get("folders") is not None:
        found = find_class_folders(look, asked)
        if found is None:
            raise _nothing(look, [])
        return from_folders(shelved, found, [])
    sample = find_sample(shelved)
    train, reasons = find_train(shelved, sample, far=False)
    if train is None:
        found = find_class_folders(look, asked)
        if found is not None:
            return from_folders(shelved, found, reasons)
        train, reasons = find_train(shelved, sample, far=True)
    if train is None:
        raise _nothing(look, reasons)
    return from_tables(shelved, train, sample)


def _nothing(look: Look, reasons: list[str]) -> PodiumError:
    """Return what is missing: a table with labels, or a folder per class."""
    counts = {
        name if name != "." else "its top": len(look.pictures[name]) for name in look.pictures
    }
    where = ", ".join(f"{name} ({count:,} pictures)" for name, count in counts.items())
    if not look.pictures:
        packed = f"; unpack or convert {look.others[0]}" if look.others else ""
        return PodiumError(
            f"{look.shown}: no pictures at any depth{packed}; DATA= names the folder that holds "
            "the tables and the pictures"
        )
    if reasons:
        return PodiumError(
            f"{look.shown}: no table is one of labels with pictures ({'; '.join(reasons[:3])}); "
            "name it: SET='tables.train=... columns.label=... images=...'"
        )
    fullest = max(look.pictures, key=lambda folder: len(look.pictures[folder]))
    return PodiumError(
        f"{look.shown}: neither a table of labels nor a folder per class, only {where[:200]}; "
        f"if the labels are in the names ({look.pictures[fullest][0]}), write train.csv with "
        "the columns id,label, or move the pictures to train/CLASS/"
    )
