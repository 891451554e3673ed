"""`train`: several architectures and seeds, each a run; only what is missing is trained."""

from collections.abc import Callable, Iterable

from tqdm import tqdm

from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.config.recipe import Recipe, load_recipe, replaced_keys, run_name
from pipeline.config.times import duration
from pipeline.errors import Busy, PodiumError
from pipeline.folds import (
    Folds,
    draft_shared,
    draft_splits,
    load_shared,
    make_shared,
    make_splits,
)
from pipeline.training import planner
from pipeline.training.assemble import Summary, assemble
from pipeline.training.check import check_network, check_recipe, check_steps, idle_keys
from pipeline.training.fold import is_finished, train_fold
from pipeline.training.gate import check_audit
from pipeline.training.job import FoldJob
from pipeline.training.learning.losses import imbalance_warnings
from pipeline.training.refit import Refit, refit_name
from pipeline.training.request import TrainRequest, check_request
from pipeline.training.run import Run
from pipeline.training.wave import check_outcome, work_off
from pipeline.training.work import told

Say = Callable[[str], None]


def train(project: Project, request: TrainRequest, say: Say) -> list[Summary]:
    """Train what is missing of every run asked for; return their summaries in order."""
    archs = check_request(project, request)
    data = load_data(project, request.comp)
    for line in data.sentences:
        say(line)
    recipes = [_recipe(data, request, a, s) for a in archs for s in request.seed]
    for line in _overridden(data, request):
        say(line)
    for _, recipe in recipes:
        check_recipe(recipe, data)
    drafted = draft_shared(data)
    check_audit(data, drafted, say)
    _check_drafts(drafted, data, recipes, request)  # whatever is refused leaves nothing behind
    folds = shared_folds(data, say)
    runs = [_run(data, folds, request, *named, say) for named in recipes]
    chosen = _within_budget([(run, _wanted(run, request)) for run in runs], request, say)
    if request.engine is not None:
        return _train_together(chosen, request, say)
    return [summary for run, wanted in chosen for summary in _train_run(run, wanted, request, say)]


def _wanted(run: Run, request: TrainRequest) -> list[int]:
    return sorted(set(request.only)) or run.numbers


def _within_budget(
    asked: list[tuple[Run, list[int]]], request: TrainRequest, say: Say
) -> list[tuple[Run, list[int]]]:
    """Return what fits into the budget, or all of it if whoever asked says so."""
    if request.budget is None:
        return asked
    plan = planner.plan(asked, request.budget, fresh=request.fresh)
    say(plan.table())
    if not plan.beyond:
        return asked
    question = f"{duration(plan.beyond)} beyond the budget: train all of it?"
    if request.ask(question):
        return asked
    chosen = [(cost.run, list(folds)) for cost, folds in zip(plan.costs, plan.chosen, strict=True)]
    return [(run, folds) for run, folds in chosen if folds]


def _overridden(data: CompetitionData, request: TrainRequest) -> list[str]:
    """Say what of a recipe but the baseline the competition's YAML replaces."""
    asked = request.recipe, data.competition.recipe_overrides(), request.overrides
    found = [] if request.recipe == "baseline" else replaced_keys(data.project, *asked)
    if not found:
        return []
    return [f"{data.yaml} goes before RECIPE={request.recipe}: {'; '.join(found)}"]


def _check_drafts(
    folds: Folds, data: CompetitionData, recipes: list[tuple[str, Recipe]], request: TrainRequest
) -> None:
    """Refuse what cannot be trained, on the folds that are there or would be made."""
    for name, recipe in recipes:
        repeats = draft_splits(data, folds, recipe.training.repeats).repeats[1:]
        run = Run(name, request.recipe, recipe, data, folds, repeats)
        unknown = [number for number in request.only if number not in run.numbers]
        if unknown:
            raise PodiumError(
                f"ONLY: there is no fold {unknown[0]}; the folds are {_listed(run.numbers)}"
            )
        if not request.fresh:
            run.check_there()
        finished = [] if request.fresh else run.finished_folds()
        left = [n for n in run.numbers if n not in finished]
        if request.refit:
            Refit.refuse_foreign(run, fresh=request.fresh)
            untrained = [n for n in left if request.only and n not in request.only]
            if untrained:
                raise PodiumError(
                    f"REFIT: needs all folds of {name}, but ONLY= leaves out {_listed(untrained)}; "
                    "train without ONLY"
                )
        if left:
            run.check_trainable([n for n in left if not request.only or n in request.only])


def _run(
    data: CompetitionData, folds: Folds, request: TrainRequest, name: str, recipe: Recipe, say: Say
) -> Run:
    """Return a run on the shared folds; make the repeats of these that it lacks."""
    splits, made = make_splits(data, folds, recipe.training.repeats)
    for path in made:
        say(f"folds: made {data.project.shown(path)}, the same rows dealt by another seed")
    return Run(name, request.recipe, recipe, data, folds, splits.repeats[1:])


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


