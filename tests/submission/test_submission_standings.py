"""Where we stand, when one run of several cannot be shown, and what cannot be submitted."""

import json
import shutil
from dataclasses import replace

import pytest
import yaml

from pipeline.artifacts.files import write_json
from pipeline.artifacts.predictions import Predictions
from pipeline.competition import load_data
from pipeline.ensemble.build import build_ensemble
from pipeline.ensemble.choice import Menu
from pipeline.ensemble.newest import newest_ensemble
from pipeline.errors import PodiumError
from pipeline.mislabelled.evidence import gather
from pipeline.submission import set_score
from pipeline.submission.floor import majority
from pipeline.submission.standings import cost_per_point, standings, submit


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
    (ranked.run("b") / "oof.npz").write_bytes(b"PK")
    left = shown(ranked)[1]
    for name in ("b", "ensemble-all"):
        assert (
            "b/oof.npz: not a readable prediction file" in left[name] and "anew" not in left[name]
        )


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


@pytest.fixture
def mixed(ranked):
    """The same with a newer ensemble that holds a run of other folds."""
    folds, folder = ranked.folds(), ranked.fake_run("foreign", skill=4.0)
    for path in folder.glob("*.npz"):
        stored = Predictions.load(path)
        replace(stored, meta=stored.meta | {"folds_hash": "0" * 16}).save(path)
    record = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", record | {"folds_hash": "0" * 16})
    menu = Menu(("mean",))
    build_ensemble(ranked.data, folds, ["a", "foreign"], "odd", mixed=True, menu=menu)
    edit(ranked, "ensemble-odd", created="2999-01-01T00:00:00+00:00")
    return ranked


def edit(tiny, name: str, **keys) -> None:
    path = tiny.run(name) / "ensemble.json"
    write_json(path, json.loads(path.read_text()) | keys)


def test_an_ensemble_of_mixed_folds_stands_last(mixed, podium):
    """Check that it has no honest score, costs nothing sensible, and is shown all the same."""
    rows, left = standings(mixed.data, mixed.folds())
    assert rows[-1].name == "ensemble-odd" and rows[-1].honest is None and list(left) == ["foreign"]
    assert "ensemble-odd" not in cost_per_point(rows, 1)
    done = podium(mixed.root, "leaderboard", "--comp", "tiny")
    line = next(line for line in done.out.splitlines() if line.startswith("ensemble-odd"))
    assert done.status == 0 and "n/a (mixed folds)" in line and "mean, argmax" in line


def test_an_ensemble_of_mixed_folds_is_not_submitted_unasked(mixed):
    """Check that the newest with an honest score is, that this is said, and that the mixed one is
    refused where there is no other; by name it is taken, without an honest score in the ledger."""
    folds = mixed.folds()
    decided = submit(mixed.data, folds)[0]
    assert decided.name == newest_ensemble(mixed.data)[0] == "ensemble-all"
    assert "left out: ensemble-odd: its folds are mixed" in decided.record["warnings"][-1]
    number = submit(mixed.data, folds, "ensemble-odd")[1].number
    found = {s.name: s.entry for s in standings(mixed.data, folds)[0]}["ensemble-odd"]
    assert (found.number, found.cv_honest, found.cv_se) == (number, "", "") and found.cv_in_sample
    edit(mixed, "ensemble-odd", in_sample=0.123)
    assert {s.name: s.entry for s in standings(mixed.data, folds)[0]}["ensemble-odd"] is None
    shutil.rmtree(mixed.run("ensemble-all"))
    with pytest.raises(PodiumError, match=r"^FROM: no ensemble of tiny can be taken unasked: ens"):
        submit(mixed.data, folds)


