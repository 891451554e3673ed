"""The chain and its honest score: no label is seen by what answers its row."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from pipeline.artifacts.predictions import probabilities
from pipeline.decisions import best_constant
from pipeline.ensemble import chain
from pipeline.ensemble.chain import (
    Candidate,
    Rows,
    candidates,
    choose,
    cross_fit,
    cross_fitted_probs,
    fit_chain,
    honest_score,
)
from pipeline.metrics import CustomMetric, custom_metric, get_metric

ACCURACY = get_metric("accuracy", "multiclass")
MACRO = get_metric("f1_macro", "multilabel")
MULTICLASS_MACRO = get_metric("f1_macro", "multiclass")


@pytest.fixture(autouse=True)
def short_climbs(monkeypatch):
    """Climb fewer steps: what is tested here does not depend on how many there are."""
    monkeypatch.setattr(chain, "INNER_RESAMPLES", 40)
    monkeypatch.setattr("pipeline.ensemble.blend.ROUNDS", 4)
    monkeypatch.setattr("pipeline.ensemble.blend.hill_climb.__defaults__", (0, 3))


def multilabel_rows(
    n=90, c=4, members=2, parts=3, skill=1.0, seed=0, groups=None, rate=0.3
) -> Rows:
    rng = np.random.default_rng(seed)
    y = (rng.random((n, c)) < rate).astype(np.int8)
    noise = rng.normal(size=(members, n, c))
    stack = expit(skill * (2 * y - 1) + noise).astype(np.float32)
    return Rows(y, stack, np.arange(n) % parts, groups)


def multiclass_rows(n=120, members=3, parts=3, skill=1.0, seed=0, shares=(0.6, 0.3, 0.1)) -> Rows:
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=shares)
    noise = rng.normal(size=(members, n, 3))
    stack = np.stack([probabilities(skill * np.eye(3)[y] + one, "multiclass") for one in noise])
    return Rows(y.astype(np.int64), stack, np.arange(n) % parts, None)


def shifted_rows() -> Rows:
    """Return multi-label rows whose classes need thresholds far apart, but blurred by noise."""
    rng = np.random.default_rng(2)
    y = (rng.random((150, 4)) < 0.3).astype(np.int8)
    signal = (2 * y - 1) + np.array([-2.5, -1, 1, 2.5]) + rng.normal(size=(2, 150, 4))
    return Rows(y, expit(signal).astype(np.float32), np.arange(150) % 3, None)


def with_flipped_labels(rows: Rows, part: int) -> Rows:
    """Return the same rows with every label of one part changed."""
    labels, inside = rows.labels.copy(), rows.part == part
    labels[inside] = (labels[inside] + 1) % 3 if labels.ndim == 1 else 1 - labels[inside]
    return Rows(labels, rows.stack, rows.part, rows.groups)


@pytest.mark.parametrize(
    ("metric", "rows"),
    [(MACRO, multilabel_rows()), (MULTICLASS_MACRO, multiclass_rows())],
    ids=["multilabel", "multiclass"],
)
def test_no_answer_is_fitted_on_its_own_label(metric, rows):
    """Check that flipping all labels of a part changes none of the answers to that part.

    That the same flip changes answers to other parts shows that fitting happens at all.
    """
    before = cross_fit(metric, rows)
    after = cross_fit(metric, with_flipped_labels(rows, 1))
    inside = rows.part == 1
    changed = 0
    assert list(before) == candidates(metric, len(rows.stack))
    for candidate, answer in before.items():
        np.testing.assert_array_equal(answer[inside], after[candidate][inside], str(candidate))
        changed += (answer[~inside] != after[candidate][~inside]).sum()
    assert changed > 0


@pytest.mark.parametrize(
    ("metric", "rows"),
    [(MACRO, shifted_rows()), (MULTICLASS_MACRO, multiclass_rows(seed=4))],
    ids=["multilabel", "multiclass"],
)
def test_the_honest_answers_of_a_part_do_not_see_its_labels(metric, rows, monkeypatch):
    """Check the same of the whole procedure, choice of methods included."""
    pooled = []
    real = chain.standard_error

    def spying(metric, labels, answer, *rest, **options):
        pooled.append(answer.copy())
        return real(metric, labels, answer, *rest, **options)

    monkeypatch.setattr(chain, "standard_error", spying)
    chosen = [honest_score(metric, each, 0).chosen for each in (rows, with_flipped_labels(rows, 0))]
    inside = rows.part == 0
    assert any(kind in chosen[0]["0"] for kind in ("per-class", "multipliers", "climbing"))
    np.testing.assert_array_equal(pooled[0][inside], pooled[1][inside])
    assert chosen[0]["0"] == chosen[1]["0"]
    assert (pooled[0][~inside] != pooled[1][~inside]).any()


def test_blended_rows_of_an_ensemble_do_not_carry_labels():
    """Check that cross-fitted probabilities of a part ignore its labels, for every method."""
    rows, metric = multiclass_rows(), get_metric("log_loss", "multiclass")
    for method in chain.METHODS:
        candidate = Candidate(method, "identity")
        before, after = (
            cross_fitted_probs(candidate, metric, each, 0)
            for each in (rows, with_flipped_labels(rows, 0))
        )
        np.testing.assert_array_equal(before[rows.part == 0], after[rows.part == 0])
        changed = (before != after)[rows.part != 0].any()
        assert changed == (method == "hill-climbing"), "only weights are fitted to labels"
    plain = cross_fitted_probs(Candidate("mean", "identity"), metric, rows, 0)
    np.testing.assert_allclose(plain, rows.stack.mean(0), atol=1e-6)


def test_on_noise_the_in_sample_score_lies_and_the_honest_one_does_not():
    """Check labels that nothing can know: thresholds per class look well above chance in-sample.

    Chance is the best answer that does not look at the row: everything positive, which has an
    F1 of 2f / (1 + f) for a class of frequency f.
    """
    rows = multilabel_rows(n=100, c=12, skill=0.0, parts=4, rate=0.12)
    frequency = rows.labels.mean(axis=0)
    chance = np.mean(2 * frequency / (1 + frequency))
    fitted = fit_chain(Candidate("mean", "per-class"), MACRO, rows)
    in_sample = MACRO.score(rows.labels, fitted.answer(rows.stack, rows.without))
    honest = honest_score(MACRO, rows, 0)
    assert in_sample > chance + 0.03
    assert honest.score < chance + 2 * honest.se
    assert in_sample - honest.score > 0.05


def test_candidates_go_from_simple_to_complex():
    """Check the order of choice, and that a single run is decided but not blended."""
    found = candidates(MACRO, 2)
    assert found[0] == Candidate("mean", "threshold")
    assert found[-1] == Candidate("hill-climbing", "per-class")
    assert len(set(found)) == len(found) == 4 * 3
    assert candidates(MACRO, 1) == [
        Candidate("mean", kind) for kind in ("threshold", "global", "per-class")
    ]
    assert candidates(get_metric("log_loss", "multiclass"), 1) == [Candidate("mean", "identity")]


def test_equal_members_get_the_plain_mean():
    """Check that where nothing is gained by more, the simplest candidate is chosen."""
    choice = choose(ACCURACY, multiclass_rows(n=240, skill=1.5, shares=(1 / 3, 1 / 3, 1 / 3)), 0)
    assert choice.chosen == Candidate("mean", "argmax")
    best = max(choice.table, key=lambda row: row["honest"])
    assert best["honest"] - choice.table[0]["honest"] < 0.05


def test_a_member_that_harms_is_climbed_around():
    """Check that hill climbing is chosen where one member is much worse than the other."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    good = probabilities(3 * np.eye(3)[y] + rng.normal(size=(240, 3)), "multiclass")
    bad = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 240)]  # sure of itself, and guessing
    rows = Rows(y, np.stack([bad, good]), np.arange(240) % 3, None)
    choice = choose(ACCURACY, rows, 0)
    assert choice.chosen.blend == "hill-climbing"
    weights = fit_chain(choice.chosen, ACCURACY, rows).blend.weights
    assert weights[1] > 0.8
    honest, alone = honest_score(ACCURACY, rows, 0).score, (good.argmax(1) == y).mean()
    assert honest > alone - 0.03 and honest > (bad.argmax(1) == y).mean() + 0.3


