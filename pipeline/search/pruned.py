"""The pruned space: what the best quarter of a study's trials covers, as a study with a grid."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.artifacts.files import write_text
from pipeline.config.study import Parameter, Study
from pipeline.search.importance import Ranked, rank
from pipeline.search.labels import value_text
from pipeline.search.records import Found, Trial
from pipeline.search.space import Param, Space

QUARTER, LEAST = 4, 12  # trials, below which nothing is pruned: a quarter of fewer tells nothing
WIDER = 0.05  # of the range, to each side, or half a gap between the best where that is more
LUCK = 0.1  # a choice that is as likely as this to miss the best quarter by luck stays
SMALLEST_GRID = 4
TOO_MANY = 10_000
Content = dict[str, Any]  # of a parameter, as a study's YAML says it


@dataclass
class Plan:
    """A new study in the making: what is searched, what is set, what stays as the recipe has it."""

    space: dict[str, Content] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many points its grid has."""
        parsed = {key: Parameter.model_validate(said) for key, said in self.space.items()}
        space = Space.of(parsed)
        most = math.prod(len(param.points()) for param in space.params)
        return len(space.grid()) if most <= TOO_MANY else most


def write_pruned(path: Path, found: Found, ranked: Ranked | None = None) -> bool:
    """Write the pruned study, if there is anything left to search; return whether there is."""
    text = pruned_study(found, ranked)
    if text:
        write_text(path, text)
    return bool(text)


def pruned_study(found: Found, ranked: Ranked | None = None) -> str:
    """Return the YAML of a study that tries a grid on the pruned space, '' where nothing is left.

    Its grid is no larger than the old budget: it has the most important parameters; the others are
    set to the values of the best trial, with what is left of their ranges in a comment.
    """
    known = ranked or rank(found)
    pruned = pruned_space(found, known)
    plan = _planned(found, known, pruned)
    if not plan.space:
        return ""
    old, items = found.study, {k: v for k, v in plan.fixed.items() if k != "model.arch"}
    words = [old.set, *(f"{key}={_in_set(value)}" for key, value in items.items())]
    content = {
        "describe": f"a grid on the pruned space of {found.name}",
        "recipe": old.recipe,
        "arch": plan.fixed.get("model.arch", old.arch),
        "set": " ".join(word for word in words if word),
        "folds": old.folds if old.folds == "all" else list(old.folds),
        "objective": old.objective,
        "sampler": "grid",
        "default": False,
        "budget": plan.size,
        "finalists": old.finalists,
        "storage": old.storage,
        "seed": old.seed,
        "space": plan.space,
    }
    Study.model_validate(content)
    body = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
    return _header(found, known, pruned, plan) + body


def pruned_space(found: Found, known: Ranked) -> dict[str, Content]:
    """Return of each parameter the range or choices that the best quarter covers, a little widened,
    within the old ones; a choice stays too while it may have missed the best quarter by luck. Of
    choices, a single one may be left. With fewer than 12 trials all stays as it was."""
    best, others = _best_quarter(found, known)
    return {param.key: _pruned(param, best, others) for param in found.space.params}


def _best_quarter(found: Found, known: Ranked) -> tuple[list[Trial], list[Trial]]:
    """Return the best quarter of the trials that can be compared, and the others; none is the best
    where there are too few. What failed is not among the best."""
    there = known.judged
    ordered = sorted(there.trials, key=lambda trial: (trial.losses[there.level], trial.number))
    count = math.ceil(len(ordered) / QUARTER) if len(ordered) >= LEAST else 0
    failed = [trial for trial in found.trials if trial.failed and trial not in there.trials]
    return ordered[:count], [*ordered[count:], *failed]


def _pruned(param: Param, best: Sequence[Trial], others: Sequence[Trial]) -> Content:
    values = [trial.config[param.key] for trial in best if param.key in trial.config]
    old = _content(param)
    if not values:
        return old
    if not param.is_ordered:
        missed = [trial.config[param.key] for trial in others if param.key in trial.config]
        kept = [c for c in param.choices if c in values or _luck(c, values, missed) >= LUCK]
        return {**old, "choices": kept}
    if param.kind in ("log", "uniform") and param.said.step is None:
        return {**old, param.kind: _narrowed(param, values)}
    cells = _cells(param)
    places = sorted(min(int(param.unit(value) * len(cells)), len(cells) - 1) for value in values)
    wider = max(1, round(WIDER * len(cells)))
    kept = cells[max(places[0] - wider, 0) : places[-1] + wider + 1]
    if param.kind == "choices":
        return {**old, "choices": kept}
    return {**old, param.kind: [kept[0], kept[-1]]}


def _luck(choice: Any, values: Sequence[Any], missed: Sequence[Any]) -> float:
    """Return how likely none of a choice's trials would be among the best if it were as good."""
    trials, tried = len(values) + len(missed), missed.count(choice)
    return math.comb(trials - tried, len(values)) / math.comb(trials, len(values))


