"""ONNX operators that lay out the same elements in other axes: reshaping, and moving pixels to channels and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod

from geodl_core.io.network.trace import Call, Operator, Pixels, Role, listed
from geodl_core.io.network.windows import Reading, regather


def reshape(call: Call) -> list[Pixels]:
    """Reshape."""
    pixels = call.pixels
    wanted = call.integers("shape", 1)
    if wanted is None:
        raise call.error("has no shape")
    if not call.attributes.get("allowzero", 0):
        wanted = [pixels.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    total = prod(pixels.shape)
    if -1 in wanted:
        rest = -prod(wanted)
        wanted[wanted.index(-1)] = total // rest if rest else 0
    if prod(wanted) != total:
        raise call.error(f"wants {wanted} of a tensor {list(pixels.shape)}")
    return [reshaped(call, pixels, tuple(wanted))]


def flatten(call: Call) -> list[Pixels]:
    """Flatten."""
    pixels = call.pixels
    axis = int(call.attributes.get("axis", 1))
    axis = axis + len(pixels.shape) if axis < 0 else axis
    return [reshaped(call, pixels, (prod(pixels.shape[:axis]), prod(pixels.shape[axis:])))]


def space_to_depth(call: Call) -> list[Pixels]:
    """SpaceToDepth."""
    block = int(call.attributes["blocksize"])
    count, channels, height, width = call.pixels.shape
    if block < 1 or height % block or width % block:
        raise call.error(f"cuts {height} × {width} into blocks of {block}")
    moved = call.pixels
    for axis, size in ((2, height), (3, width)):
        moved = _split_axis(call, moved, axis, size // block, block)
    return [replace(moved, shape=(count, channels * block**2, height // block, width // block), unflat=None)]


def depth_to_space(call: Call) -> list[Pixels]:
    """DepthToSpace."""
    block = int(call.attributes["blocksize"])
    count, channels, height, width = call.pixels.shape
    moved = call.pixels
    for axis, size in ((2, height), (3, width)):
        moved = _merge_axis(call, moved, axis, size * block, block)
    return [replace(moved, shape=(count, channels // block**2, height * block, width * block), unflat=None)]


def reshaped(call: Call, pixels: Pixels, shape: tuple[int, ...]) -> Pixels:
    """Return the tensor in another shape, with what its new axes tell of the place.

    An axis of rows that is split keeps its coarse part (a block sees all of its rows) and the other way round; rows and
    columns flattened together can be told apart again; anything else becomes a list.
    """
    if pixels.unflat is not None and pixels.unflat.shape == shape:
        return replace(pixels.unflat, is_global=pixels.is_global, is_placed=pixels.is_placed)
    moved = replace(pixels, unflat=None)
    roles: list[Role] = [""] * len(shape)
    groups = _groups(pixels.shape, shape)
    for old, new in groups:
        found = _group_roles(
            call, moved, [axis for axis in old if pixels.shape[axis] > 1], [shape[axis] for axis in new]
        )
        if found is None:
            return listed(pixels, shape, _list_roles(pixels, shape, groups))
        moved, new_roles = found
        for axis, role in zip([axis for axis in new if shape[axis] > 1], new_roles, strict=True):
            roles[axis] = role
    return replace(moved, shape=shape, roles=tuple(roles))


def _list_roles(
    pixels: Pixels, shape: tuple[int, ...], groups: Sequence[tuple[list[int], list[int]]]
) -> tuple[Role, ...]:
    """Return `list` for the axes that tell of the place; those cut from the first or last channels alone do not."""
    roles: list[Role] = ["list"] * len(shape)
    for old, new in groups:
        for olds, news in ((old, new), (old[::-1], new[::-1])):
            placed = next((number for number, axis in enumerate(olds) if pixels.roles[axis]), len(olds))
            free = prod(pixels.shape[axis] for axis in olds[:placed])
            for axis in news:
                if placed < len(olds) and free % shape[axis]:
                    break
                free //= shape[axis]
                roles[axis] = ""
    return tuple(roles)


def _group_roles(
    call: Call, pixels: Pixels, old: Sequence[int], sizes: Sequence[int]
) -> tuple[Pixels, list[Role]] | None:
    """Return roles of the new axes longer than 1 that take the old ones' place, None where that makes a list."""
    new = [size for size in sizes if size > 1]
    before = [pixels.roles[axis] for axis in old]
    if not any(before) or [pixels.shape[axis] for axis in old] == new:
        return pixels, list(before) if any(before) else [""] * len(new)
    if before == ["row", "col"] and len(new) == 1:
        return pixels, ["both"]
    if before == ["both"] and new == list(pixels.grid):
        return pixels, ["row", "col"]
    if before in (["row"], ["col"]) and len(new) == 2:
        return _split_axis(call, pixels, old[0], new[0], new[1]), [before[0], ""]
    if before in (["row", ""], ["col", ""]) and len(new) == 1:
        return _merge_axis(call, pixels, old[0], new[0], pixels.shape[old[1]]), [before[0]]
    return None


def _split_axis(call: Call, pixels: Pixels, axis: int, size: int, block: int) -> Pixels:
    moved = regather(
        call, pixels, axis, Reading(Fraction(block), lambda index: range(index * block, (index + 1) * block), size)
    )
    return replace(moved, shape=pixels.shape)


def _merge_axis(call: Call, pixels: Pixels, axis: int, size: int, block: int) -> Pixels:
    moved = regather(call, pixels, axis, Reading(Fraction(1, block), lambda index: [index // block], size))
    return replace(moved, shape=pixels.shape)


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return the smallest runs of old and new axes that hold the same elements, in order; axes of 1 join the last."""
    groups: list[tuple[list[int], list[int]]] = []
    if not old or not new:
        return groups
    left, right = 0, 0
    while left < len(old) or right < len(new):
        if groups and _is_one(old, left):
            groups[-1][0].append(left)
            left += 1
            continue
        if groups and _is_one(new, right):
            groups[-1][1].append(right)
            right += 1
            continue
        olds: list[int] = []
        news: list[int] = []
        many, few = 1, 1
        while not olds or not news or many != few:
            if not olds or (many < few and left < len(old)) or (news and right >= len(new)):
                olds.append(left)
                many *= old[left]
                left += 1
            else:
                news.append(right)
                few *= new[right]
                right += 1
        groups.append((olds, news))
    return groups


def _is_one(sizes: Sequence[int], axis: int) -> bool:
    return axis < len(sizes) and sizes[axis] == 1


RESHAPES: dict[str, Operator] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "SpaceToDepth": space_to_depth,
    "DepthToSpace": depth_to_space,
}
