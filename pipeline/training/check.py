"""What keeps a recipe from being followed, found before anything is written."""

import torch

from pipeline.competition import CompetitionData
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.frozen.features import check_features
from pipeline.training.learning.losses import check_loss
from pipeline.training.learning.schedules import check_schedule
from pipeline.training.networks.depth import freeze
from pipeline.training.networks.heads import check_head, is_ordered
from pipeline.training.networks.outputs import with_outputs
from pipeline.training.networks.zoo import build_model, check_arch, check_weights


def check_recipe(recipe: Recipe, data: CompetitionData) -> None:
    """Refuse a recipe whose keys do not go together, or not with this data."""
    task = data.competition.task
    check_arch(recipe.model.arch)
    check_weights(recipe)
    check_head(recipe, task, len(data.classes), is_ordered(data))
    check_loss(recipe, task)
    check_schedule(recipe)
    check_features(recipe)


def check_network(recipe: Recipe, data: CompetitionData) -> None:
    """Refuse a recipe whose network cannot be built; it is built, and dropped again."""
    with torch.random.fork_rng(devices=[]):
        n_classes = len(data.classes)
        model = build_model(recipe, n_classes)
        model = with_outputs(model, recipe, data.competition.task, n_classes)
        freeze(model, recipe.model.freeze)
        for size in recipe.views.sizes:
            _check_size(model, recipe, size)


def _check_size(model: torch.nn.Module, recipe: Recipe, size: int) -> None:
    """Refuse a size of test pictures that the network, built for another, cannot take."""
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, recipe.image.channels, size, size))
    except (RuntimeError, ValueError, AssertionError) as error:
        short = str(error).splitlines()[0][:100]
        raise PodiumError(
            f"views.sizes: {recipe.model.arch} for images of {recipe.image.size} px cannot take "
            f"{size} px ({short}); take sizes=[{recipe.image.size}], or another ARCH"
        ) from None
