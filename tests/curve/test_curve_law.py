"""The law error(n) = a + b n^-c, its intervals, and the verdicts on invented scores."""

from collections import Counter

import numpy as np
import pytest
from scipy import optimize

from pipeline.curve.forecast import Scale, Size, forecast
from pipeline.curve.law import fit_law
from pipeline.curve.noise import Noise, pooled_noises, single_noise, slope

ROWS = np.array([1000.0, 500, 250, 125])
ACCURACY = Scale("accuracy", 1, 1.0)
LAWS = [(0.02, 2.0, 0.5), (0.1, 5.0, 1.0), (0.0, 3.0, 0.3), (0.2, 80.0, 1.7), (0.05, 0.4, 0.1)]


def exact(law, n=ROWS):
    a, b, c = law
    return a + b * n**-c


def sizes_of(errors, seeds=3, sd=0.002, scale=ACCURACY):
    """Return sizes whose scores lie evenly around the errors."""
    off = np.linspace(-sd, sd, seeds) if seeds > 1 else np.zeros(1)
    rows = ROWS[: len(errors)]
    return [Size(n, scale.score(e + off)) for n, e in zip(rows, errors, strict=True)]


@pytest.mark.parametrize("law", LAWS)
def test_without_noise_the_fit_recovers_the_law(law):
    """Check that exact errors give back a, b and c, and the error of 2,000 and 4,000 rows."""
    found = fit_law(ROWS, exact(law), np.full(4, 3), [Noise(1e-7, 8, np.ones(4))])
    assert found.best == pytest.approx(law, rel=1e-3, abs=1e-6)
    for n in (2000, 4000):
        interval = found.error(n)
        assert interval.median == pytest.approx(exact(law, n), abs=2e-6)
        assert interval.low <= interval.median <= interval.high
        assert found.at(n) == pytest.approx(exact(law, n), abs=1e-6)


def test_least_squares_agree_with_scipy():
    """Check that noisy points are fitted as well as scipy's bounded least squares fits them."""
    rng, law = np.random.default_rng(3), (0.03, 2.0, 0.5)
    for _ in range(10):
        error, count = exact(law) + rng.normal(0, 0.004, 4), rng.integers(1, 4, 4)
        noise = Noise(0.004, 8, np.array([1, 1.5, 2, 3]))
        weight = count / noise.variance
        mine = fit_law(ROWS, error, count, [noise]).best

        def residual(p, weight=weight, error=error):
            return np.sqrt(weight) * (p[0] + p[1] * (ROWS / 353) ** -p[2] - error)

        bounds = ([0, 0, 0.05], [np.inf, np.inf, 2])
        starts = [optimize.least_squares(residual, [0.02, 0.1, c], bounds=bounds) for c in (0.2, 1)]
        best = min(2 * start.cost for start in starts)
        own = float((weight * (exact(mine) - error) ** 2).sum())
        assert own <= best * (1 + 1e-6)


@pytest.mark.parametrize("law", [(0.02, 1.5, 0.4), (0.0, 3.0, 0.5)])
def test_nine_intervals_of_ten_cover_the_truth(law):
    """Check that of 300 simulated curves, with an asymptote above 0 or at 0, the 90 % interval of
    the error at twice the rows, and that of the gain, cover the truth as often as they say."""
    rng = np.random.default_rng(1)
    truth, more = exact(law), exact(law, 2000.0)
    covered = np.zeros(2)
    for _ in range(300):
        sd = 0.003 * np.sqrt(truth / truth[0])  # as counts of wrong rows vary
        errors = [rng.normal(*pair, 3) for pair in zip(truth, sd, strict=True)]
        means = np.array([values.mean() for values in errors])
        found = fit_law(ROWS, means, np.full(4, 3), pooled_noises(errors, 1e-4))
        expected, gain = found.error(2000), found.gain(1000, 2000)
        covered += expected.low <= more <= expected.high, gain.low <= truth[0] - more <= gain.high
    share = covered / 300
    assert share.min() >= 0.85 and share.max() <= 0.97


def test_the_posterior_agrees_with_a_brute_grid():
    """Check that medians and ends of the intervals are those of a plain three-dimensional grid
    under the same priors, where the noise is known."""
    error, sd = np.array([0.083, 0.117, 0.157, 0.224]), 0.004
    found = fit_law(ROWS, error, np.full(4, 3), [Noise(sd, 1e4, np.ones(4))])
    middle, width = np.exp(np.log(ROWS).mean()), error.mean()
    c = np.linspace(0.05, 2, 80)
    a, b = np.linspace(0, 0.15, 151), np.linspace(0, 0.3, 151)
    da, db = a[1] - a[0], b[1] - b[0]
    a, b = a[:-1] + da / 2, b[:-1] + db / 2

    def density(a, b, c):
        off = [((a + b * (n / middle) ** -c - e) ** 2) for n, e in zip(ROWS, error, strict=True)]
        return np.exp(-3 * sum(off) / sd**2 / 2)

    both = np.meshgrid(a, b, c, indexing="ij")
    flat = np.meshgrid([0.0], b, c, indexing="ij")
    level = np.meshgrid(a, [0.0], [1.0], indexing="ij")
    prior = [da * db / width**2 / len(c), db / width / len(c), da / width]
    grids = [both, flat, level]
    weight = np.concatenate([(density(*g) * p).ravel() for g, p in zip(grids, prior, strict=True)])
    for n in (1000, 2000, 4000):
        value = np.concatenate([(g[0] + g[1] * (n / middle) ** -g[2]).ravel() for g in grids])
        order = np.argsort(value)
        share = np.cumsum(weight[order]) / weight.sum()
        wanted = value[order][np.searchsorted(share, [0.5, 0.05, 0.95])]
        interval = found.error(n)
        assert [interval.median, interval.low, interval.high] == pytest.approx(wanted, abs=1e-3)


