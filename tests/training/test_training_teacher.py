"""Learning from another run: which rows, whose labels, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file
from scipy.special import softmax

from pipeline.artifacts.files import write_json
from pipeline.artifacts.predictions import Predictions, logits_of
from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.folds import draft_splits, load_shared, make_shared, make_splits
from pipeline.training.job import FoldJob
from pipeline.training.learning import loop
from pipeline.training.refit import Refit
from pipeline.training.run import Run

TAUGHT = "teacher.run=t"
OFTEN = f"{TAUGHT} runtime.checkpoint_seconds=0"


def run_of(project: Project, comp: str = "kinds", name: str = "s", refit=False, **sections) -> Run:
    """Return a run by the tiny recipe with changed sections, writing nothing."""
    data = load_data(project, comp)
    folds = load_shared(data)
    content = {"model": {"arch": "lenet", "pretrained": False}, "image": {"size": 16}}
    runtime = {"device": "cpu", "threads": 1, "workers": 0}
    recipe = Recipe.model_validate(content | {"runtime": runtime} | sections)
    repeats = draft_splits(data, folds, recipe.training.repeats).repeats[1:]
    run = Run(name, "tiny", recipe, data, folds, repeats)
    return Refit(f"{name}-refit", *_rest(run), base=run, oof_hash="") if refit else run


def _rest(run: Run) -> tuple:
    return run.recipe_name, run.recipe, run.data, run.folds, run.repeats


def student(project: Project, comp: str = "kinds", refit=False, training=None, **asked) -> Run:
    sections = {"teacher": {"run": "t", **asked}, "training": training or {}}
    return run_of(project, comp, refit=refit, **sections)


def plant(run: Run, only: tuple[int, ...] = (), seed: int = 0, **record) -> dict[str, pd.DataFrame]:
    """Write a finished run whose every fold answers at random, ids and classes in an order of their
    own; return the probabilities by folder."""
    rng, data, answers = np.random.default_rng(seed), run.data, {}
    for number in only or run.numbers:
        ids, classes = rng.permutation(data.test.ids), rng.permutation(data.classes)
        values = rng.normal(scale=2, size=(len(ids), len(classes)))
        probs = softmax(values, axis=1) if data.labels.ndim == 1 else 1 / (1 + np.exp(values))
        probs = probs.astype(np.float32)
        logits = logits_of(probs, data.competition.task)
        folder = run.fold_folder(number)
        meta = {**run.meta, "fold": number, "part": "test"}
        Predictions(ids, classes, logits, probs, meta).save(folder / "test.npz")
        write_json(folder / "fold.json", {"fold": number, "score": 0.5, "seconds": 1.0})
        answers[folder.name] = pd.DataFrame(probs, ids, classes)
    write_json(run.record_path, run.identity() | {"folds": {}, "warnings": []} | record)
    return answers


def expected(answers: pd.DataFrame, job: FoldJob, confidence: float, hard: bool) -> dict:
    """Return what is learnt of each pictured test row, row by row."""
    learnt = {}
    for name in job.data.test.ids.tolist():
        p = answers.loc[name, list(job.data.classes)].to_numpy()
        several = job.data.labels.ndim == 2
        sure = min(max(x, 1 - x) for x in p) if several else max(p)
        if sure >= np.float32(confidence):
            one = [float(x >= 0.5) for x in p] if several else np.eye(len(p))[int(np.argmax(p))]
            learnt[name] = np.array(one if hard else p, np.float32)
    return learnt


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("confidence", [0.0, 0.6])
@pytest.mark.parametrize("comp", ["kinds", "sets"])
def test_each_fold_learns_the_answers_of_its_own_fold(comp, confidence, hard, project):
    """Check targets, rows and weights against a loop, with answers that differ from fold to fold
    and come in another order of ids and classes."""
    answers = plant(run_of(project, comp, "t"))
    run = student(project, comp, confidence=confidence, hard=hard, weight=0.25)
    seen = set()
    for job in run.jobs(None)[0]:
        wanted = expected(answers[job.folder.name], job, confidence, hard)
        targets, ids = job.targets().numpy(), job.ids
        taught = job.learnt[len(job.train) :]
        assert ids[taught].tolist() == list(wanted) and (confidence == 0 or len(wanted) < 15)
        np.testing.assert_array_equal(targets[taught], np.stack(list(wanted.values())))
        labels = run.data.labels
        hot = np.eye(3)[labels] if labels.ndim == 1 else labels
        np.testing.assert_array_equal(targets[:45], hot)
        weights = job.loss_weights()
        assert (weights[taught] == 0.25).all() and (weights[job.train] == 1).all()
        assert not set(taught.tolist()) & set(range(45))
        seen.add(targets[taught].tobytes())
    assert len(seen) == 3


def test_validated_labels_do_not_reach_the_fold(project, train_tiny, edit_table):
    """Check that fold 0 of teacher and student are the same networks whatever labels the rows have
    that fold 0 validates, while the teacher's mean over folds differs."""
    states, means = [], []
    folds = load_shared(load_data(project, "kinds"))
    validated = set(folds.ids[folds.valid_rows(0)].tolist())
    for turn in range(2):
        if turn:
            table = pd.read_csv(project.data("kinds") / "train.csv")
            other = {"cat": "dog", "dog": "eel", "eel": "cat"}
            kinds = table["kind"].where(~table["id"].isin(validated), table["kind"].map(other))
            edit_table(project, "kinds", kind=kinds)
        teacher = train_tiny(project, name="t", fresh=bool(turn))
        run = train_tiny(project, name="s", overrides=TAUGHT, only=(0,), fresh=bool(turn)).run
        means.append(Predictions.load(teacher.run.folder / "test.npz").probs)
        both = (r.fold_folder(0) / "model.safetensors" for r in (teacher.run, run))
        states.append([load_file(path) for path in both])
    assert (means[0] != means[1]).any()
    for before, after in zip(*states, strict=True):
        assert all((before[key] == after[key]).all() for key in before)
    taught, plain = states[0][1], states[0][0]
    assert any((taught[key] != plain[key]).any() for key in plain)


