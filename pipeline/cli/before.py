"""The verbs that come before training: what is in a folder, and what is in the data."""

from typing import Annotated

import typer

from pipeline.cli.app import Comp, Fresh, Overrides, Recipe, app, numbers, project_here
from pipeline.errors import PodiumError
from pipeline.show import parts, say


@app.command()
def init(
    comp: Comp = "",
    data: Annotated[str, typer.Option(help="folder of the tables and pictures")] = "",
    set: Annotated[str, typer.Option(help="'metric=f1_macro columns.label=kind'")] = "",
    fresh: Fresh = False,
) -> None:
    """Look at a folder and write experiments/competitions/COMP.yaml."""
    from pipeline.init import init as run_init
    from pipeline.init import report_parts

    if not comp or not data:
        raise PodiumError("init: which competition, and where? make init COMP=mine DATA=folder")
    made = run_init(project_here(), comp, data, set, fresh)
    print(parts(report_parts(made)))


@app.command()
def audit(comp: Comp = "digits", fresh: Fresh = False) -> None:
    """Look for leaks, duplicates, bad pictures: audit.html, audit.json; status 3 if one blocks."""
    from pipeline.audit.audit import audit as run_audit
    from pipeline.audit.report import report_parts

    project = project_here()
    audited = run_audit(project, comp, say, fresh=fresh)
    print(parts(report_parts(project, comp, audited)))
    if audited.blocking:
        raise typer.Exit(3)


@app.command()
def preview(
    comp: Comp = "digits",
    arch: Annotated[str, typer.Option(help="architecture, whose weights say the colours")] = "",
    recipe: Recipe = "baseline",
    seed: Annotated[int, typer.Option(help="of the augmentation")] = 0,
    set: Overrides = "",
    only: Annotated[str, typer.Option(help="the fold that validates; the first")] = "",
    limit: Annotated[int, typer.Option(help="pictures a sheet")] = 12,
) -> None:
    """Draw what the network is really fed: sheets of training, validation and test pictures."""
    from pipeline.preview import preview as run_preview
    from pipeline.preview import report_parts

    options = {"arch": arch, "recipe": recipe, "overrides": set, "seed": seed, "limit": limit}
    options |= {"only": numbers(only, "ONLY"), "say": say}
    print(parts(report_parts(run_preview(project_here(), comp, **options))))


@app.command(name="learning-curve")
def learning_curve(
    comp: Comp = "digits",
    arch: Annotated[str, typer.Option(help="architecture")] = "",
    recipe: Recipe = "baseline",
    seed: Annotated[str, typer.Option(help="several; each trains every size")] = "0 1 2",
    set: Overrides = "",
    only: Annotated[str, typer.Option(help="folds that validate; the first")] = "",
    name: Annotated[str, typer.Option(help="of the curve")] = "",
    fresh: Fresh = False,
) -> None:
    """Train on 1/8, 1/4, 1/2 and all of the rows: what would twice the data bring?"""
    from pipeline.curve import CurveRequest, report_parts
    from pipeline.curve import learning_curve as run_curve

    seeds, folds = numbers(seed, "SEED"), numbers(only, "ONLY")
    asked = comp, arch, recipe, set, tuple(seeds), tuple(folds)
    request = CurveRequest(*asked, fresh=fresh, name=name)
    print(parts(report_parts(run_curve(project_here(), request, say))))


@app.command(name="lr-find")
def lr_find(
    comp: Comp = "digits",
    arch: Annotated[str, typer.Option(help="architecture")] = "",
    recipe: Recipe = "baseline",
    seed: Annotated[str, typer.Option(help="several; their losses are averaged")] = "0",
    set: Overrides = "",
    only: Annotated[str, typer.Option(help="the fold that is left out; the first")] = "",
) -> None:
    """Train some steps at a rising learning rate: which one to use? Draw the schedule, too."""
    from pipeline.lr_find import LrFindRequest, report_parts
    from pipeline.lr_find import lr_find as run_lr_find

    seeds, folds = numbers(seed, "SEED"), numbers(only, "ONLY")
    request = LrFindRequest(comp, arch, recipe, set, tuple(seeds), tuple(folds))
    print(parts(report_parts(run_lr_find(project_here(), request, say))))
