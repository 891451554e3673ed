"""A study: which keys of a recipe to search over, in which ranges, how, and for how long.

experiments/studies/NAME.yaml, run by `make tune STUDY=NAME`
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.project import Project
from pipeline.config.schema import Section, parse, read_yaml
from pipeline.errors import PodiumError, nearest

SAMPLERS = ("random", "grid", "quasi-random", "tpe", "gp", "multitask")
Sampler = Literal["random", "grid", "quasi-random", "tpe", "gp", "multitask"]
Positive = Annotated[float, Field(gt=0)]
KINDS = ("log", "uniform", "integer", "powers_of_two", "choices")


class Parameter(Section):
    """A key's range, one of: `log` (a float, drawn evenly in its logarithm), `uniform`, `integer`,
    `powers_of_two`, each [lowest, highest], or `choices`, a list of whatever the key takes, lists
    included. `step`: of `uniform` and `integer`. `points`: how many of a range a grid tries.
    `when`: the choices of other keys with which this one is searched, {key: value or values};
    otherwise the recipe's own value stays.
    """

    log: tuple[Positive, Positive] | None = None
    uniform: tuple[float, float] | None = None
    integer: tuple[int, int] | None = None
    powers_of_two: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    choices: tuple[Any, ...] | None = None
    step: Positive | None = None
    points: Annotated[int, Field(ge=2, le=100)] = 3
    when: dict[str, Any] = Field(default_factory=dict)

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @model_validator(mode="after")
    def _one_range(self) -> "Parameter":
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none"
            raise ValueError(f"a key has exactly one of {', '.join(KINDS)}, not {said}")
        value = getattr(self, given[0])
        if given[0] == "choices":
            if len(value) < 2 or any(v in value[:i] for i, v in enumerate(value)):
                raise ValueError("choices are two or more different values")
        elif value[0] >= value[1]:
            raise ValueError(f"{given[0]} is [lowest, highest], the first below the second")
        if given[0] == "powers_of_two" and any(v & (v - 1) for v in value):
            raise ValueError("powers_of_two go from one power of two to another: [8, 256]")
        if self.step is not None:
            if given[0] not in ("uniform", "integer"):
                raise ValueError(f"step is of uniform and integer, not of {given[0]}")
            if given[0] == "integer" and self.step != int(self.step):
                raise ValueError("step of integer is a whole number")
            if self.step > value[1] - value[0]:
                raise ValueError("step is larger than the range")
        return self


class Task(Section):
    """A cheaper training that tells of the whole one: its first `epochs`, after which it can go on,
    or a training on a `share` of the rows. `cost`: of the training up to there, in whole ones; the
    share of epochs or rows if it is not given."""

    epochs: Annotated[int, Field(ge=1)] | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    cost: Annotated[float, Field(gt=0, lt=1)] | None = None


class Study(Section):
    """What `make tune` does; `space` says over which keys of the recipe.

    `recipe`, `arch`, `set`: what every trial begins with, as RECIPE=, ARCH= and SET= say it.
    `folds`: those that trials are judged on, or `all`. `objective`: the competition's `score`, or
    the validation `loss`, which is smoother. `sampler`: who proposes configurations; `multitask`
    also decides how far each is trained. `schedule`: `none` trains each to the end; `halving` and
    `hyperband` train all a little and go on with the best 1/`eta` of each task (ASHA, promoting).
    `tasks`: by name, the cheaper trainings; made by dividing the epochs by `eta` if none is given.
    `default`: whether the first trial is the recipe as it is, trained to the end, so that gains are
    gains over it. `budget`: in whole trainings. `trials`: so many configurations at most.
    `finalists`: so many of the best are then trained on all folds. `storage`: `journal`, a file
    beside the trials, the URL of a database, or $NAME of a variable of the environment that holds
    one. `seed`: of the sampler; all trials are trained by seed 0.
    """

    describe: str = ""
    recipe: str = "baseline"
    arch: str = ""
    set: str = ""
    folds: tuple[Annotated[int, Field(ge=0)], ...] | Literal["all"] = (0,)
    objective: Literal["score", "loss"] = "score"
    sampler: Sampler = "multitask"
    schedule: Literal["none", "halving", "hyperband"] = "none"
    eta: Annotated[int, Field(ge=2, le=10)] = 3
    tasks: dict[str, Task] = Field(default_factory=dict)
    default: bool = True
    budget: Positive = 20
    trials: Annotated[int, Field(ge=1)] | None = None
    finalists: Annotated[int, Field(ge=0, le=100)] = 2
    storage: str = "journal"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    space: dict[str, Parameter]

    @field_validator("budget", mode="before")
    @classmethod
    def _no_time(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError("it counts whole trainings; for a time, make tune BUDGET=2h")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        if not self.space:
            raise ValueError("space is empty; name a key, optimizer.lr: {log: [1e-4, 1e-1]}")
        if self.folds != "all" and (not self.folds or len(set(self.folds)) < len(self.folds)):
            raise ValueError("folds are different numbers, [0] for example, or all")
        if self.sampler == "multitask" and self.schedule != "none":
            raise ValueError("multitask decides itself how far a trial goes; leave schedule out")
        if self.tasks and self.sampler != "multitask" and self.schedule == "none":
            raise ValueError("tasks need sampler: multitask, or schedule: halving or hyperband")
        named = self.storage.startswith("$") or "://" in self.storage
        if self.storage != "journal" and not named:
            raise ValueError("storage is journal, a URL (postgresql://user@host/name) or $VARIABLE")
        return self


def load_study(project: Project, name: str) -> Study:
    """Return the study of that name; what is wrong with its file is one line."""
    path = project.study(name)
    if not path.exists():
        known = [other.stem for other in sorted(project.studies.glob("*.yaml"))]
        hint = nearest(name, known) or (f"; there are: {', '.join(known)}" if known else "")
        raise PodiumError(f"STUDY: no {project.shown(path)}{hint}")
    return parse(Study, read_yaml(path, "mend it"), project.shown(path))
