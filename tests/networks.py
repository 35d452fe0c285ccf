"""Small ONNX networks with known answers, and their EMDs, for tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CLASSES = [
    {"Value": value, "Name": name, "Color": color}
    for value, name, color in ((1, "Dark", [10, 20, 30]), (2, "Middle", [40, 50, 60]), (7, "Bright", [70, 80, 90]))
]


def write_emd(folder: Path, onnx_name: str = "net.onnx", name: str = "net.emd", **keys: Any) -> Path:
    """Write an EMD for `onnx_name`; a key that is None is left out."""
    emd = {
        "Framework": "Onnx",
        "ModelType": "ImageClassification",
        "ModelFile": onnx_name,
        "ModelName": "net",
        "ImageHeight": 64,
        "ImageWidth": 64,
        "ExtractBands": [0, 1],
        "Padding": 8,
        "Classes": CLASSES,
        **keys,
    }
    path = folder / name
    path.write_text(json.dumps({key: value for key, value in emd.items() if value is not None}))
    return path


def save(graph: onnx.GraphProto, path: Path, opset: int = 17) -> Path:
    """Save a graph as a model."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def conv_network(path: Path, channels: int = 2, seed: int = 5, sizes: tuple[Any, Any, Any] = ("n", "h", "w")) -> Path:
    """Two 5 × 5 convolutions (receptive radius 4) with random weights: three class scores, input in thousands."""
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((8, channels, 5, 5)).astype("float32") / (1000 * channels)
    second = rng.standard_normal((3, 8, 5, 5)).astype("float32")
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["b"], pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "d"], ["y"], pads=[2, 2, 2, 2]),
    ]
    count, height, width = sizes
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [count, channels, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [count, 3, height, width])],
        [numpy_helper.from_array(first, "a"), numpy_helper.from_array(second, "d")],
    )
    return save(graph, path)


def run_whole(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Return the argmax of a network over a whole (C, H, W) image at once."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: pixels[None].astype("float32")})
    return scores[0].argmax(0)
