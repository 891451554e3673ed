"""The three sentences at the top: where we are, what is wrong, what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.problems import HALT, WEAK, Problem


@dataclass(frozen=True)
class Gain:
    """By how much the best is better than `other`; `word` is 'keep', 'worse' or 'noise', '' where
    it was not tested."""

    other: str
    difference: float
    se: float | None = None
    word: str = ""


AUDITED, CLASSES, SURENESS = "finding of the audit", "weak class", "overconfidence"
COMPARED = "gap to the leaderboard beyond noise"
LOOKED_AT = (AUDITED, CLASSES, SURENESS, COMPARED)


@dataclass(frozen=True)
class Where:
    """What is known of the best run or ensemble, None as its name before there is one;
    `unreadable`: what is there cannot be read; `left`: which runs do not count, and why;
    `looked_at`: what was looked for of `LOOKED_AT`."""

    metric: str
    name: str | None
    honest: float | None = None
    se: float | None = None
    over_run: Gain | None = None
    over_majority: Gain | None = None
    public: float | None = None
    private: float | None = None
    place: str = ""
    unreadable: bool = False
    left: str = ""
    looked_at: tuple[str, ...] = LOOKED_AT


@dataclass(frozen=True)
class Done:
    """What was done so far, and with what: `usual` is the architecture to begin with, `other` one
    that is not among the runs; `again`: the command that makes a run which does not count now one
    that does; `label_errors`: whether they were listed."""

    comp: str
    folds: bool
    audited: bool
    runs: int
    ensembles: int
    best: str | None
    usual: str
    other: str
    submits: bool
    submitted: bool
    scored: bool
    label_errors: bool
    curves: bool
    again: str = ""


_VERDICTS = {"keep": "more than luck explains", "noise": "within noise", "worse": "worse"}


def where(at: Where) -> str:
    """Return where we are: the best honest score, what it gains, and the leaderboard's."""
    if at.name is None and at.unreadable:
        return "No score can be told: what is recorded cannot be read."
    if at.name is None and at.left:
        return f"No run counts now, so there is no score: {at.left}."
    if at.name is None:
        return "There is no finished run yet, so there is no score."
    said = f"Best is `{at.name}`: honest {at.metric} {_number(at.honest)}"
    said += f" ± {at.se:.4f}" if at.se is not None else ""
    if at.over_run is not None:
        gain = at.over_run
        error = f" ± {gain.se:.4f}" if gain.se is not None else ""
        verdict = f" ({_VERDICTS[gain.word]})" if gain.word else ""
        said += f", {gain.difference:+.4f}{error} over the best single run `{gain.other}`{verdict}"
    if at.over_majority is not None:
        joint = " and" if at.over_run is not None else ","
        said += f"{joint} {at.over_majority.difference:+.4f} over the majority answer"
    return f"{said}; {_leaderboard(at)}."


def _leaderboard(at: Where) -> str:
    if at.public is None and at.private is None:
        return "no leaderboard score is known"
    scores = (("public", at.public), ("private", at.private))
    said = ", ".join(f"{name} {value:.4f}" for name, value in scores if value is not None)
    return f"{said} ({at.place})" if at.place else said


def wrong(problems: Sequence[Problem], at: Where) -> str:
    """Return the worst problem; `problems` come worst first."""
    if problems:
        return f"{_capital(problems[0].says)}."
    if at.name is None:
        return f"Nothing can be said before a run {'counts' if at.left else 'is finished'}."
    *most, last = at.looked_at
    said = ", ".join(f"no {one}" for one in most) + (" and " if most else "") + f"no {last}"
    audited = "" if AUDITED in at.looked_at else "; the data was not audited"
    return f"Nothing stands out: {said}, in what is recorded{audited}."


def next_step(done: Done, problems: Sequence[Problem]) -> str:
    """Return what to do next, a command: what halts everything, what the way still lacks, what the
    worst problem asks for, and else what is likely to bring most."""
    halting = [one for one in problems if one.weight >= HALT]
    missing = _missing(done)
    if halting:
        return f"{_capital(halting[0].remedy)}."
    if missing:
        return missing
    if problems and problems[0].weight >= WEAK:
        return f"{_capital(problems[0].remedy)}."
    if not done.audited:
        return f"`make audit COMP={done.comp}`: the data was not looked at yet."
    if problems:
        return f"{_capital(problems[0].remedy)}."
    if not done.label_errors:
        return f"`make label-errors COMP={done.comp}` lists labels that may be wrong."
    if not done.curves:
        learnt = f"`make learning-curve COMP={done.comp} ARCH={done.usual}`"
        return f"{learnt} says whether more pictures would bring more."
    return (
        f"`make train COMP={done.comp} ARCH={done.other}`, then `make ensemble COMP={done.comp}`."
    )


def _missing(done: Done) -> str:
    """Return the next step of the way, '' where all were taken."""
    comp, best = done.comp, done.best
    if not done.folds and not done.audited:
        return f"`make audit COMP={comp}`, read its page, then `make folds COMP={comp}`."
    if not done.folds:
        return f"`make folds COMP={comp}`."
    if not done.runs and not done.ensembles and done.again:
        return f"`{done.again}`."
    if not done.runs:
        return f"`make train COMP={comp} ARCH={done.usual}`."
    if done.runs == 1 and not done.ensembles:
        return f"`make train COMP={comp} ARCH={done.other}`, a second opinion for an ensemble."
    if not done.ensembles:
        return f"`make ensemble COMP={comp}`."
    if done.submits and not done.submitted:
        return f"`make submit COMP={comp} FROM={best}`."
    if done.submits and not done.scored:
        return f"`make score COMP={comp} FROM={best}`, with SCORE= if the site has graded it."
    return ""


def _number(value: float | None) -> str:
    return "n/a (mixed folds)" if value is None else f"{value:.4f}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
