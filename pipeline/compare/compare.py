"""Compare runs or ensembles of one competition by their honest answers to the same rows."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import write_json
from pipeline.compare.changes import Change, changes, in_a_line
from pipeline.compare.confusions import class_scores, confusions, label_errors
from pipeline.compare.grounds import (
    UNCHANGED,
    Ground,
    label_sets,
    own_data,
    shared_ground,
    which,
    why_other,
)
from pipeline.compare.pictures import KINDS, Pictures
from pipeline.compare.verdict import Verdict, judge, signed
from pipeline.competition import CompetitionData
from pipeline.decisions import as_labels
from pipeline.ensemble.answers import load_answers
from pipeline.ensemble.build import Decided, open_decided
from pipeline.ensemble.members import read_record, validated_rows, why_unusable
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.submission.ledger import note_comparison

FIRST = 5  # ids of each kind that are kept in the record


@dataclass(frozen=True)
class Comparison:
    """Two runs or ensembles, `record` as it was written, and which rows of the ledger say so;
    `shown` are the paths as the user would type them."""

    before: str
    after: str
    record: dict[str, Any]
    paths: tuple[Path, ...]
    shown: tuple[str, ...]
    noted: tuple[int, ...]

    @property
    def verdict(self) -> str:
        """'keep', 'worse' or 'noise'."""
        return self.record["gain"]["verdict"]


@dataclass(frozen=True, eq=False)
class Side:
    """A run or ensemble: its own record, that of its decision, its honest answers, and the
    competition with the labels that it was trained on."""

    name: str
    data: CompetitionData
    record: dict[str, Any]
    decided: Decided
    answer: np.ndarray

    @property
    def honest(self) -> float:
        return self.decided.record["honest"]


@dataclass(frozen=True, eq=False)
class Arena:
    """Where runs are compared: the rows that all of them were validated on."""

    data: CompetitionData
    folds: Folds

    @property
    def rows(self) -> np.ndarray:
        return validated_rows(self.folds)

    @property
    def groups(self) -> np.ndarray:
        """What is drawn and swapped as a whole, by name; a row by itself is named by its id."""
        group = self.data.train.ids if self.folds.group is None else self.folds.group
        return group[self.rows]

    def side(self, name: str) -> Side:
        """Open a run or ensemble, or say why it cannot be compared."""
        record = read_record(self.data, name)
        own = own_data(self.data, record["data_hash"])
        reason = why_unusable(record, own, self.folds)
        if reason:
            reason = why_other(self.data, record["data_hash"], reason)
            raise PodiumError(f"RUNS: {name} cannot be compared: {reason}; leave it out")
        decided = open_decided(own, self.folds, name)
        if decided.record["honest"] is None:
            raise PodiumError(
                f"RUNS: {name} has no honest score, since its members are of other folds; compare "
                "those that were trained on the shared ones"
            )
        return Side(name, own, record, decided, load_answers(decided, own, self.folds))

    def changes(self, a: Side, b: Side) -> list[Change]:
        found = changes(a.record, b.record, (a.decided.record, b.decided.record))
        labels = [which(self.data, side.data) for side in (a, b)]
        return [Change("labels", *labels), *found] if labels[0] != labels[1] else found

    def ground(self, a: Side, b: Side) -> Ground:
        """Return the rows and labels that the verdict stands on."""
        if a.data is b.data:
            return shared_ground(a.data, self.rows)
        return label_sets(self.data, self.rows)[UNCHANGED]

    def judge(self, a: Side, b: Side, ground: Ground) -> Verdict:
        # The seed is that of the folds, so that the same comparison always says the same.
        seed = int(self.folds.hash[:8], 16)
        answers = (side.answer[ground.rows] for side in (a, b))
        return judge(self.data.metric, ground.labels, *answers, self.groups[ground.rows], seed)


def compare(data: CompetitionData, folds: Folds, names: list[str]) -> list[Comparison]:
    """Compare every one of `names` with the first; write what was found, and note it in the ledger
    where the one was submitted after the other."""
    if len(names) < 2:
        got = names[0] if names else "none"
        raise PodiumError(f'RUNS: needs the run before and those after, got {got}; RUNS="a b"')
    twice = [name for at, name in enumerate(names) if name in names[:at]]
    if twice:
        raise PodiumError(f"RUNS: {twice[0]} stands twice; compare it with another run")
    arena = Arena(data, folds)
    first, *others = (arena.side(name) for name in names)
    return [_compared(arena, first, other) for other in others]


def changed(data: CompetitionData, folds: Folds, parent: str, name: str) -> str:
    """Return in a few words what was changed from `parent` to `name`, and what that brought."""
    arena = Arena(data, folds)
    a, b = arena.side(parent), arena.side(name)
    return _in_words(arena.changes(a, b), arena.judge(a, b, arena.ground(a, b)))


def _in_words(found: list[Change], verdict: Verdict) -> str:
    gain = verdict.gain
    return f"{in_a_line(found)}: {signed(gain.difference)} ± {gain.se:.4f} {verdict.word}"


def _compared(arena: Arena, a: Side, b: Side) -> Comparison:
    data, found, ground = arena.data, arena.changes(a, b), arena.ground(a, b)
    verdict, task = arena.judge(a, b, ground), data.competition.task
    labels = (as_labels(side.answer[ground.rows], task) for side in (a, b))
    ids = data.train.ids[arena.rows[ground.rows]]
    pictures = Pictures(ids, tuple(data.classes), ground.labels, *labels)
    groups = len(np.unique(arena.groups[ground.rows]))
    record = {
        "competition": data.competition.name,
        "metric": data.metric.name,
        "folds_hash": arena.folds.hash,
        "data_hash": b.data.hash,
        "rows": len(ids),
        "groups": None if arena.folds.group is None else groups,
        "before": _scores(a),
        "after": _scores(b),
        "same_answers": bool(np.array_equal(a.answer, b.answer)),
        "gain": verdict.to_json(),
        "changes": [asdict(change) for change in found],
        "pictures": _of_pictures(pictures, task),
        "classes": _of_classes(arena, pictures),
        **_of_labels(arena, a, b, verdict),
    }
    folder = data.project.comparisons(data.competition.name)
    paths = tuple(folder / f"{a.name}--{b.name}.{suffix}" for suffix in ("csv", "json"))
    pictures.write(paths[0])
    write_json(paths[1], record)
    honest = {side.name: side.honest for side in (a, b)}
    said = _in_words(found, verdict)
    noted = note_comparison(data.project, data.competition.name, honest, said)
    shown = tuple(data.project.shown(path) for path in paths)
    return Comparison(a.name, b.name, record, paths, shown, tuple(noted))


def _scores(side: Side) -> dict[str, Any]:
    return {"name": side.name, "honest": side.honest, "se": side.decided.record["honest_se"]}


def _of_labels(arena: Arena, a: Side, b: Side, verdict: Verdict) -> dict[str, Any]:
    """Return what the record says of the labels, where not both runs have those that are there:
    whose were corrected, and the scores and verdict by each set of labels. `verdict` is that by the
    unchanged ones."""
    before, after = (which(arena.data, side.data) for side in (a, b))
    if arena.data.corrections is None or (a.data is arena.data and b.data is arena.data):
        return {}
    said: dict[str, Any] = {"before": before, "after": after, "rows": len(arena.rows)}
    if before == after:
        return {"labels": said}
    metric, said["sets"] = arena.data.metric, {}
    for name, ground in label_sets(arena.data, arena.rows).items():
        scores = [metric.score(ground.labels, side.answer[ground.rows]) for side in (a, b)]
        found = verdict if name == UNCHANGED else arena.judge(a, b, ground)
        said["sets"][name] = {"rows": len(ground.rows), "scores": scores, "gain": found.to_json()}
    return {"labels": said}


def _of_pictures(pictures: Pictures, task: str) -> dict[str, Any]:
    """Return what the record says of rows fixed and broken, and of single labels if of several."""
    labels = {"labels": pictures.label_counts()} if task == "multilabel" else {}
    first = {kind: list(pictures.first(kind, FIRST)) for kind in KINDS}
    return {**pictures.counts(), "mcnemar_p": pictures.mcnemar(), "first": first, **labels}


def _of_classes(arena: Arena, pictures: Pictures) -> dict[str, Any]:
    """Return what the record says of the classes most mistaken, and of those that changed most."""
    answers = pictures.actual, pictures.a, pictures.b
    multilabel = pictures.actual.ndim == 2
    worst = (label_errors if multilabel else confusions)(*answers, pictures.classes)
    by, scores = class_scores(arena.data.metric, *answers, pictures.classes)
    key = "errors" if multilabel else "confusions"
    return {key: [asdict(one) for one in worst], "by": by, "changed": [asdict(s) for s in scores]}
