"""Test-time augmentation from finished folds on: which average is taken, and that all files of a
run follow it. The folds' files are written by hand."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from pipeline.artifacts.files import write_json
from pipeline.artifacts.predictions import Predictions
from pipeline.competition import CompetitionData, load_data
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.folds import load_shared, make_splits
from pipeline.training import train as train_module
from pipeline.training.assemble import Summary, assemble
from pipeline.training.refit import Refit
from pipeline.training.run import Run

N_VIEWS = 3
Views = Callable[[np.ndarray, str], np.ndarray]  # of rows and a part's name: logits (views, n, c)


def answers_of(logits: np.ndarray, task: str) -> np.ndarray:
    return expit(logits) if task == "multilabel" else softmax(logits, axis=-1)


def open_run(data: CompetitionData, name: str = "r", repeats: int = 1, **views) -> Run:
    asked = {"flips": "both", **views}
    recipe = Recipe.model_validate(
        {
            "model": {"arch": "lenet", "pretrained": False},
            "image": {"size": 16},
            "training": {"repeats": repeats},
            "views": asked,
        }
    )
    folds = load_shared(data)
    splits, _ = make_splits(data, folds, repeats)
    run = Run(name, "tiny", recipe, data, folds, splits.repeats[1:])
    run.open()
    return run


def write_fold(
    run: Run, number: int, logits_of_rows: Views, valid: np.ndarray | None = None, **record
) -> None:
    """Write what a fold leaves that saw every row of its parts by several views; `valid` are the
    rows that it validates, if not all of its own."""
    task, folder = run.data.competition.task, run.fold_folder(number)
    ids = np.concatenate([run.data.train.ids, run.data.test.ids])
    parts = run.apart()
    if run.origin is None:
        own = run.splits.valid_rows(number)
        parts = {"valid": own if valid is None else valid, **parts}
    for part, rows in parts.items():
        views = logits_of_rows(rows, f"{number} {part}").astype(np.float32)
        logits, probs = views.mean(axis=0), answers_of(views, task).mean(axis=0)
        meta = {**run.meta, "fold": number, "part": part}
        classes = np.array(run.data.classes)
        Predictions(ids[rows], classes, logits, probs, meta).save(folder / f"{part}.npz")
    count = {part: len(rows) for part, rows in parts.items()}
    content = {"fold": number, "score": 0.5, "seconds": 1.0, "rows": count}
    write_json(folder / "fold.json", content | record)


def noisy(classes: int) -> Views:
    """Invent views that have nothing to do with the labels."""

    def invent(rows: np.ndarray, name: str) -> np.ndarray:
        rng = np.random.default_rng(list(name.encode()))
        return 3 * rng.normal(size=(N_VIEWS, len(rows), classes))

    return invent


def torn(data: CompetitionData, right: str) -> Views:
    """Invent views of which one is very sure of one class, and two are less sure of the next: the
    mean of logits says the first class, that of probabilities the next. `right` is the better."""
    labels = np.concatenate([data.labels, np.zeros(len(data.test.ids), np.int64)])

    def invent(rows: np.ndarray, name: str) -> np.ndarray:
        first = labels[rows] if right == "logits" else (labels[rows] + 2) % 3
        sure, next_one = np.eye(3)[first], np.eye(3)[(first + 1) % 3]
        return np.stack([20 * sure, 4 * next_one, 4 * next_one])

    return invent


def finished(run: Run, views: Views, **record) -> Summary:
    for number in run.numbers:
        write_fold(run, number, views, **record)
    return assemble(run)


def stored(run: Run, part: str) -> Predictions:
    return Predictions.load(run.folder / f"{part}.npz")


def fold_parts(run: Run, part: str, space: str) -> list[tuple[list[str], np.ndarray]]:
    """Return ids and probabilities of every fold by hand, as the average in a space has them."""
    task, found = run.data.competition.task, []
    for number in run.numbers:
        file = Predictions.load(run.fold_folder(number) / f"{part}.npz")
        values = file.probs if space == "probs" else answers_of(file.logits.astype(float), task)
        found.append((file.ids.tolist(), values))
    return found


@pytest.fixture
def data_of(project, remake_folds) -> Callable[[str], CompetitionData]:
    def load(comp: str) -> CompetitionData:
        remake_folds(project, comp, test=0.2, fresh=True)
        return load_data(project, comp)

    return load


@pytest.mark.parametrize("comp", ["kinds", "sets"])
@pytest.mark.parametrize("space", ["probs", "logits"])
def test_every_file_follows_the_average(data_of, comp, space):
    """Check oof, test and local test against averages by hand, and that their logits and
    probabilities say the same."""
    data = data_of(comp)
    run, task = open_run(data, average=space), data.competition.task
    record = finished(run, noisy(3)).record
    assert record["views"]["average"] == space and "local_test_score" in record
    assert record["oof_score"] == record["views"]["scores"][space]
    by_id = {
        i: row for part in fold_parts(run, "valid", space) for i, row in zip(*part, strict=True)
    }
    oof = stored(run, "oof")
    assert oof.ids.tolist() == [i for i in data.train.ids.tolist() if i in by_id]
    np.testing.assert_allclose(oof.probs, [by_id[i] for i in oof.ids.tolist()], atol=1e-6)
    for part in ("test", "local-test"):
        folds = fold_parts(run, part, space)
        assert len({tuple(ids) for ids, _ in folds}) == 1 and folds[0][0]
        assert stored(run, part).ids.tolist() == folds[0][0]
        means = np.mean([probs for _, probs in folds], axis=0)
        np.testing.assert_allclose(stored(run, part).probs, means, atol=1e-6)
    for part in ("oof", "test", "local-test"):
        kept = stored(run, part)
        again = answers_of(kept.logits.astype(float), task)
        np.testing.assert_allclose(again, kept.probs, atol=1e-5)
    other = fold_parts(run, "valid", "logits" if space == "probs" else "probs")
    assert np.abs(np.concatenate([p for _, p in other]).sum(0) - oof.probs.sum(0)).max() > 0.1


@pytest.mark.parametrize("right", ["probs", "logits"])
def test_auto_takes_what_scores_better(data_of, right):
    """Check the choice where one average is always right and the other never, the scores of both,
    and that the test rows follow it."""
    data = data_of("kinds")
    run = open_run(data)
    summary = finished(run, torn(data, right))
    views = summary.record["views"]
    assert views["average"] == right
    assert views["scores"] == {right: 1.0, {"probs": "logits", "logits": "probs"}[right]: 0.0}
    assert summary.record["oof_score"] == 1.0
    assert views["names"][:2] == ["16 px", "16 px, flipped"] and len(views["names"]) == 4
    expected = {"logits": 0, "probs": 0}[right]
    assert set(stored(run, "test").probs.argmax(1)) == {expected}
    assert json.loads((run.folder / "run.json").read_text()) == summary.record


@pytest.mark.parametrize("right", ["probs", "logits"])
def test_a_fixed_average_is_not_chosen(data_of, right):
    """Check that the recipe's word stands although the other scores better, which is told."""
    data = data_of("kinds")
    worse = {"probs": "logits", "logits": "probs"}[right]
    record = finished(open_run(data, average=worse), torn(data, right)).record
    assert record["views"]["average"] == worse and record["oof_score"] == 0.0
    assert record["views"]["scores"][right] == 1.0


