"""Who can join an ensemble: aligned by id and class name, averaged over seeds, refused by name."""

import json

import numpy as np
import pytest

from pipeline.artifacts.predictions import Predictions, logits_of, probabilities
from pipeline.ensemble.members import copies, list_runs, load_members, usable_runs
from pipeline.errors import PodiumError


def load(tiny, *names):
    return load_members(tiny.data, tiny.folds(), list(names))


def change(path, **arrays) -> None:
    """Replace arrays of a prediction file, as a stranger would."""
    with np.load(path, allow_pickle=False) as stored:
        content = {name: stored[name] for name in stored.files}
    np.savez(path, **{**content, **arrays})


def change_meta(path, **keys) -> None:
    with np.load(path, allow_pickle=False) as stored:
        meta = json.loads(str(stored["meta"]))
    change(path, meta=np.array(json.dumps({**meta, **keys})))


def refusal(tiny, *names) -> str:
    with pytest.raises(PodiumError) as refused:
        load(tiny, *names)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_members_are_aligned_by_id_and_class(make_tiny):
    """Check that files in another order of rows and columns give the same arrays."""
    tiny = make_tiny()
    folder = tiny.fake_run("a")
    before = load(tiny, "a")[0].probs
    rng = np.random.default_rng(0)
    for part in ("oof", "test"):
        stored = Predictions.load(folder / f"{part}.npz")
        order = rng.permutation(len(stored.ids))
        mixed = stored.rows(stored.ids[order]).with_classes(["owl", "cat", "dog"])
        mixed.save(folder / f"{part}.npz")
        assert not np.array_equal(mixed.probs, stored.probs)
    after = load(tiny, "a")[0].probs
    for part in ("oof", "test"):
        np.testing.assert_array_equal(after[part], before[part])
    assert set(after) == {"oof", "test"}


def test_seeds_of_one_recipe_are_one_member(make_tiny):
    """Check that runs that share the recipe but the seed are averaged, and others are not."""
    tiny = make_tiny()
    for name, recipe in {"a": "r", "a-s1": "r", "a-s2": "r", "b": "other"}.items():
        tiny.fake_run(name, seedless_hash=recipe, seconds=2.0)
    members = load(tiny, "a", "b", "a-s1", "a-s2")
    assert [member.name for member in members] == ["a+a-s1+a-s2", "b"]
    assert members[0].runs == ("a", "a-s1", "a-s2") and members[0].seconds == 6
    for part in ("oof", "test"):
        files = [Predictions.load(tiny.run(n) / f"{part}.npz") for n in ("a", "a-s1", "a-s2")]
        expected = np.mean([one.probs.astype(float) for one in files], axis=0)
        np.testing.assert_allclose(members[0].probs[part], expected, atol=1e-7)


REASONS = {
    "limited": ({"limited": True}, "LIMIT"),
    "folds": ({"folds_hash": "0123"}, "other folds (0123"),
    "labels": ({"data_hash": "0123"}, "other labels or ids"),
    "incomplete": ({"complete": False, "folds": {"0": {}, "2": {}}}, "missing folds: 1, 3, 4"),
}


@pytest.mark.parametrize("kind", REASONS)
def test_a_run_that_does_not_fit_is_refused_or_left_out(make_tiny, kind):
    """Check that a run asked for by name is refused, and one among all is left out, with why."""
    record, words = REASONS[kind]
    tiny = make_tiny()
    tiny.fake_run("good")
    tiny.fake_run("odd", **record)
    text = refusal(tiny, "good", "odd")
    assert "odd" in text and words in text
    usable, left = usable_runs(tiny.data, tiny.folds())
    assert usable == ["good"] and list(left) == ["odd"] and words in left["odd"]


def test_a_corrected_label_shuts_out_the_runs_before_it(make_tiny):
    """Check that runs are left out once the training table has another label."""
    tiny = make_tiny()
    tiny.fake_run("a")
    assert usable_runs(tiny.data, tiny.folds())[0] == ["a"]
    tiny.edit("train", lambda frame: frame.assign(label=["yak", *frame["label"][1:]]))
    assert usable_runs(tiny.data, tiny.folds()) == ([], {"a": "trained on other labels or ids"})


@pytest.mark.parametrize("part", ["oof", "test"])
def test_a_foreign_id_is_refused(make_tiny, part):
    """Check that a file with a row of another table is named with the id."""
    tiny = make_tiny()
    path = tiny.fake_run("a") / f"{part}.npz"
    ids = Predictions.load(path).ids.copy()
    ids[3] = "ufo"
    change(path, ids=ids)
    text = refusal(tiny, "a")
    assert f"{part}.npz" in text and "'ufo'" in text


