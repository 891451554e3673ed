"""Ensembles on disk: made once, made again when a member changes, members of each other."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from pipeline.artifacts.predictions import Predictions
from pipeline.decisions.calibration import fit_calibration
from pipeline.ensemble.answers import load_answers
from pipeline.ensemble.blending.blend import Blend
from pipeline.ensemble.build import build_ensemble, open_decided
from pipeline.ensemble.choice import Menu
from pipeline.ensemble.members import load_members
from pipeline.ensemble.report import report_parts
from pipeline.ensemble.stack import Stack
from pipeline.errors import PodiumError

FEW = Menu(("mean", "hill-climbing"))  # what is tested here does not depend on how many compete


def build(tiny, *runs, name="", **options):
    return build_ensemble(
        tiny.data, tiny.folds(), list(runs) or None, name, **{"menu": FEW} | options
    )


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def score(tiny, folder, part="oof") -> float:
    """Return the accuracy of a stored part by scikit-learn."""
    stored = Predictions.load(folder / f"{part}.npz")
    labels = dict(zip(tiny.data.train.ids.tolist(), tiny.data.labels.tolist(), strict=True))
    truth = [labels[name] for name in stored.ids.tolist()]
    return accuracy_score(truth, stored.probs.argmax(axis=1))


def test_an_ensemble_is_made_once(make_tiny):
    """Check that the second call reports made=False and changes no byte."""
    tiny = make_tiny()
    tiny.fake_run("a")
    tiny.fake_run("b")
    first = build(tiny)
    assert first.made and first.name == "ensemble-all"
    there = ["answers.npz", "diagnostics.json", "ensemble.json", "oof.npz", "test.npz"]
    assert sorted(files(first.folder)) == there
    before = files(first.folder)
    second = build(tiny)
    assert not second.made and second.record == first.record
    assert files(first.folder) == before
    assert not build(tiny, "b", "a", name="all").made, "the order of RUNS does not count"


def test_a_changed_member_makes_it_anew(make_tiny):
    """Check that new predictions of a member, a lost output and an edited one are noticed."""
    tiny = make_tiny()
    tiny.fake_run("a")
    tiny.fake_run("b")
    made = build(tiny)
    before = files(made.folder)
    (made.folder / "test.npz").unlink()
    assert build(tiny).made and files(made.folder)["test.npz"] == before["test.npz"]
    (made.folder / "answers.npz").write_bytes(b"x")
    assert build(tiny).made and files(made.folder)["answers.npz"] == before["answers.npz"]
    (made.folder / "oof.npz").write_bytes(b"x")
    assert build(tiny).made and files(made.folder)["oof.npz"] == before["oof.npz"]
    tiny.fake_run("b", skill=3)
    assert build(tiny).made and files(made.folder)["oof.npz"] != before["oof.npz"]
    tiny.fake_run("c")
    assert build(tiny).made, "another member is another ensemble"


def test_what_was_replaced_is_told(make_tiny):
    """Check that an ensemble of other members in the place of one is told with its honest score,
    and neither the same members anew nor a broken record is."""
    tiny = make_tiny()
    for name in ("a", "b"):
        tiny.fake_run(name)
    first = build(tiny, name="best")
    assert first.replaced == build(tiny, "a", "b", name="best").replaced == ""
    tiny.fake_run("b", skill=3)
    anew = build(tiny, "a", "b", name="best")
    assert (anew.made, anew.replaced) == (True, "")
    other = build(tiny, "a", name="best")
    was = anew.record
    expected = f"{was['blend']} of a, b, honest {was['honest']:.4f} ± {was['honest_se']:.4f}"
    assert other.replaced == expected
    assert f"in the place of {expected}; another NAME= would" in "\n".join(
        map(str, report_parts(other))
    )
    (other.folder / "ensemble.json").write_text("{")
    assert build(tiny, "a", "b", name="best").replaced == ""


def test_another_metric_makes_it_anew(make_tiny):
    """Check that the rule is fitted again where the competition's metric changed."""
    tiny = make_tiny()
    tiny.fake_run("a")
    build(tiny)
    tiny.configure(metric="f1_macro")
    again = build(tiny)
    assert again.made and again.record["metric"] == "f1_macro"


def test_an_ensemble_on_labels_of_yesterday_is_refused(make_tiny):
    """Check that a corrected label shuts out members asked for by name, as it does all others."""
    tiny = make_tiny()
    tiny.fake_run("a")
    build(tiny, "a", name="x")
    tiny.edit("train", lambda frame: frame.assign(label=["yak", *frame["label"][1:]]))
    with pytest.raises(PodiumError, match="other labels"):
        build(tiny, "a", name="x")


