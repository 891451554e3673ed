"""What `experiments/cluster.yaml` says of a cluster; docs/engines.md shows one. All is optional."""

from typing import Annotated, Any

from pydantic import Field

from pipeline.config.project import Project
from pipeline.config.schema import Section, parse, read_yaml

Count = Annotated[int, Field(ge=1)]


class Slurm(Section):
    """What sbatch is told, each key as its option of the same name. `minutes`: a job's time limit;
    one that reaches it, or is preempted, is queued again and goes on, at most `timeouts` times.
    `setup`: lines of shell before each job. `options`: further ones of sbatch, {reservation:
    night}; true for one without a value.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    nodelist: str | None = None
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    minutes: Count = 240
    timeouts: Annotated[int, Field(ge=0)] = 100
    setup: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)


class Cluster(Section):
    """`cpus` and `gpus`: of each job. Without them SLURM is asked for 4 cores and no GPU, and Ray
    for a GPU where the cluster has some, and its share of a node's cores."""

    cpus: Count | None = None
    gpus: Annotated[float, Field(ge=0)] | None = None
    slurm: Slurm = Slurm()


def load_cluster(project: Project) -> Cluster:
    """Return what the project says of its cluster, or the defaults."""
    path = project.root / "experiments" / "cluster.yaml"
    if not path.exists():
        return Cluster()
    return parse(Cluster, read_yaml(path, "mend it"), project.shown(path))
