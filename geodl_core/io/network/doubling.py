"""A convolution of a tensor enlarged twofold, computed before it is enlarged."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, helper

from geodl_core.io.network.draft import Draft

Weights = npt.NDArray[np.float32]
"""(C, Ci, 3, 3)."""
KERNEL = (3, 3)
ENOUGH = 24
"""Channels of the small tensor from which on the arithmetic saved is more than what interleaving costs."""
BLOCK = 8
"""Channels that onnxruntime keeps together on AVX2; other counts are reordered slowly."""
PAIRS = {
    "asymmetric": ("floor", "round_prefer_floor"),
    "half_pixel": ("round_prefer_floor", "round_prefer_ceil"),
    "pytorch_half_pixel": ("round_prefer_floor", "round_prefer_ceil"),
    "tf_half_pixel_for_nn": ("floor",),
}
"""Places and roundings that, at a scale of 2, write each element twice."""
SLICE_INPUTS_OPSET = 10
"""From it on Slice takes its limits as tensors."""


def doubled(draft: Draft, name: str) -> str | None:
    """Return the tensor that the named one shows with each pixel as 2 × 2, or None where that is not certain."""
    node = draft.makers.get(name)
    if node is None or node.op_type not in ("Resize", "Upsample"):
        return None
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    is_old = node.op_type == "Upsample" or draft.opset < 11
    place = attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    rounding = attributes.get("nearest_mode", b"round_prefer_floor").decode()
    # `axes` would give the scales another meaning.
    if attributes.get("mode", b"nearest") != b"nearest" or "axes" in attributes:
        return None
    if not is_old and (rounding not in PAIRS.get(place, ()) or any(node.input[3:])):
        return None
    scales = attributes.get("scales")
    if scales is None:
        position = 1 if is_old else 2
        scales = draft.constant(node.input[position]) if len(node.input) > position else None
    if scales is None or np.asarray(scales).tolist() != [1, 1, 2, 2]:
        return None
    return str(node.input[0])


def fits(weights: Weights) -> bool:
    """Tell whether a convolution with these weights can be computed on the small tensor, and gains by it."""
    count, channels, *kernel = weights.shape
    # Few results fill a vector unit badly, so that with them fewer channels are enough.
    return tuple(kernel) == KERNEL and count % BLOCK == 0 and channels >= min(count, ENOUGH)


def convolve(
    draft: Draft, source: str, weights: Weights, bias: npt.NDArray[np.float32] | None, activation: NodeProto | None
) -> str:
    """Add the nodes that convolve the twofold of `source` by 3 × 3 with a border of 1.

    Under a pixel of the twofold tensor three taps along an axis meet only two small pixels: for even rows i - 1
    (tap 0) and i (taps 1 and 2), for odd ones i (taps 0 and 1) and i + 1 (tap 2). Taps that meet the same pixel add
    up, so each of the four phases is a 2 × 2 convolution of the small tensor: 16 products a small pixel and pair of
    channels, not 36. A row of zeros around the small tensor stands for the row around the twofold one.

    The two phases of a row are channels of one convolution, one column wider than the small tensor: odd columns
    belong to the place on the left of the even ones. With channels last they lie as the twofold row does, but for a
    pixel too many at each end. DepthToSpace says the same and took three times as long.

    Args:
        draft: what the nodes are added to.
        source: (N, Ci, h, w).
        weights: of the convolution on the twofold tensor.
        bias: (C,), if any.
        activation: applied to each number of the result, if any.

    Returns:
        The name of the result, (N, C, 2h, 2w), made by a Transpose from (N, 2h, 2w, C).
    """
    count = weights.shape[0]
    rows = []
    for phase in (0, 1):
        kernels = np.concatenate([_merge(_merge(weights, phase, 2), column, 3) for column in (1, 0)])
        biases = None if bias is None else np.tile(bias, 2)
        row = draft.convolve(source, kernels, biases, [helper.make_attribute("pads", [1 - phase, 1, phase, 1])])
        if activation is not None:
            row = _activate(draft, activation, row)
        row = draft.add("Transpose", [row], perm=[0, 2, 3, 1])
        row = draft.add("Reshape", [row, draft.integers([0, 0, -1])])
        rows.append(_crop(draft, row, count))
    wide = draft.add("Concat", rows, axis=2)
    sizes = draft.add("Gather", [draft.add("Shape", [rows[0]]), draft.integers([0, 1])], axis=0)
    sizes = draft.add("Mul", [sizes, draft.integers([1, 2])])
    sizes = draft.add("Concat", [sizes, draft.integers([-1, count])], axis=0)
    return draft.add("Transpose", [draft.add("Reshape", [wide, sizes])], perm=[0, 3, 1, 2])


def _merge(weights: Weights, phase: int, axis: int) -> Weights:
    """Return the two taps along an axis, of its three, that meet the small tensor."""
    first, middle, last = np.split(weights, 3, axis)
    taps = (first, middle + last) if phase == 0 else (first + middle, last)
    return np.concatenate(taps, axis)


def _crop(draft: Draft, row: str, count: int) -> str:
    limits: dict[str, list[int]] = {"starts": [count], "ends": [-count], "axes": [2]}
    if draft.opset < SLICE_INPUTS_OPSET:
        return draft.add("Slice", [row], **limits)
    return draft.add("Slice", [row, *(draft.integers(limit) for limit in limits.values())])


def _activate(draft: Draft, activation: NodeProto, name: str) -> str:
    result = draft.add(activation.op_type, [name])
    draft.nodes[-1].attribute.extend(activation.attribute)
    return result
