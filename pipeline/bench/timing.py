"""The seconds of a pass of every network, and of reading a picture: measured, or kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from pipeline.bench.clock import Time, take_turns
from pipeline.bench.decoding import decoder, decoding_key
from pipeline.bench.entries import Entry, Part
from pipeline.bench.network import Network, facts
from pipeline.competition import CompetitionData
from pipeline.errors import PodiumError
from pipeline.training.device import Setup
from pipeline.training.learning.loop import Normalise, answers
from pipeline.training.networks.origin import IMAGENET

BATCHES = 1, 32  # latency, throughput
GROUP_BYTES = 2**31  # of weights in memory at a time; within a group, networks take turns
Record = dict[str, Any]  # a timing, in JSON's types
Key = tuple[str, int]  # of a network, and the size in pixels of what it sees


@dataclass(frozen=True, eq=False)
class Probe:
    """A network on its device, and pictures of noise to be answered."""

    model: nn.Module
    setup: Setup
    normalise: Normalise
    pictures: torch.Tensor  # (b, size, size, 3) uint8, on the host

    @classmethod
    def of(cls, network: Network, size: int) -> "Probe":
        model = network.build()
        setup = network.setup(model)
        model = model.to(setup.device, memory_format=setup.memory_format)
        normalise = Normalise(*IMAGENET, setup, channels=network.recipe.image.channels)
        noise = torch.Generator().manual_seed(0)
        shape = max(BATCHES), size, size, 3
        pictures = torch.randint(0, 256, shape, dtype=torch.uint8, generator=noise)
        return cls(model, setup, normalise, pictures)

    @torch.inference_mode()
    def answer(self, batch: int) -> None:
        """Answer a batch, from pixels on the host to outputs on the host, which waits for the
        device."""
        if torch.get_num_threads() != self.setup.threads:  # another network's were others
            torch.set_num_threads(self.setup.threads)
        answers(self.model, self.normalise(self.pictures[:batch]), self.setup).cpu()


def networks_of(entries: Sequence[Entry]) -> dict[Key, Network]:
    """Return what has to be timed, each once."""
    found: dict[Key, Network] = {}
    for entry in entries:
        for part in entry.parts:
            for key in part.passes:
                found.setdefault(key, part.network)
    return found


def time_networks(networks: dict[Key, Network]) -> tuple[dict[Key, Record], dict[Key, str]]:
    """Time networks, those of a group in turns; return the timings, and why others have none."""
    found: dict[Key, Record] = {}
    failed: dict[Key, str] = {}
    for group in _groups(networks, failed):
        calls: list[Callable[[], None]] = []
        for probe, _ in group.values():
            calls += [_call(probe, batch) for batch in BATCHES]
        times = iter(take_turns(calls))
        for key, (probe, said) in group.items():
            by_batch = {str(batch): asdict(next(times)) for batch in BATCHES}
            found[key] = said | {"setup": probe.setup.record(), "batches": by_batch, "at": _now()}
    return found, failed


def _call(probe: Probe, batch: int) -> Callable[[], None]:
    return lambda: probe.answer(batch)


def _groups(
    networks: dict[Key, Network], failed: dict[Key, str]
) -> Iterator[dict[Key, tuple[Probe, Record]]]:
    """Build networks, as many at a time as memory should hold; add those that cannot be built, or
    not be run, to `failed`."""
    group: dict[Key, tuple[Probe, Record]] = {}
    held = 0
    for key, network in tqdm(networks.items(), "building", disable=None, leave=False):
        try:
            probe = Probe.of(network, key[1])
            said = facts(network, probe.model, key[1])
        except PodiumError as error:
            failed[key] = str(error)
            continue
        group[key] = probe, said
        held += 4 * said["parameters"]
        if held >= GROUP_BYTES:
            yield group
            group, held = {}, 0
    if group:
        yield group


def time_decoding(
    data: CompetitionData, entries: Sequence[Entry], kept: dict[str, Record]
) -> tuple[dict[str, Record], list[str]]:
    """Return the seconds a picture takes to be read, by `decoding_key`, the kept ones included, and
    notes of those that cannot be read."""
    wanted: dict[str, Part] = {}
    for entry in entries:
        for part in entry.parts:
            wanted.setdefault(decoding_key(data, part), part)
    found = {key: kept[key] for key in wanted if key in kept}
    calls, counts, notes = {}, {}, []
    for key, part in wanted.items():
        if key in found or not (data.test.pictured.any() or data.train.pictured.any()):
            continue
        call, counts[key] = decoder(data, part)
        try:
            call()
            calls[key] = call
        except PodiumError as error:
            notes.append(f"pictures cannot be read: {error}")
    for (key, _), taken in zip(calls.items(), take_turns(list(calls.values())), strict=True):
        count = counts[key]
        per_picture = Time(
            taken.seconds / count, taken.low / count, taken.high / count, taken.rounds
        )
        found[key] = asdict(per_picture) | {"pictures": count, "at": _now()}
    return found, list(dict.fromkeys(notes))


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
