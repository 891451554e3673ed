"""The best trial's recipe as a file: `best.yaml`, to be copied to experiments/recipes/."""

import json
from pathlib import Path
from typing import Any

import yaml

from pipeline.artifacts.files import write_text
from pipeline.config.recipe import Recipe
from pipeline.search.records import Found, Trial
from pipeline.search.setting import Setting


def write_best(path: Path, setting: Setting, found: Found, trial: Trial) -> None:
    """Write the recipe of a trial, all that differs from a recipe's defaults, under a header that
    says where it comes from."""
    recipe = setting.recipe(trial.config)
    comp, level = setting.data.competition.name, found.ladder.levels[trial.reached]
    folds = ", ".join(map(str, setting.judged_on))
    score = f"{-found.sign * trial.losses[trial.reached]:.4f}"
    searched = ", ".join(f"{key}={json.dumps(value)}" for key, value in trial.config.items())
    seconds = trial.seconds[trial.reached]
    lines = [
        f"Trial {trial.number} of study {setting.name}, the best of {len(found.trials)}.",
        f"  source    make tune STUDY={setting.name} COMP={comp}: {searched}",
        f"  result    {comp}: {found.metric} {score} on fold {folds} ({level.name}), chosen there",
        f"  time      {seconds:.0f} s for fold {folds}",
        f"  command   make train COMP={comp} RECIPE={setting.name}-best",
    ]
    header = "".join(f"# {line}\n" for line in lines)
    body = yaml.safe_dump(_changed(recipe), sort_keys=False, default_flow_style=None, width=100)
    write_text(path, header + body)


def _changed(recipe: Recipe) -> dict[str, Any]:
    """Return what of a recipe is not a default; machine, seed and rows are left out."""
    content, usual = recipe.model_dump(mode="json"), Recipe().model_dump(mode="json")
    found: dict[str, Any] = {}
    for section, keys in content.items():
        if section in ("runtime", "data", "describe"):
            continue
        if not isinstance(keys, dict) or not isinstance(usual[section], dict):
            own = keys if keys != usual[section] else None
        else:
            own = {k: v for k, v in keys.items() if v != usual[section][k] and k != "seed"}
        if own:
            found[section] = own
    return {"describe": recipe.describe, **found} if recipe.describe else found
