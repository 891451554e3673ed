"""What a timing belongs to: the machine and the versions it was measured with."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pipeline.training.device import available_cores

PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "pillow")


def machine() -> dict[str, Any]:
    """Return what decides how fast this machine is, in JSON's types; timings of another one are not
    used."""
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": available_cores(),
        "accelerator": accelerator,
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
    }


def _processor() -> str:
    """Return the processor's name, which Linux alone keeps in a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def in_words(made: dict[str, Any]) -> str:
    """Name a machine in a few words."""
    accelerated = "" if made["accelerator"] == "none" else f", {made['accelerator']}"
    cores = "1 core" if made["cores"] == 1 else f"{made['cores']} cores"
    torch_version = made["versions"]["torch"]
    return f"{made['processor'] or made['system']}, {cores}{accelerated}, torch {torch_version}"
