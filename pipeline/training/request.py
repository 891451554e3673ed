"""What `make train` was asked for, and what of it is no sensible question."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from pipeline.config.project import Project
from pipeline.config.recipe import load_recipe
from pipeline.errors import PodiumError
from pipeline.training.job import FoldJob
from pipeline.training.networks.zoo import check_arch

Executor = Callable[[Callable[[FoldJob], None], Sequence[FoldJob]], None]


def one_after_another(work: Callable[[FoldJob], None], jobs: Sequence[FoldJob]) -> None:
    """The simplest executor: this process, job by job."""
    for job in tqdm(jobs, "folds", unit="fold", disable=None, leave=False):
        work(job)


def never(question: str) -> bool:
    """Who is not there to be asked says no."""
    return False


@dataclass(frozen=True)
class TrainRequest:
    """What `make train` was asked for; names as in the Makefile.

    `refit`: after its folds, each run gets one more model, trained on all rows (`refit.py`).
    `budget`: seconds; what does not fit is trained only if `ask` says yes (`planner.py`).
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
    execute: Executor = field(default=one_after_another)


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
    return archs
