"""A pool of processes on this machine, which knows its cores and GPUs."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cluster.call import FAULT, environment, log_path
from pipeline.cluster.gpus import Free
from pipeline.training.device import available_cores
from pipeline.training.engine import STARTER, Call

AGAIN = 2  # times that a process which a signal ended is started again
LOOK = 0.1  # seconds between two looks at the processes
POLITE = 5.0  # seconds that a process has to end after SIGTERM


@dataclass
class Worker:
    """A process that does a call, the GPUs that it has, and how often it was started."""

    call: Call
    devices: tuple[str, ...]
    log: Path
    process: subprocess.Popen
    starts: int = 1


@dataclass(frozen=True)
class Local:
    """`workers` processes at a time; each has its share of the cores, and the GPUs of its call
    alone. `folder`: of their logs. A process that a signal ends, the kernel's where memory ran out
    for example, is started again."""

    workers: int
    folder: Path
    say: Callable[[str], None]
    devices: tuple[str, ...] = ()
    name: str = "local"

    @property
    def cpus(self) -> int:
        return max(1, available_cores() // self.workers)

    @property
    def gpus(self) -> float:
        """One for each call; more workers than GPUs share them."""
        return 1 / math.ceil(self.workers / len(self.devices)) if self.devices else 0.0

    def run(self, calls: Sequence[Call]) -> Iterator[tuple[Call, str]]:
        """Do all calls; yield each as it ends, with '' or one line that says why it failed."""
        waiting, working, free = deque(calls), [], Free(self.devices)
        try:
            while waiting or working:
                while waiting and len(working) < self.workers:
                    if waiting[0].gpus > len(self.devices):
                        yield waiting[0], _too_many(waiting.popleft(), self.devices)
                        continue
                    devices = free.take(waiting[0].gpus)
                    if devices is None:
                        break
                    working.append(self._start(waiting.popleft(), devices))
                for worker in [w for w in working if w.process.poll() is not None]:
                    stop_group(worker.process, 0)  # what it started must not outlive it
                    if self._again(worker):
                        continue
                    working.remove(worker)
                    free.give(worker.devices, worker.call.gpus)
                    yield worker.call, fault_of(worker)
                time.sleep(LOOK if working else 0)
        finally:
            for worker in working:
                stop_group(worker.process, POLITE)
                worker.log.unlink(missing_ok=True)

    def _start(self, call: Call, devices: tuple[str, ...]) -> Worker:
        self.folder.mkdir(parents=True, exist_ok=True)
        log = log_path(self.folder, call)
        log.unlink(missing_ok=True)
        return Worker(call, devices, log, self._process(call, devices, log))

    def _process(self, call: Call, devices: tuple[str, ...], log: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "pipeline.cluster.call"]
        command += [call.function, str(call.path), str(log)]
        variables = os.environ | environment(call.cpus, ",".join(devices))
        variables[STARTER] = str(os.getpid())
        with open(log, "ab") as told:
            return subprocess.Popen(
                command,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                start_new_session=True,  # Ctrl-C reaches this process alone, which ends them
            )

    def _again(self, worker: Worker) -> bool:
        """Start a worker again that a signal ended, and say so, but not too often."""
        status = worker.process.returncode
        if status >= 0 or worker.starts > AGAIN:
            return False
        self.say(
            f"{worker.call.name}: ended by {_signal(status)}; started again, {worker.starts} of "
            f"{AGAIN}"
        )
        worker.starts += 1
        worker.process = self._process(worker.call, worker.devices, worker.log)
        return True


def fault_of(worker: Worker) -> str:
    """Return why a worker that has ended failed, or ''; its log is kept if it says more."""
    status = worker.process.returncode
    lines = worker.log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line.removeprefix(FAULT) for line in lines if line.startswith(FAULT)]
    if status == 2 and said:
        if f"{worker.log} shows" not in said[-1]:
            worker.log.unlink(missing_ok=True)
        return said[-1]
    if status == 0:
        worker.log.unlink(missing_ok=True)
        return ""
    if status < 0:
        many = f"ended by {_signal(status)} {worker.starts} times"
        return f"{many}; if memory ran out, fewer WORKERS or SET='runtime.micro_batch=8' need less"
    return f"its process ended with status {status}; read {worker.log}"


def stop_group(process: subprocess.Popen, patience: float) -> None:
    """End a process and those of its group, by force if it has not ended after `patience` s."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _signal(status: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"


def _too_many(call: Call, devices: tuple[str, ...]) -> str:
    return f"asks for {call.gpus:g} GPUs, but there are {len(devices)}; SET='runtime.device=cpu'"
