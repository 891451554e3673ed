"""The multitask policy: what it is a function of, what it never does, and that it pays."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal, norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from pipeline.config.study import Parameter
from pipeline.search import surrogate
from pipeline.search.multitask import Multitask
from pipeline.search.outcomes import normal_scores, outcomes
from pipeline.search.samplers import propose
from pipeline.search.seen import Ladder, Level, Seen, Step
from pipeline.search.space import Config, Space
from pipeline.search.surrogate import Belief, Kernel, Points
from pipeline.search.worth import Worth, expected_improvement

RUNGS = (1, 3, 9, 27)
LADDER = Ladder(tuple(Level(f"{n}", n / 27, epochs=n) for n in RUNGS))
ANEW = Ladder(LADDER.levels, continues=False)
WHOLE = Ladder((Level("whole", 1.0),))
SPACE = Space.of(
    {
        "optimizer.lr": Parameter(log=(1e-4, 1e-1)),
        "model.drop_rate": Parameter(uniform=(0.0, 0.6)),
        "optimizer.name": Parameter(choices=("sgd", "adamw", "lion")),
    }
)
CONDITIONAL = Space.of(
    {
        "optimizer.name": Parameter(choices=("sgd", "adamw")),
        "optimizer.momentum": Parameter(uniform=(0.0, 0.99), when={"optimizer.name": "sgd"}),
        "optimizer.lr": Parameter(log=(1e-4, 1e-1)),
    }
)


def curve(config: Config) -> list[float]:
    """Return the losses of a configuration by level: skewed, with an optimum inside, and an order
    at the first level that is not that at the last."""
    away = abs(np.log10(config["optimizer.lr"]) + 2.5)
    away += 2 * abs(config.get("model.drop_rate", 0.2) - 0.2)
    away += {"sgd": 0.5, "adamw": 0.0, "lion": 0.25}[config["optimizer.name"]]
    end = 0.1 + away**2 + (100.0 if away > 2.5 else 0.0)
    early = 0.3 * abs(np.log10(config["optimizer.lr"]) + 1.8)
    return [float(end + (1 - level / 3) * (1.0 + early)) for level in range(4)]


def told(seen: list[Seen], step: Step, *, ended: bool = True, failed: bool = False) -> list[Seen]:
    """Return what is seen after a step was ordered and, unless it is in work, ended."""
    number = len(seen) if step.trial is None else step.trial
    old = Seen(number, step.config) if step.trial is None else seen[number]
    losses = dict(old.losses)
    if ended and not failed:
        losses[step.level] = curve(step.config)[step.level]
    new = replace(old, losses=losses, ordered=step.level, failed=failed)
    return [*seen[:number], new, *seen[number + 1 :]]


def played(policy: Multitask, budget: float, steps: int = 10_000) -> tuple[list[Seen], float]:
    """Return what is seen, and spent, when a policy has spent a budget or taken so many steps."""
    seen, spent = [], 0.0
    while steps and (step := policy.next(seen, budget - spent)) is not None:
        reached = None if step.trial is None else seen[step.trial].reached
        spent += policy.ladder.price(reached, step.level)
        seen, steps = told(seen, step), steps - 1
    return seen, spent


def best(seen: list[Seen]) -> float:
    return min(loss for one in seen for loss in one.losses.values())


@pytest.mark.parametrize("ladder", [LADDER, ANEW, WHOLE])
def test_a_decision_depends_on_nothing_but_what_is_seen(ladder):
    """Check that a policy made anew decides like one that saw every step, in any order of losses,
    and that another seed decides otherwise."""
    seen, spent = played(Multitask(SPACE, ladder, 1), 30.0, 16)
    turned = [replace(one, losses=dict(reversed(one.losses.items()))) for one in seen]
    again = [Multitask(SPACE, ladder, 1).next(x, 30.0 - spent) for x in (seen, turned)]
    assert again[0] == again[1] == Multitask(SPACE, ladder, 1).next(seen, 30.0 - spent)
    assert played(Multitask(SPACE, ladder, 2), 30.0, 2)[0] != seen[:2]


@pytest.mark.parametrize("ladder", [LADDER, ANEW, WHOLE])
@pytest.mark.parametrize("budget", [0.01, 0.9, 4.0])
def test_never_more_is_spent_than_is_left_and_levels_rise(ladder, budget):
    """Check that every step is affordable, leads a trial that is paused to a higher level, and that
    what is left at the end buys no step at all."""
    policy, seen, spent = Multitask(SPACE, ladder, 3), [], 0.0
    while (step := policy.next(seen, budget - spent)) is not None:
        reached = None
        if step.trial is not None:
            one = seen[step.trial]
            reached = one.reached
            assert reached < step.level
            assert step.config == one.config
        assert 0 <= step.level <= ladder.top
        spent += ladder.price(reached, step.level)
        assert spent <= budget + 1e-6
        seen = told(seen, step)
    assert ladder.price(None, 0) > budget - spent + 1e-9


def test_many_workers_are_not_sent_to_the_same_trial():
    """Check that twelve workers that ask one after another are given twelve different trials, none
    of them one that is in work."""
    policy = Multitask(SPACE, LADDER, 0)
    seen, spent = played(policy, 40.0, 25)
    steps = []
    for _ in range(12):
        steps.append(policy.next(seen, 40.0 - spent))
        seen = told(seen, steps[-1], ended=False)
    busy = [one.number for one in seen if one.in_work]
    assert len(busy) == 12
    texts = [str(step.config) for step in steps]
    assert len(set(texts)) == 12


def test_nothing_is_proposed_where_everything_was_tried():
    """Check that a space of four configurations ends when each was trained to the end, each once,
    and that with all of them in work there is nothing to decide."""
    space = Space.of({"a.b": Parameter(choices=(1, 2)), "a.c": Parameter(choices=("x", "y"))})
    policy, seen, left = Multitask(space, LADDER, 0), [], 99.0
    while (step := policy.next(seen, left)) is not None:
        number = len(seen) if step.trial is None else step.trial
        old = Seen(number, step.config) if step.trial is None else seen[number]
        losses = {**old.losses, step.level: float(number)}
        new = replace(old, losses=losses, ordered=step.level)
        seen = [*seen[:number], new, *seen[number + 1 :]]
    assert len({str(one.config) for one in seen}) == len(seen) == 4
    assert all(one.reached == LADDER.top for one in seen)
    busy = [Seen(i, one.config, {}, 0) for i, one in enumerate(seen)]
    assert policy.next(busy, left) is None


def test_conditional_parameters_are_searched():
    """Check that a study of a conditional space finds the better branch, and that its proposals
    have exactly the parameters that are active."""
    seen, _ = played(Multitask(CONDITIONAL, LADDER, 0), 8.0)
    for one in seen:
        assert ("optimizer.momentum" in one.config) == (one.config["optimizer.name"] == "sgd")
    last = [one for one in seen if one.reached == LADDER.top]
    assert min(last, key=lambda one: one.losses[3]).config["optimizer.name"] == "adamw"


def test_failed_trials_are_left_alone_and_teach():
    """Check that a failed trial is never taken up again, that where all fail the search still goes
    on, and that configurations like the failed ones are avoided."""
    policy, seen = Multitask(SPACE, LADDER, 5), []
    for _ in range(40):
        step = policy.next(seen, 30.0)
        assert step.trial is None or not seen[step.trial].failed
        seen = told(seen, step, failed=step.config["optimizer.lr"] > 3e-3)
    later = seen[12:]
    assert np.mean([one.failed for one in later]) < 0.25
    seen = []
    for _ in range(12):
        seen = told(seen, policy.next(seen, 30.0), failed=True)
    assert all(one.failed for one in seen)
    assert len(seen) == 12


def test_it_beats_random_search_at_the_same_cost():
    """Check that after six whole trainings it has come much closer to the optimum, .1, than random
    search after six and after twenty, over six seeds."""
    ours, six, twenty = [], [], []
    for seed in range(6):
        ours.append(best(played(Multitask(SPACE, LADDER, seed), 6.0)[0]) - 0.1)
        tried: list[Seen] = []
        for number in range(20):
            config = propose("random", SPACE, tried, seed)
            tried.append(Seen(number, config, {3: curve(config)[3]}, 3))
        six.append(best(tried[:6]) - 0.1)
        twenty.append(best(tried) - 0.1)
    assert np.mean(ours) < 0.1 * np.mean(six)
    assert np.mean(ours) < 0.5 * np.mean(twenty)


def test_the_scale_of_losses_does_not_matter():
    """Check that losses in another unit and from another zero lead to the same decision."""
    policy = Multitask(SPACE, LADDER, 1)
    seen, spent = played(policy, 20.0, 20)
    moved = [replace(one, losses={k: 5 * v - 1e4 for k, v in one.losses.items()}) for one in seen]
    assert policy.next(moved, 20.0 - spent) == policy.next(seen, 20.0 - spent)


def _points(rng: np.random.Generator, count: int) -> Points:
    units, levels = rng.random((count, 3)), rng.integers(4, size=count)
    units[:, 2] = (rng.integers(3, size=count) + 0.5) / 3
    return Points(units, levels, rng.integers(count // 2, size=count))


def test_the_gradient_is_that_of_the_posterior():
    """Check the analytic gradient of the log posterior against finite differences."""
    rng = np.random.default_rng(0)
    kernel, points, y = Kernel.of(SPACE, LADDER), _points(rng, 30), rng.normal(size=30)
    squares = kernel.squares(points, points)
    theta = kernel.prior[0] + rng.normal(scale=0.3, size=len(kernel.prior[0]))
    value = lambda at: kernel._badness(at, squares, points, y)[0]  # noqa: E731
    expected = approx_fprime(theta, value, 1e-6)
    np.testing.assert_allclose(kernel._badness(theta, squares, points, y)[1], expected, atol=2e-4)


def test_the_evidence_is_the_density_of_the_losses(monkeypatch):
    """Check the log posterior against scipy's normal density and the priors."""
    rng = np.random.default_rng(1)
    kernel, points, y = Kernel.of(SPACE, LADDER), _points(rng, 12), rng.normal(size=12)
    means, spreads = kernel.prior
    theta = means + 0.2
    k = kernel.between(theta, points, points) + np.eye(12) * (
        np.exp(2 * theta[5]) + surrogate.JITTER
    )
    density = multivariate_normal(np.zeros(12), k).logpdf(y)
    density += norm(means, spreads).logpdf(theta).sum()
    constant = -6 * np.log(2 * np.pi) - np.log(spreads * np.sqrt(2 * np.pi)).sum()
    found = kernel._badness(theta, kernel.squares(points, points), points, y)[0]
    assert -found + constant == pytest.approx(density)


