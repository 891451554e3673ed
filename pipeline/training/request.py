"""What `make train` was asked for, and what of it is no sensible question."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.config.project import Project
from pipeline.config.recipe import load_recipe
from pipeline.errors import PodiumError
from pipeline.training.engine import Engine
from pipeline.training.networks.zoo import check_arch


def never(question: str) -> bool:
    """Who is not there to be asked says no."""
    return False


@dataclass(frozen=True)
class TrainRequest:
    """What `make train` was asked for; names as in the Makefile.

    `refit`: after its folds, each run gets one more model, trained on all rows (`refit.py`).
    `budget`: seconds; what does not fit is trained only if `ask` says yes (`planner.py`).
    `engine`: who does all missing jobs at once; without one this process does job after job.
    """

    comp: str
    arch: Sequence[str]
    recipe: str = "baseline"
    seed: Sequence[int] = (0,)
    overrides: str = ""
    name: str = ""
    only: Sequence[int] = ()
    limit: int | None = None
    fresh: bool = False
    refit: bool = False
    budget: float | None = None
    ask: Callable[[str], bool] = never
    engine: Engine | None = None


def check_request(project: Project, request: TrainRequest) -> list[str]:
    """Refuse what names nothing to train, or one thing for several; return the architectures: the
    recipe's own where none is asked for."""
    archs = list(request.arch)
    other = request.recipe != "baseline"
    if not archs and (other or project.recipe(request.recipe).exists()):
        archs = [name for name in [load_recipe(project, request.recipe).model.arch] if name]
    if not archs:
        recipe = f" RECIPE={request.recipe}" if other else ""
        raise PodiumError(
            f"ARCH: which architecture? Type make train ARCH=densenet121{recipe}, or several: "
            f"make train ARCH='densenet121 resnet18'{recipe}"
        )
    if not request.seed:
        raise PodiumError("SEED: which seed? Type SEED=0, or several: SEED='0 1 2'")
    odd = [seed for seed in request.seed if not 0 <= seed < 2**32]
    if odd or len(set(request.seed)) < len(request.seed):
        raise PodiumError(
            f"SEED: {' '.join(map(str, request.seed))}: must be different whole numbers from 0 to "
            f"{2**32 - 1}; type SEED='0 1 2'"
        )
    if request.name.startswith("ensemble-"):
        raise PodiumError(f"NAME: {request.name!r} is the name of an ensemble; choose another")
    for arch in archs:
        check_arch(arch)
    if request.name and len(archs) * len(request.seed) > 1:
        raise PodiumError(
            f"NAME: {request.name!r} can name one run, not {len(archs)} architectures x "
            f"{len(request.seed)} seeds; leave NAME out"
        )
    if request.budget is not None and request.refit:
        raise PodiumError("BUDGET: folds alone are planned; leave REFIT out, and add it afterwards")
    if request.budget is not None and request.engine is not None:
        raise PodiumError(
            "BUDGET: is measured on this machine, one fold after another, and EXECUTOR="
            f"{request.engine.name} works otherwise; leave BUDGET out, or EXECUTOR and WORKERS"
        )
    return archs
