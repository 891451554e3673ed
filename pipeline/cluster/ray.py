"""Ray: each call is a task of a cluster that is there already, or of one on this machine.

A task whose worker or node dies is done again elsewhere, and goes on from its last checkpoint; one
that fails by an error is not.
"""

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.cluster.call import environment, log_path, one_line, outcome
from pipeline.config.cluster import Cluster
from pipeline.errors import PodiumError
from pipeline.training.device import available_cores
from pipeline.training.engine import Call

AGAIN = 3  # times that a task whose worker or node died is done again
ANSWERS = 5.0  # seconds that the head of a cluster has to answer
LOOK = 0.5  # seconds that Ray waits before it lets Ctrl-C through


@dataclass(frozen=True)
class RayEngine:
    """At most `workers` tasks at a time, or as many as the cluster has room for. `folder`: of
    logs; `address`: HOST:PORT of a cluster."""

    workers: int | None
    folder: Path
    say: Callable[[str], None]
    asked: Cluster
    address: str = ""
    name: str = "ray"

    @cached_property
    def nodes(self) -> list[dict[str, float]]:
        """What each node has, once this process has joined the cluster."""
        ray = self._ray
        if not ray.is_initialized():
            self._join(ray)
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]

    @cached_property
    def _ray(self) -> Any:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Without GPUs asked for, Ray would let a task see all of them or none by its version.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError:
            raise PodiumError(
                "EXECUTOR: 'ray' needs the package ray; make setup EXECUTOR=ray installs it"
            ) from None
        return ray

    def _join(self, ray: Any) -> None:
        options = {"log_to_driver": False, "logging_level": "ERROR"}
        asked = self.address or os.environ.get("RAY_ADDRESS", "")
        if asked not in ("", "auto", "local"):
            _check_answers(asked)
        try:
            ray.init(asked or "auto", **options)
            self.say(f"ray: the cluster at {ray.get_runtime_context().gcs_address}")
        except (ConnectionError, ValueError, RuntimeError) as error:
            if asked:
                raise PodiumError(
                    f"EXECUTOR: no Ray cluster of this version answers at {asked!r} "
                    f"({one_line(str(error))[:80]}); start one by: ray start --head"
                ) from None
            ray.init("local", num_cpus=available_cores(), include_dashboard=False, **options)
            self.say("ray: no cluster is there; one on this machine, as long as the command lasts")

    @property
    def gpus(self) -> float:
        if self.asked.gpus is not None:
            return self.asked.gpus
        return 1.0 if any(node.get("GPU") for node in self.nodes) else 0.0

    @property
    def cpus(self) -> int:
        if self.asked.cpus is not None:
            return self.asked.cpus
        with_gpus = [node for node in self.nodes if node.get("GPU")] if self.gpus else self.nodes
        each = -(-(self.workers or 1) // max(1, len(with_gpus)))  # jobs that share a node
        jobs = [node.get("GPU", 0) / self.gpus if self.gpus else 0 for node in with_gpus]
        pairs = zip(with_gpus, jobs, strict=True)
        shares = [node.get("CPU", 0) / max(each, of_gpus) for node, of_gpus in pairs]
        return max(1, int(min((share for share in shares if share), default=1)))

    def run(self, calls: Sequence[Call]) -> Iterator[tuple[Call, str]]:
        """Do all calls; yield each as it ends, with '' or one line that says why it failed."""
        ray, waiting = self._ray, deque(calls)
        room = self.workers or len(calls)
        working: dict[Any, Call] = {}
        try:
            while waiting or working:
                while waiting and len(working) < room:
                    if not self._fits(waiting[0]):
                        yield waiting[0], self._too_large(waiting.popleft())
                        continue
                    call = waiting.popleft()
                    working[self._task(ray, call)] = call
                ended, _ = ray.wait(list(working), timeout=LOOK) if working else ([], [])
                for task in ended:
                    call = working.pop(task)
                    yield call, self._fault(ray, task)
        finally:
            for task in working:
                ray.cancel(task, force=True)

    def _task(self, ray: Any, call: Call) -> Any:
        self.folder.mkdir(parents=True, exist_ok=True)
        variables = environment(call.cpus, None if call.gpus else "")
        options = {
            "name": call.name,
            "num_cpus": call.cpus,
            "num_gpus": call.gpus,
            "max_retries": AGAIN,
            "max_calls": 1,  # a process of its own: threads and GPU memory are those of one call
            "retry_exceptions": False,
            "runtime_env": {"env_vars": variables},
        }
        log = log_path(self.folder, call)
        task = ray.remote(**options)(work_at)
        return task.remote(str(Path.cwd()), call.function, str(call.path.absolute()), str(log))

    def _fits(self, call: Call) -> bool:
        return any(
            node.get("CPU", 0) >= call.cpus and node.get("GPU", 0) >= call.gpus
            for node in self.nodes
        )

    def _too_large(self, call: Call) -> str:
        most = max((node.get("CPU", 0), node.get("GPU", 0)) for node in self.nodes)
        return (
            f"asks for {call.cpus} cores and {call.gpus:g} GPUs, but the largest node of the Ray "
            f"cluster has {most[0]:g} and {most[1]:g}; set cpus and gpus in experiments/"
            "cluster.yaml"
        )

    def _fault(self, ray: Any, task: Any) -> str:
        try:
            return ray.get(task)
        except ray.exceptions.RayError as error:
            kind = type(error).__name__
            return one_line(f"its worker was lost {AGAIN + 1} times ({kind}): {error}")[:300]


def _check_answers(address: str) -> None:
    """Refuse an address where nobody answers; Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), ANSWERS):
            return
    except (OSError, ValueError, OverflowError) as error:
        raise PodiumError(
            f"EXECUTOR: no Ray cluster answers at {address!r} ({error}); write ray:HOST:PORT as "
            "`ray start --head` says it"
        ) from None


def work_at(root: str, function: str, path: str, log: str) -> str:
    """Do a call in a worker of Ray, from the project's root."""
    os.chdir(root)
    return outcome(function, Path(path), Path(log))
