"""What an ONNX network costs: its parameters, and the arithmetic it spends on a megapixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import onnx
from onnx import helper, inliner, shape_inference

from geodl_core.domain.model.tensors import Layout
from geodl_core.errors import ModelError
from geodl_core.io.network.reach import Walk

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

Shapes = dict[str, tuple[int, ...]]


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
    fixed, pixels = _with_size(proto, chip_px, layout)
    shapes = _shapes(fixed, layout, chip_px)
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


def _with_size(proto: onnx.ModelProto, chip_px: tuple[int, int], layout: Layout) -> tuple[onnx.ModelProto, int]:
    """Return the model with all sizes of its image fixed, a batch of one, and the image's pixels."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    # What was inferred with open sizes would contradict fixed ones.
    del fixed.graph.value_info[:]
    weights = {tensor.name for tensor in proto.graph.initializer}
    pixels = 1
    for value in fixed.graph.input:
        sizes = value.type.tensor_type.shape.dim
        if value.name in weights or len(sizes) != 4:
            continue
        wanted = {"N": 1, "C": 1, "H": chip_px[0], "W": chip_px[1]}
        for size, letter in zip(sizes, layout, strict=True):
            if size.dim_value <= 0:
                size.dim_value = wanted[letter]
        pixels = sizes[layout.index("H")].dim_value * sizes[layout.index("W")].dim_value * sizes[0].dim_value
    for value in fixed.graph.output:
        if value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.ClearField("shape")
    return fixed, pixels


def _shapes(fixed: onnx.ModelProto, layout: Layout, chip_px: tuple[int, int]) -> Shapes:
    """Return the shapes of all tensors that are known: inferred, and where that fails followed from the image."""
    shapes: Shapes = {tensor.name: tuple(tensor.dims) for tensor in fixed.graph.initializer}
    image = next((v.name for v in fixed.graph.input if v.name not in shapes), "")
    try:
        walk = Walk(fixed, image, layout, chip_px[0])
        shapes |= {name: value.shape for name, value in walk.values.items() if value.shape is not None}
    except ModelError:
        pass  # no image of four dimensions: what is inferred must do
    try:
        inferred = shape_inference.infer_shapes(fixed, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError, MemoryError):
        return shapes  # a broken node, or more than the 2 GB that inference takes
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        sizes = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(size.HasField("dim_value") for size in sizes):
            shapes[value.name] = tuple(size.dim_value for size in sizes)
    return shapes


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
