"""`preview`: what the network is really fed, on contact sheets.

A few pictures go through the code of training itself (cache, augmentation, batches, normalisation),
and the normalisation is taken back, so that a fault on this way is seen before hours are spent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.files import write_with
from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.images.augment import build
from pipeline.preview.asked import Asked, resolved
from pipeline.preview.checks import (
    Numbers,
    augment_warnings,
    geometry_warnings,
    number_warnings,
    numbers,
)
from pipeline.preview.feed import EPOCHS, Fed
from pipeline.preview.geometry import crop_words, left_words
from pipeline.preview.look import Looked, look
from pipeline.preview.rows import PARTS, Chosen, choose_rows, id_of, wrong_words
from pipeline.preview.sheet import draw_sheet
from pipeline.training.networks.origin import statistics_warning
from pipeline.training.networks.zoo import check_arch

MOST = 100  # pictures of a sheet
KINDS = {"train": "training", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class Sheet:
    """A contact sheet of a part: where it lies, the ids on it, how many pictures the part has, how
    many classes are on it, and those that no picture of the part has."""

    part: str
    path: Path
    shown: str
    ids: tuple[str, ...]
    pool: int
    classes: int
    lacking: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """The sheets of a recipe and what the machine saw in them.

    `fed` and `cropped` say in words what the network's input is made of; `skipped` names pictures
    that could not be shown; `next` is the command that trains by the same recipe.
    """

    competition: str
    title: str
    arch: str
    name: str
    folder: Path
    fold: int
    n_classes: int
    size: int
    fed: str
    cropped: str
    numbers: Numbers
    sheets: tuple[Sheet, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    next: str


def preview(
    project: Project,
    comp: str,
    *,
    arch: str,
    recipe: str = "baseline",
    overrides: str = "",
    seed: int = 0,
    only: Sequence[int] = (),
    limit: int = 12,
    say: Callable[[str], None],
) -> Preview:
    """Write a sheet of `limit` training pictures in their first epochs, one of validation and one
    of test pictures, as a network is fed them that is trained by the recipe; `only` names the fold,
    the first if it is empty. Neither folds nor runs are written."""
    if not 1 <= limit <= MOST:
        raise PodiumError(f"LIMIT: {limit} pictures a sheet; choose from 1 to {MOST}")
    if arch:
        check_arch(arch)
    data = load_data(project, comp)
    for sentence in data.sentences:
        say(sentence)
    asked = resolved(data, recipe, arch, overrides, seed, only)
    chosen = choose_rows(asked.parts, asked.fold, limit, seed)
    looked, plain = look(asked, chosen)
    sheets = tuple(_write(asked, chosen[part], looked[part]) for part in looked)
    for part in PARTS:
        if part not in looked:  # that of an earlier preview
            (asked.folder / f"{part}.png").unlink(missing_ok=True)
    return _preview(asked, chosen, looked, plain, sheets)


def _write(asked: Asked, chosen: Chosen, looked: Looked) -> Sheet:
    """Draw and write the sheet of a part."""
    path, data = asked.folder / f"{chosen.part}.png", asked.data
    titles = ["picture", *looked.titles]
    sheet = draw_sheet(_headlines(asked, chosen.part, looked), titles, looked.shown)
    write_with(path, lambda temporary: sheet.save(temporary, format="PNG"))
    ids = tuple(id_of(asked.parts, row) for row in chosen.rows)
    shown = data.project.shown(path)
    return Sheet(chosen.part, path, shown, ids, chosen.pool, chosen.classes, chosen.lacking)


def _headlines(asked: Asked, part: str, looked: Looked) -> list[str]:
    image, competition = asked.recipe.image, asked.data.competition
    what = f"{KINDS[part]} pictures" + ("" if part == "test" else f" of fold {asked.fold}")
    way = f"{competition.name}, {asked.recipe.model.arch or 'any architecture'}"
    way += f", recipe {asked.recipe_name}, seed {asked.recipe.training.seed}"
    left = left_words(looked.geometries)
    square = "; what fit=cover leaves in blue" if image.fit == "cover" else ""
    own = "" if asked.used == asked.undone else " by the mean and std of the weights"
    columns = looked.titles[0] if len(looked.titles) == 1 else "other columns"
    changed = [f"SET: {asked.overrides}"] if asked.overrides else []
    return [
        f"{competition.title or competition.name}: {what}  ({way})",
        f"input {image.size} x {image.size} px, fit {image.fit}; crop in red: "
        f"{crop_words(image.crop)}{square}; the network sees {left}",
        *changed,
        f"picture: the original; {columns}: what the network is fed, de-normalised{own}",
    ]


def _preview(
    asked: Asked,
    chosen: dict[str, Chosen],
    looked: dict[str, Looked],
    plain: Fed,
    sheets: tuple[Sheet, ...],
) -> Preview:
    data, recipe, image = asked.data, asked.recipe, asked.recipe.image
    fed = looked["train"].fed
    found = [one for part in looked.values() for one in part.geometries]
    seen = numbers(fed, asked.used)
    augmented = bool(build(recipe.augment, image.size).transforms)
    skipped = [words for one in chosen.values() for words in wrong_words(asked.parts, one)]
    warnings = [
        statistics_warning(recipe) if recipe.model.arch else "",
        *number_warnings(seen),
        *augment_warnings(fed, plain, augmented),
        *geometry_warnings(image, found),
    ]
    if skipped:
        then = "" if data.competition.missing_images != "error" else ": make train refuses them"
        warnings.append(f"missing or broken pictures, not shown: {len(skipped)}{then}")
    return Preview(
        data.competition.name,
        data.competition.title or data.competition.name,
        recipe.model.arch,
        asked.name,
        asked.folder,
        asked.fold,
        len(data.classes),
        image.size,
        f"3 x {image.size} x {image.size}, fit {image.fit}",
        f"{crop_words(image.crop)}; the network sees {left_words(found)}",
        seen,
        sheets,
        tuple(skipped),
        tuple(_notes(asked, chosen, augmented)),
        tuple(filter(None, warnings)),
        asked.next,
    )


def _notes(asked: Asked, chosen: dict[str, Chosen], augmented: bool) -> list[str]:
    """Say what whoever looks at the sheets must know."""
    said, epochs = [], asked.recipe.training.epochs
    if not augmented:
        said.append("augmentation is off: all epochs look the same")
    elif epochs < EPOCHS:
        said.append(
            f"training.epochs is {epochs}: later columns are what longer training would see"
        )
    if asked.used != asked.undone:
        said.append("the sheets undo the mean and std of the weights: what these see differs so")
    for part, one in chosen.items():
        if not one.rows:
            said.append(f"no {KINDS[part]} picture, so no {part}.png")
        elif one.lacking:
            said.append(
                f"fold {asked.fold} has no {KINDS[part]} picture of {len(one.lacking)} of "
                f"{len(asked.data.classes)} classes: {', '.join(one.lacking[:5])}"
                + (", ..." if len(one.lacking) > 5 else "")
            )
    return said
