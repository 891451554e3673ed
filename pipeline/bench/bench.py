"""`make bench`: every finished run and ensemble timed and set beside its honest score."""

from collections.abc import Callable, Sequence
from csv import writer
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import write_json, write_text
from pipeline.bench.advice import Answers, advice
from pipeline.bench.chart import draw
from pipeline.bench.entries import Entry, of_standing, untrained
from pipeline.bench.kept import Kept, load_kept, to_json
from pipeline.bench.machine import in_words, machine
from pipeline.bench.rows import Row, make_rows
from pipeline.bench.timing import BATCHES, Key, Record, networks_of, time_decoding, time_networks
from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.ensemble.members import read_record
from pipeline.errors import PodiumError
from pipeline.folds import Folds, load_shared
from pipeline.submission.standings import standings

BUSY_SPREAD = 0.25  # of a median, beyond which the middle half of its rounds is wide
BUSY_FACTOR = 1.25  # between now and then


@dataclass(frozen=True)
class BenchRequest:
    """What `make bench` was asked for; names as in the Makefile. No `runs` are all of them; `arch`
    are architectures to time beside them, as `recipe` and `overrides` would build them."""

    comp: str
    runs: Sequence[str] = ()
    arch: Sequence[str] = ()
    recipe: str = "baseline"
    overrides: str = ""
    fresh: bool = False


@dataclass(frozen=True)
class Benched:
    """What was found: rows, the timings of their networks, the record of bench.json, and the paths
    as the user would type them."""

    rows: tuple[Row, ...]
    networks: tuple[Record, ...]
    record: dict[str, Any]
    shown: tuple[str, ...]


def bench(project: Project, request: BenchRequest, say: Callable[[str], None]) -> Benched:
    """Time what was asked for, or take what is kept, and write bench.csv, bench.json, bench.png."""
    _check(request)
    data = load_data(project, request.comp)
    new = untrained(data, request.arch, request.recipe, request.overrides)
    alone = request.arch and not request.runs and not project.folds(request.comp).exists()
    folds = None if alone else load_shared(data)
    entries, left = ([], {}) if folds is None else _finished(data, folds, request)
    entries += new
    path, here = project.runs(request.comp) / "bench.json", machine()
    old = Kept() if request.fresh else load_kept(path, here, BUSY_SPREAD)
    networks = networks_of(entries)
    missing = sum(key not in old.networks for key in networks)
    say(f"{request.comp}: {len(entries)} to show, {missing} of {len(networks)} networks to time")
    kept, failed, notes = _timed(data, entries, old)
    entries, left = _without(entries, failed, left)
    if not entries:
        name, reason = next(iter(left.items()))
        raise PodiumError(f"bench: nothing of {request.comp} can be timed: {name}: {reason}")
    rows = make_rows(data, entries, kept.networks, kept.decoding)
    notes = [note for note in [old.said, *notes, *_spread_notes(rows)] if note]
    content = _record(data, folds, rows, here) | {"left_out": left, "notes": notes}
    timings = tuple(kept.networks[key] for key in networks_of(entries))
    shown = _write(data, rows, content | to_json(kept))
    return Benched(tuple(rows), timings, content, shown)


def _check(request: BenchRequest) -> None:
    if request.overrides and not request.arch:
        raise PodiumError(
            f"SET: {request.overrides!r} is how ARCH= is built, of which none is named; runs are "
            "timed as they were trained"
        )
    for variable, names in (("RUNS", request.runs), ("ARCH", request.arch)):
        twice = [name for at, name in enumerate(names) if name in names[:at]]
        if twice:
            raise PodiumError(f"{variable}: {twice[0]} stands twice; name it once")


def _finished(
    data: CompetitionData, folds: Folds, request: BenchRequest
) -> tuple[list[Entry], dict[str, str]]:
    """Return the finished runs and ensembles, or those asked for, and why others are out."""
    for name in request.runs:
        read_record(data, name)  # names what is not there
    found, left = standings(data, folds)
    asked = set(request.runs)
    if asked:
        found = [standing for standing in found if standing.name in asked]
        left = {name: reason for name, reason in left.items() if name in asked}
    entries = []
    for standing in found:
        try:
            entries.append(of_standing(data, standing))
        except PodiumError as error:
            left[standing.name] = str(error)
    if not entries and not request.arch:
        why = "".join(f"; {name}: {reason}" for name, reason in list(left.items())[:1])
        raise PodiumError(
            f"bench: {request.comp} has no finished run to time; make train COMP={request.comp} "
            f"ARCH=densenet121, or ARCH=densenet121 here, which is timed untrained{why}"
        )
    return entries, left