def test_rows_without_a_picture_teach_nothing(project, configure):
    """Check that a test row whose picture is broken is left out, and no other."""
    test = load_data(project, "kinds").test
    configure(project, "kinds", missing_images="predict-prior")
    Path(test.images[3]).write_bytes(b"no picture")
    changed = student(project)
    plant(run_of(project, name="t"))
    for job in changed.jobs(None)[0]:
        names = job.ids[job.lessons.rows].tolist()
        assert names == [name for i, name in enumerate(test.ids.tolist()) if i != 3]


def test_the_local_test_split_is_never_learnt_from(project):
    """Check that rows kept apart are neither trained on nor labelled by the teacher, and that a
    limited student learns from the test rows that it looks at."""
    make_shared(load_data(project, "sets"), n_folds=3, test=0.3, fresh=True)
    plant(run_of(project, "sets", "t"))
    run = student(project, "sets")
    assert len(run.folds.test_rows)
    for job in run.jobs(None)[0]:
        assert not np.isin(job.learnt, run.folds.test_rows).any()
        assert (job.lessons.rows >= 45).all() and len(job.lessons.rows) == 15
    limited = run_of(project, "sets", data={"limit": 8}, teacher={"run": "t"})
    for job in limited.jobs(None)[0]:
        assert (
            job.lessons.rows.tolist() == job.parts["test"].tolist() and len(job.lessons.rows) == 8
        )


def damaged(change):
    """Return a function that spoils a planted teacher's file of fold 1."""

    def spoil(run: Run) -> None:
        path = run.fold_folder(1) / "test.npz"
        found = Predictions.load(path)
        replace(found, **change(found)).save(path)

    return spoil


def recorded(**keys):
    """Return a function that changes keys of a planted teacher's record."""

    def spoil(run: Run) -> None:
        record = json.loads(run.record_path.read_text())
        write_json(run.record_path, record | keys)

    return spoil


