"""Which pictures a sheet shows: by ids and seed alone, spread over the classes, none broken."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts.hashing import stable_int
from pipeline.competition.faults import faults

ROUNDS = 20  # of replacing pictures that turn out to be missing or broken


@dataclass(frozen=True)
class Candidates:
    """The rows (n,) that a sheet may show: their ids (n,), pictures and labels (n, c) of 0 and 1,
    with no column where the rows have none. `exclusive`: each row has exactly one class."""

    rows: np.ndarray
    ids: np.ndarray
    paths: Sequence[Path]
    labels: np.ndarray
    exclusive: bool = True

    def without(self, rows: set[int]) -> "Candidates":
        """Return the candidates but those of `rows`."""
        kept = np.flatnonzero(~np.isin(self.rows, list(rows)))
        paths = [self.paths[i] for i in kept]
        return Candidates(self.rows[kept], self.ids[kept], paths, self.labels[kept], self.exclusive)


def choose_whole(candidates: Candidates, n: int, seed: int) -> tuple[list[int], dict[int, str]]:
    """Return at most `n` rows whose pictures can be decoded, and what is wrong with the others that
    were chosen first, by row. Only pictures that are chosen are looked at."""
    path_of = dict(zip(candidates.rows.tolist(), candidates.paths, strict=True))
    whole: set[int] = set()
    wrong: dict[int, str] = {}
    for _ in range(ROUNDS):
        chosen = choose(candidates.without(set(wrong)), n, seed)
        untried = [row for row in chosen if row not in whole]
        found = faults([path_of[row] for row in untried])
        wrong |= {untried[place]: reason for place, reason in found.items()}
        whole |= set(untried) - set(wrong)
        if not found:
            break
    return [row for row in chosen if row not in wrong], wrong


def choose(candidates: Candidates, n: int, seed: int) -> list[int]:
    """Return at most `n` rows, by the ids and the seed alone.

    One row after the other is taken for the class that has the fewest rows yet, among classes of
    several labels a row for the rarest; one place is kept for a row without any label. Exclusive
    classes are shown in their order, and so are rows without labels.
    """
    order = np.argsort([stable_int(f"{seed}/{name}") for name in candidates.ids.tolist()])
    labels = candidates.labels[order].astype(bool)
    if not labels.shape[1]:
        return candidates.rows[order[:n]].tolist()
    blank = np.flatnonzero(~labels.any(axis=1))[: 1 if n > 1 else 0]
    taken = _by_class(labels, n - len(blank), _ranks(labels, candidates.exclusive, seed))
    if candidates.exclusive:
        taken.sort(key=lambda place: (int(labels[place].argmax()), place))
    taken += blank.tolist()
    others = np.setdiff1d(np.arange(len(order)), taken)[: n - len(taken)]  # without labels too
    return candidates.rows[order[[*taken, *others.tolist()]]].tolist()


def _ranks(labels: np.ndarray, exclusive: bool, seed: int) -> np.ndarray:
    """Return which classes (c,) come first where there is not room for all: of exclusive ones any,
    by the seed, of others the rarest."""
    n_classes = labels.shape[1]
    if not exclusive:
        return np.argsort(np.argsort(labels.sum(axis=0), kind="stable"))
    return np.argsort(np.argsort([stable_int(f"{seed}/class/{k}") for k in range(n_classes)]))


def _by_class(labels: np.ndarray, n: int, ranks: np.ndarray) -> list[int]:
    """Return at most `n` places of `labels` (n, c), each the first that is left of the class that
    has the fewest yet."""
    left, covered, taken = labels.copy(), np.zeros(labels.shape[1], np.int64), []
    while len(taken) < n and left.any():
        open_classes = np.flatnonzero(left.any(axis=0))
        wanted = min(open_classes, key=lambda k: (covered[k], ranks[k]))
        place = int(np.flatnonzero(left[:, wanted])[0])
        taken.append(place)
        covered += labels[place]
        left[place] = False
    return taken
