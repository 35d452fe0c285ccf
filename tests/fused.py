"""Small fused graphs for tests of sessions: stored values in, classes or scores out."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

TYPES = {"uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "float32": TensorProto.FLOAT}


def fused_network(
    chip: str = "uint16", answer: str = "uint8", crops: bool = False, sizes: tuple[int, int] = (8, 5)
) -> bytes:
    """Two bands in hundreds, two convolutions with random weights, three classes.

    Args:
        chip: type of the stored values.
        answer: type of the class indices; `float32` gives scores.
        crops: whether it takes the part to answer as an input.
        sizes: channels between the convolutions, and the side of their kernels.
    """
    rng = np.random.default_rng(5)
    width, side = sizes
    pads = [side // 2] * 4
    weights: dict[str, Any] = {
        "geodl_scale": np.float32(0.002),
        "a": rng.standard_normal((width, 2, side, side)).astype("float32"),
        "b": rng.standard_normal((3, width, side, side)).astype("float32"),
        **{f"geodl_{name}": np.asarray([number]) for name, number in (("zero", 0), ("two", 2), ("four", 4))},
        "geodl_core_axes": np.asarray([2, 3]),
    }
    nodes = [
        helper.make_node("Cast", ["geodl_pixels"], ["geodl_before_0"], "geodl_before_0_Cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["geodl_before_0", "geodl_scale"], ["x"], "geodl_before_1_Mul"),
        helper.make_node("Conv", ["x", "a"], ["c"], pads=pads),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Conv", ["d", "b"], ["y"], pads=pads),
    ]
    inputs = [helper.make_tensor_value_info("geodl_pixels", TYPES[chip], ["n", "c", "h", "w"])]
    end = "y"
    if crops:
        inputs.append(helper.make_tensor_value_info("geodl_core", TensorProto.INT64, [4]))
        for stage, first, last in (("start", "zero", "two"), ("stop", "two", "four")):
            ends = ["geodl_core", f"geodl_{first}", f"geodl_{last}"]
            nodes.append(helper.make_node("Slice", ends, [f"geodl_core_{stage}"], f"geodl_core_{stage}_Slice"))
        end = "geodl_after_0"
        bounds = ["geodl_core_start", "geodl_core_stop", "geodl_core_axes"]
        nodes.append(helper.make_node("Slice", ["y", *bounds], [end], "geodl_after_0_Slice"))
    if answer == "float32":
        nodes.append(helper.make_node("Identity", [end], ["geodl_answer"], "geodl_after_1_Identity"))
    else:
        nodes.append(helper.make_node("ArgMax", [end], ["geodl_after_1"], "geodl_after_1_ArgMax", axis=1, keepdims=0))
        last = helper.make_node("Cast", ["geodl_after_1"], ["geodl_answer"], "geodl_after_2_Cast", to=TYPES[answer])
        nodes.append(last)
    outputs = [helper.make_tensor_value_info("geodl_answer", TYPES[answer], None)]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "fused", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def stored_values(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 1) -> np.ndarray:
    """Return random stored values."""
    return np.random.default_rng(seed).integers(0, 250, shape).astype(dtype)