def test_a_loss_is_better_where_it_is_smaller(data_of, project, configure):
    """Check the choice by log loss against scikit-learn's, both ways round: sure views that are
    right gain by logits, sure views that are wrong lose by them."""
    configure(project, "kinds", metric="log_loss")
    data, chosen = data_of("kinds"), set()
    for right in ("probs", "logits"):
        run = open_run(data, name=right)
        views = finished(run, torn(data, right)).record["views"]
        truth = dict(zip(data.train.ids.tolist(), data.labels.tolist(), strict=True))
        losses = {}
        for space in ("probs", "logits"):
            parts = fold_parts(run, "valid", space)
            labels = [truth[i] for ids, _ in parts for i in ids]
            losses[space] = log_loss(labels, np.concatenate([p for _, p in parts]))
            assert views["scores"][space] == pytest.approx(losses[space], abs=1e-4)
        assert views["average"] == min(losses, key=losses.get)
        chosen.add(views["average"])
    assert chosen == {"probs", "logits"}


def test_a_tie_goes_to_probabilities(data_of):
    """Check that where both averages answer alike, probabilities are averaged."""
    data = data_of("kinds")
    labels = np.concatenate([data.labels, np.zeros(len(data.test.ids), np.int64)])

    def sure(rows: np.ndarray, name: str) -> np.ndarray:
        return np.stack([scale * np.eye(3)[labels[rows]] for scale in (1, 4, 9)])

    views = finished(open_run(data), sure).record["views"]
    assert views["scores"] == {"probs": 1.0, "logits": 1.0} and views["average"] == "probs"


def test_an_undefined_score_goes_to_probabilities(data_of, project, configure):
    """Check that a metric that the rows at hand do not define leaves probabilities, and says so."""
    configure(project, "kinds", metric="auc_macro")
    data = data_of("kinds")
    run = open_run(data)
    only = run.splits.valid_rows(0)
    write_fold(run, 0, noisy(3), only[data.labels[only] == 0])
    record = assemble(run).record
    assert record["views"]["scores"] == {"probs": None, "logits": None}
    assert record["views"]["average"] == "probs" and record["oof_score"] is None


