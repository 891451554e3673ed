"""`last.pt`: everything that an interrupted fold needs to go on as if nothing had happened."""

from pathlib import Path
from typing import Any

import torch

from pipeline.artifacts.files import write_with
from pipeline.training.learning.learner import Learner
from pipeline.training.learning.watch import check_room

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
        "average": None if learner.average is None else learner.average.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "scaler": learner.scaler.state_dict(),
        "rates": learner.rates.state(),
        "micro_batch": learner.micro_batch,
        "events": learner.events,
    }
    check_room(path.parent, tensor_bytes(state), "a checkpoint")
    write_with(path, lambda temporary: torch.save(state, temporary))


def restore(path: Path, learner: Learner, identity: str, device: str) -> tuple[History, Best]:
    """Bring `learner` to the state in `path`; return its history and best epoch so far.

    A file that is missing, unreadable or of another job counts as none: the fold starts anew, and
    loses time but nothing else.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        if state["identity"] != identity or "rates" not in state:
            return [], None
    except Exception:  # torch and pickle raise many kinds for a damaged file
        return [], None
    learner.model.load_state_dict(state["model"])
    if learner.average is not None:
        learner.average.load_state_dict(state["average"])
    learner.optimizer.load_state_dict(state["optimizer"])
    learner.scaler.load_state_dict(state["scaler"])
    learner.rates.load(state["rates"])
    learner.step, learner.events = state["step"], list(state["events"])
    if learner.micro_batch is None and learner.events:  # nobody asked, and memory ran out
        learner.micro_batch = state["micro_batch"]
    return state["history"], state["best"]


def tensor_bytes(content: Any) -> int:
    """Return the bytes of all tensors in nested dictionaries, lists and tuples."""
    if isinstance(content, torch.Tensor):
        return content.numel() * content.element_size()
    if isinstance(content, dict):
        return sum(map(tensor_bytes, content.values()))
    if isinstance(content, list | tuple):
        return sum(map(tensor_bytes, content))
    return 0
