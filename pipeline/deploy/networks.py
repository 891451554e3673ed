"""The trained networks of a run, from its folder alone: neither hub nor pretrained weights."""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from pipeline.artifacts.files import read_object
from pipeline.artifacts.predictions import probabilities
from pipeline.competition import CompetitionData
from pipeline.config.recipe import Recipe
from pipeline.config.schema import parse
from pipeline.deploy.pictures import View
from pipeline.errors import PodiumError
from pipeline.images.views import Turn, test_turns
from pipeline.training.device import Setup, resolve
from pipeline.training.learning.loop import Normalise, predict
from pipeline.training.networks.origin import normalisation
from pipeline.training.networks.outputs import with_outputs
from pipeline.training.networks.weights import NOTE
from pipeline.training.networks.zoo import build_model
from pipeline.training.refit import REFIT


class RunNetworks:
    """The network of every fold of a run, or the one of a refit, one of them in memory at a time.

    Every file of weights is opened at once, so that a damaged one is found before any work. With
    `exact`, they run on the CPU in single precision, whatever the recipe says.
    """

    def __init__(
        self, data: CompetitionData, name: str, say: Callable[[str], None], *, exact: bool = False
    ) -> None:
        self.name, self._say = name, say
        self._classes, self._task = data.classes, data.competition.task
        self._max_megapixels = data.competition.max_megapixels  # part of the run's data hash
        folder = data.project.run(data.competition.name, name)
        path = folder / "run.json"
        record = read_object(path, ("recipe", "folds"), "train the run anew")
        self._recipe = parse(Recipe, record["recipe"], str(path))
        if exact:
            self._recipe = _on_cpu(self._recipe)
        self._space = _space(self._recipe, record, path)
        crop = self._recipe.image.crop
        if crop.kind == "box":
            raise PodiumError(
                f"FROM: {name} cuts boxes out of its pictures, by the columns "
                f"{', '.join(crop.columns or ())} of the tables, which new pictures do not have; "
                "name a run with another image.crop"
            )
        self._notes = {file: self._checked_note(file) for file in weight_files(folder, record)}

    @property
    def files(self) -> list[Path]:
        """The files of weights, one per network."""
        return list(self._notes)

    @property
    def view(self) -> View:
        """All that decides the pixels that the networks see, before they are turned and normalised:
        runs that differ in nothing else share it."""
        image = self._recipe.image.model_dump() | {"mean": None, "std": None, "channels": 3}
        seen = self._recipe.views.model_copy(update={"flips": "none", "average": "auto"})
        return View(**image, max_megapixels=self._max_megapixels, views=seen)

    @property
    def recipe(self) -> Recipe:
        return self._recipe

    @property
    def space(self) -> str:
        """What is averaged over the views of a picture: 'probs' or 'logits'."""
        return self._space

    @property
    def turns(self) -> list[Turn]:
        """The turns in which every look is seen."""
        return test_turns(self._recipe.views)

    def pixels(self, file: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of pixels in 0..1, as one network wants them."""
        note = self._notes[file]
        return tuple(note["mean"]), tuple(note["std"])

    @property
    def batch_size(self) -> int:
        """How many pictures at a time, as when the run predicted its own test rows."""
        return 2 * self._recipe.training.batch_size

    def probs(self, looks: list[np.ndarray], bar: tqdm) -> np.ndarray:
        """Return each network's probabilities (networks, n, c) float32 of pictures, given as images
        (n, size, size, 3) uint8 for each look of `view`; their mean is what the run's own test
        predictions are. `bar` counts pictures times networks."""
        parts = []
        for file in self.files:
            parts.append(self._probs_by(file, looks))
            bar.update(len(looks[0]))
        return np.stack(parts)

    def _probs_by(self, file: Path, looks: list[np.ndarray]) -> np.ndarray:
        """Return what one network says: the mean over its views, of probabilities or of logits as
        the run's record says, (n, c) float32."""
        model, setup = self.load(file), self._built[1]
        note, channels = self._notes[file], self._recipe.image.channels
        normalise = Normalise(note["mean"], note["std"], setup, channels=channels)
        what, answers = f"{self.name}, {file.parent.name}", []
        for images, turn in itertools.product(looks, self.turns):
            batches = _batches(images, turn, self.batch_size)
            logits = predict(model, batches, setup, normalise, what)
            answers.append(probabilities(logits, self._task) if self._space == "probs" else logits)
        mean = np.mean(answers, axis=0, dtype=np.float64).astype(np.float32)
        return mean if self._space == "probs" else probabilities(mean, self._task)

    def load(self, file: Path) -> torch.nn.Module:
        """Return the network with the weights of one file. All files share the one network: who
        changes it, or wants two, takes a copy."""
        model = self._built[0]
        with _opened(file) as opened:
            names = opened.keys()
            state = {name: opened.get_tensor(name) for name in names}
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            short = str(error).splitlines()[-1].strip()[:120]
            arch = self._recipe.model.arch
            raise PodiumError(f"{file}: not this run's {arch} ({short}); {_remedy(file)}") from None
        return model

    @cached_property
    def _built(self) -> tuple[torch.nn.Module, Setup]:
        """The network without its weights, as `pretrained: false` builds it, and its device."""
        scratch = self._recipe.model.model_copy(update={"pretrained": False, "weights": "auto"})
        recipe = self._recipe.model_copy(update={"model": scratch})
        classes = len(self._classes)
        model = with_outputs(build_model(recipe, classes), recipe, self._task, classes)
        setup = self._setup(model)
        return model.to(setup.device, memory_format=setup.memory_format), setup

    def _setup(self, model: torch.nn.Module) -> Setup:
        """Return how this machine runs the network: as the recipe says, or, where the device that
        it names is of another machine, as is best here."""
        recipe = self._recipe
        try:
            return resolve(recipe, model)
        except PodiumError:
            self._say(f"{self.name}: trained on {recipe.runtime.device}, which is not here")
            best = recipe.runtime.model_copy(update={"device": "auto", "precision": "auto"})
            return resolve(recipe.model_copy(update={"runtime": best}), model)

    def _checked_note(self, file: Path) -> dict[str, Any]:
        """Return what a file of weights says of itself, with the mean and std of pixels in 0..1;
        one for other classes is refused."""
        with _opened(file) as opened:
            note = json.loads((opened.metadata() or {}).get(NOTE, "{}"))
        if note.get("classes", list(self._classes)) != list(self._classes):
            classes = ", ".join(note["classes"])[:80]
            raise PodiumError(f"{file}: trained for other classes ({classes}); {_remedy(file)}")
        if "mean" not in note or "std" not in note:  # the recipe or the architecture says them
            note["mean"], note["std"] = normalisation(self._recipe)
        return note


def _on_cpu(recipe: Recipe) -> Recipe:
    runtime = recipe.runtime.model_copy(update={"device": "cpu", "precision": "float32"})
    return recipe.model_copy(update={"runtime": runtime})


def _space(recipe: Recipe, record: dict[str, Any], path: Path) -> str:
    """Return what is averaged over the views of a picture: 'probs' or 'logits'; of one view, it
    makes no difference. What the record at `path` does not say is refused."""
    if recipe.views.is_single:
        return "probs"
    found = record.get("views")
    average = found.get("average") if isinstance(found, dict) else None
    if average not in ("probs", "logits"):
        raise PodiumError(
            f"{path}: views.average must be probs or logits, not {average!r}; make train the run "
            "again, which writes the record anew"
        )
    return average


def _batches(images: np.ndarray, turn: Turn, size: int) -> Iterator[tuple[torch.Tensor, None]]:
    """Cut images (n, s, s, 3) into batches and turn each when its time comes."""
    for at in range(0, len(images), size):
        yield torch.from_numpy(turn(images[at : at + size])), None


def weight_files(folder: Path, record: dict[str, Any]) -> list[Path]:
    """Return the files of weights that the test predictions of the run in `folder` are a mean of;
    `record` is its run.json."""
    if record.get("refit_of"):
        names = [REFIT]
    else:
        names = [f"fold-{number}" for number in sorted(record["folds"], key=int)]
    return [folder / name / "model.safetensors" for name in names]


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Open a file of weights, whose length and list of tensors are checked thereby."""
    try:
        with safe_open(file, framework="pt") as opened:
            yield opened
    except FileNotFoundError:
        raise PodiumError(f"{file}: no such file; {_remedy(file)}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise PodiumError(f"{file}: damaged ({str(error)[:80]}); {_remedy(file)}") from None


def _remedy(file: Path) -> str:
    return f"delete {file.parent} and make train the run again, which trains that part alone"
