"""A study on its competition: from a configuration to the recipe and the run of a trial."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.competition import CompetitionData
from pipeline.config.project import Project, checked_name
from pipeline.config.recipe import Recipe
from pipeline.config.schema import parse
from pipeline.config.study import Study
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.search.ladder import build_ladder
from pipeline.search.seen import Ladder
from pipeline.search.space import Config, Space
from pipeline.training.run import Run


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
            found[param.key] = value if param.said.step is None else param.value(param.unit(value))
        return found

    def recipe(self, config: Config) -> Recipe:
        """Return the recipe of a configuration; refuse one whose keys do not go together."""
        content = self.base.model_dump(mode="json")
        for key, value in config.items():
            _set(content, key.split("."), value, f"{self.source}: space: {key}")
        return parse(Recipe, content, f"{self.source}: a configuration")

    @cached_property
    def plain_run(self) -> Run:
        """A run of the recipe as it is, for its rows."""
        return Run(self.name, self.study.recipe, self.base, self.data, self.folds)

    def run_name(self, number: int) -> str:
        return f"{self.name}-{number:04d}"

    def run(self, number: int, config: Config) -> TrialRun:
        """Return the run of a trial."""
        own = self.study.recipe, self.recipe(config), self.data, self.folds
        name = checked_name(self.run_name(number), "STUDY")
        return TrialRun(name, *own, study=self.name, judged_on=self.judged_on)


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
    parent, what = _at(content, path[:-1]), ".".join(path[:-1])
    last: Any = path[-1]
    if isinstance(parent, list):
        if not last.isdigit() or int(last) >= len(parent):
            raise PodiumError(f"{where}: the list has {len(parent)} elements, counted from 0")
        last = int(last)
    elif parent is None:
        raise PodiumError(
            f"{where}: {what} is not in the recipe; add it, set: '{what}={{}}' for example"
        )
    elif not isinstance(parent, dict):
        raise PodiumError(
            f"{where}: {what} is {parent!r} in the recipe, no list; leave .{last} out"
        )
    parent[last] = value