def _train_run(run: Run, wanted: list[int], request: TrainRequest, say: Say) -> list[Summary]:
    """Train what is missing of a run and, if asked for, its refit; return their summaries."""
    _prepare(run, wanted, request)
    run.open(fresh=request.fresh)
    _train_jobs(run, _missing(run, wanted, say), say)
    summary = assemble(run)
    if not request.refit:
        return [summary]
    refit = _refit(run, summary, request, say)
    _train_jobs(refit, _missing(refit, refit.numbers, say), say)
    return [summary, refit.assemble()]


def _train_together(
    chosen: list[tuple[Run, list[int]]], request: TrainRequest, say: Say
) -> list[Summary]:
    """Let the engine train what is missing of all runs, then of all refits."""
    for run, wanted in chosen:
        _prepare(run, wanted, request)
    for run, _ in chosen:
        run.open(fresh=request.fresh)
    missing = [(run, _missing(run, wanted, say)) for run, wanted in chosen]
    outcomes = [work_off(missing, request.engine, say)]
    if request.refit:
        refits: list[tuple[Run, list[FoldJob]]] = []
        for run, _ in missing:
            try:
                refit = _refit(run, outcomes[0].summaries.get(run.name), request, say)
                refits.append((refit, _missing(refit, refit.numbers, say)))
            except PodiumError as error:
                outcomes[0].failed.append(f"{run.name}: {error}")
        outcomes.append(work_off(refits, request.engine, say))
    check_outcome(outcomes, say)
    made = {name: summary for outcome in outcomes for name, summary in outcome.summaries.items()}
    names = [run.name for run, _ in chosen]
    if request.refit:
        names = [each for name in names for each in (name, refit_name(name))]
    return [made[name] for name in names]


def _prepare(run: Run, wanted: list[int], request: TrainRequest) -> None:
    """Refuse what cannot be trained, so that it leaves nothing behind."""
    if request.fresh or set(wanted) - set(run.finished_folds()):
        rows = run.parts.trained(run.splits.train_rows(wanted[0]))
        check_steps(run.recipe, len(rows))
        check_network(run.recipe, run.data)
        run.jobs(wanted)  # nor does it cost the run that is there


def _missing(run: Run, wanted: list[int], say: Say) -> list[FoldJob]:
    """Return the jobs that are not finished, and say how many there are."""
    missing = [number for number in wanted if not is_finished(run.fold_folder(number))]
    what = _listed(run.label(number) for number in wanted)
    if not missing:
        done = f"{what} is finished" if run.origin else f"folds {what} are finished"
        say(f"{run.name}: nothing to train, {done}")
        return []
    jobs, pixels = run.jobs(missing)
    if run.weights:
        say(f"{run.name}: {run.weights['said']}")
    before = imbalance_warnings(run.recipe) + idle_keys(run.recipe)  # hours are spent on it
    for warning in before:
        say(f"warning: {run.name}: {warning}")
    todo = f"{len(missing)} of {len(run.numbers)} folds"
    if run.origin:
        todo = f"{len(jobs[0].train):,} rows, {run.recipe.training.epochs} epochs"
    say(f"{run.name}: {todo} to train; {pixels}")
    return jobs


def _train_jobs(run: Run, jobs: list[FoldJob], say: Say) -> None:
    """Train job after job in this process."""
    busy: list[str] = []
    for job in tqdm(jobs, "folds", unit="fold", disable=None, leave=False):
        _work(run, job, busy, say)
    if busy and len(busy) == len(jobs):
        raise Busy(busy[0])


def _refit(run: Run, summary: Summary | None, request: TrainRequest, say: Say) -> Refit:
    """Return the refit of a run whose folds are finished, its folder made."""
    if summary is None or not summary.complete:
        raise PodiumError(
            f"REFIT: needs all folds of {run.name}, but some are in work elsewhere or failed; run "
            "the same command again when they are finished"
        )
    Refit.refuse_foreign(run)  # another process may have made it meanwhile
    refit = Refit.of(run, summary)
    outdated = refit.outdated() and not request.fresh
    if outdated:
        say(f"{refit.name}: made anew, since {run.name} has other out-of-fold predictions now")
    if request.fresh or outdated or not refit.finished_folds():
        refit.check_trainable()
    refit.open(fresh=request.fresh)
    return refit


def _work(run: Run, job: FoldJob, busy: list[str], say: Say) -> None:
    """Train one fold under its lock; one that another process works on is left to it."""
    try:
        with run.lock_job(job.folder.name):
            run.check_same()  # another process may have started it anew meanwhile
            if not is_finished(job.folder):
                record = train_fold(job)
                say(f"{run.name}: {told(job.title, record, refit=run.origin is not None)}")
    except Busy as error:
        busy.append(str(error))
        say(f"{run.name}: {job.title} left out: {error}")


def _listed(numbers: Iterable[int | str]) -> str:
    return ", ".join(map(str, numbers))
