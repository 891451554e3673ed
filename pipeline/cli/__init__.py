"""The command line: parse, call one function, print. `python -m pipeline --help` lists the verbs.

Heavy imports happen inside the verb that needs them, so that help answers at once.
"""

import pipeline.cli.after
import pipeline.cli.before
import pipeline.cli.search
import pipeline.cli.way  # noqa: F401 (all four give the parser its verbs)
from pipeline.cli.app import app, main

__all__ = ["app", "main"]
