"""An exported folder made by hand: a network whose classes are the reddest, greenest, bluest."""

import json
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from pipeline.deploy.format import file_record, signed
from pipeline.deploy.pictures import View

CLASSES = ["red <i>", 'green "x"', "blue & co"]
SIDE = 16
POINTS = [
    {"confidence": 0.0, "coverage": 1.0, "accuracy": 0.9},
    {"confidence": 0.5, "coverage": 0.8, "accuracy": 0.95},
    {"confidence": 0.9, "coverage": 0.4, "accuracy": 1.0},
    {"confidence": 0.99, "coverage": 0.0, "accuracy": None},
]


def network(delay: int = 0) -> onnx.ModelProto:
    """Return a network (n, 3, s, s) -> logits (n, 3), maps (n, 3, s, s); `delay` is how many
    products of large matrices it does besides."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("Identity", ["image"], ["maps"]),
    ]
    initial = [helper.make_tensor("scale", TensorProto.FLOAT, [1], [3.0])]
    last = "means"
    if delay:
        initial.append(helper.make_tensor("side", TensorProto.INT64, [2], [1500, 1500]))
        initial.append(helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]))
        nodes.append(helper.make_node("ReduceMax", ["means"], ["max0"], keepdims=0))
        nodes.append(helper.make_node("Expand", ["max0", "side"], ["m0"]))
        for step in range(delay):
            nodes.append(helper.make_node("MatMul", [f"m{step}", "m0"], [f"p{step}"]))
            nodes.append(helper.make_node("Tanh", [f"p{step}"], [f"m{step + 1}"]))
        nodes.append(helper.make_node("ReduceMax", [f"m{delay}"], ["end"], keepdims=0))
        nodes.append(helper.make_node("Mul", ["end", "zero"], ["nothing"]))
        nodes.append(helper.make_node("Add", ["means", "nothing"], ["late"]))
        last = "late"
    nodes.append(helper.make_node("Mul", [last, "scale"], ["logits"]))
    picture = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", 3, SIDE, SIDE]),
    ]
    graph = helper.make_graph(nodes, "colours", [picture], outputs, initial)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=9)


def write_export(folder: Path, delay: int = 0, **changes: Any) -> Path:
    """Write an exported folder; `changes` are keys of its model.json."""
    (folder / "networks").mkdir(parents=True)
    onnx.save(network(delay), folder / "networks" / "colours.onnx")
    said = {
        "file": "networks/colours.onnx",
        "run": "colours",
        "part": "fold-0",
        "view": 0,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "channels": 3,
        "turns": [[False, 0]],
        "space": "probs",
        "maps": True,
    }
    view = View(size=SIDE, max_megapixels=100).model_dump(mode="json")
    content = {
        "format": 1,
        "title": "Colours & <shapes>",
        "task": "multiclass",
        "classes": CLASSES,
        "separator": " ",
        "source": "colours",
        "networks": [said],
        "views": [view],
        "plan": {"name": "colours"},
        "rule": {"kind": "argmax", "values": []},
        "constant": 0,
        "confidence": 0.5,
        "coverage": {"aurc": 0.0, "points": POINTS},
        "score": {"metric": "accuracy", "honest": 0.9123, "honest_se": 0.01},
        "provenance": {},
        "gate": {},
        "files": {"networks/colours.onnx": file_record(folder / "networks" / "colours.onnx")},
        **changes,
    }
    (folder / "model.json").write_text(json.dumps(signed(content)), encoding="utf-8")
    return folder
