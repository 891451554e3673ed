"""Stratified parts of whole groups: greedy dealing, then moves and swaps that lower one objective.

scikit-learn's StratifiedGroupKFold knows neither several labels per row nor parts of unequal size,
and never revises a choice. Here every part has a target count per label (its fraction of the
total), and the objective is the sum over labels and parts of ((count - target) / total)^2, each
part weighted by 1 / fraction. Rows, and rows without any label, count as labels of their own.
Dealing the heaviest and rarest first follows Sechidis et al. 2011, "On the Stratification of
Multi-Label Data".
"""

from itertools import chain

import numpy as np
from scipy import sparse

from pipeline.errors import PodiumError
from pipeline.folds.repair import Dealing, repair

DEALS = 16  # greedy starts for small problems; the best one is kept
DEALT_GROUPS = 20_000  # groups dealt over all starts, so that large problems are dealt once


def split_groups(
    labels: np.ndarray, groups: np.ndarray, fractions: np.ndarray, seed: int
) -> np.ndarray:
    """Give every row a part so that no group straddles two parts.

    Parameters
    ----------
    labels : (n,) int class index, or (n, c) 0/1 array
    groups : (n,) array of anything sortable
    fractions : (p,) float, the share of the rows each part should have, sum 1
    seed : int

    Returns
    -------
    (n,) int64 part index; every part has at least one group.

    Raises
    ------
    PodiumError
        Where there are fewer groups than parts.
    """
    names, codes = np.unique(groups, return_inverse=True)
    if len(names) < len(fractions):
        raise PodiumError(
            f"folds: every part needs at least one whole group, but {len(names)} groups were given "
            f"for {len(fractions)} parts; ask for fewer (FOLDS=) or group by a finer column"
        )
    counts = group_counts(labels, codes.ravel(), len(names))
    targets = np.outer(np.asarray(counts.sum(axis=0)).ravel(), fractions)  # (l, p)
    rng = np.random.default_rng(seed)
    best: Dealing | None = None
    for _ in range(int(np.clip(DEALT_GROUPS // len(names), 1, DEALS))):
        dealing = deal(counts, targets, rng)
        repair(dealing)
        if best is None or dealing.objective() < best.objective() - 1e-12:
            best = dealing
    assert best is not None
    return best.part[codes.ravel()].astype(np.int64)


def group_counts(labels: np.ndarray, codes: np.ndarray, n_groups: int) -> sparse.csr_array:
    """Count rows per group and label: (g, l) with the last column for the rows.

    Multi-label tables get one more column, the rows without any label: they are most of the rows
    in many competitions, and no other column keeps them even.
    """
    rows = np.bincount(codes, minlength=n_groups)
    if labels.ndim == 1:
        size = (n_groups, int(labels.max()) + 1)
        table = sparse.coo_array((np.ones(len(labels)), (codes, labels)), shape=size)
        return sparse.hstack([table, sparse.csc_array(rows[:, None])], format="csr", dtype=float)
    # Column by column: the non-zeros of a dense table of 10^6 x 100 would not fit at once.
    blocks = [
        sparse.csc_array(np.bincount(codes[mask], minlength=n_groups)[:, None])
        for mask in chain((column > 0 for column in labels.T), [~labels.any(axis=1)])
    ]
    blocks.append(sparse.csc_array(rows[:, None]))
    return sparse.hstack(blocks, format="csr", dtype=float)


def deal(counts: sparse.csr_array, targets: np.ndarray, rng: np.random.Generator) -> Dealing:
    """Deal groups one by one, each to the part where it lowers the objective most."""
    dealing = Dealing(counts, targets)
    pull, twice = dealing.pull, 2 * dealing.weights
    starts, columns, values = counts.indptr, counts.indices, counts.data
    for g in _order(counts, rng):
        here = slice(starts[g], starts[g + 1])
        column, value = columns[here], values[here, None]
        gain = (value * pull[column]).sum(axis=0) + dealing.own[g]  # (p,)
        p = int(gain.argmin())
        dealing.part[g] = p
        pull[column, p] += value[:, 0] * twice[column, p]
    _fill_empty(dealing)
    return dealing


def _order(counts: sparse.csr_array, rng: np.random.Generator) -> np.ndarray:
    """Order groups by how large a share of their labels they hold, heaviest first.

    A share counts both size and rarity. Shares are compared by octave and shuffled within one, or
    groups of all different sizes would fall the same way for every seed.
    """
    totals = np.asarray(counts.sum(axis=0)).ravel()
    shares = counts.power(2) @ (1 / np.maximum(totals, 1) ** 2)  # (g,)
    shuffled = rng.permutation(len(shares))
    octave = np.floor(np.log2(shares[shuffled]))
    return shuffled[np.argsort(-octave, kind="stable")]


def _fill_empty(dealing: Dealing) -> None:
    """Give each empty part the group that costs least, from a part that keeps another."""
    for p in np.setdiff1d(np.arange(dealing.n_parts), dealing.part):
        cost = dealing.move_costs()[:, p]
        dealing.move(int(cost.argmin()), int(p))
