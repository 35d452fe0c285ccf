"""ONNX operators that only move elements about: slicing, padding, joining, turning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from geodl_core.io.network.trace import (
    Call,
    Constant,
    Operator,
    Pixels,
    Role,
    as_list,
    common_role,
    merge,
    normal_axes,
)
from geodl_core.io.network.windows import Reading, regather


def squeeze(call: Call) -> list[Pixels]:
    """Squeeze."""
    pixels = call.pixels
    axes = call.integers("axes", 1)
    if axes is None:
        axes = [axis for axis, size in enumerate(pixels.shape) if size == 1]
    gone = normal_axes(call, axes, len(pixels.shape))
    return [_keep(pixels, [axis for axis in range(len(pixels.shape)) if axis not in gone])]


def unsqueeze(call: Call) -> list[Pixels]:
    """Unsqueeze."""
    pixels = call.pixels
    axes = call.integers("axes", 1) or []
    new = sorted(normal_axes(call, axes, len(pixels.shape) + len(axes)))
    shape, roles = list(pixels.shape), list(pixels.roles)
    for axis in new:
        shape.insert(axis, 1)
        roles.insert(axis, "")
    return [replace(pixels, shape=tuple(shape), roles=tuple(roles))]


def transpose(call: Call) -> list[Pixels]:
    """Transpose."""
    pixels = call.pixels
    order = call.integers("perm") or list(reversed(range(len(pixels.shape))))
    return [_keep(replace(pixels, unflat=None), order)]


def slice_(call: Call) -> list[Pixels]:
    """Slice."""
    pixels = call.pixels
    starts, ends = call.integers("starts", 1), call.integers("ends", 2)
    if starts is None or ends is None:
        raise call.error("has no starts or ends")
    axes = call.integers("axes", 3) or list(range(len(starts)))
    steps = call.integers("steps", 4) or [1] * len(starts)
    moved = pixels
    for axis, start, end, step in zip(normal_axes(call, axes, len(pixels.shape)), starts, ends, steps, strict=True):
        size = moved.shape[axis]
        chosen = range(size)[start:end:step]
        if moved.roles[axis] and step < 0:
            raise call.error("turns the image round")
        first = chosen.start
        if moved.roles[axis] in ("both", "list") and len(chosen) != size:
            moved = as_list(moved)
            moved = replace(moved, shape=_with(moved.shape, axis, len(chosen)), unflat=None)
            continue
        moved = regather(call, moved, axis, Reading(Fraction(step), _strided(first, step), len(chosen)))
    return [moved if moved.shape == pixels.shape else replace(moved, unflat=None)]


def pad(call: Call) -> list[Pixels]:
    """Pad; what is invented at the border reaches no farther than the padding."""
    pixels = call.pixels
    pads = call.integers("pads", 1)
    if pads is None:
        raise call.error("has no pads")
    axes = call.integers("axes", 3) or list(range(len(pads) // 2))
    if call.attributes.get("mode", "constant") == "wrap":
        raise call.error("continues one border with the opposite one")
    moved = pixels
    count = len(pads) // 2
    for number, axis in enumerate(normal_axes(call, axes, len(pixels.shape))):
        before, after = pads[number], pads[number + count]
        size = moved.shape[axis] + before + after
        if before or after:
            moved = regather(call, moved, axis, Reading(Fraction(1), _strided(-before, 1), size))
    return [moved]


def concat(call: Call) -> list[Pixels]:
    """Concat of tensors that carry pixels, and of others."""
    tensors = [tensor for tensor in call.inputs if isinstance(tensor, Pixels)]
    (axis,) = normal_axes(call, [int(call.attributes.get("axis", 1))], len(tensors[0].shape))
    sizes = [tensor.shape[axis] if tensor and tensor.shape else None for tensor in call.inputs]
    if None in sizes:
        raise call.error("joins a tensor of unknown size")
    rank = range(len(tensors[0].shape))
    roles: list[Role] = [common_role(call, [tensor.roles[place] for tensor in tensors]) for place in rank]
    if roles[axis] in ("row", "col"):
        raise call.error("joins pieces of the image side by side")
    if roles[axis]:
        tensors = [as_list(tensor) for tensor in tensors]
        roles = ["list" if role else "" for role in roles]
    shape = _with(tensors[0].shape, axis, sum(size for size in sizes if size is not None))
    joined = merge(call, tensors, shape, tuple(roles))
    others = [tensor for tensor in call.inputs if isinstance(tensor, Constant)]
    is_placed = joined.is_placed or any(varies(other, joined, axis) for other in others)
    return [replace(joined, is_placed=is_placed, unflat=None)]


def varies(constant: Constant, pixels: Pixels, joined_axis: int | None = None) -> bool:
    """Return whether a constant that meets a tensor may differ from row to row or from column to column."""
    if constant.is_uniform:
        return False
    if constant.shape is None:
        return "row" in pixels.roles or "col" in pixels.roles
    for back, size in enumerate(reversed(constant.shape), 1):
        axis = len(pixels.shape) - back
        if size > 1 and 0 <= axis != joined_axis and pixels.roles[axis] in ("row", "col"):
            value = constant.value
            if value is None or not (value == value.take([0], len(constant.shape) - back)).all():
                return True
    return False


def split(call: Call) -> list[Pixels]:
    """Split."""
    pixels = call.pixels
    (axis,) = normal_axes(call, [int(call.attributes.get("axis", 0))], len(pixels.shape))
    size = pixels.shape[axis]
    parts = call.integers("split", 1)
    if parts is None:
        count = int(call.attributes["_outputs"])
        each = -(-size // count)
        parts = [min(each, size - each * number) for number in range(count)]
    if pixels.roles[axis] in ("row", "col"):
        raise call.error("splits the image into pieces")
    return [replace(pixels, shape=_with(pixels.shape, axis, part), unflat=None) for part in parts]


def gather_elements(call: Call) -> list[Pixels]:
    """Gather by constant indices, over an axis that does not tell the place."""
    pixels = call.pixels
    (axis,) = normal_axes(call, [int(call.attributes.get("axis", 0))], len(pixels.shape))
    indices = call.input(1)
    if not isinstance(indices, Constant) or indices.shape is None:
        raise call.error("chooses by indices that are not known")
    if pixels.roles[axis]:
        raise call.error("chooses places of the image")
    new: list[Role] = [""] * len(indices.shape)
    shape = (*pixels.shape[:axis], *indices.shape, *pixels.shape[axis + 1 :])
    roles = (*pixels.roles[:axis], *new, *pixels.roles[axis + 1 :])
    return [replace(pixels, shape=shape, roles=roles, unflat=None)]


def expand(call: Call) -> list[Pixels]:
    """Expand."""
    pixels = call.pixels
    wanted = call.integers("shape", 1) or []
    shape = np.broadcast_shapes(pixels.shape, tuple(wanted))
    new: list[Role] = [""] * (len(shape) - len(pixels.shape))
    return [replace(pixels, shape=shape, roles=(*new, *pixels.roles), unflat=None)]


def _strided(first: int, step: int) -> Callable[[int], list[int]]:
    return lambda index: [first + index * step]


def _keep(pixels: Pixels, axes: Sequence[int]) -> Pixels:
    return replace(
        pixels, shape=tuple(pixels.shape[axis] for axis in axes), roles=tuple(pixels.roles[axis] for axis in axes)
    )


def _with(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


LAYOUTS: dict[str, Operator] = {
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Slice": slice_,
    "Pad": pad,
    "Concat": concat,
    "Split": split,
    "Gather": gather_elements,
    "Expand": expand,
}
