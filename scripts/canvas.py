"""Draw with soft edges on an image of reflectance, and keep what counts as an object with its box."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[Any]
Colour = tuple[float, float, float]
"""Reflectance in red, green, blue."""
Point = tuple[float, float]

SHADOW = (-0.75, -0.66)
"""Towards the north-west, as at ten in the morning."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One object."""

    class_id: int
    box: tuple[float, float, float, float]
    """xmin, ymin, xmax, ymax in pixels."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What is drawn so far."""

    rng: np.random.Generator
    light: Array
    """(size, size, 3) reflectance in red, green, blue."""
    taken: Array
    """(size, size) True where an object lies."""
    things: list[Thing] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Patch:
    """Pixels round a point, and where they lie from it."""

    window: tuple[slice, slice]
    along: Array
    """Pixels along the direction of what is drawn, from the point."""
    across: Array


def patch_at(canvas: Canvas, centre: Point, angle: float, reach: float) -> Patch:
    """Return the pixels within `reach` of a point, turned so that `along` runs in the direction of the angle."""
    size = len(canvas.light)
    low = [int(np.clip(at - reach, 0, size)) for at in centre]
    high = [int(np.clip(at + reach + 1, 0, size)) for at in centre]
    rows, cols = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    dx, dy = cols + 0.5 - centre[0], rows + 0.5 - centre[1]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return Patch((slice(low[1], high[1]), slice(low[0], high[0])), dx * cos + dy * sin, dy * cos - dx * sin)


def stain(canvas: Canvas, patch: Patch, cover: Array, colour: Colour) -> None:
    """Paint a colour over the patch where it is covered."""
    under = canvas.light[patch.window]
    under += cover[..., None].astype(np.float32) * (np.asarray(colour, np.float32) - under)


def slab(patch: Patch, length: float, width: float, shift: Point = (0, 0)) -> Array:
    """Return how far a rectangle round the point covers each pixel."""
    ends = length / 2 - np.abs(patch.along - shift[0]) + 0.5
    sides = width / 2 - np.abs(patch.across - shift[1]) + 0.5
    return np.clip(ends, 0, 1) * np.clip(sides, 0, 1)


def disc(patch: Patch, radius: float) -> Array:
    """Return how far a disc round the point covers each pixel."""
    return np.clip(radius - np.hypot(patch.along, patch.across) + 0.5, 0, 1)


def paint_slab(canvas: Canvas, centre: Point, angle: float, sides: Point, colour: Colour) -> None:
    """Paint a rectangle."""
    patch = patch_at(canvas, centre, angle, np.hypot(*sides) / 2 + 1)
    stain(canvas, patch, slab(patch, *sides), colour)


def cast(canvas: Canvas, centre: Point, angle: float, reach: float, height: float) -> tuple[Patch, Patch]:
    """Return the patch of an object and that of its shadow on the ground."""
    there = centre[0] + SHADOW[0] * height, centre[1] + SHADOW[1] * height
    return patch_at(canvas, centre, angle, reach), patch_at(canvas, there, angle, reach)


def darken(canvas: Canvas, patch: Patch, cover: Array, share: float = 0.55) -> None:
    """Take light away where a shadow falls."""
    canvas.light[patch.window] *= (1 - share * cover)[..., None].astype(np.float32)


def jittered(rng: np.random.Generator, colour: Colour, by: float = 0.12) -> Colour:
    """Return a colour a little lighter or darker."""
    factor = 1 + rng.uniform(-by, by)
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def claim(canvas: Canvas, class_id: int, outline: Array, margin: int = 2) -> bool:
    """Keep an object by its (n, 2) outline where it lies within the scene and on no other; say whether it does."""
    size = len(canvas.taken)
    low, high = outline.min(0), outline.max(0)
    if low.min() < 1 or high.max() > size - 1:
        return False
    left, top = np.floor(low).astype(int) - margin
    right, bottom = np.ceil(high).astype(int) + margin
    rows, cols = np.mgrid[max(top, 0) : bottom, max(left, 0) : right]
    inside = ndimage.binary_dilation(within(outline, cols + 0.5, rows + 0.5), iterations=margin)
    where = (slice(max(top, 0), bottom), slice(max(left, 0), right))
    inside = inside[: canvas.taken[where].shape[0], : canvas.taken[where].shape[1]]
    if (canvas.taken[where] & inside).any():
        return False
    canvas.taken[where] |= inside
    canvas.things.append(Thing(class_id, (float(low[0]), float(low[1]), float(high[0]), float(high[1]))))
    return True


def within(outline: Array, x: Array, y: Array) -> Array:
    """Say which points lie within a convex outline."""
    following = np.roll(outline, -1, axis=0)
    turns = [(b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) for a, b in zip(outline, following, strict=True)]
    return np.all(np.array(turns) >= 0, axis=0) | np.all(np.array(turns) <= 0, axis=0)


def turned(points: Array, centre: Point, angle: float) -> Array:
    """Return (n, 2) points along and across a direction as pixels."""
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]]) + centre
