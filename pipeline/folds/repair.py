"""Local search on dealt groups: move one group or swap two while that lowers the objective.

With d = count - target per part and w the weight of its square, adding a group of counts g to a
part changes the objective by g.(2 d w) + g^2.w: the first term is kept as `pull`, the second as
`own`, so that all moves of all groups cost one sparse product.
"""

from itertools import combinations

import numpy as np
from scipy import sparse

TOLERANCE = 1e-12  # a smaller gain is rounding, and could cycle
WORK = 300_000_000  # group-part cells looked at by all moves; bounds the seconds, not the quality
MANY_GROUPS = 500
SWAP_GROUPS = 20_000  # with more groups than this, moves of single groups are fine enough
SHORTLIST = 200  # groups per part tried in swaps: those that are cheapest to move
ROUNDS = 50


class Dealing:
    """Groups dealt to parts: `part` (g,) and what each label would gain from one more row.

    `pull` is (l, p): 2 (count - target) weight, kept up to date by `move`.
    """

    def __init__(self, counts: sparse.csr_array, targets: np.ndarray) -> None:
        self.counts = counts  # (g, l)
        self.targets = targets  # (l, p)
        self.weights = _weights(targets)
        self.pull = -2 * targets * self.weights
        self.own = counts.power(2) @ self.weights  # (g, p)
        self.part = np.full(counts.shape[0], -1)
        self.n_parts = targets.shape[1]

    def objective(self) -> float:
        """Sum over labels and parts of the squared, normalised deviation from the targets."""
        return float((self.pull**2 / self.weights).sum() / 4)

    def is_even(self) -> bool:
        """Whether many groups are dealt so that every count is within a row of its target: nothing
        but rounding is left to gain. Few groups are cheap to deal as well as can be."""
        if len(self.part) < MANY_GROUPS:
            return False
        return bool((np.abs(self.pull / self.weights) < 2).all())

    def place(self, part: np.ndarray) -> None:
        """Put groups, all at once, into the parts (g,); -1 leaves one where it is, in none."""
        self.part = part.copy()
        placed = np.flatnonzero(part >= 0)
        hot = sparse.csr_array(
            (np.ones(len(placed)), (part[placed], placed)), (self.n_parts, len(part))
        )
        self.pull += 2 * (hot @ self.counts).toarray().T * self.weights

    def move(self, g: int, p: int) -> None:
        """Move group g to part p."""
        row = self.counts[[g]].toarray().ravel()
        for part, sign in ((self.part[g], -2), (p, 2)):
            self.pull[:, part] += sign * row * self.weights[:, part]
        self.part[g] = p

    def move_costs(self, pulled: np.ndarray | None = None) -> np.ndarray:
        """Change of the objective for moving each group to each part: (g, p).

        Infinite where the group is there already or is the last of its part.
        """
        pulled = self.counts @ self.pull if pulled is None else pulled
        at = np.arange(len(self.part))
        leave = self.own[at, self.part] - pulled[at, self.part]
        costs = pulled + self.own + leave[:, None]
        costs[at, self.part] = np.inf
        alone = np.bincount(self.part, minlength=self.n_parts) == 1
        costs[alone[self.part]] = np.inf
        return costs


def _weights(targets: np.ndarray) -> np.ndarray:
    """Weight a squared deviation by 1 / (total of the label)^2 / (fraction of the part): (l, p).

    Deviations of a label are relative to its total. Over the parts it is a chi-square: with
    1 / target^2 instead, small parts would be full before the large one gets its first group, and
    the rows with several labels end up unevenly. A label with fewer rows than parts cannot be near
    its targets, and must not dominate.
    """
    totals = targets.sum(axis=1, keepdims=True)
    fractions = targets[-1] / totals[-1]
    return 1 / np.maximum(totals, targets.shape[1]) ** 2 / fractions


def repair(dealing: Dealing) -> None:
    """Move and swap until nothing improves or the bounds are reached."""
    steps = max(20, WORK // dealing.own.size)
    for _ in range(ROUNDS):
        steps = _moves(dealing, steps)
        if len(dealing.part) > SWAP_GROUPS or steps <= 0 or dealing.is_even():
            return
        if not _swaps(dealing):
            return


def _moves(dealing: Dealing, steps: int) -> int:
    """Make the best single move again and again; return how many steps are left."""
    pulled = dealing.counts @ dealing.pull
    while steps > 0 and not dealing.is_even():
        steps -= 1
        costs = dealing.move_costs(pulled)
        g, p = np.unravel_index(costs.argmin(), costs.shape)
        if not costs[g, p] < -TOLERANCE:
            break
        changed = [dealing.part[g], p]
        dealing.move(int(g), int(p))
        pulled[:, changed] = dealing.counts @ dealing.pull[:, changed]
    return steps


def _swaps(dealing: Dealing) -> bool:
    """Make the best swap of every pair of parts, where it gains; return whether any did."""
    gained = False
    for a, b in combinations(range(dealing.n_parts), 2):
        mine, leave = _shortlist(dealing, a, b)
        yours, come = _shortlist(dealing, b, a)
        weights = dealing.weights[:, a] + dealing.weights[:, b]
        left = dealing.counts[mine].toarray() * weights
        both = left @ dealing.counts[yours].toarray().T
        costs = leave[:, None] + come[None, :] - 2 * both
        i, j = np.unravel_index(costs.argmin(), costs.shape)
        if costs[i, j] < -TOLERANCE:
            dealing.move(int(mine[i]), b)
            dealing.move(int(yours[j]), a)
            gained = True
    return gained


def _shortlist(dealing: Dealing, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the groups of part a that are cheapest to move to part b, and those costs."""
    members = np.flatnonzero(dealing.part == a)
    pulled = dealing.counts[members] @ dealing.pull[:, [a, b]]
    costs = pulled[:, 1] - pulled[:, 0] + dealing.own[members, a] + dealing.own[members, b]
    best = np.argsort(costs, kind="stable")[:SHORTLIST]
    return members[best], costs[best]
