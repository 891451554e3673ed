"""The hubs of timm and torchvision: whether pretrained weights can be reached, said at once."""

import contextlib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import torch

from pipeline.errors import PodiumError
from pipeline.training.networks.origin import timm_weights
from pipeline.training.networks.small import torchvision_weights
from pipeline.training.networks.weights import PACKAGES

FROM_SCRATCH = "SET='model.pretrained=false' trains it from scratch"
HUB_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors")
PATIENCE = 10  # seconds


@contextlib.contextmanager
def loading(arch: str) -> Iterator[None]:
    """Turn whatever keeps weights from being downloaded into one line."""
    try:
        yield
    except TypeError:  # an option that the network does not take
        raise
    except Exception as error:  # the hub client raises its own kinds and the network's
        short = f"{type(error).__name__}: {str(error)[:80]}"
        raise PodiumError(
            f"ARCH: the pretrained weights of {arch} could not be loaded ({short}); try again with "
            f"a network, or take one of those that need none ({', '.join(PACKAGES)}), "
            f"or {FROM_SCRATCH}"
        ) from None


def knock(arch: str) -> None:
    """Raise at once where the hub cannot be reached; its client would try for 50 s.

    Weights in its cache need no network, and a network that is known to be off it does not try.
    """
    torchvisions, config = torchvision_weights(arch), timm_weights(arch)
    if torchvisions is not None:
        kept = Path(torch.hub.get_dir(), "checkpoints", Path(torchvisions.url).name)
        if not kept.exists():
            asked = urllib.request.Request(torchvisions.url, method="HEAD")
            urllib.request.urlopen(asked, timeout=PATIENCE).close()
        return
    if not config.hf_hub_id or "@" in config.hf_hub_id or huggingface_hub.is_offline_mode():
        return
    names = [config.hf_hub_filename] if config.hf_hub_filename else HUB_FILES
    cached = (huggingface_hub.try_to_load_from_cache(config.hf_hub_id, name) for name in names)
    if not any(isinstance(path, str) for path in cached):
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=PATIENCE)
