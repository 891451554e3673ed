"""A network in whole numbers of 8 bits: weights per channel, activations by training pictures.

Static quantisation (Jacob et al., Quantization and training of neural networks for efficient
integer-arithmetic-only inference, CVPR 2018) by ONNX Runtime's own tools, in its QDQ form. Weights
take 7 of the 8 bits, so that CPUs without VNNI, which add in 16 bits, give the same answers.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
from onnxruntime.quantization.shape_inference import quant_pre_process

from pipeline.deploy.export.onnx_file import MAPS, PIXELS, quietly, write_float16

BATCH = 8  # pictures whose activations are in memory at a time
PERCENTILE = 99.999  # of an activation's values; rarer ones are cut off
PRODUCTS = ("Conv", "Gemm", "MatMul")
BETWEEN = ("Add", "Relu", "Clip", "MaxPool", "AveragePool", "Concat", "Reshape", "Flatten")


def write_int8(source: Path, path: Path, images: np.ndarray) -> None:
    """Write a file of ONNX in 8 bits; `images` (n, channels, s, s) float32 are normalised training
    pictures, which tell the range of every activation.

    The first convolution and the last product stay in floating point, and so do products of two
    activations (attention) and maps of where it looked. In a network with layer norm, sums stay
    too: few of their channels are large, and would leave the others a handful of values.
    """
    prepared, quantised = (path.with_suffix(f".{name}.onnx") for name in ("prepared", "quantised"))
    try:
        with quietly():
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            model = load_model_with_shape_infer(prepared)
            kinds = list(PRODUCTS)
            if not any(node.op_type == "LayerNormalization" for node in model.graph.node):
                kinds += BETWEEN
            ranges = _ranges(prepared, kinds, images)
            left = [node.name for node in _left_out(model)]
            quantizer = QDQQuantizer(
                *(model, True, True, QuantType.QInt8, QuantType.QUInt8, ranges, [], left, kinds, {})
            )
            quantizer.quantize_model()
            quantizer.model.save_model_to_file(str(quantised), False)
        write_float16(quantised, path)
    finally:
        for file in (prepared, quantised):
            file.unlink(missing_ok=True)


class _Reader(CalibrationDataReader):
    """One batch of pictures, as the calibrator reads it."""

    def __init__(self, images: np.ndarray) -> None:
        self._left: Iterator[dict[str, np.ndarray]] = iter([{PIXELS: images}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def _ranges(prepared: Path, kinds: list[str], images: np.ndarray) -> object:
    """Return the range of every activation, a batch at a time: all activations of all pictures
    would not fit into memory."""
    augmented = prepared.with_suffix(".augmented.onnx")
    options = {"percentile": PERCENTILE}
    try:
        calibrator = create_calibrator(
            prepared,
            kinds,
            augmented_model_path=str(augmented),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options=options,
        )
        for at in range(0, len(images), BATCH):
            calibrator.collect_data(_Reader(images[at : at + BATCH]))
        return calibrator.compute_data()
    finally:
        augmented.unlink(missing_ok=True)


def _left_out(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes that stay in floating point."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type in PRODUCTS]
    of_weights = [node for node in products if {*node.input} & weights]
    telling = [node for node in products if MAPS in node.output]
    answering = [node for node in of_weights if node not in telling]
    between = [node for node in products if node not in of_weights]
    return [*answering[:1], *answering[-1:], *between, *telling]