def _narrowed(param: Param, values: Sequence[float]) -> list[float]:
    """Return the ends of a range, rounded outwards to values that people write."""
    units = [param.unit(value) for value in values]
    gap = (max(units) - min(units)) / max(len(units) - 1, 1)
    wider = max(WIDER, gap / 2)
    ends = [param.value(max(min(units) - wider, 0.0)), param.value(min(max(units) + wider, 1.0))]
    low, high = getattr(param.said, param.kind)
    width = high - low
    found = []
    for end, rounded in zip(ends, (math.floor, math.ceil), strict=True):
        size = abs(end) / 10 if param.kind == "log" else width / 10
        digits = 10.0 ** math.floor(math.log10(size))
        found.append(min(max(float(f"{rounded(end / digits) * digits:.12g}"), low), high))
    return found


def _cells(param: Param) -> list[Any]:
    """Return all values of a parameter that has few."""
    if param.kind == "choices":
        return list(param.choices)
    if param.kind == "powers_of_two":
        low, high = (value.bit_length() - 1 for value in param.said.powers_of_two)
        return [2**n for n in range(low, high + 1)]
    low, high = getattr(param.said, param.kind)
    count = int((high - low) / (param.said.step or 1) + 1e-9) + 1
    return [param.value((n + 0.5) / count) for n in range(count)]


def _content(param: Param) -> Content:
    """Return a parameter as YAML says it, its condition left out."""
    said = param.said.model_dump(exclude_defaults=True, exclude={"when"})
    return {k: list(v) if isinstance(v, tuple) else v for k, v in said.items()}


def _planned(found: Found, known: Ranked, pruned: dict[str, Content]) -> Plan:
    """Return the largest plan that the budget pays for, by importance; at least one parameter."""
    params = {param.key: param for param in found.space.params}
    most = max(int(found.study.budget), SMALLEST_GRID)
    taken: set[str] = set()
    for key in known.keys:
        wanted = taken | {key} | _above(params, key)
        plan = _plan(found, known, pruned, wanted)
        if plan.space and plan.size <= most:
            taken = wanted
    plan = _plan(found, known, pruned, taken)
    if plan.space:
        return plan
    others = [_plan(found, known, pruned, {key} | _above(params, key)) for key in known.keys]
    return min((p for p in others if p.space), key=lambda p: p.size, default=plan)


def _above(params: dict[str, Param], key: str) -> set[str]:
    """Return the parameters that a parameter's condition depends on."""
    return {up for other in params[key].when for up in {other} | _above(params, other)}


def _plan(found: Found, known: Ranked, pruned: dict[str, Content], taken: set[str]) -> Plan:
    """Return the plan that searches the parameters in `taken`, those with one value left excepted,
    and sets the others; what cannot be set stays as the recipe has it."""
    plan, possible = Plan(), {}
    for param in found.space.params:
        key, when = param.key, _conditions(param, possible, plan)
        if when is None:  # never active any more
            continue
        choices = pruned[key].get("choices")
        single = choices is not None and len(choices) == 1
        if key in taken and not single:
            plan.space[key] = {**pruned[key], **({"when": when} if when else {})}
            possible[key] = choices or []
            continue
        value = choices[0] if single else _best_value(found, known, param)
        # SET names no element of a list, and what holds under a condition cannot be said there.
        if when or any(part.isdigit() for part in key.split(".")):
            plan.left.append(key)
        else:
            plan.fixed[key], possible[key] = value, [value]
    return plan


def _conditions(param: Param, possible: dict[str, list[Any]], plan: Plan) -> Content | None:
    """Return the conditions that still say something; None where they cannot be met."""
    left: Content = {}
    for key, values in param.when.items():
        options = possible.get(key, [])
        kept = [value for value in options if value in values]
        if not kept:
            return None
        if len(kept) < len(options) or "when" in plan.space.get(key, {}):
            left[key] = kept
    return left


def _best_value(found: Found, known: Ranked, param: Param) -> Any:
    """Return the value of the best trial in which a parameter is active, else its middle."""
    there = known.judged
    ordered = sorted(there.trials, key=lambda trial: (trial.losses[there.level], trial.number))
    trials = [trial for trial in (found.best, *ordered) if trial is not None]
    values = (trial.config[param.key] for trial in trials if param.key in trial.config)
    value = next(values, param.value(0.5))
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _in_set(value: Any) -> str:
    """Return a value as SET= reads it."""
    if isinstance(value, str):
        return json.dumps(value)
    text = yaml.safe_dump([value], default_flow_style=True, width=math.inf)
    return text.strip()[1:-1]


def _header(found: Found, known: Ranked, pruned: dict[str, Content], plan: Plan) -> str:
    """Return comments: where the study comes from, and what of the old space is not searched."""
    count, level = len(known.judged), found.ladder.levels[known.judged.level].name
    best = len(_best_quarter(found, known)[0])
    covered = f"what the best {best} of {count} trials at {level} cover, a little widened"
    whole = f"the whole space, since {count} trials are too few to prune it"
    points = f"The grid has {plan.size} points"
    lines = [f"From study {found.name}: {covered if best else whole}. {points}."]
    rest = [key for key in pruned if key not in plan.space]
    if rest:
        lines.append(
            "Of the others, which the budget has no room for, or which have one value left:"
        )
    for key in rest:
        said = yaml.safe_dump(
            pruned[key], default_flow_style=True, sort_keys=False, width=math.inf
        ).strip()
        how = f"set to {value_text(plan.fixed[key])}" if key in plan.fixed else "as in the recipe"
        lines.append(f"  {key}: {said}  ({how})")
    return "".join(f"# {line}\n" for line in lines)