def test_more_rows_never_cost_anything():
    """Check that the expected error falls with the rows, to the asymptote, whatever the points."""
    rng = np.random.default_rng(5)
    for _ in range(10):
        errors = [rng.uniform(0, 0.4, 2) for _ in ROWS]
        means = np.array([values.mean() for values in errors])
        found = fit_law(ROWS, means, np.full(4, 2), pooled_noises(errors, 1e-4))
        chain = [found.error(n) for n in (125, 1000, 2000, 4000)] + [found.asymptote()]
        for key in ("low", "median", "high"):
            values = [getattr(interval, key) for interval in chain]
            assert all(np.diff(values) <= 1e-12) and values[-1] >= 0
        assert found.gain(1000, 2000).low >= 0


def test_what_cannot_be_fitted_is_refused():
    """Check that two sizes, equal sizes and a noise of zero are errors."""
    known = [Noise(0.01, 5, np.ones(3))]
    with pytest.raises(ValueError, match="at least 3 sizes"):
        fit_law(ROWS[:2], np.array([0.1, 0.2]), np.ones(2), known)
    with pytest.raises(ValueError, match="all different"):
        fit_law(np.array([9.0, 9, 5]), np.array([0.1, 0.2, 0.3]), np.ones(3), known)
    with pytest.raises(ValueError, match="above 0"):
        fit_law(ROWS[:3], np.array([0.1, 0.2, 0.3]), np.ones(3), [Noise(0.0, 5, np.ones(3))])
    with pytest.raises(ValueError, match="two trainings"):
        pooled_noises([np.array([0.1])] * 3, 1e-3)


def test_the_spread_is_the_pooled_standard_deviation():
    """Check that the noise of equal variances is numpy's pooled deviation, and no less than the
    floor; and that the wider spread of larger errors is seen."""
    errors = [np.array([0.1, 0.12]), np.array([0.2, 0.21, 0.25]), np.array([0.4])]
    same = pooled_noises(errors, 1e-6)[0]
    squares = np.var(errors[0]) * 2 + np.var(errors[1]) * 3
    assert (same.dof, same.sd) == (3, pytest.approx(np.sqrt(squares / 3)))
    assert pooled_noises([np.array([0.1, 0.1])] * 3, 0.004)[0].sd == 0.004
    relative = [e * np.array([0.9, 1.0, 1.1]) for e in (0.05, 0.1, 0.2, 0.4)]
    odds = []
    for noise in pooled_noises(relative, 1e-6):
        odds.append(noise.log_odds(np.full(4, 2)) - 8 / 2 * np.log(8 * noise.sd**2))
    assert int(np.argmax(odds)) == 2


def test_the_slope_is_that_of_a_weighted_line():
    """Check slope and error against numpy's polyfit with known weights."""
    error, count = np.array([0.1, 0.13, 0.15, 0.2]), np.array([3, 2, 3, 1])
    noise = Noise(0.01, 8, np.array([1, 1, 2, 4]))
    weights = np.sqrt(count / noise.variance) / noise.sd
    line, covariance = np.polyfit(np.log2(ROWS), error, 1, w=weights, cov="unscaled")
    assert slope(ROWS, error, count, noise) == pytest.approx((line[0], np.sqrt(covariance[0, 0])))


def test_a_steep_curve_asks_for_more_data():
    """Check the verdict, the sentence and the record of a curve that still falls."""
    found = forecast(sizes_of(exact((0.0, 3.0, 0.5))), ACCURACY, None, 1e-3)
    assert found.verdict == "helps"
    assert "Twice the data (2,000 training rows instead of 1,000) would bring" in found.sentence
    assert "more data would help" in found.sentence and "beyond its points" in found.sentence
    record = found.record(1000, ACCURACY)
    assert record["expected"]["2n"]["median"] == pytest.approx(
        1 - exact((0, 3, 0.5), 2000), abs=3e-3
    )
    assert record["expected"]["2n"]["low"] < record["expected"]["2n"]["high"] <= 1
    assert record["asymptote"]["high"] == pytest.approx(1, abs=0.02)
    assert found.record(1000, ACCURACY)["gain"]["2n"]["low"] > 0.1 * exact((0, 3, 0.5))[0]
    assert "is above 10% of what is left to the best possible score (0.009" in found.sentence


