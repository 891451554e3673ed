"""`learning_curve`: one recipe on nested subsets of its training rows, and what more would bring.

Every point is a fold trained as `make train` does: same validation rows, same epochs. What is
finished is kept, and a finished fold of a run of the same recipe stands for the full size.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tqdm import tqdm

from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project, checked_name
from pipeline.config.recipe import Recipe, load_recipe, run_name
from pipeline.curve.chart import draw
from pipeline.curve.forecast import counted
from pipeline.curve.law import MIN_SIZES
from pipeline.curve.plan import Plan, make_plan
from pipeline.curve.report import Curve
from pipeline.curve.result import Result, perfect_score, publish
from pipeline.curve.study import Point, Study
from pipeline.errors import Busy, PodiumError
from pipeline.folds import draft_shared
from pipeline.training.check import check_network, check_recipe
from pipeline.training.gate import check_audit
from pipeline.training.networks.zoo import check_arch
from pipeline.training.train import shared_folds

Say = Callable[[str], None]


@dataclass(frozen=True)
class CurveRequest:
    """What `make learning-curve` was asked for; names as in the Makefile.

    `only`: the folds to validate on, over which scores are pooled. `steps`: how many sizes, each
    half of the one before.
    """

    comp: str
    arch: str
    recipe: str = "baseline"
    overrides: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)
    only: tuple[int, ...] = (0,)
    steps: int = 4
    fresh: bool = False
    name: str = ""


def learning_curve(project: Project, request: CurveRequest, say: Say) -> Curve:
    """Train the points that are missing, fit the law and write the curve; return it."""
    _check_request(request)
    data = load_data(project, request.comp)
    for sentence in data.sentences:
        say(sentence)
    study = _study(data, request)
    check_audit(data, study.folds, say)
    folds = _folds(study, request)
    plan = make_plan(study, request.seeds, folds, request.steps)
    perfect_score(study, folds)  # a metric that is undefined on these rows is named before work
    if not request.fresh:
        study.check_there()
    left = [p for p in plan.points if request.fresh or not study.is_finished(p)]
    if left:  # what cannot be trained leaves nothing behind, and costs nothing that is there
        study.check_trainable()
        check_network(study.recipe, data)
    shared_folds(data, say)
    study.open(fresh=request.fresh)
    _train(study, plan, left, say)
    return _curve(study, request, publish(study, plan))


def _check_request(request: CurveRequest) -> None:
    if not request.arch:
        raise PodiumError(
            "ARCH: which architecture? Type make learning-curve ARCH=tf_efficientnet_lite0"
        )
    check_arch(request.arch)
    if not request.seeds or len(set(request.seeds)) < len(request.seeds):
        raise PodiumError(
            f"SEED: must name one seed or several different ones, got {list(request.seeds)}; "
            "type SEED='0 1 2'"
        )
    if request.steps < MIN_SIZES:
        raise PodiumError(
            f"STEPS: a law needs at least {MIN_SIZES} sizes, got {request.steps}; type STEPS=4"
        )


def _study(data: CompetitionData, request: CurveRequest) -> Study:
    """Return the curve's trainings on the folds that are there, or would be made."""
    recipes = {seed: _recipe(data, request, seed) for seed in {0, *request.seeds}}
    recipe = recipes[0]
    if recipe.data.limit is not None:
        raise PodiumError(
            f"LIMIT: the recipe has data.limit={recipe.data.limit}, but a learning curve takes "
            "subsets of all rows itself; leave it out"
        )
    if recipe.teacher.run:
        raise PodiumError(
            f"teacher.run: {recipe.teacher.run!r}, but a learning curve is of the labelled rows "
            "alone; leave it out"
        )
    check_recipe(recipe, data)
    plain = run_name(request.recipe, recipe, request.overrides, request.name)
    name = checked_name(f"curve-{plain}", "NAME")
    return Study(name, request.recipe, recipe, data, draft_shared(data), recipes=recipes)


def _recipe(data: CompetitionData, request: CurveRequest, seed: int) -> Recipe:
    return load_recipe(
        data.project,
        request.recipe,
        arch=request.arch,
        competition=data.competition.recipe_overrides(),
        overrides=request.overrides,
        seed=seed,
    )


def _folds(study: Study, request: CurveRequest) -> list[int]:
    """Return the folds to validate on, the first one where none is named."""
    known = study.folds.numbers
    unknown = [number for number in request.only if number not in known]
    if unknown:
        raise PodiumError(
            f"ONLY: there is no fold {unknown[0]}; the folds are {', '.join(map(str, known))}"
        )
    return sorted(set(request.only)) or known[:1]


def _train(study: Study, plan: Plan, left: list[Point], say: Say) -> None:
    """Finish the points, writing the curve so far after each; one in work elsewhere is left."""
    if not left:
        say(f"{study.name}: nothing to train, {len(plan.points)} of {len(plan.points)} finished")
        return
    pixels, said = study.parts.open(study.recipe.image)
    if study.weights:
        say(f"{study.name}: {study.weights['said']}")
    say(f"{study.name}: {len(left)} of {counted(len(plan.points), 'training')} to do; {said}")
    busy: list[str] = []
    for point in tqdm(left, "points", unit="point", disable=None, leave=False):
        try:
            record = study.finish(point, plan.rows[point], pixels)
        except Busy as error:
            busy.append(str(error))
            say(f"{study.name}: {point.title} left out: {error}")
            continue
        score = "-" if record["score"] is None else f"{record['score']:.4f}"
        how = f"in {record['seconds']:.0f} s"
        if "taken_from" in record:
            how = f"taken from the run {record['taken_from']}"
        say(f"{study.name}: {point.title}, {counted(len(plan.rows[point]), 'row')} {score} {how}")
        publish(study, plan)
    if len(busy) == len(left):
        raise Busy(busy[0])


def _curve(study: Study, request: CurveRequest, found: Result) -> Curve:
    """Draw the chart and return the curve."""
    folder, project = study.folder, study.data.project
    paths = [folder / name for name in ("curve.json", "curve.csv")]
    if found.sizes:
        paths.append(folder / "curve.png")
        title = f"{request.comp}, {request.arch}: learning curve"
        draw(paths[-1], title, found.sizes, found.scale, found.forecast.law)
    shown = tuple(project.shown(path) for path in paths)
    return Curve(study.name, study.data.metric.name, found.record, tuple(paths), shown)
