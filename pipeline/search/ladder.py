"""The levels of a study: from cheap trainings that tell a little to the whole one."""

import itertools

from pipeline.config.recipe import Recipe
from pipeline.config.study import Study, Task
from pipeline.errors import PodiumError
from pipeline.search.seen import Ladder, Level

CHEAPER = 3  # levels below the whole training, where none are named
FULL = "full"


def build_ladder(study: Study, recipe: Recipe, source: str) -> Ladder:
    """Return the levels of a study whose trials begin with `recipe`; `source` names its file."""
    whole = Level(FULL, 1.0)
    if study.sampler != "multitask" and study.schedule == "none":
        return Ladder((whole,))
    named = {name: task for name, task in study.tasks.items() if task != Task()}
    by_share = any(task.share is not None for task in named.values())
    if not named and _is_regression(recipe):
        shares = {f"1/{study.eta**k}": 1 / study.eta**k for k in range(1, CHEAPER)}
        named = {name: Task(share=share) for name, share in shares.items()}
        by_share = True
    if not by_share and "training.epochs" in study.space:
        raise PodiumError(
            f"{source}: space has training.epochs, so a task cannot be some of the epochs; take it "
            "out, or name tasks by share: {low: {share: 0.25}}"
        )
    if not by_share and _is_regression(recipe):
        raise PodiumError(f"{source}: tasks: a logistic regression has no epochs; name shares")
    if not named:
        named = _divided(recipe.training.epochs, study.eta, source)
    levels = sorted((_level(n, t, recipe, source) for n, t in named.items()), key=_extent)
    _check(levels, by_share, source)
    return Ladder((*levels, whole), continues=not by_share)


def _is_regression(recipe: Recipe) -> bool:
    return recipe.features is not None and recipe.features.fit == "logistic"


def _divided(epochs: int, eta: int, source: str) -> dict[str, Task]:
    """Return the epochs divided by `eta` again and again."""
    found = sorted({round(epochs / eta**k) for k in range(1, CHEAPER + 1)} - {0, epochs})
    if not found:
        raise PodiumError(
            f"{source}: training.epochs is {epochs}, which leaves no cheaper training; name tasks "
            "by share: {low: {share: 0.25}}, or train longer"
        )
    return {f"{n}-epoch{'s' * (n > 1)}": Task(epochs=n) for n in found}


def _level(name: str, task: Task, recipe: Recipe, source: str) -> Level:
    if (task.epochs is None) == (task.share is None):
        raise PodiumError(f"{source}: tasks.{name} has epochs or a share, one of both")
    if task.share is not None:
        return Level(name, task.cost or task.share, share=task.share)
    whole = recipe.training.epochs
    if task.epochs >= whole:
        raise PodiumError(
            f"{source}: tasks.{name}.epochs is {task.epochs}, but the whole training has {whole}; "
            "a cheaper one has fewer"
        )
    return Level(name, task.cost or task.epochs / whole, epochs=task.epochs)


def _extent(level: Level) -> float:
    return level.share or level.epochs or 0.0


def _check(levels: list[Level], by_share: bool, source: str) -> None:
    """Refuse tasks of both kinds, and costs that do not rise with the tasks."""
    if any((level.share is not None) != by_share for level in levels):
        raise PodiumError(f"{source}: tasks are all by epochs or all by share")
    for low, high in itertools.pairwise(levels):
        if not (low.cost < high.cost and _extent(low) < _extent(high)):
            raise PodiumError(
                f"{source}: tasks.{high.name} (cost {high.cost:g}) must be more and cost more than "
                f"tasks.{low.name} (cost {low.cost:g})"
            )
