"""A study on its competition: from a configuration to the recipe and the run of a trial."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project, checked_name
from pipeline.config.recipe import Recipe, load_recipe
from pipeline.config.schema import known_keys, parse
from pipeline.config.study import Study, load_study
from pipeline.errors import PodiumError, nearest
from pipeline.folds import Folds, draft_shared
from pipeline.search.ladder import build_ladder
from pipeline.search.samplers import check_grid
from pipeline.search.seen import Ladder
from pipeline.search.space import Config, Space
from pipeline.training.check import check_recipe
from pipeline.training.run import Run

# Not science, or said elsewhere: what no trial may differ in.
FIXED = ("runtime", "data.limit", "training.seed", "training.repeats", "teacher", "describe")


@dataclass(frozen=True)
class TrialRun(Run):
    """The run of a trial; `make tune` trains it as far as the study wants it."""

    study: str = field(kw_only=True)
    judged_on: tuple[int, ...] = field(kw_only=True)

    @property
    def warnings(self) -> list[str]:
        folds = ", ".join(map(str, self.judged_on))
        return [
            *super().warnings,
            f"a trial of study {self.study}, judged on fold {folds}: the best of many trials is "
            "optimistic there",
        ]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "study": self.study}


@dataclass(frozen=True)
class Setting:
    """A study, the data and folds of its competition, and the recipe every trial begins with."""

    name: str
    study: Study
    data: CompetitionData
    folds: Folds
    base: Recipe

    @property
    def project(self) -> Project:
        return self.data.project

    @property
    def source(self) -> str:
        return self.project.shown(self.project.study(self.name))

    @property
    def folder(self) -> Path:
        return self.project.run(self.data.competition.name, f"study-{self.name}")

    @cached_property
    def space(self) -> Space:
        return Space.of(self.study.space, f"{self.source}: space")

    @cached_property
    def ladder(self) -> Ladder:
        return build_ladder(self.study, self.base, self.source)

    @property
    def judged_on(self) -> tuple[int, ...]:
        """The folds that trials are judged on."""
        return tuple(self.folds.numbers) if self.study.folds == "all" else self.study.folds

    @property
    def metric_name(self) -> str:
        """What trials are judged by, in words."""
        return "loss" if self.study.objective == "loss" else self.data.metric.name

    @property
    def sign(self) -> int:
        """+1 where greater is better."""
        return -1 if self.study.objective == "loss" else self.data.metric.sign

    @cached_property
    def default(self) -> Config | None:
        """The configuration that is the recipe as it is; None where a value of it lies outside."""
        content, found = self.base.model_dump(mode="json"), {}
        for param in self.space.params:
            if not param.is_active(found):
                continue
            value = _at(content, param.key.split("."))
            same = [choice for choice in param.choices if _alike(choice, value)]
            if param.kind == "choices":
                if not same:
                    return None
                found[param.key] = same[0]
                continue
            low, high = getattr(param.said, param.kind)
            inside = isinstance(value, int | float) and low <= value <= high
            if not inside or not _reachable(param.value(param.unit(value)), value):
                return None
            found[param.key] = value
        return found

    def recipe(self, config: Config) -> Recipe:
        """Return the recipe of a configuration; refuse one whose keys do not go together."""
        content = self.base.model_dump(mode="json")
        for key, value in config.items():
            _set(content, key.split("."), value, f"{self.source}: space: {key}")
        return parse(Recipe, content, f"{self.source}: a configuration")

    def run_name(self, number: int) -> str:
        return f"{self.name}-{number:04d}"

    def run(self, number: int, config: Config) -> TrialRun:
        """Return the run of a trial."""
        own = self.study.recipe, self.recipe(config), self.data, self.folds
        name = checked_name(self.run_name(number), "STUDY")
        return TrialRun(name, *own, study=self.name, judged_on=self.judged_on)


def open_setting(project: Project, comp: str, name: str) -> Setting:
    """Load a study and all that it needs; refuse what cannot be searched, writing nothing."""
    if not name:
        raise PodiumError("STUDY: which study? make tune STUDY=name, of experiments/studies")
    study, source = load_study(project, name), project.shown(project.study(name))
    _check_keys(study, source)
    data = load_data(project, comp)
    base = load_recipe(
        project,
        study.recipe,
        arch=study.arch,
        competition=data.competition.recipe_overrides(),
        overrides=study.set,
    )
    setting = Setting(name, study, data, draft_shared(data), base)
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
    _check_ends(setting)
    return setting


def _check_keys(study: Study, source: str) -> None:
    """Refuse keys that no recipe has, and those in which trials cannot differ."""
    known = known_keys(Recipe)
    for key in study.space:
        stem = ".".join(part for part in key.split(".") if not part.isdigit())
        if stem not in known:
            hint = nearest(stem, known) or "; see docs/training.md"
            raise PodiumError(f"{source}: space: unknown key {key!r}{hint}")
        if any(stem == fixed or stem.startswith(f"{fixed}.") for fixed in FIXED):
            raise PodiumError(f"{source}: space: {key} is not for searching; take it out")
    if "model.arch" not in study.space and not study.arch and study.recipe == "baseline":
        raise PodiumError(
            f"{source}: which architecture? Write arch: tf_efficientnet_lite0, or model.arch: "
            "{choices: [...]} in space"
        )


def _check_ends(setting: Setting) -> None:
    """Refuse a space some end of which is no recipe: each parameter at both ends or at each choice,
    the others as the default or, where it does not fit, in the middle."""
    space, seen = setting.space, set()
    middle = space.config([0.5] * len(space.params))
    for number, param in enumerate(space.params):
        count = max(2, len(param.choices))
        for place in range(count):
            units = [0.5] * len(space.params)
            units[number] = (place + 0.5) / count if param.choices else place / (count - 1)
            config = space.config(units)
            if param.key in config:
                _check_one(setting, param.key, config, middle, seen)


def _check_one(setting: Setting, key: str, config: Config, middle: Config, seen: set[str]) -> None:
    """Check a configuration; one that goes together with no others is refused in the words of its
    own key's fault."""
    text = json.dumps(config, sort_keys=True)
    if text in seen:
        return
    seen.add(text)
    try:
        check_recipe(setting.recipe(config), setting.data)
    except PodiumError as error:
        alone = {**(setting.default or {}), key: config[key]}
        try:
            check_recipe(setting.recipe(alone), setting.data)
        except PodiumError:
            said = str(error).removeprefix(f"{setting.source}: a configuration: ")
            raise PodiumError(f"{setting.source}: space: {key} = {config[key]!r}: {said}") from None


def _alike(choice: Any, value: Any) -> bool:
    """Whether a choice is a value: 0 is 0.0, but not false."""
    return choice == value and isinstance(choice, bool) == isinstance(value, bool)


def _reachable(found: Any, value: Any) -> bool:
    return found == value or abs(found - value) <= 1e-9 * abs(value)


def _at(content: Any, path: list[str]) -> Any:
    """Return what lies at a path of keys and places in lists; None where nothing does."""
    for part in path:
        if isinstance(content, dict):
            content = content.get(part)
        elif isinstance(content, list) and part.isdigit() and int(part) < len(content):
            content = content[int(part)]
        else:
            return None
    return content


def _set(content: dict[str, Any], path: list[str], value: Any, where: str) -> None:
    """Put a value at a path of keys and places in lists."""
    parent = _at(content, path[:-1])
    last: Any = path[-1]
    if isinstance(parent, list):
        if not last.isdigit() or int(last) >= len(parent):
            raise PodiumError(f"{where}: the list has {len(parent)} elements, counted from 0")
        last = int(last)
    elif parent is None:
        what = ".".join(path[:-1])
        raise PodiumError(
            f"{where}: {what} is not in the recipe; add it, set: '{what}={{}}' for example"
        )
    parent[last] = value