def cut(found: Predictions) -> dict:
    return {k: getattr(found, k)[1:] for k in ("ids", "logits", "probs")}


REFUSED = {
    "gone": (lambda run: shutil.rmtree(run.folder), r"no run t(\b| \(did).*train it first"),
    "ensemble": (
        lambda run: write_json(run.folder / "ensemble.json", {}),
        "t is an ensemble.*name one of its runs",
    ),
    "refit": (recorded(refit_of="u"), "t is the refit of u, which saw all rows; name u"),
    "competition": (recorded(competition="sets"), "was trained for sets, not kinds; name a run"),
    "folds": (recorded(folds_hash="x"), r"other folds \(folds_hash x, now .*train it again"),
    "data": (recorded(data_hash="x"), r"other labels, ids or pictures \(data_hash x"),
    "repeats": (
        recorded(repeat_hashes=["x"]),
        r"other repeated folds \(repeat_hashes \['x'\], now",
    ),
    "limit": (
        recorded(recipe={"data": {"limit": 9}}),
        "a smoke run on a LIMIT of rows; train it without LIMIT",
    ),
    "unfinished": (
        lambda run: (run.fold_folder(1) / "fold.json").unlink(),
        "t has not finished fold 1; train it to the end first, or ask with ONLY=",
    ),
    "no answers": (
        lambda run: (run.fold_folder(1) / "test.npz").unlink(),
        r"test\.npz: no such file; train it again \(teacher\.run=t\)",
    ),
    "file of other data": (
        damaged(lambda found: {"meta": found.meta | {"data_hash": "x"}}),
        r"t, fold 1: its answers were made with other labels",
    ),
    "file of another fold": (
        damaged(lambda found: {"meta": found.meta | {"fold": 2}}),
        "t, fold 1: its test.npz is of fold 2",
    ),
    "file of another part": (
        damaged(lambda found: {"meta": found.meta | {"part": "valid"}}),
        "is of another run or part",
    ),
    "file of another recipe": (
        damaged(lambda found: {"meta": found.meta | {"recipe_hash": "x"}}),
        "is of another run or part",
    ),
    "classes": (
        damaged(lambda found: {"classes": np.array(["cat", "dog", "fox"])}),
        "t, fold 1: has other classes, first 'eel'",
    ),
    "ids": (damaged(cut), "t lacks answers to test rows; train it again"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_teach_is_refused(case, project, train_tiny, snapshot):
    """Check one line that names teacher.run and a remedy, and that nothing is written."""
    spoil, said = REFUSED[case]
    teacher = run_of(project, name="t")
    plant(teacher)
    spoil(teacher)
    before = snapshot(project.root)
    with pytest.raises(PodiumError, match=said) as caught:
        train_tiny(project, name="s", overrides=TAUGHT)
    assert "teacher.run" in str(caught.value) and "\n" not in str(caught.value)
    assert snapshot(project.root) == before


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("t", "t", "teacher.run: t cannot learn from itself; choose another NAME="),
        ("s", "u", r"teacher.run: no run u; there are: t; train it first"),
        ("s", "../t", r"teacher.run: '../t' is not a usable name"),
    ],
)
@pytest.mark.parametrize("fresh", [False, True])
def test_names_that_cannot_teach(name, asked, said, fresh, project, train_tiny, snapshot):
    """Check the student itself, under FRESH=1 too, a name that is no run, and a path."""
    if fresh or name != "t":
        plant(run_of(project, name="t"))
    before = snapshot(project.root)
    with pytest.raises(PodiumError, match=said):
        train_tiny(project, name=name, overrides=f"teacher.run={asked}", fresh=fresh)
    assert snapshot(project.root) == before


def test_confidence_that_no_row_has_is_refused(project):
    """Check that the highest is named, and that just below it one row is learnt from."""
    answers = plant(run_of(project, name="t"))
    highest = [float(frame.max(axis=None)) for frame in answers.values()]
    said = rf"teacher\.confidence: no test row's is 1 or more in fold 0 of t, .* {highest[0]:.4f};"
    with pytest.raises(PodiumError, match=said):
        student(project, confidence=1.0).jobs(None)
    jobs = student(project, confidence=min(highest)).jobs(None)[0]
    assert min(len(job.lessons.rows) for job in jobs) == 1


