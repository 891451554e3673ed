"""Do the files tell the labels by anything but pixels: name, folder, size, form, time, order?

Gradient boosting is cross-validated on the shared folds with each kind of trait alone, and with all
together, against always answering the commonest class. Such a leak tells how the data were put
together: a network may learn it through resizing or compression, a competitor may use it, and a
score may rest on it.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipeline.artifacts.findings import Finding, Level
from pipeline.audit.evidence import Evidence, evidence, overlap
from pipeline.audit.hunt import score_of, scores_of
from pipeline.audit.rows import Hunt, hunt_of, sample
from pipeline.audit.score import CERTAIN, HEADERS, TOLD, VERY_CERTAIN, Score, in_words, line_of
from pipeline.audit.traits import TITLES, Trait, all_traits, statistics_trait
from pipeline.competition import CompetitionData
from pipeline.folds import Folds

BLOCKS, WARNS = 0.25, 0.05  # share of the majority's errors that are removed
TOGETHER = 0.5  # by all traits, none of which does enough alone, that is worth a warning
EXPLAINED = 0.8  # of what the size in bytes tells: the pixels tell it, too
FOREIGN = 0.05  # overlap of the test rows' values below which a leak stays in the training rows
SHARED = 0.8  # from which both are named alike: digits agree by half where other names have letters
_THREADED = 5_000  # rows from which more than one thread is worth its waiting
_UNSEEN_ORDER = ("leak-order", "leak-time")  # of tables that are sorted, files in their order
_UNSEEN_NAMES = ("leak-name", "leak-path")
_UNNAMED = ("leak-path", "leak-order")  # not hunted through where folders name the classes
_UNSEEN = (
    "The labels are how these folders are named, so folder, place in the listing and ids that are "
    "paths are not hunted through: the test pictures have none of them."
)


def leak_findings(
    data: CompetitionData, folds: Folds, looks: np.ndarray, say: Callable[[str], None] = print
) -> list[Finding]:
    """Return a finding for each kind of trait, and one for all together.

    At most 20,000 rows with sound pictures are used, of each class at least 50, and 20 classes, the
    rarest joined. Of several labels, each trait is tried on the six that a quick screening finds
    best; the number of all is what its errors are judged by. `block`: beyond 3 standard errors
    (Bonferroni over traits and labels) with a quarter of the majority's errors removed, or a class
    of 10 rows or more that is told with an F1 of .9 and as surely not by chance. `warn`: beyond 4
    with a twentieth. What no network sees, and is common in sound tables, only warns: order and
    time, and names and folders of which what the test pictures have, too, does not block.
    """
    there = looks["fault"] == ""
    hunt = hunt_of(data, folds, there[: len(data.train)])
    test = np.flatnonzero(there[len(data.train) :])
    test = test[sample(data.test.ids[test], np.zeros(len(test), int))]
    traits = all_traits(data, looks, hunt.rows.chosen, test)
    say(
        f"looking for leaks in {len(traits)} kinds of traits: {len(hunt.rows.chosen):,} rows, "
        f"{len(data.classes)} classes"
    )
    tests = (len(traits) + 1) * hunt.labels.shape[1]
    half = max(1, (os.cpu_count() or 1) // 2)  # others work on this machine, too
    threads = 1 if len(hunt.rows.chosen) < _THREADED else half
    with threadpool_limits(threads):
        judged = []
        for one in tqdm(traits, "leaks", disable=None, leave=False):
            judged.append(_judged(hunt, one, tests))
        drawn = [one for one in judged if one.level == "block" and one.trait.name == "leak-bytes"]
        if drawn:
            seen = statistics_trait(looks[hunt.rows.chosen])
            judged = [_weighed(hunt, one, seen) if one in drawn else one for one in judged]
        findings = [_finding(data, hunt, one, tests) for one in judged]
        findings += _all_together(hunt, judged, tests)
    return [*findings, *_the_same(data, traits), *_not_hunted(data)]


@dataclass(frozen=True, eq=False)
class Judged:
    """A trait with the score of the label it tells best, `column` of the hunt; `seen`: the share of
    errors that statistics of the pixels remove too."""

    trait: Trait
    level: Level
    column: int
    score: Score | None
    seen: float | None = None


def level_of(score: Score, tests: int) -> Level:
    """Return what a score weighs, of so many tests."""
    if score.removed >= BLOCKS and score.beyond(CERTAIN, tests):
        return "block"
    if score.tells_class(TOLD, CERTAIN, tests):
        return "block"
    if score.removed >= WARNS and score.beyond(VERY_CERTAIN, tests):
        return "warn"
    return "fine"


def _judged(hunt: Hunt, one: Trait, tests: int) -> Judged:
    """Return a trait with the label that it tells best."""
    order = ("block", "warn", "fine")
    found = [(order.index(level_of(s, tests)), -s.removed, k, s) for k, s in scores_of([one], hunt)]
    if not found:
        return Judged(one, "fine", 0, None)
    place, _, column, score = min(found, key=lambda f: f[:3])
    return Judged(one, order[place], column, score)


def _weighed(hunt: Hunt, one: Judged, seen: Trait | None) -> Judged:
    """Lower a block by size in bytes to a warning where simple statistics of the pixels tell as
    much: a fuller drawing is a longer file, and that is no leak."""
    k, score = one.column, one.score
    told = seen and score_of([seen], hunt.rows, hunt.labels[:, k], hunt.names[k])
    if not told or score is None:
        return one
    as_much = told.removed >= EXPLAINED * score.removed
    as_much &= score.best_f1 < TOLD or told.best_f1 >= EXPLAINED * score.best_f1
    return Judged(one.trait, "warn" if as_much else "block", k, score, told.removed)


def _finding(data: CompetitionData, hunt: Hunt, one: Judged, tests: int) -> Finding:
    name, title, score = one.trait.name, one.trait.title, one.score
    if score is None:
        return Finding(name, "fine", f"{title}: no row is validated on")
    table = (HEADERS, line_of(title, score))
    what = f"label '{score.label}'" if score.label else "the class"
    if one.level == "fine":
        told = "hardly told" if score.removed < WARNS else "told no better than chance may do"
        says = f"by the {title} alone {what} is {told}: {in_words(score)}"
        return Finding(name, "fine", says, table=table)
    found = evidence(one.trait, hunt.rows, hunt.labels[:, one.column], hunt.names[one.column])
    carried, says_carried = _carried(data, one.trait, found)
    foreign = name in _UNSEEN_NAMES and carried < FOREIGN
    if foreign and one.level == "block":
        again = _judged_as_carried(hunt, one.trait, tests)
        if again is not None and again.level == "block":
            return _finding(data, hunt, again, tests)
    return Finding(
        name,
        "warn" if foreign or name in _UNSEEN_ORDER else one.level,
        f"by the {title} alone {what} is {in_words(score)}",
        " ".join([_ADVICE[name], *_seen_too(one), says_carried]),
        count=len(hunt.rows.chosen),
        items=[item.as_item(data.train.ids[hunt.rows.chosen]) for item in found],
        table=table,
    )


_ADVICE = {
    "leak-name": "Names and ids do not reach the network; but they tell that rows were named by "
    "label, so give the files new names, and look whether the order of the test names tells more.",
    "leak-path": "The folder does not reach the network; where the test pictures lie in such "
    "folders too, it answers for them.",
    "leak-bytes": "Look whether the classes were saved by different programs or padded: what "
    "changed the bytes may show in the pixels, too.",
    "leak-dimensions": "Scaling to a square shows the network the shape, as squashed or coarser "
    "pictures; image.fit=cover or a crop hides most of it, where the test pictures differ.",
    "leak-compression": "Compression shows in the pixels: a network learns its traces in place of "
    "the object. Save all pictures anew in one way, or look whether the test pictures carry it.",
    "leak-time": "Times go with labels where files are written class by class, or in the order of "
    "a table that is sorted. No network sees them; look where the test files' times lie.",
    "leak-order": "Rows that are near in the table have labels that go together, as where it is "
    "sorted or was collected class by class. No network sees it, but folds cut from it without "
    "shuffling would be of other classes; look whether the test table has such an order as well.",
}


def _seen_too(one: Judged) -> list[str]:
    if one.seen is None:
        return []
    return [
        "Size, mean, spread and sharpness of the pixels alone put right "
        f"{one.seen:.0%} of the rows that the commonest class gets wrong."
    ]


def _judged_as_carried(hunt: Hunt, one: Trait, tests: int) -> Judged | None:
    """Return a trait by only those columns whose values the test rows share; None without any. What
    tells most may be of the training rows alone, and the next sign still answer for the test."""
    pairs = zip(one.train, one.test, strict=True)
    common = [k for k, (train, test) in enumerate(pairs) if overlap(train, test) >= SHARED]
    if not common:
        return None
    train, test = (tuple(side[k] for k in common) for side in (one.train, one.test))
    return _judged(hunt, replace(one, train=train, test=test), tests)


def _carried(data: CompetitionData, one: Trait, found: Sequence[Evidence]) -> tuple[float, str]:
    """Return how far the test rows have the same values of what tells most, and a sentence."""
    if not len(data.test) or not found:
        return 1.0, "There are no test rows to carry it over to."
    if one.name == "leak-order":
        return 1.0, (
            "Whether it carries over to the test rows cannot be told: they have no place in this "
            "table."
        )
    place = found[0].column or 0  # of neighbours in time: the first column, the rank of the time
    share, what = overlap(one.train[place], one.test[place]), one.train[place].name
    if share < FOREIGN:
        said = "so it does not carry over, and any score that rests on it promises too much"
    elif share > SHARED:
        said = "so it would carry over"
    else:
        said = "so it would carry over in part"
    return share, f"The test rows agree with the training rows in '{what}' to {share:.0%}, {said}."


def _all_together(hunt: Hunt, judged: Sequence[Judged], tests: int) -> list[Finding]:
    """Return the finding about all traits but those that pixels explain. It never blocks, so that
    what is allowed by name is not blocked by another name."""
    traits = [one.trait for one in judged if one.seen is None or one.level == "block"]
    table = [HEADERS, *(line_of(one.trait.title, one.score) for one in judged if one.score)]
    if not traits:
        says = "all traits: the same for all training pictures"
        return [Finding("leak-all", "fine", says)]
    found = scores_of(traits, hunt)
    if not found:
        return []
    score = max((one for _, one in found), key=lambda one: one.removed)
    told = score.removed >= TOGETHER and score.beyond(CERTAIN, tests)
    level: Level = "fine" if level_of(score, tests) == "fine" else "note"
    if told and all(one.level == "fine" for one in judged):
        level = "warn"
    what = f"label '{score.label}'" if score.label else "the class"
    says = f"by all of these together {what} is {in_words(score)}"
    why = "" if level == "fine" else "The findings for each kind of trait say where it comes from."
    table.append(line_of("all together", score))
    return [Finding("leak-all", level, says, why, len(hunt.rows.chosen), table=table)]


def _the_same(data: CompetitionData, traits: Sequence[Trait]) -> list[Finding]:
    """Return a finding for each kind of trait in which the training pictures do not differ."""
    there = {one.name for one in traits} | set(_UNNAMED if data.competition.folders else ())
    return [
        Finding(name, "fine", f"{title}: the same for all training pictures")
        for name, title in TITLES.items()
        if name not in there
    ]


def _not_hunted(data: CompetitionData) -> list[Finding]:
    if data.competition.folders is None:
        return []
    says = "not looked for: a folder per class"
    return [Finding(name, "note", says, _UNSEEN) for name in _UNNAMED]
