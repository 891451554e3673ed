"""A fold in work: its learner and history, from the first epoch or the last checkpoint."""

import time
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from pipeline.artifacts.hashing import stable_int
from pipeline.errors import PodiumError
from pipeline.images.augment import Augmenter
from pipeline.images.batches import Batches, Images, View, loader
from pipeline.images.views import test_views
from pipeline.training import checkpoint
from pipeline.training.device import resolve
from pipeline.training.history import write_history
from pipeline.training.job import FoldJob
from pipeline.training.learning.averages import build_average, measure_batch_norm
from pipeline.training.learning.learner import Learner
from pipeline.training.learning.loop import Epoch, Normalise, predict, train_epoch
from pipeline.training.learning.losses import build_loss
from pipeline.training.learning.mixing import Mixer
from pipeline.training.learning.optimizers import build_optimizer, to_evaluation, to_training
from pipeline.training.learning.sampling import draw
from pipeline.training.learning.schedules import build_rates
from pipeline.training.learning.watch import Stop, best_epoch, stop_reason
from pipeline.training.learning.world import ALONE, World
from pipeline.training.networks.depth import freeze, param_groups, unfreeze
from pipeline.training.networks.origin import normalisation
from pipeline.training.networks.outputs import raw, set_prior, with_outputs
from pipeline.training.networks.zoo import build_model, parameter_count
from pipeline.training.scores import Scores

STATISTICS_BATCHES = 100  # that batch norm's statistics are measured on, where they must be anew


