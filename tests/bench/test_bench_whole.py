"""`make bench` as a whole: files, sums, what is kept and what is measured anew, refusals."""

import csv
import json
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from pipeline.bench import BenchRequest, bench, timing
from pipeline.bench.bench import Benched
from pipeline.ensemble.build import build_ensemble
from pipeline.ensemble.choice import Menu
from pipeline.errors import PodiumError


@pytest.fixture(autouse=True)
def counted(monkeypatch) -> list[int]:
    """Make measuring short, and return a list of how many networks were timed each time."""
    counts: list[int] = []
    monkeypatch.setattr("pipeline.bench.clock.ROUND_SECONDS", 1e-4)

    def count(networks):
        counts.append(len(networks))
        return timing.time_networks(networks)

    # By its name, the package's function stands in front of the module.
    monkeypatch.setattr(import_module("pipeline.bench.bench"), "time_networks", count)
    monkeypatch.setattr(import_module("pipeline.bench.bench"), "BUSY_SPREAD", 1e9)  # as tests are
    return counts


@pytest.fixture
def runs(tiny, make_run):
    """The tiny competition with runs a and b of one network, c with two views, and all blended."""
    make_run("a")
    make_run("b", {"optimizer": {"lr": 0.5}}, skill=2.0, seconds=3.0)
    make_run("c", {"image": {"size": 24}, "views": {"flips": "horizontal"}}, skill=1.5)
    build_ensemble(tiny.data, tiny.folds(), None, menu=Menu(("mean",)))
    return tiny


def benched(tiny, **asked) -> Benched:
    return bench(tiny.project, BenchRequest("tiny", **asked), lambda said: None)


def file(tiny, suffix: str) -> Path:
    return tiny.project.runs("tiny") / f"bench.{suffix}"


def test_rows_add_up_and_files_are_written(runs):
    """Check scores against the leaderboard's record, sums of members and folds, and that the CSV
    and the JSON say what the rows say."""
    made = benched(runs)
    rows = {row.name: row for row in made.rows}
    assert set(rows) == {"a", "b", "c", "ensemble-all"}
    for name, row in rows.items():
        record = "ensemble.json" if "ensemble" in name else "chain.json"
        decided = json.loads((runs.run(name) / record).read_text())
        assert (row.honest, row.honest_se) == (decided["honest"], decided["honest_se"])
        assert row.ms_submitted == pytest.approx(5 * row.ms_32)
        assert row.ms_1 > row.ms_32 > 0 and row.ms_decoding > 0
    whole, members = rows["ensemble-all"], [rows[name] for name in "abc"]
    for field in ("ms_1", "ms_32", "ms_submitted", "parameters", "macs", "train_seconds"):
        assert getattr(whole, field) == pytest.approx(sum(getattr(m, field) for m in members))
    assert rows["a"].ms_32 == rows["b"].ms_32 and rows["c"].views == 2
    assert [row.honest for row in made.rows] == sorted((r.honest for r in made.rows), reverse=True)
    with open(file(runs, "csv"), newline="") as handle:
        table = list(csv.DictReader(handle))
    assert [line["name"] for line in table] == [row.name for row in made.rows]
    assert [float(line["ms_32"]) for line in table] == pytest.approx(
        [row.ms_32 for row in made.rows], rel=1e-5
    )
    record = json.loads(file(runs, "json").read_text())
    assert record["machine"]["versions"]["torch"] and record["created"] and record["advice"]
    assert len(record["networks"]) == 2 and file(runs, "png").stat().st_size > 10_000


def test_timings_are_kept_until_something_changes(runs, make_run, counted):
    """Check that a second time measures nothing, a new network itself and the anchor alone, FRESH=1
    all, and that another machine's timings are not taken."""
    first = benched(runs)
    assert counted == [2]
    again = benched(runs)
    assert counted == [2, 0] and [r.ms_32 for r in again.rows] == [r.ms_32 for r in first.rows]
    make_run("d", {"model": {"hidden": [8]}})
    old = {row.name: row.ms_32 for row in first.rows}
    new = {row.name: row.ms_32 for row in benched(runs).rows}
    assert counted == [2, 0, 2] and all(new[name] == old[name] for name in old)
    benched(runs, fresh=True)
    assert counted == [2, 0, 2, 3]
    content = json.loads(file(runs, "json").read_text())
    content["machine"]["versions"]["torch"] = "1.0"
    file(runs, "json").write_text(json.dumps(content))
    made = benched(runs)
    assert counted[-1] == 3 and any("torch 1.0 -> " in note for note in made.record["notes"])


def test_a_run_whose_network_changed_is_timed_anew(runs, make_run, counted):
    """Check that the name of a run keeps no time of its former network."""
    before = benched(runs, runs=["a"]).rows[0]
    for folder in runs.run("a").glob("fold-*"):
        shutil.rmtree(folder)
    make_run("a", {"model": {"hidden": [32]}})
    after = benched(runs, runs=["a"]).rows[0]
    assert counted == [1, 1] and after.parameters > before.parameters


