"""Out of memory: telling it from other errors, and letting go of what is cached."""

import gc

import torch

SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device said that its memory does not suffice; each says it in its own way."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in SIGNS)


def let_go(kind: str) -> None:
    """Give back the memory that the allocator of a device keeps for later."""
    gc.collect()
    if kind == "cuda":
        torch.cuda.empty_cache()
    elif kind == "mps":
        torch.mps.empty_cache()
