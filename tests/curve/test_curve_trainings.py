"""Learning curves of real, very small trainings: points, resuming, runs that are taken over."""

import csv
import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from pipeline.artifacts.findings import Audit, Finding
from pipeline.artifacts.locks import lock
from pipeline.artifacts.predictions import Predictions
from pipeline.curve import CurveRequest, learning_curve, plan, report_parts, study
from pipeline.ensemble.members import list_runs, usable_runs
from pipeline.errors import Busy, PodiumError
from pipeline.folds import draft_shared
from pipeline.training.gate import audited_settings
from pipeline.training.request import TrainRequest
from pipeline.training.train import train

REQUEST = CurveRequest("tiny", "lenet", seeds=(0, 1), steps=3)
NAME = "curve-lenet-baseline"


def curve_of(tiny, said=None, **options):
    say = (lambda line: None) if said is None else said.append
    return learning_curve(tiny.project, replace(REQUEST, **options), say)


def timeless(path):
    """Return the content of curve.json without what a clock decides."""
    content = json.loads(path.read_text())
    for part in (*content["points"], *content["sizes"]):
        part.pop("seconds")
    return {k: v for k, v in content.items() if k not in ("created", "git_commit")}


def truth_of(tiny, predictions):
    data = tiny.data
    return data.labels[np.searchsorted(data.train.ids, predictions.ids)]


def words_of(made):
    return "\n".join(part for part in report_parts(made) if isinstance(part, str))


@pytest.fixture
def never_train(monkeypatch):
    """Let any training fail."""

    def refuse(job):
        raise AssertionError(f"{job.title} was trained again")

    return lambda: monkeypatch.setattr(study, "train_fold", refuse)


def test_a_curve_from_nothing(tiny):
    """Check points, scores, files and report of a curve, and that no weights are kept."""
    said = []
    made = curve_of(tiny, said)
    folder = tiny.run(NAME)
    content = json.loads((folder / "curve.json").read_text())
    assert [(p["size"], p["seed"]) for p in content["points"]] == [
        (size, seed) for seed in (0, 1) for size in ("1/4", "1/2", "full")
    ]
    valid = tiny.data.train.ids[tiny.folds().valid_rows(0)]
    for point in content["points"]:
        part = {"full": 1, "1/2": 2, "1/4": 4}[point["size"]]
        found = Predictions.load(
            folder / f"size-1-{part}.seed-{point['seed']}.fold-0" / "valid.npz"
        )
        assert found.ids.tolist() == valid.tolist()
        score = accuracy_score(truth_of(tiny, found), found.probs.argmax(1))
        assert point["score"] == pytest.approx(score)
        assert point["n"] == pytest.approx(len(tiny.folds().train_rows(0)) / part, abs=0.5)
    assert [size["size"] for size in content["sizes"]] == ["full", "1/2", "1/4"]
    for size in content["sizes"]:
        scores = [p["score"] for p in content["points"] if p["size"] == size["size"]]
        assert size["mean"] == pytest.approx(np.mean(scores))
        assert size["sd"] == pytest.approx(np.std(scores, ddof=1))
    rows = list(csv.DictReader((folder / "curve.csv").open()))
    assert [float(row["score"]) for row in rows] == [p["score"] for p in content["points"]]
    assert cv2.imread(str(folder / "curve.png")).shape[:2] == (540, 864)
    assert not list(folder.rglob("*.safetensors")) + list(folder.rglob("last.pt"))
    assert made.sentence == content["sentence"] and made.missing == []
    table = report_parts(made)[0]
    assert table[0] == ["size", "rows", "accuracy over 2 seeds", "seconds"] and len(table[1]) == 3
    assert "trained for 1 epoch," in words_of(made) and f"{NAME}/curve.png" in words_of(made)
    assert "next: " in words_of(made) and any("fold 0, 8 rows" in line for line in said)


def test_a_curve_is_no_run(tiny):
    """Check that neither ensemble nor leaderboard sees a curve's folder."""
    curve_of(tiny, seeds=(0,))
    assert tiny.run(NAME).exists()
    assert list_runs(tiny.data) == []
    assert usable_runs(tiny.data, tiny.folds()) == ([], {})