def test_a_flat_curve_is_hardly_worth_more_data():
    """Check that a level error is not continued downwards."""
    found = forecast(sizes_of([0.1, 0.1, 0.1, 0.1]), ACCURACY, None, 1e-3)
    assert found.verdict == "hardly" and "hardly worth collecting" in found.sentence
    assert found.law.error(2000).median == pytest.approx(0.1, abs=2e-3)


def test_few_noisy_points_tell_nothing():
    """Check that a wide spread between seeds is admitted."""
    found = forecast(sizes_of([0.1, 0.16, 0.2, 0.3], seeds=2, sd=0.02), ACCURACY, None, 1e-3)
    assert found.verdict == "untold" and "cannot be told" in found.sentence


def verdicts(law, sd, seeds, runs=60):
    """Return how many of some simulated curves get each verdict; one seed's noise is known."""
    rng, counts = np.random.default_rng(0), Counter()
    for _ in range(runs):
        errors = [np.clip(rng.normal(e, sd, seeds), 0, 1) for e in exact(law)]
        sizes = [Size(n, 1 - values) for n, values in zip(ROWS, errors, strict=True)]
        counts[forecast(sizes, ACCURACY, sd, 1e-3).verdict] += 1
    return counts


@pytest.mark.parametrize(("sd", "seeds"), [(0.1, 1), (0.1, 3), (0.03, 1)])
def test_a_large_gain_within_the_noise_is_not_called_small(sd, seeds):
    """Check that where twice the data would take 29 % of the error, and trainings are too noisy to
    see it, one curve in twenty at most is called hardly worth it: the rest say that they cannot
    tell."""
    found = verdicts((0.0, 3.6, 0.5), sd, seeds)
    assert found["hardly"] <= 3 and found["untold"] >= 48


def test_less_noise_turns_doubt_into_the_right_verdict():
    """Check that with little noise a gain of 29 % of the error helps, and one of 2 % does not."""
    assert verdicts((0.0, 3.6, 0.5), 0.005, 3, 20)["helps"] >= 18
    assert verdicts((0.3, 10.0, 1.0), 0.005, 3, 20)["hardly"] >= 18
    assert verdicts((0.3, 10.0, 1.0), 0.0005, 3, 20)["hardly"] >= 18


def test_one_finished_size_is_singular():
    """Check the words for one, no and two finished sizes."""
    words = {0: "0 finished sizes:", 1: "1 finished size:", 2: "2 finished sizes:"}
    for n, start in words.items():
        said = forecast(sizes_of([0.1, 0.2][:n]), ACCURACY, None, 1e-3).sentence
        assert said.startswith(start)


def test_a_rising_error_gets_no_law():
    """Check that a curve that gets worse with rows is called so, and one within noise is not."""
    found = forecast(sizes_of([0.2, 0.17, 0.14, 0.1]), ACCURACY, None, 1e-3)
    assert (found.verdict, found.law) == ("worse", None)
    assert "from 0.9000 with 125 training rows to 0.8000 with 1,000" in found.sentence
    assert found.record(1000, ACCURACY) is None
    slight = forecast(sizes_of([0.104, 0.1, 0.102, 0.1], sd=0.02), ACCURACY, None, 1e-3)
    assert slight.verdict != "worse"


def test_perfect_scores_and_two_sizes_are_said():
    """Check that scores of 1 everywhere and too few sizes give words, and no law."""
    whole = forecast(sizes_of([0.0] * 4, sd=0.0), ACCURACY, 0.0, 1e-3)
    assert whole.verdict == "perfect" and "best possible accuracy, 1" in whole.sentence
    assert forecast(sizes_of([0.1, 0.2]), ACCURACY, None, 1e-3).verdict == "unfinished"
    one = forecast(sizes_of([0.0, 0.0, 0.05, 0.1], sd=0.0), ACCURACY, None, 1e-3)
    assert one.law is not None and one.law.error(2000).median < 0.01


def test_a_loss_is_its_own_error():
    """Check that a metric where less is better is continued downwards, in its own numbers."""
    loss, law = Scale("log_loss", -1, 0.0), (0.1, 9.0, 0.5)
    found = forecast(sizes_of(exact(law), scale=loss), loss, None, 1e-4)
    expected = found.record(1000, loss)["expected"]["2n"]
    assert expected["median"] == pytest.approx(exact(law, 2000), abs=0.01)
    assert expected["low"] < expected["median"] < expected["high"] < exact(law)[0]


def test_one_seed_counts_on_the_error_of_the_score():
    """Check that without repetitions the given standard error is the noise."""
    found = forecast(sizes_of(exact((0.02, 2, 0.5)), seeds=1), ACCURACY, 0.007, 1e-3)
    assert found.law.noise == pytest.approx(0.007)
    assert single_noise(0.0, [np.array([0.1])] * 3, 0.002)[0].sd == 0.002