def test_no_test_table_no_teacher(project, configure, snapshot):
    """Check the refusal where there are no rows to label."""
    configure(project, "kinds", tables={"test": None})
    plant(run_of(project, name="t"), only=())
    before = snapshot(project.root)
    with pytest.raises(
        PodiumError, match=r"teacher\.run: t would label rows of the test table.*none"
    ):
        student(project).jobs(None)
    assert snapshot(project.root) == before


def test_only_the_folds_asked_for_are_needed(project):
    """Check jobs of the folds that the teacher has, and that others are refused."""
    plant(run_of(project, name="t"), only=(0, 2))
    run = student(project)
    run.check_trainable([0, 2])
    assert [job.fold for job in run.jobs([2])[0]] == [2]
    for only in (None, [1]):
        with pytest.raises(PodiumError, match="t has not finished fold 1;"):
            run.check_trainable(only)


@pytest.mark.parametrize("repeats", [1, 2])
def test_repeats_are_matched_by_number(repeats, project):
    """Check that fold 4 learns from fold 4, where both have the same repeats, else a refusal."""
    data = load_data(project, "kinds")
    make_splits(data, load_shared(data), 2)
    twice = {"repeats": 2}
    answers = plant(run_of(project, name="t", training=twice))
    if repeats == 1:
        with pytest.raises(PodiumError, match=r"trained with other repeated folds.*now None"):
            student(project).check_trainable()
        return
    jobs = student(project, training=twice).jobs(None)[0]
    assert [job.fold for job in jobs] == [*range(6)]
    for job in jobs:
        wanted = answers[job.folder.name].loc[job.data.test.ids, list(job.data.classes)]
        np.testing.assert_array_equal(job.lessons.targets, wanted.to_numpy())


def test_killed_student_ends_in_the_same_bytes(project, train_tiny, artefacts, dying, killed):
    """Check a death in each epoch, and that the same command then trains nothing: record, weights
    and predictions are those of a student that nothing interrupted."""
    train_tiny(project, name="t")
    whole = train_tiny(project, name="w", overrides=TAUGHT)
    assert [fold["rows"] for fold in whole.record["folds"].values()] == [
        {"train": 30, "taught": 15, "valid": 15, "test": 15}
    ] * 3
    for step in (4, 9):  # 45 rows, 6 steps an epoch
        shutil.rmtree(project.run("kinds", "s"), ignore_errors=True)
        with dying(loop, "train_step", step), pytest.raises(killed):
            train_tiny(project, name="s", overrides=OFTEN)
        run = train_tiny(project, name="s", overrides=OFTEN).run
        for fold in range(3):
            folders = [r.fold_folder(fold) for r in (run, whole.run)]
            networks = [(folder / "model.safetensors").read_bytes() for folder in folders]
            assert networks[0] == networks[1]
            for part in ("valid", "test"):
                mine, theirs = (Predictions.load(f / f"{part}.npz") for f in folders)
                np.testing.assert_array_equal(mine.logits, theirs.logits)
    before, said = artefacts(run.folder), []
    record = run.record_path.read_bytes()
    train_tiny(project, name="s", overrides=OFTEN, say=said.append)
    assert any("nothing to train" in line for line in said)
    assert artefacts(run.folder) == before and run.record_path.read_bytes() == record


