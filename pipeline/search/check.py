"""What keeps a study from being searched, found before anything is written."""

import json
from collections.abc import Iterator

from pipeline.config.recipe import Recipe
from pipeline.config.schema import known_keys
from pipeline.config.study import Study
from pipeline.errors import PodiumError, nearest
from pipeline.search.samplers import check_grid
from pipeline.search.setting import Setting
from pipeline.search.shares import check_shares
from pipeline.search.space import Config, Param, Space
from pipeline.training.check import check_keys as check_recipe_keys
from pipeline.training.check import check_recipe

# Not science, or said elsewhere: what no trial may differ in.
FIXED = ("runtime", "data.limit", "training.seed", "training.repeats", "teacher", "describe")
INSIDE = 0.381966  # a place within a range: not whole where the key wants a whole number


def check_keys(study: Study, source: str) -> None:
    """Refuse keys that no recipe has, and those in which trials cannot differ."""
    known = known_keys(Recipe)
    for key in study.space:
        stem = ".".join(part for part in key.split(".") if not part.isdigit())
        if stem not in known:
            hint = nearest(stem, known) or "; see docs/training.md"
            raise PodiumError(f"{source}: space: unknown key {key!r}{hint}")
        if any(stem == fixed or stem.startswith(f"{fixed}.") for fixed in FIXED):
            raise PodiumError(f"{source}: space: {key} is not for searching; take it out")
        if stem != key and stem in study.space:
            raise PodiumError(f"{source}: space: {key} is a part of {stem}; search one of them")
        if study.objective == "loss" and stem.startswith("loss."):
            raise PodiumError(
                f"{source}: space: {key} changes the loss that objective: loss compares; take it "
                "out, or objective: score"
            )


def check_base(setting: Setting) -> None:
    """Refuse a recipe that trials cannot begin with, and folds or tasks that are not there."""
    study, base, source = setting.study, setting.base, setting.source
    if not base.model.arch and "model.arch" not in study.space:
        raise PodiumError(
            f"{source}: which architecture? Write arch: tf_efficientnet_lite0, or model.arch: "
            "{choices: [...]} in space"
        )
    unknown = [number for number in setting.judged_on if number not in setting.folds.numbers]
    if unknown:
        listed = ", ".join(map(str, setting.folds.numbers))
        raise PodiumError(f"{source}: folds: there is no fold {unknown[0]}; there are {listed}")
    if base.training.repeats > 1 or base.data.limit is not None or base.teacher.run:
        raise PodiumError(
            f"{source}: training.repeats, data.limit and teacher.run are not for trials; leave "
            "them out"
        )
    if base.runtime.processes > 1:
        raise PodiumError(
            f"{source}: runtime.processes is {base.runtime.processes}, but one process trains a "
            "trial; several workers train several"
        )
    if study.sampler == "grid":
        check_grid(setting.space)
    check_shares(setting)


def check_ends(setting: Setting) -> None:
    """Refuse a parameter some value of which makes no recipe whatever the others are: both ends and
    a place between them, or each choice."""
    if setting.base.model.arch:
        check_recipe(setting.base, setting.data)  # what is wrong without any trial, weights too
    for param in setting.space.params:
        values = list(param.choices) or [param.value(unit) for unit in (0.0, INSIDE, 1.0)]
        for value in values:
            _check_value(setting, param, value)


def _check_value(setting: Setting, param: Param, value: object) -> None:
    """Refuse a value that goes together with none of the other parameters' values."""
    first = None
    for others in _contexts(setting.space, param):
        try:
            check_recipe_keys(setting.recipe({**others, param.key: value}), setting.data)
            return
        except PodiumError as error:
            first = first or str(error).removeprefix(f"{setting.source}: a configuration: ")
    said = json.dumps(value) if isinstance(value, list | tuple) else repr(value)
    raise PodiumError(f"{setting.source}: space: {param.key} = {said}: {first}")


def _contexts(space: Space, param: Param) -> Iterator[Config]:
    """Yield what a value may stand beside: the recipe as it is, the middle of the space, and each
    choice of each other parameter; those that the parameter depends on as it wants them."""
    by_key = {other.key: other for other in space.params}
    wanted: Config = {}
    left = [param]
    while left:
        for key, values in left.pop().when.items():
            wanted.setdefault(key, values[0])
            left.append(by_key[key])
    yield wanted
    yield {**space.config([0.5] * len(space.params)), **wanted}
    for other in space.params:
        for choice in other.choices:
            if other.key != param.key and other.key not in wanted:
                yield {**wanted, other.key: choice}
