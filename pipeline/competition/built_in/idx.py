"""The IDX format of the MNIST family: a magic number, the sizes, then bytes, often gzipped."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from pipeline.errors import PodiumError

_BYTES = 0x08  # the format's code for unsigned bytes, the only type of the MNIST family
_REMEDY = "replace it by the original file"


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Return the array of uint8 in `path`, which ends in .gz or is unpacked.

    Magic number, number of dimensions and length must agree; anything else is refused.
    """
    data = _content(path)
    header = 4 + 4 * dimensions
    if len(data) < header:
        raise PodiumError(f"{path}: {len(data)} bytes are too few for an IDX header; {_REMEDY}")
    zeros, kind, found = struct.unpack(">HBB", data[:4])
    if zeros or kind != _BYTES or found != dimensions:
        raise PodiumError(
            f"{path}: begins with 0x{data[:4].hex()}, not with 0x0000{_BYTES:02x}{dimensions:02x} "
            f"as IDX bytes in {dimensions} dimension(s) do; {_REMEDY}"
        )
    shape = struct.unpack(f">{dimensions}I", data[4:header])
    expected = math.prod(shape)
    if len(data) - header != expected:
        raise PodiumError(
            f"{path}: its header says {' x '.join(map(str, shape))} = {expected} bytes, "
            f"but {len(data) - header} follow; {_REMEDY}"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:  # a broken gzip file is any of the three
        raise PodiumError(f"{path}: cannot be read ({error}); {_REMEDY}") from None
