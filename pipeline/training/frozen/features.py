"""A fold whose head alone is trained, on features of a frozen backbone that are made once.

The backbone is the same for all folds: its weights are the pretrained ones or, with
`model.pretrained: false`, those that the run's seed draws. So all folds, and all recipes that
differ in nothing that the backbone sees, share one pass over the pictures.
"""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from pipeline.artifacts.hashing import stable_int
from pipeline.config.learning import Features
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.images.batches import Batches, View
from pipeline.images.views import Look
from pipeline.images.views import View as Turned
from pipeline.training import checkpoint
from pipeline.training.device import resolve
from pipeline.training.frozen.backbone import FrozenBackbone, Kept, augmented, plain
from pipeline.training.frozen.logistic import Lesson, choose_strength, fit_logistic
from pipeline.training.history import write_history
from pipeline.training.job import FoldJob
from pipeline.training.learning.averages import build_average
from pipeline.training.learning.learner import Learner
from pipeline.training.learning.loop import Epoch, predict, train_epoch
from pipeline.training.learning.losses import build_loss, class_weights
from pipeline.training.learning.optimizers import build_optimizer
from pipeline.training.learning.schedules import build_rates
from pipeline.training.networks.classifier import Classifier
from pipeline.training.networks.depth import param_groups, split
from pipeline.training.networks.outputs import set_prior, with_outputs
from pipeline.training.networks.zoo import build_model
from pipeline.training.session import FoldSession

ROWS = 1024  # features that the head answers at once


def check_features(recipe: Recipe) -> None:
    """Refuse what means nothing where features are frozen."""
    asked = recipe.features
    if asked is None:
        return
    model, mix = recipe.model, recipe.mix
    idle = {
        "mix.mixup": mix.is_on and mix.mixup,
        "mix.cutmix": mix.is_on and mix.cutmix,
        "model.freeze": model.freeze not in ("none", "backbone") and model.freeze,
        "model.unfreeze_after": model.unfreeze_after,
        "model.drop_path": model.drop_path,
        "optimizer.layer_decay": recipe.optimizer.layer_decay < 1 and recipe.optimizer.layer_decay,
        "augment.first_size": asked.views > 1 and recipe.augment.first_size,
    }
    _refuse(idle, "the backbone is frozen, as the section features says")
    if asked.fit == "logistic":
        _refuse(_beside_logistic(recipe), "features.fit is logistic")
    else:
        _refuse({"features.c": asked.c}, "features.fit is gradient")


def _beside_logistic(recipe: Recipe) -> dict[str, Any]:
    """Return what a logistic regression has no use for, by key."""
    model, loss, training = recipe.model, recipe.loss, recipe.training
    return {
        "model.hidden": list(model.hidden),
        "model.head": model.head != "classes" and model.head,
        "model.drop_rate": any(model.drop_rates) and model.drop_rate,
        "loss.name": loss.name != "auto" and loss.name,
        "loss.label_smoothing": loss.label_smoothing,
        "training.sampling": training.sampling != "shuffle" and training.sampling,
        "training.checkpoint": training.checkpoint != "last" and training.checkpoint,
        "training.patience": training.patience,
        "training.swa": training.swa,
    }


def _refuse(idle: dict[str, Any], where: str) -> None:
    """Refuse the first key that has a value, naming the value that turns it off."""
    usual = Recipe(features=Features()).model_dump(mode="json")
    for key, value in idle.items():
        if value:
            section, name = key.split(".")
            off = json.dumps(usual[section][name]).strip('"')
            raise PodiumError(f"{key}: {value} means nothing where {where}; SET='{key}={off}'")