def test_a_resumed_curve_is_the_same(tiny, never_train):
    """Check that what was deleted is trained again to the same record, and the rest is kept."""
    curve_of(tiny)
    path = tiny.run(NAME) / "curve.json"
    whole = timeless(path)
    for point in sorted(tiny.run(NAME).glob("size-*"))[::2]:
        for file in point.iterdir():
            file.unlink()
    kept = {p: p.stat().st_mtime_ns for p in tiny.run(NAME).glob("size-*/valid.npz")}
    curve_of(tiny)
    assert timeless(path) == whole and len(kept) == 3
    assert all(p.stat().st_mtime_ns == at for p, at in kept.items())
    never_train()
    said = []
    curve_of(tiny, said)
    assert timeless(path) == whole and "nothing to train" in said[-1]


def test_an_interrupted_curve_says_what_is_missing(tiny, monkeypatch):
    """Check that the record of a curve that is broken off names what it lacks, and grows."""
    original, calls = study.train_fold, []

    def mortal(job):
        calls.append(job)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(job)

    with monkeypatch.context() as patch:
        patch.setattr(study, "train_fold", mortal)
        with pytest.raises(KeyboardInterrupt):
            curve_of(tiny)
    content = json.loads((tiny.run(NAME) / "curve.json").read_text())
    assert content["missing"] == ["size 1/2, seed 1, fold 0", "size full, seed 1, fold 0"]
    assert len(content["points"]) == 4 and content["fit"] is not None
    assert curve_of(tiny).missing == []


def test_a_point_in_work_elsewhere_is_left_to_it(tiny):
    """Check that a held lock leaves one point out and is said; Busy is raised if all are held."""
    held = tiny.run(NAME).parent / ".locks" / f"{NAME}.size-1-2.seed-0.fold-0.lock"
    with lock(held, "it"):
        made = curve_of(tiny, seeds=(0,))
        assert (made.verdict, made.missing) == ("unfinished", ["size 1/2, seed 0, fold 0"])
        assert "the same command trains what is missing" in words_of(made)
        with pytest.raises(Busy, match=r"size 1 2\.seed 0\.fold 0 of run curve-lenet"):
            curve_of(tiny, seeds=(0,))


def test_a_finished_run_stands_for_the_full_size(tiny, never_train):
    """Check that the fold of a run of the same recipe is taken over, and that it is what the curve
    would have trained itself."""
    own = curve_of(tiny, seeds=(0,)).record
    train(tiny.project, TrainRequest("tiny", ["lenet"], only=[0]), str)
    run = Predictions.load(tiny.run("lenet-baseline") / "fold-0" / "valid.npz")
    full = tiny.run(NAME) / "size-1-1.seed-0.fold-0"
    assert (Predictions.load(full / "valid.npz").logits == run.logits).all()
    for file in full.iterdir():
        file.unlink()
    never_train()
    made = curve_of(tiny, seeds=(0,))
    taken = [p for p in made.record["points"] if "taken_from" in p]
    assert [(p["size"], p["taken_from"]) for p in taken] == [("full", "lenet-baseline")]
    assert made.record["fit"] == own["fit"] and made.sentence == own["sentence"]


def test_a_run_of_another_recipe_stands_for_nothing(tiny):
    """Check that a run of the same architecture with another setting is not taken over."""
    train(
        tiny.project, TrainRequest("tiny", ["lenet"], only=[0], overrides="optimizer.lr=1e-4"), str
    )
    assert not [p for p in curve_of(tiny, seeds=(0,)).record["points"] if "taken_from" in p]


@pytest.mark.parametrize(
    ("overrides", "change", "taken"),
    [
        ("", {}, 1),
        ("", {"weights": {"source": "hub", "said": "weights of the hub"}}, 0),
        ("", {"metric": "f1_macro"}, 1),
        ("training.checkpoint=best", {"metric": "f1_macro"}, 0),
    ],
)
def test_a_run_that_began_otherwise_stands_for_nothing(tiny, overrides, change, taken):
    """Check that a run of other first weights, or whose metric chose other epochs, is not used."""
    train(
        tiny.project, TrainRequest("tiny", ["lenet"], only=[0], overrides=overrides, name="r"), str
    )
    path = tiny.run("r") / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    made = curve_of(tiny, seeds=(0,), overrides=overrides)
    assert len([p for p in made.record["points"] if "taken_from" in p]) == taken


