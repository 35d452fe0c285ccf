"""Sizes of an ONNX graph's tensors, once the size of its image is said."""

from __future__ import annotations

from math import prod

import onnx
from onnx import shape_inference

from geodl_core.domain.model.tensors import Layout
from geodl_core.errors import ModelError
from geodl_core.io.network.constants import MOST_ELEMENTS
from geodl_core.io.network.reach import Walk

Shapes = dict[str, tuple[int, ...]]


def with_size(proto: onnx.ModelProto, chip_px: tuple[int, int], layout: Layout) -> tuple[onnx.ModelProto, int]:
    """Return the model with all sizes of its image fixed, a batch of one, without its large weights, and the pixels.

    Args:
        proto: the model, left as it is; its local functions must be inlined.
        chip_px: height and width that the image has where the graph leaves them open.
        layout: of the image.
    """
    # Without value_info: what was inferred with open sizes would contradict fixed ones.
    graph = onnx.GraphProto(
        name=proto.graph.name,
        node=proto.graph.node,
        input=proto.graph.input,
        output=proto.graph.output,
        initializer=[_light(tensor) for tensor in proto.graph.initializer],
        sparse_initializer=proto.graph.sparse_initializer,
    )
    fixed = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import, graph=graph)
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


def infer_types(fixed: onnx.ModelProto) -> dict[str, onnx.TypeProto.Tensor]:
    """Return what ONNX infers of each tensor, nothing where a node is broken or it takes more than 2 GB."""
    try:
        inferred = shape_inference.infer_shapes(fixed, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError, MemoryError):
        return {}
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    return {value.name: value.type.tensor_type for value in values}


def shapes_of(
    fixed: onnx.ModelProto, layout: Layout, chip_px: tuple[int, int], types: dict[str, onnx.TypeProto.Tensor]
) -> Shapes:
    """Return the shapes of all tensors that are known: inferred, and where that fails followed from the image.

    Args:
        fixed: the model, as `with_size` gives it.
        layout: of the image.
        chip_px: its height and width.
        types: what ONNX infers, from `infer_types`.
    """
    shapes: Shapes = {tensor.name: tuple(tensor.dims) for tensor in fixed.graph.initializer}
    image = next((v.name for v in fixed.graph.input if v.name not in shapes), "")
    try:
        walk = Walk(fixed, image, layout, chip_px[0])
        shapes |= {name: value.shape for name, value in walk.values.items() if value.shape is not None}
    except ModelError:
        pass  # no image of four dimensions: what is inferred must do
    for name, kind in types.items():
        sizes = kind.shape.dim
        if kind.HasField("shape") and all(size.HasField("dim_value") for size in sizes):
            shapes[name] = tuple(size.dim_value for size in sizes)
    return shapes


def _light(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """Return a weight without its values where it is too large to be a size or a scale."""
    if prod(tensor.dims) <= MOST_ELEMENTS:
        return tensor
    return onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
