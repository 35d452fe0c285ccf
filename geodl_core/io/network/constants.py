"""What an ONNX graph computes without looking at pixels: sizes, scales, indices."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from geodl_core.io.network.trace import Constant

MOST_ELEMENTS = 1024
"""Of a value that is kept; sizes and scales are far smaller, and a grid over the tile must not be laid out."""
GROWING = frozenset(
    name
    for line in (
        "BlackmanWindow Col2Im EyeLike HammingWindow HannWindow MelWeightMatrix Multinomial NonZero OneHot Pad",
        "RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Resize Tile Upsample",
    )
    for name in line.split()
)
"""Their results may be far larger than their inputs."""
FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the operators of ONNX's reference raise on inputs that do not suit them; the value is then unknown."""


def constant_of(array: np.ndarray[Any, Any]) -> Constant:
    """Return what is kept of an array."""
    is_uniform = array.size > 0 and bool((array == array.flat[0]).all())
    return Constant(array.shape, array if array.size <= MOST_ELEMENTS else None, is_uniform)


def initializer(tensor: onnx.TensorProto) -> Constant:
    """Return what is kept of a weight; large ones are not unpacked."""
    if prod(tensor.dims) > MOST_ELEMENTS:
        return Constant(tuple(tensor.dims))
    try:
        return constant_of(numpy_helper.to_array(tensor))
    except (ValueError, TypeError):
        return Constant(tuple(tensor.dims))


def compute(node: onnx.NodeProto, inputs: Sequence[Constant | None], opset: int) -> list[Constant]:
    """Compute a node that sees no pixels, as far as its result is small; assumes no subgraphs.

    Returns:
        One constant an output, of unknown value and shape where it cannot be computed.
    """
    unknown = [Constant(None) for _ in node.output]
    if node.op_type in ("ConstantOfShape", "Expand"):
        return [_spread(node, inputs)]
    if node.op_type in GROWING:
        return unknown
    if any(each is not None and each.value is None for each in inputs):
        return [Constant(_shape(node, inputs)), *unknown[1:]]
    names = [name for name, value in zip(node.input, inputs, strict=True) if value is not None]
    types = [helper.make_tensor_value_info(name, 1, None) for name in names]
    outputs = [helper.make_tensor_value_info(name, 1, None) for name in node.output if name]
    graph = helper.make_graph([node], "one", types, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    values = {name: value.value for name, value in zip(node.input, inputs, strict=True) if value is not None}
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415  # half a second, for graphs that compute sizes

    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, values)
    except FAILURES:
        return unknown
    found = {name: constant_of(np.asarray(result)) for name, result in zip(names_of(node), results, strict=True)}
    return [found.get(name, Constant(None)) for name in node.output]


def _shape(node: onnx.NodeProto, inputs: Sequence[Constant | None]) -> tuple[int, ...] | None:
    """Return the shape of large weights after what is usually done to them before they are used."""
    source = inputs[0]
    if source is None or source.shape is None:
        return None
    if node.op_type in ("Cast", "DequantizeLinear", "Identity", "QuantizeLinear"):
        return source.shape
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    if node.op_type == "Transpose":
        order = attributes.get("perm", range(len(source.shape))[::-1])
        return tuple(source.shape[axis] for axis in order)
    wanted = inputs[1] if len(inputs) > 1 else None
    if node.op_type != "Reshape" or wanted is None or wanted.value is None:
        return None
    sizes = [int(size) for size in np.ravel(wanted.value)]
    sizes = [source.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    rest = -prod(sizes)
    return tuple(prod(source.shape) // rest if size == -1 else size for size in sizes)


def names_of(node: onnx.NodeProto) -> list[str]:
    """Return the outputs that a node really has."""
    return [name for name in node.output if name]


def _spread(node: onnx.NodeProto, inputs: Sequence[Constant | None]) -> Constant:
    """Return one value, or a small tensor, laid out over a shape that may be large."""
    source, wanted = (inputs[0], inputs[-1]) if node.op_type == "Expand" else (None, inputs[0])
    if wanted is None or wanted.value is None:
        return Constant(None, is_uniform=source.is_uniform if source else True)
    shape = tuple(int(size) for size in np.ravel(wanted.value))
    if source is None:
        value = next((numpy_helper.to_array(entry.t) for entry in node.attribute), np.zeros(1, np.float32))
    elif source.value is not None:
        value = source.value
        shape = np.broadcast_shapes(shape, value.shape)
    else:
        return Constant(None)
    if prod(shape) <= MOST_ELEMENTS:
        return constant_of(np.broadcast_to(value, shape))
    return Constant(shape, None, bool((value == value.flat[0]).all()) if value.size else False)
