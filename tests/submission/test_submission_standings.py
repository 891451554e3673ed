"""Where we stand, when one run of several cannot be shown, and what cannot be submitted."""

import json
import shutil

import pytest
import yaml

from pipeline.artifacts.files import write_json
from pipeline.competition import load_data
from pipeline.ensemble.build import build_ensemble
from pipeline.ensemble.choice import Menu
from pipeline.errors import PodiumError
from pipeline.submission import set_score
from pipeline.submission.standings import newest_ensemble, standings, submit


@pytest.fixture
def ranked(make_tiny):
    """The tiny competition with runs a and b, and an ensemble of both."""
    tiny = make_tiny()
    tiny.fake_run("a")
    tiny.fake_run("b", skill=2.0)
    build_ensemble(tiny.data, tiny.folds(), None, menu=Menu(("mean", "hill-climbing")))
    return tiny


def shown(tiny) -> tuple[set[str], dict[str, str]]:
    found, left = standings(tiny.data, tiny.folds())
    return {standing.name for standing in found}, left


def test_one_stale_ensemble_does_not_hide_the_others(ranked):
    """Check that an ensemble of a member that was made anew is left out by name and reason."""
    assert shown(ranked) == ({"a", "b", "ensemble-all"}, {})
    ranked.fake_run("b", skill=3.0)
    names, left = shown(ranked)
    assert names == {"a", "b"} and list(left) == ["ensemble-all"]
    assert "its member b was made anew; make ensemble again" in left["ensemble-all"]


@pytest.mark.parametrize("broken", ["run.json", "oof.npz", "test.npz"])
def test_one_broken_run_does_not_hide_the_others(ranked, broken):
    """Check the same of a run whose record or predictions cannot be read."""
    shutil.rmtree(ranked.run("ensemble-all"))
    (ranked.run("a") / broken).write_bytes(b"{")
    names, left = shown(ranked)
    assert names == {"b"} and list(left) == ["a"] and broken in left["a"]


def test_where_no_run_can_be_shown_the_reason_is_an_error(ranked):
    """Check that the first error is raised where it leaves nothing, finished or not, to show."""
    for name in ("a", "b", "ensemble-all"):
        for path in ranked.run(name).glob("*.json"):
            path.write_text("{")
    with pytest.raises(PodiumError, match=r"a/run\.json: not valid JSON"):
        shown(ranked)
    path = ranked.fake_run("b") / "run.json"
    write_json(path, json.loads(path.read_text()) | {"limited": True})
    with pytest.raises(PodiumError, match=r"a/run\.json: not valid JSON"):
        shown(ranked)


def test_without_an_ensemble_no_verb_is_named(make_tiny):
    """Check the words, which predict and submit share."""
    tiny = make_tiny()
    tiny.fake_run("a")
    words = "^FROM: tiny has no ensemble yet; make ensemble COMP=tiny first, or name a run with"
    with pytest.raises(PodiumError, match=words):
        newest_ensemble(tiny.data)


@pytest.mark.parametrize("source", ["", "a"])
def test_without_test_rows_nothing_can_be_submitted(make_tiny, source):
    """Check that a competition without a test table is refused as such."""
    tiny = make_tiny()
    folder, path = tiny.root / "data" / "tiny", tiny.project.competition("tiny")
    for name in ("test", "sample_submission", "answers"):
        (folder / f"{name}.csv").unlink()
    tables = {"test": None, "sample_submission": None}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "tables": tables}))
    data = load_data(tiny.project, "tiny")
    assert not len(data.test.ids)
    with pytest.raises(PodiumError, match=r"tiny\.yaml: no test table or folder, so nothing can"):
        submit(data, tiny.folds(), source)


def test_the_score_of_an_earlier_ensemble_is_not_that_of_a_later_one(ranked):
    """Check that a leaderboard score stays with the decision that was submitted."""
    folds = ranked.folds()
    number = submit(ranked.data, folds, "ensemble-all")[1].number
    set_score(ranked.project, "tiny", str(number), public=0.33)
    publics = {s.name: s.entry and s.entry.public for s in standings(ranked.data, folds)[0]}
    assert publics == {"a": None, "b": None, "ensemble-all": "0.33"}
    ranked.fake_run("c", skill=1.5)
    build_ensemble(ranked.data, folds, None)
    assert {s.name: s.entry for s in standings(ranked.data, folds)[0]}["ensemble-all"] is None
