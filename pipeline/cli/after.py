"""The verbs that come after training: is one run really better than another?"""

from typing import Annotated

import typer

from pipeline.cli.app import Comp, app, data_and_folds, words
from pipeline.show import parts


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
