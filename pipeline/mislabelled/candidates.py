"""Labels that may be wrong, the least trusted first, and why each is suspected."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.folds import Folds
from pipeline.mislabelled.evidence import Evidence, gather
from pipeline.mislabelled.scoring import flags, quality
from pipeline.mislabelled.twins import Twin, conflicting_twins

MOST = 20_000  # candidates that are kept: more than anybody looks at
MISSING, SUPERFLUOUS = "missing", "superfluous"


@dataclass(frozen=True)
class Candidate:
    """A label that may be wrong.

    `name` is the class in question of several labels, '' of one. `label` is the one that was
    judged, `in_table` that of the competition's own table (another one where it was corrected),
    both in words, or 0 and 1 of several labels. `score` is the quality of the label in 0..1, lower
    for worse; `disagree` counts the runs that answer something else.
    """

    id: str
    name: str
    label: str
    in_table: str
    suggested: str
    score: float
    disagree: int
    flagged: bool
    image: Path
    reason: str

    @property
    def direction(self) -> str:
        """Of several labels, whether the class seems missing or superfluous; '' of one."""
        if not self.name:
            return ""
        return MISSING if self.suggested == "1" else SUPERFLUOUS


@dataclass(frozen=True)
class Candidates:
    """Candidates, worst first: the first of `found`, judged by `source` and by all `runs`.

    `judged` counts the labels that were looked at, `flagged` those that cleanlab holds for errors.
    """

    source: str
    runs: tuple[str, ...]
    rows: tuple[Candidate, ...]
    found: int
    judged: int
    flagged: int


def candidates(data: CompetitionData, folds: Folds, source: str = "") -> Candidates:
    """Return the labels of validated rows that may be wrong, of several labels row by class.

    A label is a candidate where cleanlab flags it, the source or most runs answer something else,
    or a duplicate of the picture carries another label. `source` is a run or ensemble: the newest
    ensemble, else the best run, if it is empty.
    """
    evidence = gather(data, folds, source)
    twins = conflicting_twins(data)
    score, flagged = quality(evidence), flags(evidence)
    chosen = flagged | _contradicted(evidence) | _of_twins(data, evidence, twins)
    places = np.argwhere(chosen)
    ids = data.train.ids[evidence.rows]
    order = np.lexsort((*places.T[1:], ids[places[:, 0]], score[chosen]))
    told = _Teller(data, data.uncorrected.labels, evidence, score, flagged, twins)
    rows = tuple(told.candidate(tuple(at)) for at in places[order[:MOST]].tolist())
    counts = len(places), evidence.labels.size, int(flagged.sum())
    return Candidates(evidence.source, evidence.runs, rows, *counts)


def _contradicted(evidence: Evidence) -> np.ndarray:
    """Return where the source, or most runs, answer something else than the label."""
    labels, probs = evidence.labels, evidence.probs
    if labels.ndim == 1:
        other = probs.max(axis=1) > probs[np.arange(len(labels)), labels]
    else:
        other = (probs >= 0.5) != (labels == 1)
    return other | (evidence.agreement < 0.5)


def _of_twins(
    data: CompetitionData, evidence: Evidence, twins: dict[int, list[Twin]]
) -> np.ndarray:
    """Return where a duplicate carries another label."""
    found = np.zeros(evidence.labels.shape, bool)
    for at in np.flatnonzero(np.isin(evidence.rows, list(twins))).tolist():
        row = evidence.rows[at]
        for twin in twins[int(row)]:
            found[at] |= data.labels[twin.row] != data.labels[row]
    return found


@dataclass(frozen=True, eq=False)
class _Teller:
    """Puts one candidate into words; its place is (row,), or (row, class)."""

    data: CompetitionData
    in_table: np.ndarray
    evidence: Evidence
    score: np.ndarray
    flagged: np.ndarray
    twins: dict[int, list[Twin]]

    def candidate(self, at: tuple[int, ...]) -> Candidate:
        row, evidence = int(self.evidence.rows[at[0]]), self.evidence
        disagree = round((1 - float(evidence.agreement[at])) * len(evidence.runs))
        return Candidate(
            str(self.data.train.ids[row]),
            self.data.classes[at[1]] if len(at) > 1 else "",
            self._words(at, evidence.labels[at]),
            self._words(at, self.in_table[(row, *at[1:])]),
            self._words(at, evidence.suggested[at]),
            float(self.score[at]),
            disagree,
            bool(self.flagged[at]),
            self.data.train.images[row],
            self._reason(at, row, disagree),
        )

    def _words(self, at: tuple[int, ...], label: int) -> str:
        return str(int(label)) if len(at) > 1 else self.data.classes[label]

    def _reason(self, at: tuple[int, ...], row: int, disagree: int) -> str:
        label, in_table = self.evidence.labels[at], self.in_table[(row, *at[1:])]
        ours = "" if label == in_table else f"against your correction to {self._words(at, label)}"
        said = [ours, self._direction(at), self._of_runs(at, disagree)]
        if self.flagged[at]:
            said.append("cleanlab flags it")
        said.append(self._of_twin(at, row))
        if not any(said[1:]):
            said.append("the source answers something else")
        return "; ".join(filter(None, said))

    def _direction(self, at: tuple[int, ...]) -> str:
        if len(at) == 1:
            return ""
        return SUPERFLUOUS if self.evidence.labels[at] else MISSING

    def _of_runs(self, at: tuple[int, ...], disagree: int) -> str:
        """Say how many runs answer something else, and whether they agree on what."""
        if not disagree:
            return ""
        runs = len(self.evidence.runs)
        share = f"{disagree} of {runs} run{'' if runs == 1 else 's'}"
        if len(at) > 1:
            return f"{share} say {'no' if self.evidence.labels[at] else 'yes'}"
        votes = self.evidence.votes[at[0]].copy()
        votes[self.evidence.labels[at]] = 0
        most = int(votes.argmax())
        name = self.data.classes[most]
        if votes[most] == disagree:
            return f"{share} answer {name}"
        return f"{share} answer something else, {votes[most]} of them {name}"

    def _of_twin(self, at: tuple[int, ...], row: int) -> str:
        labels = self.data.labels
        for twin in self.twins.get(row, []):
            cell = (twin.row, *at[1:])
            if labels[cell] != labels[(row, *at[1:])]:
                name = self.data.train.ids[twin.row]
                return f"{name} ({twin.words}) is labelled {self._words(at, labels[cell])}"
        return ""
