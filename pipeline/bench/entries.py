"""What is timed: finished runs, ensembles of them, and architectures that were not trained yet."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.artifacts.files import read_object
from pipeline.bench.network import Network, weights_bytes
from pipeline.competition import CompetitionData
from pipeline.config.recipe import Recipe, load_recipe
from pipeline.config.schema import parse
from pipeline.ensemble.members import read_record
from pipeline.errors import PodiumError
from pipeline.images.views import test_looks, test_turns
from pipeline.submission.standings import Standing
from pipeline.training.networks.zoo import check_arch
from pipeline.training.refit import REFIT

FROZEN, TUNED, SCRATCH = "frozen", "fine-tuned", "from scratch"
ENSEMBLE, UNTRAINED = "ensemble", "not trained"
Seconds = Mapping[int, float]  # by batch size, of a pass


@dataclass(frozen=True)
class Part:
    """A run's share in an answer. `views`: by size in pixels, how many views of a picture there
    are. `answering`: how many networks the out-of-fold answer to a picture is a mean of, which is
    1 but for repeats; `submitted`: those of a test picture. `size_on_disk`: bytes of all these."""

    run: str
    network: Network
    views: tuple[tuple[int, int], ...]
    answering: int = 1
    submitted: int = 1
    size_on_disk: int = 0

    @property
    def passes(self) -> dict[tuple[str, int], int]:
        """How often a network sees a picture, by what is measured: its key and the size."""
        return {(self.network.key, size): count for size, count in self.views}

    def seconds(self, timed: Mapping[tuple[str, int], Seconds], batch: int) -> float:
        """Return the seconds that one network takes for all views of a picture."""
        return sum(count * timed[key][batch] / batch for key, count in self.passes.items())


@dataclass(frozen=True)
class Entry:
    """A row of the benchmark; `standing` is its place on the leaderboard, if it has one."""

    name: str
    kind: str
    parts: tuple[Part, ...]
    standing: Standing | None = None

    @property
    def archs(self) -> list[str]:
        return sorted({part.network.recipe.model.arch for part in self.parts})

    @property
    def sizes(self) -> list[int]:
        """The sizes in pixels at which pictures are seen."""
        return sorted({size for part in self.parts for size, _ in part.views})

    def seconds(
        self, timed: Mapping[tuple[str, int], Seconds], batch: int, *, submitted: bool = False
    ) -> float:
        """Return the seconds that a picture takes where `batch` are seen at a time: by as many
        networks as the score was made by, or as many as a submission is."""
        return sum(
            (part.submitted if submitted else part.answering) * part.seconds(timed, batch)
            for part in self.parts
        )


def of_standing(data: CompetitionData, standing: Standing) -> Entry:
    """Return a finished run or ensemble with all networks that it needs; what has none, as an
    import, is refused."""
    names = _runs_within(data, standing.name)
    parts = tuple(_part(data, name) for name in names)
    single = names == [standing.name]
    kind = _kind(parts[0].network.recipe) if single else ENSEMBLE
    return Entry(standing.name, kind, parts, standing)


def untrained(
    data: CompetitionData, archs: Sequence[str], recipe_name: str, overrides: str
) -> list[Entry]:
    """Return an entry for every architecture, as `make train` would build it."""
    found = []
    for arch in archs:
        check_arch(arch)
        recipe = load_recipe(
            data.project,
            recipe_name,
            arch=arch,
            competition=data.competition.recipe,
            overrides=overrides,
        )
        network = Network(recipe, len(data.classes), data.competition.task)
        part = Part("", network, _views(recipe))
        # No run can be called so, since no name has blanks.
        found.append(Entry(f"{arch} at {recipe.image.size} px", UNTRAINED, (part,)))
    return found


def _runs_within(data: CompetitionData, name: str) -> list[str]:
    """Return the runs whose networks are needed, each once, seeds and members of members too."""
    record = read_record(data, name)
    if record.get("imported"):
        raise PodiumError(f"{name} was imported, and has no network to time")
    if "members" not in record:
        return [name]
    inner = (_runs_within(data, run) for member in record["members"] for run in member["runs"])
    return list(dict.fromkeys(run for runs in inner for run in runs))


def _part(data: CompetitionData, name: str) -> Part:
    folder = data.project.run(data.competition.name, name)
    record = read_object(folder / "run.json", ("recipe", "folds"), "train the run anew")
    recipe = parse(Recipe, record["recipe"], str(folder / "run.json"))
    files = [folder / part / "model.safetensors" for part in _folders(record)]
    sizes = [weights_bytes(file) for file in files]
    network = Network(recipe, len(data.classes), data.competition.task, files[0])
    answering = 1 if record.get("refit_of") else recipe.training.repeats
    return Part(name, network, _views(recipe), answering, len(files), sum(sizes))


def _folders(record: dict[str, Any]) -> list[str]:
    """Return the folders of the networks that the test answers of a run are a mean of."""
    if record.get("refit_of"):
        return [REFIT]
    return [f"fold-{number}" for number in sorted(record["folds"], key=int)]


def _views(recipe: Recipe) -> tuple[tuple[int, int], ...]:
    turns = len(test_turns(recipe.views))
    counts = Counter(look.size for look in test_looks(recipe.views, recipe.image))
    return tuple((size, looks * turns) for size, looks in sorted(counts.items()))


def _kind(recipe: Recipe) -> str:
    model = recipe.model
    if recipe.features is not None or (model.freeze == "backbone" and model.unfreeze_after is None):
        return FROZEN
    return TUNED if model.pretrained else SCRATCH
