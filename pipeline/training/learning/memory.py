"""Memory: that it ran out, that what is cached can go, and that a CPU should keep what it has."""

import ctypes
import gc
import platform

import torch

# Of glibc's mallopt, from malloc.h: number of mappings, when to give back, how much to ask for.
M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD = -4, -1, -2
TRIM, PAD = 2**31 - 1, 64 * 2**20  # bytes
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


def keep_freed() -> bool:
    """Let glibc keep what tensors on a CPU free, for the next step; return whether it does.

    It would give large ones back to the system and map them anew in every step: a quarter of a
    million page faults an epoch, and a tenth of the time (benchmarks/README.md). Other C libraries
    are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, TRIM), (M_TOP_PAD, PAD)
    return all(mallopt(name, value) == 1 for name, value in settings)
