"""Tests of heads on frozen features: the network they make, the passes they save, refusals."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.artifacts.predictions import Predictions, probabilities
from pipeline.config.recipe import load_recipe
from pipeline.deploy.predict import predict as deploy
from pipeline.ensemble.build import open_decided
from pipeline.errors import PodiumError
from pipeline.folds import k_folds, load_shared
from pipeline.images.augment import Evaluator
from pipeline.images.batches import Batches, Images, loader
from pipeline.training.device import resolve
from pipeline.training.frozen import backbone, logistic
from pipeline.training.frozen.features import FeatureSession, Feed, check_features
from pipeline.training.frozen.logistic import Lesson, choose_strength, fit_logistic
from pipeline.training.job import Lessons
from pipeline.training.learning import loop
from pipeline.training.networks.depth import split
from pipeline.training.networks.origin import normalisation
from pipeline.training.networks.outputs import with_outputs
from pipeline.training.networks.zoo import build_model
from pipeline.training.session import FoldSession

ON = "features.views=1"
LOGISTIC = "features.fit=logistic features.c=0.01"


def frozen_files(project) -> list[str]:
    return sorted(path.name for path in project.cache.glob("*-features-*.npy"))


def the_job(project, train_tiny, comp="kinds", overrides=ON, fold=0):
    """Return a job of a recipe as `train` would do it."""
    summary = train_tiny(project, comp, overrides=overrides, name="job", only=(fold,))
    job = summary.run.jobs([fold])[0][0]
    return replace(job, folder=job.folder.with_name("again"))


@contextlib.contextmanager
def counted(monkeypatch):
    """Count the batches that pass through a backbone."""
    calls, original = [], backbone.answers

    def counting(*arguments):
        calls.append(len(arguments[1]))
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(backbone, "answers", counting)
        yield calls


@pytest.mark.parametrize(
    ("comp", "overrides"),
    [
        ("kinds", ON),
        ("kinds", "features.views=3 optimizer.name=sgd training.swa=0.5 training.ema=0"),
        ("kinds", f"{ON} model.hidden=[12] model.drop_rate=0.3 training.checkpoint=best"),
        ("kinds", f"{ON} model.head=ordinal"),
        ("kinds", f"{ON} loss.name=bce loss.logit_adjustment=1 training.sampling=balanced"),
        ("kinds", LOGISTIC),
        ("kinds", "features.fit=logistic features.views=2 loss.logit_adjustment=0.5"),
        ("sets", f"{ON} model.hidden=[12] optimizer.name=schedule-free schedule.name=constant "
                 "training.ema=0"),
        ("sets", f"{LOGISTIC} loss.class_weights=balanced"),
    ],
)  # fmt: skip
def test_saved_network_answers_as_predicted(comp, overrides, project, train_tiny, configure):
    """Check that the weights of the whole network, built as for any run, give pixels the logits
    that were predicted from features."""
    if comp == "kinds":
        configure(project, comp, classes=["cat", "dog", "eel"])
    summary = train_tiny(project, comp, overrides=overrides, only=(0,))
    job = summary.run.jobs([0])[0][0]
    task, recipe = job.data.competition.task, job.recipe
    network = with_outputs(build_model(recipe, 3), recipe, task, 3)
    network.load_state_dict(load_file(job.folder / "model.safetensors"))
    setup = resolve(recipe, network)
    normalise = loop.Normalise(*normalisation(recipe), setup)
    for part in ("valid", "test"):
        images = Images(job.pixels, job.ids, Evaluator(recipe.image))
        batches = loader(images, Batches(job.parts[part], 8, None), 0)
        logits = loop.predict(network, batches, setup, normalise, part)
        said = Predictions.load(job.folder / f"{part}.npz", "")
        np.testing.assert_allclose(logits, said.logits, atol=1e-4)
    record = summary.record["folds"]["0"]
    assert record["features"]["fit"] in overrides or record["features"]["fit"] == "gradient"
    lines = (job.folder / "history.csv").read_text().splitlines()
    assert len(lines) == (2 if "logistic" in overrides else 3)


@pytest.mark.parametrize("overrides", ["", "model.hidden=[9]", "optimizer.clip_norm=0.1"])
def test_equals_training_the_network_with_its_backbone_frozen(overrides, project, train_tiny):
    """Check against passing every picture in every epoch: the same weights and scores."""
    plain = "model.freeze=backbone augment.scale=null augment.horizontal_flip=0 training.epochs=3"
    job = the_job(project, train_tiny, overrides=f"{ON} {plain} {overrides}")
    quick = FeatureSession(job)
    slow = FoldSession(replace(job, recipe=job.recipe.model_copy(update={"features": None})))
    slow.learner.model.load_state_dict(quick.network.state_dict())
    slow.learner.average.module.load_state_dict(quick.network.state_dict())
    for session in (quick, slow):
        session.train()
    for name, value in slow.state().items():
        torch.testing.assert_close(quick.state()[name], value, atol=1e-5, rtol=1e-4)
    for mine, theirs in zip(quick.history, slow.history, strict=True):
        assert list(mine) == list(theirs)
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-4)
        assert mine["valid_loss"] == pytest.approx(theirs["valid_loss"], rel=1e-4)


def test_new_pictures_are_answered_without_features(project, train_tiny):
    """Check that `make predict` gives the test pictures the answers that would be submitted."""
    summary = train_tiny(project, overrides=f"{LOGISTIC} views.flips=horizontal", name="d")
    made = deploy(
        project, "kinds", "d", project.data("kinds") / "images", out=project.root / "o.csv", say=str
    )
    rows = {}
    lines = made.path.read_text().splitlines()
    columns = [i for i, name in enumerate(lines[0].split(",")) if name.startswith("p_")]
    for line in lines[1:]:
        cells = line.split(",")
        rows[cells[0].removesuffix(".png")] = [float(cells[i]) for i in columns]
    data = summary.run.data
    folds = load_shared(data)
    submitted = open_decided(data, folds, "d").test_probs(data, folds)
    np.testing.assert_allclose([rows[n] for n in data.test.ids.tolist()], submitted, atol=1e-3)
    assert len(frozen_files(project)) == 2  # of a picture and of its mirror image


def test_folds_and_recipes_share_one_pass(project, train_tiny, monkeypatch, artefacts):
    """Check that all folds, other heads and a second run make no further pass, another seed of
    a random backbone does, and that a deleted cache costs time and no bit."""
    with counted(monkeypatch) as calls:
        first = train_tiny(project, overrides=ON)
        assert sum(calls) == 60 and len(frozen_files(project)) == 1
        again = train_tiny(project, overrides=ON, name="again")
        train_tiny(project, overrides=f"{ON} model.hidden=[5] training.epochs=1", name="hidden")
        train_tiny(project, overrides=LOGISTIC, name="logistic")
        weights = {"fold-0/model.safetensors", "fold-2/model.safetensors"}
        hashes = artefacts(first.run.folder), artefacts(again.run.folder)
        assert {hashes[0][name] for name in weights} == {hashes[1][name] for name in weights}
        assert sum(calls) == 60
        train_tiny(project, overrides=ON, seed=(1,), name="seed")
        assert sum(calls) == 120 and len(frozen_files(project)) == 2
        for path in project.cache.glob("*-features-*"):
            path.unlink()
        fresh = train_tiny(project, overrides=ON, fresh=True)
        assert sum(calls) == 180
    assert artefacts(fresh.run.folder) == hashes[0]


def test_augmented_views_are_of_training_rows(project, train_tiny, monkeypatch):
    """Check the rows of each pass, that augmentation and image size count, and epochs do not."""
    with counted(monkeypatch) as calls:
        train_tiny(project, overrides="features.views=3 views.flips=horizontal")
        assert sum(calls) == 60 + 45 + 45 + 60  # the picture, two views, its mirror image
        train_tiny(project, overrides="features.views=2 training.epochs=1", name="b")
        assert sum(calls) == 210
        train_tiny(project, overrides="features.views=2 augment.rotate=20", name="c")
        assert sum(calls) == 255
        train_tiny(project, overrides=f"{ON} image.size=20", name="d")
        assert sum(calls) == 315


@pytest.mark.parametrize("call", [1, 2, 4, 6])
def test_killed_pass_is_gone_on_from(
    call, project, train_tiny, monkeypatch, dying, killed, artefacts
):
    """Check that a death within a pass loses what was not kept, and no bit."""
    monkeypatch.setattr(backbone, "BATCH", 8)
    reference = artefacts(train_tiny(project, overrides=ON).run.folder)
    values = (project.cache / frozen_files(project)[0]).read_bytes()
    (project.cache / frozen_files(project)[0]).unlink()
    monkeypatch.setattr(backbone, "KEEP_SECONDS", 0.0)
    with dying(backbone, "answers", call), pytest.raises(killed):
        train_tiny(project, overrides=ON, fresh=True)
    assert not frozen_files(project)
    with counted(monkeypatch) as calls:
        summary = train_tiny(project, overrides=ON)
    assert len(calls) == 8 - (call - 1)
    assert artefacts(summary.run.folder) == reference
    assert (project.cache / frozen_files(project)[0]).read_bytes() == values
    assert not [*project.cache.glob("*.part"), *project.cache.glob("*.json.tmp")]


@pytest.mark.parametrize("step", [2, 6, 11])
def test_killed_head_is_trained_anew(
    step, project, train_tiny, monkeypatch, dying, killed, artefacts
):
    """Check that a death while a head is trained ends in the same bytes, without a pass."""
    overrides = f"{ON} model.drop_rate=0.4"
    reference = artefacts(train_tiny(project, overrides=overrides).run.folder)
    with dying(loop, "train_step", step), pytest.raises(killed):
        train_tiny(project, overrides=overrides, fresh=True)
    with counted(monkeypatch) as calls:
        summary = train_tiny(project, overrides=overrides)
    assert artefacts(summary.run.folder) == reference and not calls


@pytest.mark.parametrize("damage", ["cut", "text", "part"])
def test_damaged_features_are_made_again(damage, project, train_tiny, artefacts):
    """Check that a file that is not whole, or a note of a pass without its file, does no harm."""
    reference = artefacts(train_tiny(project, overrides=ON).run.folder)
    path = project.cache / frozen_files(project)[0]
    content = path.read_bytes()
    if damage == "part":
        path.unlink()
        path.with_suffix(".part.json").write_text('{"done": 64}')
        path.with_suffix(".part").write_bytes(content[:-40])
    else:
        path.write_bytes(content[:-40] if damage == "cut" else b"hello")
    assert artefacts(train_tiny(project, overrides=ON, fresh=True).run.folder) == reference
    assert path.read_bytes() == content


def test_two_processes_make_features_once(project, train_tiny, monkeypatch):
    """Check that who waited for the lock takes what the other one has made."""
    job = the_job(project, train_tiny)
    path = project.cache / frozen_files(project)[0]
    away = path.rename(path.with_suffix(".away"))
    original = backbone.lock

    @contextlib.contextmanager
    def slow(*arguments, **options):
        with original(*arguments, **options):
            away.rename(path)  # meanwhile, the other process has finished
            yield

    with counted(monkeypatch) as calls:
        monkeypatch.setattr(backbone, "lock", slow)
        FeatureSession(job).train()
    assert not calls and path.exists()


def test_rows_see_all_views_in_turn():
    """Check that each row shows another view in each epoch, and an epoch has all views."""
    ids = np.array([f"picture {i}" for i in range(40)])
    views = [backbone.Kept(np.full((40, 1), v, np.float32), np.arange(40)) for v in range(3)]
    batches = Batches(np.arange(40), 7, (0, 0))
    feed, seen = Feed(batches, views, ids), np.full((3, 40), -1)
    for epoch in range(3):
        batches.epoch = epoch
        for features, rows in feed:
            seen[epoch, rows] = features[:, 0]
    assert (np.sort(seen, axis=0) == np.arange(3)[:, None]).all()
    assert all(len(set(line)) == 3 for line in seen.tolist())


def features_of(job) -> np.ndarray:
    """Return the features (n + m, d) of all rows by plain torch, from the session's backbone."""
    session = FeatureSession(job)
    view, rows = Evaluator(job.recipe.image), range(len(job.ids))
    images = np.stack([view(job.pixels.read(i)) for i in rows])
    normalise = loop.Normalise(*normalisation(job.recipe), session.setup)
    with torch.no_grad():
        return split(session.network.eval())[0](normalise(torch.from_numpy(images))).numpy()


