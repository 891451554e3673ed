"""The chain and its honest score: no label is seen by what answers its row."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from pipeline.artifacts.predictions import probabilities
from pipeline.decisions import best_constant, rule_kinds
from pipeline.ensemble.blending.blend import LEVELS, methods
from pipeline.ensemble.chain import Candidate, Chain, fit_chain
from pipeline.ensemble.choice import Menu, choose
from pipeline.ensemble.cross_fit import CrossFit
from pipeline.ensemble.honest import honest_score
from pipeline.ensemble.rows import Rows, row_keys
from pipeline.ensemble.stack import Stack
from pipeline.errors import PodiumError
from pipeline.metrics import CustomMetric, custom_metric, get_metric

FITS_NOTHING = ("mean + argmax", "mean + threshold", "geometric", "rank")
ACCURACY = get_metric("accuracy", "multiclass")
MACRO = get_metric("f1_macro", "multilabel")
MULTICLASS_MACRO = get_metric("f1_macro", "multiclass")


def rows_of(labels, stack, part, groups=None) -> Rows:
    keys = row_keys(np.arange(len(labels)).astype(str), groups)
    return Rows(labels, Stack.of(stack), part, keys, groups)


def answer_of(chain: Chain, rows: Rows) -> np.ndarray:
    return chain.answer(chain.probs(rows.stack), rows.without)


def cross_fitted(metric, rows: Rows, rules=()) -> dict[Candidate, np.ndarray]:
    """Return the cross-fitted answers of every blend under every rule."""
    fits = CrossFit(metric, rows)
    for blend in methods(metric, len(rows.stack)):
        fits.add([Candidate(blend, rule) for rule in rules or rule_kinds(metric)])
    return fits.answers


def multilabel_rows(
    n=90, c=4, members=2, parts=3, skill=1.0, seed=0, groups=None, rate=0.3
) -> Rows:
    rng = np.random.default_rng(seed)
    y = (rng.random((n, c)) < rate).astype(np.int8)
    noise = rng.normal(size=(members, n, c))
    stack = expit(skill * (2 * y - 1) + noise).astype(np.float32)
    return rows_of(y, stack, np.arange(n) % parts, groups)


def multiclass_rows(n=120, members=3, parts=3, skill=1.0, seed=0, shares=(0.6, 0.3, 0.1)) -> Rows:
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=shares)
    noise = rng.normal(size=(members, n, 3))
    skills = np.broadcast_to(skill, members)
    pairs = zip(skills, noise, strict=True)
    stack = np.stack([probabilities(s * np.eye(3)[y] + one, "multiclass") for s, one in pairs])
    return rows_of(y.astype(np.int64), stack, np.arange(n) % parts)


def shifted_rows() -> Rows:
    """Return multi-label rows whose classes need thresholds far apart, but blurred by noise."""
    rng = np.random.default_rng(2)
    y = (rng.random((150, 4)) < 0.3).astype(np.int8)
    signal = (2 * y - 1) + np.array([-2.5, -1, 1, 2.5]) + rng.normal(size=(2, 150, 4))
    return rows_of(y, expit(signal).astype(np.float32), np.arange(150) % 3)


def with_flipped_labels(rows: Rows, part: int) -> Rows:
    """Return the same rows with every label of one part changed."""
    labels, inside = rows.labels.copy(), rows.part == part
    labels[inside] = (labels[inside] + 1) % 3 if labels.ndim == 1 else 1 - labels[inside]
    return replace(rows, labels=labels)


@pytest.mark.parametrize(
    ("metric", "rows"),
    [(MACRO, multilabel_rows()), (MULTICLASS_MACRO, multiclass_rows())],
    ids=["multilabel", "multiclass"],
)
def test_no_answer_is_fitted_on_its_own_label(metric, rows):
    """Check that flipping all labels of a part changes none of the answers to that part.

    That the same flip changes answers to other parts shows that fitting happens at all.
    """
    before = cross_fitted(metric, rows)
    after = cross_fitted(metric, with_flipped_labels(rows, 1))
    inside = rows.part == 1
    changed = 0
    assert {candidate.blend for candidate in before} == set(LEVELS)
    for candidate, answer in before.items():
        np.testing.assert_array_equal(answer[inside], after[candidate][inside], str(candidate))
        changed += (answer[~inside] != after[candidate][~inside]).sum()
    assert changed > 0


@pytest.mark.parametrize(
    ("metric", "rows"),
    [(MACRO, shifted_rows()), (MULTICLASS_MACRO, multiclass_rows(skill=(3, 0, 0)))],
    ids=["multilabel", "multiclass"],
)
def test_the_honest_answers_of_a_part_do_not_see_its_labels(metric, rows):
    """Check the same of the whole procedure, choice of methods included."""
    first, second = (honest_score(metric, r, 0) for r in (rows, with_flipped_labels(rows, 0)))
    inside = rows.part == 0
    assert not first.chosen["0"].startswith(FITS_NOTHING)
    np.testing.assert_array_equal(first.answer[inside], second.answer[inside])
    assert first.chosen["0"] == second.chosen["0"]
    assert (first.answer[~inside] != second.answer[~inside]).any()


@pytest.mark.parametrize("calibration", ["none", "temperature", "per-class"])
def test_blended_rows_of_an_ensemble_do_not_carry_labels(calibration):
    """Check that cross-fitted probabilities of a part ignore its labels, for every method."""
    rows, metric = multiclass_rows(), get_metric("log_loss", "multiclass")
    for method in LEVELS:
        before, after = (
            CrossFit(metric, each).probs(method, calibration)
            for each in (rows, with_flipped_labels(rows, 0))
        )
        np.testing.assert_array_equal(before[rows.part == 0], after[rows.part == 0])
        changed = (before != after)[rows.part != 0].any()
        fits_nothing = method in ("mean", "geometric", "rank") and calibration == "none"
        assert fits_nothing != changed or method == "power", "an exponent may well stay"
    plain = CrossFit(metric, rows).probs("mean")
    np.testing.assert_allclose(plain, rows.stack.dense().mean(0), atol=1e-6)


def test_on_noise_the_in_sample_score_lies_and_the_honest_one_does_not():
    """Check labels that nothing can know: thresholds per class look well above chance in-sample.

    Chance is the best answer that does not look at the row: everything positive, which has an
    F1 of 2f / (1 + f) for a class of frequency f.
    """
    rows = multilabel_rows(n=100, c=12, skill=0.0, parts=4, rate=0.12)
    frequency = rows.labels.mean(axis=0)
    chance = np.mean(2 * frequency / (1 + frequency))
    fitted = fit_chain(Candidate("mean", "per-class"), MACRO, rows)
    in_sample = MACRO.score(rows.labels, answer_of(fitted, rows))
    honest = honest_score(MACRO, rows, 0)
    assert in_sample > chance + 0.03
    assert honest.score < chance + 2 * honest.se
    assert in_sample - honest.score > 0.05


def test_candidates_go_from_simple_to_complex():
    """Check that the mean under a fixed rule is the simplest, and fitted thresholds count more."""
    simple, fitted = Candidate("mean", "threshold"), Candidate("hill-climbing", "per-class")
    assert simple.level < Candidate("mean", "global").level < Candidate("mean", "per-class").level
    assert Candidate("geometric", "threshold").level < fitted.level
    assert simple.level < Candidate("mean", "threshold", "temperature").level
    assert Candidate("mean", "argmax").level == Candidate("mean", "argmax", "temperature").level
    assert methods(MACRO, 2)[0] == "mean" and set(methods(MACRO, 2)) == set(LEVELS)
    assert methods(MACRO, 1) == ("mean",), "a single run is decided but not blended"


def test_the_menu_limits_what_competes():
    """Check that asked-for blends and rules alone are chosen from, and others are refused."""
    rows = multilabel_rows()
    chosen = choose(MACRO, rows, 0, menu=Menu(("rank", "geometric"), ("global",))).chosen
    assert chosen.blend in ("rank", "geometric") and chosen.rule == "global"
    honest = honest_score(MACRO, rows, 0, Menu(("rank",), ("threshold",), ("none",)))
    assert set(honest.chosen.values()) == {"rank + threshold"}
    calibrated = choose(MACRO, rows, 0, menu=Menu(("rank",), (), ("per-class",)))
    assert {line["calibration"] for line in calibrated.table} == {"none", "per-class"}
    with pytest.raises(PodiumError, match=r"BLEND: 'meen' does not suit .*did you mean mean"):
        choose(MACRO, rows, 0, menu=Menu(("meen",)))
    with pytest.raises(PodiumError, match="RULE: 'argmax' does not suit f1_macro"):
        choose(MACRO, rows, 0, menu=Menu((), ("argmax",)))


def test_equal_members_get_the_plain_mean():
    """Check that where nothing is gained by more, the simplest candidate is chosen."""
    choice = choose(ACCURACY, multiclass_rows(n=240, skill=1.5, shares=(1 / 3, 1 / 3, 1 / 3)), 0)
    assert (choice.chosen.blend, choice.chosen.rule) == ("mean", "argmax")
    best = max(choice.table, key=lambda row: row["honest"])
    assert best["honest"] - choice.table[0]["honest"] < 0.05


def test_a_member_that_harms_is_climbed_around():
    """Check that weights are chosen where one member is much worse than the other."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    good = probabilities(3 * np.eye(3)[y] + rng.normal(size=(240, 3)), "multiclass")
    bad = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 240)]  # sure of itself, and guessing
    rows = rows_of(y, np.stack([bad, good]), np.arange(240) % 3)
    choice = choose(ACCURACY, rows, 0)
    assert choice.chosen.blend not in ("mean", "geometric", "rank", "power")
    weights = fit_chain(Candidate("hill-climbing", "argmax"), ACCURACY, rows).blend.weights
    assert weights[1] > 0.8
    honest, alone = honest_score(ACCURACY, rows, 0).score, (good.argmax(1) == y).mean()
    assert honest > alone - 0.03 and honest > (bad.argmax(1) == y).mean() + 0.3


