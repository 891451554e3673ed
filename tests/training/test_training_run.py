"""Tests of a whole tiny run: its files and what stands in them, by oracles of their own."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, f1_score

from pipeline.artifacts.hashing import stable_int
from pipeline.artifacts.predictions import Predictions
from pipeline.folds import load_folds
from pipeline.images.augment import Evaluator
from pipeline.images.decode import canonical
from pipeline.training.networks.origin import normalisation
from pipeline.training.networks.zoo import build_model
from pipeline.training.run import Run

WELL_KNOWN = {"kinds": ("accuracy", "f1_macro"), "sets": ("f1_micro", "subset_accuracy")}


@pytest.fixture(params=["kinds", "sets"])
def run(request, whole, whole_sets):
    """Both uninterrupted runs."""
    return (whole if request.param == "kinds" else whole_sets).run


def ids_of(run, part: str) -> list[str]:
    path = run.data.project.data(run.data.competition.name) / f"{part}.csv"
    return pd.read_csv(path)["id"].tolist()


def test_run_has_the_files_of_the_contract(run):
    """Check that a finished run holds these files and no others: no checkpoint, nothing half."""
    fold = {"model.safetensors", "history.csv", "valid.npz", "test.npz", "fold.json"}
    expected = {"run.json", "oof.npz", "test.npz"}
    expected |= {f"fold-{k}/{name}" for k in range(3) for name in fold}
    found = {p.relative_to(run.folder).as_posix() for p in run.folder.rglob("*") if p.is_file()}
    assert found == expected


def test_run_json_has_its_keys(run):
    """Check that the record holds recipe, hashes, versions, commit, seconds, scores, warnings."""
    record = json.loads((run.folder / "run.json").read_text())
    assert set(record) == {
        *("run", "competition", "arch", "recipe_name", "recipe", "seed", "created", "git_commit"),
        *("recipe_hash", "seedless_hash", "folds_hash", "data_hash", "versions", "warnings"),
        *("metric", "complete", "limited", "folds", "seconds", "oof_score"),
    }
    assert record["complete"] and not record["limited"] and record["warnings"] == []
    assert record["recipe_hash"] == run.recipe.hash
    assert record["folds_hash"] == run.folds.hash
    assert sorted(record["folds"]) == ["0", "1", "2"]
    for number, fold in record["folds"].items():
        assert fold["epochs"] == 2 and fold["resumed_at_epoch"] == 0
        assert fold["rows"]["valid"] == len(run.folds.valid_rows(int(number)))
        assert fold["rows"]["train"] + fold["rows"]["valid"] == 45
        assert fold["setup"]["threads"] == 1 and fold["setup"]["device"] == "cpu"


def test_history_has_a_line_per_epoch(run):
    """Check the columns of history.csv, and that its last score is the fold's."""
    columns = ["epoch", "lr"]
    for part in ("train", "valid"):
        known = WELL_KNOWN[run.data.competition.name]
        columns += [f"{part}_{name}" for name in ("loss", "score", *known)]
    columns += ["one_answer", "seconds", "images_per_second"]
    for fold in range(3):
        text = (run.fold_folder(fold) / "history.csv").read_text()
        assert text.splitlines()[0].split(",") == columns
        lines = list(csv.DictReader(text.splitlines()))
        assert [line["epoch"] for line in lines] == ["1", "2"]
        record = json.loads((run.fold_folder(fold) / "fold.json").read_text())
        assert float(lines[-1]["valid_score"]) == pytest.approx(record["score"], rel=1e-5)
        assert all(float(line["seconds"]) > 0 for line in lines)


def test_oof_holds_each_id_once_in_table_order(run):
    """Check ids of oof, test and every fold's predictions against the tables and the folds."""
    oof, test = (Predictions.load(run.folder / f"{part}.npz") for part in ("oof", "test"))
    assert oof.ids.tolist() == ids_of(run, "train")
    assert test.ids.tolist() == ids_of(run, "test")
    folds = load_folds(run.data.project.folds(run.data.competition.name))
    for number in range(3):
        valid = Predictions.load(run.fold_folder(number) / "valid.npz")
        assert set(valid.ids.tolist()) == set(folds.ids[folds.fold == number].tolist())
        np.testing.assert_array_equal(oof.rows(valid.ids).logits, valid.logits)
        assert valid.meta["fold"] == number and valid.meta["part"] == "valid"
    assert oof.meta["coverage"] == {"folds": [0, 1, 2], "of": [0, 1, 2], "missing": ""}
    assert oof.classes.tolist() == ["cat", "dog", "eel"]


def test_probabilities_are_those_of_the_logits(run):
    """Check against scipy: softmax for one label, sigmoid for several, float32."""
    paths = [run.folder / "oof.npz", *run.folder.glob("fold-*/*.npz")]
    for stored in map(Predictions.load, paths):
        logits = stored.logits.astype(np.float64)
        multiclass = run.data.competition.task == "multiclass"
        expected = softmax(logits, axis=1) if multiclass else expit(logits)
        assert stored.probs.dtype == stored.logits.dtype == np.float32
        np.testing.assert_allclose(stored.probs, expected, rtol=1e-6, atol=1e-7)
        if multiclass:
            np.testing.assert_allclose(stored.probs.sum(1), 1, atol=1e-6)


