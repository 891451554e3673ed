"""The rows of the benchmark: what each entry scores, and what it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.bench.decoding import decoding_key
from pipeline.bench.entries import Entry
from pipeline.bench.front import pareto_front
from pipeline.bench.timing import BATCHES, Key, Record
from pipeline.competition import CompetitionData
from pipeline.submission.standings import cost_per_point

LATENCY, THROUGHPUT = BATCHES


@dataclass(frozen=True)
class Row:
    """A run, an ensemble or an architecture. Times are in milliseconds per picture: `ms_1` and
    `ms_32` by the networks that the score was made by (one of each run, all its views), one and 32
    pictures at a time; `ms_submitted` by those of a submission (all folds), 32 at a time;
    `ms_decoding` of reading the picture by one thread, in none of them. `spread`: the largest width
    of the middle half of rounds, as a share of the median. `macs`: of all views by the networks of
    the score. `front`: whether no other row is at least as good and as fast, and better in one."""

    name: str
    kind: str
    archs: str
    sizes: str
    views: int
    networks: int
    networks_submitted: int
    honest: float | None
    honest_se: float | None
    in_sample: float | None
    ms_1: float
    ms_32: float
    ms_submitted: float
    ms_decoding: float | None
    spread: float
    times_fastest: float
    parameters: int
    macs: int
    megabytes: float | None
    train_seconds: float | None
    seconds_per_point: float | None = None
    front: bool = False


def make_rows(
    data: CompetitionData,
    entries: Sequence[Entry],
    networks: Mapping[Key, Record],
    decoding: Mapping[str, Record],
) -> list[Row]:
    """Return a row per entry, the best honest score first and those without one last."""
    found = [_row(data, entry, networks, decoding) for entry in entries]
    if not found:
        return []
    fastest = min(row.ms_32 for row in found)
    standings = [entry.standing for entry in entries if entry.standing is not None]
    costs = cost_per_point(standings, data.metric.sign)
    scored = [row for row in found if row.honest is not None]
    scores = data.metric.sign * np.array([row.honest for row in scored], float)
    front = pareto_front(np.array([row.ms_32 for row in scored]), scores)
    best = {row.name for row, is_best in zip(scored, front, strict=True) if is_best}
    done = [
        replace(
            row,
            times_fastest=row.ms_32 / fastest,
            seconds_per_point=None if row.honest is None else costs.get(row.name),
            front=row.honest is not None and row.name in best,
        )
        for row in found
    ]
    sign = data.metric.sign
    return sorted(done, key=lambda r: (r.honest is None, -sign * (r.honest or 0), r.ms_32, r.name))


def _row(
    data: CompetitionData,
    entry: Entry,
    networks: Mapping[Key, Record],
    decoding: Mapping[str, Record],
) -> Row:
    timed = {
        key: {batch: record["batches"][str(batch)]["seconds"] for batch in BATCHES}
        for key, record in networks.items()
    }
    counts = [(part, key, n) for part in entry.parts for key, n in part.passes.items()]
    standing = entry.standing
    reading = [decoding.get(key) for key in {decoding_key(data, part) for part in entry.parts}]
    known = [record["seconds"] for record in reading if record]
    first = [networks[next(iter(part.passes))] for part in entry.parts]
    on_disk = sum(part.size_on_disk for part in entry.parts)
    return Row(
        name=entry.name,
        kind=entry.kind,
        archs="+".join(entry.archs),
        sizes="+".join(map(str, entry.sizes)),
        views=max(sum(part.passes.values()) for part in entry.parts),
        networks=sum(part.answering for part in entry.parts),
        networks_submitted=sum(part.submitted for part in entry.parts),
        honest=standing and standing.honest,
        honest_se=standing and standing.honest_se,
        in_sample=standing and standing.in_sample,
        ms_1=1e3 * entry.seconds(timed, LATENCY),
        ms_32=1e3 * entry.seconds(timed, THROUGHPUT),
        ms_submitted=1e3 * entry.seconds(timed, THROUGHPUT, submitted=True),
        ms_decoding=1e3 * sum(known) if len(known) == len(reading) else None,
        spread=max(spread(networks[key]) for _, key, _ in counts),
        times_fastest=1.0,
        parameters=sum(
            part.answering * record["parameters"]
            for part, record in zip(entry.parts, first, strict=True)
        ),
        macs=sum(part.answering * n * networks[key]["macs"] for part, key, n in counts),
        megabytes=on_disk / 1e6 if on_disk else None,
        train_seconds=standing and standing.seconds,
    )


def spread(record: Record) -> float:
    """Return the largest spread of a timing over its batch sizes."""
    times = record["batches"].values()
    return max((time["high"] - time["low"]) / time["seconds"] for time in times)
