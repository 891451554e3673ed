"""The GPUs of this machine, and which of them are free."""

import os


def visible() -> tuple[str, ...]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = range(count) if named is None else named.split(",")[:count]
    return tuple(str(name).strip() for name in names)


class Free:
    """How much of each GPU is free: whole ones are handed out alone, parts of one together."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.left = dict.fromkeys(names, 1.0)

    def take(self, amount: float) -> tuple[str, ...] | None:
        """Take GPUs, or a part of the one that is most free; None if that much is not free."""
        if not amount:
            return ()
        whole, each = (round(amount), 1.0) if amount >= 1 else (1, amount)
        fitting = [name for name, left in self.left.items() if left >= each - 1e-9]
        chosen = sorted(fitting, key=lambda name: -self.left[name])[:whole]
        if len(chosen) < whole:
            return None
        for name in chosen:
            self.left[name] -= each
        return tuple(chosen)

    def give(self, names: tuple[str, ...], amount: float) -> None:
        """Give back what was taken."""
        for name in names:
            self.left[name] += min(amount, 1.0)