def test_test_is_the_mean_over_fold_models(run):
    """Check that test probabilities are the folds' mean, and their logits those of the mean."""
    test = Predictions.load(run.folder / "test.npz")
    folds = [Predictions.load(run.fold_folder(k) / "test.npz") for k in range(3)]
    assert all(fold.ids.tolist() == test.ids.tolist() for fold in folds)
    assert np.ptp([fold.probs for fold in folds], axis=0).max() > 1e-3
    np.testing.assert_allclose(test.probs, np.mean([f.probs for f in folds], axis=0), atol=1e-6)
    multiclass = run.data.competition.task == "multiclass"
    again = softmax(test.logits, axis=1) if multiclass else expit(test.logits)
    np.testing.assert_allclose(again, test.probs, atol=1e-5)


def test_scores_are_the_metric_of_the_labels(run):
    """Check the pooled score and each fold's against scikit-learn, labels read from the table."""
    comp = run.data.competition.name
    table = pd.read_csv(run.data.project.data(comp) / "train.csv").set_index("id")
    record = json.loads((run.folder / "run.json").read_text())

    def score(path) -> float:
        stored = Predictions.load(path)
        rows = table.loc[stored.ids.tolist()]
        if comp == "kinds":
            return accuracy_score(rows["kind"], stored.classes[stored.probs.argmax(1)])
        return f1_score(rows[stored.classes.tolist()], stored.probs >= 0.5, average="macro")

    assert record["oof_score"] == pytest.approx(score(run.folder / "oof.npz"))
    for k in range(3):
        expected = score(run.fold_folder(k) / "valid.npz")
        assert record["folds"][str(k)]["score"] == pytest.approx(expected)


def test_weights_make_the_predictions_again(run):
    """Check that model.safetensors and the recipe alone give valid.npz, image by image."""
    for fold in range(3):
        model = build_model(run.recipe, 3)
        model.load_state_dict(load_file(run.fold_folder(fold) / "model.safetensors"))
        valid = Predictions.load(run.fold_folder(fold) / "valid.npz")
        folder = run.data.project.data(run.data.competition.name) / "images"
        view = Evaluator(run.recipe.image)
        crop, short = run.recipe.image.crop, run.recipe.image.canonical_side
        cached = [canonical(folder / f"{name}.png", crop, short) for name in valid.ids]
        images = np.stack([view(pixels) for pixels in cached])
        mean, std = map(np.array, normalisation(run.recipe))
        inputs = ((images / 255 - mean) / std).transpose(0, 3, 1, 2)
        with torch.no_grad():
            logits = model.eval()(torch.tensor(inputs, dtype=torch.float32)).numpy()
        np.testing.assert_allclose(logits, valid.logits, atol=1e-4)


def test_learns(project, train_tiny):
    """Check that ten epochs tell the three bars apart, so that pixels and labels do belong."""
    overrides = "training.epochs=10 optimizer.lr=0.01 augment.scale=null"
    summary = train_tiny(project, overrides=overrides)
    assert summary.record["oof_score"] > 0.9


def test_finished_run_is_not_trained_again(project, train_tiny, artefacts, monkeypatch):
    """Check that the same command again trains nothing and changes no byte."""
    from pipeline.training import train as module

    first = train_tiny(project)
    before, said = artefacts(first.run.folder), []
    monkeypatch.setattr(module, "train_fold", None)  # calling it would raise
    again = train_tiny(project, say=said.append)
    assert artefacts(again.run.folder) == before
    assert any("nothing to train" in line for line in said)


def test_fold_finished_meanwhile_is_not_trained_again(project, train_tiny, monkeypatch):
    """Check that a fold which another process finishes after it was found missing is left alone."""
    from pipeline.training import train as module

    trained, train_fold, jobs = [], module.train_fold, Run.jobs
    monkeypatch.setattr(
        module, "train_fold", lambda job: (trained.append(job.fold), train_fold(job))[1]
    )

    def found_twice(run, only):
        made, said = jobs(run, only)
        return [*made, *made], said

    monkeypatch.setattr(Run, "jobs", found_twice)
    assert train_tiny(project).complete
    assert trained == [0, 1, 2]


def test_two_seeds_differ_and_one_repeats(project, train_tiny, whole, artefacts):
    """Check that seed 0 gives the weights of another project's seed 0, and seed 1 others."""
    options = {"only": (0,)}
    folders = [train_tiny(project, name=f"s{s}", seed=(s,), **options).run.folder for s in (0, 1)]
    weights = [artefacts(folder)["fold-0/model.safetensors"] for folder in folders]
    assert weights[0] == artefacts(whole.run.folder)["fold-0/model.safetensors"]
    assert weights[0] != weights[1]


def test_names_of_runs_of_several_seeds(project, train_tiny):
    """Check that each seed is a run of its own, named after it, and NAME cannot name two."""
    from pipeline.errors import PodiumError

    with pytest.raises(PodiumError, match="leave NAME out"):
        train_tiny(project, seed=(0, 1))
    train_tiny(project, name="", seed=(0, 7), only=(0,))
    names = {path.name for path in project.runs("kinds").iterdir() if path.name[0] != "."}
    assert names == {"lenet-tiny", "lenet-tiny-s7"}


def test_no_epochs_leave_the_network_as_it_begins(project, train_tiny):
    """Check a run of 0 epochs: the weights are those that the seed draws, and it is complete."""
    run = train_tiny(project, overrides="training.epochs=0").run
    assert run.finished_folds() == [0, 1, 2]
    record = json.loads((run.fold_folder(0) / "fold.json").read_text())
    assert record["epochs"] == 0 and record["stopped"] is None
    torch.manual_seed(stable_int("0/0/-1") % 2**63)
    begun = build_model(run.recipe, 3).state_dict()
    kept = load_file(run.fold_folder(0) / "model.safetensors")
    assert all(torch.equal(begun[name], kept[name]) for name in begun)
