"""Who can join an ensemble: aligned by id and class name, averaged over seeds, refused by name."""

import json

import numpy as np
import pytest

from pipeline.artifacts.predictions import Predictions
from pipeline.ensemble.members import list_runs, load_members, usable_runs
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


@pytest.mark.parametrize("content", ["[]", "{}", '{"competition": "other"}', "{"])
def test_a_foreign_record_is_refused(make_tiny, content):
    """Check that a run.json of another competition, or of nothing, names the file."""
    tiny = make_tiny()
    path = tiny.fake_run("a") / "run.json"
    path.write_text(content)
    assert str(path) in refusal(tiny, "a")


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
