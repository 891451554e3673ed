"""The band of noise against thousands of leaderboards that differ by nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from ledger_rows import noise_of, row
from scipy import stats

from pipeline.leaderboard.analysis import Size, analyse
from pipeline.leaderboard.band import band
from pipeline.leaderboard.points import points_of

BOARDS = 2000


def simulated(rng: np.random.Generator, k: int, cv_rows: int, public_rows: int, shared: float):
    """Return differences, errors and correlations of k submissions that are as good on both sets:
    rows have a difficulty in common, and every row is right or wrong."""
    skill = rng.uniform(0.8, 1.3, k)
    rows = cv_rows + public_rows
    difficulty = rng.standard_normal((rows, 1))
    own = rng.standard_normal((rows, k))
    right = skill + np.sqrt(shared) * difficulty + np.sqrt(1 - shared) * own > 0
    cv, public = right[:cv_rows].mean(axis=0), right[cv_rows:].mean(axis=0)
    errors = np.sqrt(cv * (1 - cv) / cv_rows) * np.sqrt(1 + cv_rows / public_rows)
    return public - cv, errors, np.corrcoef(right[:cv_rows].T)


@pytest.mark.parametrize(
    ("k", "shared", "known"), [(8, 0.7, True), (5, 0.2, True), (8, 0.7, False)]
)
def test_rates_over_simulated_leaderboards(k, shared, known):
    """Check that bands hold 95 % of submissions, and that outliers, offsets and spreads are found
    at their nominal rate where there is nothing but noise; never above it where the correlations
    are not known."""
    rng = np.random.default_rng(k)
    inside, odd, offset, spread = [], [], [], []
    for board in range(BOARDS):
        differences, errors, correlations = simulated(rng, k, 800, 250, shared)
        if not known:
            correlations = np.where(np.eye(k) == 1, 1.0, np.nan)
        found = band(differences, errors, correlations, draws=1000, seed=board)
        inside.append((np.abs(found.residuals) <= found.halves).mean())
        odd.append(found.outside.any())
        offset.append(found.offset_p < 0.05)
        spread.append(found.spread_p < 0.05)
    rates = [float(np.mean(values)) for values in (odd, offset, spread)]
    if known:
        assert np.mean(inside) == pytest.approx(0.95, abs=0.012)
        assert rates == pytest.approx([0.05] * 3, abs=0.02)
    else:
        assert np.mean(inside) > 0.95 and max(rates) <= 0.05


@pytest.mark.parametrize(("accuracy", "most"), [(0.99, 0.02), (0.9, 0.09)])
def test_rates_where_few_public_rows_are_wrong(accuracy, most):
    """Check that of 162 public rows nobody is named odd where hardly any is wrong, for there the
    band by itself would be narrow, and about as seldom as it says where more are."""
    rng, named, outside = np.random.default_rng(1), [], []
    for _ in range(200):
        right = stats.norm.ppf(accuracy) + rng.uniform(-0.15, 0.15, 8)
        right = right + np.sqrt(0.7) * rng.standard_normal((1257 + 162, 1))
        right = right + np.sqrt(0.3) * rng.standard_normal((1257 + 162, 8)) > 0
        cv, public = right[:1257].mean(axis=0), right[1257:].mean(axis=0)
        errors = np.maximum(np.sqrt(cv * (1 - cv) / 1257), 1e-4)
        scores = zip(cv, public, errors, strict=True)
        points = points_of([row(n, *one) for n, one in enumerate(scores, 1)]).found
        noise = replace(noise_of(points, 0.0), correlations=np.corrcoef(right[:1257].T))
        found = analyse(points, noise, Size(1257, 162, True, ""), "accuracy")
        named.append(found.disagrees)
        outside.append(found.band.outside.any())
    assert np.mean(named) <= most
    if accuracy == 0.99:
        assert np.mean(outside) > 0.07


def test_a_submission_that_is_odd_is_found():
    """Check that one moved by five of its standard errors is named, and it alone."""
    rng = np.random.default_rng(0)
    found = []
    for board in range(200):
        differences, errors, correlations = simulated(rng, 8, 800, 250, 0.7)
        differences[3] -= 5 * errors[3]
        found.append(band(differences, errors, correlations, draws=1000, seed=board).outside)
    assert np.mean([out[3] for out in found]) > 0.99
    assert np.mean([np.delete(out, 3).any() for out in found]) < 0.08


def test_one_submission_has_the_plain_test_of_a_difference():
    """Check offset, error and p of one against the normal distribution."""
    found = band(np.array([0.03]), np.array([0.02]), np.ones((1, 1)), draws=200_000)
    assert found.offset == 0.03 and found.offset_se == pytest.approx(0.02, rel=0.01)
    assert found.offset_p == pytest.approx(2 * stats.norm.sf(1.5), abs=0.003)
    assert not found.outside.any()


def test_two_submissions_have_the_paired_error():
    """Check that the band of two is of half their difference, where shared noise cancels."""
    errors, rho = np.array([0.02, 0.03]), 0.8
    found = band(np.array([0.01, 0.02]), errors, np.array([[1, rho], [rho, 1]]), draws=200_000)
    paired = np.sqrt(errors @ errors - 2 * rho * errors.prod())
    assert found.halves == pytest.approx(stats.norm.ppf(0.975) * paired / 2, rel=0.01)
    assert found.offset_se == pytest.approx(
        np.sqrt(errors @ errors + 2 * rho * errors.prod()) / 2, rel=0.01
    )


def test_shared_noise_narrows_the_band_and_widens_the_offset():
    """Check both directions, and that unknown correlations take the wide side of each."""
    differences, errors = np.linspace(-0.01, 0.01, 6), np.full(6, 0.02)
    apart, alike = np.eye(6), np.full((6, 6), 0.9) + 0.1 * np.eye(6)
    one, other = (band(differences, errors, matrix) for matrix in (apart, alike))
    unknown = band(differences, errors, np.where(np.eye(6) == 1, 1.0, np.nan))
    assert (other.halves < 0.5 * one.halves).all() and other.offset_se > 1.5 * one.offset_se
    assert unknown.halves == pytest.approx(one.halves) and unknown.offset_se > other.offset_se
    assert unknown.offset_se == pytest.approx(0.02, rel=0.03)


def test_the_outer_band_and_p_say_the_same():
    """Check that a submission is beyond the outer band just where its p is below 0.05."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        differences, errors, correlations = simulated(rng, 6, 400, 100, 0.5)
        differences[0] += rng.normal(0, 0.1)
        found = band(differences, errors, correlations, draws=2000)
        far = np.abs(found.residuals) / found.outer
        clear = np.abs(far - 1) > 0.02
        assert ((far > 1) == found.outside)[clear].all()
        assert (found.outer >= found.halves).all()


def test_correlations_that_contradict_each_other_are_mended():
    """Check that a matrix that is none of correlations gives finite bands of the right width."""
    odd = np.array([[1, 0.9, 0.9], [0.9, 1, -0.9], [0.9, -0.9, 1]])
    found = band(np.zeros(3), np.full(3, 0.01), odd)
    assert np.isfinite(found.halves).all() and (found.halves < 0.05).all()


@pytest.mark.parametrize("errors", [[0.1, 0.0], [0.1], [0.1, np.nan]])
def test_errors_must_fit(errors):
    """Check that shapes, and an error of 0, are a bug."""
    with pytest.raises(ValueError, match="errors above 0"):
        band(np.zeros(2), np.array(errors), np.eye(2))
