"""Competitions in miniature: tables and pictures of 8 x 8 pixels, laid out as sites do."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from pipeline.competition import CompetitionData, load_data
from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.init import Init, init

SIDE = 8  # pixels
SMOKE = {
    "model": {"pretrained": False},
    "image": {"size": 12},
    "training": {"epochs": 1, "batch_size": 16},
    "runtime": {"device": "cpu", "threads": 1, "workers": 0},
}


@dataclass(frozen=True)
class Site:
    """A project with an unpacked competition in its folder `photos`."""

    root: Path

    @property
    def project(self) -> Project:
        return Project(self.root)

    @property
    def data(self) -> Path:
        return self.root / "photos"

    @property
    def yaml(self) -> Path:
        return self.project.competition("mine")

    def table(self, name: str, header: str, rows: Iterable[Sequence], mark: str = ",") -> None:
        """Write a table; `header` is cut at its spaces."""
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [header.split(), *rows]
        text = "\n".join(mark.join(map(str, line)) for line in lines)
        path.write_text(text + "\n", encoding="utf-8")

    def pictures(self, folder: str, names: Iterable[str]) -> None:
        """Write pictures, in the format that each name says."""
        grey = np.full((SIDE, SIDE, 3), 90, np.uint8)
        for name in names:
            path = self.data / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(path.suffix, grey)[1].tobytes())

    def init(self, overrides: str = "", **options) -> Init:
        return init(self.project, "mine", "photos", overrides, **options)

    def made(self, overrides: str = "", **options) -> dict:
        """Run init and return what the YAML says."""
        self.init(overrides, **options)
        return yaml.safe_load(self.yaml.read_text(encoding="utf-8"))

    def load(self) -> CompetitionData:
        """Return the competition as every other command reads it."""
        return load_data(self.project, "mine")

    def refusal(self, overrides: str = "", **options) -> str:
        """Return the one line of a refusal, after which nothing may have been written."""
        before = self._files()
        with pytest.raises(PodiumError) as refused:
            self.init(overrides, **options)
        assert self._files() == before
        assert "\n" not in str(refused.value)
        return str(refused.value)

    def _files(self) -> dict[str, bytes]:
        files = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files}


@pytest.fixture
def site(tmp_path) -> Site:
    """Return an empty project whose competition a test fills in."""
    (tmp_path / "experiments" / "competitions").mkdir(parents=True)
    (tmp_path / "photos").mkdir()
    return Site(tmp_path)


@pytest.fixture
def named() -> Callable[..., list[str]]:
    """Return a function that makes ids: a prefix and a number."""
    return lambda prefix, count: [f"{prefix}{i:03d}" for i in range(count)]


@pytest.fixture
def smoke_recipe() -> str:
    """Return the YAML of a recipe that trains in no time."""
    return yaml.safe_dump(SMOKE)
