"""What cannot be answered is refused in one line, before anything is written; and the words said
about what could."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from pipeline.competition import load_data
from pipeline.decisions import Point
from pipeline.deploy.answers import COLUMNS, Answers, answers_table, check_level
from pipeline.deploy.predict import predict, report_parts
from pipeline.deploy.report import Prediction, expected_at
from pipeline.errors import PodiumError


def change(path, **keys):
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def change_recipe(project, run, section, **keys):
    path = project.run("kinds", run) / "run.json"
    recipe = json.loads(path.read_text())["recipe"]
    change(path, recipe={**recipe, section: {**recipe[section], **keys}})


def refused(project, match, source="a", data="data/kinds/images", **options):
    """Check that the prediction is refused, and that it wrote no table."""
    options = {"say": str} | options
    with pytest.raises(PodiumError, match=match) as caught:
        predict(project, "kinds", source, data, **options)
    assert "\n" not in str(caught.value)
    assert not list(project.root.rglob("predictions"))


def test_data_that_is_not_there(project, tmp_path):
    """Check a path to nothing, and a folder without a picture."""
    refused(project, "DATA.*no such folder or picture", data="nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    refused(project, "no picture at any depth", data=tmp_path / "empty")


@pytest.mark.parametrize("level", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_confidence_is_a_probability(project, level):
    """Check that numbers outside 0..1 are refused with their value."""
    refused(project, f"CONFIDENCE: {level} is not", confidence=level)


def test_a_class_called_dont_know(trained):
    """Check that no confidence can be asked for where the words may be an answer: a class, or two
    that are joined to it."""
    kinds, sets = (load_data(trained, comp) for comp in ("kinds", "sets"))
    check_level(0.5, kinds)
    for data in (kinds, sets):
        named = replace(data, classes=("cat", "don't know", "eel"))
        check_level(None, named)
        with pytest.raises(PodiumError, match=r"CONFIDENCE: 0\.5, but"):
            check_level(0.5, named)
    halves = ("don't", "eel", "know")
    check_level(0.5, replace(sets, classes=halves))  # joined by a plus
    columns = sets.competition.columns.model_copy(update={"separator": " "})
    spaced = sets.competition.model_copy(update={"columns": columns})
    with pytest.raises(PodiumError, match="CONFIDENCE"):
        check_level(0.5, replace(sets, competition=spaced, classes=halves))
    check_level(0.5, replace(kinds, classes=halves))


def test_sources_that_cannot_answer(project):
    """Check an unknown name, a run that is not finished, a smoke run, one on other folds, and an
    ensemble whose member is gone."""
    refused(project, "FROM: experiments/runs/kinds/c is not a run.*a1", source="c")
    record = project.run("kinds", "a") / "run.json"
    kept = record.read_text()
    for keys, match in (
        ({"complete": False, "folds": {}}, "FROM: a cannot answer pictures: not finished"),
        ({"limited": True}, "LIMIT"),
        ({"folds_hash": "other"}, "other folds"),
    ):
        change(record, **keys)
        refused(project, match)
        refused(project, f"ensemble-mean needs all its members.*{match[-9:]}", "ensemble-mean")
        record.write_text(kept)
    shutil.rmtree(project.run("kinds", "b"))
    refused(project, "FROM: ensemble-mean needs all its members.*/b is not", "ensemble-mean")
    refused(project, "FROM: ensemble-rank needs all its members", "ensemble-nested")


def test_without_an_ensemble_a_name_is_needed(project):
    """Check that an empty FROM is refused where there is no ensemble."""
    for folder in project.runs("kinds").glob("ensemble-*"):
        shutil.rmtree(folder)
    refused(project, "FROM: kinds has no ensemble yet; make ensemble.*FROM=", source="")


def test_weights_that_are_not_whole(project):
    """Check that a missing, a cut and a foreign file are named with the remedy, also in a refit."""
    for run, folder in (("a", "fold-1"), ("a-refit", "refit")):
        file = project.run("kinds", run) / folder / "model.safetensors"
        whole = file.read_bytes()
        file.write_bytes(whole[:-100])
        refused(project, f"{file}: damaged .*delete .*{folder} and make train", source=run)
        file.write_bytes(b"")
        refused(project, f"{file}: damaged", source=run)
        file.unlink()
        refused(project, f"{file}: no such file; delete", source=run)
        file.write_bytes(whole)
    file = project.run("kinds", "a") / "fold-1" / "model.safetensors"
    file.write_bytes((project.run("kinds", "b") / "fold-1" / "model.safetensors").read_bytes())
    refused(project, f"{file}: not this run's lenet .*size mismatch")


def test_weights_of_other_classes(project):
    """Check that the classes that a file of weights names must be the competition's, in order."""
    file = project.run("kinds", "a") / "fold-0" / "model.safetensors"
    note = {"podium": json.dumps({"classes": ["dog", "cat", "eel"]})}
    save_file(load_file(file), file, note)
    refused(project, f"{file}: trained for other classes \\(dog, cat, eel\\)")


def test_a_box_of_the_table(project):
    """Check that a crop by columns of the table is refused by name."""
    crop = {"kind": "box", "columns": ["x0", "y0", "x1", "y1"]}
    change_recipe(project, "a", "image", crop=crop)
    refused(project, "a cuts boxes out of its pictures, by the columns x0, y0, x1, y1")


def test_where_a_table_may_go(project, answers):
    """Check a missing folder, a folder and a picture; paths are the project's where they are
    relative."""
    refused(project, "OUT: .*/nowhere: no such folder", out="nowhere/answers.csv")
    refused(project, "OUT: .*: a folder", out="data")
    refused(project, "OUT: .*45.jpg: a picture's name", out="data/kinds/images/45.jpg")
    got = answers(project, "kinds", "a", "data/kinds/images", out="answers.csv")
    assert got.made.path == project.root / "answers.csv" and got.made.shown == "answers.csv"
    assert got.made.images == 60


