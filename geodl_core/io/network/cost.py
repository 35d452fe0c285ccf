"""What an ONNX network costs: its parameters, and the arithmetic it spends on a megapixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import onnx
from onnx import helper, inliner

from geodl_core.domain.model.tensors import Layout
from geodl_core.io.network.shapes import Shapes, infer_types, shapes_of, with_size

MEGAPIXEL = 1_000_000
FREE = frozenset(
    name
    for line in (
        "Cast CastLike Concat Constant ConstantOfShape DepthToSpace Dropout Expand Flatten Gather",
        "GatherElements GatherND Identity If Loop NonZero Pad Range Reshape Scan Shape Size Slice",
        "SpaceToDepth Split Squeeze Tile Transpose Unsqueeze",
    )
    for name in line.split()
)
"""They move elements or compute sizes."""
SETTINGS = frozenset({"Clip", "ConstantOfShape", "Expand", "Pad", "Range", "Reshape", "Resize", "Slice", "Upsample"})
"""Their inputs but the first are settings, not weights."""
NUMBERS = frozenset(
    {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.INT8,
        onnx.TensorProto.UINT8,
    }
)
"""Types that weights have, quantised ones included; sizes and indices are wider integers."""

PRODUCTS = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "MatMul", "MatMulInteger", "Gemm")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs."""

    parameters: int
    """Elements of its weights as the file holds them; batch normalisation may be folded into convolutions."""
    flops_per_mpx: float
    """Floating-point operations for a million pixels of input, a multiplication and an addition counted as two."""
    uncounted: tuple[str, ...]
    """Operators whose sizes could not be told, so that they count as nothing."""


def graph_cost(proto: onnx.ModelProto, chip_px: tuple[int, int], layout: Layout) -> Cost:
    """Count a network's parameters and its arithmetic.

    Convolutions and matrix products count exactly; other operators count one operation an element that they give;
    those that only move elements count nothing.

    Args:
        proto: the model.
        chip_px: height and width that the image has where the graph leaves them open.
        layout: of the image.
    """
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    fixed, pixels = with_size(proto, chip_px, layout)
    shapes = shapes_of(fixed, layout, chip_px, infer_types(fixed))
    total, uncounted = 0, dict[str, None]()
    for node in fixed.graph.node:
        if node.op_type not in FREE:
            flops = _flops(node, shapes)
            if flops is None:
                uncounted[node.op_type] = None
            total += flops or 0
    return Cost(_parameters(proto.graph), total * MEGAPIXEL / pixels, tuple(uncounted))


def _parameters(graph: onnx.GraphProto) -> int:
    """Count the elements of weights: numbers that are not scalars and that some node takes as more than a setting."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            weights.update((node.output[0], entry.t) for entry in node.attribute if entry.name == "value")
    used = {name for node in graph.node for name in (node.input[:1] if node.op_type in SETTINGS else node.input)}
    counted = (tensor for name, tensor in weights.items() if name in used and tensor.data_type in NUMBERS)
    return sum(prod(tensor.dims) for tensor in counted if tensor.dims)


def _flops(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """Return the operations of a node, None where a shape is not known."""
    if node.op_type in PRODUCTS:
        weights = 3 if node.op_type == "QLinearConv" else 1
        found = [shapes.get(name) for name in (*node.input[:1], *node.input[weights : weights + 1], *node.output[:1])]
        known = [shape for shape in found if shape is not None]
        try:
            return 2 * _multiplications(node, known[0], known[1], known[2])
        except IndexError:
            return None
    sizes = [shapes.get(name) for name in _counted(node)]
    if any(size is None for size in sizes):
        return None
    return max((prod(size) for size in sizes if size is not None), default=0)


def _counted(node: onnx.NodeProto) -> Iterable[str]:
    """Return the tensors whose elements count: what is reduced or pooled counts where it is read."""
    is_reading = node.op_type.startswith(("Reduce", "Global", "Arg"))
    return node.input[:1] if is_reading else [name for name in node.output[:1] if name]


def _multiplications(
    node: onnx.NodeProto, one: tuple[int, ...], weights: tuple[int, ...], result: tuple[int, ...]
) -> int:
    if node.op_type in ("Conv", "ConvInteger", "QLinearConv"):
        return prod(result) * prod(weights[1:])
    if node.op_type == "ConvTranspose":
        return prod(one) * prod(weights[1:])
    if node.op_type == "Gemm":
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        return prod(result) * one[0 if attributes.get("transA", 0) else 1]
    return prod(result) * one[-1]
