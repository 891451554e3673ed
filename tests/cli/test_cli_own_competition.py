"""A newcomer's way through the command line: from an unpacked folder to new pictures."""

import json

import pandas as pd
import pytest


@pytest.fixture
def unpacked(tiny):
    """Make the tiny competition as it comes from a site: files, and no YAML."""
    tiny.project.competition("tiny").unlink()
    return tiny


def test_from_a_folder_to_a_submission_and_new_pictures(unpacked, podium):
    """Check the README's five steps with their printed next commands, and predict."""
    root = unpacked.root
    made = podium(root, "init", "--comp", "mine", "--data", "data/tiny")
    assert made.status == 0, made.err
    for words in ("42 training and 18 test pictures", "columns.label: label", "next: make folds"):
        assert words in made.out
    for verb in (
        ("folds",),
        ("train", "--arch", "lenet"),
        ("ensemble",),
        ("submit",),
        ("score",),
        ("leaderboard",),
    ):
        done = podium(root, *verb, "--comp", "mine")
        assert done.status == 0, done.err
    written = pd.read_csv(root / "submissions/mine/001-ensemble-all.csv", dtype=str)
    sample = pd.read_csv(root / "data/tiny/sample_submission.csv", dtype=str)
    assert written["id"].tolist() == sample["id"].tolist()
    options = ("--data", "data/tiny/images", "--confidence", "0.5", "--out", "answers.csv")
    predicted = podium(root, "predict", "--comp", "mine", *options)
    assert predicted.status == 0, predicted.err
    assert "don't know" in predicted.out and "answers.csv" in predicted.out
    answers = pd.read_csv(root / "answers.csv", dtype=str)
    assert len(answers) == 60
    sure = answers["confidence"].astype(float) >= 0.5
    assert ((answers["answer"] != "don't know") == sure).all()


def test_init_again_and_over(unpacked, podium):
    """Check that a YAML is kept: the same is no error, another takes FRESH=1."""
    command = ("init", "--comp", "mine", "--data", "data/tiny")
    assert podium(unpacked.root, *command).status == 0
    assert "there already, unchanged" in podium(unpacked.root, *command).out
    other = (*command, "--set", "metric=f1_macro")
    refused = podium(unpacked.root, *other)
    assert refused.status == 2 and "FRESH=1" in refused.err
    assert podium(unpacked.root, *other, "--fresh").status == 0
    assert unpacked.project.competition("mine").read_text().count("f1_macro") == 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("init", "--comp", "mine"), ["DATA=folder"]),
        (("init", "--data", "data/tiny"), ["COMP=mine"]),
        (("init", "--comp", "mine", "--data", "nowhere"), ["nowhere is no folder"]),
        (("init", "--comp", "a/b", "--data", "data/tiny"), ["not a usable name"]),
        (("init", "--comp", "m", "--data", "data/tiny", "--set", "metrik=a"), ["mean metric"]),
        (("predict", "--comp", "tiny"), ["DATA=folder"]),
    ],
)
def test_bad_options_are_one_line(tiny, podium, snapshot, command, words):
    """Check that what is missing or wrong is asked for, and nothing is written."""
    before = snapshot(tiny.root)
    refused = podium(tiny.root, *command)
    assert refused.status == 2 and refused.err.count("\n") == 1
    assert all(word in refused.err for word in words), refused.err
    assert snapshot(tiny.root) == before


def test_refit_and_repeats_are_shown(tiny, podium):
    """Check the table of a run with two deals of two folds, and of its refit."""
    podium(tiny.root, "folds", "--comp", "tiny", "--folds", "2")
    command = ("train", "--comp", "tiny", "--arch", "lenet", "--name", "r", "--refit")
    done = podium(tiny.root, *command, "--set", "training.repeats=2")
    assert done.status == 0, done.err
    (header,) = (line for line in done.out.splitlines() if line.startswith("run "))
    assert header.split()[1:9] == ["fold", "0", "fold", "1", "fold", "2", "fold", "3"]
    shown = [line.split()[0] for line in done.out.splitlines() if line.startswith("r")]
    assert {"r", "r-refit"} <= set(shown)
    record = json.loads((tiny.run("r-refit") / "run.json").read_text())
    assert record["refit_of"] == "r" and record["complete"]
    ensembled = podium(tiny.root, "ensemble", "--comp", "tiny")
    assert "left out: r-refit: a refit of r" in ensembled.out
    assert podium(tiny.root, "submit", "--comp", "tiny", "--from", "r-refit").status == 0


def test_missing_pictures_are_told(tiny, podium):
    """Check that folds and train say how many there are and where they are listed."""
    for name in ("005", "050"):
        (tiny.root / "data/tiny/images" / f"{name}.png").unlink()
    tiny.configure(missing_images="predict-prior")
    for command in (("folds",), ("train", "--arch", "lenet")):
        said = podium(tiny.root, *command, "--comp", "tiny").out
        assert "missing or broken pictures: 1 of training rows" in said, said
        assert "experiments/runs/tiny/missing-images.csv" in said
    ensembled = podium(tiny.root, "submit", "--comp", "tiny", "--from", "lenet-baseline")
    assert ensembled.status == 0, ensembled.err
