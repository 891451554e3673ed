"""Which study a folder holds: what may not change between two commands, and its own name."""

from typing import Any

from pipeline.artifacts.files import read_object
from pipeline.config.schema import differing
from pipeline.errors import PodiumError
from pipeline.search.setting import Setting

# What may change of a study between two commands: how long it goes on, and words.
FREE = ("describe", "budget", "trials", "finalists", "storage")
REMEDY = "choose another STUDY= name, or FRESH=1 to delete its trials and start anew"
RECORD = "study.json"


def identity(setting: Setting) -> dict[str, Any]:
    """Return what decides a study's trials, as JSON."""
    said = setting.study.model_dump(mode="json")
    free = {key: said.pop(key) for key in FREE}
    return {
        "competition": setting.data.competition.name,
        "study": said,
        "levels": [level.__dict__ for level in setting.ladder.levels],
        "metric": setting.data.metric.identity,
        "recipe_hash": setting.base.hash,
        "folds_hash": setting.folds.hash,
        "data_hash": setting.data.hash,
        "goes_on": free,
    }


def study_id(setting: Setting) -> str:
    """Return the id that a study got when it was begun, '' where there is none."""
    path = setting.folder / RECORD
    return str(read_object(path, ("id",), REMEDY)["id"]) if path.exists() else ""


def check_same(setting: Setting) -> None:
    """Refuse to go on with trials of another study, saying how it differs."""
    new = identity(setting)
    old = read_object(setting.folder / RECORD, [*new, "id"], REMEDY)
    shown = setting.project.shown(setting.folder)
    goes_on = old["goes_on"] if isinstance(old["goes_on"], dict) else {}
    if goes_on.get("storage") != new["goes_on"]["storage"]:
        raise PodiumError(
            f"{shown}: its trials are in storage {goes_on.get('storage')!r}, not "
            f"{new['goes_on']['storage']!r}; set it back, or {REMEDY}"
        )
    for key in (key for key in new if key != "goes_on"):
        if old[key] != new[key]:
            both = isinstance(old[key], dict) and isinstance(new[key], dict)
            how = "; ".join(differing(old[key], new[key])) if both else "its hash"
            raise PodiumError(f"{shown}: made with {_other(setting, key)} ({how}); {REMEDY}")


def _other(setting: Setting, key: str) -> str:
    """Return in words what is not what a study was begun with."""
    project = setting.project
    folds = project.shown(project.folds(setting.data.competition.name))
    return {
        "study": f"another {setting.source}",
        "recipe_hash": "another recipe",
        "folds_hash": f"other folds than {folds} has now",
        "data_hash": "other labels, ids or pictures",
    }.get(key, f"another {key}")
