"""The land of a synthetic harbour: streets, and between them lots of one kind each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from canvas import Canvas, Colour, Point, disc, jittered, paint_slab, patch_at, stain
from harbour_objects import BOXES, draw_building, draw_car, draw_tank, draw_tree

LOT_PX, ROAD_PX = 232, 26
SAND: Colour = (0.36, 0.31, 0.22)
CONCRETE: Colour = (0.235, 0.230, 0.215)
ASPHALT: Colour = (0.105, 0.107, 0.110)
PAINT: Colour = (0.42, 0.42, 0.40)
GROUNDS: tuple[Colour, ...] = ((0.05, 0.08, 0.08), SAND, (0.19, 0.10, 0.07))


@dataclass(frozen=True, slots=True)
class Coast:
    """A straight quay: sea on one side, land on the other."""

    origin: Point
    angle: float
    """Of the quay, in radians from the x axis; land is on its right."""

    def at(self, along: float, inland: float) -> Point:
        """Return the pixel so far along the quay and so far behind it; negative is at sea."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return self.origin[0] + along * cos - inland * sin, self.origin[1] + along * sin + inland * cos


def paint_lots(canvas: Canvas, coast: Coast) -> None:
    """Paint blocks between streets behind the quay, each of one kind, and the cars in the streets."""
    rng, size = canvas.rng, len(canvas.light)
    step = LOT_PX + ROAD_PX
    reach = int(size / step) + 2
    for across in range(reach):
        inland = 58 + ROAD_PX + across * step
        paint_street(canvas, coast, (0, inland - ROAD_PX / 2), coast.angle, 3.2 * size)
        for along in range(-reach, reach):
            middle = coast.at((along + 0.5) * step, inland + LOT_PX / 2)
            if not all(-LOT_PX < at < size + LOT_PX for at in middle):
                continue
            kind = LOTS[rng.choice(len(LOTS), p=LOT_SHARES)]
            kind(canvas, middle, coast.angle)
            if across < reach - 1:
                corner = along * step - ROAD_PX / 2, inland + LOT_PX / 2
                paint_street(canvas, coast, corner, coast.angle + np.pi / 2, step)


def paint_street(canvas: Canvas, coast: Coast, place: Point, angle: float, length: float) -> None:
    """Paint a street with dashes along its middle, and cars that keep to the right."""
    rng = canvas.rng
    centre = coast.at(*place)
    asphalt = jittered(rng, ASPHALT)
    cos, sin = np.cos(angle), np.sin(angle)
    spots = [(centre[0] + at * cos, centre[1] + at * sin) for at in np.arange(-length / 2, length / 2, 16)]
    spots = [spot for spot in spots if all(-24 < side < len(canvas.light) + 24 for side in spot)]
    for spot in spots:
        paint_slab(canvas, spot, angle, (18, ROAD_PX - 6), asphalt)
    for spot in spots:
        paint_slab(canvas, spot, angle, (7, 0.8), PAINT)
        if rng.random() < 0.13:
            lane = rng.choice((-1, 1)) * rng.uniform(4.4, 5.4)
            off = spot[0] - lane * sin, spot[1] + lane * cos
            draw_car(canvas, off, angle + (np.pi if lane < 0 else 0) + rng.normal(0, 0.03))


def paint_tanks(canvas: Canvas, middle: Point, angle: float) -> None:
    """Fill a lot with tanks in their basins, and pipes between."""
    rng = canvas.rng
    paint_slab(canvas, middle, angle, (LOT_PX, LOT_PX), jittered(rng, (0.21, 0.19, 0.15)))
    count = int(rng.integers(2, 6))
    cell = LOT_PX / count
    most = min(0.4 * cell, 38)
    for row in range(count):
        radius = most * rng.uniform(0.62, 1)
        paint_slab(canvas, to_lot(middle, angle, (0, (row + 0.98) * cell - LOT_PX / 2)), angle, (LOT_PX, 1.6), PAINT)
        for col in range(count):
            if rng.random() < 0.86:
                spot = ((col + 0.5) * cell - LOT_PX / 2, (row + 0.45) * cell - LOT_PX / 2)
                draw_tank(canvas, to_lot(middle, angle, spot), max(radius * rng.uniform(0.85, 1), 7))


