"""A network as a file of ONNX: in single precision, and with weights in half of it."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from pipeline.deploy.export.maps import Mapped
from pipeline.errors import PodiumError

PIXELS, LOGITS, MAPS = "pixels", "logits", "maps"
MOST_BYTES = 1_900_000_000  # a file of ONNX is one message of at most 2 GB
LARGEST_HALF = 65_504.0


def write_float32(model: nn.Module, channels: int, sizes: Sequence[int], path: Path) -> None:
    """Write a network in single precision, for any number of pictures at a time, by torch's
    exporter; where it is looked at in several sizes, for any size."""
    taken = sum(4 * value.numel() for value in model.state_dict().values())
    if taken > MOST_BYTES:
        raise PodiumError(
            f"FROM: a network of {taken / 1e9:.1f} GB does not fit into one file of ONNX (2 GB); "
            "export another run"
        )
    names = [LOGITS, MAPS] if isinstance(model, Mapped) else [LOGITS]
    free: dict[int, object] = {0: torch.export.Dim("batch")}
    if len({*sizes}) > 1:
        free |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    example = torch.zeros(2, channels, max(sizes), max(sizes))
    with quietly(), torch.no_grad():
        program = torch.onnx.export(
            model.eval().float().to("cpu", memory_format=torch.contiguous_format),
            (example,),
            dynamo=True,
            input_names=[PIXELS],
            output_names=names,
            dynamic_shapes=(free,),
            verbose=False,
        )
        program.save(str(path), external_data=False)


def write_float16(source: Path, path: Path) -> None:
    """Write a file of ONNX with its matrices and kernels in half precision.

    They are cast back when the network is loaded, so that it is half as large and computes in
    single precision, as fast as before: ONNX Runtime has no half-precision kernels for x86. Vectors
    stay as they are, and so does what half precision cannot hold.
    """
    model = onnx.load(source)
    graph = model.graph
    casts, kept = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else None
        if values is None or values.ndim < 2 or np.abs(values).max(initial=0) > LARGEST_HALF:
            kept.append(tensor)
            continue
        name = f"{tensor.name}.half"
        kept.append(numpy_helper.from_array(values.astype(np.float16), name))
        casts.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    shapes = [info for info in graph.value_info if info.name not in {c.output[0] for c in casts}]
    del graph.initializer[:], graph.node[:], graph.value_info[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    graph.value_info.extend(shapes)
    onnx.save(model, path)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep exporters and quantisers from printing what no user can act on."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