def test_the_record_of_one_run(make_tiny):
    """Check scores of a single run against scikit-learn, and that its chain is written once."""
    tiny = make_tiny()
    folder = tiny.fake_run("a")
    decided = open_decided(tiny.data, tiny.folds(), "a")
    assert decided.made and (folder / "chain.json").exists()
    assert decided.record["in_sample"] == pytest.approx(score(tiny, folder))
    assert decided.record["honest"] == pytest.approx(score(tiny, folder)), "argmax fits nothing"
    assert decided.record["blend"] == "mean" and decided.rule.kind == "argmax"
    before = files(folder)
    assert not open_decided(tiny.data, tiny.folds(), "a").made and files(folder) == before


def test_the_record_of_an_ensemble(make_tiny):
    """Check members, weights, counts and the mean of a plain ensemble against its files."""
    tiny = make_tiny()
    for name in ("a", "b"):
        tiny.fake_run(name, skill=2, seconds=4.0)
    made = build(tiny, menu=replace(FEW, calibrations=("none",)))
    record = json.loads((made.folder / "ensemble.json").read_text())
    assert [member["name"] for member in record["members"]] == ["a", "b"]
    assert sum(member["weight"] for member in record["members"]) == pytest.approx(1)
    assert record["seconds"] == 8 and record["complete"] and record["folds_hash"]
    assert (record["blend"], record["rule"]["kind"]) == ("mean", "argmax")
    for part in ("oof", "test"):
        parts = [Predictions.load(tiny.run(name) / f"{part}.npz").probs for name in ("a", "b")]
        got = Predictions.load(made.folder / f"{part}.npz")
        np.testing.assert_allclose(got.probs, np.mean(parts, axis=0), atol=1e-6)
        assert got.meta["members"] == ["a", "b"] and got.meta["part"] == part
    assert record["in_sample"] == record["honest"] == pytest.approx(score(tiny, made.folder))
    assert len(record["chosen_per_part"]) == 5 and record["honest_se"] > 0
    names = [(c["blend"], c["rule"]) for c in record["candidates"]]
    assert names[0] == ("mean", "argmax") and ("hill-climbing", "argmax") in names
    low, high = record["honest_interval"]
    assert low < record["honest"] < high


def test_an_ensemble_can_be_a_member(make_tiny):
    """Check that an ensemble joins another by name, and is never a member by itself."""
    tiny = make_tiny()
    for name in ("a", "b", "c"):
        tiny.fake_run(name)
    inner = build(tiny, "a", "b", name="inner")
    outer = build(tiny, inner.name, "c", name="outer")
    assert [member["name"] for member in outer.record["members"]] == ["c", "ensemble-inner"]
    np.testing.assert_array_equal(
        [member["seconds"] for member in outer.record["members"]], [1.0, 2.0]
    )
    everything = build(tiny)
    assert [member["name"] for member in everything.record["members"]] == ["a", "b", "c"]
    tiny.fake_run("a", skill=3)
    assert build(tiny, "a", "b", name="inner").made
    assert build(tiny, inner.name, "c", name="outer").made


def test_a_local_test_split_is_scored_apart(make_tiny):
    """Check that rows kept apart get predictions and a score of their own, in no other part."""
    tiny = make_tiny(rows=60)
    folds = tiny.folds(n_folds=3, test=0.2)
    assert len(folds.test_rows) == 12
    tiny.fake_run("a")
    tiny.fake_run("b")
    made = build(tiny)
    oof, apart = (Predictions.load(made.folder / f"{part}.npz") for part in ("oof", "local-test"))
    assert set(apart.ids) == set(tiny.data.train.ids[folds.test_rows])
    assert len(oof.ids) == 48 and not set(oof.ids) & set(apart.ids)
    assert made.rule.kind == "argmax"
    assert made.record["local_test_score"] == score(tiny, made.folder, "local-test")
    assert set(made.record["outputs"]) == {"oof.npz", "test.npz", "local-test.npz"}
    assert not build(tiny).made


def test_a_hold_out_is_blended_on_its_validated_rows(make_tiny):
    """Check that out of one fold, its rows alone are blended, in five parts."""
    tiny = make_tiny(rows=60)
    tiny.folds(n_folds=1, holdout=0.5)
    tiny.fake_run("a")
    tiny.fake_run("b")
    made = build(tiny)
    assert len(Predictions.load(made.folder / "oof.npz").ids) == 30
    assert len(made.record["chosen_per_part"]) == 5 and made.record["local_test_score"] is None


def test_rates_that_differ_are_warned_of(make_tiny):
    """Check that a test set answered with one class alone leads to a warning in the record."""
    tiny = make_tiny(rows=90, test=60)
    one_class = np.tile([0.8, 0.1, 0.1], (60, 1))
    tiny.fake_run("a", skill=5, probs={"test": one_class})
    warned = build(tiny).record["warnings"]
    assert any("class cat" in sentence for sentence in warned)
    tiny.fake_run("a", skill=5)
    assert build(tiny).record["warnings"] == []