def test_classes_that_need_other_thresholds_get_them():
    """Check that thresholds per class are chosen where 0.5, or any one value, fits no class."""
    rng = np.random.default_rng(0)
    y = (rng.random((300, 4)) < 0.3).astype(np.int8)
    shift = np.array([-4, -1.5, 1.5, 4])
    stack = expit(2 * (2 * y - 1) + shift + rng.normal(size=(1, 300, 4)) / 2).astype(np.float32)
    rows = rows_of(y, stack, np.arange(300) % 3)
    choice = choose(MACRO, rows, 0)
    assert choice.chosen.rule not in ("threshold", "global") or choice.chosen.calibration != "none"
    thresholds = fit_chain(Candidate("mean", "per-class"), MACRO, rows).rule.values
    assert list(thresholds) == sorted(thresholds) and thresholds[0] < 0.2 < 0.8 < thresholds[3]
    assert honest_score(MACRO, rows, 0).score > 0.95


def test_the_table_of_candidates_is_cross_fitted():
    """Check that scores and gains beside each candidate come from its own cross-fitted answers."""
    rows = multilabel_rows()
    table = choose(MACRO, rows, 0).table
    plain = {(c.blend, c.rule): answer for c, answer in cross_fitted(MACRO, rows).items()}
    first = MACRO.score(rows.labels, plain["mean", "threshold"])
    assert (table[0]["blend"], table[0]["rule"], table[0]["gain"]) == ("mean", "threshold", 0)
    for line in table:
        assert line["gain"] == pytest.approx(line["honest"] - first)
        if line["calibration"] == "none":
            answer = plain[line["blend"], line["rule"]]
            assert line["honest"] == pytest.approx(MACRO.score(rows.labels, answer))
    assert table[0]["gain_se"] == 0 < table[-1]["gain_se"]
    names = [(line["blend"], line["rule"], line["calibration"]) for line in table]
    assert len(set(names)) == len(names)


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
        assert (first.score, first.se, first.interval) == (again.score, again.se, again.interval)
        assert first.chosen == again.chosen
        np.testing.assert_array_equal(first.answer, again.answer)
        assert len(first.chosen) == (5 if parts == 1 else 3) and first.se > 0
        assert first.interval[0] < first.score < first.interval[1]


