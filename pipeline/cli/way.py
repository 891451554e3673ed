"""The verbs from folds to the leaderboard."""

from typing import Annotated

import typer

from pipeline.artifacts.columns import left_out
from pipeline.cli.app import (
    Comp,
    Fresh,
    Overrides,
    Recipe,
    app,
    confirmed,
    data_and_folds,
    numbers,
    project_here,
    words,
)
from pipeline.config.times import parse_budget
from pipeline.errors import PodiumError
from pipeline.show import (
    graded_table,
    next_after_training,
    parts,
    say,
    standings_table,
    summaries_table,
    usual_arch,
)


@app.command()
def demo(comp: Comp = "digits") -> None:
    """Run the main job from nothing: folds, two runs, ensemble, submissions, scores."""
    from pipeline.demo import demo as run_demo

    project = project_here()
    made = run_demo(project, comp, say)
    print(f"\n{standings_table(made.data, made.standings)}\n\nwritten:")
    for path in made.paths:
        print(f"  {project.shown(path)}")
    print("\nnext: make train ARCH=densenet121, then make ensemble, make submit, make score")


@app.command()
def folds(
    comp: Comp = "digits",
    folds: Annotated[int, typer.Option(help="how many; 1 makes a hold-out")] = 5,
    holdout: Annotated[float | None, typer.Option(help="share, with --folds 1; 0.2")] = None,
    test: Annotated[float, typer.Option(help="share kept apart as a local test split")] = 0.0,
    seed: Annotated[int, typer.Option(help="of the split")] = 0,
    data: Annotated[str, typer.Option(help="a CSV id,fold[,group] to take them from")] = "",
    fresh: Fresh = False,
) -> None:
    """Make the folds that all runs share, or take given ones; never remade unless --fresh."""
    from pipeline.competition import load_data
    from pipeline.folds import balance_table, duplicates_sentence, install_given, make_shared

    project, given = project_here(), data
    data = load_data(project, comp)
    path = project.folds(comp)
    options = {"n_folds": folds, "holdout": holdout, "test": test, "seed": seed}
    if given and options != {"n_folds": 5, "holdout": None, "test": 0.0, "seed": 0}:
        raise PodiumError(
            f"folds: DATA={given} says them all; leave FOLDS, HOLDOUT, TEST, SEED out"
        )
    if given:
        found, made = install_given(data, given, fresh=fresh)
    else:
        found, made = make_shared(data, **options, fresh=fresh)
    print(f"{project.shown(path)}: {'made' if made else 'there already, unchanged'}, {found.hash}")
    for sentence in data.sentences:
        print(sentence)
    print(duplicates_sentence(found))
    print(balance_table(found.info))
    print(f"next: make train COMP={comp} ARCH={usual_arch(data.competition)}")


@app.command()
def train(
    comp: Comp = "digits",
    arch: Annotated[str, typer.Option(help="one or several timm names, lenet, simple-cnn")] = "",
    recipe: Recipe = "baseline",
    seed: Annotated[str, typer.Option(help="one or several; each is a run")] = "0",
    set: Overrides = "",
    name: Annotated[str, typer.Option(help="name of the run")] = "",
    only: Annotated[str, typer.Option(help="folds to run now")] = "",
    limit: Annotated[int | None, typer.Option(help="rows, for a smoke run")] = None,
    refit: Annotated[bool, typer.Option("--refit", help="then one network on all rows")] = False,
    budget: Annotated[str, typer.Option(help="'2h': measure first, train what fits")] = "",
    executor: Annotated[str, typer.Option(help="who does the jobs: local, ray, slurm")] = "local",
    workers: Annotated[int | None, typer.Option(help="jobs at a time")] = None,
    fresh: Fresh = False,
) -> None:
    """Train every architecture on every fold; only what is missing is run."""
    seconds = parse_budget(budget) if budget else None
    seeds, folds_now = numbers(seed, "SEED"), numbers(only, "ONLY")
    from pipeline.cluster.choose import engine_for
    from pipeline.training.request import TrainRequest
    from pipeline.training.train import train as run_train

    project = project_here()
    logs = project.runs(comp) / ".jobs"
    engine = engine_for(project, executor, workers, logs, say, alone=seconds is not None)
    asked = comp, words(arch), recipe, seeds, set, name, folds_now, limit, fresh
    request = TrainRequest(*asked, refit=refit, budget=seconds, ask=confirmed, engine=engine)
    summaries = run_train(project, request, say)
    if not summaries:
        print("nothing fits; a longer BUDGET, or fewer epochs, smaller pictures, LIMIT=")
        return
    print(f"\n{summaries_table(summaries)}")
    print(f"next: {next_after_training(summaries, comp)}")


@app.command(name="import")
def import_(
    comp: Comp = "digits",
    data: Annotated[str, typer.Option(help="oof.csv,test.csv[,folds.csv], or .npz")] = "",
    name: Annotated[str, typer.Option(help="of the run")] = "",
    seconds: Annotated[float, typer.Option(help="that its training took")] = 0.0,
    fresh: Fresh = False,
) -> None:
    """Take predictions from anywhere as a run that ensembles can join."""
    from pipeline.ensemble.imports import import_run, report

    if not data or not name:
        raise PodiumError(f"import: what? make import COMP={comp} DATA=oof.csv,test.csv NAME=x")
    competition, found = data_and_folds(comp)
    made = import_run(competition, found, data, name, seconds=seconds, fresh=fresh)
    print(report(competition, made))


