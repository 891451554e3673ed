"""Which engine EXECUTOR and WORKERS ask for."""

from collections.abc import Callable
from pathlib import Path

from pipeline.cluster import gpus
from pipeline.config.cluster import load_cluster
from pipeline.config.project import Project
from pipeline.errors import PodiumError, nearest
from pipeline.training.engine import Engine

EXECUTORS = ("local", "ray", "slurm", "slurm-local")


def engine_for(
    project: Project,
    executor: str,
    workers: int | None,
    folder: Path,
    say: Callable[[str], None],
    *,
    alone: bool = False,
) -> Engine | None:
    """Return the engine asked for; None if this process is to do everything, job by job.

    `folder`: of logs. Without `workers`, this machine has one per GPU; where `alone` is true, the
    work is not to be shared out unless that is asked for.
    """
    name, _, address = executor.partition(":")
    if name not in EXECUTORS or (address and name != "ray"):
        known = ", ".join(EXECUTORS)
        raise PodiumError(
            f"EXECUTOR: {executor!r} is not known{nearest(name, EXECUTORS)}; there are: {known}, "
            "and ray:HOST:PORT"
        )
    if workers is not None and workers < 1:
        raise PodiumError(f"WORKERS: {workers}, but it must be 1 or more; leave it out for default")
    if name == "local":
        return _local(1 if alone and workers is None else workers, folder, say)
    asked = load_cluster(project)
    if name == "ray":
        from pipeline.cluster.ray import RayEngine

        return RayEngine(workers, folder, say, asked, address)
    from pipeline.cluster.slurm import SlurmEngine

    return SlurmEngine(workers, folder, say, asked, name)


def _local(workers: int | None, folder: Path, say: Callable[[str], None]) -> Engine | None:
    if workers == 1:
        return None
    devices = gpus.visible()
    count = workers or len(devices)
    if count < 2:
        return None
    from pipeline.cluster.local import Local

    return Local(count, folder, say, devices)