@pytest.mark.parametrize("part", ["oof", "test"])
def test_a_missing_id_is_refused(make_tiny, part):
    """Check that a file that lacks rows is named with the first of them."""
    tiny = make_tiny()
    path = tiny.fake_run("a") / f"{part}.npz"
    stored = Predictions.load(path)
    stored.rows(stored.ids[1:]).save(path)
    text = refusal(tiny, "a")
    assert f"{part}.npz" in text and f"first {str(stored.ids[0])!r}" in text


def test_other_faults_of_a_file_are_refused(make_tiny):
    """Check NaN, foreign classes, foreign folds and a missing file, each naming the file."""
    tiny = make_tiny()
    faults = {
        "nan": lambda path: change(path, probs=np.full((42, 3), np.nan, "f4")),
        "classes differ": lambda path: change(path, classes=np.array(["cat", "dog", "yak"])),
        "folds_hash is beef": lambda path: change_meta(path, folds_hash="beef"),
        "no such file": lambda path: path.unlink(),
    }
    for words, harm in faults.items():
        path = tiny.fake_run("a") / "oof.npz"
        harm(path)
        text = refusal(tiny, "a")
        assert str(path) in text and words in text


def test_runs_are_found_by_their_records(make_tiny):
    """Check that folders without a record, hidden folders and files are not runs."""
    tiny = make_tiny()
    assert list_runs(tiny.data) == []
    for name in ("b", "a"):
        tiny.fake_run(name)
    folder = tiny.run("a").parent
    for name in ("empty", ".locks"):
        (folder / name).mkdir()
    (folder / ".locks" / "run.json").write_text("{}")
    (folder / "report.html").write_text("")
    assert list_runs(tiny.data) == ["a", "b"]


def test_an_unknown_run_names_the_nearest(make_tiny):
    """Check that a run that is not there is refused with the nearest, or with all there are."""
    tiny = make_tiny()
    tiny.fake_run("densenet-baseline")
    assert "did you mean densenet-baseline" in refusal(tiny, "densnet-baseline")
    assert "there are: densenet-baseline" in refusal(tiny, "zzz")


def test_case_alone_is_the_nearest(make_tiny):
    """Check that a name that differs in case alone is the one that is meant."""
    tiny = make_tiny()
    for name in ("m0", "m00", "n1"):
        tiny.fake_run(name)
    assert "is not a run (did you mean m0?)" in refusal(tiny, "M0")


@pytest.mark.parametrize("content", ["[]", "{}", '{"competition": "other"}', "{"])
def test_a_foreign_record_is_refused(make_tiny, content):
    """Check that a run.json of another competition, or of nothing, names the file."""
    tiny = make_tiny()
    path = tiny.fake_run("a") / "run.json"
    path.write_text(content)
    assert str(path) in refusal(tiny, "a")


@pytest.mark.parametrize("content", ["[]", "{}", '{"competition": "other"}', "{", ""])
def test_a_broken_record_stops_nobody_else(make_tiny, content):
    """Check that one of a run or of an ensemble that nobody asked for is left out, with its file
    and a remedy of its kind."""
    tiny = make_tiny()
    for name in ("good", "odd", "ensemble-x"):
        tiny.fake_run(name)
    (tiny.run("odd") / "run.json").write_text(content)
    (tiny.run("ensemble-x") / "run.json").unlink()
    (tiny.run("ensemble-x") / "ensemble.json").write_text(content)
    usable, left = usable_runs(tiny.data, tiny.folds())
    assert usable == ["good"] and sorted(left) == ["ensemble-x", "odd"]
    assert "odd/run.json" in left["odd"] and "delete its folder" in left["odd"]
    assert "ensemble-x/ensemble.json" in left["ensemble-x"]
    assert "make ensemble NAME=ensemble-x again" in left["ensemble-x"]
    assert "delete" not in left["ensemble-x"] and "train" not in left["ensemble-x"]


def test_only_what_can_be_finished_is_to_be_finished(make_tiny):
    """Check that a run that lacks folds is told so, and one of a smoke run is not."""
    tiny = make_tiny()
    tiny.fake_run("part", complete=False, folds={"0": {}})
    tiny.fake_run("smoke", limited=True)
    assert refusal(tiny, "part").endswith("leave it out, or finish it")
    assert refusal(tiny, "smoke").endswith("leave it out")


