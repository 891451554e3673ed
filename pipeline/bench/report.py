"""What the benchmark came to, ready to be printed."""

from collections.abc import Mapping, Sequence

from pipeline.artifacts.columns import shortened
from pipeline.bench.bench import Benched
from pipeline.bench.machine import in_words
from pipeline.bench.rows import Row, spread
from pipeline.bench.timing import Record

Table = tuple[list[str], list[list[str]]]
WIDEST_NAME = 30
NAMED = 3  # of those that are out for the same reason


def report_parts(made: Benched) -> list[str | Table]:
    """Return what to print: runs, networks, who is out, what follows."""
    record = made.record
    parts: list[str | Table] = [_runs(made.rows, record["metric"]), _explained(made.rows)]
    parts += [_networks(made.networks), in_words(record["machine"])]
    parts += [f"note: {note}" for note in record["notes"]]
    parts += _left_out(record["left_out"])
    if record["advice"]:
        parts += ["", *record["advice"]]
    parts.append("\n".join(["", "written:", *(f"  {path}" for path in made.shown)]))
    return parts


def _runs(rows: Sequence[Row], metric: str) -> Table:
    headers = [metric, "px", "how", "honest ± SE", "ms (1)", "ms (32)", "vs fastest", "submitted"]
    return [*headers, "train s", "s/point"], [_line(row) for row in rows]


def _line(row: Row) -> list[str]:
    seconds, point = row.train_seconds, row.seconds_per_point
    return [
        shortened(row.name, WIDEST_NAME) + (" *" if row.front else ""),
        row.sizes,
        row.kind,
        _score(row),
        _ms(row.ms_1),
        _ms(row.ms_32),
        f"{row.times_fastest:.1f}",
        "-" if row.in_sample is None else _ms(row.ms_submitted),
        "-" if seconds is None else f"{seconds:,.0f}",
        "-" if point is None else f"{point:,.1f}",
    ]


def _score(row: Row) -> str:
    if row.honest is None:
        return "-" if row.in_sample is None else "n/a (mixed folds)"
    return f"{row.honest:.4f} ± {row.honest_se or 0:.4f}"


def _explained(rows: Sequence[Row]) -> str:
    """Say what the columns mean, in so far as there is something in them."""
    said = [
        "ms per picture, 1 or 32 at a time: all views by one network of each run, as for the score",
        "submitted: ms by the networks of all folds, 32 at a time",
    ]
    reading = sorted(row.ms_decoding for row in rows if row.ms_decoding is not None)
    if reading:
        ends = list(dict.fromkeys(map(_ms, (reading[0], reading[-1]))))
        said.append(f"reading a picture, which is in no column: {' to '.join(ends)} ms")
    if any(row.seconds_per_point is not None for row in rows):
        said.append("s/point: seconds of training for .01 beyond the next cheaper")
    if any(row.front for row in rows):
        said.append("*: on the Pareto front: nothing else scores as well in less ms (32)")
    return "\n".join(said)


def _networks(records: Sequence[Record]) -> Table:
    """Return a line per network that a row is made of, the fastest first."""
    headers = ["network", "px", "parameters", "MACs", "ms (1)", "ms (32)", "spread", "runs on"]
    lines = []
    for record in sorted(records, key=lambda r: r["batches"]["32"]["seconds"]):
        setup, times = record["setup"], record["batches"]
        threads = f", {setup['threads']} threads" if setup["device"] == "cpu" else ""
        lines.append(
            [
                record["arch"],
                str(record["size"]),
                _big(record["parameters"]),
                _big(record["macs"]),
                _ms(1e3 * times["1"]["seconds"]),
                _ms(1e3 * times["32"]["seconds"] / 32),
                f"{spread(record):.0%}",
                f"{setup['device']}, {setup['precision']}{threads}",
            ]
        )
    return headers, lines


def _left_out(left: Mapping[str, str]) -> list[str]:
    """Say who is out, in one line where it is for the same reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left.items():
        by_reason.setdefault(reason, []).append(name)
    said = []
    for reason, names in by_reason.items():
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        said.append(f"left out: {', '.join(names[:NAMED])}{more}: {reason}")
    return said


def _ms(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _big(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return str(int(value))
