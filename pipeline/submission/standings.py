"""Where we stand: every run and ensemble with its scores, and what the ledger knows of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.competition import CompetitionData
from pipeline.ensemble.build import Decided, open_decided
from pipeline.ensemble.members import list_runs, read_record, why_unusable
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.submission.formats import sample_of
from pipeline.submission.ledger import Entry, rows
from pipeline.submission.medals import medal_table
from pipeline.submission.writer import Submission, write_submission


@dataclass(frozen=True)
class Standing:
    """A run or ensemble: out-of-fold score in-sample and honest, leaderboard scores, seconds."""

    name: str
    in_sample: float
    honest: float
    honest_se: float
    seconds: float
    blend: str
    rule: str
    entry: Entry | None
    place: str  # rank and medal among the leaderboard's teams, where the competition has one


def submit(data: CompetitionData, folds: Folds, source: str = "") -> tuple[Decided, Submission]:
    """Turn the test probabilities of `source` into a checked submission and a ledger row.

    Without `source`, the newest ensemble is taken.
    """
    sample_of(data)  # without test rows, nothing can be submitted
    name = source or newest_ensemble(data)
    reason = why_unusable(read_record(data, name, "FROM"), data, folds)
    if reason:
        raise PodiumError(f"FROM: {name} cannot be submitted: {reason}")
    decided = open_decided(data, folds, name)
    answer = decided.test_answer(data, folds)
    record = decided.record
    cv = {
        "cv_in_sample": record["in_sample"],
        "cv_honest": record["honest"],
        "cv_se": record["honest_se"],
    }
    note = f"{record['blend']} of {len(record['members'])}; {decided.rule.describe()}"
    answers = (None, answer) if data.metric.needs == "probs" else (answer, None)
    return decided, write_submission(data, data.test.ids, *answers, source=name, cv=cv, note=note)


def newest_ensemble(data: CompetitionData) -> str:
    """Return the name of the ensemble that was made last."""
    made = {}
    for name in list_runs(data):
        record = read_record(data, name)
        if "ensemble" in record:
            made[name] = datetime.fromisoformat(record["created"])
    if not made:
        raise PodiumError(
            f"FROM: {data.competition.name} has no ensemble yet; make ensemble "
            f"COMP={data.competition.name} first, or name a run with FROM="
        )
    return max(made, key=lambda name: (made[name], name))


def standings(data: CompetitionData, folds: Folds) -> tuple[list[Standing], dict[str, str]]:
    """Return all finished runs and ensembles, best honest score first, and why others are out.

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
                decided = open_decided(data, folds, name)
                entry = _entry_of(decided, entries.get(name))
                place = places.get(entry.number, "") if entry else ""
                found.append(_standing(decided, entry, place))
        except PodiumError as error:
            left[name] = str(error)
            errors.append(error)
    if errors and not found:
        raise errors[0]
    found.sort(key=lambda standing: (-data.metric.sign * standing.honest, standing.name))
    return found, {name: reason for name, reason in left.items() if reason}


def cost_per_point(standings: Sequence[Standing], sign: int) -> dict[str, float]:
    """Return, for every standing that none is both better and cheaper than, the seconds of training
    that a point (.01) of honest score costs beyond the next cheaper one of these.

    `sign` is 1 where a higher score is better, -1 where a lower one is. The cheapest costs nothing
    beyond, and is not in it.
    """
    costs: dict[str, float] = {}
    by_cost = sorted(standings, key=lambda s: (s.seconds, -sign * s.honest))
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
    if entry is None or not entry.cv_honest:
        return entry
    return entry if float(entry.cv_honest) == decided.record["honest"] else None


def _standing(decided: Decided, entry: Entry | None, place: str) -> Standing:
    record = decided.record
    return Standing(
        decided.name,
        record["in_sample"],
        record["honest"],
        record["honest_se"],
        record["seconds"],
        record["blend"],
        decided.rule.describe(),
        entry,
        place,
    )


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
