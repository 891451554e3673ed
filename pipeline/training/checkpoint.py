"""`last.pt`: everything that an interrupted fold needs to go on as if nothing had happened."""

from pathlib import Path
from typing import Any

import torch

from pipeline.artifacts.files import write_with
from pipeline.training.loop import Learner

History = list[dict[str, float | int | None]]
Best = dict[str, Any] | None


def save(path: Path, learner: Learner, history: History, best: Best, identity: str) -> None:
    """Write the state at the end of an epoch; `identity` says which job it belongs to."""
    state = {
        "identity": identity,
        "step": learner.step,
        "history": history,
        "best": best,
        "model": learner.model.state_dict(),
        "ema": None if learner.ema is None else learner.ema.module.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "scaler": learner.scaler.state_dict(),
    }
    write_with(path, lambda temporary: torch.save(state, temporary))


def restore(path: Path, learner: Learner, identity: str, device: str) -> tuple[History, Best]:
    """Bring `learner` to the state in `path`; return its history and best epoch so far.

    A file that is missing, unreadable or of another job counts as none: the fold starts anew, and
    loses time but nothing else.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        if state["identity"] != identity:
            return [], None
    except Exception:  # torch and pickle raise many kinds for a damaged file
        return [], None
    learner.model.load_state_dict(state["model"])
    if learner.ema is not None:
        learner.ema.module.load_state_dict(state["ema"])
    learner.optimizer.load_state_dict(state["optimizer"])
    learner.scaler.load_state_dict(state["scaler"])
    learner.step = state["step"]
    return state["history"], state["best"]
