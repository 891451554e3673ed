"""`train`: several architectures and seeds, each a run; only what is missing is trained."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.config.recipe import Recipe, load_recipe, run_name
from pipeline.errors import Busy, PodiumError
from pipeline.folds import Folds, load_shared, make_shared
from pipeline.training.assemble import Summary, assemble
from pipeline.training.fold import FoldJob, is_finished, train_fold
from pipeline.training.run import Run
from pipeline.training.zoo import build_model, check_arch, check_weights

Say = Callable[[str], None]
Executor = Callable[[Callable[[FoldJob], None], Sequence[FoldJob]], None]


def one_after_another(work: Callable[[FoldJob], None], jobs: Sequence[FoldJob]) -> None:
    """The simplest executor: this process, job by job."""
    for job in tqdm(jobs, "folds", unit="fold", disable=None, leave=False):
        work(job)


@dataclass(frozen=True)
class TrainRequest:
    """What `make train` was asked for; names as in the Makefile."""

    comp: str
    arch: Sequence[str]
    recipe: str = "baseline"
    seed: Sequence[int] = (0,)
    overrides: str = ""
    name: str = ""
    only: Sequence[int] = ()
    limit: int | None = None
    fresh: bool = False
    execute: Executor = field(default=one_after_another)


def train(project: Project, request: TrainRequest, say: Say) -> list[Summary]:
    """Train what is missing of every run asked for; return their summaries in order."""
    if not request.arch:
        raise PodiumError(
            "ARCH: which architecture? Type make train ARCH=densenet121, or several: "
            "make train ARCH='densenet121 resnet18'"
        )
    if not request.seed:
        raise PodiumError("SEED: which seed? Type SEED=0, or several: SEED='0 1 2'")
    if request.name.startswith("ensemble-"):
        raise PodiumError(f"NAME: {request.name!r} is the name of an ensemble; choose another")
    for arch in request.arch:
        check_arch(arch)
    if request.name and len(request.arch) * len(request.seed) > 1:
        raise PodiumError(
            f"NAME: {request.name!r} can name one run, not {len(request.arch)} architectures x "
            f"{len(request.seed)} seeds; leave NAME out"
        )
    data = load_data(project, request.comp)
    recipes = [_recipe(data, request, a, s) for a in request.arch for s in request.seed]
    for _, recipe in recipes:
        check_weights(recipe)
    folds = shared_folds(data, say)  # after the recipes, whose faults leave nothing behind
    unknown = [fold for fold in request.only if fold not in folds.numbers]
    if unknown:
        known = ", ".join(map(str, folds.numbers))
        raise PodiumError(f"ONLY: there is no fold {unknown[0]}; the folds are {known}")
    runs = [Run(name, request.recipe, recipe, data, folds) for name, recipe in recipes]
    return [_train_run(run, request, say) for run in runs]


def shared_folds(data: CompetitionData, say: Say) -> Folds:
    """Return the competition's folds; make five where there are none yet."""
    path = data.project.folds(data.competition.name)
    if path.exists():
        return load_shared(data)
    folds, _ = make_shared(data)
    what = f"{len(folds.numbers)} folds ({folds.info['scheme']})"
    say(f"folds: made {data.project.shown(path)}, {what}")
    return folds


def _recipe(
    data: CompetitionData, request: TrainRequest, arch: str, seed: int
) -> tuple[str, Recipe]:
    """Return the name of a run and its resolved recipe."""
    recipe = load_recipe(
        data.project,
        request.recipe,
        arch=arch,
        competition=data.competition.recipe_overrides(),
        overrides=request.overrides,
        seed=seed,
        limit=request.limit,
    )
    return run_name(request.recipe, recipe, request.overrides, request.name), recipe


def _train_run(run: Run, request: TrainRequest, say: Say) -> Summary:
    if request.fresh:  # what cannot be trained must not cost the run that is there
        run.jobs(None)
        build_model(run.recipe, len(run.data.classes))
    run.open(fresh=request.fresh)
    wanted = sorted(set(request.only)) or list(run.folds.numbers)
    missing = [fold for fold in wanted if not is_finished(run.fold_folder(fold))]
    if missing:
        jobs, pixels = run.jobs(missing)
        say(f"{run.name}: {len(missing)} of {len(run.folds.numbers)} folds to train; {pixels}")
        busy: list[str] = []
        request.execute(lambda job: _work(run, job, busy, say), jobs)
        if len(busy) == len(missing):
            raise Busy(busy[0])
    else:
        say(f"{run.name}: nothing to train, folds {_listed(wanted)} are finished")
    return assemble(run)


def _work(run: Run, job: FoldJob, busy: list[str], say: Say) -> None:
    """Train one fold under its lock; one that another process works on is left to it."""
    try:
        with run.lock_fold(job.fold):
            run.check_same()  # another process may have started it anew meanwhile
            if not is_finished(job.folder):
                record = train_fold(job)
                score = "-" if record["score"] is None else f"{record['score']:.4f}"
                resumed = record["resumed_at_epoch"]
                note = f", resumed after epoch {resumed}" if resumed else ""
                say(f"{run.name}: fold {job.fold} {score} in {record['seconds']:.0f} s{note}")
    except Busy as error:
        busy.append(str(error))
        say(f"{run.name}: fold {job.fold} left out: {error}")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
