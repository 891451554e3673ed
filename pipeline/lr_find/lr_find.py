"""`lr_find`: the learning-rate range test of a recipe, and a picture of its schedule.

L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3. The
recipe's own network, rows, augmentation, loss and optimiser take some steps at a rising rate.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project, checked_name
from pipeline.config.recipe import Recipe, load_recipe, run_name
from pipeline.errors import PodiumError
from pipeline.folds import Folds, draft_shared
from pipeline.lr_find.report import LrFind
from pipeline.lr_find.result import Asked, publish
from pipeline.lr_find.sweep import Rising, Sweep, bounds, sweep
from pipeline.training.check import check_recipe
from pipeline.training.networks.zoo import check_arch
from pipeline.training.run import Run
from pipeline.training.session import FoldSession

Say = Callable[[str], None]
EPOCHS = 1_000_000  # so many that every pass of a test counts as the beginning of a training


@dataclass(frozen=True)
class LrFindRequest:
    """What `make lr-find` was asked for; names as in the Makefile.

    `only`: the fold whose training rows are used, the first if it is empty. `steps`: how many, from
    the lowest rate to the highest.
    """

    comp: str
    arch: str
    recipe: str = "baseline"
    overrides: str = ""
    seeds: tuple[int, ...] = (0,)
    only: tuple[int, ...] = ()
    steps: int = 100


def lr_find(project: Project, request: LrFindRequest, say: Say) -> LrFind:
    """Take the steps for every seed, and write curves, suggestions and charts; return them.

    Neither folds nor runs are written.
    """
    _check_request(request)
    data = load_data(project, request.comp)
    for sentence in data.sentences:
        say(sentence)
    recipes = {seed: _recipe(data, request, seed) for seed in (0, *request.seeds)}
    asked = _asked(data, request, recipes)
    rising = Rising(*bounds(asked.recipe.optimizer.name), request.steps)
    sweeps: dict[int, Sweep] = {}
    for seed in request.seeds:
        session = _session(asked, recipes[seed])
        asked = replace(asked, per_epoch=len(session.batches))
        asked.check_schedule()
        sweeps[seed] = sweep(session, rising)
        why = sweeps[seed].stopped or f"up to a rate of {rising.high:g}"
        say(f"{asked.name}: seed {seed}, {len(sweeps[seed].lrs)} steps; {why}")
    return publish(asked, sweeps)


def _check_request(request: LrFindRequest) -> None:
    if request.arch:
        check_arch(request.arch)
    if not request.seeds or len(set(request.seeds)) < len(request.seeds):
        raise PodiumError(
            f"SEED: must name one seed or several different ones, got {list(request.seeds)}; "
            "type SEED='0 1 2'"
        )
    if len(set(request.only)) > 1:
        listed = " ".join(map(str, request.only))
        raise PodiumError(f"ONLY: a range test is of one fold, not {listed}; name one of them")


def _recipe(data: CompetitionData, request: LrFindRequest, seed: int) -> Recipe:
    """Return the recipe of a seed; one that cannot be followed is refused."""
    recipe = load_recipe(
        data.project,
        request.recipe,
        arch=request.arch,
        competition=data.competition.recipe_overrides(),
        overrides=request.overrides,
        seed=seed,
    )
    if not recipe.model.arch:
        raise PodiumError(
            "ARCH: which architecture? Type make lr-find ARCH=tf_efficientnet_lite0"
            + ("" if request.recipe == "baseline" else f" RECIPE={request.recipe}")
        )
    check_recipe(recipe, data)
    if not recipe.training.epochs:
        raise PodiumError("training.epochs: 0, which has no rate to find; set 1 or more")
    if recipe.features is not None:
        raise PodiumError(
            "features: a range test trains a whole network, and this recipe a head on frozen "
            "features; test SET='features=null model.freeze=backbone'"
        )
    return recipe


def _asked(data: CompetitionData, request: LrFindRequest, recipes: dict[int, Recipe]) -> Asked:
    """Return what the test is of; the folder is the recipe's, whatever the seeds."""
    plain = run_name(request.recipe, recipes[0], request.overrides)
    name, folds = checked_name(f"lr-find-{plain}", "RECIPE"), draft_shared(data)
    fold = _fold(folds, request)
    words = " ".join(request.overrides.split())
    given = request.recipe, words, recipes[request.seeds[0]]
    asked = Asked(name, *given, request.seeds, data, folds, fold, request.steps)
    if (asked.folder / "run.json").exists():
        raise PodiumError(
            f"{data.project.shown(asked.folder)}: a run, among whose files no range test belongs; "
            "rename its folder"
        )
    return asked


def _fold(folds: Folds, request: LrFindRequest) -> int:
    fold = request.only[0] if request.only else folds.numbers[0]
    if fold not in folds.numbers:
        listed = ", ".join(map(str, folds.numbers))
        raise PodiumError(f"ONLY: there is no fold {fold}; the folds are {listed}")
    return fold


def _session(asked: Asked, recipe: Recipe) -> FoldSession:
    """Open the fold as training would, in a folder where nothing is: it begins at the beginning.

    All passes see what a training's first epoch does, where the recipe changes sizes or mixing with
    the epochs, and no average of the weights is kept, since nothing is judged.
    """
    start = recipe.training.model_copy(update={"epochs": EPOCHS, "ema": 0.0, "swa": 0.0})
    begun = recipe.model_copy(update={"training": start})
    run = Run(asked.name, asked.recipe_name, begun, asked.data, asked.folds)
    return FoldSession(run.jobs([asked.fold])[0][0])
