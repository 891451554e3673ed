"""What follows from scores and times, in sentences, by a paired bootstrap of the honest answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.bench.entries import FROZEN, TUNED
from pipeline.bench.rows import Row
from pipeline.competition import CompetitionData
from pipeline.ensemble.answers import load_answers
from pipeline.ensemble.build import open_decided
from pipeline.ensemble.choice import CUSTOM_RESAMPLES, RESAMPLES
from pipeline.ensemble.members import validated_rows
from pipeline.folds import Folds
from pipeline.metrics import CustomMetric, Gain, paired_interval

Pair = Callable[[str, str], Gain]  # by how much the second run is better than the first
FACTOR = 1.1  # in time, below which two are called equally fast
BY = "95 % of a paired bootstrap of the honest answers"


@dataclass(frozen=True, eq=False)
class Answers:
    """Compares two runs or ensembles by their honest answers to the same rows."""

    data: CompetitionData
    folds: Folds

    def __call__(self, first: str, second: str) -> Gain:
        data, folds = self.data, self.folds
        rows = validated_rows(folds)
        group = data.train.ids if folds.group is None else folds.group
        answers = [load_answers(open_decided(data, folds, n), data, folds) for n in (first, second)]
        draws = CUSTOM_RESAMPLES if isinstance(data.metric, CustomMetric) else RESAMPLES
        seed = int(folds.hash[:8], 16)  # so that the same comparison always says the same
        return paired_interval(data.metric, data.labels[rows], *answers, group[rows], draws, seed)


def advice(rows: Sequence[Row], sign: int, pair: Pair) -> list[str]:
    """Return what to take, and what fine-tuning brings over frozen features; nothing where no two
    rows have a score. `sign` is 1 where a higher score is better."""
    scored = [row for row in rows if row.honest is not None]
    if len(scored) < 2:
        return []
    said = [_what_to_take(scored, sign, pair)]
    frozen, tuned = ([r for r in scored if r.kind == kind] for kind in (FROZEN, TUNED))
    for arch in sorted({row.archs for row in frozen} & {row.archs for row in tuned}):
        of_arch = ([r for r in kind if r.archs == arch] for kind in (frozen, tuned))
        best = (max(some, key=lambda row: sign * row.honest) for some in of_arch)
        said.append(_tuning(*best, pair))
    return said


def _what_to_take(scored: Sequence[Row], sign: int, pair: Pair) -> str:
    """Say which is the fastest that is not told apart from the best."""
    best = min(scored, key=lambda row: (-sign * row.honest, row.ms_32))
    faster = [row for row in scored if row.front and row.ms_32 * FACTOR <= best.ms_32]
    if not faster:
        return f"take {best.name}: it scores best, and no other is faster by a tenth or more"
    nearest = None
    for row in sorted(faster, key=lambda row: row.ms_32):
        gain = pair(best.name, row.name)
        share = _share(row.ms_32 / best.ms_32)
        if gain.high >= 0:
            return (
                f"take {row.name} where time counts: it is not told apart from {best.name}, the "
                f"best ({_signed(gain)}; {BY}), and takes {share} of the time"
            )
        nearest = f"{row.name}, takes {share} of the time and is worse by {_worse(gain)}"
    return (
        f"take {best.name} where the score counts: the nearest faster one, {nearest} "
        f"({BY} says that this is no luck)"
    )


def _tuning(frozen: Row, tuned: Row, pair: Pair) -> str:
    """Say what fine-tuning brings over frozen features, and what a point of it costs."""
    gain = pair(frozen.name, tuned.name)
    told = "" if gain.low > 0 or gain.high < 0 else ", which may be luck"
    ways = (f"{row.name}, {row.kind} at {row.sizes} px" for row in (tuned, frozen))
    said = f"{tuned.archs}: {', against '.join(ways)}: {_signed(gain)}{told}"
    if frozen.train_seconds is None or tuned.train_seconds is None:
        return said
    more = tuned.train_seconds - frozen.train_seconds
    if gain.difference <= 0:
        return f"{said}, for {more:+,.0f} s of training"
    if more <= 0:
        return f"{said}, in {-more:,.0f} s less of training"
    point = more / (100 * gain.difference)
    return f"{said}, for {more:,.0f} s more of training: {point:,.1f} s per .01"


def _signed(gain: Gain) -> str:
    return f"{round(gain.difference, 4) + 0.0:+.4f} ± {gain.se:.4f}"


def _worse(gain: Gain) -> str:
    return f"{-gain.difference:.4f} ± {gain.se:.4f}"


def _share(ratio: float) -> str:
    """Return a ratio below 1 in words."""
    for parts, word in ((2, "half"), (3, "a third"), (4, "a quarter"), (5, "a fifth")):
        if abs(ratio * parts - 1) < 0.06:
            return word
    return f"{ratio:.0%}" if ratio >= 0.01 else f"{ratio:.2%}"
