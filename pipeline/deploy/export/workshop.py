"""Files of networks, built when they are asked for: a network, a change, a precision."""

import copy
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from pipeline.competition import CompetitionData
from pipeline.deploy.export.maps import with_maps
from pipeline.deploy.export.onnx_file import write_float16, write_float32
from pipeline.deploy.export.options import AS_IT_IS, Change
from pipeline.deploy.export.prune import prune
from pipeline.deploy.export.rows import Shown, drawn
from pipeline.deploy.export.shrink import shrink
from pipeline.deploy.export.sources import Part, training_rows
from pipeline.deploy.exported import Running, normalised, session_of
from pipeline.deploy.format import Network
from pipeline.deploy.pictures import View

CALIBRATION = 200  # training pictures that tell the ranges of activations
STATISTICS = 2000  # that tell which directions and units matter
LEAST_IMAGES = 8
IMAGE_BYTES = 4 * 10**8  # of them in memory


@dataclass(frozen=True)
class Built:
    """A network's file and what a reader must know of it; `bytes` is the file's size."""

    network: Network
    path: Path

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size

    def running(self, threads: int) -> Running:
        return Running(self.network, session_of(self.path, threads))


@dataclass(eq=False)
class Workshop:
    """Builds and keeps files of networks in `folder`.

    `views` are all views, in the order of model.json; `fitting` the rows of the training table, as
    positions, that a network may be fitted to if its fold does not validate them.
    """

    data: CompetitionData
    folder: Path
    views: tuple[View, ...]
    fitting: np.ndarray
    built: dict[tuple[str, Change, str], Built] = field(default_factory=dict)
    shown: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)

    def file(self, part: Part, change: Change, precision: str) -> Built:
        """Return a network in a precision, after a change; built now if it is not there."""
        key = part.name, change, precision
        if key not in self.built:
            path = self.folder / f"{part.name}-{change.slug}-{precision}.onnx"
            self.folder.mkdir(parents=True, exist_ok=True)
            maps = False
            if precision == "float32":
                maps = self._write(part, change, path)
            else:
                exact = self.file(part, change, "float32")
                maps = exact.network.maps
                if precision == "float16":
                    write_float16(exact.path, path)
                else:
                    write_int8(exact.path, path, self.images(part, CALIBRATION))
            self.built[key] = Built(self._network(part, path.name, maps), path)
        return self.built[key]

    def drop(self, change: Change, kept: Collection[Path] = ()) -> None:
        """Remove the files of networks after a change, but for those in `kept`."""
        for key, built in list(self.built.items()):
            if key[1] == change and built.path not in kept:
                built.path.unlink(missing_ok=True)
                del self.built[key]

    def rows(self, part: Part) -> np.ndarray:
        """Return the training rows of a network, as positions."""
        return training_rows(part, self.data.train.ids, self.fitting)

    def images(self, part: Part, most: int) -> np.ndarray:
        """Return training pictures of a network as it sees them, (n, channels, s, s) float32."""
        key = part.name, most
        if key not in self.shown:
            rows = self.rows(part)
            if len(rows) < LEAST_IMAGES:
                raise ValueError(f"{part.name}: {len(rows)} training pictures")
            room = IMAGE_BYTES // (12 * part.run.view.looks[0].size ** 2)
            rows = rows[drawn(self.data.train.ids[rows], None, min(most, max(room, LEAST_IMAGES)))]
            paths = [self.data.train.images[i] for i in rows]
            looks = Shown(rows, self.data.train.ids[rows], paths).seen(part.run.view)
            self.shown = {key: normalised(looks[0], self._network(part, "", False))}
        return self.shown[key]

    def _write(self, part: Part, change: Change, path: Path) -> bool:
        """Write a network in single precision; return whether it says where it looked."""
        model = part.run.load(part.file).eval()
        if change != AS_IT_IS:
            model = changed(copy.deepcopy(model), self._statistics(part), change)
        size = max(look.size for look in part.run.view.looks)
        noise = torch.rand(2, part.run.recipe.image.channels, size, size)
        mapped = with_maps(model, noise)
        sizes = [look.size for look in part.run.view.looks]
        write_float32(mapped, noise.shape[1], sizes, path)
        return mapped is not model

    def _statistics(self, part: Part) -> torch.Tensor:
        return torch.from_numpy(self.images(part, STATISTICS))

    def _network(self, part: Part, file: str, maps: bool) -> Network:
        mean, std = part.run.pixels(part.file)
        return Network(
            file=f"networks/{file}",
            run=part.run.name,
            part=part.file.parent.name,
            view=self.views.index(part.run.view),
            mean=mean,
            std=std,
            channels=part.run.recipe.image.channels,
            turns=tuple((turn.flipped, turn.quarters) for turn in part.run.turns),
            space=part.run.space,
            maps=maps,
        )


def changed(model: torch.nn.Module, images: torch.Tensor, change: Change) -> torch.nn.Module:
    """Return a network, changed in place: pruned first, so that what is left is shrunk."""
    if change.units < 1 or change.channels < 1:
        prune(model, images, change.units, change.channels)
    if change.explained < 1:
        shrink(model, images, change.explained)
    return model


def write_int8(source: Path, path: Path, images: np.ndarray) -> None:
    """Write a file of ONNX in 8 bits; the package that does it takes a second to load."""
    from pipeline.deploy.export.quantise import write_int8 as write

    write(source, path, images)
