"""Which option is exported: the first of the ladder that passes the gate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from pipeline.deploy.export.gate import Figures, Judge, Limits, record
from pipeline.deploy.export.latency import exported_ms, threads_here
from pipeline.deploy.export.options import AS_IT_IS, PRECISIONS, Option, ladder
from pipeline.deploy.export.prune import LEAST_UNITS, pairs
from pipeline.deploy.export.shrink import head_layers
from pipeline.deploy.export.sources import Part, RunParts
from pipeline.deploy.export.workshop import LEAST_IMAGES, Built, Workshop
from pipeline.errors import PodiumError

MB = 1_000_000
SAME = 0.9  # of the answers, that unchanged networks give again at least, on any machine
NO_TEST = "no test pictures to compare the networks that go along on"
LEAST_SHARE = 0.97  # of the bytes of its weights that a file has at least, however it is stored


@dataclass(frozen=True)
class Tried:
    """An option, its size (an estimate where it was not judged), its figures, and what keeps it
    from being taken: nothing, if it passes."""

    option: Option
    mb: float
    figures: Figures | None
    faults: tuple[str, ...]
    built: tuple[Built, ...] = ()

    @property
    def passes(self) -> bool:
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        figures = None if self.figures is None else record(self.figures)
        named = {"option": str(self.option), "mb": self.mb, "passes": self.passes}
        return named | {"faults": list(self.faults), "figures": figures}


def options_for(runs: tuple[RunParts, ...]) -> list[Option]:
    """Return the options that would change something about the networks of some runs."""
    head = hidden = channels = False
    for run in runs:
        part = run.all[0]
        model = part.run.load(part.file).eval()
        size = part.run.view.looks[0].size
        example = torch.rand(2, part.run.recipe.image.channels, size, size)
        head |= bool(head_layers(model, example[:1]))
        found = [
            pair
            for pair in pairs(model, example)
            if len(model.get_submodule(pair.first).weight) > LEAST_UNITS
        ]
        hidden |= any(pair.is_head for pair in found)
        channels |= any(not pair.is_head for pair in found)
    several = any(run.shipped(few=True) != run.all for run in runs)
    return ladder(several, head, hidden, channels)


def choose(
    judge: Judge,
    options: list[Option],
    limits: Limits,
    overhead: int,
    say: Callable[[str], None],
    *,
    everything: bool = False,
) -> tuple[list[Tried], Tried | None]:
    """Try the options in their order until one passes, or `everything`; return what was tried, and
    the first that passes. `overhead` are the bytes of the folder beside its networks.

    An option whose weights alone are too large is not built, unless everything is asked for.
    """
    tried: list[Tried] = []
    chosen: Tried | None = None
    for number, option in enumerate(options):
        if chosen is not None and not everything:
            break
        found = _try(judge, option, limits, overhead, everything)
        said = "passes" if found.passes else "; ".join(found.faults)
        say(f"{option}: {said}")
        tried.append(found)
        chosen = chosen or (found if found.passes else None)
        if all(later.change != option.change for later in options[number + 1 :]):
            judge.workshop.drop(option.change, [b.path for b in chosen.built] if chosen else ())
    return tried, chosen


def _try(judge: Judge, option: Option, limits: Limits, overhead: int, everything: bool) -> Tried:
    parts = [(run, part) for run in judge.runs for part in run.shipped(option.few)]
    if option.change != AS_IT_IS or option.precision == "int8":
        fitted = {part for run in judge.runs for part in (*run.shipped(option.few), *run.judged)}
        if any(len(judge.workshop.rows(part)) < LEAST_IMAGES for part in fitted):
            mb = _estimate(judge, replace(option, change=AS_IT_IS), overhead)
            return Tried(option, mb, None, (f"fewer than {LEAST_IMAGES} training pictures",))
    if not everything:
        mb = _estimate(judge, option, overhead)
        if mb > limits.max_mb:
            return Tried(option, mb, None, (f"about {mb:.3g} MB, more than {limits.max_mb:g}",))
    built = tuple(
        _renamed(judge.workshop, run, part, option, number)
        for number, (run, part) in enumerate(parts)
    )
    mb = (overhead + sum(one.bytes for one in built)) / MB
    figures = judge.figures(option)
    if figures is None:
        return Tried(option, mb, None, (NO_TEST,))
    _refuse_foreign(option, figures)
    running = [
        (one.running(threads_here()), part.run.view)
        for one, (_, part) in zip(built, parts, strict=True)
    ]
    latency = exported_ms(running, judge.data.competition.task)
    figures = replace(figures, latency_ms=latency)
    return Tried(option, mb, figures, limits.faults(mb, figures), built)


def _renamed(workshop: Workshop, run: RunParts, part: Part, option: Option, number: int) -> Built:
    """Return a network as it goes along: of the run that it stands for, under a short name."""
    built = workshop.file(part, option.change, option.precision)
    name = f"networks/{number:02d}-{part.name}.onnx"
    return replace(built, network=replace(built.network, run=run.name, file=name))


def _estimate(judge: Judge, option: Option, overhead: int) -> float:
    """Return the MB of an option, from its files of weights or, where networks are changed, from
    the first network of each run."""
    total = float(overhead)
    for run in judge.runs:
        parts = run.shipped(option.few)
        weights = parts[0].file.stat().st_size / PRECISIONS["float32"]
        if option.change != AS_IT_IS:
            weights = judge.workshop.file(parts[0], option.change, "float32").bytes / 4
        total += LEAST_SHARE * weights * PRECISIONS[option.precision] * len(parts)
    return total / MB


def none_passes(tried: list[Tried], limits: Limits) -> PodiumError:
    """Return what to say where no option passes: it names the nearest one."""
    judged = [one for one in tried if one.figures is not None]
    small = [one for one in judged if one.mb <= limits.max_mb]
    if small:
        best = max(small, key=lambda one: one.figures.agreement if one.figures else 0.0)
    else:
        best = min(judged or tried, key=lambda one: one.mb)
    return PodiumError(
        f"MAX_MB: {limits.max_mb:g}, and none of {len(tried)} options passes; nearest is "
        f'"{best.option}": {"; ".join(best.faults)}; {_advice(best, limits)}'
    )


def _advice(best: Tried, limits: Limits) -> str:
    """Return what helps against the faults of the nearest option."""
    if best.figures is None and best.mb <= limits.max_mb:
        return "export a run by its fold networks, or a larger MAX_MB"
    found = []
    if best.mb > limits.max_mb or (best.figures and not best.figures.loss_passes):
        found.append("a larger MAX_MB")
    if best.figures and best.figures.agreement < limits.agreement:
        found += ["a larger MAX_MB"] if not found else []
        found.append(f"a lower AGREEMENT (now {limits.agreement:g})")
    return ", ".join([*found, "or a smaller network"]).replace("MB, or", "MB or")


def _refuse_foreign(option: Option, figures: Figures) -> None:
    """Refuse a run whose unchanged networks do not say what its out-of-fold file holds: nothing
    that follows could."""
    plain = option.change == AS_IT_IS and option.precision == "float32"
    if plain and figures.oof_agreement < SAME:
        raise PodiumError(
            f"FROM: its networks, unchanged, give {figures.oof_agreement:.4f} of the answers of "
            "its oof.npz; the weights do not belong to it; train the run again"
        )
