"""Repeated folds in training: jobs numbered on, predictions averaged over repeats."""

import json

import numpy as np
import pytest
from scipy.special import expit, softmax

from pipeline.artifacts.hashing import text_hash
from pipeline.artifacts.predictions import Predictions
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.folds.repeats import repeat_path
from pipeline.training.learning import loop

TWICE = "training.repeats=2"
OFTEN = f"{TWICE} runtime.checkpoint_seconds=0"


def average(parts: list[Predictions]) -> dict[str, np.ndarray]:
    """Average the probabilities of each id over all files that have it, by a loop."""
    rows: dict[str, list[np.ndarray]] = {}
    for part in parts:
        for name, probs in zip(part.ids.tolist(), part.probs, strict=True):
            rows.setdefault(name, []).append(probs)
    return {name: np.mean(values, axis=0) for name, values in rows.items()}


@pytest.mark.parametrize("comp", ["kinds", "sets"])
def test_predictions_are_means_over_repeats(comp, twice):
    """Check oof by a loop over the jobs' files, test as the mean of six, and their logits."""
    summary = twice[comp]
    run = summary.run
    assert summary.complete and run.numbers == list(range(6))
    assert sorted(summary.record["folds"]) == list("012345")
    parts = [Predictions.load(run.fold_folder(j) / "valid.npz") for j in range(6)]
    expected, oof = average(parts), Predictions.load(run.folder / "oof.npz")
    assert oof.ids.tolist() == run.data.train.ids.tolist()
    for name, probs in zip(oof.ids.tolist(), oof.probs, strict=True):
        np.testing.assert_allclose(probs, expected[name], atol=1e-6)
    again = softmax(oof.logits, axis=1) if comp == "kinds" else expit(oof.logits)
    np.testing.assert_allclose(again, oof.probs, atol=1e-5)
    tests = [Predictions.load(run.fold_folder(j) / "test.npz").probs for j in range(6)]
    test = Predictions.load(run.folder / "test.npz")
    np.testing.assert_allclose(test.probs, np.mean(tests, axis=0), atol=1e-6)
    assert oof.meta["coverage"] == {"folds": [*range(6)], "of": [*range(6)], "missing": ""}
    assert [len(part.ids) for part in parts] == [15] * 6 if comp == "kinds" else True


def test_first_repeat_is_the_run_without_repeats(twice, whole, artefacts):
    """Check that folds 0 to 2 predict what they predict without repeats, and 3 to 5 otherwise."""
    run = twice["kinds"].run
    for fold in range(3):
        pair = [Predictions.load(r.fold_folder(fold) / "valid.npz") for r in (run, whole.run)]
        assert np.array_equal(pair[0].logits, pair[1].logits)
        later = Predictions.load(run.fold_folder(fold + 3) / "valid.npz")
        assert set(later.ids.tolist()) != set(pair[0].ids.tolist())


def test_only_takes_the_numbers_of_all_jobs(project, train_tiny, twice, artefacts):
    """Check ONLY=4 and ONLY=1, partial means, and that the rest ends in the same bytes."""
    first = train_tiny(project, overrides=TWICE, only=(4,))
    assert not first.complete and first.run.finished_folds() == [4]
    both = train_tiny(project, overrides=TWICE, only=(1, 4))
    parts = [Predictions.load(both.run.fold_folder(j) / "valid.npz") for j in (1, 4)]
    expected, oof = average(parts), Predictions.load(both.run.folder / "oof.npz")
    assert set(oof.ids.tolist()) == set(expected)
    for name, probs in zip(oof.ids.tolist(), oof.probs, strict=True):
        np.testing.assert_allclose(probs, expected[name], atol=1e-6)
    assert "folds 0, 2, 3, 5 are not trained" in oof.meta["coverage"]["missing"]
    with pytest.raises(PodiumError, match="no fold 6; the folds are 0, 1, 2, 3, 4, 5"):
        train_tiny(project, overrides=TWICE, only=(6,))
    last = train_tiny(project, overrides=TWICE)
    assert last.complete
    assert artefacts(last.run.folder) == artefacts(twice["kinds"].run.folder)