def test_the_score_of_one_view_is_weighted_by_rows(data_of):
    """Check the mean over folds of the first view's score, of which an undefined one is left out;
    without any, none is told."""
    data = data_of("sets")
    run = open_run(data)
    scores = [0.25, None, 0.75]
    for number, score in zip(run.numbers, scores, strict=True):
        write_fold(run, number, noisy(3), score_one_view=score)
    sizes = [len(run.splits.valid_rows(number)) for number in run.numbers]
    expected = (0.25 * sizes[0] + 0.75 * sizes[2]) / (sizes[0] + sizes[2])
    assert assemble(run).record["views"]["scores"]["one view"] == pytest.approx(expected)
    bare = finished(open_run(data, name="bare"), noisy(3)).record
    assert set(bare["views"]["scores"]) == {"probs", "logits"}


def test_repeats_are_averaged_in_the_space(project):
    """Check that each row's answer is the mean over the deals of what it is in the space."""
    data = load_data(project, "kinds")
    for space in ("probs", "logits"):
        run = open_run(data, name=space, repeats=2, average=space)
        finished(run, noisy(3))
        total: dict[str, list[np.ndarray]] = {}
        for ids, probs in fold_parts(run, "valid", space):
            for name, row in zip(ids, probs, strict=True):
                total.setdefault(name, []).append(row)
        assert all(len(rows) == 2 for rows in total.values())
        oof = stored(run, "oof")
        means = [np.mean(total[name], axis=0) for name in oof.ids.tolist()]
        np.testing.assert_allclose(oof.probs, means, atol=1e-6)


def test_twice_the_same_bytes_and_the_choice_of_what_is_there(data_of, snapshot, project):
    """Check that assembling again changes nothing, and that folds that are added later are heard:
    the choice of one fold is not kept against that of all."""
    data = data_of("kinds")
    run = open_run(data)
    write_fold(run, 0, torn(data, "logits"))
    assert assemble(run).record["views"]["average"] == "logits"
    for number in run.numbers[1:]:
        write_fold(run, number, torn(data, "probs"))
    record = assemble(run).record
    assert record["views"]["average"] == "probs" and record["complete"]
    before = snapshot(project.root)
    assert assemble(run).record == record and snapshot(project.root) == before


def test_a_refit_takes_its_run_s_choice(data_of):
    """Check that the record and the test rows of a refit follow what its run chose, which it could
    not choose itself, and that a run without a choice is named."""
    data = data_of("kinds")
    base = open_run(data)
    summary = finished(base, torn(data, "logits"), best_epoch=None, score_one_view=0.5)
    refit = Refit.of(base, summary)
    refit.open()
    write_fold(refit, refit.numbers[0], noisy(3))
    record = refit.assemble().record
    assert record["views"] == summary.record["views"] and record["oof_score"] == 1.0
    one = Predictions.load(refit.folder / "refit" / "test.npz")
    expected = softmax(one.logits.astype(float), axis=1)
    np.testing.assert_allclose(stored(refit, "test").probs, expected, atol=1e-6)
    assert np.abs(expected - one.probs).max() > 0.1
    assert np.array_equal(stored(refit, "oof").probs, stored(base, "oof").probs)
    write_json(base.record_path, {k: v for k, v in summary.record.items() if k != "views"})
    with pytest.raises(PodiumError, match=r"run.json.*views"):
        refit.assemble()


def test_one_view_is_taken_as_it_is(data_of):
    """Check that a run without test-time augmentation says nothing of views, and that the numbers
    of its folds are not turned into one another."""
    data = data_of("kinds")
    run = open_run(data, flips="none", sizes=[16])
    record = finished(run, noisy(3), score_one_view=None).record
    assert "views" not in record
    oof = stored(run, "oof")
    files = [Predictions.load(run.fold_folder(n) / "valid.npz") for n in run.numbers]
    by_id = {
        i: (a, b) for f in files for i, a, b in zip(f.ids.tolist(), f.logits, f.probs, strict=True)
    }
    for name, logits, probs in zip(oof.ids.tolist(), oof.logits, oof.probs, strict=True):
        assert np.array_equal(logits, by_id[name][0]) and np.array_equal(probs, by_id[name][1])


def test_a_trained_run_goes_on_to_the_same_bytes(project, train_tiny, artefacts, dying, killed):
    """Check that a run with views that is killed between two folds ends like one that is not, that
    its folds were scored by one view too, and that no prediction is that of a single view."""
    asked = {"overrides": "views.flips=horizontal"}
    whole = train_tiny(project, **asked)
    views, kept = whole.record["views"], artefacts(whole.run.folder)
    assert all(0 <= views["scores"][key] <= 1 for key in ("probs", "logits", "one view"))
    with pytest.raises(killed), dying(train_module, "train_fold", 3):
        train_tiny(project, fresh=True, **asked)
    assert len(whole.run.finished_folds()) == 2
    again = train_tiny(project, **asked)
    assert artefacts(again.run.folder) == kept and again.record["views"] == views
    plain = artefacts(train_tiny(project, name="plain").run.folder)
    files = sorted(kept)
    assert files == sorted(plain)
    same = {name for name in files if kept[name] == plain[name]}
    assert not {name for name in same if name.endswith(".npz")}