@pytest.mark.parametrize("weighed", ["none", "balanced"])
@pytest.mark.parametrize("comp", ["kinds", "sets"])
def test_logistic_is_scikit_learns(comp, weighed, project, train_tiny):
    """Check probabilities and standardisation against scikit-learn's pipeline."""
    job = the_job(project, train_tiny, comp, f"{LOGISTIC} loss.class_weights={weighed}")
    session = FeatureSession(job)
    session.train()
    x, y = features_of(job).astype(np.float64), job.data.labels[job.train]
    balanced = "balanced" if weighed == "balanced" else None
    one = LogisticRegression(C=0.01, class_weight=balanced, max_iter=1000, tol=1e-8)
    if comp == "sets":  # a negative weighs 1, where scikit-learn's weights have a mean of 1
        found = []
        for label in y.T:
            ratio = (label == 0).sum() / label.sum() if balanced else 1.0
            one.set_params(class_weight={0: 1.0, 1: ratio})
            found.append(make_pipeline(StandardScaler(), one).fit(x[job.train], label))
            found[-1] = found[-1].predict_proba(x[job.parts["valid"]])[:, 1]
        expected = np.column_stack(found)
    else:
        fitted = make_pipeline(StandardScaler(), one).fit(x[job.train], y)
        expected = fitted.predict_proba(x[job.parts["valid"]])
    probs = probabilities(session.predict("valid")[0], job.data.competition.task)
    np.testing.assert_allclose(probs, expected, atol=1e-3)