def test_the_honest_score_is_that_of_its_answers():
    """Check the pooled answers against the metric itself, and the interval against its error."""
    rows = multilabel_rows()
    honest = honest_score(MACRO, rows, 0)
    assert honest.score == MACRO.score(rows.labels, honest.answer)
    low, high = honest.interval
    assert high - low == pytest.approx(2 * 1.96 * honest.se, rel=0.2)


def test_the_honest_score_of_one_run_without_a_fitted_rule_is_its_own():
    """Check that where nothing is fitted, honest and plain out-of-fold score are the same."""
    rows = multiclass_rows(members=1)
    alone = ACCURACY.score(rows.labels, rows.stack.member(0).argmax(axis=1))
    assert honest_score(ACCURACY, rows, 0).score == alone


@pytest.mark.parametrize("metric", [ACCURACY, MACRO, get_metric("log_loss", "multiclass")])
def test_rows_without_a_picture_change_nothing_but_their_own_answer(metric):
    """Check that noise in such rows fits nothing, and that each gets the constant of its part."""
    rows, n = (multiclass_rows(90) if metric.task == "multiclass" else multilabel_rows(90)), 90
    without = np.arange(n) % 4 == 0
    noise = rows.stack.dense()
    noise[:, without] = np.random.default_rng(9).permutation(noise[:, without], axis=2)
    plain = replace(rows, pictured=~without)
    noisy = replace(plain, stack=Stack.of(noise))
    for candidate in cross_fitted(metric, rows):
        first, second = (fit_chain(candidate, metric, r) for r in (plain, noisy))
        assert first.rule == second.rule
        np.testing.assert_array_equal(first.blend.weights, second.blend.weights)
    scores = [honest_score(metric, r, 0).score for r in (plain, noisy)]
    assert scores[0] == scores[1]
    answers = cross_fitted(metric, noisy)
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
    (once more for its score) by each choice."""
    (metric, calls), rows = counting, multiclass_rows(members=members, parts=5)
    blends = methods(metric, members)
    assert not set(blends) & {"power", "hill-climbing", "cma-es"}
    choice = choose(metric, rows, 0)
    once = 51 * len(choice.table)
    assert calls[0] == once
    assert fit_chain(choice.chosen, metric, rows).constant == 0
    before = calls[0]
    assert before <= once + 4
    honest_score(metric, rows, 0)
    most = len(blends) + 4  # two of each choice's blends may be calibrated
    assert calls[0] - before <= 5 * 51 * most + 1001


def test_a_custom_metric_answers_rows_without_a_picture(counting):
    """Check that the honest score is that of the same named metric, constants included."""
    rows = replace(multiclass_rows(members=1), pictured=np.arange(120) % 4 != 0)
    mine, named = (honest_score(metric, rows, 0) for metric in (counting[0], ACCURACY))
    assert mine.score == pytest.approx(named.score) and mine.chosen == named.chosen


def reordered(rows: Rows, order: np.ndarray) -> Rows:
    groups = None if rows.groups is None else rows.groups[order]
    stack = Stack.of(rows.stack.dense()[:, order])
    return Rows(rows.labels[order], stack, rows.part[order], rows.keys[order], groups)


@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_order_of_rows_decides_nothing(parts, grouped):
    """Check choice, table and honest score of shuffled rows, whatever parts there are."""
    groups = np.array([f"g{i // 5}" for i in range(90)]) if grouped else None
    rows = multilabel_rows(parts=1, groups=groups)
    unit = np.arange(90) // 5 if grouped else np.arange(90)
    rows = replace(rows, part=unit % parts)
    order = np.random.default_rng(3).permutation(90)
    menu = Menu(("mean", "rank", "hill-climbing"), ("threshold", "global", "per-class"))
    first, again = (honest_score(MACRO, r, 0, menu) for r in (rows, reordered(rows, order)))
    assert first.chosen == again.chosen
    np.testing.assert_allclose((first.score, first.se), (again.score, again.se), rtol=1e-9)
    np.testing.assert_array_equal(first.answer[order], again.answer)
    tables = [choose(MACRO, r, 0, menu=menu).table for r in (rows, reordered(rows, order))]
    for one, other in zip(*tables, strict=True):
        assert one["honest"] == pytest.approx(other["honest"])
        assert one["gain_se"] == pytest.approx(other["gain_se"])


def test_many_rows_are_drawn_in_bundles(monkeypatch):
    """Check that bundles of many groups give the standard error of the groups themselves, and that
    a candidate's resamples do not depend on which others are scored beside it."""
    rows = multiclass_rows(n=3000)
    plain = honest_score(ACCURACY, rows, 0, Menu(("mean",), ("argmax",)))
    assert len(np.unique(rows.units)) == 3000
    monkeypatch.setattr("pipeline.ensemble.rows.BUNDLES", 500)
    assert len(np.unique(rows.units)) <= 500
    bundled = honest_score(ACCURACY, rows, 0, Menu(("mean",), ("argmax",)))
    assert bundled.score == plain.score and bundled.se == pytest.approx(plain.se, rel=0.15)
    few, many = (choose(ACCURACY, rows, 0, menu=Menu(names, ("argmax",))).table
                 for names in (("mean", "rank"), ("mean", "geometric", "rank")))  # fmt: skip
    by_name = {(line["blend"], line["calibration"]): line["gain_se"] for line in many}
    for line in few:
        assert line["gain_se"] == by_name[line["blend"], line["calibration"]]