def test_names(make_tiny):
    """Check names: given, by members, with the prefix once; and that a run's name is refused."""
    tiny = make_tiny()
    tiny.fake_run("a")
    tiny.fake_run("b")
    assert build(tiny, "a", name="x").name == build(tiny, "a", name="ensemble-x").name
    named = build(tiny, "a", "b").name
    assert named == build(tiny, "b", "a").name != build(tiny, "a").name
    for name in ("../x", "a/b", "x y"):
        with pytest.raises(PodiumError, match="not a usable name"):
            build(tiny, "a", name=name)
    tiny.fake_run("ensemble-run")
    with pytest.raises(PodiumError, match="is a run"):
        build(tiny, "a", name="run")
    with pytest.raises(PodiumError, match="holds ensemble-x itself"):
        build(tiny, "a", "ensemble-x", name="x")
    build(tiny, "ensemble-x", "b", name="y")
    with pytest.raises(PodiumError, match="ensemble-y holds ensemble-x itself"):
        build(tiny, "a", "ensemble-y", name="x")


def test_nothing_to_blend(make_tiny):
    """Check that without a finished run the error says what to type, and why each is left out."""
    tiny = make_tiny()
    with pytest.raises(PodiumError, match="make train COMP=tiny"):
        build(tiny)
    tiny.fake_run("small", limited=True)
    with pytest.raises(PodiumError, match="small: a smoke run"):
        build(tiny)
    assert not (tiny.run("a").parent / "ensemble-all").exists()


def test_a_run_left_out_is_said(make_tiny):
    """Check that runs that cannot join are reported with their reasons beside the ensemble."""
    tiny = make_tiny()
    tiny.fake_run("a")
    tiny.fake_run("small", limited=True)
    made = build(tiny)
    assert list(made.left_out) == ["small"] and "LIMIT" in made.left_out["small"]
    assert [member["name"] for member in made.record["members"]] == ["a"]


def test_test_predictions_must_be_those_of_the_rule(make_tiny):
    """Check that a test file changed after the rule was fitted is not submitted."""
    tiny = make_tiny()
    tiny.fake_run("a")
    made = build(tiny)
    expected = Predictions.load(made.folder / "test.npz").rows(tiny.data.test.ids).probs
    np.testing.assert_array_equal(made.test_probs(tiny.data, tiny.folds()), expected)
    stored = Predictions.load(made.folder / "test.npz")
    stored.rows(stored.ids[::-1]).save(made.folder / "test.npz")
    with pytest.raises(PodiumError, match="changed since"):
        open_decided(tiny.data, tiny.folds(), made.name).test_probs(tiny.data, tiny.folds())


def test_an_ensemble_on_other_folds_is_not_opened(make_tiny):
    """Check that new folds shut out the ensembles made on the old ones."""
    tiny = make_tiny()
    tiny.fake_run("a")
    made = build(tiny)
    folds = tiny.folds(seed=7, fresh=True)
    with pytest.raises(PodiumError, match="other folds"):
        open_decided(tiny.data, folds, made.name)


def test_a_metric_may_be_spelt_in_two_ways(make_tiny):
    """Check that an ensemble made for f1.0_macro, whose usual name is f1_macro, can be opened."""
    tiny = make_tiny(metric="f1.0_macro")
    tiny.fake_run("a")
    made = build(tiny, "a", name="x")
    assert made.record["metric"] == "f1_macro"
    assert open_decided(tiny.data, tiny.folds(), made.name).record == made.record


def test_another_menu_makes_it_anew(make_tiny):
    """Check that BLEND and RULE belong to what an ensemble was made of."""
    tiny = make_tiny()
    tiny.fake_run("a")
    tiny.fake_run("b")
    build(tiny)
    only = build(tiny, menu=Menu(("rank",), ("argmax",)))
    assert only.made and only.record["blend"] == "rank"
    assert not build(tiny, menu=Menu(("rank",), ("argmax",))).made


def test_the_honest_answers_are_kept(make_tiny):
    """Check that answers.npz holds what the honest score scores, in the order of the rows."""
    tiny = make_tiny(rows=60)
    tiny.fake_run("a")
    tiny.fake_run("b")
    made = build(tiny)
    answers = load_answers(made, tiny.data, tiny.folds())
    assert accuracy_score(tiny.data.labels, answers) == pytest.approx(made.record["honest"])


