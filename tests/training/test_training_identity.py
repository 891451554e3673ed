"""What a run is made from besides recipe, folds and data: first weights, a metric's file, heads."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import PodiumError

COST = 'needs = "labels"\n\n\ndef score(y, answer):\n    return float((y == answer).mean())\n'


def from_file(path) -> str:
    return f"model.pretrained=true model.weights={path}"


def foreign(whole, fold: int, folder: Path) -> Path:
    """Return a fold's weights in a file that does not say what they were trained on."""
    path = folder / f"foreign-{fold}.safetensors"
    save_file(load_file(whole.run.fold_folder(fold) / "model.safetensors"), path)
    return path


def test_a_runs_own_weights_begin_no_run_of_the_competition(project, train_tiny, whole, snapshot):
    """Check that a network which has seen the folds' labels is refused, and nothing is written."""
    before = snapshot(project.root)
    own = whole.run.fold_folder(0) / "model.safetensors"
    with pytest.raises(PodiumError, match="trained on rows of this competition"):
        train_tiny(project, overrides=from_file(own))
    assert snapshot(project.root) == before


def test_first_weights_are_recorded_and_held_to(project, train_tiny, whole, tmp_path):
    """Check record and sentence against hashlib, and that other bytes at the same path are refused
    with both hashes, for the run and under ONLY, until they are put back."""
    files = [foreign(whole, fold, tmp_path) for fold in range(2)]
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    path, said = tmp_path / "start.safetensors", []
    shutil.copy(files[0], path)
    options = {"overrides": from_file(path)}
    run = train_tiny(project, only=(0,), say=said.append, **options).run
    record = json.loads(run.record_path.read_text())["weights"]
    assert record["source"] == "file" and record["file"] == str(path)
    assert record["sha256"] == sums[0] and len(record["mean"]) == len(record["std"]) == 3
    assert sum(sums[0][:16] in line for line in said) == 1
    shutil.copy(files[1], path)
    pair = rf"began from other weights \(.*{sums[0][:16]}.* -> .*{sums[1][:16]}.*FRESH=1"
    with pytest.raises(PodiumError, match=pair) as refusal:
        train_tiny(project, only=(1,), **options)
    assert "\n" not in str(refusal.value)
    shutil.copy(files[0], path)
    assert train_tiny(project, **options).complete


def test_other_statistics_of_the_same_bytes_are_refused(project, train_tiny, whole, tmp_path):
    """Check that mean and std, which may lie beside the file, belong to its identity."""
    state = load_file(whole.run.fold_folder(0) / "model.safetensors")
    torch.save(state, tmp_path / "start.pth")
    beside = tmp_path / "config.json"
    beside.write_text(json.dumps({"mean": [0.5] * 3, "std": [0.25] * 3}))
    options = {"overrides": from_file(tmp_path / "start.pth"), "only": (0,)}
    run = train_tiny(project, **options).run
    assert json.loads(run.record_path.read_text())["weights"]["mean"] == [0.5] * 3
    beside.write_text(json.dumps({"mean": [0.4] * 3, "std": [0.25] * 3}))
    with pytest.raises(PodiumError, match=r"other weights \(.*mean 0\.5.* -> .*mean 0\.4"):
        train_tiny(project, **options)


def test_run_of_before_weights_were_recorded_goes_on(project, train_tiny, whole, tmp_path):
    """Check that a record without them is no reason to refuse."""
    path = foreign(whole, 0, tmp_path)
    run = train_tiny(project, only=(0,), overrides=from_file(path)).run
    record = json.loads(run.record_path.read_text())
    del record["weights"]
    run.record_path.write_text(json.dumps(record))
    assert train_tiny(project, overrides=from_file(path)).complete


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_metric_of_ones_own_is_its_file(checkpoint, project, train_tiny, configure):
    """Check that another file under the same name is another metric, where it chose the epochs."""
    path = project.competitions / "cost.py"
    path.write_text(COST)
    configure(project, "kinds", metric="cost.py")
    options = {"overrides": f"training.checkpoint={checkpoint}", "only": (0,)}
    first = train_tiny(project, **options).record["metric"]
    path.write_text(COST.replace("mean()", "mean() ** 2"))
    if checkpoint == "best":
        with pytest.raises(PodiumError, match=rf"metric that chose its epochs \({first} -> cost"):
            train_tiny(project, **options)
    else:
        again = train_tiny(project, **options).record["metric"]
        assert again != first and again.split("@")[0] == first.split("@")[0]


@pytest.mark.parametrize("listed", [False, True])
def test_head_for_ordered_classes_needs_an_order(listed, project, train_tiny, configure, snapshot):
    """Check that names as found have none, which is refused before anything is written, and names
    that the YAML lists have."""
    if listed:
        configure(project, "kinds", classes=["dog", "cat", "eel"])
        assert train_tiny(project, overrides="model.head=ordinal", only=(0,)).record["folds"]
        return
    shutil.rmtree(project.root / "folds")
    before = snapshot(project.root)
    with pytest.raises(PodiumError, match=r"model\.head: 'ordinal' needs classes in an order"):
        train_tiny(project, overrides="model.head=ordinal")
    assert snapshot(project.root) == before


def test_classes_that_are_numbers_have_an_order(project, train_tiny, edit_table):
    """Check that whole numbers as names of classes need no list."""
    edit_table(project, "kinds", kind=[1, 2, 10] * 15)
    overrides = "model.head=regression"
    summary = train_tiny(project, overrides=overrides, only=(0,))
    assert summary.run.data.classes == ("1", "2", "10")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"only": (7,)}, "no fold 7; the folds are 0, 1, 2, 3, 4"),
        ({"refit": True, "only": (0,)}, "REFIT: needs all folds"),
        ({"overrides": "image.crop.kind=box image.crop.columns=[a,b,c,d]"}, "not the columns that"),
    ],
)
def test_what_is_refused_leaves_nothing(options, said, project, train_tiny, snapshot):
    """Check that a refused first training makes no folds, no run and no cache."""
    shutil.rmtree(project.root / "folds")
    before = snapshot(project.root)
    with pytest.raises(PodiumError, match=said):
        train_tiny(project, **options)
    assert snapshot(project.root) == before