def test_busy_then_or_now_is_noted(runs, make_run):
    """Check that a kept timing that is far from what it takes now is told."""
    benched(runs, runs=["a"])
    content = json.loads(file(runs, "json").read_text())
    for record in content["networks"].values():
        for time in record["batches"].values():
            time |= {key: time[key] / 50 for key in ("seconds", "low", "high")}
    file(runs, "json").write_text(json.dumps(content))
    notes = benched(runs).record["notes"]
    assert any("lenet now takes" in note and "FRESH=1" in note for note in notes)


def test_a_timing_that_varied_is_noted_and_not_kept(runs, counted, monkeypatch):
    """Check that what was measured while the machine was busy is measured again the next time."""
    monkeypatch.setattr(import_module("pipeline.bench.bench"), "BUSY_SPREAD", -1.0)
    made = benched(runs, runs=["a"])
    assert any("the machine was busy: the times of 1 of 1 rows" in n for n in made.record["notes"])
    benched(runs, runs=["a"])
    assert counted == [1, 1]


def test_untrained_architectures_are_timed_without_a_score(runs):
    """Check that ARCH and SET are built as training would, with or without any folds or runs."""
    made = benched(runs, runs=["a"], arch=["simple-cnn"], overrides="image.size=32")
    rows = {row.name: row for row in made.rows}
    assert set(rows) == {"a", "simple-cnn at 32 px"}
    row = rows["simple-cnn at 32 px"]
    assert row.honest is None and row.sizes == "32" and row.kind == "not trained"
    assert not row.front and rows["a"].front
    for path in runs.project.folds("tiny").parent.iterdir():
        path.unlink()
    assert [row.name for row in benched(runs, arch=["lenet"]).rows] == ["lenet at 16 px"]


def test_what_cannot_be_timed_is_named_with_the_reason(runs, make_run):
    """Check imports, ensembles of them, damaged and unfinished runs; the others are timed."""
    runs.fake_run("import", imported={"files": []})
    build_ensemble(runs.data, runs.folds(), ["a", "import"], "mix", menu=Menu(("mean",)))
    make_run("half", complete=False, folds={"0": {}})
    (runs.run("c") / "fold-3" / "model.safetensors").write_bytes(b"no weights")
    made = benched(runs)
    assert {row.name for row in made.rows} == {"a", "b"}
    left = made.record["left_out"]
    assert set(left) == {"import", "ensemble-mix", "ensemble-all", "half", "c"}
    assert "no network to time" in left["import"] and "no network" in left["ensemble-mix"]
    assert "fold-3/model.safetensors: damaged" in left["c"] and "not finished" in left["half"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"runs": ["aa"]}, "RUNS: experiments/runs/tiny/aa is not a run"),
        ({"runs": ["a", "a"]}, "RUNS: a stands twice"),
        ({"arch": ["lenett"]}, "no model 'lenett' .did you mean"),
        ({"overrides": "image.size=32"}, "SET: 'image.size=32' is how ARCH= is built"),
        ({"arch": ["lenet"], "overrides": "image.sise=32"}, "sise"),
        ({"runs": ["import"]}, "bench: tiny has no finished run to time.*was imported"),
    ],
)
def test_mistakes_are_named(runs, asked, said):
    """Check that what was asked for wrongly is an error, and that nothing is written."""
    runs.fake_run("import", imported={"files": []})
    with pytest.raises(PodiumError, match=said):
        benched(runs, **asked)
    assert not file(runs, "csv").exists()


def test_a_broken_record_is_named_and_made_anew_if_asked(runs):
    """Check that bench.json is not trusted blindly, and that FRESH=1 does not read it."""
    file(runs, "json").write_text("{")
    with pytest.raises(PodiumError, match=r"bench\.json: not valid JSON.*FRESH=1"):
        benched(runs)
    assert len(benched(runs, fresh=True).rows) == 4
    content = json.loads(file(runs, "json").read_text())
    content["networks"][next(iter(content["networks"]))] = {"batches": {}}
    file(runs, "json").write_text(json.dumps(content))
    with pytest.raises(PodiumError, match=r"networks\..* is no timing"):
        benched(runs)


def test_no_run_at_all_says_what_to_do(tiny):
    """Check that an empty competition asks for a run or an architecture."""
    tiny.folds()
    with pytest.raises(PodiumError, match="no finished run to time; make train COMP=tiny"):
        benched(tiny)


def test_the_verb_prints_the_table(runs, podium):
    """Check the printed tables: a line per run and per network, the front, advice and paths."""
    shown = podium(runs.root, "bench", "--comp", "tiny", "--arch", "lenet")
    assert shown.status == 0, shown.err
    for words in ("honest ± SE", "vs fastest", "submitted", "not trained", "*:", "bench.png"):
        assert words in shown.out
    assert "cpu, float32, 1 thread" in shown.out and "take " in shown.out
    assert max(map(len, shown.out.splitlines()[:12])) <= 132
    wrong = podium(runs.root, "bench", "--comp", "tiny", "--runs", "zebra")
    assert wrong.status == 2 and wrong.err.count("\n") == 1