def test_predictions_are_those_of_scikit_learn(monkeypatch):
    """Check means and variances at one level against scikit-learn's process with the same kernel,
    where a trial is known by its parameters alone."""
    monkeypatch.setattr(surrogate, "OFFSET", 0.0)
    rng = np.random.default_rng(2)
    kernel = Kernel(np.array([True, True]), np.zeros(1))
    lengths, noise = np.array([0.4, 0.9]), 0.1
    theta = np.log([*lengths, 1.0, 1e-9, noise, 1.0])
    x, new, y = rng.random((20, 2)), rng.random((7, 2)), rng.normal(size=20)
    level = np.zeros(20, int)
    belief = Belief(kernel, theta, Points(x, level, np.arange(20)), y)
    asked = Points(new, level[:7], -1 - np.arange(7))
    alpha = noise**2 + surrogate.JITTER
    peer = GaussianProcessRegressor(Matern(lengths, nu=2.5), alpha=alpha, optimizer=None)
    mean, spread = peer.fit(x, y).predict(new, return_std=True)
    explained = belief.weights(asked)
    variance = kernel.variance(theta, asked) - (explained**2).sum(axis=0)
    np.testing.assert_allclose(belief.means(explained), mean, atol=1e-8)
    np.testing.assert_allclose(variance, spread**2, atol=1e-8)


