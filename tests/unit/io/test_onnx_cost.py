"""What networks cost: small ones counted by hand."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from geodl_core.io.network.cost import graph_cost


def build(nodes, shape, **weights):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def ones(*shape):
    return np.ones(shape, "float32")


def flops_per_pixel(model, layout="NCHW", chip=(50, 40)):
    return graph_cost(model, chip, layout).flops_per_mpx / 1e6


def test_convolution():
    """A strided 3 × 3 convolution: two operations a weight and answer, at a quarter of the pixels; bias is a weight."""
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1])]
    model = build(nodes, ["n", 4, "h", "w"], w=ones(8, 4, 3, 3), b=ones(8))
    assert flops_per_pixel(model) == pytest.approx(2 * 8 * 4 * 9 / 4)
    assert graph_cost(model, (50, 40), "NCHW").parameters == 8 * 4 * 9 + 8


def test_transposed_and_grouped_convolution():
    """A transposed convolution counts where it reads; groups count once."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], group=4),
        helper.make_node("ConvTranspose", ["a", "v"], ["y"], strides=[2, 2]),
    ]
    model = build(nodes, ["n", 4, "h", "w"], w=ones(4, 1, 1, 1), v=ones(4, 3, 2, 2))
    assert flops_per_pixel(model) == pytest.approx(2 * 4 + 2 * 4 * 3 * 4)


def test_products_and_elements():
    """A product over channels counts two operations a weight and pixel, an activation one, moving none."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Transpose", ["b"], ["y"], perm=[0, 3, 1, 2]),
    ]
    model = build(nodes, ["n", "h", "w", 4], w=ones(4, 8))
    assert flops_per_pixel(model, "NHWC") == pytest.approx(2 * 4 * 8 + 8)


def test_dense_layer():
    """A Gemm on the pooled image counts its weights once an image."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["a"]),
        helper.make_node("Flatten", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "w"], ["y"], transB=1),
    ]
    model = build(nodes, [1, 4, 20, 20], w=ones(10, 4))
    assert flops_per_pixel(model) == pytest.approx((4 * 400 + 2 * 4 * 10) / 400)


def test_settings_are_no_weights():
    """Scales, limits and shapes are not parameters; weights in Constant nodes are."""
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(ones(2, 2, 1, 1))),
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Resize", ["a", "", "s"], ["y"]),
    ]
    model = build(nodes, ["n", 2, "h", "w"], s=np.array([1, 1, 2, 2], "float32"))
    assert graph_cost(model, (64, 64), "NCHW").parameters == 4


def test_what_cannot_be_counted_is_named():
    """An operator of unknown result is named rather than guessed."""
    nodes = [helper.make_node("Mystery", ["x"], ["a"], domain="own"), helper.make_node("Relu", ["a"], ["y"])]
    model = build(nodes, ["n", 2, "h", "w"])
    model.opset_import.append(helper.make_opsetid("own", 1))
    assert graph_cost(model, (64, 64), "NCHW").uncounted == ("Mystery", "Relu")