def test_scores_are_pooled_over_folds(tiny):
    """Check that two folds give one score per size and seed, that of all their rows."""
    made = curve_of(tiny, seeds=(0,), only=(1, 0))
    folder = tiny.run(NAME)
    found = [Predictions.load(folder / f"size-1-2.seed-0.fold-{k}" / "valid.npz") for k in (0, 1)]
    truth = np.concatenate([truth_of(tiny, one) for one in found])
    answer = np.concatenate([one.probs.argmax(1) for one in found])
    half = made.record["sizes"][1]
    assert half["scores"] == {"0": pytest.approx(accuracy_score(truth, answer))}
    assert made.record["validated"]["rows"] == len(truth) and len(made.record["points"]) == 6


def test_a_loss_with_groups_and_a_hold_out(make_tiny):
    """Check a metric where less is better, on a hold-out of grouped rows: no group is cut."""
    tiny = make_tiny(images=True, metric="log_loss", rows=60)
    tiny.edit("train", lambda t: t.assign(herd=[f"h{i // 2}" for i in range(len(t))]))
    tiny.configure(columns={"id": "id", "label": "label", "group": "herd"})
    folds = tiny.folds(n_folds=1, holdout=0.3)
    jobs = []
    original = study.train_fold
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "train_fold", lambda job: jobs.append(job) or original(job))
        made = curve_of(tiny, seeds=(4,), only=())
    group = folds.group
    for job in jobs:
        out = np.setdiff1d(np.arange(60), job.train)
        assert not set(group[job.train]) & set(group[out])
    assert set(jobs[0].train) < set(jobs[1].train) < set(jobs[2].train)
    full = tiny.run(NAME) / "size-1-1.seed-4.fold-0" / "valid.npz"
    found = Predictions.load(full)
    probs = found.probs / found.probs.sum(axis=1, keepdims=True, dtype=float)
    score = log_loss(truth_of(tiny, found), probs, labels=[0, 1, 2])
    assert made.record["points"][-1]["score"] == pytest.approx(score, rel=1e-5)
    assert made.verdict in ("helps", "hardly", "untold", "worse")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": ""}, "ARCH: which architecture"),
        ({"arch": "lennet"}, "ARCH: timm .*did you mean lenet"),
        ({"only": (7,)}, "ONLY: there is no fold 7; the folds are 0, 1, 2, 3, 4"),
        ({"seeds": (1, 1)}, r"SEED: .* several different ones, got \[1, 1\]"),
        ({"seeds": ()}, "SEED: must name one seed"),
        ({"steps": 2}, "STEPS: a law needs at least 3 sizes, got 2"),
        ({"overrides": "data.limit=20"}, "LIMIT: the recipe has data.limit=20"),
        ({"recipe": "basline"}, "RECIPE: no .*did you mean baseline"),
    ],
)
def test_what_is_asked_wrongly_is_refused(tiny, options, message):
    """Check the words for a mistake, and that it leaves nothing behind."""
    with pytest.raises(PodiumError, match=message):
        curve_of(tiny, **options)
    assert not tiny.run("x").parent.exists() and not tiny.project.folds("tiny").exists()


def test_too_few_rows_are_refused(make_tiny):
    """Check that ten rows of three classes, which give two sizes, are refused before training."""
    tiny = make_tiny(images=True, rows=10)
    with pytest.raises(PodiumError, match="8 training rows give 2 sizes"):
        curve_of(tiny)
    assert not tiny.run("x").parent.exists()


def test_fewer_sizes_than_asked_are_said(make_tiny):
    """Check that sizes without a row per class are left out with a warning."""
    made = curve_of(make_tiny(images=True, rows=20), seeds=(0,), steps=6)
    assert made.record["asked"]["sizes"] == ["full", "1/2", "1/4"]
    assert "size 1/8 and below left out: too few rows" in words_of(made)


def test_changes_of_recipe_folds_and_data_are_refused(tiny):
    """Check that a curve is not mixed from two recipes, foldings or tables; FRESH starts anew."""
    curve_of(tiny, name="mine", seeds=(0,))
    for overrides in ("optimizer.lr=1e-4", "training.epochs=2"):
        with pytest.raises(PodiumError, match="curve-mine: trained by another recipe"):
            curve_of(tiny, name="mine", seeds=(0,), overrides=overrides)
    tiny.folds(seed=5, fresh=True)
    with pytest.raises(PodiumError, match="trained with other folds"):
        curve_of(tiny, name="mine", seeds=(0,))
    before = json.loads((tiny.run("curve-mine") / "curve.json").read_text())
    made = curve_of(tiny, name="mine", seeds=(0,), fresh=True)
    assert made.record["folds_hash"] != before["folds_hash"]
    flip = {"cat": "dog", "dog": "cat", "owl": "owl"}
    tiny.edit("train", lambda t: t.assign(label=[flip[x] for x in t["label"]]))
    with pytest.raises(PodiumError, match="trained with other labels"):
        curve_of(tiny, name="mine", seeds=(0,))