def with_fold_models(tiny, name: str, seed: int = 0, skill: float = 6.0) -> list[np.ndarray]:
    """Write a run whose test probabilities are the mean of its fold models', and return these."""
    folds = tiny.folds()
    rng = np.random.default_rng(seed)
    models = rng.dirichlet(np.ones(3), (len(folds.numbers), len(tiny.data.test)))
    folder = tiny.fake_run(name, skill=skill, probs={"test": models.mean(axis=0)})
    stored = Predictions.load(folder / "test.npz")
    for number, probs in zip(folds.numbers, models, strict=True):
        (folder / f"fold-{number}").mkdir(exist_ok=True)
        logits = np.log(probs).astype(np.float32)
        one = Predictions(tiny.data.test.ids, stored.classes, logits, probs, stored.meta)
        one.save(folder / f"fold-{number}" / "test.npz")
    return list(models.astype(np.float32))


def test_each_fold_model_is_calibrated_before_the_mean(make_tiny):
    """Check test probabilities of a calibrated run: the mean over folds of the calibrated ones,
    which differs from the calibrated mean; and that a lost fold model is not passed over."""
    tiny = make_tiny(rows=90, metric="log_loss")
    folds, found = tiny.folds(), with_fold_models(tiny, "a")
    member = load_members(tiny.data, folds, ["a"])[0]
    np.testing.assert_allclose(member.fold_models("test"), found)
    decided = open_decided(tiny.data, folds, "a")
    calibration = fit_calibration(
        "temperature", "multiclass", tiny.data.labels, member.probs["oof"]
    )
    record = decided.record | {"calibration": calibration.to_json(), "fold_models": len(found)}
    decided = replace(decided, record=record)
    expected = np.mean([calibration.apply(one) for one in found], axis=0)
    got = decided.test_probs(tiny.data, folds)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert np.abs(got - calibration.apply(member.probs["test"])).max() > 1e-3
    (decided.folder / "fold-0" / "test.npz").unlink()
    with pytest.raises(PodiumError, match="fitted for 5 fold models, 1 have"):
        decided.test_probs(tiny.data, folds)


@pytest.mark.parametrize("method", ["tempered", "stacking", "geometric", "hill-climbing"])
def test_each_fold_model_is_blended_before_the_mean(make_tiny, method):
    """Check an ensemble's test probabilities against blends of fold models, averaged last."""
    tiny = make_tiny(rows=90)
    models = [with_fold_models(tiny, name, seed) for seed, name in enumerate(("a", "b"))]
    made = build(tiny, menu=Menu((method,), ("argmax",), ("none",)))
    blend = Blend.from_json(method, "multiclass", made.record["blend_values"])
    each = [blend.apply(Stack.of(pair)) for pair in zip(*models, strict=True)]
    got = Predictions.load(made.folder / "test.npz").probs
    np.testing.assert_allclose(got, np.mean(each, axis=0), atol=1e-6)


def test_a_lost_file_beside_the_record_is_made_again(make_tiny):
    """Check that missing or broken diagnostics and answers are made again, not complained of."""
    tiny = make_tiny()
    tiny.fake_run("a")
    tiny.fake_run("b")
    made = build(tiny)
    before = files(made.folder)
    for name in ("diagnostics.json", "answers.npz"):
        (made.folder / name).write_text("{")
        assert build(tiny).made and files(made.folder)[name] == before[name]
        (made.folder / name).unlink()
        assert build(tiny).made and files(made.folder)[name] == before[name]


def test_an_ensemble_whose_member_was_deleted_still_joins(make_tiny):
    """Check that only its own predictions are needed."""
    tiny = make_tiny()
    for name in ("a", "b", "c"):
        tiny.fake_run(name)
    inner = build(tiny, "a", "b", name="inner")
    shutil.rmtree(tiny.run("a"))
    outer = build(tiny, inner.name, "c", name="outer")
    assert [member["name"] for member in outer.record["members"]] == ["c", "ensemble-inner"]


def test_mixed_folds_are_asked_for_each_time(make_tiny):
    """Check that an ensemble of mixed folds is not taken for one that was asked for without."""
    tiny = make_tiny(rows=60)
    tiny.folds(seed=5)
    tiny.fake_run("other")
    tiny.folds(seed=0, fresh=True)
    tiny.fake_run("a")
    build(tiny, "a", "other", mixed=True, name="x")
    assert not build(tiny, "a", "other", mixed=True, name="x").made
    with pytest.raises(PodiumError, match="other folds"):
        build(tiny, "a", "other", name="x")


def test_mixed_folds_have_no_honest_score(make_tiny):
    """Check that runs of other folds join only when asked, and that the record then says so."""
    tiny = make_tiny(rows=60)
    tiny.folds(seed=5)
    tiny.fake_run("other")
    tiny.folds(seed=0, fresh=True)
    tiny.fake_run("a")
    with pytest.raises(PodiumError, match="other folds"):
        build(tiny, "a", "other")
    made = build(tiny, "a", "other", mixed=True)
    assert made.record["honest"] is None and made.record["mixed"]
    assert [member["name"] for member in made.record["members"]] == ["a", "other"]
    parts = report_parts(made)
    assert any("n/a (mixed folds)" in part for part in parts if isinstance(part, str))