def test_a_collapsed_run_joins_only_when_named(make_tiny):
    """Check that a run of which a fold collapsed is left out by default, with the reason."""
    tiny = make_tiny()
    tiny.fake_run("good")
    stop = {"kind": "collapsed", "said": "collapsed: ..."}
    folds = {str(k): {"fold": k, "score": 0.3, "stopped": None} for k in tiny.folds().numbers}
    tiny.fake_run("bad", folds=folds | {"1": folds["1"] | {"stopped": stop}})
    usable, left = usable_runs(tiny.data, tiny.folds())
    assert usable == ["good"] and "collapsed to one answer" in left["bad"]
    assert [member.name for member in load(tiny, "bad")] == ["bad"]


def test_what_is_in_order_stays_on_disk(make_tiny):
    """Check that arrays in the order of the tables are maps of the files, and others are not."""
    tiny = make_tiny()
    folder = tiny.fake_run("a")
    stored = Predictions.load(folder / "test.npz")
    stored.rows(stored.ids[::-1]).save(folder / "test.npz")
    probs = load(tiny, "a")[0].probs
    assert isinstance(probs["oof"], np.memmap) and probs["oof"].filename == folder / "oof.npz"
    assert getattr(probs["test"], "filename", None) is None
    np.testing.assert_array_equal(probs["test"], stored.probs)


def test_copies_count_once(make_tiny):
    """Check that a run with another's numbers, in any order, is left out with a warning, whichever
    comes first, and that one with the same oof alone is not."""
    tiny = make_tiny()
    tiny.fake_run("b")
    source = {
        part: Predictions.load(tiny.run("b") / f"{part}.npz").probs for part in ("oof", "test")
    }
    tiny.fake_run("a", probs=source)
    tiny.fake_run("c", probs={"oof": source["oof"]})
    tiny.fake_run("d", probs=source, seedless_hash="s")
    mixed = Predictions.load(tiny.run("d") / "oof.npz")
    mixed.rows(mixed.ids[::-1]).save(tiny.run("d") / "oof.npz")
    for names in (["a", "b", "c", "d"], ["d", "c", "b", "a"]):
        members = {member.name: member for member in load(tiny, *names)}
        assert sorted(members) == ["a", "c"]
        said = ["b is a copy of a: counted once", "d is a copy of a: counted once"]
        assert sorted(members["a"].warnings) == said and members["c"].warnings == ()
    assert copies(list(members.values())) == {}
    one = [load(tiny, name)[0] for name in ("d", "c", "b", "a")]
    assert copies(one) == {"b": "a", "d": "a"}


def test_a_copy_but_for_one_value_is_none(make_tiny):
    """Check that two members that differ in a single row, wherever it is, both count."""
    tiny = make_tiny(rows=600)
    tiny.fake_run("a")
    source = {
        part: Predictions.load(tiny.run("a") / f"{part}.npz").probs for part in ("oof", "test")
    }
    for row in (0, 1, 313, 599):
        source["oof"] = Predictions.load(tiny.run("a") / "oof.npz").probs.copy()
        source["oof"][row] = source["oof"][row][[1, 0, 2]]
        tiny.fake_run("b", probs=source)
        assert len(load(tiny, "a", "b")) == 2


def other_folds(tiny, name: str, **record) -> None:
    """Write a run on folds with another seed."""
    path = tiny.project.folds("tiny")
    kept = {file: file.read_bytes() for file in path.parent.glob("tiny.*")}
    tiny.folds(seed=7, fresh=True, **record.pop("plan", {}))
    tiny.fake_run(name, **record)
    for file, content in kept.items():
        file.write_bytes(content)


def test_runs_on_other_folds_join_only_as_mixed(make_tiny):
    """Check that they are refused or left out, and under mixed=True aligned like any other."""
    tiny = make_tiny()
    tiny.folds()
    other_folds(tiny, "b")
    tiny.fake_run("a")
    assert "other folds" in refusal(tiny, "a", "b")
    assert usable_runs(tiny.data, tiny.folds(), mixed=True) == (["a", "b"], {})
    members = load_members(tiny.data, tiny.folds(), ["a", "b"], mixed=True)
    assert [(member.name, member.mixed) for member in members] == [("a", False), ("b", True)]
    stored = Predictions.load(tiny.run("b") / "oof.npz")
    np.testing.assert_array_equal(members[1].probs["oof"], stored.probs)


def test_seeds_on_other_folds_are_a_member_of_their_own(make_tiny):
    """Check that a mixed run is not averaged into one of the shared folds."""
    tiny = make_tiny()
    tiny.folds()
    other_folds(tiny, "b", seedless_hash="r")
    for name in ("a", "c"):
        tiny.fake_run(name, seedless_hash="r")
    members = load_members(tiny.data, tiny.folds(), ["a", "b", "c"], mixed=True)
    assert [(member.runs, member.mixed) for member in members] == [
        (("a", "c"), False),
        (("b",), True),
    ]


