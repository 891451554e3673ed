"""The command that makes a run or ensemble again, told from its record."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from pipeline.competition import CompetitionData
from pipeline.config.recipe import LATER, Recipe, load_recipe, run_name, science_of
from pipeline.config.schema import merged
from pipeline.errors import PodiumError


def command(data: CompetitionData, name: str, record: Mapping[str, Any]) -> str:
    """Return the command, or a comment that says why there is none."""
    comp = data.competition.name
    if "members" in record:
        return _of_ensemble(comp, name, record)
    if record.get("imported"):
        files = ",".join(str(one.get("file", "")) for one in record.get("sources") or ())
        return f"make import COMP={comp} NAME={name} DATA={files}"
    if "study" in record:
        return f"make tune COMP={comp} STUDY={record['study']}"
    try:
        return _of_run(data, name, record)
    except (PodiumError, KeyError, TypeError, AttributeError) as error:
        return f"# {name}: no command can be told, since its recipe cannot be resolved ({error})"


def _of_ensemble(comp: str, name: str, record: Mapping[str, Any]) -> str:
    runs = [run for member in record["members"] for run in member["runs"]]
    words = [f'make ensemble COMP={comp} RUNS="{" ".join(runs)}"']
    words.append(f"NAME={name.removeprefix('ensemble-')}")
    menu = record.get("inputs", {}).get("menu", {})
    for key, variable in (("blends", "BLEND"), ("rules", "RULE"), ("calibrations", "CALIBRATION")):
        if menu.get(key):
            words.append(f"{variable}={shlex.quote(' '.join(menu[key]))}")
    return " ".join([*words, *(["MIXED_FOLDS=1"] if record.get("mixed") else [])])


def _of_run(data: CompetitionData, name: str, record: Mapping[str, Any]) -> str:
    """Return the command of a trained run: its recipe by name, and as SET whatever its own recipe
    has otherwise than file and competition say now."""
    known = record["recipe"]
    seed, limit = known["training"]["seed"], known.get("data", {}).get("limit")
    origin = record.get("refit_of")

    def resolved(overrides: str) -> Recipe:
        return load_recipe(
            data.project,
            record["recipe_name"],
            arch=record["arch"],
            competition=data.competition.recipe_overrides(),
            overrides=overrides,
            seed=seed,
            limit=limit,
        )

    now = merged(LATER, resolved("").science())
    items = _items(now, merged(LATER, science_of(dict(known))))
    overrides = " ".join(items)
    if resolved(overrides).hash != record["recipe_hash"]:
        return f"# {name}: its recipe has keys that are not known any more, so none makes it again"
    words = [f"make train COMP={data.competition.name} ARCH={record['arch']}"]
    if record["recipe_name"] != "baseline":
        words.append(f"RECIPE={record['recipe_name']}")
    words += [f"SEED={seed}"] if seed else []
    words += [f"LIMIT={limit}"] if limit is not None else []
    words += [f"SET={shlex.quote(overrides)}"] if items else []
    own = origin or name
    if run_name(record["recipe_name"], resolved(overrides), overrides) != own:
        words.append(f"NAME={own}")
    return " ".join([*words, *(["REFIT=1"] if origin else [])])


def _items(now: Mapping[str, Any], then: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return 'key=value' for every leaf that was another one then."""
    found = []
    for key in sorted(now.keys() | then.keys()):
        a, b = now.get(key), then.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _items(a, b, f"{prefix}{key}.")
        elif a != b and (prefix, key) not in (("model.", "arch"), ("training.", "seed")):
            found.append(f"{prefix}{key}={_yaml(b)}")
    return found


def _yaml(value: Any) -> str:
    """Return a value as SET reads it: JSON is YAML, but plain words need no quotes."""
    if isinstance(value, str) and value and value.replace("-", "").replace("_", "").isalnum():
        return json.loads(json.dumps(value)) if not value.isdigit() else json.dumps(value)
    return json.dumps(value)
