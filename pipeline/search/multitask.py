"""Which trial to train further, and which to begin: Bayesian optimisation over both.

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
from scipy.stats import qmc

from pipeline.search.outcomes import outcomes
from pipeline.search.seen import Ladder, Seen, Step
from pipeline.search.space import Config, Space
from pipeline.search.surrogate import Belief, Kernel, Points
from pipeline.search.worth import Worth

GLOBAL, LOCAL, PARENTS = 256, 256, 8  # new configurations that are thought of
REFINED = 0.15, 0.075, 0.0375  # steps of the rounds near those that promise most
PROMISING, CHILDREN = 6, 64  # of each round
CLOSE = 40  # of these, whose index is computed
SHARE = 0.25  # of what is spent, at each level below the last one
FITTED = 120  # observations that hyper-parameters are fitted to, at most
SPARE = 32  # points of the sequence, of which the first that was not tried is taken
AFFORDABLE = 1e-9
BELOW_ONE = 1 - 1e-9


@dataclass(frozen=True)
class Multitask:
    """A policy that decides both which configurations are tried and how far each is trained."""

    space: Space
    ladder: Ladder
    seed: int

    def next(self, seen: Sequence[Seen], left: float, new: bool = True) -> Step | None:
        scores = outcomes(seen, self.ladder.top)
        if not new and not scores:
            return None
        if new and (len(seen) < self.first or not scores):  # or so many workers that none ended
            if self.ladder.price(None, 0) > left + AFFORDABLE:
                return None
            fresh = self._new(seen, self._sobol(len(seen)))
            if fresh or not scores:
                return Step(None, fresh[0], 0) if fresh else None
        return self._decide(seen, scores, left, new)

    @property
    def first(self) -> int:
        """How many configurations begin before anything is learnt: as cheap as one training, if
        there is a level so cheap."""
        d = len(self.space.params)
        return int(np.clip(1 / self.ladder.levels[0].cost, d // 2 + 1, 2 * d))

    def _decide(
        self, seen: Sequence[Seen], scores: dict[tuple[int, int], float], left: float, new: bool
    ) -> Step | None:
        """Return the step that is worth most by what is believed."""
        steps = sum(len(one.losses) for one in seen)
        rng = np.random.default_rng([self.seed, len(seen), steps])
        belief = self._belief(seen, scores)
        paused = [
            one
            for one in seen
            if one.losses and not (one.failed or one.in_work or one.reached == self.ladder.top)
        ]
        reference = self._reference(belief, {one.number for one in seen if one.in_work})
        fresh = self._thought_of(seen, belief, reference, rng) if new else []
        configs = [one.config for one in paused] + fresh
        reached = [one.reached for one in paused] + [None] * len(fresh)
        trials = [one.number for one in paused] + [-1 - i for i in range(len(fresh))]
        if not configs:
            return None
        asked = self._points(configs, np.full(len(configs), self.ladder.top), trials)
        worth = Worth.of(belief, asked, reference, self.ladder.top)
        found = self._best(worth, reached, left, self._full(seen))
        found = found or self._best(worth, reached, left) or self._last(worth, reached, left)
        if found is None:
            return None
        row, level = found
        number = paused[row].number if row < len(paused) else None
        return Step(number, configs[row], level)

    def _best(
        self,
        worth: Worth,
        reached: list[int | None],
        left: float,
        full: frozenset[int] = frozenset(),
    ) -> tuple[int, int] | None:
        """Return the row with the highest index, and the level to bring it to, none of `full`."""
        ladder, best, found = self.ladder, -1.0, None
        whole = np.array([ladder.price(r, ladder.top) for r in reached])
        rate = worth.improvement / whole
        for before in (None, *range(ladder.top)):
            rows = np.array([i for i, r in enumerate(reached) if r == before], int)
            rows = rows[whole[rows] <= left + AFFORDABLE]
            rows = rows[np.argsort(-rate[rows], kind="stable")[:CLOSE]]
            for path in self._paths(before, left) if len(rows) else ():
                if path[0] in full:
                    continue
                index = rate[rows]
                if len(path) > 1:
                    prices = [
                        ladder.price(a, b) for a, b in zip((before, *path[:-1]), path, strict=True)
                    ]
                    index = worth.index(rows, path[:-1], prices)
                if index.max() > best:
                    best, found = float(index.max()), (int(rows[index.argmax()]), path[0])
        return found

    def _full(self, seen: Sequence[Seen]) -> frozenset[int]:
        """Return the levels below the last one that had their share of what was spent: new trials
        are in endless supply, and the best of them would always look better than those begun."""
        spent = np.zeros(self.ladder.top + 1)
        for one in seen:
            levels = sorted({*(level for level in one.losses if level <= one.ordered), one.ordered})
            for before, level in zip([None, *levels[:-1]], levels, strict=True):
                spent[level] += self.ladder.price(before, level)
        return frozenset(np.flatnonzero(spent[:-1] > SHARE * spent.sum()).tolist())

    def _paths(self, before: int | None, left: float) -> list[tuple[int, ...]]:
        """Return the affordable sequences of levels to the last one that are thought of: through
        all, and, where every level begins anew, through one other or none."""
        first, top = 0 if before is None else before + 1, self.ladder.top
        if self.ladder.continues:
            return [tuple(range(first, top + 1))]
        paths = [(level, top) for level in range(first, top)] + [(top,)]
        costs = [sum(self.ladder.levels[level].cost for level in path) for path in paths]
        return [p for p, cost in zip(paths, costs, strict=True) if cost <= left + AFFORDABLE]

    def _last(self, worth: Worth, reached: list[int | None], left: float) -> tuple[int, int] | None:
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

    def _reference(self, belief: Belief, busy: set[int]) -> Points:
        """Return the trial that is believed to be the best at the last level, of those that got
        there and those in work, lest many workers follow one promise; or, before any did, of all.
        """
        points, top = belief.points, self.ladder.top
        there = points.levels == top
        if there.any():
            there |= np.isin(points.trials, list(busy))
        rows = np.flatnonzero(there) if there.any() else np.arange(len(points))
        candidates = points.take(rows).at(top)
        means = belief.means(belief.weights(candidates))
        return candidates.take(np.array([int(means.argmin())]))

    def _thought_of(
        self, seen: Sequence[Seen], belief: Belief, reference: Points, rng: np.random.Generator
    ) -> list[Config]:
        """Return new configurations: anywhere, near those that are believed to be the best, and,
        in rounds of smaller and smaller steps, near those that promise most."""
        d, top = len(self.space.params), self.ladder.top
        firsts = np.unique(belief.points.trials, return_index=True)[1]
        known = belief.points.take(firsts).at(top)
        order = np.argsort(belief.means(belief.weights(known)), kind="stable")[:PARENTS]
        parents = known.units[order[np.arange(LOCAL) % len(order)]]
        changed = rng.random((LOCAL, d)) < rng.choice([1.5 / d, 0.5, 1.0], (LOCAL, 1))
        changed[np.arange(LOCAL), rng.integers(d, size=LOCAL)] = True
        near = self._moved(parents, changed, rng.choice([0.03, 0.1, 0.25], (LOCAL, 1)), rng)
        found = self._new(seen, np.concatenate([rng.random((GLOBAL, d)), near]))
        for step in REFINED:
            if not found:
                break
            asked = self._fresh_points(found)
            gain = Worth.of(belief, asked, reference, top).improvement
            best = np.argsort(-gain, kind="stable")[:PROMISING]
            parents = asked.units[best[np.arange(CHILDREN) % len(best)]]
            changed = rng.random((CHILDREN, d)) < 0.5
            found = self._new(seen, self._moved(parents, changed, step, rng), found)
        return found

    def _moved(
        self,
        parents: np.ndarray,
        changed: np.ndarray,
        step: float | np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Return points (n, d) near `parents`: what is `changed` moves a normal step, reflected at
        the ends, and of choices without an order, one in three is drawn anew."""
        moved = np.abs(parents + step * rng.normal(size=parents.shape))
        moved = np.where(moved > 1, 2 - moved, moved).clip(0, BELOW_ONE)
        ordered = np.array([param.is_ordered for param in self.space.params])
        drawn = np.where(ordered, moved, rng.random(parents.shape))
        changed = changed & (ordered | (rng.random(parents.shape) < 1 / 3))
        return np.where(changed, drawn, parents)

    def _fresh_points(self, configs: list[Config]) -> Points:
        """Return configurations that have not begun, at the last level."""
        levels = np.full(len(configs), self.ladder.top)
        return self._points(configs, levels, [-1 - i for i in range(len(configs))])

    def _sobol(self, skipped: int) -> np.ndarray:
        """Return the next points (n, d) of a scrambled Sobol sequence."""
        sequence = qmc.Sobol(len(self.space.params), rng=np.random.default_rng(self.seed))
        if skipped:
            sequence.fast_forward(skipped)
        return sequence.random(SPARE)

    def _new(
        self, seen: Sequence[Seen], units: np.ndarray, others: Sequence[Config] = ()
    ) -> list[Config]:
        """Return `others` and the configurations at `units` that were not tried yet, each once."""
        tried = {_text(one.config) for one in seen}
        found = {_text(config): config for config in others}
        for point in units:
            config = self.space.config(point)
            text = _text(config)
            if text not in tried:
                found.setdefault(text, config)
        return list(found.values())

    def _points(self, configs: list[Config], levels: np.ndarray, trials: list[int]) -> Points:
        units = np.array([self.space.units(config) for config in configs])
        return Points(np.nan_to_num(units, nan=0.5), levels, np.array(trials))


def _text(config: Config) -> str:
    return json.dumps(config, sort_keys=True)


def _spread(count: int, most: int) -> np.ndarray:
    """Return at most so many of `count` rows, the first half of `most` and evenly of the rest."""
    if count <= most:
        return np.arange(count)
    half = most // 2
    return np.concatenate([np.arange(half), np.linspace(half, count - 1, most - half).astype(int)])