def test_few_groups_are_parted_as_far_as_they_go():
    """Check that three groups make three parts, and that a single one is refused with a remedy."""
    groups = np.array([f"g{i % 3}" for i in range(60)])
    rows = multilabel_rows(n=60, parts=1, groups=groups).with_parts(0)
    assert len(np.unique(rows.part)) == 3
    lone = multilabel_rows(n=60, parts=1, groups=np.array(["g"] * 60))
    with pytest.raises(PodiumError, match=r"rows of one group .*make folds"):
        lone.with_parts(0)


def test_rules_that_need_calibration_are_tried_with_it():
    """Check that under a menu of such a rule alone every blend competes calibrated."""
    rows = shifted_rows()
    table = choose(MACRO, rows, 0, menu=Menu((), ("half-f",))).table
    half = [line for line in table if line["rule"] == "half-f"]
    assert {line["blend"] for line in half} == set(LEVELS)
    assert all(line["calibration"] != "none" for line in half if line["blend"] != "stacking")


def test_calibration_is_chosen_by_its_standard_error():
    """Check that probabilities that mean what they say are left alone, and shouted ones are not."""
    rng = np.random.default_rng(0)
    odds = rng.normal(size=(600, 4))
    y = (rng.random((600, 4)) < expit(odds)).astype(np.int8)
    calm, loud = (expit(scale * odds)[None].astype(np.float32) for scale in (1, 4))
    found = [
        {
            line["calibration"]
            for line in choose(MACRO, rows_of(y, one, np.arange(600) % 5), 0).table
        }
        for one in (calm, loud)
    ]
    assert found[0] == {"none"} and found[1] == {"none", "temperature"}