def test_a_mixed_run_must_have_every_validated_row(make_tiny):
    """Check that a row of the other run's local test split is taken from there, and that a hold-out
    run, which lacks rows, is left out with the reason."""
    tiny = make_tiny()
    tiny.folds()
    other_folds(tiny, "split", plan={"test": 0.2})
    other_folds(tiny, "held", plan={"n_folds": 1, "holdout": 0.3})
    usable, left = usable_runs(tiny.data, tiny.folds(), mixed=True)
    assert usable == ["split"] and "no prediction for" in left["held"]
    (member,) = load_members(tiny.data, tiny.folds(), ["split"], mixed=True)
    files = [Predictions.load(tiny.run("split") / f"{p}.npz") for p in ("oof", "local-test")]
    rows = {name: row for one in files for name, row in zip(one.ids, one.probs, strict=True)}
    expected = np.stack([rows[name] for name in tiny.data.train.ids])
    np.testing.assert_array_equal(member.probs["oof"], expected)


def test_an_ensemble_of_mixed_folds_stays_mixed(make_tiny):
    """Check that such an ensemble joins another only where mixed folds are allowed again."""
    tiny = make_tiny()
    tiny.fake_run("a", members=[], mixed=True)
    assert "MIXED_FOLDS=1" in refusal(tiny, "a")
    (member,) = load_members(tiny.data, tiny.folds(), ["a"], mixed=True)
    assert member.mixed and member.fold_models("test") is None


def with_fold_tests(tiny, name: str, *, logits=False, **record) -> np.ndarray:
    """Write a run and what each of its fold models predicts, in an order of rows of its own; return
    the latter (folds, n, c) in the table's order."""
    rng = np.random.default_rng(len(name))
    ids, numbers = tiny.data.test.ids, tiny.folds().numbers
    values = rng.normal(size=(len(numbers), len(ids), 3)).astype(np.float32)
    models = np.stack([probabilities(one, "multiclass") for one in values])
    folder = tiny.fake_run(name, probs={"test": models.mean(axis=0)}, **record)
    for k, probs in zip(numbers, models, strict=True):
        stated = np.full_like(probs, 1 / 3) if logits else probs
        order = rng.permutation(len(ids))
        made = Predictions(ids, np.array(tiny.data.classes), values[k], stated, {"fold": k})
        made.rows(ids[order]).save(folder / f"fold-{k}" / "test.npz")
    return models


def test_fold_models_are_told_apart(make_tiny):
    """Check that each fold model's test rows come in the table's order, averaged over seeds."""
    tiny = make_tiny()
    first = with_fold_tests(tiny, "a", seedless_hash="r")
    second = with_fold_tests(tiny, "a-s1", seedless_hash="r")
    alone = load(tiny, "a")[0].fold_models("test")
    np.testing.assert_array_equal(np.stack(alone), first)
    both = load(tiny, "a", "a-s1")[0]
    np.testing.assert_allclose(both.fold_models("test"), (first + second) / 2, atol=1e-7)
    np.testing.assert_allclose(
        np.mean(both.fold_models("test"), axis=0), both.probs["test"], atol=1e-6
    )


def test_fold_models_whose_views_average_logits(make_tiny):
    """Check that they are read from the logits where the run's record says so."""
    tiny = make_tiny()
    models = with_fold_tests(tiny, "a", logits=True, views={"average": "logits"})
    np.testing.assert_array_equal(np.stack(load(tiny, "a")[0].fold_models("test")), models)


@pytest.mark.parametrize("kind", ["no files", "one missing", "another mean", "refit"])
def test_fold_models_that_do_not_make_the_run_are_none(make_tiny, kind):
    """Check that a missing file, another mean or a refit gives None, for a pair of seeds too."""
    tiny = make_tiny()
    if kind == "no files":
        tiny.fake_run("a", seedless_hash="r")
    elif kind == "refit":
        with_fold_tests(tiny, "a", seedless_hash="r", folds={"refit": {"fold": 5}})
    else:
        with_fold_tests(tiny, "a", seedless_hash="r")
    path = tiny.run("a") / "fold-2" / "test.npz"
    if kind == "one missing":
        path.unlink()
    elif kind == "another mean":
        stored = Predictions.load(path)
        changed = stored.probs[:, [1, 2, 0]]
        logits = logits_of(changed, "multiclass")
        Predictions(stored.ids, stored.classes, logits, changed, stored.meta).save(path)
    with_fold_tests(tiny, "a-s1", seedless_hash="r")
    assert load(tiny, "a")[0].fold_models("test") is None
    assert load(tiny, "a", "a-s1")[0].fold_models("test") is None
