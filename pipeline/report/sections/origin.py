"""What the runs were made with and by which commands."""

from typing import Any

from pipeline.page.blocks import Block, Commands, Section
from pipeline.report.commands import command
from pipeline.report.gather import Scene
from pipeline.report.sections.shared import grid

PACKAGES = ("python", "torch", "timm")


def origin_section(scene: Scene) -> Section:
    """Versions, device, commit and seconds of every run, and the commands that make it again."""
    title = "Where it comes from"
    trained = {name: one for name, one in scene.records.items() if "members" not in one}
    if not scene.records:
        return Section(
            "origin", title, nothing="no run is there, so nothing was made with anything"
        )
    headers = ["runs", "made", "commit", *PACKAGES, "device", "precision", "seconds"]
    rows = _made_with(trained)
    blocks: list[Block] = [grid(headers, rows, "what the runs were made with")] if rows else []
    told = dict.fromkeys(_commands(scene))
    blocks.append(Commands("These commands make all of it again:", "\n".join(told)))
    return Section("origin", title, tuple(blocks))


def _made_with(trained: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Return a line for all runs of the same versions, commit and device: the first of them, when
    they were made, and their seconds together."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, record in trained.items():
        alike.setdefault(_machine(record), []).append(name)
    rows = []
    for (commit, *rest), names in alike.items():
        made = sorted(str(trained[name].get("created", "-"))[:10] for name in names)
        seconds = sum(float(trained[name].get("seconds") or 0) for name in names)
        first = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        when = " to ".join(dict.fromkeys((made[0], made[-1])))
        took = f"{seconds:,.0f}" if seconds else "-"
        rows.append([first, when, commit, *rest, took])
    return rows


def _machine(record: dict[str, Any]) -> tuple[str, ...]:
    """Return commit, versions, device and precision of a run, dashes where they are not known."""
    versions = record.get("versions") or {}
    setups = [fold.get("setup") or {} for fold in record.get("folds", {}).values()]
    kinds = [
        ", ".join(dict.fromkeys(str(one[key]) for one in setups if one.get(key)))
        for key in ("device_name", "precision")
    ]
    packages = [str(versions.get(one, "-")) for one in PACKAGES]
    return record.get("git_commit") or "-", *packages, *(kind or "-" for kind in kinds)


def _commands(scene: Scene) -> list[str]:
    """Return the commands in the order in which they can be run: runs, refits, then ensembles by
    the time of their making."""
    records = scene.records
    blended = [name for name in records if "members" in records[name]]
    blended.sort(key=lambda name: (str(records[name].get("created", "")), name))
    refits = [name for name in records if records[name].get("refit_of")]
    runs = [name for name in records if name not in blended and name not in refits]
    first = [_of_folds(scene)] if scene.folds is not None else []
    return [*first, *(command(scene.data, n, records[n]) for n in (*runs, *refits, *blended))]


def _of_folds(scene: Scene) -> str:
    """Return the command that deals the folds, by what their file says of itself."""
    info, comp = scene.folds.info if scene.folds is not None else {}, scene.comp
    if info.get("scheme") == "given":
        return f"make folds COMP={comp} DATA={info.get('source', 'the-given-folds.csv')}"
    words = [f"make folds COMP={comp}"]
    if info.get("holdout") is not None:
        words += ["FOLDS=1", f"HOLDOUT={info['holdout']:g}"]
    elif info.get("n_folds", 5) != 5:
        words.append(f"FOLDS={info['n_folds']}")
    words += [f"TEST={info['test']:g}"] if info.get("test") else []
    return " ".join([*words, *([f"SEED={info['seed']}"] if info.get("seed") else [])])