def _timed(
    data: CompetitionData, entries: Sequence[Entry], old: Kept
) -> tuple[Kept, dict[Key, str], list[str]]:
    """Measure what is not kept; return all timings, why networks have none, and what to be told."""
    networks = networks_of(entries)
    wanted = {key: network for key, network in networks.items() if key not in old.networks}
    again = [key for key in networks if key in old.networks] if wanted else []
    anchor = min(again, key=lambda key: _seconds(old.networks[key]), default=None)
    if anchor is not None:  # timed once more beside the new ones, to see that then is like now
        wanted[anchor] = networks[anchor]
    found, failed = time_networks(wanted)
    notes = []
    if anchor is not None and anchor in found:
        notes = _anchor_note(old.networks[anchor], found.pop(anchor))
    failed.pop(anchor, None)
    decoding, odd = time_decoding(data, entries, old.decoding)
    kept = Kept(old.networks | found, old.decoding | decoding)
    return kept, failed, notes + odd


def _seconds(record: dict[str, Any]) -> float:
    return record["batches"][str(BATCHES[-1])]["seconds"]


def _anchor_note(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    ratio = _seconds(now) / _seconds(then)
    if 1 / BUSY_FACTOR < ratio < BUSY_FACTOR:
        return []
    return [
        f"{now['arch']} now takes {ratio:.2f} times what is kept of it: the machine was busy, then "
        "or now, and new times do not compare with kept ones; FRESH=1 measures all in turns"
    ]


def _spread_notes(rows: Sequence[Row]) -> list[str]:
    wide = [row for row in rows if row.spread > BUSY_SPREAD]
    if not wide:
        return []
    worst = max(wide, key=lambda row: row.spread)
    return [
        f"the machine was busy: the times of {len(wide)} of {len(rows)} rows vary, the middle half "
        f"of {worst.name}'s by {worst.spread:.0%}; the next make bench measures them again"
    ]


def _without(
    entries: Sequence[Entry], failed: dict[Key, str], left: dict[str, str]
) -> tuple[list[Entry], dict[str, str]]:
    """Return the entries all of whose networks are timed, and why the others are out."""
    whole, out = [], dict(left)
    for entry in entries:
        reasons = [failed[key] for key in networks_of([entry]) if key in failed]
        if reasons:
            out[entry.name] = reasons[0]
        else:
            whole.append(entry)
    return whole, out


def _record(
    data: CompetitionData, folds: Folds | None, rows: Sequence[Row], here: dict[str, Any]
) -> dict[str, Any]:
    said = [] if folds is None else advice(rows, data.metric.sign, Answers(data, folds))
    return {
        "competition": data.competition.name,
        "metric": data.metric.name,
        "greater_is_better": data.metric.greater_is_better,
        "folds_hash": None if folds is None else folds.hash,
        "data_hash": data.hash,
        "machine": here,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "rows": [asdict(row) for row in rows],
        "advice": said,
    }


def _write(data: CompetitionData, rows: Sequence[Row], record: dict[str, Any]) -> tuple[str, ...]:
    """Write the three files; return their paths as the user would type them."""
    folder = data.project.runs(data.competition.name)
    paths: list[Path] = [folder / f"bench.{suffix}" for suffix in ("csv", "json", "png")]
    write_text(paths[0], _table(rows))
    write_json(paths[1], record)
    draw(paths[2], rows, record, in_words(record["machine"]))
    return tuple(data.project.shown(path) for path in paths)


def _table(rows: Sequence[Row]) -> str:
    """Return bench.csv: a column per field of `Row`, empty where there is no value."""
    text = StringIO()
    lines = writer(text, lineterminator="\n")
    lines.writerow(field.name for field in fields(Row))
    for row in rows:
        lines.writerow(_cell(value) for value in asdict(row).values())
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
