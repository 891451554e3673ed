"""Who does the work: a piece of it that any process can do, and what an engine promises.

The engines themselves stand in pipeline/cluster; training and search are handed one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

STARTER = "PODIUM_STARTER"  # the environment's name for the number of the process that waits


@dataclass(frozen=True)
class Call:
    """A piece of work: `function`, 'package.module:name' of a module-level function of one path,
    and `path`, the file that says what to do, on storage that all machines share. `name` is for
    people: 'densenet121-baseline, fold 3'. `cpus`: threads that it uses; `gpus`: 0.5 is half of
    one."""

    name: str
    function: str
    path: Path
    cpus: int = 1
    gpus: float = 0


class Engine(Protocol):
    """Something that does calls, each in a process of its own, in whichever order and place.

    `cpus` and `gpus` are what it has for each call whose recipe leaves them open.
    """

    name: str

    @property
    def cpus(self) -> int: ...

    @property
    def gpus(self) -> float: ...

    def run(self, calls: Sequence[Call]) -> Iterator[tuple[Call, str]]:
        """Do all calls; yield each as it ends, with '' or one line that says why it failed. A
        caller that closes the iterator, by Ctrl-C for example, thereby stops what still works."""
