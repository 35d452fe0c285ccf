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


def stride_network(path: Path, sizes: tuple[Any, Any, Any] = ("n", "h", "w")) -> Path:
    """Halve the image twice and double it twice: three class scores that depend on where multiples of 4 begin."""
    rng = np.random.default_rng(11)
    weights = {
        "a": rng.standard_normal((6, 2, 4, 4)).astype("float32") / 4000,
        "b": rng.standard_normal((6, 6, 4, 4)).astype("float32") / 4,
        "c": rng.standard_normal((6, 6, 4, 4)).astype("float32") / 4,
        "d": rng.standard_normal((6, 3, 4, 4)).astype("float32") / 4,
    }
    halves = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["1"], **halves),
        helper.make_node("Relu", ["1"], ["2"]),
        helper.make_node("Conv", ["2", "b"], ["3"], **halves),
        helper.make_node("Relu", ["3"], ["4"]),
        helper.make_node("ConvTranspose", ["4", "c"], ["5"], **halves),
        helper.make_node("Relu", ["5"], ["6"]),
        helper.make_node("ConvTranspose", ["6", "d"], ["y"], **halves),
    ]
    count, height, width = sizes
    graph = helper.make_graph(
        nodes,
        "stride",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [count, 2, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [count, 3, height, width])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return save(graph, path)


def mask_network(path: Path, sizes: tuple[Any, Any, Any] = ("n", "h", "w")) -> Path:
    """A 5 × 5 convolution with a sigmoid: one score."""
    weight = np.random.default_rng(7).standard_normal((1, 2, 5, 5)).astype("float32") / 4000
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[2, 2, 2, 2]),
        helper.make_node("Sigmoid", ["a"], ["y"]),
    ]
    count, height, width = sizes
    graph = helper.make_graph(
        nodes,
        "mask",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [count, 2, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [count, 1, height, width])],
        [numpy_helper.from_array(weight, "w")],
    )
    return save(graph, path)


def mean_network(path: Path) -> Path:
    """Three class scores that compare each pixel with the mean of its tile."""
    weight = np.array([[0.01, 0], [0, 0.01], [-0.01, 0]], "float32").reshape(3, 2, 1, 1)
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["d"]),
        helper.make_node("Conv", ["d", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [numpy_helper.from_array(weight, "w")],
    )
    return save(graph, path)


def class_map_network(path: Path) -> Path:
    """Class 2 where the first band is at most 2000, else class 7, as integers."""
    weights = {
        "zero": np.array([0]), "one": np.array([1]), "axis": np.array([1]),
        "level": np.float32(2000), "five": np.int64(5), "two": np.int64(2),
    }  # fmt: skip
    nodes = [
        helper.make_node("Slice", ["x", "zero", "one", "axis"], ["a"]),
        helper.make_node("Greater", ["a", "level"], ["b"]),
        helper.make_node("Cast", ["b"], ["c"], to=TensorProto.INT64),
        helper.make_node("Mul", ["c", "five"], ["d"]),
        helper.make_node("Add", ["d", "two"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "map",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, ["n", 1, "h", "w"])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return save(graph, path)


def scores_whole(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Return what a network gives for a whole (C, H, W) image at once, (classes, H, W)."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: pixels[None].astype("float32")})
    answer: np.ndarray = scores[0]
    return answer


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return (classes, H, W) scores of logits."""
    powers = np.exp(logits.astype("float64") - logits.max(0))
    shares: np.ndarray = powers / powers.sum(0)
    return shares
