"""Tests of what a run refuses: another recipe, other folds or labels, a folder that is no run."""

import json

import pandas as pd
import pytest

from pipeline.errors import Busy, PodiumError

REMEDY = r"choose another NAME=, or FRESH=1"


def test_changed_recipe_is_refused_by_its_key(project, train_tiny, artefacts):
    """Check that another learning rate under the same name is named with both values."""
    before = artefacts(train_tiny(project, only=(0,)).run.folder)
    with pytest.raises(PodiumError, match=rf"optimizer\.lr: 0\.001 -> 0\.1\).*{REMEDY}"):
        train_tiny(project, overrides="optimizer.lr=0.1")
    with pytest.raises(PodiumError, match=r"training\.seed: 0 -> 1"):
        train_tiny(project, seed=(1,))
    assert artefacts(project.run("kinds", "r")) == before


def test_runtime_and_description_may_change(project, train_tiny, whole, artefacts):
    """Check that what is not science does not keep a run from being gone on with."""
    train_tiny(project, only=(0,))
    summary = train_tiny(project, overrides="describe=words runtime.workers=1")
    assert artefacts(summary.run.folder) == artefacts(whole.run.folder)


def test_fresh_starts_anew(project, train_tiny, artefacts):
    """Check that FRESH=1 deletes the old run with all that lies in it, and trains the new one."""
    first = train_tiny(project)
    before = artefacts(first.run.folder)
    (first.run.folder / "notes.txt").write_text("of the old run")
    summary = train_tiny(project, overrides="optimizer.lr=0.1", fresh=True, only=(0,))
    assert not (summary.run.folder / "notes.txt").exists()
    assert list(summary.record["folds"]) == ["0"]
    assert json.loads(summary.run.record_path.read_text())["recipe"]["optimizer"]["lr"] == 0.1
    key = "fold-0/model.safetensors"
    assert artefacts(summary.run.folder)[key] != before[key]


def test_fresh_leaves_a_run_alone_whose_fold_is_in_work(
    project, train_tiny, held_elsewhere, artefacts
):
    """Check that FRESH=1 deletes nothing while another process trains one of the folds."""
    first = train_tiny(project)
    before = artefacts(first.run.folder)
    with held_elsewhere(first.run.lock_path("fold-1")), pytest.raises(Busy, match="fold 1"):
        train_tiny(project, fresh=True)
    assert artefacts(first.run.folder) == before


def test_changed_folds_are_refused(project, train_tiny, remake_folds):
    """Check that a run does not mix folds of two makings."""
    train_tiny(project, only=(0,))
    remake_folds(project, "kinds", seed=1, fresh=True)
    with pytest.raises(PodiumError, match=rf"trained (on|with) other folds.*{REMEDY}"):
        train_tiny(project)


def test_changed_label_is_refused(project, train_tiny):
    """Check that one corrected label makes it another run."""
    train_tiny(project, only=(0,))
    path = project.data("kinds") / "train.csv"
    frame = pd.read_csv(path)
    frame.loc[3, "kind"] = "eel" if frame.loc[3, "kind"] != "eel" else "cat"
    frame.to_csv(path, index=False)
    with pytest.raises(PodiumError, match=rf"other labels[^(]*ids.*{REMEDY}"):
        train_tiny(project)


def test_foreign_folder_is_refused_and_kept(project, train_tiny):
    """Check that a folder without run.json is not trained into and not deleted."""
    folder = project.run("kinds", "r")
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("ten years of work")
    with pytest.raises(PodiumError, match=rf"not a run \(it has no run\.json\); {REMEDY}"):
        train_tiny(project)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": "r"}', '{"recipe": 3}', "\ufffd\x00"])
def test_broken_record_is_refused(text, project, train_tiny):
    """Check that a run.json which is no record is one error with its name, and FRESH=1 helps."""
    folder = project.run("kinds", "r")
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(text)
    with pytest.raises(PodiumError, match=rf"run\.json.*{REMEDY}"):
        train_tiny(project)
    assert train_tiny(project, fresh=True, only=(0,)).run.finished_folds() == [0]


def test_live_lock_is_respected(project, train_tiny, held_elsewhere, whole, artefacts):
    """Check that a fold in work elsewhere is left to it, the others are done, and Busy is said."""
    said, path = [], whole.run.lock_path("fold-1")
    path = project.runs("kinds") / ".locks" / path.name
    with held_elsewhere(path):
        partial = train_tiny(project, say=said.append)
        assert partial.run.finished_folds() == [0, 2] and not partial.complete
        left = [line for line in said if "fold 1 left out" in line]
        assert len(left) == 1 and "is being worked on by process" in left[0]
        with pytest.raises(Busy, match="fold 1 of run r is being worked on by process"):
            train_tiny(project)
    summary = train_tiny(project)
    assert artefacts(summary.run.folder) == artefacts(whole.run.folder)


def test_damaged_predictions_of_a_finished_fold_are_named(project, train_tiny):
    """Check that a broken valid.npz is one error with the fold to delete, which then helps."""
    summary = train_tiny(project)
    (summary.run.fold_folder(1) / "valid.npz").write_bytes(b"PK")
    with pytest.raises(PodiumError, match=r"fold-1/valid\.npz.*delete .*fold-1 and run the same"):
        train_tiny(project)


def test_no_architecture_says_what_to_type(project):
    """Check that training nothing in particular is answered with a command."""
    from pipeline.training.request import TrainRequest
    from pipeline.training.train import train

    with pytest.raises(PodiumError, match="Type make train ARCH=densenet121"):
        train(project, TrainRequest("kinds", []), str)
    with pytest.raises(PodiumError, match=r"no model 'lenett'.*lenet"):
        train(project, TrainRequest("kinds", ["lenet", "lenett"]), str)
    assert not project.runs("kinds").exists()
