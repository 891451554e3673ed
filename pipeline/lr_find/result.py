"""What a range test found: `lr-find.json`, `lr-find.csv` and the two charts."""

import csv
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import write_json, write_text
from pipeline.competition import CompetitionData
from pipeline.config.recipe import Recipe
from pipeline.folds import Folds
from pipeline.lr_find.chart import draw_losses, draw_schedule
from pipeline.lr_find.report import LrFind
from pipeline.lr_find.smooth import smoothed
from pipeline.lr_find.suggest import Suggestions, suggest
from pipeline.lr_find.sweep import Sweep
from pipeline.training.learning.schedules import Rates, build_rates, first_momentum, schedule_table

FILES = "lr-find.json", "lr-find.csv", "lr-find.png", "schedule.png"


@dataclass(frozen=True)
class Asked:
    """What a range test is of: the recipe, that of the first seed, its name and what SET said of
    it, the rows under the folds and the fold that is left out, the steps to take; `per_epoch` are
    those of an epoch of training."""

    name: str
    recipe_name: str
    overrides: str
    recipe: Recipe
    seeds: tuple[int, ...]
    data: CompetitionData
    folds: Folds
    fold: int
    steps: int
    per_epoch: int = 1

    @property
    def comp(self) -> str:
        return self.data.competition.name

    @property
    def arch(self) -> str:
        return self.recipe.model.arch

    @property
    def folder(self) -> Path:
        return self.data.project.run(self.comp, self.name)

    @property
    def rates(self) -> Rates:
        """The rates of a training by the recipe."""
        recipe, epochs = self.recipe, self.recipe.training.epochs
        return build_rates(recipe.schedule, recipe.optimizer, self.per_epoch, epochs)

    def check_schedule(self) -> None:
        """Refuse a schedule that is impossible in these steps, before any is taken."""
        _ = self.rates

    def command(self, lr: float) -> str:
        """Return the command that trains by the recipe at the rate `lr`."""
        words = [f"make train COMP={self.comp} ARCH={self.arch}"]
        if self.recipe_name != "baseline":
            words.append(f"RECIPE={self.recipe_name}")
        if self.seeds != (0,):
            words.append(f"SEED={shlex.quote(' '.join(map(str, self.seeds)))}")
        others = re.sub(r"(?<!\S)optimizer\.lr=\S*\s*", "", self.overrides).strip()
        asked = f"{others} optimizer.lr={lr:.1e}".strip()
        marks = shlex.quote(asked) if shlex.quote(asked) != asked else f'"{asked}"'
        return " ".join([*words, f"SET={marks}"])


def publish(asked: Asked, sweeps: dict[int, Sweep]) -> LrFind:
    """Write the four files of the sweeps, by seed, and return what they say.

    The losses of several seeds are averaged over the steps that all of them took; each is smoothed
    first, or the one that diverges first would decide alone.
    """
    taken = min(len(one.lrs) for one in sweeps.values())
    lrs = next(iter(sweeps.values())).lrs[:taken]
    raw = [one.losses[:taken] for one in sweeps.values()]
    mean = np.mean(raw, axis=0) if taken else np.empty(0)
    smooth = np.mean([smoothed(losses) for losses in raw], axis=0)
    found = suggest(lrs, smooth)
    record = _record(asked, sweeps, taken, found)
    paths = [asked.folder / name for name in FILES]
    write_json(paths[0], record)
    write_text(paths[1], _table(lrs, dict(zip(sweeps, raw, strict=True)), mean, smooth))
    title = f"{asked.comp}, {asked.arch}, recipe {asked.recipe_name}, {asked.recipe.optimizer.name}"
    if taken:
        draw_losses(paths[2], f"{title}: learning-rate range test", lrs, raw, smooth, found)
    else:
        paths[2].unlink(missing_ok=True)  # that of an earlier test
        paths.pop(2)
    _draw_schedule(paths[-1], title, asked)
    shown = tuple(asked.data.project.shown(path) for path in paths)
    return LrFind(asked.name, record, tuple(paths), shown)


def _draw_schedule(path: Path, title: str, asked: Asked) -> None:
    recipe, steps = asked.recipe, asked.per_epoch * asked.recipe.training.epochs
    name = recipe.schedule.name
    said = f"schedule {name} of optimizer.lr {recipe.optimizer.lr:g}"
    if name == "plateau":
        said += ", as long as the loss falls"
    table = schedule_table(asked.rates, steps)
    momentum = first_momentum(recipe.optimizer)
    draw_schedule(path, f"{title}\n{said}", table, momentum, asked.per_epoch)


def _record(
    asked: Asked, sweeps: dict[int, Sweep], taken: int, found: Suggestions
) -> dict[str, Any]:
    """Return the content of `lr-find.json`: no time and no date, so that it is always the same."""
    lr = found.lr
    return {
        "competition": asked.comp,
        "name": asked.name,
        "arch": asked.arch,
        "recipe_name": asked.recipe_name,
        "recipe": asked.recipe.model_dump(mode="json"),
        "recipe_hash": asked.recipe.hash,
        "seeds": list(sweeps),
        "fold": asked.fold,
        "folds_hash": asked.folds.hash,
        "data_hash": asked.data.hash,
        "steps": asked.steps,
        "steps_taken": taken,
        "by_seed": {str(seed): _seed_record(one) for seed, one in sweeps.items()},
        "suggestions": found.by_rule,
        "suggestion": None if lr is None else {"rule": found.rule, "lr": lr},
        "reason": found.reason,
        "next": None if lr is None else asked.command(lr),
    }


def _seed_record(one: Sweep) -> dict[str, Any]:
    found = suggest(one.lrs, smoothed(one.losses))
    return {"steps": len(one.lrs), "stopped": one.stopped, "suggestions": found.by_rule}


def _table(
    lrs: np.ndarray, raw: dict[int, np.ndarray], mean: np.ndarray, smooth: np.ndarray
) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "lr", *(f"loss_seed_{seed}" for seed in raw), "loss", "smoothed"])
    columns = lrs, *raw.values(), mean, smooth
    for step, values in enumerate(zip(*columns, strict=True)):
        writer.writerow([step, *(f"{value:.9g}" for value in values)])
    return text.getvalue()