@app.command()
def ensemble(
    comp: Comp = "digits",
    runs: Annotated[str, typer.Option(help="runs to blend; all finished ones if empty")] = "",
    name: Annotated[str, typer.Option(help="of the ensemble")] = "",
    blend: Annotated[str, typer.Option(help="blends that compete; all if empty")] = "",
    rule: Annotated[str, typer.Option(help="rules that compete; all if empty")] = "",
    calibration: Annotated[str, typer.Option(help="calibrations that compete")] = "",
    mixed: Annotated[bool, typer.Option("--mixed-folds", help="runs of other folds, too")] = False,
) -> None:
    """Blend runs, choose the decision rule, and score both honestly."""
    from pipeline.ensemble.build import build_ensemble
    from pipeline.ensemble.choice import Menu
    from pipeline.ensemble.report import next_after_deciding, report_parts

    data, found = data_and_folds(comp)
    menu = Menu(*(tuple(words(asked)) for asked in (blend, rule, calibration)))
    made = build_ensemble(data, found, words(runs) or None, name, mixed=mixed, menu=menu)
    print(parts(report_parts(made)))
    print(f"next: {next_after_deciding(made, comp, data.sample is not None)}")


@app.command()
def submit(
    comp: Comp = "digits",
    source: Annotated[str, typer.Option("--from", help="run or ensemble; newest ensemble")] = "",
    upload: Annotated[bool, typer.Option("--upload", help="send it to Kaggle, too")] = False,
) -> None:
    """Write a checked submission and its row in the ledger; with --upload, send it to Kaggle."""
    from pipeline.submission.standings import submit as run_submit

    project = project_here()
    data, found = data_and_folds(comp)
    if upload:
        from pipeline.submission.upload import slug_of, uploaded_parts
        from pipeline.submission.upload import upload as run_upload

        slug_of(data)  # where it is to be sent is asked before anything is written
    decided, submission = run_submit(data, found, source)
    for warning in decided.record["warnings"]:
        print(f"warning: {warning}")
    done = "written and checked" if submission.made else "there already, unchanged"
    print(f"{project.shown(submission.path)}: {done}, {len(data.test):,} rows")
    print(f"entered as number {submission.number} in {project.shown(project.ledger(comp))}")
    if not upload:
        print(f"next: make score COMP={comp}, or make score COMP={comp} SCORE=... from the site")
        return
    print(parts(uploaded_parts(run_upload(data, submission.number, say))))
    print(f"next: make leaderboard COMP={comp}")


@app.command()
def predict(
    comp: Comp = "digits",
    source: Annotated[str, typer.Option("--from", help="run or ensemble; newest ensemble")] = "",
    data: Annotated[str, typer.Option(help="folder of pictures, or one picture")] = "",
    confidence: Annotated[float | None, typer.Option(help="below it: don't know")] = None,
    out: Annotated[str, typer.Option(help="CSV to write")] = "",
) -> None:
    """Answer new pictures with a run or ensemble: a CSV of answers and probabilities."""
    from pipeline.deploy.predict import predict as run_predict
    from pipeline.deploy.predict import report_parts

    if not data:
        raise PodiumError(f"predict: of which pictures? make predict COMP={comp} DATA=folder")
    options = {"confidence": confidence, "out": out or None, "say": say}
    print(parts(report_parts(run_predict(project_here(), comp, source, data, **options))))


@app.command()
def score(
    comp: Comp = "digits",
    score: Annotated[float | None, typer.Option(help="public score, by hand")] = None,
    private: Annotated[float | None, typer.Option(help="private score, by hand")] = None,
    source: Annotated[str, typer.Option("--from", help="number, run or ensemble")] = "",
) -> None:
    """Grade submissions against local answers, or enter a leaderboard score by hand."""
    from pipeline.competition import load_data
    from pipeline.config.competition import load_competition
    from pipeline.submission import grade_all, rows, set_score

    project = project_here()
    metric = load_competition(project, comp).metric  # a name that is not there gets no ledger
    if score is not None or private is not None:
        by_hand = {"public": score, "private": private, "metric": metric, "say": say}
        entry = set_score(project, comp, source or None, **by_hand)
        shown = [f"{c} {getattr(entry, c)}" for c in ("public", "private") if getattr(entry, c)]
        print(f"number {entry.number}, {entry.source}: {', '.join(shown)}")
        return
    if not rows(project, comp):
        raise PodiumError(f"score: {comp} has no submission yet; make submit COMP={comp} first")
    data = load_data(project, comp)
    if data.competition.kaggle:
        from pipeline.submission.upload import fetch_scores, fetched_parts

        print(parts(fetched_parts(fetch_scores(data, data.competition.kaggle))))
    else:
        graded = grade_all(data)
        print(f"{len(graded)} newly graded" if graded else "nothing new to grade")
    print(graded_table(rows(project, comp)))


@app.command()
def leaderboard(comp: Comp = "digits") -> None:
    """Show all runs and ensembles: out-of-fold, honest, public, private."""
    from pipeline.leaderboard.leaderboard import leaderboard as run_leaderboard
    from pipeline.leaderboard.report import report_parts

    data, found = data_and_folds(comp)
    board = run_leaderboard(data, found)
    none = "no finished run" + (" counts now" if board.left_out else " yet")
    none += f": make train COMP={comp} ARCH={usual_arch(data.competition)}"
    print(standings_table(data, board.standings) if board.standings else none)
    for line in left_out(board.left_out):
        print(f"left out: {line}")
    if board.points.found or board.points.without:
        print("\n" + parts(report_parts(board)).lstrip())
