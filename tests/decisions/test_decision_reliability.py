"""Reliability against the definition written out, and what a calibrated model would show."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from pipeline.decisions.reliability import (
    class_reliability,
    ece_noise,
    reliability,
    reliability_record,
)
from pipeline.errors import PodiumError

CHECKED = settings(max_examples=80, deadline=None, derandomize=True, database=None)
FEW = [0.0, 0.1, 0.2, 0.25, 0.5, 0.5 + 2**-53, 0.75, 0.9, 1.0]
ROWS = st.lists(st.tuples(st.sampled_from(FEW), st.booleans()), min_size=1, max_size=20)


def case(rows):
    conf, right = zip(*rows, strict=True)
    return np.array(conf), np.array(right, dtype=bool)


def gaps(conf, right, edges):
    """Return rows and gap of every bin that holds a row, each bin searched for by itself."""
    found = []
    for low, high in pairwise(edges):
        inside = (conf > low) & (conf <= high) | ((low == 0) & (conf == 0))
        if inside.any():
            found.append((inside.sum(), abs(right[inside].mean() - conf[inside].mean())))
    return np.array(found)


@CHECKED
@given(ROWS, st.integers(1, 20), st.booleans())
def test_errors_are_as_defined(rows, bins, equal_mass):
    """Check ECE and MCE against the sum over bins, and that each row is in one bin."""
    conf, right = case(rows)
    curve = reliability(conf, right, bins, equal_mass=equal_mass)
    expected = gaps(conf, right, curve.edges)
    assert curve.counts.sum() == expected[:, 0].sum() == len(conf)
    assert curve.ece == pytest.approx(expected[:, 0] @ expected[:, 1] / len(conf), abs=1e-12)
    assert curve.mce == pytest.approx(expected[:, 1].max(), abs=1e-12)
    assert len(curve.edges) == len(curve.counts) + 1 <= bins + 1
    if not equal_mass:
        assert curve.edges == pytest.approx(np.linspace(0, 1, bins + 1))
    order = np.random.default_rng(0).permutation(len(conf))
    again = reliability(conf[order], right[order], bins, equal_mass=equal_mass)
    assert again.ece == pytest.approx(curve.ece, abs=1e-12)


def test_bins_are_those_of_scikit_learn():
    """Check both binnings against scikit-learn's curve, which knows full bins only."""
    rng = np.random.default_rng(0)
    conf = rng.random(500)
    right = rng.random(500) < conf
    for equal_mass, strategy in ((False, "uniform"), (True, "quantile")):
        curve = reliability(conf, right, 10, equal_mass=equal_mass)
        accuracy, confidence = calibration_curve(right, conf, n_bins=10, strategy=strategy)
        # A row at the very edge may fall on its other side there.
        assert curve.accuracy == pytest.approx(accuracy, abs=0.03)
        assert curve.confidence == pytest.approx(confidence, abs=0.01)
    assert (np.abs(curve.counts - 50) <= 1).all()


def test_classes_by_themselves():
    """Check each class against its own curve, in both tasks."""
    rng = np.random.default_rng(1)
    probs = rng.dirichlet(np.ones(3), 200).astype(np.float32)
    y = rng.integers(0, 2, 200)  # no row has the last class
    hot = (y[:, None] == np.arange(3)).astype(np.int8)
    one, many = (
        class_reliability(y, probs, "multiclass"),
        class_reliability(hot, probs, "multilabel"),
    )
    for found in (one, many):
        assert found.positives.tolist() == hot.sum(0).tolist()
        assert found.rate == pytest.approx(hot.mean(0))
        assert found.mean_prob == pytest.approx(probs.mean(0), abs=1e-6)
        for j in range(3):
            expected = gaps(probs[:, j].astype(float), hot[:, j] == 1, np.linspace(0, 1, 11))
            assert found.ece[j] == pytest.approx(expected[:, 0] @ expected[:, 1] / 200)


def test_noise_is_what_calibrated_rows_show():
    """Check mean and 95% quantile against calibrated labels drawn anew, and that rows shrink it."""
    rng = np.random.default_rng(2)
    conf = rng.uniform(0.4, 1, 300)
    shown = [reliability(conf, rng.random(300) < conf).ece for _ in range(2000)]
    noise = ece_noise(conf, resamples=2000)
    assert noise.mean == pytest.approx(np.mean(shown), rel=0.03)
    assert noise.high == pytest.approx(np.quantile(shown, 0.95), rel=0.05)
    many = ece_noise(np.tile(conf, 100))
    assert many.mean == pytest.approx(noise.mean / 10, rel=0.15)


def test_noise_tells_miscalibration_from_chance():
    """Check that too high confidences stand out of the noise, and calibrated ones mostly do not."""
    rng = np.random.default_rng(3)
    inside = 0
    for seed in range(40):
        conf = rng.uniform(0.4, 0.95, 400)
        high = ece_noise(conf, 200, seed, equal_mass=True).high
        inside += reliability(conf, rng.random(400) < conf, equal_mass=True).ece <= high
        boastful = reliability(conf, rng.random(400) < conf - 0.2, equal_mass=True)
        assert boastful.ece > high
    assert inside >= 33


def test_noise_depends_on_confidences_and_seed_alone(monkeypatch):
    """Check permuted rows, another seed, draws dealt to more chunks, and certain rows."""
    conf = np.random.default_rng(4).random(100)
    noise = ece_noise(conf, seed=5)
    assert ece_noise(conf[::-1], seed=5) == noise
    assert ece_noise(conf, seed=6) != noise
    monkeypatch.setattr("pipeline.decisions.reliability.CHUNK", 300)
    assert ece_noise(conf, seed=5) == noise
    assert ece_noise(np.array([0.0, 1.0])).high == 0


def test_the_record_is_json():
    """Check that empty bins are left out and that no number is NaN."""
    curve = reliability(np.array([0.1, 0.9, 0.95]), np.array([False, True, False]))
    record = reliability_record(curve, ece_noise(np.array([0.1, 0.9, 0.95])))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert [entry["rows"] for entry in record["bins"]] == [1, 1, 1]
    assert record["ece"] == curve.ece
    assert {"mean", "high"} == set(record["ece_of_a_calibrated_model"])
    assert "ece_of_a_calibrated_model" not in reliability_record(curve)


@pytest.mark.parametrize(
    ("conf", "right", "bins", "message"),
    [
        ([0.5, 1.5], [True, True], 5, "lie in"),
        ([0.5, np.nan], [True, True], 5, "lie in"),
        ([], [], 5, "shape"),
        ([0.5], [1], 5, "must be bool"),
        ([0.5], [True, False], 5, "must be bool"),
        ([0.5], [True], 0, "at least 1"),
    ],
)
def test_mistakes_are_refused(conf, right, bins, message):
    """Check confidences, answers and bins that make no curve."""
    with pytest.raises(PodiumError, match=message):
        reliability(np.array(conf), np.array(right), bins)
    with pytest.raises(PodiumError, match="resamples"):
        ece_noise(np.array([0.5]), 0)
