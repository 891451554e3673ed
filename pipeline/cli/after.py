"""The verbs that come after training: is one run really better than another, and how fast is it?"""

from typing import Annotated

import typer

from pipeline.cli.app import (
    Comp,
    Fresh,
    Overrides,
    Recipe,
    app,
    data_and_folds,
    project_here,
    words,
)
from pipeline.show import parts, say


@app.command()
def compare(
    comp: Comp = "digits",
    runs: Annotated[
        str, typer.Option(help="runs or ensembles: before, then one or more after")
    ] = "",
) -> None:
    """Say whether a gain is real, what was changed, and which pictures it fixed and broke."""
    from pipeline.compare import compare as run_compare
    from pipeline.compare import report_parts

    data, found = data_and_folds(comp)
    print(parts(report_parts(run_compare(data, found, words(runs)))))


@app.command()
def bench(
    comp: Comp = "digits",
    runs: Annotated[str, typer.Option(help="runs and ensembles; all finished ones if empty")] = "",
    arch: Annotated[str, typer.Option(help="architectures to time untrained, beside them")] = "",
    recipe: Recipe = "baseline",
    set: Overrides = "",
    fresh: Fresh = False,
) -> None:
    """Time every finished run, and untrained architectures: accuracy against inference time."""
    from pipeline.bench import BenchRequest, report_parts
    from pipeline.bench import bench as run_bench

    request = BenchRequest(comp, words(runs), words(arch), recipe, set, fresh)
    print(parts(report_parts(run_bench(project_here(), request, say))))


@app.command(name="label-errors")
def label_errors(
    comp: Comp = "digits",
    source: Annotated[str, typer.Option("--from", help="run or ensemble that judges")] = "",
) -> None:
    """List labels that may be wrong, worst first, as a table to fill in and train with."""
    from pipeline.mislabelled import candidates, report_parts, write_table

    data, found = data_and_folds(comp)
    suspected = candidates(data, found, source)
    print(parts(report_parts(data, suspected, write_table(data, suspected))))