def test_several_views_count_as_one_row(project, train_tiny):
    """Check that c keeps its meaning with further views: three equal ones change nothing."""
    still = "augment.scale=null augment.horizontal_flip=0"
    one = the_job(project, train_tiny, overrides=f"{LOGISTIC} {still}")
    three = replace(one, recipe=one.recipe.model_copy(
        update={"features": one.recipe.features.model_copy(update={"views": 3})}
    ))  # fmt: skip
    answers = []
    for job in (one, three):
        session = FeatureSession(job)
        session.train()
        answers.append(probabilities(session.predict("valid")[0], "multiclass"))
    np.testing.assert_allclose(*answers, atol=1e-3)


def lesson_of(rng, n=90, width=6, multilabel=False, n_classes=3) -> tuple[Lesson, np.ndarray]:
    x = rng.normal(size=(n, width)) * rng.uniform(0.1, 9, width) + rng.normal(size=width)
    signal = x @ rng.normal(size=(width, n_classes)) + 9 * rng.normal(size=(n, n_classes))
    y = (signal > 0).astype(np.int8) if multilabel else signal.argmax(1)
    return Lesson(x, y, np.ones(n), n_classes, multilabel), y


@pytest.mark.parametrize("multilabel", [False, True])
def test_strength_is_the_one_of_brute_force(multilabel):
    """Check the choice against a cross-validation by scikit-learn on the same parts, in which no
    group straddles two."""
    lesson, y = lesson_of(np.random.default_rng(3), multilabel=multilabel)
    groups = np.array([f"g{i // 3}" for i in range(len(y))])
    part = k_folds(y, groups, logistic.PARTS, 0)
    losses = []
    for c in logistic.STRENGTHS:
        one, total = LogisticRegression(C=c, max_iter=2000), 0.0
        for k in range(logistic.PARTS):
            fitted = make_pipeline(
                StandardScaler(), OneVsRestClassifier(one) if multilabel else one
            )
            fitted.fit(lesson.features[part != k], y[part != k])
            probs, truth = fitted.predict_proba(lesson.features[part == k]), y[part == k]
            if multilabel:
                total -= np.log(np.where(truth == 1, probs, 1 - probs)).sum()
            else:
                total -= np.log(probs[np.arange(len(truth)), truth]).sum()
        losses.append(total)
    expected = logistic.STRENGTHS[int(np.argmin(losses))]
    assert expected not in (logistic.STRENGTHS[0], logistic.STRENGTHS[-1])
    assert choose_strength(lesson, np.arange(len(y)), y, groups) == expected


