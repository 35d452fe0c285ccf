"""Graphs in fp16: what is turned, what stays, and that the result is the same network."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fused import fused_network, stored_values
from geodl_core.errors import ModelError
from geodl_core.io.network.half import is_half, to_half

LAYER = ("Conv", ["x", "first"], ["h"], {})
FIRST = np.ones((1, 1, 1, 1), "float32")


def run(content: bytes, feed: dict[str, Any]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(None, feed)[0]


def network(nodes: list[tuple[str, list[str], list[str], dict[str, Any]]], **weights: np.ndarray) -> bytes:
    """Return a graph x (1, 1, h, w) → y whose nodes follow a first layer that doubles nothing."""
    graph = helper.make_graph(
        [helper.make_node(name, taken, given, **rest) for name, taken, given, rest in [LAYER, *nodes]],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in {"first": FIRST, **weights}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def types_of(content: bytes) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in onnx.load_model_from_string(content).graph.initializer}


@pytest.mark.parametrize("answer", ["uint8", "uint16", "float32"])
def test_inputs_and_outputs_stay(answer: str) -> None:
    """The graph in fp16 takes and gives what the original does, and nearly the same answer."""
    fused = fused_network(answer=answer, crops=True)
    pixels = stored_values((2, 2, 64, 64))
    feed = {"geodl_pixels": pixels, "geodl_core": np.array([8, 8, 56, 60])}
    wanted, found = run(fused, feed), run(to_half(fused), feed)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    if answer == "float32":
        assert 0 < np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()
    else:
        assert (found == wanted).mean() >= 0.99


def test_the_network_is_half() -> None:
    """Weights after the first layer are of 16 bits; scale and first layer, which meet stored values, of 32."""
    fused = fused_network()
    content = to_half(fused)
    found = types_of(content)
    assert (is_half(fused), is_half(content)) == (False, True)
    assert found["b_half"] == TensorProto.FLOAT16
    assert found["geodl_scale"] == found["a"] == TensorProto.FLOAT
    assert "b" not in found


def test_large_stored_values() -> None:
    """Stored values that 16 bits cannot tell apart, or hold, are scaled before they are rounded."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["geodl_pixels"], ["p"], "geodl_before_0_Cast", to=TensorProto.FLOAT),
            helper.make_node("Add", ["p", "geodl_offset"], ["x"], "geodl_before_1_Add"),
            helper.make_node("Conv", ["x", "one"], ["h"]),
            helper.make_node("Conv", ["h", "one"], ["geodl_answer"]),
        ],
        "large",
        [helper.make_tensor_value_info("geodl_pixels", TensorProto.UINT16, [1, 1, 1, 4])],
        [helper.make_tensor_value_info("geodl_answer", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.float32(-65530).reshape(1, 1, 1, 1), "geodl_offset"),
            numpy_helper.from_array(FIRST, "one"),
        ],
    )
    fused = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    pixels = np.array([65530, 65531, 65534, 65535], "uint16").reshape(1, 1, 1, 4)
    assert run(to_half(fused), {"geodl_pixels": pixels}).ravel().tolist() == [0, 1, 4, 5]


def test_small_and_large_weights() -> None:
    """A weight that would become 0 does not, one that would become infinite stays in 32 bits."""
    tiny, huge = np.float32(1e-12), np.float32(1e6)
    content = network([("Mul", ["h", "tiny"], ["m"], {}), ("Mul", ["m", "huge"], ["y"], {})], tiny=tiny, huge=huge)
    half = onnx.load_model_from_string(to_half(content))
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in half.graph.initializer}
    assert weights["tiny_half"] > 0
    assert weights["huge"] == huge


def test_constants_are_weights() -> None:
    """A divisor that stands in the graph as a constant does not become 0."""
    constant = ("Constant", [], ["e"], {"value": numpy_helper.from_array(np.float32(1e-12))})
    content = network([constant, ("Sub", ["h", "h"], ["z"], {}), ("Div", ["z", "e"], ["y"], {})])
    assert run(to_half(content), {"x": np.ones((1, 1, 2, 2), "float32")}).tolist() == [[[[0, 0], [0, 0]]]]


def test_sizes_stay_exact() -> None:
    """A result enlarged to a computed size has that size, also beyond the 2048 that fp16 counts to."""
    nodes = [
        ("Shape", ["h"], ["s"], {}),
        ("Cast", ["s"], ["f"], {"to": TensorProto.FLOAT}),
        ("Mul", ["f", "factors"], ["g"], {}),
        ("Cast", ["g"], ["sizes"], {"to": TensorProto.INT64}),
        ("Resize", ["h", "", "", "sizes"], ["y"], {"mode": "nearest"}),
    ]
    content = network(nodes, factors=np.array([1, 1, 1, 3], "float32"))
    assert run(to_half(content), {"x": np.ones((1, 1, 1, 1367), "float32")}).shape == (1, 1, 1, 4101)


def test_resize_by_scales() -> None:
    """The scales of an enlargement stay in 32 bits, as the operator wants them."""
    scales = np.array([1, 1, 2, 2], "float32")
    content = network([("Resize", ["h", "", "scales"], ["y"], {"mode": "linear"})], scales=scales)
    assert run(to_half(content), {"x": np.ones((1, 1, 3, 3), "float32")}).shape == (1, 1, 6, 6)


def test_branches_see_what_they_name() -> None:
    """Tensors that the branches of an If use are there for them, whatever made them."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(operator, ["r", "r"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for name, operator in (("then", "Add"), ("else", "Mul"))
    }
    nodes = [("Relu", ["h"], ["r"], {}), ("If", ["is"], ["i"], branches), ("Relu", ["i"], ["y"], {})]
    content = network(nodes, **{"is": np.array(True)})
    assert run(to_half(content), {"x": np.full((1, 1, 1, 1), 3, "float32")}).tolist() == [[[[6]]]]


def test_what_is_no_graph() -> None:
    """Bytes that are no ONNX model are a ModelError."""
    for look in (to_half, is_half):
        with pytest.raises(ModelError):
            look(b"no graph")
