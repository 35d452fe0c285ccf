"""What stands in a synthetic harbour: ships, tanks and cars, which count, and buildings and trees, which do not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from canvas import Canvas, Colour, Patch, Point, cast, claim, darken, disc, jittered, patch_at, slab, stain, turned

Array = NDArray[Any]

SHIP, TANK, CAR = 1, 2, 3
CLASSES = {SHIP: "Ship", TANK: "Tank", CAR: "Car"}
COLORS = {SHIP: (255, 176, 0), TANK: (236, 64, 170), CAR: (0, 214, 255)}
LONGEST_PX = 108
"""Of a ship."""

FOAM: Colour = (0.42, 0.45, 0.45)
GRASS: Colour = (0.078, 0.112, 0.045)
TREE: Colour = (0.034, 0.062, 0.026)
ROOFS: tuple[Colour, ...] = ((0.30, 0.30, 0.31), (0.25, 0.13, 0.09), (0.19, 0.21, 0.24), (0.40, 0.39, 0.36))
HULLS: tuple[Colour, ...] = ((0.48, 0.48, 0.46), (0.22, 0.07, 0.05), (0.08, 0.13, 0.24), (0.12, 0.13, 0.14))
TOPS: tuple[Colour, ...] = ((0.55, 0.55, 0.53), (0.46, 0.47, 0.44), (0.33, 0.30, 0.25))
BODIES: tuple[Colour, ...] = (
    *((0.52, 0.52, 0.52), (0.60, 0.60, 0.58), (0.34, 0.35, 0.36), (0.020, 0.020, 0.022), (0.30, 0.04, 0.03)),
    *((0.05, 0.09, 0.26), (0.16, 0.17, 0.18), (0.46, 0.36, 0.06)),
)
BOXES: tuple[Colour, ...] = ((0.27, 0.09, 0.05), (0.06, 0.13, 0.22), (0.10, 0.18, 0.10), (0.33, 0.31, 0.28))


def draw_ship(canvas: Canvas, centre: Point, angle: float, length: float, is_moving: bool = False) -> None:
    """Draw a ship or a boat with deck, bridge and load, and its wake where it moves."""
    rng = canvas.rng
    width = float(np.clip(length * rng.uniform(0.19, 0.26), 5, 22))
    bow = length * rng.uniform(0.25, 0.42)
    stations = np.linspace(-length / 2, length / 2, 24)
    halves = half_width(stations, length, width, bow)
    outline = turned(np.vstack([np.c_[stations, halves], np.c_[stations, -halves][::-1]]), centre, angle)
    if not claim(canvas, SHIP, outline, 1):
        return
    if is_moving:
        paint_wake(canvas, centre, angle, length, width)
    body, shadow = cast(canvas, centre, angle, length / 2 + 2, 1 + 0.05 * length)
    for patch, paint in ((shadow, None), (body, rng.choice(len(HULLS), p=(0.5, 0.2, 0.15, 0.15)))):
        halves = half_width(patch.along, length, width, bow)
        cover = np.clip(halves - np.abs(patch.across) + 0.5, 0, 1)
        cover *= np.clip(length / 2 - np.abs(patch.along) + 0.5, 0, 1)
        if paint is None:
            darken(canvas, patch, cover, 0.4)
            continue
        stain(canvas, patch, cover, jittered(rng, HULLS[paint]))
        deck = np.clip(halves - 1.2 - np.abs(patch.across) + 0.5, 0, 1) * cover
        light = length < 40 or rng.random() < 0.5
        stain(canvas, patch, deck, jittered(rng, (0.50, 0.50, 0.47) if light else (0.24, 0.20, 0.17)))
    load_ship(canvas, body, length, width, bow)


def half_width(along: Array, length: float, width: float, bow: float) -> Array:
    """Return half the width of a hull: a straight body, a round bow."""
    towards = np.clip((along - (length / 2 - bow)) / bow, 0, 1)
    aft = np.clip((along + length / 2) / (0.08 * length), 0.75, 1)
    return np.float32(width / 2) * np.sqrt(np.clip(1 - towards**2.2, 0, 1)) * aft


def load_ship(canvas: Canvas, body: Patch, length: float, width: float, bow: float) -> None:
    """Put a bridge on a ship, and hatches or containers; a cockpit into a boat."""
    rng = canvas.rng
    if length < 40:
        stain(canvas, body, slab(body, 0.26 * length, 0.5 * width, (-0.12 * length, 0)), (0.10, 0.11, 0.13))
        return
    aft = -length / 2 + 0.17 * length
    stain(canvas, body, slab(body, 0.13 * length, 0.8 * width, (aft, 0)), (0.62, 0.62, 0.60))
    stain(canvas, body, slab(body, 1.6, 0.7 * width, (aft + 0.06 * length, 0)), (0.06, 0.07, 0.08))
    if rng.random() < 0.7:
        start, stop = aft + 0.13 * length, length / 2 - 0.75 * bow
        for at in np.arange(start, stop, 8.0 + 2 * rng.random()):
            paint = BOXES[rng.integers(len(BOXES))]
            stain(canvas, body, slab(body, 6.0, 0.72 * width, (at + 3, 0)), jittered(rng, paint, 0.25))


def paint_wake(canvas: Canvas, centre: Point, angle: float, length: float, width: float) -> None:
    """Paint the churned water behind a ship and the two arms that spread from its bow."""
    behind = length * canvas.rng.uniform(1.0, 2.2)
    patch = patch_at(canvas, centre, angle, length / 2 + behind)
    since = -patch.along - length / 2
    fade = np.where(since > 0, np.exp(-since / (0.45 * behind)), 0)
    churn = np.clip((width * 0.42 + 0.05 * since) - np.abs(patch.across), 0, 1)
    stain(canvas, patch, 0.75 * churn * fade, FOAM)
    since = length * 0.45 - patch.along
    arm = np.exp(-(((np.abs(patch.across) - width * 0.45 - 0.24 * since) / 1.8) ** 2))
    stain(canvas, patch, np.where(since > 0, 0.4 * arm * np.exp(-since / (0.6 * behind)), 0), FOAM)


def draw_tank(canvas: Canvas, centre: Point, radius: float) -> None:
    """Draw a tank: a bright roof, dome or floating, with a rim and stairs."""
    rng = canvas.rng
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.c_[np.cos(angles), np.sin(angles)] * radius + centre
    if not claim(canvas, TANK, circle):
        return
    height = rng.uniform(5, 6 + 0.35 * radius)
    for step in np.linspace(0.1, 1, 6):
        _, shadow = cast(canvas, centre, 0, radius + 1, step * height)
        darken(canvas, shadow, disc(shadow, radius), 0.22)
    body = patch_at(canvas, centre, rng.uniform(0, np.pi), radius + 2)
    roof = jittered(rng, TOPS[rng.choice(len(TOPS), p=(0.6, 0.25, 0.15))])
    stain(canvas, body, disc(body, radius), roof)
    far = np.hypot(body.along, body.across)
    if rng.random() < 0.35:
        stain(canvas, body, disc(body, radius - 2.2), jittered(rng, (0.22, 0.21, 0.20), 0.3))
    else:
        light = np.clip((body.along * 0.7 + body.across * 0.7) / radius, -1, 1)
        canvas.light[body.window] *= (1 + 0.14 * light * disc(body, radius))[..., None].astype(np.float32)
    stain(canvas, body, 0.35 * np.clip(1 - np.abs(far - radius + 1), 0, 1), (0.2, 0.2, 0.2))
    stain(canvas, body, disc(body, radius) * slab(body, radius, 1.4, (radius / 2, 0)), (0.25, 0.25, 0.25))


def draw_car(canvas: Canvas, centre: Point, angle: float) -> None:
    """Draw a car with windscreens and its shadow."""
    rng = canvas.rng
    length, width = rng.uniform(8.2, 10.2), rng.uniform(3.6, 4.3)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (length / 2, width / 2)
    if not claim(canvas, CAR, turned(corners, centre, angle), 1):
        return
    body, shadow = cast(canvas, centre, angle, length / 2 + 2, 2.2)
    darken(canvas, shadow, slab(shadow, length, width))
    paint = jittered(rng, BODIES[rng.integers(len(BODIES))])
    stain(canvas, body, slab(body, length, width), paint)
    stain(canvas, body, slab(body, 1.3, width - 0.8, (0.16 * length, 0)), (0.045, 0.05, 0.06))
    stain(canvas, body, slab(body, 1.0, width - 0.9, (-0.3 * length, 0)), (0.045, 0.05, 0.06))


def draw_building(canvas: Canvas, centre: Point, angle: float, sides: Point) -> None:
    """Draw a roof, one half of it in the light, and its shadow."""
    rng = canvas.rng
    for step in np.linspace(0.2, 1, 4):
        body, shadow = cast(canvas, centre, angle, np.hypot(*sides) / 2 + 2, step * rng.uniform(6, 9))
        darken(canvas, shadow, slab(shadow, *sides), 0.2)
    roof = jittered(rng, ROOFS[rng.integers(len(ROOFS))], 0.2)
    stain(canvas, body, slab(body, *sides), roof)
    stain(canvas, body, slab(body, *sides) * (body.across < 0), jittered(rng, roof, 0.2))
    ribs = 0.06 * (np.sin(body.along * 0.9) > 0) * slab(body, *sides)
    canvas.light[body.window] *= (1 - ribs)[..., None].astype(np.float32)


def draw_tree(canvas: Canvas, centre: Point, radius: float) -> None:
    """Draw a crown and its shadow; none over an object."""
    rng = canvas.rng
    body, shadow = cast(canvas, centre, 0, radius + 2, radius * 0.7)
    if canvas.taken[shadow.window].any() or canvas.taken[body.window].any():
        return
    darken(canvas, shadow, disc(shadow, radius))
    ragged = radius * (1 + 0.16 * np.sin(5 * np.arctan2(body.across, body.along) + rng.uniform(0, 6)))
    cover = np.clip(ragged - np.hypot(body.along, body.across) + 0.5, 0, 1)
    stain(canvas, body, cover, jittered(rng, TREE, 0.35))
    lit = np.exp(-(((body.along - 0.3 * radius) ** 2 + (body.across - 0.3 * radius) ** 2) / (0.35 * radius**2)))
    stain(canvas, body, 0.5 * cover * lit, jittered(rng, GRASS, 0.3))
