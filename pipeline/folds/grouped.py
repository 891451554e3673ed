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

from pipeline.errors import TooFewRows
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
        raise TooFewRows(
            f"folds: every part needs at least one whole group, but {len(names)} groups were given "
            f"for {len(fractions)} parts; ask for fewer (FOLDS=) or group by a finer column"
        )
    counts = group_counts(labels, codes.ravel(), len(names))
    targets = np.outer(np.asarray(counts.sum(axis=0)).ravel(), fractions)  # (l, p)
    rng = np.random.default_rng(seed)
    alike = number_alike(counts, rng)
    best: Dealing | None = None
    for _ in range(int(np.clip(DEALT_GROUPS // len(names), 1, DEALS))):
        dealing = deal(counts, targets, alike, rng)
        repair(dealing)
        if best is None or dealing.objective() < best.objective() - 1e-12:
            best = dealing
        if best.is_even():
            break
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


def deal(
    counts: sparse.csr_array, targets: np.ndarray, alike: np.ndarray, rng: np.random.Generator
) -> Dealing:
    """Deal groups one by one, each to the part where it lowers the objective most.

    Of groups that are `alike` (g,), as rows with the same labels are, every part first gets its
    whole share at once; what is left over is dealt.
    """
    dealing = Dealing(counts, targets)
    shares = targets[-1] / targets[-1].sum()
    part, left = _whole_shares(alike, shares, rng)
    dealing.place(part)
    pull, twice = dealing.pull, 2 * dealing.weights
    starts, columns, values = counts.indptr, counts.indices, counts.data
    for g in left[_order(counts[left], rng)]:
        here = slice(starts[g], starts[g + 1])
        column, value = columns[here], values[here, None]
        gain = (value * pull[column]).sum(axis=0) + dealing.own[g]  # (p,)
        p = int(gain.argmin())
        dealing.part[g] = p
        pull[column, p] += value[:, 0] * twice[column, p]
    _fill_empty(dealing)
    return dealing


def number_alike(counts: sparse.csr_array, rng: np.random.Generator) -> np.ndarray:
    """Number the groups (g,) so that those of equal counts have one number.

    They are told apart by a sum of random 64-bit weights; two that collide would be dealt together
    and moved apart again by the repair.
    """
    weights = rng.integers(-(2**62), 2**62, counts.shape[1])
    sums = counts.astype(np.int64) @ weights
    return np.unique(sums, return_inverse=True)[1].ravel()


def _whole_shares(
    alike: np.ndarray, shares: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the part (g,) of the groups that are dealt at once, -1 for the others, and those."""
    shuffled = rng.permutation(len(alike))
    order = shuffled[np.argsort(alike[shuffled], kind="stable")]
    sizes = np.bincount(alike)
    # The part of the i-th group of its kind: the first whole share is part 0's, and so on.
    ends = np.cumsum(np.floor(np.outer(sizes, shares) + 1e-9), axis=1)  # (kinds, p)
    kind = alike[order]
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    part = (place[:, None] >= ends[kind]).sum(axis=1)
    part[part == len(shares)] = -1
    dealt = np.empty(len(alike), np.int64)
    dealt[order] = part
    return dealt, np.flatnonzero(dealt < 0)


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
