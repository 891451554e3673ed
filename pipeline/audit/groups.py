"""Whether test rows are of groups that training rows have: folds should imitate the test."""

import numpy as np

from pipeline.artifacts.findings import Finding
from pipeline.competition import CompetitionData
from pipeline.competition.sources import Reader

NAME = "groups-in-test"
SEVERAL = (
    0.05  # share of test rows of known groups from which grouped folds are harder than the test
)
_SHOWN = 20


def group_findings(data: CompetitionData) -> list[Finding]:
    """Return a finding where the test table, too, has the column of the groups; else none."""
    column = data.competition.columns.group
    source = Reader(data.project, data.competition).test()
    if column is None or source is None or column not in source.frame.columns:
        return []
    training = Reader(data.project, data.competition).training()
    known = set(np.concatenate([one.frame[column].to_numpy(np.str_) for one in training]).tolist())
    groups = source.frame[column].to_numpy(np.str_)
    shared = np.isin(groups, list(known))
    share = float(shared.mean())
    names, counts = np.unique(groups[shared], return_counts=True)
    largest = np.argsort(-counts, kind="stable")[:_SHOWN]
    return [
        Finding(
            NAME,
            "warn" if share > SEVERAL else "note" if shared.any() else "fine",
            f"test rows of a group ('{column}') that training rows have: {int(shared.sum()):,} of "
            f"{len(groups):,}, of {len(names):,} groups",
            "Grouped folds validate groups that were never seen. Where most test rows are of known "
            "groups, the honest score is lower than the leaderboard's will be: then leave "
            "columns.group out, or compare folds both ways. Where few are, ask how they came into "
            "both tables.",
            count=int(shared.sum()),
            table=[["group", "test rows"], *([str(names[k]), f"{counts[k]:,}"] for k in largest)]
            if len(names)
            else [],
        )
    ]
