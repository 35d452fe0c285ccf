"""Draw a synthetic harbour from above: sea, quay, piers, a marina, streets and lots, and on them ships, tanks and cars.

Everything is drawn from a seed: the same size and seed give the same harbour. What counts as an object is kept with
its box; buildings, containers, trees, ponds and buoys are there to be told from them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from canvas import Canvas, Colour, Patch, Point, Thing, disc, jittered, paint_slab, patch_at, stain
from harbour_lots import CONCRETE, SAND, Coast, paint_lots
from harbour_objects import FOAM, GRASS, LONGEST_PX, draw_ship
from landscape import fractal

Array = NDArray[Any]

SEA: Colour = (0.030, 0.066, 0.082)
SHALLOW: Colour = (0.075, 0.135, 0.130)


def draw_harbour(rng: np.random.Generator, size: int, ships: int = 30) -> tuple[Array, list[Thing]]:
    """Return (3, size, size) uint8 red, green, blue, and the objects in it.

    Args:
        rng: decides on everything.
        size: side in pixels of half a metre.
        ships: on the open sea of a scene of 2048 pixels.
    """
    canvas = Canvas(rng, np.zeros((size, size, 3), np.float32), np.zeros((size, size), bool))
    coast = Coast((size * rng.uniform(0.38, 0.5), size / 2), np.pi / 2 + np.pi + rng.uniform(-0.2, 0.2))
    beach = size * rng.uniform(0.2, 0.32)
    paint_ground(canvas, coast, beach)
    paint_lots(canvas, coast)
    paint_piers(canvas, coast, beach)
    paint_open_sea(canvas, coast, round(ships * (size / 2048) ** 2))
    return develop(canvas), canvas.things


def paint_ground(canvas: Canvas, coast: Coast, beach: float) -> None:
    """Paint sea and land; the last part of the coast is a beach, the rest a quay."""
    rng, size = canvas.rng, len(canvas.light)
    patch = patch_at(canvas, coast.origin, coast.angle, 3 * size)
    bend = 26 * fractal(rng, size, 420, 2)
    is_beach = np.clip((patch.along - (size / 2 - beach)) / 60, 0, 1)
    inland = patch.across + is_beach * (bend - 20)
    whole = Patch((slice(None), slice(None)), patch.along, patch.across)
    swell = 0.07 * fractal(rng, size, 300, 3) + 0.10 * grain(rng, size, 2.2)
    stain(canvas, whole, np.ones((size, size)), SEA)
    stain(canvas, whole, np.exp(np.minimum(inland, 0) / 90) * (0.25 + 0.55 * is_beach), SHALLOW)
    canvas.light[:] *= (1 + swell)[..., None]
    rough = 0.05 * fractal(rng, size, 60, 2) + 0.05 * grain(rng, size, 1.2)
    land = np.clip(inland + 0.5, 0, 1)
    stain(canvas, whole, land, GRASS)
    stain(canvas, whole, land * (1 - is_beach) * np.clip(58 - inland, 0, 1), CONCRETE)
    stain(canvas, whole, land * is_beach * np.clip((46 - inland + 140 * rough) / 8, 0, 1), SAND)
    surf = np.exp(-(((inland + 3) / 3.0) ** 2)) * is_beach * (fractal(rng, size, 60, 2) > -0.4)
    canvas.light[:] *= np.where(inland > 0, 1 + rough, 1)[..., None]
    stain(canvas, whole, 0.7 * surf, FOAM)


def grain(rng: np.random.Generator, size: int, width_px: float) -> Array:
    """Return fine noise of zero mean and unit deviation."""
    noise = ndimage.gaussian_filter(rng.standard_normal((size, size), np.float32), width_px)
    return noise * np.float32(2 * width_px * np.sqrt(np.pi))


def paint_piers(canvas: Canvas, coast: Coast, beach: float) -> None:
    """Build piers and one marina out from the quay, and moor ships and boats at them and along the quay."""
    rng, size = canvas.rng, len(canvas.light)
    out = coast.angle - np.pi / 2
    at = -size * 0.5 + rng.uniform(40, 120)
    marina = int(rng.integers(3))
    for number in range(12):
        if at > size / 2 - beach - 90:
            break
        if number % 3 == marina:
            at += paint_marina(canvas, coast, at)
            continue
        length = rng.uniform(150, 320)
        paint_slab(canvas, coast.at(at, -length / 2), out, (length, 26), jittered(rng, CONCRETE))
        for side in (-1, 1):
            moor(canvas, coast, (at + side * 14, -30), (out, length - 40, side))
        gap = rng.uniform(150, 240)
        moor(canvas, coast, (at + 40, 0), (coast.angle, gap - 90, -1))
        at += gap


def moor(canvas: Canvas, coast: Coast, start: Point, line: tuple[float, float, int]) -> None:
    """Moor ships one behind the other along a wall, with room between them."""
    rng = canvas.rng
    angle, length, side = line
    done = rng.uniform(4, 30)
    while True:
        long = min(float(rng.uniform(44, LONGEST_PX)), length)
        if long < 40 or done + long > length:
            return
        there, off = done + long / 2, side * (0.13 * long + 2)
        along, inland = (there, off) if angle == coast.angle else (off, -there)
        if rng.random() < 0.75:
            spot = coast.at(start[0] + along, start[1] + inland)
            draw_ship(canvas, spot, angle + np.pi * rng.integers(2) + rng.normal(0, 0.01), long)
        done += long + rng.uniform(10, 60)


def paint_marina(canvas: Canvas, coast: Coast, at: float) -> float:
    """Build two jetties with boats side by side, and return how much of the quay they take."""
    rng = canvas.rng
    out = coast.angle - np.pi / 2
    for jetty in range(2):
        place, length = at + 30 + 74 * jetty, rng.uniform(120, 200)
        paint_slab(canvas, coast.at(place, -length / 2), out, (length, 4), (0.30, 0.26, 0.20))
        for side in (-1, 1):
            inland = -20.0
            while inland > -length + 6:
                long = rng.uniform(16, 27)
                if rng.random() < 0.72:
                    spot = coast.at(place + side * (3.5 + long / 2), inland)
                    towards = coast.angle + (np.pi if rng.random() < 0.7 else 0) * side
                    draw_ship(canvas, spot, towards + rng.normal(0, 0.03), long)
                inland -= rng.uniform(10, 13)
    return 200.0


def paint_open_sea(canvas: Canvas, coast: Coast, wanted: int) -> None:
    """Put ships and boats on the sea, at anchor or under way, and buoys and foam, which are neither."""
    rng, size = canvas.rng, len(canvas.light)
    for _ in range(wanted * 8):
        if not wanted:
            break
        spot = tuple(rng.uniform(0, size, 2))
        cos, sin = np.cos(coast.angle), np.sin(coast.angle)
        inland = -(spot[0] - coast.origin[0]) * sin + (spot[1] - coast.origin[1]) * cos
        if inland > -90:
            continue
        near = patch_at(canvas, spot, 0, 70)
        if canvas.taken[near.window].any() or canvas.light[near.window].max() > 0.2:
            continue
        long = rng.uniform(16, 30) if rng.random() < 0.5 else rng.uniform(40, LONGEST_PX)
        draw_ship(canvas, spot, rng.uniform(0, 2 * np.pi), long, is_moving=bool(rng.random() < 0.65))
        wanted -= 1
    for _ in range(round(60 * (size / 2048) ** 2)):
        spot = tuple(rng.uniform(0, size, 2))
        patch = patch_at(canvas, spot, 0, 6)
        if patch.along.size and canvas.light[patch.window].max() < 0.16:
            stain(canvas, patch, disc(patch, rng.uniform(0.6, 1.6)), ((0.5, 0.12, 0.05), FOAM)[rng.integers(2)])


def develop(canvas: Canvas) -> Array:
    """Return (3, size, size) uint8 as a camera would give it: a point spread, noise, and a curve for the eye."""
    light = ndimage.gaussian_filter(canvas.light, (0.55, 0.55, 0))
    noise = canvas.rng.standard_normal(light.shape, np.float32)
    light += noise * (np.float32(0.003) + np.float32(0.02) * light)
    return np.clip(np.rint(255 * np.clip(light / 0.62, 0, 1) ** (1 / 1.9)), 1, 255).astype(np.uint8).transpose(2, 0, 1)
