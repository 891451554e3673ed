"""An exported folder at work, without torch: from pictures to answers, and where it looked.

The pixels are made by the same code as in training, the networks run in ONNX Runtime on the CPU,
and blend, calibration and rule are those of `make predict`.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.artifacts.predictions import probabilities
from pipeline.competition.faults import opened, quiet, read_picture
from pipeline.decisions import Rule
from pipeline.deploy.answers import Answers, check_share, decide_answers
from pipeline.deploy.format import MODEL, REMEDY, Network, read_model, read_plan
from pipeline.deploy.pictures import Held, View, cores, views
from pipeline.deploy.plan import Plan
from pipeline.errors import PodiumError
from pipeline.images.views import Turn

BATCH = 16  # pictures that a network sees at a time
PART_BYTES = 2**26  # of looks at pictures in memory at a time
LUMA = 0.299, 0.587, 0.114  # of red, green and blue, ITU-R BT.601, as in training
RANKS = "ranks.npz"


@dataclass(frozen=True, eq=False)
class Running:
    """An exported network that is loaded."""

    network: Network
    session: Any = field(repr=False)

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the logits (b, c) of images (b, s, s, 3) uint8 and, of a network that says where
        it looked, the maps (b, c, h, w)."""
        pixels = normalised(images, self.network)
        return self.session.run(None, {self.session.get_inputs()[0].name: pixels})

    def probs(self, looks: Sequence[np.ndarray], task: str) -> np.ndarray:
        """Return the probabilities (n, c) float32 of pictures, given as images (n, s, s, 3) uint8
        for each look: the mean over looks and turns."""
        answers = []
        for images, turn in itertools.product(looks, self.network.turns):
            seen = Turn(*turn)(images)
            parts = [self.outputs(seen[at : at + BATCH])[0] for at in range(0, len(images), BATCH)]
            logits = np.concatenate(parts)
            answers.append(probabilities(logits, task) if self.network.space == "probs" else logits)
        mean = np.mean(answers, axis=0, dtype=np.float64).astype(np.float32)
        return mean if self.network.space == "probs" else probabilities(mean, task)