def test_believing_in_what_is_expected_changes_no_expectation():
    """Check that a fantasy leaves means as they are, and makes its own place better known."""
    rng = np.random.default_rng(3)
    kernel, points, more = Kernel.of(SPACE, LADDER), _points(rng, 15), _points(rng, 2)
    belief = Belief(kernel, kernel.prior[0], points, rng.normal(size=15))
    after, asked = belief.believing(more), _points(rng, 9)
    before = belief.weights(asked)
    np.testing.assert_allclose(after.means(after.weights(asked)), belief.means(before), atol=1e-6)
    less = (after.weights(more) ** 2).sum(axis=0) - (belief.weights(more) ** 2).sum(axis=0)
    assert (less > 0.01).all()


def test_expected_improvement_is_that_of_draws():
    """Check expected improvement against a million draws."""
    draws = np.random.default_rng(4).normal(size=1_000_000)
    for mean, spread in ((0.0, 1.0), (-1.0, 0.5), (2.0, 0.3)):
        found = expected_improvement(np.array(mean), np.array(spread))
        assert found == pytest.approx(np.maximum(mean + spread * draws, 0).mean(), abs=3e-3)


def test_lessons_and_what_they_leave_add_up():
    """Check the variance that each level takes off a difference against conditioning on losses at
    those levels outright."""
    rng = np.random.default_rng(6)
    kernel, points = Kernel.of(SPACE, LADDER), _points(rng, 12)
    theta, y = kernel.prior[0], rng.normal(size=12)
    belief, top = Belief(kernel, theta, points, y), LADDER.top
    reference = points.take(np.array([0])).at(top)
    asked = Points(_points(rng, 4).units, np.full(4, top), -1 - np.arange(4))
    worth = Worth.of(belief, asked, reference, top)
    spreads, last = worth._lessons(np.arange(4), [0, 1])
    for row in range(4):
        own = asked.take(np.array([row]))
        known = belief
        variances = [worth.variance[row]]
        for level in (0, 1):
            known = known.believing(own.at(level))
            variances.append(Worth.of(known, own, reference, top).variance[0])
        expected = -np.diff(variances)
        np.testing.assert_allclose([s[row] ** 2 for s in spreads], expected, atol=1e-4)
        assert last[row] ** 2 == pytest.approx(variances[-1], abs=1e-4)