@pytest.mark.parametrize("step", [6, 30])
def test_dead_in_a_repeat(step, project, train_tiny, dying, killed, twice, artefacts):
    """Check a death in the first fold and in the first fold of the second repeat (steps 25-32)."""
    with dying(loop, "train_step", step), pytest.raises(killed):
        train_tiny(project, overrides=OFTEN)
    summary = train_tiny(project, overrides=OFTEN)
    resumed = [record["resumed_at_epoch"] for record in summary.record["folds"].values()]
    assert sum(resumed) == 1
    assert artefacts(summary.run.folder) == artefacts(twice["kinds"].run.folder)


def test_limited_repeats_validate_what_limit_keeps(project, train_tiny):
    """Check that LIMIT keeps the same rows in every repeat, be a fold's share of them empty."""
    summary = train_tiny(project, overrides="training.repeats=3", limit=8)
    jobs = summary.run.jobs(None)[0]
    kept = {frozenset([*job.train.tolist(), *job.parts["valid"].tolist()]) for job in jobs}
    assert len(jobs) == 9 and len(kept) == 1
    oof = Predictions.load(summary.run.folder / "oof.npz").ids.tolist()
    assert set(oof) == {str(summary.run.data.train.ids[i]) for i in next(iter(kept))}


def test_hold_out_and_other_folds_are_refused(project, train_tiny, remake_folds, snapshot):
    """Check that neither a hold-out nor a stale repeat is trained on, and nothing is written."""
    train_tiny(project, overrides=TWICE, only=(0,))
    remake_folds(project, "kinds", seed=3, fresh=True)
    before = snapshot(project.root)
    with pytest.raises(PodiumError, match=r"repeat-1\.csv: a repeat of other folds"):
        train_tiny(project, overrides=TWICE, name="new")
    remake_folds(project, "kinds", n_folds=1, fresh=True)
    after = snapshot(project.root)
    with pytest.raises(PodiumError, match=r"kinds\.csv is a hold-out"):
        train_tiny(project, overrides=TWICE, name="new")
    assert snapshot(project.root) == after and not project.run("kinds", "new").exists()
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {"folds/kinds.csv", "folds/kinds.json"}


def test_repeats_made_anew_do_not_mix_with_the_old(project, train_tiny):
    """Check that a repeat file made anew on other labels is not gone on with silently."""
    run = train_tiny(project, overrides=TWICE, only=(3,)).run
    path = repeat_path(run.data, 1)
    info = json.loads(path.with_suffix(".json").read_text())
    lines = path.read_text().splitlines(keepends=True)
    fold = {line.split(",")[1] for line in lines[1:]}
    assert fold == {"0", "1", "2"}
    swapped = "".join(
        line.replace(",0,", ",9,").replace(",1,", ",0,").replace(",9,", ",1,") for line in lines
    )
    path.write_text(swapped)
    path.with_suffix(".json").write_text(json.dumps(info | {"hash": text_hash(swapped)}))
    with pytest.raises(PodiumError, match="trained with other repeated folds"):
        train_tiny(project, overrides=TWICE)


def test_more_repeats_are_another_recipe(project, train_tiny):
    """Check that `repeats` is science: named where it differs, and absent from hashes where it is 1
    so that older recipes and runs keep theirs."""
    plain, two = (Recipe.model_validate({"training": {"repeats": n}}) for n in (1, 2))
    assert plain.hash == Recipe().hash != two.hash
    assert "repeats" not in plain.science()["training"] and plain.seedless_hash != two.seedless_hash
    train_tiny(project, only=(0,))
    with pytest.raises(PodiumError, match=r"\(training\.repeats: 1 -> 2\)"):
        train_tiny(project, overrides=TWICE)
