"""One call in a process of its own: `python -m pipeline.cluster.call FUNCTION PATH LOG`.

The function is imported by its name. What went wrong by a user's mistake becomes one line; a bug
leaves its traceback in LOG.
"""

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import PodiumError
from pipeline.training.engine import STARTER, Call

FAULT = "error: "  # begins the line that says why a call failed
CODE = Path(__file__).parents[2]


def function_named(name: str) -> Callable[[Path], None]:
    """Return the function that 'package.module:name' names; only our own code is called."""
    module, _, attribute = name.partition(":")
    if not module.startswith("pipeline.") or not attribute.isidentifier():
        raise PodiumError(f"{name!r}: not a function of ours; write 'pipeline.module:function'")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError):
        raise PodiumError(f"{name!r}: there is no such function; is the code here older?") from None
    if not inspect.isfunction(found) or found.__module__ != module:
        raise PodiumError(f"{name!r}: not a function of that module; name where it is defined")
    return found


def outcome(function: str, path: Path, log: Path) -> str:
    """Do a call; return '' or one line that says why it failed."""
    try:
        function_named(function)(path)
    except PodiumError as error:
        return str(error)
    except Exception as error:
        with open(log, "a", encoding="utf-8") as told:
            told.write(traceback.format_exc())
        return one_line(f"{type(error).__name__}: {error}; {log} shows where")
    return ""


def log_path(folder: Path, call: Call) -> Path:
    """Return where the messages of a call go; no two calls of a process share a name."""
    slug = re.sub(r"[^A-Za-z0-9._+-]+", "-", call.name).strip("-.")
    return (folder / f"{slug}.{os.getpid()}.log").absolute()


def one_line(text: str) -> str:
    return " ".join(text.split())


def environment(cpus: int, devices: str | None = None) -> dict[str, str]:
    """Return what a call's process finds in its environment beside the usual: where our code lies,
    its threads, and the GPUs that it may see, '' for none, None for what the machine says."""
    path = [str(CODE), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    found = {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)),
        "OMP_NUM_THREADS": str(cpus),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        "THP_MEM_ALLOC_ENABLE": os.environ.get("THP_MEM_ALLOC_ENABLE", "1"),
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }
    return found if devices is None else found | {"CUDA_VISIBLE_DEVICES": devices}


def main() -> None:
    """Do the call of the command line, as long as whoever started this process lives."""
    from pipeline.training.processes import end_with

    function, path, log = sys.argv[1:]
    if os.environ.get(STARTER):
        end_with(int(os.environ[STARTER]))
    fault = outcome(function, Path(path), Path(log))
    if fault:
        print(f"{FAULT}{fault}", file=sys.stderr, flush=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