def test_a_folder_that_is_no_curve_is_refused(tiny):
    """Check that a run under the curve's name is neither used nor deleted."""
    tiny.folds()
    tiny.fake_run(NAME)
    with pytest.raises(PodiumError, match="not a learning curve"):
        curve_of(tiny)
    assert (tiny.run(NAME) / "run.json").exists()


def test_more_seeds_join_a_curve(tiny, monkeypatch):
    """Check that another seed trains its own points alone."""
    curve_of(tiny, seeds=(0,))
    trained, original = [], study.train_fold
    monkeypatch.setattr(study, "train_fold", lambda job: trained.append(job) or original(job))
    made = curve_of(tiny, seeds=(0, 2))
    assert {job.recipe.training.seed for job in trained} == {2} and len(trained) == 3
    assert made.record["sizes"][0]["scores"].keys() == {"0", "2"}


def test_points_of_other_subsets_are_refused(tiny, monkeypatch):
    """Check that points whose rows a later version would draw otherwise are not mixed in."""
    curve_of(tiny, seeds=(0,))
    original = plan.halvings
    monkeypatch.setattr(plan, "halvings", lambda *rows: original(*rows[:-1], rows[-1] + 1))
    with pytest.raises(PodiumError, match=r"its rows_hash differs.*FRESH=1 starts anew"):
        curve_of(tiny, seeds=(0,))
    assert curve_of(tiny, seeds=(0,), fresh=True).missing == []


def test_a_network_that_learned_nothing_is_said(tiny):
    """Check the warning where the full size is no better than a constant, and its score."""
    made = curve_of(tiny, seeds=(0,), overrides="optimizer.lr=1e-12")
    truth = tiny.data.labels[tiny.folds().valid_rows(0)]
    known = np.bincount(tiny.data.labels[tiny.folds().train_rows(0)]).argmax()
    score = accuracy_score(truth, np.full(len(truth), known))
    full = made.record["sizes"][0]["mean"]
    said = f"no better than one answer for all rows ({score:.4f})" in words_of(made)
    assert said == (full <= score) and full <= score


def test_a_blocking_finding_keeps_a_curve_from_training(tiny):
    """Check the refusal, that it leaves no folder, and that allowing the finding lifts it."""
    data = tiny.data
    finding = Finding("leak-name", "block", "file names tell the class of 42 rows", count=42)
    hashes = {"data_hash": data.hash, "folds_hash": draft_shared(data).hash}
    facts = audited_settings(data.competition)
    Audit("tiny", findings=[finding], facts=facts, **hashes).save(tiny.project.audit("tiny"))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PodiumError) as refused:
        patch.setattr(study, "train_fold", lambda job: pytest.fail(f"{job.title} was trained"))
        curve_of(tiny)
    for words in ("leak-name", "file names tell", "audit: {allow: [leak-name]}"):
        assert words in str(refused.value)
    assert not tiny.run(NAME).exists() and not tiny.project.folds("tiny").exists()
    tiny.configure(audit={"allow": ["leak-name"]})
    assert curve_of(tiny, seeds=(0,)).missing == []


def test_one_of_anything_is_singular(tiny):
    """Check the report of a curve with one training left, of one seed and one epoch."""
    curve_of(tiny, seeds=(0,))
    for file in (tiny.run(NAME) / "size-1-2.seed-0.fold-0").iterdir():
        file.unlink()
    said = []
    held = tiny.run(NAME).parent / ".locks" / f"{NAME}.size-1-2.seed-0.fold-0.lock"
    with lock(held, "it"), pytest.raises(Busy):
        curve_of(tiny, said, seeds=(0,))
    made = curve_of(tiny, said, seeds=(0,), only=(0, 1))
    words = [*said, words_of(made), report_parts(made)[0][0][2]]
    assert not re.findall(
        r"\b1 (?:[a-z]+ )?(?:trainings|seeds|epochs|rows|sizes|folds)\b", str(words)
    )
    assert "accuracy over 1 seed" in words and "(folds 0, 1)" in words_of(made)
