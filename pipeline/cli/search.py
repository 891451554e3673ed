"""The verb that searches: which recipe is better?"""

from typing import Annotated

import typer

from pipeline.cli.app import Comp, Fresh, app, project_here
from pipeline.config.times import parse_budget
from pipeline.show import parts, say


@app.command()
def tune(
    comp: Comp = "digits",
    study: Annotated[str, typer.Option(help="experiments/studies/STUDY.yaml")] = "",
    budget: Annotated[str, typer.Option(help="'6h': begin nothing new after that")] = "",
    executor: Annotated[str, typer.Option(help="who does the work: local, ray, slurm")] = "local",
    workers: Annotated[int | None, typer.Option(help="that share the study")] = None,
    fresh: Fresh = False,
) -> None:
    """Search a study's space for a better recipe, and train the best trials on all folds."""
    seconds = parse_budget(budget) if budget else None
    from pipeline.cluster.choose import engine_for
    from pipeline.search.tune import TuneRequest
    from pipeline.search.tune import tune as run_tune

    project = project_here()
    engine = engine_for(project, executor, workers, project.runs(comp) / ".jobs", say)
    request = TuneRequest(comp, study, fresh, seconds, engine, workers)
    print(parts(run_tune(project, request, say).report()))