class FoldSession:
    """Train the network of one fold on pictures.

    `history` has a line per epoch; `best` holds the weights of the best one, if the recipe keeps
    them; `stop` says why it ended early, if it did.
    """

    def __init__(self, job: FoldJob, world: World = ALONE) -> None:
        self.job, self.world, recipe = job, world, job.recipe
        self.scores, self.passed = Scores(job), 0.0
        torch.manual_seed(_seed(recipe.training.seed, job.fold, -1))
        self.learner, self.batches = self._learner()
        self.setup = self.learner.setup
        stats = normalisation(recipe)
        self.normalise = Normalise(*stats, self.setup, recipe.image.channels)
        weights = job.loss_weights()
        self.weights = None if weights is None else torch.from_numpy(weights)
        self.pin = self.setup.kind == "cuda"
        self.loaders: dict[tuple[str, int], DataLoader] = {}
        self.last = job.folder / "last.pt"
        found = checkpoint.restore(self.last, self.learner, job.identity, self.setup.device)
        self.history, self.best = found
        self.resumed_at, self.stop = len(self.history), self._stop()
        self._thaw(len(self.history))

    def _learner(self) -> tuple[Learner, Batches]:
        job, recipe = self.job, self.job.recipe
        task, classes = job.data.competition.task, len(job.data.classes)
        model = with_outputs(build_model(recipe, classes), recipe, task, classes)
        set_prior(model, job.data.labels[job.train])
        setup = resolve(recipe, model)
        freeze(model, recipe.model.freeze)
        model = model.to(setup.device, memory_format=setup.memory_format)
        if recipe.runtime.sync_batch_norm:
            model = self.world.with_shared_statistics(model)
        batches = self._batches()
        epochs, seed = recipe.training.epochs, recipe.training.seed
        rates = build_rates(recipe.schedule, recipe.optimizer, len(batches), epochs)
        groups = param_groups(model, recipe.optimizer)
        micro = recipe.runtime.micro_batch
        learner = Learner(
            model,
            build_optimizer(recipe.optimizer, groups),
            build_loss(task, recipe.loss, job.data.labels[job.train], classes),
            rates,
            setup,
            build_average(recipe, model, len(batches)),
            Mixer(recipe.mix, task, classes, seed, job.fold, epochs) if recipe.mix.is_on else None,
            clip_norm=recipe.optimizer.clip_norm,
            micro_batch=None if micro == "auto" else micro,
            world=self.world,
        )
        return learner, batches

    def _batches(self) -> Batches:
        job, training = self.job, self.job.recipe.training
        weights = job.draws()
        drawn = None if weights is None else lambda rows, rng: draw(rows, weights, rng)
        share = self.world.rank, self.world.size
        key = training.seed, job.fold
        batches = Batches(job.learnt, training.batch_size, key, drawn, share)
        if not len(batches):
            raise PodiumError(f"{job.title}: no rows to train on; make other folds, or drop LIMIT")
        return batches

    def train(self, until: int | None = None) -> None:
        """Run the epochs that are missing, all or those up to `until`, validating each, with
        checkpoints between them and at the last."""
        recipe, epochs = self.job.recipe, self.job.recipe.training.epochs
        view = Augmenter(recipe.augment, recipe.image, recipe.training.seed, epochs)
        images = Images(self.job.pixels, self.job.ids, view)
        batches = loader(images, self.batches, self.setup.workers, self.pin)
        targets = self.job.targets()
        saved = time.perf_counter()
        end = epochs if until is None else min(until, epochs)
        left = range(len(self.history), end if self.stop is None else 0)
        bar = tqdm(left, self.job.title, unit="epoch", disable=self.learner.bars_off, leave=False)
        for number in bar:
            self._begin(number)
            started = time.perf_counter()
            done = train_epoch(self.learner, batches, targets, self.normalise, number, self.weights)
            self._settle(batches)
            self._record(number, done, started)
            bar.set_postfix_str(self.scores.shown(self.history[-1]["valid_score"]))
            self.stop = self._stop()
            last = number + 1 == end or self.stop is not None
            if self.world.is_first:
                write_history(self.job.folder / "history.csv", self.history)
                if last or time.perf_counter() - saved >= recipe.runtime.checkpoint_seconds:
                    state = self.learner, self.history, self.best, self.job.identity
                    checkpoint.save(self.last, *state)
                    saved = time.perf_counter()
            if self.stop is not None:
                break

    @property
    def is_over(self) -> bool:
        """Whether no epoch is left to be trained."""
        return self.stop is not None or len(self.history) >= self.job.recipe.training.epochs

    def _begin(self, number: int) -> None:
        """Seed all generators for an epoch, and unfreeze what is to be trained from it on."""
        seed = _seed(self.job.recipe.training.seed, self.job.fold, number)
        torch.manual_seed((seed + self.world.rank) % 2**63)
        self.batches.epoch = number
        self._thaw(number)
        to_training(self.learner.optimizer)

    def _thaw(self, number: int) -> None:
        after = self.job.recipe.model.unfreeze_after
        if after is not None and number >= after:
            unfreeze(self.learner.model)
        if number in (self.resumed_at, after):
            self.learner.join()

    def _settle(self, batches: DataLoader) -> None:
        """Bring the weights that are judged into the state in which they are kept: those of a
        schedule-free optimiser, and batch norm's statistics where they belong to other weights."""
        learner = self.learner
        moved = to_evaluation(learner.optimizer)
        average = learner.average
        for network in {id(n): n for n in (learner.model, learner.judged)}.values():
            self.world.average_buffers(network)
        if not (moved or (average is not None and average.stale_statistics)):
            return
        some = (normalised for normalised, _ in self._first(batches))
        with torch.no_grad(), self.setup.autocast():
            measure_batch_norm(learner.judged, some, learner.judged)
        self.world.average_buffers(learner.judged)  # each process measured on its own rows
        if average is not None:
            average.stale_statistics = False

    def _first(self, batches: DataLoader) -> Any:
        for number, (images, rows) in enumerate(batches):
            if number == STATISTICS_BATCHES:
                return
            yield self.normalise(images), rows

    def _record(self, number: int, epoch: Epoch, started: float) -> None:
        """Validate on the fold and add a line to the history; keep the best epoch if asked to."""
        line = {"epoch": number + 1, "lr": epoch.lr, "train_loss": epoch.loss}
        line |= self.scores.line("train", epoch.rows, epoch.logits)
        rows, loss = self.job.parts.get("valid", np.array([], np.int64)), None
        logits = self.predict("valid")[0] if len(rows) else np.empty((0, epoch.logits.shape[1]))
        if len(rows):
            loss = self._loss(rows, logits)
        line |= {"valid_loss": loss, **self.scores.line("valid", rows, logits)}
        line["one_answer"] = self.scores.one_answer(logits)
        line["seconds"] = time.perf_counter() - started
        line["images_per_second"] = len(epoch.rows) / epoch.seconds
        self.history.append(line)
        self.learner.rates.after_epoch(epoch.loss, loss)
        if self.job.recipe.training.checkpoint != "best" or line["valid_score"] is None:
            return
        if best_epoch(self.history, self.scores.metric.sign) == number:
            weights = {k: v.clone() for k, v in self.learner.judged.state_dict().items()}
            self.best = {"epoch": number + 1, "score": line["valid_score"], "weights": weights}

    def _loss(self, rows: np.ndarray, logits: np.ndarray) -> float:
        """Return the mean loss of validated rows, that of the network's raw outputs."""
        truth = torch.from_numpy(self.job.data.labels[rows]).to(self.setup.device)
        outputs = raw(self.learner.judged, torch.from_numpy(logits).to(self.setup.device))
        return self.learner.loss(outputs, truth).item()

    def _stop(self) -> Stop | None:
        training, labels = self.job.recipe.training, self.job.data.labels
        rows = self.job.parts.get("valid", np.array([], np.int64))
        asked = training.epochs, training.patience, self.scores.metric.sign, labels[rows]
        return stop_reason(self.history, *asked)

    def keep_best(self) -> None:
        """Go back to the weights of the best epoch, where the recipe keeps them."""
        if self.best is not None:
            self.learner.judged.load_state_dict(self.best["weights"])

    def predict(self, part: str, views: bool = False) -> list[np.ndarray]:
        """Return the logits (n, c) of the rows of a part by the weights that are kept, of the first
        or of each of the recipe's test-time views; rows without a picture get the classes'
        frequencies."""
        rows = self.job.parts[part]
        pictured = self.job.pictured[rows]
        recipe, found = self.job.recipe, []
        seen = test_views(recipe.views, recipe.image)
        for number, view in enumerate(seen if views else seen[:1]):
            logits = np.tile(self.job.prior_logits, (len(rows), 1))
            if pictured.any():
                logits[pictured] = self._seen((part, number), view, rows[pictured], keep=not views)
            found.append(logits)
        return found

    def _seen(
        self, key: tuple[str, int], view: View, rows: np.ndarray, *, keep: bool
    ) -> np.ndarray:
        """Return the network's logits of rows that have a picture, each process a share of them."""
        batches = self.loaders.get(key) if keep else None
        mine = np.array_split(rows, self.world.size)[self.world.rank]
        if batches is None:
            images = Images(self.job.pixels, self.job.ids, view)
            order = Batches(mine, 2 * self.job.recipe.training.batch_size, None)
            batches = loader(images, order, self.setup.workers, self.pin)
        if keep:
            self.loaders[key] = batches  # so that its workers start once
        context = self.setup, self.normalise, key[0]
        logits = [] if not len(mine) else predict(self.learner.judged, batches, *context)
        return np.concatenate([part for part in self.world.gathered(logits) if len(part)])

    def state(self) -> dict[str, torch.Tensor]:
        """Return the weights that are kept."""
        return {k: v.contiguous() for k, v in self.learner.judged.state_dict().items()}

    def facts(self) -> dict[str, Any]:
        """Return what the fold's record says beside scores and rows."""
        return {
            "epochs": len(self.history),
            "best_epoch": None if self.best is None else self.best["epoch"],
            "stopped": None
            if self.stop is None
            else {"kind": self.stop.kind, "said": self.stop.said},
            "resumed_at_epoch": self.resumed_at,
            "parameters": parameter_count(self.learner.model),
            "micro_batch": self.learner.micro_batch,
            "events": self.learner.events,
            "processes": self.world.size,
            "setup": self.setup.record(),
        }


def _seed(seed: int, fold: int, epoch: int) -> int:
    return stable_int(f"{seed}/{fold}/{epoch}") % 2**63
