"""What a learning curve came to, ready to be shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.curve.forecast import counted

Part = str | tuple[list[str], list[list[str]]]  # a sentence, or a table: headers and rows


@dataclass(frozen=True)
class Curve:
    """A curve and where it was written; `record` is the content of `curve.json`, `shown` the paths
    as the user would type them."""

    name: str
    metric: str
    record: dict[str, Any]
    paths: tuple[Path, ...]
    shown: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What twice the data would bring."""
        return self.record["sentence"]

    @property
    def verdict(self) -> str:
        """'helps', 'hardly', 'untold', 'worse', 'perfect' or 'unfinished'."""
        return self.record["verdict"]

    @property
    def missing(self) -> list[str]:
        """The points that are not trained yet."""
        return self.record["missing"]


def report_parts(made: Curve) -> list[Part]:
    """Return what to print: a table of sizes as (headers, rows), and sentences."""
    record = made.record
    seeds = len(record["asked"]["seeds"])
    headers = ["size", "rows", f"{made.metric} over {counted(seeds, 'seed')}", "seconds"]
    rows = [
        [size["size"], f"{size['rows']:,.0f}", _scores(size, seeds), f"{size['seconds']:.0f}"]
        for size in record["sizes"]
    ]
    parts: list[Part] = [(headers, rows), f"{made.sentence}."]
    epochs = record["recipe"]["training"]["epochs"]
    parts.append(
        f"every size was trained for {counted(epochs, 'epoch')}, so that a smaller one took fewer "
        "steps, as it would if there were no more data"
    )
    parts += _doubt(record)
    if made.missing:
        shown = ", ".join(made.missing[:3]) + (" ..." if len(made.missing) > 3 else "")
        parts.append(f"missing: {counted(len(made.missing), 'training')} ({shown})")
    parts += [f"warning: {warning}" for warning in record["warnings"]]
    return [*parts, "written: " + ", ".join(made.shown), f"next: {_next(made)}"]


def _scores(size: dict[str, Any], seeds: int) -> str:
    if size["mean"] is None:
        return "-"
    spread = "" if size["sd"] is None else f" ± {size['sd']:.4f}"
    done = len(size["scores"])
    return f"{size['mean']:.4f}{spread}" + (f" ({done} of {seeds})" if done < seeds else "")


def _doubt(record: dict[str, Any]) -> list[str]:
    """Say what the intervals leave out: all sizes are judged on the same rows."""
    se = record["validated"]["standard_error"]
    if se is None:
        return []
    rows = counted(record["validated"]["rows"], "row")
    folds = record["asked"]["folds"]
    named = f"{'fold' if len(folds) == 1 else 'folds'} {', '.join(map(str, folds))}"
    return [
        f"all sizes are validated on the same {rows} ({named}); "
        f"on others the whole curve would lie higher or lower, by a standard error of {se:.4f}"
    ]


def _next(made: Curve) -> str:
    comp, arch = made.record["competition"], made.record["arch"]
    if made.missing:
        return "the same command trains what is missing"
    if made.verdict == "helps":
        return f"label more rows, then make folds COMP={comp} FRESH=1 and this command with FRESH=1"
    if made.verdict == "untold":
        return "the same command with more seeds (SEED) or folds (ONLY), which trains those alone"
    return f"make train COMP={comp} ARCH={arch}"
