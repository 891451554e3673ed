"""What a preview was asked for, resolved as `make train` does: recipe, fold, normalisation."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.competition import CompetitionData
from pipeline.config.recipe import Recipe, load_recipe, run_name
from pipeline.errors import PodiumError
from pipeline.folds import Folds, draft_shared
from pipeline.training.networks.origin import normalisation, statistics_warning
from pipeline.training.networks.weights import Statistics
from pipeline.training.parts import Parts

NO_ARCH = "any"  # in the folder's name, where no architecture is asked for


@dataclass(frozen=True)
class Asked:
    """The recipe, its name and what SET said of it, the rows under the folds, and the fold whose
    rows are shown. `used` is the normalisation of training, `undone` that which sheets take back:
    of the weights' own, where they have one, so that another is seen as a shift of colours."""

    name: str
    recipe_name: str
    overrides: str
    recipe: Recipe
    parts: Parts
    fold: int
    used: Statistics
    undone: Statistics

    @property
    def data(self) -> CompetitionData:
        return self.parts.data

    @property
    def folder(self) -> Path:
        return self.data.project.run(self.data.competition.name, self.name)

    @property
    def next(self) -> str:
        """The command that trains by the same recipe."""
        recipe = self.recipe
        usual = "tf_efficientnet_lite0" if recipe.model.pretrained else "densenet121"
        words = [f"make train COMP={self.data.competition.name} ARCH={recipe.model.arch or usual}"]
        if self.recipe_name != "baseline":
            words.append(f"RECIPE={self.recipe_name}")
        if recipe.training.seed:
            words.append(f"SEED={recipe.training.seed}")
        if self.overrides:
            words.append(f"SET={shlex.quote(self.overrides)}")
        return " ".join(words)


def resolved(
    data: CompetitionData, name: str, arch: str, overrides: str, seed: int, only: Sequence[int]
) -> Asked:
    """Resolve recipe `name` and the rest; what cannot be previewed is refused, nothing written."""
    own = data.competition.recipe_overrides()
    options = {"arch": arch, "competition": own, "overrides": overrides, "seed": seed}
    recipe = load_recipe(data.project, name, **options)
    folds = draft_shared(data)
    parts = Parts(data, folds, recipe.data.limit)
    used, undone = _statistics(recipe, data.competition.name)
    named = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"arch": recipe.model.arch or NO_ARCH})}
    )
    run = f"preview-{run_name(name, named, overrides)}"
    said = " ".join(overrides.split())
    asked = Asked(run, name, said, recipe, parts, _fold(folds, only), used, undone)
    if (asked.folder / "run.json").exists():
        raise PodiumError(
            f"{data.project.shown(asked.folder)}: a run, among whose files no sheets belong; "
            "rename its folder"
        )
    return asked


def _statistics(recipe: Recipe, comp: str) -> tuple[Statistics, Statistics]:
    """Return the mean and std of training, and those that the sheets take back."""
    arch, image = recipe.model.arch, recipe.image
    if not arch and recipe.model.pretrained and not (image.mean and image.std):
        raise PodiumError(
            "ARCH: which architecture? Mean and std are those of its weights. Type make preview "
            f"COMP={comp} ARCH=densenet121"
        )
    used = normalisation(recipe)
    if not arch or not statistics_warning(recipe):
        return used, used
    bare = image.model_copy(update={"mean": None, "std": None})
    return used, normalisation(recipe.model_copy(update={"image": bare}))


def _fold(folds: Folds, only: Sequence[int]) -> int:
    if len(set(only)) > 1:
        listed = " ".join(map(str, only))
        raise PodiumError(f"ONLY: a preview shows one fold, not {listed}; name one of them")
    fold = only[0] if only else folds.numbers[0]
    if fold not in folds.numbers:
        listed = ", ".join(map(str, folds.numbers))
        raise PodiumError(f"ONLY: there is no fold {fold}; the folds are {listed}")
    return fold
