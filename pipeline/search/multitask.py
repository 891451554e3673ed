"""Which trial to train further, and which to begin: Bayesian optimisation over (configuration, level).

A Gaussian process predicts the loss of every configuration at every level. A trial is worth what
its loss at the last level may lie below the best one, less what it costs to find out; since
training can be given up at every level, its worth is an index: the price of a whole training at
which its next step would just pay (Weitzman 1979, Optimal search for the best alternative,
Econometrica 47). The trial with the highest index goes on, or begins.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr
from scipy.stats import qmc

from pipeline.search.outcomes import outcomes
from pipeline.search.seen import Ladder, Seen, Step
from pipeline.search.space import Config, Space
from pipeline.search.surrogate import Belief, Kernel, Points

GLOBAL, LOCAL, PARENTS = 256, 256, 8  # new configurations that are thought of
CLOSE = 40  # of these, whose index is computed
FITTED = 120  # observations that hyper-parameters are fitted to, at most
AFFORDABLE = 1e-9
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()
HALVINGS = 25


@dataclass(frozen=True)
class Multitask:
    """A policy that decides both which configurations are tried and how far each is trained."""

    space: Space
    ladder: Ladder
    seed: int

    def next(self, seen: Sequence[Seen], left: float) -> Step | None:
        steps = sum(len(one.losses) for one in seen)
        rng = np.random.default_rng([self.seed, len(seen), steps])
        if len(seen) < self.first:
            fresh = self._new(seen, self._sobol(1, len(seen)))
            affordable = self.ladder.price(None, 0) <= left + AFFORDABLE
            return Step(None, fresh[0], 0) if fresh and affordable else None
        return self._decide(seen, left, rng)

    @property
    def first(self) -> int:
        """How many configurations begin before anything is learnt: as cheap as one training, if
        there is a level so cheap."""
        d = len(self.space.params)
        return int(np.clip(1 / self.ladder.levels[0].cost, d // 2 + 1, 2 * d))

    def _decide(self, seen: Sequence[Seen], left: float, rng: np.random.Generator) -> Step | None:
        scores = outcomes(seen, self.ladder.top)
        if not scores:
            fresh = self._new(seen, self._sobol(1, len(seen)))
            return Step(None, fresh[0], 0) if fresh else None
        belief = self._belief(seen, scores)
        paused = [
            one
            for one in seen
            if one.losses and not (one.failed or one.in_work or one.reached == self.ladder.top)
        ]
        fresh = self._thought_of(seen, belief, rng)
        configs = [one.config for one in paused] + fresh
        reached = [one.reached for one in paused] + [None] * len(fresh)
        trials = [one.number for one in paused] + [-1 - i for i in range(len(fresh))]
        if not configs:
            return None
        asked = self._points(configs, np.full(len(configs), self.ladder.top), trials)
        worth = Worth.of(belief, asked, self._reference(belief, seen), self.ladder.top)
        found = self._best(worth, asked, reached, left)
        if found is None:
            return None
        row, level = found
        number = paused[row].number if row < len(paused) else None
        return Step(number, configs[row], level)

    def _best(
        self, worth: "Worth", asked: Points, reached: list[int | None], left: float
    ) -> tuple[int, int] | None:
        """Return the row of `asked` with the highest index, and the level to bring it to."""
        ladder, best, found = self.ladder, -1.0, None
        whole = np.array([ladder.price(r, ladder.top) for r in reached])
        rate = worth.improvement / whole
        for at in range(-1, ladder.top):
            rows = np.array([i for i, r in enumerate(reached) if (-1 if r is None else r) == at])
            rows = rows[whole[rows] <= left + AFFORDABLE] if len(rows) else rows
            if not len(rows):
                continue
            rows = rows[np.argsort(-rate[rows], kind="stable")[:CLOSE]]
            before = None if at < 0 else at
            for level in range(at + 1, ladder.top + 1):
                step, rest = ladder.price(before, level), ladder.price(level, ladder.top)
                if level == ladder.top:
                    index = rate[rows]
                elif step + rest > left + AFFORDABLE:
                    continue
                else:
                    index = worth.index(asked.take(rows).at(level), rows, step, rest)
                if index.max() > best:
                    best, found = float(index.max()), (int(rows[index.argmax()]), level)
        return self._last(worth, reached, left) if found is None else found

    def _last(
        self, worth: "Worth", reached: list[int | None], left: float
    ) -> tuple[int, int] | None:
        """Return the best step where nothing can be brought to the last level any more."""
        for row in np.argsort(-worth.improvement, kind="stable").tolist():
            first = 0 if reached[row] is None else reached[row] + 1
            for level in reversed(range(first, self.ladder.top + 1)):
                if self.ladder.price(reached[row], level) <= left + AFFORDABLE:
                    return row, level
        return None

    def _belief(self, seen: Sequence[Seen], scores: dict[tuple[int, int], float]) -> Belief:
        """Return what is believed, with what is in work as if it had turned out as expected."""
        by_number = {one.number: one for one in seen}
        kernel = Kernel.of(self.space, self.ladder)
        keys = sorted(scores, key=lambda key: (-key[1], key[0]))
        points = self._points(
            [by_number[number].config for number, _ in keys],
            np.array([level for _, level in keys]),
            [number for number, _ in keys],
        )
        y = np.array([scores[key] for key in keys])
        some = _spread(len(y), FITTED)
        belief = Belief(kernel, kernel.fit(points.take(some), y[some]), points, y)
        busy = [one for one in seen if one.in_work]
        if not busy:
            return belief
        levels = np.array([one.ordered for one in busy])
        more = [one.config for one in busy], levels, [one.number for one in busy]
        return belief.believing(self._points(*more))

    def _reference(self, belief: Belief, seen: Sequence[Seen]) -> Points:
        """Return the trial at the last level that is believed to be the best of those that got
        there, or, before any did, of all."""
        top = self.ladder.top
        there = belief.points.levels == top
        rows = np.flatnonzero(there) if there.any() else np.arange(len(belief.points))
        candidates = belief.points.take(rows).at(top)
        means = belief.means(belief.weights(candidates))
        return candidates.take(np.array([int(means.argmin())]))

    def _thought_of(
        self, seen: Sequence[Seen], belief: Belief, rng: np.random.Generator
    ) -> list[Config]:
        """Return new configurations: anywhere, and near those that are believed to be the best."""
        d, top = len(self.space.params), self.ladder.top
        firsts = np.unique(belief.points.trials, return_index=True)[1]
        known = belief.points.take(firsts).at(top)
        order = np.argsort(belief.means(belief.weights(known)), kind="stable")[:PARENTS]
        parents = known.units[order[np.arange(LOCAL) % len(order)]]
        changed = rng.random((LOCAL, d)) < rng.choice([1.5 / d, 0.5, 1.0], (LOCAL, 1))
        changed[np.arange(LOCAL), rng.integers(d, size=LOCAL)] = True
        steps = rng.normal(size=(LOCAL, d)) * rng.choice([0.03, 0.1, 0.25], (LOCAL, 1))
        moved = np.abs(parents + steps)
        moved = np.where(moved > 1, 2 - moved, moved).clip(0, 1 - 1e-9)
        anywhere = rng.random((LOCAL, d))
        ordered = np.array([param.is_ordered for param in self.space.params])
        points = np.where(changed, np.where(ordered, moved, anywhere), parents)
        return self._new(seen, np.concatenate([rng.random((GLOBAL, d)), points]))

    def _sobol(self, count: int, skipped: int) -> np.ndarray:
        sequence = qmc.Sobol(len(self.space.params), rng=np.random.default_rng(self.seed))
        if skipped:
            sequence.fast_forward(skipped)
        return sequence.random(count)

    def _new(self, seen: Sequence[Seen], units: np.ndarray) -> list[Config]:
        """Return the configurations at `units` that were not tried yet, each once."""
        tried = {json.dumps(one.config, sort_keys=True) for one in seen}
        found = {}
        for point in units:
            config = self.space.config(point)
            text = json.dumps(config, sort_keys=True)
            if text not in tried:
                found.setdefault(text, config)
        return list(found.values())

    def _points(self, configs: list[Config], levels: np.ndarray, trials: list[int]) -> Points:
        units = np.array([self.space.units(config) for config in configs])
        return Points(np.nan_to_num(units, nan=0.5), levels, np.array(trials))


@dataclass(frozen=True)
class Worth:
    """What candidates (m,) may gain on the reference at the last level: mean and variance of the
    difference, and what it takes to tell what a step would teach of it."""

    belief: Belief
    asked: Points
    reference: Points
    mean: np.ndarray
    variance: np.ndarray
    explained: np.ndarray
    explained_reference: np.ndarray

    @classmethod
    def of(cls, belief: Belief, asked: Points, reference: Points, top: int) -> "Worth":
        own, other = belief.weights(asked), belief.weights(reference)
        mean = belief.means(other) - belief.means(own)
        kernel, theta = belief.kernel, belief.theta
        prior = kernel.variance(theta, asked)
        prior_reference = kernel.variance(theta, reference)
        shared = kernel.between(theta, asked, reference)[:, 0]
        variance = prior + prior_reference - 2 * shared - ((own - other) ** 2).sum(axis=0)
        return cls(belief, asked, reference, mean, np.maximum(variance, 1e-10), own, other)

    @property
    def improvement(self) -> np.ndarray:
        """The expected improvement on the reference, (m,)."""
        return expected_improvement(self.mean, np.sqrt(self.variance))

    def index(self, steps: Points, rows: np.ndarray, step: float, rest: float) -> np.ndarray:
        """Return the index of going to `steps` first: the price of a whole training at which

            E[max(0, improvement expected after the step - price * rest)] = price * step.
        """
        kernel, theta = self.belief.kernel, self.belief.theta
        seen = self.belief.weights(steps)
        difference = self.explained_reference - self.explained[:, rows]
        covariance = kernel.between(theta, self.reference, steps)[0]
        covariance = covariance - kernel.paired(theta, self.asked.take(rows), steps)
        covariance = covariance - (seen * difference).sum(axis=0)
        known = kernel.variance(theta, steps) - (seen**2).sum(axis=0) + self.belief.noise
        learnt = np.minimum(covariance**2 / np.maximum(known, 1e-10), self.variance[rows])
        spread = np.sqrt(np.maximum(self.variance[rows] - learnt, 1e-10))[:, None]
        means = self.mean[rows, None] + np.sqrt(learnt)[:, None] * NODES
        after = expected_improvement(means, spread)
        low, high = np.zeros(len(rows)), after @ NODE_WEIGHTS / step
        for _ in range(HALVINGS):
            price = (low + high) / 2
            gain = np.maximum(after - price[:, None] * rest, 0) @ NODE_WEIGHTS
            pays = gain > price * step
            low, high = np.where(pays, price, low), np.where(pays, high, price)
        return low


def expected_improvement(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return E[max(0, d)] of normal d; 0 is what is to be exceeded."""
    z = mean / spread
    return mean * ndtr(z) + spread * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)


def _spread(count: int, most: int) -> np.ndarray:
    """Return at most so many of `count` rows, the first half of `most` and evenly of the rest."""
    if count <= most:
        return np.arange(count)
    half = most // 2
    return np.concatenate([np.arange(half), np.linspace(half, count - 1, most - half).astype(int)])