def test_teacher_trained_anew_is_another_one(project, train_tiny, artefacts):
    """Check that a student goes on with the same bytes and refuses others, of another recipe or in
    a single fold, and that FRESH=1 learns from the new."""
    train_tiny(project, name="t")
    run = train_tiny(project, name="s", overrides=TAUGHT, only=(0,)).run
    pins = json.loads(run.record_path.read_text())["teacher"]
    assert pins["run"] == "t" and sorted(pins["answers"]) == ["fold-0", "fold-1", "fold-2"]
    train_tiny(project, name="t", fresh=True)  # the same bytes
    train_tiny(project, name="s", overrides=TAUGHT, only=(1,))
    train_tiny(project, name="t", fresh=True, overrides="optimizer.lr=0.01")
    before = artefacts(run.folder)
    said = r"s: teacher\.run t was trained anew meanwhile \(recipe .* -> .*FRESH=1"
    with pytest.raises(PodiumError, match=said):
        train_tiny(project, name="s", overrides=TAUGHT)
    assert artefacts(run.folder) == before
    train_tiny(project, name="s", overrides=TAUGHT, fresh=True, only=(0,))
    plant(run_of(project, name="t"), only=(1,))
    record = json.loads(project.run("kinds", "t").joinpath("run.json").read_text())
    pinned = json.loads(run.record_path.read_text())["teacher"]
    write_json(
        project.run("kinds", "t") / "run.json", record | {"recipe_hash": pinned["recipe_hash"]}
    )
    with pytest.raises(PodiumError, match=r"anew meanwhile \(fold 1 \w+ -> \w+\)"):
        run.check_same()


def test_finished_student_outlives_its_teacher(project, train_tiny):
    """Check that a teacher that was deleted keeps nobody from a finished student, but from its
    missing folds."""
    plant(run_of(project, name="t"))
    train_tiny(project, name="s", overrides=TAUGHT, only=(0, 1, 2))
    first = train_tiny(project, name="u", overrides=TAUGHT, only=(0,))
    shutil.rmtree(project.run("kinds", "t"))
    again = train_tiny(project, name="s", overrides=TAUGHT)
    assert again.complete and any(w.startswith("taught: ") for w in again.record["warnings"])
    with pytest.raises(PodiumError, match=r"teacher\.run: no run t"):
        train_tiny(project, name="u", overrides=TAUGHT)
    assert first.run.finished_folds() == [0]


def test_folds_that_the_teacher_finishes_later_are_pinned_too(project):
    """Check that the record takes them up, and holds them."""
    teacher, run = run_of(project, name="t"), student(project)
    plant(teacher, only=(0,))
    run.open()
    pinned = json.loads(run.record_path.read_text())["teacher"]["answers"]
    assert list(pinned) == ["fold-0"]
    plant(teacher)
    plant(teacher, only=(0,))  # the same as the first time
    run.open()
    later = json.loads(run.record_path.read_text())["teacher"]["answers"]
    assert sorted(later) == ["fold-0", "fold-1", "fold-2"] and later["fold-0"] == pinned["fold-0"]
    plant(teacher, only=(2,), seed=1)
    with pytest.raises(PodiumError, match=r"anew meanwhile \(fold 2"):
        run.open()


def test_the_record_says_what_was_learnt_from(project, train_tiny):
    """Check the warnings, of a teacher that was chosen on the folds too, and of its pupil's."""
    train_tiny(project, name="t", overrides="training.checkpoint=best training.epochs=1")
    taught = train_tiny(project, name="s", overrides=TAUGHT)
    said = taught.record["warnings"]
    assert sum("learnt from test pictures that t labelled" in w for w in said) == 1
    assert sum(w.startswith("selected-in-fold: t was chosen") for w in said) == 1
    third = train_tiny(project, name="u", overrides="teacher.run=s").record["warnings"]
    assert any(w.startswith("selected-in-fold: s was chosen") for w in third)
    shutil.rmtree(project.run("kinds", "t"))
    assert train_tiny(project, name="s", overrides=TAUGHT).record["warnings"] == said
    plain = run_of(project, name="p")
    assert not plain.warnings and "teacher" not in plain.identity()


