"""What a study came to, ready to be printed: the best trials, what matters, what it cost."""

from collections.abc import Sequence

from pipeline.artifacts.columns import shortened
from pipeline.config.times import duration, few
from pipeline.search.correlation import Correlation
from pipeline.search.importance import Importance, Ranked, rank
from pipeline.search.judged import of_level, score
from pipeline.search.labels import short_names, value_text
from pipeline.search.records import Found, Trial
from pipeline.search.space import Config
from pipeline.search.spending import POINT, gain, is_alone, spent, trial_seconds

Table = tuple[list[str], list[list[str]]]
Part = str | Table
SHOWN = 10  # trials, and parameters
WIDEST, WIDEST_TABLE = 24, 100  # characters of a parameter's value, of the table of trials
ALPHA = 0.05


def report_parts(
    found: Found,
    ranked: Ranked | None = None,
    *,
    comp: str,
    default: Config | None = None,
    finalists: Sequence[str] = (),
    pruned: str = "",
    written: Sequence[str] = (),
) -> list[Part]:
    """Return the sentences and tables that end `make tune`. `default` is the configuration of the
    recipe as it is; `finalists` the runs that were trained on all folds; `pruned` the file of the
    pruned study, and `written` what else was written, as the user would type them."""
    known = ranked or rank(found)
    parts: list[Part] = []
    if found.best is None:
        parts.append(f"{found.name}: no trial has a score yet")
    else:
        parts += [*_best_trials(found, known), *_doubt(found), *_importances(found, known)]
        parts += _gain(found, default)
    parts += [_cost(found), *_failures(found)]
    if written or pruned:
        listed = [*written, *([pruned] if pruned else [])]
        parts.append("\n".join(["written:", *(f"  {path}" for path in listed)]))
    return [*parts, f"next: {_next(found, comp, finalists, pruned)}"]


def _best_trials(found: Found, known: Ranked) -> list[Part]:
    """Return the trials that were trained the furthest, the best first, with those parameters that
    matter most and differ, as many as there is room for, and what there was none for."""
    ordered = _ordered(found)
    trials = ordered[:SHOWN]
    several = found.ladder.top > 0
    headers = [
        "rank",
        "trial",
        "run",
        found.metric,
        *(["trained to"] if several else []),
        "seconds",
    ]
    rows = []
    for place, trial in enumerate(trials, 1):
        level = found.ladder.levels[trial.reached].name
        value = f"{score(found, trial, trial.reached):.4f}"
        row = [str(place), str(trial.number), trial.run, value, *([level] if several else [])]
        rows.append([*row, few(trial_seconds(found, trial))])
    names, hidden = short_names(found.space.keys), []
    for key in known.keys:
        cells = [_cell(trial, key) for trial in trials]
        column = [names[key], *cells]
        lines = [[*line, own] for line, own in zip([headers, *rows], column, strict=True)]
        if len(trials) > 1 and len(set(cells)) == 1:
            continue
        if _width(lines) <= WIDEST_TABLE:
            headers, *rows = lines
        else:
            hidden.append(names[key])
    hidden += [f"{len(ordered) - SHOWN} more trials"] if len(ordered) > SHOWN else []
    beyond = [f"in trials.csv, too: {', '.join(hidden)}"] if hidden else []
    return [(headers, rows), *beyond]


def _ordered(found: Found) -> list[Trial]:
    """Return the trials with a score, those trained further first, the better first of these."""
    there = [trial for trial in found.trials if trial.losses and not trial.failed]
    return sorted(there, key=lambda t: (-t.reached, t.losses[t.reached], t.number))


def _cell(trial: Trial, key: str) -> str:
    return shortened(value_text(trial.config[key]), WIDEST) if key in trial.config else "-"


def _width(lines: list[list[str]]) -> int:
    columns = zip(*lines, strict=True)
    return sum(max(map(len, column)) + 2 for column in columns) - 2


def _doubt(found: Found) -> list[str]:
    """Say what the best score is worth, having been chosen for being the best."""
    count = len(of_level(found, found.best.reached))
    if count < 2:
        return []
    folds = found.study.folds
    listed = "all folds" if folds == "all" else f"fold {', '.join(map(str, folds))}"
    return [
        f"the best of {count} scores on the same rows ({listed}) is optimistic: it was chosen for "
        "being the best there"
    ]


def _importances(found: Found, known: Ranked) -> list[Part]:
    """Return what each parameter explains and how it goes with the score, and what that means."""
    there = known.judged
    level = found.ladder.levels[there.level].name
    if known.note:
        return [f"importances: {known.note} (at {level})"]
    names = short_names(found.space.keys)
    pairs = list(zip(known.importances, known.correlations, strict=True))
    rows = [_matters(names[one.key], one, link) for one, link in pairs[:SHOWN]]
    headers = [
        "parameter",
        "trials",
        "importance ± SE",
        "luck",
        "correlation",
        "95 % interval",
        "p",
    ]
    parts: list[Part] = [(headers, rows)]
    more = f"; {len(pairs) - SHOWN} more in correlations.csv" if len(pairs) > SHOWN else ""
    parts.append(
        f"by {len(there)} trials at {level}{more}; importance: share of the variance of "
        f"{found.metric} (fANOVA), and what luck reaches in 1 of 20; correlation: of ranks with "
        f"{found.metric}, of choices epsilon squared; p: for as many parameters (Holm)"
    )
    words = "none of it is causal: parameters that were proposed together share what they explain"
    if found.study.sampler not in ("random", "quasi-random", "grid"):
        words += f", and {found.study.sampler} proposes most where scores are good"
    if there.chosen:
        words += "; these trials were chosen from more, so that differences are understated"
    return [*parts, words]


