"""ONNX operators that mix elements by index: element-wise ones, reductions, normalisations, products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geodl_core.io.network.layouts import varies
from geodl_core.io.network.trace import (
    Call,
    Constant,
    Operator,
    Pixels,
    Role,
    common_role,
    mark_global,
    merge,
    normal_axes,
)

ELEMENTWISE = frozenset(
    name
    for line in (
        "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor",
        "Cast CastLike Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual",
        "HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul",
        "Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt",
        "Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor",
    )
    for name in line.split()
)
PER_CHANNEL = frozenset({"Dropout", "LRN", "QuantizeLinear", "DequantizeLinear"})
"""Their other inputs are per channel or settings, not broadcast from the last axis."""
REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def elementwise(call: Call) -> list[Pixels]:
    """Operators that broadcast their inputs and work element by element."""
    tensors = [tensor for tensor in call.inputs if isinstance(tensor, Pixels)]
    others = [tensor for tensor in call.inputs if isinstance(tensor, Constant)]
    if call.operator in PER_CHANNEL:
        return [call.pixels]
    shape: tuple[int, ...] = ()
    for size in [*(tensor.shape for tensor in tensors), *(other.shape for other in others)]:
        shape = _broadcast(call, shape, size or ())
    roles = [
        common_role(call, [_role_from_back(tensor, back) for tensor in tensors]) for back in range(len(shape), 0, -1)
    ]
    merged = merge(call, tensors, shape, _consistent(roles))
    if any(varies(other, merged) for other in others):
        merged = replace(merged, is_placed=True)
    return [merged]


def batch_normalization(call: Call) -> list[Pixels]:
    """BatchNormalization: element-wise, unless it takes its statistics from the tile."""
    if call.attributes.get("training_mode", 0):
        return [mark_global(call, call.pixels, "normalises by the statistics of the tile")]
    return [call.pixels]


def normalization(call: Call) -> list[Pixels]:
    """Normalisations over the axes behind the channels, or over those that an attribute names."""
    pixels = call.pixels
    rank = len(pixels.shape)
    axes: Sequence[int] = range(2, rank)
    if call.operator in ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"):
        (first,) = normal_axes(call, [int(call.attributes.get("axis", -1))], rank)
        axes = range(first, rank)
    elif call.operator == "MeanVarianceNormalization":
        axes = normal_axes(call, call.integers("axes") or [0, 2, 3], rank)
    elif call.operator == "LpNormalization":
        axes = normal_axes(call, [int(call.attributes.get("axis", -1))], rank)
    return [_mixed(call, pixels, axes, "normalises over the positions of the tile")]


def softmax(call: Call) -> list[Pixels]:
    """Softmax and its like; before opset 13 over the named axis and all behind it."""
    pixels = call.pixels
    rank = len(pixels.shape)
    (axis,) = normal_axes(call, [int(call.attributes.get("axis", -1 if call.opset >= 13 else 1))], rank)
    axes = [axis] if call.opset >= 13 else range(axis, rank)
    return [_mixed(call, pixels, axes, "normalises over the positions of the tile")]


def reduce(call: Call) -> list[Pixels]:
    """Reductions, ArgMax and ArgMin."""
    pixels = call.pixels
    rank = len(pixels.shape)
    if call.operator.startswith("Arg"):
        axes: Sequence[int] = [int(call.attributes.get("axis", 0))]
    else:
        axes = call.integers("axes", 1) or ([] if call.attributes.get("noop_with_empty_axes") else range(rank))
    gone = normal_axes(call, axes, rank)
    mixed = _mixed(call, pixels, gone, f"takes one number over the tile (axes {sorted(gone)})")
    kept = bool(call.attributes.get("keepdims", 1))
    return [_reduced(mixed, gone, kept)]


def global_pool(call: Call) -> list[Pixels]:
    """GlobalAveragePool and its like."""
    axes = range(2, len(call.pixels.shape))
    return [_reduced(_mixed(call, call.pixels, axes, "pools the whole tile"), axes, is_kept=True)]


def matmul(call: Call) -> list[Pixels]:
    """MatMul: by weights over channels it stays in place; over positions, or of two positions, it sees the tile."""
    one, other = call.inputs[0], call.inputs[1]
    tensors = [tensor for tensor in (one, other) if isinstance(tensor, Pixels)]
    shapes = [tensor.shape if tensor else None for tensor in (one, other)]
    left, right = shapes
    if not left or not right:
        raise call.error("multiplies by something of unknown size")
    columns = () if len(right) == 1 else right[-1:]
    rows = left[-2:-1]
    shape = (*_broadcast(call, left[:-2], right[:-2]), *rows, *columns)
    found = [_product_roles(tensor, tensor is one, len(shape)) for tensor in tensors]
    roles = [common_role(call, [entry[place] for entry in found]) for place in range(len(shape))]
    product = merge(call, tensors, shape, _consistent(roles))
    for tensor in tensors:
        axis = -1 if tensor is one or len(tensor.shape) == 1 else -2
        if tensor.roles[axis] or (len(tensors) == 2 and any(tensor.roles[-2:])):
            product = mark_global(call, product, "combines positions of the tile (attention or a dense layer)")
    return [replace(product, unflat=None)]


def gemm(call: Call) -> list[Pixels]:
    """Gemm: a dense layer."""
    pixels, weights = call.pixels, call.input(1)
    if not isinstance(weights, Constant) or weights.shape is None:
        raise call.error("multiplies the image by itself")
    rows, shared = (1, 0) if call.attributes.get("transA", 0) else (0, 1)
    columns = weights.shape[0 if call.attributes.get("transB", 0) else 1]
    mixed = _mixed(call, pixels, [shared], "is a dense layer over the positions of the tile")
    return [replace(mixed, shape=(pixels.shape[rows], columns), roles=(pixels.roles[rows], ""), unflat=None)]


def _mixed(call: Call, pixels: Pixels, axes: Sequence[int], what: str) -> Pixels:
    return mark_global(call, pixels, what) if any(pixels.roles[axis] for axis in axes) else pixels


def _reduced(pixels: Pixels, axes: Sequence[int], is_kept: bool) -> Pixels:
    shape: list[int] = []
    roles: list[Role] = []
    for axis, (size, role) in enumerate(zip(pixels.shape, pixels.roles, strict=True)):
        if axis not in axes:
            shape.append(size)
            roles.append(role)
        elif is_kept:
            shape.append(1)
            roles.append("")
    return replace(pixels, shape=tuple(shape), roles=tuple(roles), unflat=None)


def _product_roles(tensor: Pixels, is_left: bool, rank: int) -> list[Role]:
    """Return the roles that a factor gives to the axes of a product."""
    matrix: list[Role] = [tensor.roles[-2], ""] if is_left and len(tensor.roles) > 1 else ["", tensor.roles[-1]]
    if len(tensor.roles) == 1:
        matrix = ["", ""]
    found: list[Role] = [""] * rank
    found += [*tensor.roles[:-2], *matrix]
    return found[-rank:] if rank else []


def _role_from_back(tensor: Pixels, back: int) -> Role:
    return tensor.roles[-back] if back <= len(tensor.roles) else ""


def _consistent(roles: Sequence[Role]) -> tuple[Role, ...]:
    """Return the roles, all lists if one is."""
    return tuple("list" if role and "list" in roles else role for role in roles)


def _broadcast(call: Call, one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(one, other)
    except ValueError as error:
        raise call.error(f"joins {list(one)} with {list(other)}, which do not fit at this size of the tile") from error


MIXING: dict[str, Operator] = {
    **dict.fromkeys(ELEMENTWISE | PER_CHANNEL, elementwise),
    **dict.fromkeys((*(f"Reduce{name}" for name in REDUCTIONS), "ArgMax", "ArgMin"), reduce),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), global_pool),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), softmax),
    **dict.fromkeys(
        (
            "InstanceNormalization",
            "GroupNormalization",
            "LayerNormalization",
            "RMSNormalization",
            "SimplifiedLayerNormalization",
            "MeanVarianceNormalization",
            "LpNormalization",
        ),
        normalization,
    ),
    "BatchNormalization": batch_normalization,
    "MatMul": matmul,
    "Gemm": gemm,
}
