"""What keeps a recipe from being followed, found before anything is written."""

import torch

from pipeline.competition import CompetitionData
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.images.augment import sizes
from pipeline.training.device import device_of
from pipeline.training.frozen.features import check_features
from pipeline.training.learning.losses import check_loss
from pipeline.training.learning.schedules import build_rates, check_schedule
from pipeline.training.networks.depth import freeze
from pipeline.training.networks.heads import check_head, is_ordered
from pipeline.training.networks.outputs import with_outputs
from pipeline.training.networks.zoo import build_model, check_arch, check_weights
from pipeline.training.processes import check_processes


def check_recipe(recipe: Recipe, data: CompetitionData) -> None:
    """Refuse a recipe whose keys do not go together, or not with this data or machine."""
    check_keys(recipe, data)
    check_weights(recipe)
    device_of(recipe.runtime.device)
    if recipe.runtime.processes > 1:
        check_processes(recipe)


def check_keys(recipe: Recipe, data: CompetitionData) -> None:
    """Refuse a recipe whose keys do not go together, or not with this data, on any machine."""
    task = data.competition.task
    check_arch(recipe.model.arch)
    check_head(recipe, task, len(data.classes), is_ordered(data))
    check_loss(recipe, task)
    check_schedule(recipe)
    check_features(recipe)
    sizes(recipe.augment, recipe.image, max(1, recipe.training.epochs))
    after, epochs = recipe.model.unfreeze_after, recipe.training.epochs
    if after is not None and after >= epochs:
        raise PodiumError(
            f"model.unfreeze_after: {after}, but training.epochs is {epochs}, so that nothing "
            "would be unfrozen; lower it, or leave it out"
        )


def idle_keys(recipe: Recipe) -> list[str]:
    """Return a warning for each key that was changed and does nothing, since what it belongs to is
    off; they are no errors, so that one SET can switch a recipe's loss or schedule."""
    loss, schedule, optimizer = recipe.loss, recipe.schedule, recipe.optimizer
    augment, mix, views = recipe.augment, recipe.mix, recipe.views
    cyclic = schedule.name in ("cyclic", "cosine-restarts")
    uses = {
        ("loss", "gamma"): loss.name == "focal",
        ("loss", "gamma_negative"): loss.name == "asymmetric",
        ("loss", "gamma_positive"): loss.name == "asymmetric",
        ("loss", "clip"): loss.name == "asymmetric",
        ("loss", "beta"): loss.class_weights == "effective",
        ("optimizer", "momentum"): optimizer.name in ("sgd", "rmsprop"),
        ("optimizer", "nesterov"): optimizer.name == "sgd",
        ("schedule", "cycles"): cyclic,
        ("schedule", "cycle_growth"): schedule.name == "cosine-restarts",
        ("schedule", "factor"): schedule.name == "plateau",
        ("schedule", "patience"): schedule.name == "plateau",
        ("schedule", "monitor"): schedule.name == "plateau",
        ("augment", "magnitude"): augment.rand_augment > 0,
        ("augment", "full_size_from"): augment.first_size is not None,
        ("mix", "mixup"): mix.is_on,
        ("mix", "cutmix"): mix.is_on,
        ("mix", "share"): mix.is_on,
        ("mix", "until"): mix.is_on,
        ("views", "crop_share"): views.crops > 1,
        ("views", "average"): not views.is_single,
        ("runtime", "sync_batch_norm"): recipe.runtime.processes > 1,
        ("runtime", "processes"): recipe.features is None,
    }
    found, default = [], Recipe()
    for (section, key), used in uses.items():
        value = getattr(getattr(recipe, section), key)
        if not used and value != getattr(getattr(default, section), key):
            shown = f"{value:g}" if isinstance(value, float) else value
            found.append(f"{section}.{key}={shown} does nothing here: what it belongs to is off")
    crop = recipe.image.crop
    used_by = {"sides": ("top", "bottom", "left", "right"), "centre": ("width", "height")}
    idle = [k for kind, keys in used_by.items() if kind != crop.kind for k in keys]
    cut = [key for key in idle if getattr(crop, key)]
    if cut:
        found.append(f"image.crop.{cut[0]} does nothing here: image.crop.kind is {crop.kind}")
    return found


def check_network(recipe: Recipe, data: CompetitionData) -> None:
    """Refuse a recipe whose network cannot be built; it is built, and dropped again."""
    with torch.random.fork_rng(devices=[]):
        n_classes = len(data.classes)
        model = build_model(recipe, n_classes)
        model = with_outputs(model, recipe, data.competition.task, n_classes)
        freeze(model, recipe.model.freeze)
        growing = sizes(recipe.augment, recipe.image, max(1, recipe.training.epochs))
        for key, found in (("views.sizes", recipe.views.sizes), ("augment.first_size", growing)):
            for size in sorted(set(found) - {recipe.image.size}):
                _check_size(model, recipe, size, key)


def check_steps(recipe: Recipe, rows: int) -> None:
    """Refuse a schedule whose cycles are too short for the steps that `rows` make."""
    epochs, size = recipe.training.epochs, recipe.training.batch_size
    if recipe.features is None or recipe.features.fit == "gradient":
        build_rates(recipe.schedule, recipe.optimizer, max(1, rows // size), epochs)


def _check_size(model: torch.nn.Module, recipe: Recipe, size: int, key: str) -> None:
    """Refuse a size of pictures that the network, built for another, cannot take."""
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, recipe.image.channels, size, size))
    except (RuntimeError, ValueError, AssertionError) as error:
        short = str(error).splitlines()[0][:100]
        raise PodiumError(
            f"{key}: {recipe.model.arch} for images of {recipe.image.size} px cannot take "
            f"{size} px ({short}); leave it out, or take another ARCH"
        ) from None