def test_refit_learns_from_the_teachers_refit(project, train_tiny, refit_tiny, snapshot):
    """Check that REFIT=1 is refused while the teacher has none, before anything is trained, and
    afterwards learns from that one network; a refit of a former teacher is refused."""
    train_tiny(project, name="t")
    before = snapshot(project.root)
    said = r"teacher\.run: REFIT=1 learns from the refit of t, .*no t-refit; train t with REFIT=1"
    with pytest.raises(PodiumError, match=said):
        refit_tiny(project, name="s", overrides=TAUGHT)
    assert snapshot(project.root) == before
    refit_tiny(project, name="t")
    base, refit = refit_tiny(project, name="s", overrides=TAUGHT)
    job = refit.run.jobs(None)[0][0]
    theirs = Predictions.load(project.run("kinds", "t-refit") / "refit" / "test.npz")
    wanted = theirs.rows(job.data.test.ids).with_classes(job.data.classes).probs
    np.testing.assert_array_equal(job.lessons.targets, wanted)
    assert refit.record["folds"]["refit"]["rows"] == {"train": 45, "taught": 15, "test": 15}
    assert refit.record["warnings"] == base.record["warnings"]
    assert list(refit.record["teacher"]["answers"]) == ["refit"]
    path = project.run("kinds", "t") / "oof.npz"
    found = Predictions.load(path)
    Predictions(found.ids, found.classes, found.logits + 1, found.probs, found.meta).save(path)
    with pytest.raises(PodiumError, match="t-refit was made from a former t; train t with REFIT=1"):
        student(project, refit=True).check_trainable()


def test_a_run_of_ones_own_is_no_refit_of_the_teacher(project):
    """Check that t-refit must be the refit of t, and t-refit's own folds teach nobody."""
    plant(run_of(project, name="t"))
    plant(run_of(project, name="t-refit"))
    with pytest.raises(PodiumError, match="t-refit is a run of its own; rename it"):
        student(project, refit=True).check_trainable()


def test_answers_of_the_mean_over_folds_are_never_read(project):
    """Check that a student is the same whether the teacher's own test.npz is there or not."""
    teacher = run_of(project, name="t")
    plant(teacher)
    without = [job.identity for job in student(project).jobs(None)[0]]
    shutil.copy(teacher.fold_folder(2) / "test.npz", teacher.folder / "test.npz")
    assert [job.identity for job in student(project).jobs(None)[0]] == without
    assert len(set(without)) == 3


def test_patience_is_judged_by_the_metric(project):
    """Check that another metric is refused where it decided when to stop, and warned of."""
    run = run_of(project, training={"patience": 2})
    run.open()
    assert any(w.startswith("selected-in-fold") for w in run.warnings)
    record = json.loads(run.record_path.read_text())
    write_json(run.record_path, record | {"metric": "f1_macro"})
    with pytest.raises(PodiumError, match="other a metric that chose its epochs"):
        run.check_same()
    plateau = run_of(project, schedule={"name": "plateau", "monitor": "valid"})
    assert any(w.startswith("selected-in-fold") for w in plateau.warnings)
    assert not run_of(project, schedule={"name": "plateau"}).warnings


def test_notes_name_the_folds_that_went_wrong(project):
    """Check collapse and memory by fold, and silence of a fold that patience ended."""
    run = run_of(project)
    collapsed = {"kind": "collapsed", "said": "collapsed: every row alike"}
    records = [
        {"fold": 0, "stopped": None, "events": []},
        {"fold": 1, "stopped": collapsed},
        {
            "fold": 2,
            "stopped": {"kind": "patience", "said": "x"},
            "events": ["out of memory with 8"],
        },
    ]
    notes = run.notes(records)
    assert notes[0] == "fold 1 collapsed: every row alike"
    assert notes[1].startswith("fold 2: out of memory with 8") and len(notes) == 2


def test_refit_keeps_the_notes_of_its_base(project):
    """Check that what befell the base's folds stands beside what befell the refit."""
    base = run_of(project, training={"patience": 3})
    refit = Refit("s-refit", *_rest(base), base=base, oof_hash="")
    write_json(base.record_path, {"warnings": [*base.warnings, "fold 1 collapsed: x"]})
    notes = refit.notes([{"fold": 3, "events": ["out of memory with 8"]}])
    assert notes[0] == "fold 1 collapsed: x" and notes[1].startswith("refit: out of memory")