def test_the_broken_ensemble_is_what_to_mend(ranked):
    """Check that where none can be taken, a file that cannot be read comes before ensembles that
    are merely of other labels, and that these are named, too."""
    folds = ranked.folds()
    build_ensemble(ranked.data, folds, ["a"], "aged", menu=Menu(("mean",)))
    edit(ranked, "ensemble-aged", data_hash="0" * 16)
    with pytest.raises(PodiumError, match=r"labels or ids; make ensemble NAME=another"):
        edit(ranked, "ensemble-all", data_hash="0" * 16)
        submit(ranked.data, folds)
    (ranked.run("ensemble-all") / "ensemble.json").write_text("{")
    said = r"unasked \(ensemble-aged: neither\): ensemble-all: .*ensemble-all/ensemble\.json: "
    with pytest.raises(PodiumError, match=said):
        submit(ranked.data, folds)


def test_a_newer_ensemble_of_other_labels_is_passed_over(ranked):
    """Check that the usable one is taken, that this is said, and that one which is named is refused
    with a remedy; and that label errors are judged by the same one."""
    folds = ranked.folds()
    build_ensemble(ranked.data, folds, ["a"], "newer", menu=Menu(("mean",)))
    edit(ranked, "ensemble-newer", created="2999-01-01T00:00:00+00:00", data_hash="0" * 16)
    decided = submit(ranked.data, folds)[0]
    assert decided.name == gather(ranked.data, folds).source == "ensemble-all"
    said = decided.record["warnings"][-1]
    assert "left out: ensemble-newer: trained on other labels or ids; make ensemble NAME=" in said
    with pytest.raises(PodiumError, match="other labels or ids; make it anew, or name another"):
        submit(ranked.data, folds, "ensemble-newer")


@pytest.mark.parametrize("broken", ["ensemble", "created", "run"])
def test_a_broken_record_does_not_stop_the_submission(ranked, broken):
    """Check that the newest ensemble that can be read is taken, and the other is named."""
    folds = ranked.folds()
    build_ensemble(ranked.data, folds, ["a"], "newer", menu=Menu(("mean",)))
    if broken == "created":
        edit(ranked, "ensemble-newer", created=7)
    elif broken == "ensemble":
        (ranked.run("ensemble-newer") / "ensemble.json").write_text("{")
    else:
        shutil.rmtree(ranked.run("ensemble-newer"))
        (ranked.fake_run("c") / "run.json").write_text("{")
    decided = submit(ranked.data, folds)[0]
    said = [w for w in decided.record["warnings"] if w.startswith("left out: ensemble-newer: ")]
    assert decided.name == "ensemble-all" and len(said) == (broken != "run")


def test_a_folder_in_the_way_of_a_decision(ranked):
    """Check that it leaves one run out, in one line that names it."""
    path = ranked.run("a") / "chain.json"
    path.unlink(missing_ok=True)
    path.mkdir()
    names, left = shown(ranked)
    assert names == {"b", "ensemble-all"}
    assert left == {"a": f"{path}: is a folder where a file should be; delete it"}


def test_seconds_that_are_not_known(ranked):
    """Check that a run of 0 seconds, and an ensemble with such a member, have no cost."""
    ranked.fake_run("c", skill=3.0, seconds=0.0)
    build_ensemble(ranked.data, ranked.folds(), ["a", "c"], "part", menu=Menu(("mean",)))
    rows = [*standings(ranked.data, ranked.folds())[0], majority(ranked.data, ranked.folds())]
    unknown = {row.name for row in rows if row.seconds is None}
    assert unknown == {"c", "ensemble-part", "(majority answer)"}
    assert not unknown & cost_per_point(rows, 1).keys()
    assert cost_per_point(rows, 1) == cost_per_point(rows[:-1], 1)


def test_decisions_are_told(ranked):
    """Check that an ensemble's blend and rule are, and of a run the rule alone."""
    found = {s.name: s.decision for s in standings(ranked.data, ranked.folds())[0]}
    record = json.loads((ranked.run("ensemble-all") / "ensemble.json").read_text())
    assert found["ensemble-all"] == f"{record['blend']}, {record['rule']['kind']}"
    chain = json.loads((ranked.run("a") / "chain.json").read_text())
    assert found["a"] == chain["rule"]["kind"]
