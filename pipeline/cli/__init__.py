"""The command line: parse, call one function, print. `python -m pipeline --help` lists the verbs.

Heavy imports happen inside the verb that needs them, so that help answers at once.
"""

import pipeline.cli.after
import pipeline.cli.before
import pipeline.cli.search
import pipeline.cli.ship
import pipeline.cli.way  # noqa: F401 (all five give the parser its verbs)
from pipeline.cli.app import app, main

__all__ = ["app", "main"]
