"""What keeps a recipe from being followed, found before anything is written."""

import torch

from pipeline.competition import CompetitionData
from pipeline.config.recipe import Recipe
from pipeline.training.depth import freeze
from pipeline.training.heads import check_head, is_ordered
from pipeline.training.losses import check_loss
from pipeline.training.outputs import with_outputs
from pipeline.training.schedules import check_schedule
from pipeline.training.zoo import build_model, check_arch, check_weights


def check_recipe(recipe: Recipe, data: CompetitionData) -> None:
    """Refuse a recipe whose keys do not go together, or not with this data."""
    task = data.competition.task
    check_arch(recipe.model.arch)
    check_weights(recipe)
    check_head(recipe, task, len(data.classes), is_ordered(data))
    check_loss(recipe, task)
    check_schedule(recipe)


def check_network(recipe: Recipe, data: CompetitionData) -> None:
    """Refuse a recipe whose network cannot be built; it is built, and dropped again."""
    with torch.random.fork_rng(devices=[]):
        n_classes = len(data.classes)
        model = build_model(recipe, n_classes)
        freeze(with_outputs(model, recipe, data.competition.task, n_classes), recipe.model.freeze)
