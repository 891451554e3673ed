"""The exported model at work: one inference at a time, in a thread of its own.

ONNX Runtime has its own threads below it. Whoever asks waits without blocking the server's loop; a
request of many pictures is answered in parts, between which others have their turn.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np

from pipeline.decisions import answered
from pipeline.deploy.answers import Answers
from pipeline.deploy.exported import Exported
from pipeline.errors import PodiumError
from pipeline.serve.kinds import check_picture, picture_kind
from pipeline.serve.limits import Limits
from pipeline.serve.refusals import Refused
from pipeline.serve.uploads import Upload

PART = 4  # pictures answered at a time, so that nobody waits long for a turn
HEAT_SHARE = 0.5  # of the heat map, over the picture
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Answered:
    """Pictures with their answers; `faults` are the refusals of those that cannot be answered, by
    place."""

    names: list[str]
    answers: Answers
    faults: dict[int, Refused]


@dataclass(frozen=True, eq=False)
class Look:
    """What the network saw of a picture and where it looked, (s, s, 3) uint8 RGB each."""

    seen: np.ndarray
    heat: np.ndarray | None


class Engine:
    """Answers pictures with an exported model, one part of a request after the other."""

    def __init__(self, model: Exported, limits: Limits) -> None:
        self.model = model
        self.limits = limits
        self.pictures = 0  # answered so far
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="inference")

    async def answer(
        self,
        uploads: Sequence[Upload],
        level: float,
        each: Callable[[int], object] | None = None,
    ) -> Answered:
        """Return the answers to pictures; those below confidence `level` are not given. `each` is
        called with the number of pictures done. Takes `answer_seconds` at most for each part."""
        faults = {
            place: fault
            for place, upload in enumerate(uploads)
            if (fault := _fault(upload, self.limits)) is not None
        }
        # No bytes: the reader says that the file is empty, and the answer is the constant.
        pictures = [b"" if k in faults else one.data for k, one in enumerate(uploads)]
        parts = []
        for start, stop in _parts(pictures, self.limits.pixels):
            parts.append(await self._run(self.model.answer, pictures[start:stop], 0.0))
            if each is not None:
                each(stop)
        answers = _joined(parts)
        for place, reason in answers.notes.items():
            faults.setdefault(place, Refused(422, f"the picture is {reason}; save it anew"))
        self.pictures += len(uploads) - len(faults)
        notes = {place: faults[place].message for place in sorted(faults)}
        given = answered(answers.confidence, level)
        names = [one.name for one in uploads]
        return Answered(names, replace(answers, given=given, notes=notes), faults)

    async def look(self, picture: bytes, label: int | None) -> Look:
        """Return what the first network saw, and where it looked for one class, where it can say
        that."""
        return await self._run(self._look, picture, label)

    def close(self) -> None:
        """Take no more work; what is in work is done."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _look(self, picture: bytes, label: int | None) -> Look:
        seen = self.model.seen(picture)
        heat = self.model.look_at(picture, label)
        return Look(seen, None if heat is None else _overlaid(seen, heat))

    async def _run(self, work: Callable[..., Result], *arguments: object) -> Result:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                return await loop.run_in_executor(self._worker, work, *arguments)
        except TimeoutError:
            seconds = f"{self.limits.answer_seconds:g} s"
            raise Refused(503, f"not answered within {seconds}; ask again later") from None
        except PodiumError:
            raise Refused(422, "nothing is left of the picture after the crop") from None


def _fault(upload: Upload, limits: Limits) -> Refused | None:
    return Refused(422, upload.reason) if upload.reason else check_picture(upload.data, limits)


def _parts(pictures: Sequence[bytes], pixels: int) -> Iterator[tuple[int, int]]:
    """Cut pictures into parts of at most `PART`, and of at most so many pixels if they are more
    than one, so that few large ones are decoded at a time."""
    start, total = 0, 0
    for place, data in enumerate(pictures):
        kind = picture_kind(data)
        size = kind.pixels if kind else 0
        if place > start and (place - start == PART or total + size > pixels):
            yield start, place
            start, total = place, 0
        total += size
    yield start, len(pictures)


def _joined(parts: Sequence[Answers]) -> Answers:
    notes, start = {}, 0
    for part in parts:
        notes |= {start + place: reason for place, reason in part.notes.items()}
        start += len(part.confidence)
    arrays = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("labels", "confidence", "given", "probs")
    )
    return Answers(*arrays, notes)


def _overlaid(seen: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a picture (s, s, 3) under a heat map (s, s) in 0..1."""
    levels = np.round(heat * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return cv2.addWeighted(seen, 1 - HEAT_SHARE, colours, HEAT_SHARE, 0)
