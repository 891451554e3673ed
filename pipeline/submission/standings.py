"""Where we stand: every run and ensemble with its scores, and what the ledger knows of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.competition import CompetitionData
from pipeline.ensemble.build import Decided, open_decided
from pipeline.ensemble.members import list_runs, read_record, why_unusable
from pipeline.ensemble.newest import newest_ensemble
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.submission.formats import sample_of
from pipeline.submission.ledger import Entry, rows
from pipeline.submission.medals import medal_table
from pipeline.submission.writer import Submission, write_submission


@dataclass(frozen=True)
class Standing:
    """A run or ensemble: out-of-fold score in-sample and honest (None: of mixed folds), leaderboard
    scores, seconds of training (None: not known, or none)."""

    name: str
    in_sample: float
    honest: float | None
    honest_se: float | None
    seconds: float | None
    blend: str  # '-' of a single run
    rule: str
    entry: Entry | None
    place: str  # rank and medal among the leaderboard's teams, where the competition has one

    @property
    def decision(self) -> str:
        """What makes answers of probabilities, in two words."""
        return self.rule if self.blend == "-" else f"{self.blend}, {self.rule}"


def submit(data: CompetitionData, folds: Folds, source: str = "") -> tuple[Decided, Submission]:
    """Turn the test probabilities of `source` into a checked submission and a ledger row.

    Without `source`, the newest ensemble with an honest score is taken; newer ones that are passed
    over are among the warnings.
    """
    sample_of(data)  # without test rows, nothing can be submitted
    name, passed = (source, {}) if source else newest_ensemble(data, folds)
    reason = why_unusable(read_record(data, name, "FROM"), data, folds)
    if reason:
        raise PodiumError(
            f"FROM: {name} cannot be submitted: {reason}; make it anew, or name another with FROM="
        )
    decided = _opened(data, folds, name)
    answer = decided.test_answer(data, folds)
    record = decided.record
    cv = {
        "cv_in_sample": record["in_sample"],
        "cv_honest": record["honest"],
        "cv_se": record["honest_se"],
    }
    note = f"{record['blend']} of {len(record['members'])}; {decided.rule.describe()}"
    answers = (None, answer) if data.metric.needs == "probs" else (answer, None)
    submission = write_submission(data, data.test.ids, *answers, source=name, cv=cv, note=note)
    said = [f"left out: {other}: {reason}" for other, reason in passed.items()]
    return replace(decided, record=record | {"warnings": record["warnings"] + said}), submission


def _opened(data: CompetitionData, folds: Folds, name: str) -> Decided:
    """Open a run or ensemble with its decision; files in the way are an error that names them."""
    path = data.project.run(data.competition.name, name) / "chain.json"
    if path.is_dir():  # said before hours of fitting, whose result could not be written
        raise PodiumError(f"{path}: is a folder where a file should be; delete it")
    try:
        return open_decided(data, folds, name)
    except OSError as error:
        where = error.filename2 or error.filename or path.parent
        raise PodiumError(f"{where}: cannot be used ({error.strerror}); mend that") from None


def standings(data: CompetitionData, folds: Folds) -> tuple[list[Standing], dict[str, str]]:
    """Return all finished runs and ensembles, best honest score first and those without one last,
    and why others are out.

    The decision of a run that has none yet is fitted now. Scores come from the newest submission of
    each; answers are not opened here. A run that cannot be read or decided is out, with the reason;
    where that leaves none, the first such error is raised.
    """
    entries = {entry.source: entry for entry in rows(data.project, data.competition.name)}
    places = _places(data, list(entries.values()))
    found, left, errors = [], {}, []
    for name in list_runs(data):
        try:
            left[name] = why_unusable(read_record(data, name), data, folds)
            if not left[name]:
                decided = _opened(data, folds, name)
                entry = _entry_of(decided, entries.get(name))
                place = places.get(entry.number, "") if entry else ""
                found.append(_standing(decided, entry, place))
        except PodiumError as error:
            left[name] = str(error)
            errors.append(error)
    if errors and not found:
        raise errors[0]
    found.sort(key=lambda s: (s.honest is None, -data.metric.sign * (s.honest or 0), s.name))
    return found, {name: reason for name, reason in left.items() if reason}


def cost_per_point(standings: Sequence[Standing], sign: int) -> dict[str, float]:
    """Return, for every standing that none is both better and cheaper than, the seconds of training
    that a point (.01) of honest score costs beyond the next cheaper one of these.

    `sign` is 1 where a higher score is better, -1 where a lower one is. The cheapest costs nothing
    beyond, and is not in it; nor is what has no honest score, or took nobody knows how long.
    """
    costs: dict[str, float] = {}
    known = [s for s in standings if s.seconds is not None and s.honest is not None]
    by_cost = sorted(known, key=lambda s: (s.seconds, -sign * s.honest))
    best = by_cost[0] if by_cost else None
    for standing in by_cost[1:]:
        gain = 100 * sign * (standing.honest - best.honest)
        if gain > 0:
            costs[standing.name] = (standing.seconds - best.seconds) / gain
            best = standing
    return costs


def _entry_of(decided: Decided, entry: Entry | None) -> Entry | None:
    """Return the newest submission of a run or ensemble, None where it was of an earlier decision
    under the same name: its score is not that of what is there now."""
    if entry is None:
        return None
    for kind in ("honest", "in_sample"):  # of mixed folds, there is the second alone
        score = entry.value(f"cv_{kind}")
        if score is not None:
            return entry if score == decided.record[kind] else None
    return entry


def _standing(decided: Decided, entry: Entry | None, place: str) -> Standing:
    record = decided.record
    return Standing(
        decided.name,
        record["in_sample"],
        record["honest"],
        record["honest_se"],
        _seconds(record),
        record["blend"] if "ensemble" in record else "-",
        decided.rule.kind,
        entry,
        place,
    )


def _seconds(record: dict[str, Any]) -> float | None:
    """Return how long the training took, None where that of any member is not known."""
    known = all(member.get("seconds") for member in record["members"])
    return record["seconds"] if known and record.get("seconds_known") is not False else None


def _places(data: CompetitionData, entries: list[Entry]) -> dict[int, str]:
    if data.competition.tables.leaderboard is None:
        return {}
    graded = [entry for entry in entries if entry.private]
    if not graded:
        return {}
    return {
        row.number: f"{row.private_rank}/{row.teams} {row.medal}".strip()
        for row in medal_table(data, graded)
    }
