"""Tables and sentences for the terminal."""

import re
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from pipeline.artifacts.columns import shortened, table

WIDE = 120  # characters of a terminal that the leaderboard should fit
NARROWEST = 11  # of its last column


def say(sentence: str) -> None:
    """Print a line above any progress bars."""
    tqdm.write(sentence)


def parts(found: Sequence[str | tuple[Any, ...]]) -> str:
    """Sentences and tables (headers, rows, and maybe how wide a cell may be), one below the other;
    an empty line around a table."""
    blocks = [one if isinstance(one, str) else f"\n{table(*one)}\n" for one in found]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(blocks))


def number(value: Any) -> str:
    """Four decimals; a dash where there is no number."""
    return "-" if value is None or value == "" else f"{round(float(value), 4) + 0.0:.4f}"


def with_error(value: float | None, se: float | None) -> str:
    return "n/a (mixed folds)" if value is None or se is None else f"{value:.4f} ± {se:.4f}"


def standings_table(data: Any, standings: Sequence[Any]) -> str:
    """The leaderboard: one line per run and ensemble; `s/point` is what .01 of honest score costs
    in seconds beyond the next cheaper one that is not beaten by a cheaper one still. Ranks stand
    there where there are any; what is long is cut so that the table fits `WIDE`."""
    from pipeline.submission.standings import cost_per_point

    ranked = ["rank"] if any(s.place for s in standings) else []
    scores = ["in-sample", "honest ± SE", "public", "private", *ranked]
    headers = [data.competition.metric, *scores, "seconds", "s/point"]
    costs, rows = cost_per_point(standings, data.metric.sign), []
    for s in standings:
        public, private = (s.entry.public, s.entry.private) if s.entry else ("", "")
        honest = with_error(s.honest, s.honest_se)
        scores = [number(s.in_sample), honest, number(public), number(private)]
        cost = f"{costs[s.name]:.1f}" if s.name in costs else "-"
        place = [s.place or "-"] if ranked else []
        seconds = "-" if s.seconds is None else f"{s.seconds:.0f}"
        rows.append([shortened(s.name), *scores, *place, seconds, cost])
    taken = sum(max(map(len, column)) + 2 for column in zip(headers, *rows, strict=True))
    room = max(WIDE - taken, NARROWEST)
    decisions = [shortened(s.decision, room) for s in standings]
    return table([*headers, "decision"], [[*r, d] for r, d in zip(rows, decisions, strict=True)])


def summaries_table(summaries: Sequence[Any]) -> str:
    """What training made: a line per run with each fold's score and the pooled one."""
    folds = sorted({number for summary in summaries for number in summary.run.splits.numbers})
    headers = ["run", *(f"fold {fold}" for fold in folds), "out-of-fold", "seconds"]
    rows = []
    for summary in summaries:
        record = summary.record
        scores = [number(record["folds"].get(str(fold), {}).get("score")) for fold in folds]
        pooled = number(record.get("oof_score"))
        rows.append([summary.run.name, *scores, pooled, f"{record['seconds']:.0f}"])
    notes = [f"warning: {s.run.name}: {w}" for s in summaries for w in s.record["warnings"]]
    return "\n".join([table(headers, rows), *notes])


def usual_arch(competition: Any) -> str:
    """The architecture to begin with: one whose weights are installed, or a strong one where the
    competition's pictures are trained on from scratch."""
    pretrained = competition.recipe.get("model", {}).get("pretrained", True)
    return "tf_efficientnet_lite0" if pretrained else "densenet121"


def next_after_training(summaries: Sequence[Any], comp: str) -> str:
    """The command that follows training."""
    unfinished = [summary.run.name for summary in summaries if not summary.complete]
    if unfinished:
        return f"the same command (without ONLY) trains the other folds of {unfinished[0]}"
    if summaries[0].record["limited"]:
        return "the same command without LIMIT, for a run that can be blended and submitted"
    submit = "" if summaries[0].run.data.sample is None else f"; make submit COMP={comp}"
    refits = [s.run.name for s in summaries if s.record.get("refit_of")]
    last = f" (of the refit: FROM={refits[0]})" if refits and submit else ""
    return f"make ensemble COMP={comp}{submit}{last}"


def graded_table(entries: Sequence[Any]) -> str:
    """The ledger's scores, oldest first."""
    headers = ["submission", "honest", "public", "private"]
    rows = [
        [f"{e.number:03d} {e.source}", number(e.cv_honest), number(e.public), number(e.private)]
        for e in entries
    ]
    return table(headers, rows)
