"""Weights of a file fitted into a network: by name or by order, never in part."""

import sys
from pathlib import Path

from timm.models import adapt_input_conv
from torch import nn

from pipeline.errors import PodiumError
from pipeline.training.networks.weights import State

BACKBONE, HEAD = "backbone", "head"  # parts of a network with hidden layers
# Of our heads, of a prior taken off the outputs, of torch's averages.
BESIDE_THE_NETWORK = ("ordered.raw_sigma", "log_prior", "n_averaged")


def match_by_order(state: State, network: nn.Module, path: Path) -> State:
    """Rename the tensors of another implementation of `network`, which has them in the same order.

    Number, shapes and the last parts of the names must agree, the classifier's shape apart; it is
    last in `state`, and `network` may be without it.
    """
    own, heads = network.state_dict(), classifiers(network)
    if not any(_under(name, heads) for name in own):
        state = dict(list(state.items())[:-2])  # without weight and bias
    renamed = _channels_summed(dict(zip(own, state.values(), strict=False)), network)
    agree = len(own) == len(state) and all(
        mine.rpartition(".")[2] == theirs.rpartition(".")[2]
        and (own[mine].shape == renamed[mine].shape or _under(mine, heads))
        for mine, theirs in zip(own, state, strict=True)
    )
    if not agree:
        raise PodiumError(
            f"{path}: its {len(state)} tensors are not in order and shape the {len(own)} of the "
            "network that timm builds; run make setup, or set model.weights=hub"
        )
    return {name: tensor for name, tensor in renamed.items() if not _under(name, heads)}


def match_by_name(state: State, network: nn.Module, path: Path, remedy: str) -> State:
    """Return what of `state` `network` loads: every tensor of it but the classifier's.

    The classifier is always left out, even one of the right shape: its outputs are other classes,
    or the same in another order. A prefix that all names share is taken off if that helps. Names
    or shapes that still differ are refused, after timm's own converter of older layouts and other
    image sizes was tried; only counts of batches, which older files lack, may be missing.
    """
    heads = classifiers(network)
    own = {k: v for k, v in network.state_dict().items() if not _under(k, heads)}
    state = {k: v for k, v in state.items() if not k.endswith(BESIDE_THE_NETWORK)}
    state = _channels_summed(_without_prefix(state, own), network)
    first = {k: v for k, v in state.items() if not _under(k, heads)}
    difference = _difference(first, own)
    if not difference:
        return first
    converted = _channels_summed(_converted(state, network), network)
    converted = {k: v for k, v in converted.items() if not _under(k, heads)}
    if not _difference(converted, own):
        return converted
    raise PodiumError(f"{path}: {difference}; {remedy}")


def classifiers(network: nn.Module) -> tuple[str, ...]:
    """Return the names of the layers that answer with classes; distilled networks have two."""
    names = getattr(network, "CLASSIFIER", None)
    if names is None:
        names = getattr(network, "pretrained_cfg", {}).get("classifier")
    return (names,) if isinstance(names, str) else tuple(names or ())


def _under(name: str, modules: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _without_prefix(state: State, own: State) -> State:
    """Take off the parts that all names begin with as long as more names then agree with `own`.

    Of a network with hidden layers, which are beside its backbone, the backbone is meant.
    """
    best = state
    while state:
        firsts = {name.partition(".")[0] for name in state}
        if firsts == {BACKBONE, HEAD}:
            firsts = {BACKBONE}
            state = {k: v for k, v in state.items() if k.startswith(f"{BACKBONE}.")}
        if len(firsts) != 1:
            break
        state = {name.partition(".")[2]: tensor for name, tensor in state.items()}
        if len(state.keys() & own.keys()) > len(best.keys() & own.keys()):
            best = state
    return best


def _channels_summed(state: State, network: nn.Module) -> State:
    """Sum the first layer's weights of three colours for a network that sees one channel."""
    own = network.state_dict()
    found = getattr(network, "pretrained_cfg", {}).get("first_conv") or "features.0"
    for first in (found,) if isinstance(found, str) else found:
        name = f"{first}.weight"
        mine, theirs = own.get(name), state.get(name)
        if mine is None or theirs is None or not mine.ndim == theirs.ndim == 4:
            continue
        if theirs.shape[1] == 3 * mine.shape[1]:
            state = {**state, name: adapt_input_conv(1, theirs)}
    return state


def _converted(state: State, network: nn.Module) -> State:
    """Let timm bring older layouts and position embeddings of other image sizes to the network."""
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    try:
        return convert(dict(state), network) if convert else state
    except Exception:  # converters trip over foreign names in ways of their own
        return state


def _difference(state: State, own: State) -> str:
    """Say how many tensors are missing, unexpected and of another shape, and the first of each."""
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in own]
    other = [k for k in own if k in state and own[k].shape != state[k].shape]
    said = [
        f"{len(names)} of {total} tensors {what}, the first {names[0]}"
        for names, total, what in (
            (missing, len(own), "of the network are missing"),
            (unexpected, len(state), "are unknown to it"),
        )
        if names
    ]
    if other:
        theirs, mine = (tuple(s[other[0]].shape) for s in (state, own))
        which = f"the first {other[0]}: {theirs}, not {mine}"
        said.append(f"{len(other)} of {len(own)} tensors have another shape, {which}")
    return ", ".join(said)
