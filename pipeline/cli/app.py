"""The parser of the command line, what all verbs share, and how errors are told."""

import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from pipeline.config.project import Project
from pipeline.errors import PodiumError

app = typer.Typer(
    name="pipeline",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Podium: k-fold training, out-of-fold ensembles with honest scores, checked submissions.",
)

Comp = Annotated[str, typer.Option(help="competition: experiments/competitions/COMP.yaml")]
Recipe = Annotated[str, typer.Option(help="experiments/recipes/RECIPE.yaml")]
Overrides = Annotated[str, typer.Option(help="'training.epochs=3 image.size=160'")]
Fresh = Annotated[bool, typer.Option("--fresh", help="start anew instead of going on")]


def main() -> None:
    """Run the command line; a user's mistake is one line and exit status 2, a bug a traceback."""
    # Before torch is loaded: threads that spin while they wait for each other lose half their speed
    # or more as soon as anything else runs on the machine (benchmarks/README.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch's large tensors on large pages
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        status = app(arguments or ["--help"], standalone_mode=False)
        if status == 130:
            raise KeyboardInterrupt  # typer catches it and returns its status instead
        if status:
            sys.exit(status)
    except (PodiumError, typer.TyperException) as error:
        if debug:
            raise
        print(f"error: {_one_line(error, arguments)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if debug or not error.filename:
            raise
        where = error.filename2 or error.filename  # a temporary file is put in the place of another
        said = f"{where}: {error.strerror}; make it a file or folder that can be written"
        print(f"error: {said}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)


_KINDS = {"valid number": "a number", "valid integer": "a whole number"}  # as typer says it


def _one_line(error: Exception, arguments: list[str]) -> str:
    """Return an error's message; typer's own leave out the value received, and the variable of
    make that it came by."""
    if isinstance(error, PodiumError):
        return str(error)
    message = " ".join(getattr(error, "format_message", error.__str__)().split())
    pairs = ((a, b) for a, b in pairwise(arguments) if a.startswith("--") and f"'{a}'" in message)
    option, value = next(pairs, ("", ""))
    if not option:
        return message
    kind = next((said for typed, said in _KINDS.items() if typed in message), "")
    variable = option.removeprefix("--").replace("-", "_").upper()
    return (
        f"{variable} ({option}): {value!r} is not {kind}; give one"
        if kind
        else f"{message}; got {value!r}"
    )


def project_here() -> Project:
    return Project(Path.cwd())


def confirmed(question: str) -> bool:
    """Ask at the terminal; without one the answer is no."""
    return sys.stdin.isatty() and typer.confirm(question)


def words(text: str) -> list[str]:
    """Return the names of a variable, between blanks or commas."""
    return text.replace(",", " ").split()


def numbers(text: str, variable: str) -> list[int]:
    try:
        return [int(part) for part in words(text)]
    except ValueError:
        raise PodiumError(f"{variable}: {text!r} is not a list of whole numbers") from None


def data_and_folds(comp: str) -> tuple:
    from pipeline.competition import load_data
    from pipeline.folds import load_shared

    data = load_data(project_here(), comp)
    return data, load_shared(data)
