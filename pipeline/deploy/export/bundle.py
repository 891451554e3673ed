"""An exported folder's own program: its code, the packages it needs, and what to read first."""

from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from pipeline.artifacts.files import write_text
from pipeline.deploy.export.source import GIVEN, closure

PROGRAM = f'''"""Answer pictures: python predict.py PICTURES OUT.csv. README.md says more."""

import sys
from pathlib import Path

try:
    from {GIVEN}.deploy.folder import main
except ModuleNotFoundError as error:
    sys.exit(
        f"error: the package {{error.name}} is missing; "
        "python -m pip install -r requirements.txt, in an environment of its own"
    )

if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent))
'''


def write_program(folder: Path) -> None:
    """Write the program of an exported folder: its code and the lists of packages it needs."""
    source = closure("pipeline.deploy.folder", "main")
    for name, text in source.files.items():
        write_text(folder / name, text)
    write_text(folder / "predict.py", PROGRAM)
    direct = distributions(source.packages)
    write_text(folder / "requirements.txt", _pinned(direct))
    write_text(folder / "wheels.txt", _pinned(all_needed(direct)))


def distributions(packages: Iterable[str]) -> list[str]:
    """Return the installed distributions that packages belong to, sorted."""
    known = metadata.packages_distributions()
    return sorted({_canonical(known[package][0]) for package in packages})


def all_needed(names: Iterable[str]) -> list[str]:
    """Return distributions and all that they need here, by what is installed, sorted."""
    found: set[str] = set()
    left = [_canonical(name) for name in names]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                left.append(_canonical(needed.name))
    return sorted(found)


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-")


def _pinned(names: Iterable[str]) -> str:
    return "".join(f"{name}=={metadata.version(name)}\n" for name in names)


def readme(model: dict[str, Any], record: dict[str, Any]) -> str:
    """Return the README of an exported folder, from its model.json and its export.json."""
    gate, pixels, provenance = model["gate"], model["gate"]["pixels"], model["provenance"]
    seconds = pixels["ms_per_picture"] / 1000
    maps = any(network["maps"] for network in model["networks"])
    level = model["confidence"]
    told = {
        "source": model["source"],
        "competition": provenance["competition"],
        "classes": f"{len(model['classes']):,}",
        "task": model["task"],
        "now": "all are answered" if level is None else f"it is {level:g}",
        "threads": gate["threads"],
        "machine": gate["machine"],
        "picture": f"{pixels['ms_per_picture']:.1f}",
        "latency": f"{gate['latency_ms']:.1f}",
        "thousand": _duration(1000 * seconds),
        "many": _duration(100_000 * seconds),
        "option": record["option"],
        "mb": f"{record['mb']:.1f}",
        "judged": _judged(gate, provenance["metric"]),
        "equal": f"{pixels['equal']:,}",
        "pictures": f"{pixels['pictures']:,}",
        "off": f"{pixels['largest_difference']:.2g}",
        "rows": f"{gate['rows']:,}",
        "farthest": f"{gate['largest_difference']:.2g}",
        "maps": f"{'say' if maps else 'do not say'} where they looked",
    }
    template = Path(__file__).with_name("README.folder.md").read_text(encoding="utf-8")
    return template.format(**told)


def _judged(gate: dict[str, Any], metric: str) -> str:
    """Return what the gate found; where other networks go along than those that were judged out of
    fold, that of the test pictures first, and no score, since theirs is not known."""
    score = f"{metric} is {gate['metric']:.4f}, the original's {gate['original_metric']:.4f}."
    if gate["test_agreement"] is None:
        return (
            f"On {gate['rows']:,} pictures that the networks had not been trained on, "
            f"{gate['oof_agreement']:.2%} of the\nanswers are those of the original; {score}"
        )
    return (
        f"On {gate['test_rows']:,} test pictures, {gate['test_agreement']:.2%} of the answers are "
        f"those of all the original's\nnetworks. The fold networks in the same form, which are not "
        f"these, were judged on {gate['rows']:,} pictures\nthey had not been trained on: "
        f"{gate['oof_agreement']:.2%} of their answers are the original's; {score}"
    )


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