@pytest.mark.parametrize("content", ["id,kind\n00.png,cat\n", "image,answer\n", "", None])
def test_a_file_that_is_no_table_of_answers_is_kept(project, content):
    """Check that OUT replaces no other file: the training table, one with fewer of its columns, an
    empty one, and one that is not a plain file."""
    path = project.root / "mine.csv"
    if content is None:
        os.mkfifo(path)
    else:
        path.write_text(content)
    refused(project, "OUT: .*mine.csv: .*not a table of answers.*name another", out="mine.csv")
    assert path.is_fifo() if content is None else path.read_text() == content


def test_an_older_table_of_answers_is_replaced(project, answers, new_pictures):
    """Check that OUT may be what predict wrote before, for other pictures and classes too."""
    first = answers(project, "kinds", "a", "data/kinds/images", out="answers.csv").made
    header = first.path.read_text().splitlines()[0]
    first.path.write_text(f"{header},p_other\n")
    assert len(answers(project, "kinds", "a", new_pictures, out="answers.csv").table) == 6


def test_what_pretrained_it_is_not_needed_again(project, answers, new_pictures, monkeypatch):
    """Check that a run whose first weights are gone answers the same, by the mean and std that its
    own files of weights say, and asks no hub."""
    before = answers(project, "kinds", "a", new_pictures).table
    change_recipe(project, "a", "model", pretrained=True, weights="/gone/weights.safetensors")
    monkeypatch.setattr("pipeline.training.networks.zoo.knock", None)
    assert answers(project, "kinds", "a", new_pictures).table.equals(before)
    for file in project.run("kinds", "a").rglob("model.safetensors"):
        save_file(load_file(file), file)  # without a note, as older ones are
    change_recipe(project, "a", "model", pretrained=False, weights="auto")
    assert answers(project, "kinds", "a", new_pictures).table.equals(before)


def test_a_device_of_another_machine(project, answers, new_pictures):
    """Check that a run trained on a device that is not here is answered on one that is, and says
    so."""
    before = answers(project, "kinds", "a", new_pictures)
    change_recipe(project, "a", "runtime", device="cuda:99")
    said = []
    got = answers(project, "kinds", "a", new_pictures, say=said.append)
    np.testing.assert_allclose(got.probs, before.probs, atol=1e-2)
    assert "a: trained on cuda:99, which is not here" in said
    assert "a: pictures 6, networks 3" in said


def test_columns_of_classes_of_any_name():
    """Check that classes called like other columns, with commas in their names, keep apart, and
    that an empty set of labels is blank."""
    labels = np.array([[0, 0, 0], [1, 0, 1]], np.int8)
    given, probs = np.array([True, True]), np.array([[0.1, 0.2, 1 / 3], [0.9, 0, 1]])
    text = answers_table(
        ["x", "y"], Answers(labels, probs[:, 0], given, probs), ("image", "note", "a, b"), "+"
    )
    assert text.splitlines() == [
        f'{",".join(COLUMNS)},p_image,p_note,"p_a, b"',
        "x,,0.1,,0.1,0.2,0.333333",
        'y,"image+a, b",0.9,,0.9,0,1',
    ]


def test_expectations_are_of_the_level_below():
    """Check which level of the record's curve a confidence is told by."""
    points = [{"confidence": c, "coverage": 1 - c, "accuracy": 0.9} for c in (0.0, 0.5, 0.9)]
    record = {"coverage": {"points": points}}
    for level, found in ((None, 0), (0.0, 0), (0.49, 0), (0.5, 0.5), (0.89, 0.5), (1.0, 0.9)):
        assert expected_at(record, level).confidence == found


def made(tmp_path, **keys):
    usual = {
        **{"path": tmp_path / "x.csv", "shown": "x.csv", "source": "a", "images": 20},
        **{"counts": {"cat": 4, "dog": 0, "eel": 10}, "dont_know": 6, "broken": 2},
        **{"confidence": 0.9, "expected": Point(0.9, 0.75, 0.98), "seconds": 2.0},
    }
    return Prediction(**usual | keys)


def test_the_report(tmp_path):
    """Check the table of answers, the expectation, the warning, and where the answers lie."""
    table, expected, warning, where = report_parts(made(tmp_path))
    headers, rows = table
    assert headers == ["answer", "pictures", "share"]
    assert rows == [
        ["cat", "4", "20.0%"],
        ["eel", "10", "50.0%"],
        ["don't know", "6", "30.0%"],
    ]
    assert "75.0% of the answers had a confidence of 0.9 or more, and 98.0% of these" in expected
    assert warning.startswith("warning: 2 of 20 pictures")
    assert where == "x.csv: 20 pictures by a, 2.0 s, 10 pictures per second"
    plain = made(tmp_path, confidence=None, dont_know=0, broken=0, expected=Point(0.0, 1.0, 0.875))
    table, expected, _ = report_parts(plain)
    assert table[1][-1][0] == "eel" and expected == "out of fold, 87.5% of all answers were right"
    never = made(tmp_path, expected=Point(0.9, 0.0, None))
    assert "no answer had a confidence of 0.9 or more" in report_parts(never)[1]
    many = {f"c{k}": k for k in range(20)}
    rows = report_parts(made(tmp_path, images=190, counts=many, dont_know=0))[0][1]
    assert len(rows) == 14 and rows[-2] == ["other classes", "28", "14.7%"]