@dataclass(frozen=True, eq=False)
class Exported:
    """An opened exported folder: `model` is its model.json; ONNX Runtime uses so many threads."""

    folder: Path
    model: dict[str, Any] = field(repr=False)
    threads: int
    networks: tuple[Running, ...] = field(repr=False)
    views: tuple[View, ...] = field(repr=False)
    plan: Plan = field(repr=False)

    @property
    def task(self) -> str:
        return self.model["task"]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.model["classes"])

    @property
    def separator(self) -> str:
        """What stands between the labels of an answer in words."""
        return self.model["separator"]

    @property
    def confidence(self) -> float | None:
        """Below which confidence no answer is given, if nothing else is said."""
        return self.model["confidence"]

    def answer(
        self,
        pictures: Sequence[Path | bytes],
        confidence: float | None = None,
        each: Callable[[int], object] | None = None,
    ) -> Answers:
        """Return the answers to pictures, given as paths or as the bytes of their files.

        What cannot be seen is told in `notes` and answered by the constant, with confidence 0.
        Below `confidence`, or that of the folder, none is given. `each` is called with the number
        of pictures done since its last call.
        """
        level = self.confidence if confidence is None else confidence
        check_share(level or 0.0, "CONFIDENCE")
        shape = len(pictures), len(self.classes)
        found = {name: np.zeros((count, *shape), np.float32) for name, count in self._counts()}
        notes: dict[int, str] = {}
        step = max(1, PART_BYTES // max(view.bytes_per_picture for view in self.views))
        for start in range(0, len(pictures), min(step, 4 * BATCH)):
            part = pictures[start : start + min(step, 4 * BATCH)]
            held, wrong = _held(part)
            whole = np.setdiff1d(np.arange(len(part)), list(wrong))
            for run, probs, late in self._part([held[i] for i in whole]):
                found[run][:, start + whole] = probs
                wrong |= {int(whole[k]): reason for k, reason in late.items()}
            notes |= {start + place: reason for place, reason in wrong.items()}
            if each is not None:
                each(len(part))
        return self.decide(found, notes, level)

    def decide(
        self, of_runs: dict[str, np.ndarray], notes: dict[int, str], level: float | None
    ) -> Answers:
        """Return the answers to pictures of which the runs' networks said (networks, n, c)."""
        if not next(iter(of_runs.values())).shape[1]:
            raise PodiumError("DATA: no picture; give one or more")
        rule = Rule.from_json(self.model["rule"]), np.array(self.model["constant"])
        return decide_answers(*rule, self.task, self.plan.probs(of_runs), notes, level)

    def seen(self, picture: Path | bytes) -> np.ndarray:
        """Return the whole picture (s, s, 3) uint8 as the first network sees it; one that cannot
        be seen is refused."""
        held, wrong = _held([picture])
        looks, late = ([], {}) if wrong else views(held, self.views[self._first.network.view])
        if wrong or late:
            raise PodiumError(f"{held[0]}: {(wrong | late)[0]}; give another picture")
        return looks[0][0]

    def look_at(self, picture: Path | bytes, label: int | None = None) -> np.ndarray | None:
        """Return where the networks looked, (s, s) float32 in 0..1 over what `seen` returns, for
        one class: the likeliest, if none is given. None where no network can say it.

        It is the class activation map (Zhou et al., Learning deep features for discriminative
        localization, CVPR 2016), its positive part, as the mean over the networks that see the
        picture as the first one does.
        """
        view = self._first.network.view
        telling = [n for n in self.networks if n.network.maps and n.network.view == view]
        if not telling:
            return None
        image = self.seen(picture)
        found = [one.outputs(image[None]) for one in telling]
        if label is None:
            label = int(np.mean([probabilities(o[0], self.task) for o in found], axis=0).argmax())
        if not 0 <= label < len(self.classes):
            raise PodiumError(
                f"label: {label}, but classes count from 0 to {len(self.classes) - 1}"
            )
        heat = np.mean([_heat(outputs[1][0, label], len(image)) for outputs in found], axis=0)
        return (heat / max(float(heat.max()), 1e-12)).astype(np.float32)

    @property
    def _first(self) -> Running:
        return self.networks[0]

    def _counts(self) -> list[tuple[str, int]]:
        runs = [running.network.run for running in self.networks]
        return [(name, runs.count(name)) for name in dict.fromkeys(runs)]

    def _part(self, held: list[Held]) -> list[tuple[str, np.ndarray, dict[int, str]]]:
        """Return, run by run, the probabilities (networks, n, c) of pictures, and by place what is
        wrong with those that a view leaves nothing of."""
        if not held:
            return []
        seen = {view: views(held, self.views[view]) for view in {*self._views_used()}}
        said = []
        for name, _ in self._counts():
            ours = [one for one in self.networks if one.network.run == name]
            looks, late = seen[ours[0].network.view]
            said.append((name, np.stack([one.probs(looks, self.task) for one in ours]), late))
        return said

    def _views_used(self) -> list[int]:
        return [running.network.view for running in self.networks]


def open_exported(folder: Path, threads: int = 0) -> Exported:
    """Open an exported folder; what is damaged, missing or of another version is refused.

    `threads` is how many ONNX Runtime may use, at most one per core, and one per core if 0.
    """
    folder = Path(folder)
    model = read_model(folder)
    threads = min(threads or cores(), cores())
    try:
        networks = [Network.from_json(content) for content in model["networks"]]
        seen = tuple(View.model_validate(content) for content in model["views"])
        plan = read_plan(model["plan"], _ranks(folder))
        Rule.from_json(model["rule"])
    except (KeyError, TypeError, ValueError) as error:
        short = str(error).splitlines()[0][:80]
        raise PodiumError(f"{folder / MODEL}: cannot be read ({short}); {REMEDY}") from None
    running = tuple(Running(one, session_of(folder / one.file, threads)) for one in networks)
    return Exported(folder, model, threads, running, seen, plan)


def session_of(path: Path, threads: int) -> Any:
    """Return a file of ONNX as a session of ONNX Runtime on the CPU."""
    try:
        import onnxruntime
    except ImportError:
        raise PodiumError(
            "onnxruntime: not installed, and exported networks run in it; make setup EXTRAS=export"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Threads that spin while they wait lose half their speed as soon as anything else runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common kind
        short = " ".join(str(error).split())[:100]
        raise PodiumError(f"{path}: cannot be loaded ({short}); {REMEDY}") from None


def normalised(images: np.ndarray, network: Network) -> np.ndarray:
    """Return images (b, s, s, 3) uint8 as floats (b, channels, s, s) of mean 0 and std 1, by the
    same arithmetic as in training; of one channel, the luma by the means over the three."""
    floats = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)
    mean, std = network.mean, network.std
    if network.channels == 1:
        luma = np.array(LUMA, np.float32).reshape(1, 3, 1, 1)
        floats = (floats * luma).sum(axis=1, keepdims=True, dtype=np.float32)
        mean, std = (float(np.mean(mean)),), (float(np.mean(std)),)
    shift = (np.array(mean, np.float32) * np.float32(255)).reshape(1, -1, 1, 1)
    scale = (np.float32(1) / (np.array(std, np.float32) * np.float32(255))).reshape(1, -1, 1, 1)
    return (floats - shift) * scale


def _held(pictures: Sequence[Path | bytes]) -> tuple[list[Held], dict[int, str]]:
    """Return the files of pictures in memory, each read once, and by place what is wrong."""
    held, wrong = [], {}
    with quiet():
        for place, picture in enumerate(pictures):
            if isinstance(picture, bytes):
                name, data, reason = "picture", picture, "" if picture else "an empty file"
            else:
                name, (data, reason) = str(picture), read_picture(Path(picture))
            reason = reason or opened(data, 1)[1]
            held.append(Held(name, data))
            if reason:
                wrong[place] = reason
    return held, wrong


def _ranks(folder: Path) -> dict[str, np.ndarray]:
    path = folder / RANKS
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _heat(values: np.ndarray, size: int) -> np.ndarray:
    """Return the positive part of a map (h, w), enlarged to (size, size)."""
    shown = np.maximum(values.astype(np.float32), 0)
    return cv2.resize(shown, (size, size), interpolation=cv2.INTER_LINEAR)