def paint_parking(canvas: Canvas, middle: Point, angle: float) -> None:
    """Fill a lot with rows of parked cars."""
    rng = canvas.rng
    paint_slab(canvas, middle, angle, (LOT_PX, LOT_PX), jittered(rng, ASPHALT, 0.25))
    full = rng.uniform(0.35, 0.9)
    for row in np.arange(-LOT_PX / 2 + 20, LOT_PX / 2 - 10, 32):
        for col in np.arange(-LOT_PX / 2 + 12, LOT_PX / 2 - 8, 6.6):
            line = to_lot(middle, angle, (col - 3.3, row))
            paint_slab(canvas, line, angle + np.pi / 2, (11, 0.7), PAINT)
            if rng.random() < full:
                spot = to_lot(middle, angle, (col + rng.normal(0, 0.2), row + rng.normal(0, 0.6)))
                draw_car(canvas, spot, angle + np.pi / 2 * rng.choice((-1, 1)) + rng.normal(0, 0.03))


def paint_halls(canvas: Canvas, middle: Point, angle: float) -> None:
    """Fill a lot with halls and a few cars beside them."""
    rng = canvas.rng
    paint_slab(canvas, middle, angle, (LOT_PX, LOT_PX), jittered(rng, CONCRETE, 0.2))
    rows = int(rng.integers(1, 4))
    depth = LOT_PX / rows
    for row in range(rows):
        spot = to_lot(middle, angle, (rng.uniform(-14, 14), (row + 0.5) * depth - LOT_PX / 2))
        draw_building(canvas, spot, angle, (LOT_PX * rng.uniform(0.6, 0.86), depth * rng.uniform(0.5, 0.7)))
        for _ in range(int(rng.integers(0, 7))):
            at = (rng.uniform(-0.44, 0.44) * LOT_PX, (row + 0.06) * depth - LOT_PX / 2)
            draw_car(canvas, to_lot(middle, angle, at), angle + rng.choice((0, np.pi / 2)) + rng.normal(0, 0.1))


def paint_containers(canvas: Canvas, middle: Point, angle: float) -> None:
    """Fill a lot with stacks of containers, which are no cars."""
    rng = canvas.rng
    paint_slab(canvas, middle, angle, (LOT_PX, LOT_PX), jittered(rng, CONCRETE, 0.2))
    for row in np.arange(-LOT_PX / 2 + 14, LOT_PX / 2 - 12, 24):
        for col in np.arange(-LOT_PX / 2 + 18, LOT_PX / 2 - 14, 25):
            for lane in (-6, 0, 6):
                if rng.random() < 0.7:
                    spot = to_lot(middle, angle, (col, row + lane))
                    paint_slab(canvas, spot, angle, (23.5, 5), jittered(rng, BOXES[rng.integers(len(BOXES))], 0.3))


def paint_houses(canvas: Canvas, middle: Point, angle: float) -> None:
    """Fill a lot with houses, gardens, trees and a car here and there."""
    rng = canvas.rng
    for row in (-0.27, 0.27):
        for col in np.arange(-0.42, 0.45, 0.21):
            spot = to_lot(middle, angle, (col * LOT_PX, row * LOT_PX))
            draw_building(canvas, spot, angle, (rng.uniform(19, 30), rng.uniform(17, 24)))
            if rng.random() < 0.6:
                side = np.sign(row)
                drive = to_lot(middle, angle, (col * LOT_PX + 19, row * LOT_PX + side * 26))
                paint_slab(canvas, drive, angle, (10, 44), jittered(rng, CONCRETE))
                draw_car(canvas, drive, angle + np.pi / 2 + rng.normal(0, 0.06))
            if rng.random() < 0.7:
                place = (col * LOT_PX + rng.uniform(-16, 10), row * LOT_PX * 0.35)
                draw_tree(canvas, to_lot(middle, angle, place), rng.uniform(4, 9))


def paint_park(canvas: Canvas, middle: Point, angle: float) -> None:
    """Fill a lot with grass, trees and a round pond or sports ground, which are no tanks."""
    rng = canvas.rng
    spot = to_lot(middle, angle, tuple(rng.uniform(-40, 40, 2)))
    pond = patch_at(canvas, spot, 0, 44)
    stain(canvas, pond, disc(pond, rng.uniform(16, 40)), GROUNDS[rng.integers(len(GROUNDS))])
    for place in rng.uniform(-0.5, 0.5, (int(rng.integers(20, 90)), 2)) * LOT_PX:
        if np.hypot(*place) > 62:
            draw_tree(canvas, to_lot(middle, angle, tuple(place)), rng.uniform(4, 12))


def to_lot(middle: Point, angle: float, place: Point) -> Point:
    """Return the pixel of a place in a lot."""
    cos, sin = np.cos(angle), np.sin(angle)
    return middle[0] + place[0] * cos - place[1] * sin, middle[1] + place[0] * sin + place[1] * cos


LOTS: tuple[Callable[[Canvas, Point, float], None], ...] = (
    *(paint_tanks, paint_parking, paint_halls, paint_containers, paint_houses, paint_park),
)
LOT_SHARES = (0.26, 0.14, 0.2, 0.1, 0.18, 0.12)
