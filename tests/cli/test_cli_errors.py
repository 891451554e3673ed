"""Bad input at the command line: one line, exit status 2, no traceback, no new file."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pipeline
from pipeline.errors import PodiumError

TRAIN = ("train", "--comp", "tiny", "--arch", "lenet")


def with_folds(tiny) -> None:
    tiny.folds(n_folds=2)


def with_runs(tiny) -> None:
    with_folds(tiny)
    for name in ("lenet-baseline", "other"):
        tiny.fake_run(name)


def with_a_broken_record(tiny) -> None:
    with_runs(tiny)
    (tiny.run("lenet-baseline") / "run.json").write_text('{"competition": "tiny",')


def with_nothing_but_a_broken_record(tiny) -> None:
    with_a_broken_record(tiny)
    shutil.rmtree(tiny.run("other"))


def with_a_foreign_folder(tiny) -> None:
    with_folds(tiny)
    tiny.run("lenet-baseline").mkdir(parents=True)
    (tiny.run("lenet-baseline") / "holiday.txt").write_text("photos")


def with_another_recipe(tiny) -> None:
    """A run of the same name that was trained by another recipe."""
    with_runs(tiny)
    path = tiny.run("lenet-baseline") / "run.json"
    record = json.loads(path.read_text())
    record |= {"recipe": {"training": {"epochs": 99}}, "recipe_hash": "0123"}
    path.write_text(json.dumps(record))


def with_array(tiny, **arrays) -> None:
    with_runs(tiny)
    path = tiny.run("other") / "oof.npz"
    with np.load(path, allow_pickle=False) as stored:
        content = {name: stored[name] for name in stored.files}
    np.savez(path, **{**content, **arrays})


def with_nan(tiny) -> None:
    with_array(tiny, probs=np.full((42, 3), np.nan, np.float32))


def with_foreign_ids(tiny) -> None:
    with_array(tiny, ids=np.array([f"ufo-{i}" for i in range(42)]))


def with_edited_folds(tiny) -> None:
    with_runs(tiny)
    path = tiny.project.folds("tiny")
    text = path.read_text()
    path.write_text(text.replace("000,0,", "000,1,") if "000,0," in text else text + "x")


def with_an_unknown_key(tiny) -> None:
    tiny.configure(metrik="accuracy")


def nothing(tiny) -> None:
    """Change nothing: only YAML, recipe, tables and pictures are there."""


CASES = {
    "unknown YAML key": (with_an_unknown_key, ("folds",), ["'metrik'", "did you mean metric"]),
    "unknown SET key": (
        nothing,
        (*TRAIN, "--set", "training.epchs=3"),
        ["SET", "'training.epchs'", "did you mean training.epochs"],
    ),
    "type in SET": (nothing, (*TRAIN, "--set", "training.epochs=x"), ["training.epochs is 'x'"]),
    "range in SET": (nothing, (*TRAIN, "--set", "image.size=2"), ["image.size is 2"]),
    "SET without =": (nothing, (*TRAIN, "--set", "image.size"), ["'image.size' is not key=value"]),
    "unknown COMP": (nothing, ("train", "--comp", "tny", "--arch", "lenet"), ["mean tiny"]),
    "unknown COMP, score": (nothing, ("score", "--comp", "tny", "--score", "1"), ["mean tiny"]),
    "COMP is a path": (nothing, ("folds", "--comp", "../tiny"), ["not a usable name"]),
    "unknown RECIPE": (nothing, (*TRAIN, "--recipe", "basline"), ["mean baseline"]),
    "unknown ARCH": (
        nothing,
        ("train", "--comp", "tiny", "--arch", "densenet122"),
        ["timm", "'densenet122'", "did you mean densenet121"],
    ),
    "no ARCH": (nothing, ("train", "--comp", "tiny"), ["make train ARCH=densenet121"]),
    "ONLY of no fold": (with_folds, (*TRAIN, "--only", "7"), ["no fold 7", "0, 1"]),
    "ONLY of no number": (with_folds, (*TRAIN, "--only", "one"), ["ONLY", "'one'"]),
    "SEED of no number": (nothing, (*TRAIN, "--seed", "0.5"), ["SEED", "'0.5'"]),
    "LIMIT too small": (nothing, (*TRAIN, "--limit", "1"), ["data.limit is 1"]),
    "NAME for two": (
        nothing,
        ("train", "--comp", "tiny", "--arch", "lenet simple-cnn", "--name", "x"),
        ["NAME", "'x'", "2 architectures"],
    ),
    "NAME is a path": (nothing, (*TRAIN, "--name", "../x"), ["NAME", "not a usable name"]),
    "EXECUTOR": (nothing, (*TRAIN, "--executor", "x"), ["EXECUTOR", "'x'", "local"]),
    "broken run.json, train": (with_a_broken_record, TRAIN, ["run.json", "JSON", "FRESH=1"]),
    "broken run.json, ensemble": (
        with_nothing_but_a_broken_record,
        ("ensemble",),
        ["run.json", "JSON"],
    ),
    "broken run.json, leaderboard": (
        with_nothing_but_a_broken_record,
        ("leaderboard",),
        ["run.json", "JSON"],
    ),
    "foreign folder": (with_a_foreign_folder, TRAIN, ["not a run", "NAME="]),
    "another recipe": (with_another_recipe, TRAIN, ["another recipe", "epochs", "FRESH=1"]),
    "NaN": (with_nan, ("ensemble",), ["other/oof.npz", "nan", "'000'"]),
    "foreign ids": (with_foreign_ids, ("ensemble",), ["other/oof.npz", "'ufo-0'"]),
    "no run to blend": (with_folds, ("ensemble",), ["no finished run", "make train COMP=tiny"]),
    "unknown RUNS": (with_runs, ("ensemble", "--runs", "lenet-basline other"), ["lenet-baseline"]),
    "no ensemble to submit": (with_runs, ("submit",), ["no ensemble yet", "make ensemble"]),
    "unknown FROM": (with_runs, ("submit", "--from", "lenet-basline"), ["mean lenet-baseline"]),
    "nowhere to upload": (
        with_runs,
        ("submit", "--from", "other", "--upload"),
        ["experiments/competitions/tiny.yaml", "names no `kaggle`", "kaggle: plant"],
    ),
    "nothing to score": (with_runs, ("score",), ["no submission", "make submit"]),
    "nothing to score by hand": (with_runs, ("score", "--score", "0.7"), ["no submission"]),
    "SCORE is NaN": (with_runs, ("score", "--score", "nan"), ["SCORE", "nan"]),
    "SCORE is no number": (
        with_runs,
        ("score", "--score", "good"),
        ["SCORE (--score): 'good' is not a number"],
    ),
    "no folds": (nothing, ("ensemble",), ["folds/tiny.csv", "make folds"]),
    "other folds": (with_folds, ("folds", "--folds", "3"), ["FOLDS 2 -> 3", "FRESH=1"]),
    "FOLDS is no number": (
        nothing,
        ("folds", "--folds", "x"),
        ["FOLDS (--folds): 'x' is not a whole number"],
    ),
    "HOLDOUT out of range": (nothing, ("folds", "--folds", "1", "--holdout", "2"), ["HOLDOUT"]),
    "edited folds, train": (with_edited_folds, TRAIN, ["folds/tiny.csv", "edited"]),
    "edited folds, ensemble": (with_edited_folds, ("ensemble",), ["folds/tiny.csv", "edited"]),
    "unknown verb": (nothing, ("trian",), ["trian"]),
    "unknown option": (nothing, ("folds", "--fold", "3"), ["--fold"]),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line(tiny, podium, snapshot, case):
    """Check the words, status 2, a single line, and that nothing was written or changed."""
    prepare, arguments, words = CASES[case]
    prepare(tiny)
    before = snapshot(tiny.root)
    if "--comp" not in arguments and arguments[0] != "trian":
        arguments = (*arguments, "--comp", "tiny")
    result = podium(tiny.root, *arguments)
    assert result.status == 2, result
    assert result.err.startswith("error: ") and len(result.err.splitlines()) == 1, result.err
    assert "Traceback" not in result.out + result.err
    for word in words:
        assert word in result.err
    after = snapshot(tiny.root)
    assert {name for name in after if after[name] != before.get(name)} == set()
    assert set(before) == set(after)


def test_debug_shows_the_traceback(tiny, podium):
    """Check that --debug, wherever it stands, raises instead of printing one line."""
    for arguments in (("--debug", "folds"), ("folds", "--debug")):
        with pytest.raises(PodiumError, match="COMP"):
            podium(tiny.root, *arguments, "--comp", "nowhere")


def test_the_program_itself(tiny):
    """Check status and stderr of a real process: one line, or with --debug the traceback."""
    checkout = str(Path(pipeline.__file__).parent.parent)
    command = [sys.executable, "-m", "pipeline", "folds", "--comp", "nowhere"]
    options = {"cwd": tiny.root, "env": {**os.environ, "PYTHONPATH": checkout}, "text": True}
    plain = subprocess.run(command, capture_output=True, **options)
    assert plain.returncode == 2 and plain.stdout == ""
    assert plain.stderr.startswith("error: COMP: ") and plain.stderr.count("\n") == 1
    debug = subprocess.run([*command, "--debug"], capture_output=True, **options)
    assert debug.returncode != 0 and "Traceback" in debug.stderr


def test_a_folder_in_the_place_of_a_file_is_named(tiny, podium):
    """Check that the error names what the user sees, and not the temporary file beside it."""
    folder = tiny.project.runs("tiny") / "report.html"
    folder.mkdir(parents=True)
    result = podium(tiny.root, "report", "--comp", "tiny")
    assert result.status == 2 and len(result.err.splitlines()) == 1
    assert result.err.startswith(f"error: {folder}: ") and ".tmp" not in result.err
    assert list(folder.parent.glob(".*tmp")) == []


def test_a_bug_shows_its_traceback(tiny, podium, monkeypatch):
    """Check that what is not the user's mistake is not dressed up as one."""
    monkeypatch.setattr("pipeline.competition.load_data", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        podium(tiny.root, "folds", "--comp", "tiny")


def test_an_interrupt_says_how_to_go_on(tiny, podium, monkeypatch):
    """Check that Ctrl-C ends with status 130 and one line."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.competition.load_data", interrupted)
    result = podium(tiny.root, "folds", "--comp", "tiny")
    assert result.status == 130
    assert "same command again" in result.err and len(result.err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [(), ("--help",), ("train", "--help")])
def test_help(tiny, podium, arguments):
    """Check that help, asked for or not, lists verbs or options and is no error."""
    result = podium(tiny.root, *arguments)
    assert (result.status, result.err) == (0, "")
    assert ("--arch" if "train" in arguments else "leaderboard") in result.out