def test_strength_is_not_chosen_by_rows_that_were_learnt(monkeypatch):
    """Check that neither another view of a picture nor one of its group is learnt where it is
    judged, and that rows of a teacher are never judged."""
    rng, parts = np.random.default_rng(0), []
    x = np.repeat(np.arange(30.0), 1)[:, None]
    y, groups = rng.permutation(np.arange(30) % 2), np.array([f"g{i // 2}" for i in range(30)])
    taught = np.arange(100.0, 104.0)[:, None]
    once = np.concatenate([x, taught])
    judged = np.tile(np.concatenate([np.arange(30), np.full(4, -1)]), 2)
    lesson = Lesson(
        np.concatenate([once, once]), np.tile(np.append(y, [0, 1, 0, 1]), 2), np.ones(68), 2, False
    )
    original = logistic.log_loss

    def watching(logits, test):
        parts.append(test.features[:, 0])
        return original(logits, test)

    learnt = []
    fitted = logistic.Regression.__init__

    def noting(self, lesson):
        learnt.append(lesson.features[:, 0])
        fitted(self, lesson)

    monkeypatch.setattr(logistic, "log_loss", watching)
    monkeypatch.setattr(logistic.Regression, "__init__", noting)
    choose_strength(lesson, judged, y, groups)
    for train, test in zip(learnt, parts[: logistic.PARTS], strict=True):
        assert not set(train // 2) & set(test // 2) and test.max() < 30
        assert len(set(test)) == len(test) and {*range(100, 104)} <= set(train)
    assert sorted(np.concatenate(parts[: logistic.PARTS])) == list(range(30))


def test_too_few_groups_take_the_middle():
    """Check that two groups, which cannot be dealt to three parts, still give a strength."""
    lesson, y = lesson_of(np.random.default_rng(1), n=20)
    groups = np.array(["a", "b"] * 10)
    assert choose_strength(lesson, np.arange(20), y, groups) == logistic.MIDDLE


def test_shares_count_as_weighted_rows():
    """Check that a row that is 0.3 one class and 0.7 another counts as two rows so weighted."""
    lesson, y = lesson_of(np.random.default_rng(5))
    soft = np.eye(3)[y]
    soft[:40] = np.random.default_rng(6).dirichlet(np.ones(3), 40)
    found = fit_logistic(replace(lesson, targets=soft), 0.1)
    rows, said = np.nonzero(soft)
    scaled = StandardScaler().fit_transform(lesson.features)
    one = LogisticRegression(C=0.1, max_iter=5000, tol=1e-8)
    one.fit(scaled[rows], said, soft[rows, said])
    probs = probabilities(found(lesson.features), "multiclass")
    np.testing.assert_allclose(probs, one.predict_proba(scaled), atol=1e-3)


def test_classes_and_labels_without_a_choice():
    """Check the answers for a class without a row, one class alone, and labels of one value."""
    lesson, y = lesson_of(np.random.default_rng(7))
    absent = replace(lesson, targets=np.minimum(y, 1), n_classes=3)
    probs = probabilities(fit_logistic(absent, 0.01)(lesson.features), "multiclass")
    assert 0.001 < probs[:, 2].mean() < 0.05
    two = LogisticRegression(C=0.01, max_iter=5000, tol=1e-8)
    scaled = StandardScaler().fit_transform(lesson.features)
    two.fit(scaled, absent.targets)
    share = probs[:, 1] / probs[:, :2].sum(1)
    np.testing.assert_allclose(share, two.predict_proba(scaled)[:, 1], atol=1e-3)
    alone = fit_logistic(replace(lesson, targets=np.full(90, 2)), 1.0)(lesson.features)
    np.testing.assert_allclose(probabilities(alone, "multiclass")[:, 2], 91 / 93, rtol=1e-6)
    labels = np.column_stack([np.ones(90), np.zeros(90), y == 1]).astype(np.int8)
    several = replace(lesson, targets=labels, multilabel=True)
    logits = fit_logistic(several, 1.0)(lesson.features)
    np.testing.assert_allclose(logits[:, :2], np.tile([np.log(91), -np.log(91)], (90, 1)))
    assert logits[:, 2].std() > 0.1


@pytest.mark.parametrize("overrides", [ON, LOGISTIC, "features.fit=logistic features.views=2"])
@pytest.mark.parametrize("comp", ["kinds", "sets"])
def test_rows_that_a_teacher_labels_are_learnt(comp, overrides, project, train_tiny):
    """Check that labelled test rows change the head, in the direction of their labels."""
    job = the_job(project, train_tiny, comp, overrides)
    rows = job.parts["test"]
    wanted = np.tile(np.float32([0.05, 0.9, 0.05]), (len(rows), 1))
    answers = []
    for lessons in (None, Lessons(rows, wanted, 1.0)):
        session = FeatureSession(replace(job, lessons=lessons))
        session.train()
        probs = probabilities(session.predict("test")[0], job.data.competition.task)
        answers.append(probs[:, 1].mean())
    assert answers[1] > answers[0]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (f"{ON} mix.mixup=0.2", "mix.mixup: 0.2 means nothing where the backbone is frozen"),
        (f"{ON} mix.cutmix=1", "SET='mix.cutmix=0.0'"),
        (f"{ON} model.freeze=2", "model.freeze: 2 means nothing"),
        (f"{ON} model.freeze=backbone model.unfreeze_after=2", "SET='model.unfreeze_after=null'"),
        (f"{ON} model.drop_path=0.1", "model.drop_path: 0.1"),
        (f"{ON} optimizer.layer_decay=0.7", "SET='optimizer.layer_decay=1.0'"),
        ("features.views=2 augment.first_size=8", "SET='augment.first_size=null'"),
        ("features.c=0.1", "features.c: 0.1 means nothing where features.fit is gradient"),
        (f"{LOGISTIC} model.hidden=[8]", "model.hidden: [8] means nothing where features.fit is"),
        (f"{LOGISTIC} model.head=ordinal", "SET='model.head=classes'"),
        (f"{LOGISTIC} model.drop_rate=0.2", "model.drop_rate: 0.2"),
        (f"{LOGISTIC} loss.name=focal", "SET='loss.name=auto'"),
        (f"{LOGISTIC} loss.label_smoothing=0.1", "loss.label_smoothing: 0.1"),
        (f"{LOGISTIC} training.sampling=balanced", "SET='training.sampling=shuffle'"),
        (f"{LOGISTIC} training.checkpoint=best", "SET='training.checkpoint=last'"),
        (f"{LOGISTIC} training.patience=3", "training.patience: 3"),
        (f"{LOGISTIC} training.swa=0.5 training.ema=0", "training.swa: 0.5"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(overrides, said, project):
    """Check the one line for keys that frozen features or a regression would leave unread."""
    recipe = load_recipe(project, "tiny", arch="lenet", overrides=overrides)
    with pytest.raises(PodiumError) as caught:
        check_features(recipe)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_off_is_not_refused(project):
    """Check that recipes with the backbone frozen, and all else as usual, pass."""
    for overrides in (ON, f"{ON} model.freeze=backbone", LOGISTIC, "training.epochs=3"):
        check_features(load_recipe(project, "tiny", arch="lenet", overrides=overrides))


def test_numbers_that_are_not_finite_are_refused(project, train_tiny, monkeypatch):
    """Check that features of NaN stop the pass in one line and leave no file."""
    bad = torch.full((45, 84), torch.nan)
    monkeypatch.setattr(backbone, "answers", lambda _, images, __: bad[: len(images)])
    with pytest.raises(PodiumError, match="not finite; set runtime"):
        train_tiny(project, overrides=ON)
    assert not frozen_files(project)


def test_out_of_memory_passes_halves(project, train_tiny, monkeypatch):
    """Check that a batch too large for the memory is passed in parts, with the same features."""
    job = the_job(project, train_tiny)
    session = FeatureSession(job)
    whole, images = session.frozen.backbone, torch.randn(9, 3, 16, 16)

    def small(some):
        if len(some) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return whole(some)

    found = backbone.answers(small, images, session.setup)
    torch.testing.assert_close(found, whole(images))