def test_classes_that_need_other_thresholds_get_them():
    """Check that thresholds per class are chosen where 0.5, or any one value, fits no class."""
    rng = np.random.default_rng(0)
    y = (rng.random((300, 4)) < 0.3).astype(np.int8)
    shift = np.array([-4, -1.5, 1.5, 4])
    stack = expit(2 * (2 * y - 1) + shift + rng.normal(size=(1, 300, 4)) / 2).astype(np.float32)
    rows = Rows(y, stack, np.arange(300) % 3, None)
    choice = choose(MACRO, rows, 0)
    assert choice.chosen == Candidate("mean", "per-class")
    thresholds = fit_chain(choice.chosen, MACRO, rows).rule.values
    assert list(thresholds) == sorted(thresholds) and thresholds[0] < 0.2 < 0.8 < thresholds[3]
    assert honest_score(MACRO, rows, 0).score > 0.95


def test_the_table_of_candidates_is_cross_fitted():
    """Check that scores and gains beside each candidate come from its own cross-fitted answers."""
    rows = multilabel_rows()
    answers = cross_fit(MACRO, rows)
    table = choose(MACRO, rows, 0).table
    assert [(row["blend"], row["rule"]) for row in table] == [(c.blend, c.rule) for c in answers]
    scores = [MACRO.score(rows.labels, answer) for answer in answers.values()]
    assert [row["honest"] for row in table] == pytest.approx(scores)
    assert [row["gain"] for row in table] == pytest.approx([s - scores[0] for s in scores])
    assert table[0]["gain_se"] == 0 < table[-1]["gain_se"]


