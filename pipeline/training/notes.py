"""What whoever reads a run's scores must know: what follows from its recipe, and what happened."""

from typing import Any

from pipeline.config.recipe import Recipe
from pipeline.training.learning.losses import imbalance_warnings
from pipeline.training.learning.schedules import schedule_warnings
from pipeline.training.networks.origin import statistics_warning

SELECTED = "selected-in-fold"  # how a warning of a choice made on the scored rows begins


def recipe_warnings(recipe: Recipe) -> list[str]:
    """Return what follows from the recipe."""
    said, training = [], recipe.training
    if training.checkpoint == "best":
        said.append(f"{SELECTED}: each epoch was chosen on the fold that it is scored on")
    if training.patience is not None:
        said.append(f"{SELECTED}: patience may end it early on the fold that it is scored on")
    flips, augment = recipe.views.flips, recipe.augment
    if flips != "none" and not augment.horizontal_flip:
        said.append(
            f"views.flips={flips} shows mirror images, which training never saw: "
            "augment.horizontal_flip is 0"
        )
    if flips in ("both", "dihedral") and not augment.vertical_flip:
        said.append(
            f"views.flips={flips} shows pictures upside down, which training never saw: "
            "augment.vertical_flip is 0"
        )
    said += schedule_warnings(recipe) + imbalance_warnings(recipe)
    if recipe.data.limit is not None:
        said.append(f"limited: a smoke run on LIMIT={recipe.data.limit} rows")
    odd = statistics_warning(recipe)
    return [*said, odd] if odd else said


def taught_warnings(teacher: dict[str, Any]) -> list[str]:
    """Return what follows from a teacher; `teacher` is what the student's record says of it."""
    name = teacher["run"]
    said = [
        f"taught: learnt from test pictures that {name} labelled, fold by fold; some competitions "
        "forbid it"
    ]
    if teacher["selected"]:
        said.append(f"{SELECTED}: {name} was chosen on the folds that this run is scored on")
    return said


def job_notes(title: str, record: dict[str, Any]) -> list[str]:
    """Return what happened in a finished job, 'fold 3' for example, by its record."""
    said, stopped = [], record.get("stopped") or {}
    if stopped.get("kind") == "collapsed":
        said.append(f"{title} {stopped['said']}")
    for event in record.get("events", ()):
        said.append(f"{title}: {event}, not the same science as of whole ones")
    return said
