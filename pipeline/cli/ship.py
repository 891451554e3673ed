"""The verbs that show, export and serve what was made."""

from typing import Annotated

import typer

from pipeline.cli.app import Comp, Fresh, app, project_here
from pipeline.show import parts, say

Source = Annotated[str, typer.Option("--from", help="run or ensemble; the best, or the newest")]


@app.command()
def report(
    comp: Comp = "digits",
    source: Source = "",
    mistakes: Annotated[bool, typer.Option("--mistakes", help="folders of links, too")] = False,
) -> None:
    """Write one page: where we are, what is wrong, what to do next."""
    from pipeline.report import report as run_report
    from pipeline.report import report_parts

    made = run_report(project_here(), comp, source, mistakes=mistakes, say=say)
    print(parts(report_parts(made)))


@app.command()
def export(
    comp: Comp = "digits",
    source: Source = "",
    max_mb: Annotated[float, typer.Option(help="that the folder may take")] = 100.0,
    agreement: Annotated[float, typer.Option(help="share of answers that must be the same")] = 0.98,
    confidence: Annotated[float | None, typer.Option(help="below it: don't know")] = None,
    everything: Annotated[bool, typer.Option("--all", help="build every option")] = False,
    fresh: Fresh = False,
) -> None:
    """Export a run or ensemble as a folder that answers without torch, and check it."""
    from pipeline.deploy.export.export import export as run_export
    from pipeline.deploy.export.report import report_parts

    asked = {"max_mb": max_mb, "agreement": agreement, "confidence": confidence}
    asked |= {"everything": everything, "fresh": fresh}
    made = run_export(project_here(), comp, source, **asked, say=say)
    print(parts(report_parts(made)))


@app.command()
def serve(
    comp: Comp = "digits",
    source: Source = "",
    host: Annotated[str, typer.Option(help="address to listen on; this machine alone")] = "",
    port: Annotated[int | None, typer.Option(help="7860 if none is given")] = None,
    confidence: Annotated[float | None, typer.Option(help="below it: don't know")] = None,
    set: Annotated[str, typer.Option(help="limits: 'picture_mb=32 pictures=8'")] = "",
) -> None:
    """Serve an exported folder: a page for people, and HTTP for programs."""
    from pipeline.serve.report import report_parts
    from pipeline.serve.serve import HERE, PORT
    from pipeline.serve.serve import serve as run_serve

    asked = {"host": host or HERE, "port": PORT if port is None else port}
    asked |= {"confidence": confidence, "limits": set, "say": say}
    print(parts(report_parts(run_serve(project_here(), comp, source, **asked))))
