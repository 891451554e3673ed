"""What is wrong, by rules over what the records say: each finds at most a problem or a few, with
its numbers and the command that follows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from pipeline.artifacts.findings import Audit
from pipeline.leaderboard.analysis import Analysis
from pipeline.leaderboard.band import LEVEL

# How bad each is; from HALT on it comes before whatever else was to be done next.
UNREADABLE, BLOCKS, BROKEN, MISSING, COLLAPSED, GAP = range(120, 60, -10)
NEVER, WEAK, OVERSURE, SHIFT, WARNS, SMOKE = range(60, 0, -10)
HALT = GAP
WEAK_SHARE = 0.5  # of the median F1, below which a class is weak
RATE_LIMIT = 3.0  # standard errors between the rates of a class out of fold and on test rows


@dataclass(frozen=True)
class Problem:
    """What is wrong in one sentence, and the command that helps; `weight`: higher is worse."""

    weight: int
    says: str
    remedy: str


def audit_problems(audit: Audit | None, allowed: Sequence[str], comp: str) -> list[Problem]:
    """Return what the audit found that blocks and is not allowed, and what it warns of."""
    if audit is None:
        return []
    found = [
        Problem(
            BLOCKS,
            f"the audit's `{one.name}` keeps training from starting: {one.says}",
            f"mend the data as audit.html says, then `make audit COMP={comp}`",
        )
        for one in audit.blocking(allowed)
    ]
    return found + [
        Problem(
            WARNS,
            f"the audit's `{one.name}` warns: {one.says}",
            f"look at `{one.name}` in audit.html, mend the data, then `make audit COMP={comp}`",
        )
        for one in audit.findings
        if one.level == "warn"
    ]


def unreadable_problems(fault: str, comp: str) -> list[Problem]:
    """Return what keeps the scores from being read, in the words of the error."""
    if not fault:
        return []
    remedy = f"mend that, then `make report COMP={comp}`"
    return [Problem(UNREADABLE, f"what is recorded cannot be read: {fault}", remedy)]


def broken_problems(broken: Mapping[str, str], comp: str) -> list[Problem]:
    """Return which runs and ensembles an error keeps out of all scores, by name, first the one
    whose file it is; the fault that keeps out most is told, with its own remedy."""
    if not broken:
        return []
    reason = Counter(broken.values()).most_common(1)[0][0]
    names = sorted(broken, key=lambda name: (f"/{name}/" not in reason, name))
    fault, _, cure = reason.rpartition("; ")
    said = f"`{names[0]}`{_also(len(names) - 1)} cannot be used: {fault or reason}"
    remedy = f"{cure if fault else 'mend that'}; then `make report COMP={comp}`"
    return [Problem(BROKEN, said, remedy)]


def member_problems(
    name: str, record: Mapping[str, Any], there: Iterable[str], sound: Iterable[str], comp: str
) -> list[Problem]:
    """Return what an ensemble lacks: members that were deleted since (`there` are all runs) or are
    not `sound`: their records cannot be read."""
    known, whole = set(there), set(sound)
    runs = [run for member in record.get("members", ()) for run in member["runs"] if run != name]
    lost = [run for run in dict.fromkeys(runs) if run not in whole]
    if not lost:
        return []
    fate = "which cannot be read" if lost[0] in known else "no longer there"
    said = f"`{name}` is made of `{lost[0]}`{_also(len(lost) - 1)}, {fate}: it cannot "
    left = " ".join(run for run in dict.fromkeys(runs) if run in whole)
    remedy = f"make it of others: `make ensemble COMP={comp} NAME={name.removeprefix('ensemble-')}"
    remedy += f' RUNS="{left}"`' if left else "`"
    return [Problem(MISSING, f"{said}answer new pictures", remedy)]


def training_problems(
    records: Mapping[str, Mapping[str, Any]], within: Iterable[str], comp: str
) -> list[Problem]:
    """Return the runs with a fold that collapsed to one answer, which is worse of those `within`
    the best, and those on a LIMIT of rows."""
    used, found = set(within), []
    stopped = {name: _collapsed(record) for name, record in records.items()}
    collapsed = [name for name, folds in stopped.items() if folds]
    serious = [name for name in collapsed if name in used]
    weight = COLLAPSED if serious else SMOKE
    for name in serious or collapsed[:1]:
        folds = stopped[name]
        word = "fold" if len(folds) == 1 else "folds"
        said = f"`{name}`: {word} {', '.join(folds)} answered every row alike"
        also = "" if weight == COLLAPSED else _also(len(collapsed) - 1)
        remedy = f"`make lr-find COMP={comp} ARCH={records[name].get('arch', '')}` finds a rate"
        found.append(Problem(weight, said + also, f"{remedy} at which it learns"))
    limited = [name for name, record in records.items() if record.get("limited")]
    if limited:
        said = (
            f"`{limited[0]}`{_also(len(limited) - 1)} saw a LIMIT of rows, so no ensemble takes it"
        )
        remedy = f"`make train COMP={comp} ARCH={records[limited[0]].get('arch', '')}`"
        found.append(Problem(SMOKE, said, f"{remedy} without LIMIT"))
    return found


def _collapsed(record: Mapping[str, Any]) -> list[str]:
    """Return the numbers of the folds that answered every row alike."""
    folds = record.get("folds", {})
    return [
        n for n, fold in folds.items() if (fold.get("stopped") or {}).get("kind") == "collapsed"
    ]


def _also(more: int) -> str:
    return f" and {more} more" if more > 0 else ""


def gap_problems(analysis: Analysis | None, comp: str) -> list[Problem]:
    """Return by how much cross-validation and leaderboard disagree, where noise does not explain
    it: all submissions are off by as much, or single ones are odd."""
    if analysis is None or not analysis.size.known:
        return []
    band, found = analysis.band, []
    remedy = f"`make leaderboard COMP={comp}` shows the band; make folds like the test set: "
    remedy += "columns.group in the YAML, or `make folds DATA=folds.csv FRESH=1`"
    if band.offset_p < 1 - LEVEL:
        side = "above" if band.offset > 0 else "below"
        found.append(
            Problem(
                GAP,
                f"public scores are {abs(band.offset):.4f} ± {band.offset_se:.4f} {side} the "
                f"honest ones, more than noise explains (p {band.offset_p:.4f})",
                remedy,
            )
        )
    if analysis.disagrees:
        odd = ", ".join(point.name for point in analysis.outliers[:3]) or "together they"
        said = f"public scores of {odd} differ from the honest ones by more than noise"
        found.append(Problem(GAP, said, remedy))
    return found


def class_problems(
    name: str, arch: str, classes: Sequence[str], table: Sequence[Mapping[str, Any]], comp: str
) -> list[Problem]:
    """Return the classes that are never answered, and the one whose F1 is less than half of the
    median class's; classes without rows are nobody's fault. `arch` is one to train anew."""
    there = [(c, line) for c, line in zip(classes, table, strict=True) if line["support"]]
    never = [(c, line) for c, line in there if not line["answered"]]
    found = []
    if never:
        first, line = max(never, key=lambda pair: pair[1]["support"])
        also = f", one of {len(never)} such classes" if len(never) > 1 else ""
        said = f"class {first} ({line['support']:,} rows) is never answered by `{name}`{also}"
        remedy = f'`make train COMP={comp} ARCH={arch} SET="loss.class_weights=effective"`'
        found.append(Problem(NEVER, said, remedy))
    answered = [(c, line) for c, line in there if line["answered"]]
    if len(answered) > 1:
        usual = median(line["f1"] for _, line in there)
        worst, line = min(answered, key=lambda pair: pair[1]["f1"])
        if line["f1"] < WEAK_SHARE * usual:
            said = f"class {worst} has F1 {line['f1']:.2f} ({line['support']:,} rows) where the "
            remedy = (
                f"`make label-errors COMP={comp} FROM={name}` shows which of its labels to check"
            )
            found.append(Problem(WEAK, f"{said}median class has {usual:.2f}", remedy))
    return found


def certainty_problems(name: str, curve: Mapping[str, Any], comp: str) -> list[Problem]:
    """Return whether confidences promise more than comes true, by more than chance would show."""
    noise = curve.get("ece_of_a_calibrated_model")
    if noise is None or curve["ece"] <= noise["high"]:
        return []
    rows = sum(one["rows"] for one in curve["bins"])
    over = sum(one["rows"] * (one["confidence"] - one["accuracy"]) for one in curve["bins"]) / rows
    if over <= 0:
        return []
    said = f"`{name}` is surer than it is right, by {over:.3f} on average: calibration error "
    said += f"{curve['ece']:.3f}, where chance alone shows up to {noise['high']:.3f}"
    remedy = f'`make ensemble COMP={comp} CALIBRATION="temperature per-class"`'
    return [Problem(OVERSURE, said, remedy)]


def rate_problems(name: str, rates: Sequence[Mapping[str, Any]], comp: str) -> list[Problem]:
    """Return the class that is answered most unlike on test rows and out of fold."""
    odd = [rate for rate in rates if abs(rate["gap"]) > RATE_LIMIT]
    if not odd:
        return []
    worst = max(odd, key=lambda rate: abs(rate["gap"]))
    also = f"; {len(odd) - 1} more classes differ so" if len(odd) > 1 else ""
    said = (
        f"`{name}` answers {worst['class']} for {worst['oof']:.1%} of out-of-fold rows but "
        f"{worst['test']:.1%} of test rows, {abs(worst['gap']):.1f} standard errors apart{also}"
    )
    remedy = (
        f"is the test set another one? `make audit COMP={comp}` says so under `test-unlike-train`"
    )
    return [Problem(SHIFT, said, remedy)]


def ranked(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return problems, the worst first; of equal weight in the order in which they were found."""
    return tuple(sorted(problems, key=lambda one: -one.weight))