def test_a_loss_gains_downwards():
    """Check that for a metric whose way up is down a gain is a lower score."""
    metric = get_metric("log_loss", "multiclass")
    table = choose(metric, multiclass_rows(), 0).table
    for row in table:
        assert row["gain"] == pytest.approx(table[0]["honest"] - row["honest"])


def test_a_hold_out_is_cut_into_five_group_aware_parts():
    """Check that one part becomes five, no group in two of them, labels spread evenly."""
    groups = np.array([f"g{i // 3}" for i in range(90)])
    rows = multilabel_rows(parts=1, groups=groups).with_parts(0)
    assert sorted(set(rows.part)) == [0, 1, 2, 3, 4]
    for group in np.unique(groups):
        assert len(set(rows.part[groups == group])) == 1
    sizes = np.bincount(rows.part)
    assert sizes.max() - sizes.min() <= 6
    again = multilabel_rows(parts=1, groups=groups).with_parts(0)
    np.testing.assert_array_equal(rows.part, again.part)
    shared = multilabel_rows(parts=3)
    assert shared.with_parts(0) is shared


def test_honest_scores_are_reproducible():
    """Check that score, error and choices are the same again, for folds and for a hold-out."""
    for parts in (1, 3):
        rows = multilabel_rows(parts=parts)
        first, again = honest_score(MACRO, rows, 5), honest_score(MACRO, rows, 5)
        assert first == again
        assert len(first.chosen) == (5 if parts == 1 else 3) and first.se > 0


def test_the_honest_score_of_one_run_without_a_fitted_rule_is_its_own():
    """Check that where nothing is fitted, honest and plain out-of-fold score are the same."""
    metric = get_metric("log_loss", "multiclass")
    rows = multiclass_rows(members=1)
    assert honest_score(metric, rows, 0).score == pytest.approx(
        metric.score(rows.labels, rows.stack[0].astype(float)), abs=1e-5
    )


@pytest.mark.parametrize("metric", [ACCURACY, MACRO, get_metric("log_loss", "multiclass")])
def test_rows_without_a_picture_change_nothing_but_their_own_answer(metric):
    """Check that noise in such rows fits nothing, and that each gets the constant of its part."""
    rows, n = (multiclass_rows(90) if metric.task == "multiclass" else multilabel_rows(90)), 90
    without = np.arange(n) % 4 == 0
    noise = np.array(rows.stack)
    noise[:, without] = np.random.default_rng(9).permutation(noise[:, without], axis=2)
    plain = replace(rows, pictured=~without)
    noisy = replace(plain, stack=noise)
    for candidate in candidates(metric, len(rows.stack)):
        first, second = (fit_chain(candidate, metric, r) for r in (plain, noisy))
        assert first.rule == second.rule
        np.testing.assert_array_equal(first.blend.weights, second.blend.weights)
    scores = [honest_score(metric, r, 0) for r in (plain, noisy)]
    assert scores[0] == scores[1]
    answers = cross_fit(metric, noisy)
    for part in np.unique(rows.part):
        here = (rows.part == part) & without
        constant = best_constant(metric, rows.labels[rows.part != part], rows.stack.shape[2])
        for answer in answers.values():
            np.testing.assert_allclose(answer[here], np.broadcast_to(constant, answer[here].shape))


@pytest.fixture
def counting(tmp_path) -> tuple[CustomMetric, list[int]]:
    """Return a custom metric that is the accuracy, and the number of times that it was called."""
    score = "def score(y, answer):\n    calls[0] += 1\n    return (y == answer).mean()\n"
    (path := tmp_path / "counting.py").write_text(f"calls = [0]\n{score}")
    metric = custom_metric(path, "multiclass")
    return metric, metric.function.__globals__["calls"]


@pytest.mark.parametrize("members", [1, 4])
def test_a_custom_metric_is_called_seldom(counting, members):
    """Check how often it is called where every row has a picture: once per resample and candidate
    (once more for its score) by each choice, and once per class for the recorded constant."""
    (metric, calls), rows = counting, multiclass_rows(members=members, parts=5)
    found = candidates(metric, members)
    assert [c.blend for c in found] == ["mean", "geometric", "rank"][: min(members, 3)]
    chosen = choose(metric, rows, 0).chosen
    assert calls[0] == 51 * len(found)
    assert fit_chain(chosen, metric, rows).constant == 0
    assert (before := calls[0]) <= 51 * len(found) + 4
    honest_score(metric, rows, 0)
    assert calls[0] - before == 5 * 51 * len(found) + 1001


def test_a_custom_metric_answers_rows_without_a_picture(counting):
    """Check that the honest score is that of the same named metric, constants included."""
    rows = replace(multiclass_rows(members=1), pictured=np.arange(120) % 4 != 0)
    mine, named = (honest_score(metric, rows, 0) for metric in (counting[0], ACCURACY))
    assert mine.score == pytest.approx(named.score) and mine.chosen == named.chosen
