"""A recipe: everything about a model and its training that is science, and how the machine runs it.

The recipe hash covers every section but `runtime`: device, precision, workers and threads are
recorded per fold and do not keep a run from being resumed on another machine.
"""

from typing import Any

from pipeline.artifacts.hashing import json_hash
from pipeline.config.learning import (
    Data,
    Features,
    Loss,
    Mix,
    Model,
    Optimizer,
    Runtime,
    Schedule,
    Teacher,
    Training,
)
from pipeline.config.pictures import Augment, Image, TestViews
from pipeline.config.project import Project, checked_name
from pipeline.config.schema import Section, differing, merged, parse, parse_overrides, read_yaml
from pipeline.errors import PodiumError, nearest

# What the lack of a key or a section means in recipes that are older than it. These values must
# not change when a default does.
LATER: dict[str, Any] = {
    "model": {
        "weights": "auto",
        "head": "classes",
        "hidden": [],
        "drop_path": 0.0,
        "freeze": "none",
        "unfreeze_after": None,
    },
    "image": {"channels": 3},
    "augment": {
        "saturation": 0.0,
        "hue": 0.0,
        "rand_augment": 0,
        "magnitude": 9.0,
        "erasing": 0.0,
        "first_size": None,
        "full_size_from": 0.75,
    },
    "mix": {"mixup": 0.0, "cutmix": 0.0, "share": 1.0, "until": 1.0},
    "loss": {
        "name": "auto",
        "gamma": 2.0,
        "gamma_negative": 4.0,
        "gamma_positive": 0.0,
        "clip": 0.05,
        "class_weights": "none",
        "beta": 0.999,
        "logit_adjustment": 0.0,
    },
    "optimizer": {"nesterov": True, "betas": None, "layer_decay": 1.0},
    "schedule": {
        "cycles": 1,
        "cycle_growth": 1.0,
        "momentum": None,
        "factor": 0.1,
        "patience": 3,
        "monitor": "train",
    },
    "training": {"repeats": 1, "swa": 0.0, "patience": None, "sampling": "shuffle"},
    "features": None,
    "views": {"flips": "none", "crops": 1, "crop_share": 0.875, "sizes": [], "average": "auto"},
    "teacher": {"run": "", "weight": 1.0, "confidence": 0.0, "hard": False},
}
LATER_SECTIONS = ("mix", "features", "views", "teacher")


class Recipe(Section):
    """A whole recipe. `describe` is the one line that tables show."""

    describe: str = ""
    model: Model = Model()
    image: Image = Image()
    augment: Augment = Augment()
    mix: Mix = Mix()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    training: Training = Training()
    features: Features | None = None
    views: TestViews = TestViews()
    teacher: Teacher = Teacher()
    data: Data = Data()
    runtime: Runtime = Runtime()

    def science(self) -> dict[str, Any]:
        """Return what decides the result, as plain JSON."""
        return science_of(self.model_dump(mode="json"))

    @property
    def hash(self) -> str:
        return json_hash(self.science())

    @property
    def seedless_hash(self) -> str:
        """The hash without the seed: runs that share it are repetitions of one recipe."""
        return json_hash(merged(self.science(), {"training": {"seed": None}}))


def science_of(dump: dict[str, Any]) -> dict[str, Any]:
    """Return what decides the result of a recipe that was dumped as JSON, perhaps long ago.

    A key of `LATER` is left out at the value that stands for its absence, so that the recipes
    which do without it keep their hashes; so is a section that has no other keys.
    """
    science = {k: v for k, v in dump.items() if k not in ("runtime", "describe")}
    for section, absent in LATER.items():
        content = science.get(section)
        if isinstance(content, dict) and isinstance(absent, dict):
            rest = {k: v for k, v in content.items() if k not in absent or v != absent[k]}
            science[section] = rest
        if section in LATER_SECTIONS and science.get(section) in (None, {}):
            science.pop(section, None)
    return science


def load_recipe(
    project: Project,
    name: str,
    *,
    arch: str = "",
    competition: dict[str, Any] | None = None,
    overrides: str = "",
    seed: int = 0,
    limit: int | None = None,
) -> Recipe:
    """Resolve a recipe: file < `competition`'s own settings < SET; ARCH, SEED and LIMIT go last."""
    path = project.recipe(name)
    known = [other.stem for other in sorted(project.recipes.glob("*.yaml"))]
    if not path.exists():
        hint = nearest(name, known) or f"; there are: {', '.join(known)}"
        raise PodiumError(f"RECIPE: no {project.shown(path)}{hint}")
    content = read_yaml(path, "mend it, or name another RECIPE")
    parse(Recipe, content, project.shown(path))  # so that a fault is blamed on the right file
    asked = parse_overrides(overrides)
    for section, key, variable in (("training", "seed", "SEED"), ("model", "arch", "ARCH")):
        if isinstance(asked.get(section), dict) and key in asked[section]:
            raise PodiumError(f"SET: {section}.{key} is what {variable}= sets; say it there")
    fixed: dict[str, Any] = {"training": {"seed": seed}}
    if arch:
        fixed["model"] = {"arch": arch}
    if limit is not None:
        fixed["data"] = {"limit": limit}
    layers = merged(content, competition or {})
    layers = merged(layers, asked, fixed)
    return parse(Recipe, layers, "SET" if overrides else "the recipe with LIMIT and SEED")


def replaced_keys(
    project: Project, name: str, competition: dict[str, Any], overrides: str
) -> list[str]:
    """Return 'key: old -> new' for what a recipe's file sets and `competition` sets otherwise, but
    for what SET sets anyhow."""
    content = read_yaml(project.recipe(name), "name another RECIPE")
    asked = parse_overrides(overrides)
    found = []
    for line in differing(content, merged(content, competition)):
        *sections, key = line.partition(":")[0].split(".")
        place = asked
        for section in sections:
            place = place.get(section) or {}
        if ": None -> " not in line and key not in place:
            found.append(line)
    return found


def run_name(recipe_name: str, recipe: Recipe, overrides: str, name: str = "") -> str:
    """Return NAME, or `ARCH-RECIPE` with limit, seed and a hash of what SET changes of the science:
    another `runtime` goes on with the same run."""
    if name:
        return checked_name(name, "NAME")
    parts = [recipe.model.arch, recipe_name]
    if recipe.data.limit is not None:
        parts.append(f"limit{recipe.data.limit}")
    if recipe.training.seed:
        parts.append(f"s{recipe.training.seed}")
    science = {k: v for k, v in parse_overrides(overrides).items() if k != "runtime"}
    if science:
        parts.append(json_hash(science, 6))
    return checked_name("-".join(parts).replace("/", "_"), "run")