def test_an_index_is_the_price_at_which_the_first_step_just_pays():
    """Check the index against optional stopping simulated at prices around it."""
    rng = np.random.default_rng(7)
    kernel, points = Kernel.of(SPACE, LADDER), _points(rng, 12)
    belief = Belief(kernel, kernel.prior[0], points, rng.normal(size=12))
    asked = Points(_points(rng, 3).units, np.full(3, 3), -1 - np.arange(3))
    worth = Worth.of(belief, asked, points.take(np.array([0])).at(3), 3)
    index = worth.index(np.arange(3), [1], [1 / 9, 8 / 9])
    (spread,), last = worth._lessons(np.arange(3), [1])
    draws = rng.normal(size=200_000)
    for row in range(3):
        after = expected_improvement(worth.mean[row] + spread[row] * draws, last[row])
        gains = [
            np.maximum(after - factor * index[row] * 8 / 9, 0).mean() - factor * index[row] / 9
            for factor in (0.85, 1.15)
        ]
        assert gains[0] > 0 > gains[1]


def test_levels_share_a_scale_that_selection_does_not_bend():
    """Check that good trials, the only ones at a higher level, keep scores as good as below, that
    ties share a score, and that what failed is the worst of its level."""
    losses = [0.1, 0.2, 0.3, 0.4, 5.0, 1000.0]
    seen = [Seen(i, {}, {0: loss}, 0) for i, loss in enumerate(losses)]
    seen = [replace(one, losses={0: one.losses[0], 1: 0.01 * i}) if i < 2 else one
            for i, one in enumerate(seen)]  # fmt: skip
    seen.append(Seen(6, {}, {}, 0, failed=True))
    found = outcomes(seen, 3)
    assert found[6, 0] == found[5, 0] == max(found.values())
    assert found[0, 1] + found[1, 1] == pytest.approx(found[0, 0] + found[1, 0])
    assert found[0, 1] < found[1, 1] < found[2, 0]
    scores = normal_scores(np.array([3.0, 1.0, 3.0]))
    assert scores[0] == scores[2] > scores[1]