class Feed:
    """Batches of features in place of pictures, in the order of `batch_sampler`.

    With several views, a row shows another one in every epoch, all in turn, and begins at one that
    its id decides, so that an epoch has all of them.
    """

    def __init__(self, batches: Batches, views: Sequence[Kept], ids: np.ndarray) -> None:
        self.batch_sampler, self._views = batches, views
        self._first = np.array([stable_int(name) % len(views) for name in ids.tolist()])

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for items in self.batch_sampler:
            rows = np.array([row for _, row in items])
            turn = (self._first[rows] + self.batch_sampler.epoch) % len(self._views)
            found = self._views[0].of(rows)
            for number in range(1, len(self._views)):
                found[turn == number] = self._views[number].of(rows[turn == number])
            yield torch.from_numpy(found), torch.from_numpy(rows)


class FeatureSession(FoldSession):
    """Train the head of one fold on features.

    Epochs are so short that there are no checkpoints but where training pauses: a fold that was
    killed trains its head anew, and makes no features again.
    """

    network: nn.Module
    frozen: FrozenBackbone
    strength: float | None = None

    def __init__(self, job: FoldJob) -> None:
        check_features(job.recipe)
        super().__init__(job)
        device = self.setup.device
        self.normalise = lambda features: features.to(device, non_blocking=True)

    def _learner(self) -> tuple[Learner, Batches]:
        """Return the head as what is trained, within the whole network."""
        job, recipe = self.job, self.job.recipe
        task, classes = job.data.competition.task, len(job.data.classes)
        torch.manual_seed(stable_int(f"{recipe.training.seed}/backbone") % 2**63)
        bare = build_model(recipe, classes)
        setup = resolve(recipe, bare)
        bare = bare.to(setup.device, memory_format=setup.memory_format)
        backbone, head = split(bare)
        self.frozen = FrozenBackbone(job, backbone, head, setup)
        self.network, model = (with_outputs(part, recipe, task, classes) for part in (bare, head))
        for part in (self.network, model):
            set_prior(part, job.data.labels[job.train])
        batches, epochs = self._batches(), recipe.training.epochs
        learner = Learner(
            model,
            build_optimizer(recipe.optimizer, param_groups(model, recipe.optimizer)),
            build_loss(task, recipe.loss, job.data.labels[job.train], classes),
            build_rates(recipe.schedule, recipe.optimizer, len(batches), epochs),
            setup,
            build_average(recipe, model, len(batches)),
            clip_norm=recipe.optimizer.clip_norm,
        )
        return learner, batches

    def train(self, until: int | None = None) -> None:
        """Make what features are missing, and fit the head, by a gradient up to the epoch `until`
        if it is given."""
        if self.job.recipe.features.fit == "logistic":
            self._regress()
        else:
            self._descend(until)
        write_history(self.job.folder / "history.csv", self.history)

    @property
    def is_over(self) -> bool:
        return self.job.recipe.features.fit == "logistic" or super().is_over

    def _descend(self, until: int | None) -> None:
        """Train the head by the recipe's loss, optimiser and schedule."""
        epochs, targets = self.job.recipe.training.epochs, self.job.targets()
        end = epochs if until is None else min(until, epochs)
        left = range(len(self.history), end if self.stop is None else 0)
        feed = Feed(self.batches, self._training_views(), self.job.ids)
        bar = tqdm(left, self.job.title, unit="epoch", disable=None, leave=False)
        for number in bar:
            self._begin(number)
            started = time.perf_counter()
            context = self.normalise, number, self.weights
            done = train_epoch(self.learner, feed, targets, *context)
            self._settle(feed)
            self._record(number, done, started)
            bar.set_postfix_str(self.scores.shown(self.history[-1]["valid_score"]))
            self.stop = self._stop()
            if self.stop is not None:
                break
        if not self.is_over:
            checkpoint.save(self.last, self.learner, self.history, self.best, self.job.identity)

    def _regress(self) -> None:
        """Fit the head as scikit-learn's logistic regression, which is the one line of history."""
        job, views, started = self.job, self._training_views(), time.perf_counter()
        rows, labels = job.learnt, job.data.labels[job.train]
        task, count, config = job.data.competition.task, len(job.data.classes), job.recipe.loss
        every = np.ones(len(job.ids)) if self.weights is None else self.weights.numpy()
        lesson = Lesson(
            np.concatenate([view.of(rows) for view in views]),
            np.concatenate([job.targets().numpy()[rows]] * len(views)),
            np.tile(every[rows] / len(views), len(views)).astype(np.float64),
            count,
            task == "multilabel",
            class_weights(labels, count, config.class_weights, beta=config.beta),
        )
        self.strength = job.recipe.features.c
        if self.strength is None:
            judged = np.full(len(rows), -1)
            judged[: len(labels)] = np.arange(len(labels))
            groups = job.data.train.groups
            groups = None if groups is None else groups[job.train]
            self.strength = choose_strength(lesson, np.tile(judged, len(views)), labels, groups)
        self._set_head(*fit_logistic(lesson, self.strength))
        seconds = time.perf_counter() - started
        outputs = self._seen(("train", 0), self._usual(), job.train, keep=False)
        loss = self._loss(job.train, outputs)
        self._record(0, Epoch(loss, 0.0, job.train, outputs, seconds), started)

    def _set_head(self, weight: np.ndarray, bias: np.ndarray) -> None:
        """Make a linear function of the features the head's answer; there is no average of it."""
        self.learner.average = None
        head = self.frozen.head
        layers = head.layers if isinstance(head, Classifier) else [head[-1]]
        widths = head.widths if isinstance(head, Classifier) else [layers[0].in_features]
        if any(layer.bias is None for layer in layers):
            raise PodiumError(
                f"features.fit: logistic, but the classifier of {self.job.recipe.model.arch} "
                "has no bias; SET='features.fit=gradient'"
            )
        parts = torch.from_numpy(weight).split(widths, dim=1)
        with torch.no_grad():
            for layer, part in zip(layers, parts, strict=True):  # they answer with their mean
                layer.weight.copy_((len(layers) * part).reshape(layer.weight.shape))
                layer.bias.copy_(torch.from_numpy(bias))

    def _usual(self) -> Turned:
        """The view of validation and test, as `Evaluator` makes it."""
        return Turned(Look(self.job.recipe.image.fit, self.job.recipe.image.size))

    def _training_views(self) -> list[Kept]:
        """Return the features to train on: the usual view, then the augmented ones of the rows that
        some fold may learn from."""
        job, rows = self.job, self.job.pixels.numbers
        views = [self.frozen.features(plain(self._usual()), rows)]
        if job.lessons is None:
            rows = rows[rows < len(job.data.train)]
        for number in range(1, job.recipe.features.views):
            views.append(self.frozen.features(augmented(job, number), rows))
        self.passed = self.frozen.seconds
        return views

    def _seen(
        self, key: tuple[str, int], view: View, rows: np.ndarray, *, keep: bool
    ) -> np.ndarray:
        """Return the logits of rows that have a picture, from their features."""
        turned = view if isinstance(view, Turned) else self._usual()
        found = self.frozen.features(plain(turned), self.job.pixels.numbers)
        pieces = (rows[at : at + ROWS] for at in range(0, len(rows), ROWS))
        batches = ((torch.from_numpy(found.of(piece)), piece) for piece in pieces)
        return predict(self.learner.judged, batches, self.setup, self.normalise, key[0])

    def state(self) -> dict[str, torch.Tensor]:
        """Return the weights of the whole network, with those of the head that are kept."""
        if self.learner.judged is not self.learner.model:
            self.learner.model.load_state_dict(self.learner.judged.state_dict())
        return {k: v.contiguous() for k, v in self.network.state_dict().items()}

    def facts(self) -> dict[str, Any]:
        """Return what the record says beside scores and rows."""
        asked = self.job.recipe.features
        said = {"views": asked.views, "fit": asked.fit, "c": self.strength}
        said["seconds"] = round(self.frozen.seconds, 2)
        return {**super().facts(), "features": said}