def _matters(name: str, one: Importance, link: Correlation) -> list[str]:
    share = "-" if one.share is None else f"{one.share:.2f} ± {one.se:.2f}"
    luck = "-" if one.luck is None else f"{one.luck:.2f}"
    if link.value is None:
        return [name, str(one.trials), share, luck, "-", "-", "-"]
    signed = f"{link.value:+.2f}" if link.kind == "spearman" else f"{link.value:.2f} (choices)"
    interval = "-" if link.low is None else f"{link.low:+.2f} to {link.high:+.2f}"
    p = f"{link.p_holm:.4f}" + (" *" if link.p_holm < ALPHA else "")
    return [name, str(one.trials), share, luck, signed, interval, p]


def _gain(found: Found, default: Config | None) -> list[str]:
    """Say what the search brought, over the recipe as it is or else over its first trials, and what
    .01 of it has cost."""
    brought = gain(found, default)
    if brought is None and is_alone(found, default):
        return [
            "nothing but the recipe as it is was trained to the end; a larger budget tells more"
        ]
    if brought is None:
        return []
    level = found.ladder.levels[brought.level].name
    if brought.is_default:
        what = "the recipe as it is"
    else:
        what = "the first trial" if brought.first == 1 else f"median of the first {brought.first}"
    better = found.sign * (brought.after - brought.before)
    said = f"{found.metric} at {level}: {brought.before:.4f} ({what}) to {brought.after:.4f}"
    took = f"{_trainings(brought.trainings)}, {duration(brought.seconds)}"
    if better <= 0:
        return [f"{said}: no gain, for {took}"]
    per = brought.trainings / (better / POINT), brought.seconds / (better / POINT)
    each = f"{_trainings(per[0])}, {duration(per[1])}, per .01"
    luck = "whether that is luck says make compare, on folds that the search did not see"
    return [f"{said}: {better:.4f} better, for {took}: {each}; {luck}"]


def _trainings(number: float) -> str:
    return f"{number:.3g} whole training{'s' * (f'{number:.3g}' != '1')}"


def _cost(found: Found) -> str:
    counts = [f"{len(found.trials)} trial{'s' * (len(found.trials) != 1)}"]
    in_work = sum(trial.in_work for trial in found.trials)
    counts += [f"{in_work} in work"] if in_work else []
    if found.ladder.top:
        names = [level.name for level in found.ladder.levels]
        reached = [sum(n in trial.losses for trial in found.trials) for n in range(len(names))]
        listed = ", ".join(f"{n} to {name}" for n, name in zip(reached, names, strict=True))
        counts.append(f"trained: {listed}")
    seconds = sum(trial_seconds(found, trial) for trial in found.trials)
    paid = f"{spent(found):.3g} of {found.study.budget:g} whole trainings, {duration(seconds)}"
    return f"cost: {paid}; {', '.join(counts)}"


def _failures(found: Found) -> list[str]:
    failed = [trial for trial in found.trials if trial.failed]
    if not failed:
        return []
    why = shortened(" ".join(failed[0].error.split()), 100) or "no reason was noted"
    said = f"trial {failed[0].number}: {why}"
    return [f"{len(failed)} of {len(found.trials)} failed, which nothing above counts; {said}"]


def _next(found: Found, comp: str, finalists: Sequence[str], pruned: str) -> str:
    """Return the command that is worth running next."""
    again = f"make tune COMP={comp} STUDY={found.name}"
    if found.trials and all(trial.failed for trial in found.trials):
        return f"mend what failed, then {again} FRESH=1"
    if any(trial.in_work for trial in found.trials):
        return f"{again}, which goes on with what is in work"
    of_trials = found.study.trials is None or len(found.trials) < found.study.trials
    left, shown = found.study.budget - spent(found), f"budget: {max(spent(found), 1):.3g}"
    if of_trials and found.study.sampler != "grid" and left >= 1:
        return f"{again}, which goes on: its budget is not spent ({shown} in its file would end it)"
    if len(finalists) > 1:
        shown = f'make compare COMP={comp} RUNS="{" ".join(finalists[:2])}"'
        return f"{shown}; make ensemble COMP={comp}"
    if finalists:
        return f"make ensemble COMP={comp}"
    if pruned:
        return f"copy {pruned} to experiments/studies/, then make tune COMP={comp} STUDY= its name"
    return f"{again} with a larger budget in its file"
