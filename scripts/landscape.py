"""Draw a synthetic landscape of materials: terrain, water, parcels, roads and towns, each layer over the last.

Everything is drawn from a seed: the same size and seed give the same land.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# name: class, then reflectance in the order of BANDS
MATERIALS: dict[str, tuple[int, tuple[float, ...]]] = {
    "lake": (10, (0.026, 0.030, 0.036, 0.020, 0.014, 0.008)),
    "shallow": (10, (0.034, 0.044, 0.062, 0.036, 0.022, 0.011)),
    "river": (10, (0.036, 0.046, 0.064, 0.046, 0.026, 0.013)),
    "conifer": (20, (0.014, 0.018, 0.032, 0.018, 0.210, 0.085)),
    "mixed": (20, (0.016, 0.022, 0.042, 0.024, 0.280, 0.115)),
    "broadleaf": (20, (0.018, 0.026, 0.054, 0.029, 0.350, 0.150)),
    "sprout": (30, (0.052, 0.062, 0.086, 0.092, 0.250, 0.250)),
    "young": (30, (0.042, 0.050, 0.082, 0.070, 0.320, 0.220)),
    "green": (30, (0.030, 0.038, 0.076, 0.042, 0.430, 0.185)),
    "lush": (30, (0.026, 0.032, 0.070, 0.030, 0.500, 0.165)),
    "meadow": (30, (0.032, 0.042, 0.080, 0.054, 0.370, 0.215)),
    "flowering": (30, (0.040, 0.048, 0.126, 0.108, 0.450, 0.190)),
    "ripe": (30, (0.066, 0.080, 0.124, 0.150, 0.300, 0.300)),
    "moist soil": (40, (0.056, 0.066, 0.086, 0.108, 0.150, 0.215)),
    "dry soil": (40, (0.080, 0.096, 0.130, 0.168, 0.225, 0.310)),
    "sand": (40, (0.110, 0.132, 0.172, 0.206, 0.256, 0.335)),
    "rock": (40, (0.100, 0.112, 0.132, 0.146, 0.176, 0.230)),
    "asphalt": (50, (0.076, 0.084, 0.094, 0.100, 0.120, 0.136)),
    "tiles": (50, (0.074, 0.080, 0.102, 0.160, 0.210, 0.230)),
    "slate": (50, (0.090, 0.100, 0.112, 0.116, 0.135, 0.150)),
    "metal": (50, (0.150, 0.168, 0.182, 0.188, 0.215, 0.205)),
    "garden": (50, (0.050, 0.058, 0.084, 0.076, 0.230, 0.180)),
}
CODE = {name: code for code, name in enumerate(MATERIALS)}
CLASS_OF = np.array([row[0] for row in MATERIALS.values()], np.uint8)
SPECTRA = np.array([row[1] for row in MATERIALS.values()], np.float32)
FIELD_SHARES = (  # cumulative share of parcels, material
    (0.09, "sprout"),
    (0.20, "young"),
    (0.37, "green"),
    (0.49, "lush"),
    (0.64, "meadow"),
    (0.69, "flowering"),
    (0.81, "ripe"),
    (0.91, "moist soil"),
    (1.00, "dry soil"),
)


@dataclass(frozen=True, slots=True)
class Land:
    """What lies where, and how it shines."""

    material: Array
    """(size, size) uint8, a row of `MATERIALS`."""
    visible: Array
    """(size, size) float32, factor on the reflectance of bands below 0.7 µm."""
    infrared: Array
    """(size, size) float32, factor on the others."""


@dataclass(frozen=True, slots=True)
class Parcels:
    """Fields in regions of one direction; regions meet along roads and hedges."""

    chance: Array
    """(size, size) float32, one number in [0, 1) for each parcel."""
    margin_px: Array
    """Distance to the edge of the parcel."""
    across_px: Array
    """Coordinate across the rows of the parcel."""
    road_px: Array
    """Distance to the border of the region."""
    road_chance: Array
    """One number in [0, 1) for each border between two regions."""


def draw_land(rng: np.random.Generator, size: int) -> Land:
    """Paint the layers over each other, from the fields up to the roads and towns."""
    broad = float(np.clip(size / 4, 120, 330))
    height = fractal(rng, size, broad, 7, 0.46)
    river_px, width_px, streams_px = draw_rivers(rng, size)
    height_cut = height - 1.1 * np.exp(-((river_px / 60) ** 2))
    shade = hillshade(height_cut)
    lake = height < np.quantile(height, 0.055)
    river = (river_px < width_px) | (streams_px < 0.9)
    water = lake | river
    parcels = draw_parcels(rng, size)

    material = np.full((size, size), CODE["dry soil"], np.uint8)
    for share, name in reversed(FIELD_SHARES):
        material[parcels.chance < share] = CODE[name]
    material[parcels.margin_px < 0.55] = CODE["meadow"]
    paint_wild(rng, material, parcels, height_cut, river_px - width_px)
    shore = height < np.quantile(height, 0.047)
    material[water] = CODE["shallow"]
    material[lake & shore] = CODE["lake"]
    material[river & ~lake] = CODE["river"]
    paint_roads(rng, material, parcels, lake)
    paint_towns(rng, material, parcels, water, shade)
    return Land(material, *shine(rng, material, parcels, shade))


def lattice(size: int, cell_px: float, phase: float) -> Array:
    """Return the (size, n) weights of a cubic B-spline with a knot each `cell_px` pixels."""
    at = np.arange(size) / cell_px + phase
    knot = at.astype(np.int64)
    t = at - knot
    weights = np.zeros((size, int(knot[-1]) + 4), np.float32)
    rows = np.arange(size)
    spline = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    for step, values in enumerate(spline):
        weights[rows, knot + step] = values / 6
    return weights


def fractal(rng: np.random.Generator, size: int, wave_px: float, octaves: int, persistence: float = 0.5) -> Array:
    """Return smooth noise of zero mean and unit deviation; each octave halves the wavelength."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        cell_px = max(wave_px / 2**octave / 2, 1.0)
        down, across = (lattice(size, cell_px, phase) for phase in rng.random(2))
        knots = rng.standard_normal((down.shape[1], across.shape[1]), np.float32)
        total += np.float32(persistence**octave) * (down @ knots @ across.T)
    total -= total.mean()
    return total / total.std()


def chance_of(*keys: Array) -> Array:
    """Return one float32 in [0, 1) for each combination of integers: a hash, so that order does not matter."""
    mixed = np.uint32(0x9E3779B9)
    for key in keys:
        mixed = (mixed ^ key.astype(np.uint32)) * np.uint32(0x85EBCA6B)
        mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        mixed ^= mixed >> np.uint32(16)
    return (mixed >> np.uint32(8)).astype(np.float32) / np.float32(2**24)


def distance_to_zero(field: Array) -> Array:
    """Return the distance in pixels to where `field` is zero, to first order: good near the line."""
    down, across = np.gradient(field)
    return np.abs(field) / np.maximum(np.hypot(down, across), 0.25)


def draw_rivers(rng: np.random.Generator, size: int) -> tuple[Array, Array, Array]:
    """Return the distance to the river, its half width, and the distance to the streams that join it."""
    rows, cols = np.mgrid[:size, :size].astype(np.float32)
    bend = 34 * fractal(rng, size, 135, 3, 0.4)
    course = fractal(rng, size, size * 0.8, 1)
    side = cols - size * rng.uniform(0.35, 0.55) - (rows - size / 2) * rng.uniform(-0.5, 0.5)
    river = side + 0.1 * size * course + bend
    river_px = distance_to_zero(river)
    width_px = np.float32(4.2) + 1.3 * fractal(rng, size, 120, 2)
    streams_px = np.full((size, size), np.inf, np.float32)
    for _ in range(max(2, size // 450)):
        bank = rng.choice((-1.0, 1.0))
        line = rows - size * rng.uniform(0.1, 0.9) - 0.4 * bank * cols * rng.uniform(-1, 1)
        distance = distance_to_zero(line + 14 * fractal(rng, size, 90, 3, 0.45))
        streams_px = np.minimum(streams_px, np.where(river * bank > 0, distance, np.inf))
    return river_px, np.maximum(width_px, 2.0), streams_px


def hillshade(height: Array) -> Array:
    """Return the light on the slopes around 0, from the south-east, as in a morning overpass."""
    down, across = np.gradient(height)
    light = down + across
    return light / (light.std() + 1e-6)


def draw_parcels(rng: np.random.Generator, size: int, cell_px: int = 88) -> Parcels:
    """Divide the plane into Voronoi regions and each region into parcels of its own direction and size."""
    count = size // cell_px + 4
    spots = (np.arange(count) - 1.5) * cell_px
    jitter = rng.uniform(-0.46, 0.46, (2, count, count)) * cell_px
    spot_row = (spots[:, None] + jitter[0]).astype(np.float32).ravel()
    spot_col = (spots[None, :] + jitter[1]).astype(np.float32).ravel()
    rows, cols = np.mgrid[:size, :size].astype(np.float32)
    # A slight bend, since surveyors follow the ground.
    rows = np.clip(rows + 3.5 * fractal(rng, size, 110, 3), 0, size - 1)
    cols = np.clip(cols + 3.5 * fractal(rng, size, 110, 3), 0, size - 1)
    first, second, border_px = nearest_two(rows, cols, spot_row, spot_col, cell_px)

    angle = rng.uniform(0, np.pi, count * count).astype(np.float32)
    length = rng.uniform(34, 105, count * count).astype(np.float32)[first]
    width = rng.uniform(8, 36, count * count).astype(np.float32)[first]
    cos, sin = np.cos(angle)[first], np.sin(angle)[first]
    across = (rows - spot_row[first]) * cos - (cols - spot_col[first]) * sin
    along = (rows - spot_row[first]) * sin + (cols - spot_col[first]) * cos
    strip = np.floor(across / width)
    along = along / length + chance_of(first, strip.astype(np.int32))
    part = np.floor(along)
    margin = np.minimum(edge(across / width) * width, edge(along) * length)
    low, high = np.minimum(first, second), np.maximum(first, second)
    return Parcels(
        chance=chance_of(first, strip.astype(np.int32), part.astype(np.int32), np.array([rng.integers(2**31)])),
        margin_px=np.minimum(margin, border_px),
        across_px=across,
        road_px=border_px,
        road_chance=chance_of(low, high),
    )


def edge(at: Array) -> Array:
    """Return the distance to the nearest integer."""
    return np.abs(at - np.rint(at))


def nearest_two(rows: Array, cols: Array, spot_row: Array, spot_col: Array, cell_px: int) -> tuple[Array, Array, Array]:
    """Return the nearest and second nearest spot of each pixel and the distance to the line between them."""
    count = int(np.sqrt(len(spot_row)))
    base = (np.floor(rows / cell_px).astype(np.int32) + 1) * count
    base += np.floor(cols / cell_px).astype(np.int32) + 1
    first, second = np.zeros_like(base), np.zeros_like(base)
    best = np.full(rows.shape, np.inf, np.float32)
    next_best = best.copy()
    for step in [down * count + across for down in range(-1, 3) for across in range(-1, 3)]:
        spot = base + step
        squared = (rows - spot_row[spot]) ** 2 + (cols - spot_col[spot]) ** 2
        nearer, near = squared < best, squared < next_best
        second = np.where(nearer, first, np.where(near, spot, second))
        next_best = np.where(nearer, best, np.where(near, squared, next_best))
        first, best = np.where(nearer, spot, first), np.where(nearer, squared, best)
    apart = np.hypot(spot_row[first] - spot_row[second], spot_col[first] - spot_col[second])
    return first, second, (next_best - best) / (2 * apart)


def paint_wild(rng: np.random.Generator, material: Array, parcels: Parcels, height: Array, bank_px: Array) -> None:
    """Paint forest, hedges, sand banks and rock: what follows the terrain rather than the farmer."""
    size = len(material)
    wish = 0.6 * height + fractal(rng, size, 170, 5, 0.55) + 0.9 * (parcels.chance - 0.5)
    wish += 1.6 * np.exp(-((bank_px / 5) ** 2)) * (fractal(rng, size, 40, 2) > 0)
    wood = wish > np.quantile(wish, 0.66)
    hedge = (parcels.road_px < 1.1) & (parcels.road_chance > 0.68)
    blend = fractal(rng, size, 60, 4, 0.6) + 0.5 * height
    wood |= hedge
    for name, above in (("broadleaf", -np.inf), ("mixed", -0.1), ("conifer", 0.6)):
        material[wood & (blend > above)] = CODE[name]
    gravel = fractal(rng, size, 34, 3)
    material[(bank_px < 1.8) & (gravel > 1.5)] = CODE["sand"]
    crest = height + 0.25 * fractal(rng, size, 24, 3, 0.7)
    material[crest > np.quantile(crest, 0.994)] = CODE["rock"]
    pit = (parcels.chance * 997 % 1 < 0.012) & (parcels.margin_px > 1.5)
    material[pit & ~wood] = CODE["sand"]


def paint_roads(rng: np.random.Generator, material: Array, parcels: Parcels, lake: Array) -> None:
    """Paint the country roads between regions and one trunk road; both bridge the river, neither a lake."""
    size = len(material)
    rows, cols = np.mgrid[:size, :size].astype(np.float32)
    slope = rng.uniform(-0.4, 0.4)
    line = rows - size * rng.uniform(0.35, 0.65) - slope * (cols - size / 2)
    trunk_px = distance_to_zero(line + 0.05 * size * fractal(rng, size, size * 0.7, 1))
    country = (parcels.road_px < 0.72) & (parcels.road_chance < 0.5)
    material[(country | (trunk_px < 1.5)) & ~lake] = CODE["asphalt"]
    # The bank between the carriageways is what makes a trunk road readable at 10 m.
    material[(trunk_px < 0.35) & ~lake] = CODE["slate"]


def paint_towns(rng: np.random.Generator, material: Array, parcels: Parcels, water: Array, shade: Array) -> None:
    """Paint towns at the crossings of roads, on dry and rather flat ground."""
    size = len(material)
    wanted = max(3, round((size / 366) ** 2 * 0.9))
    reach = 0.04 * size
    spots = rng.integers(round(reach), round(size - reach), (200 * wanted, 2))
    row, col = spots.T
    cost = parcels.road_px[row, col] + 4 * np.abs(shade[row, col]) + 1e3 * water[row, col]
    towns: list[tuple[int, int]] = []
    radii = 11 + 32 * rng.random(wanted) ** 2
    radii[0] = min(0.07 * size + 4, 75)
    for index in np.argsort(cost, kind="stable"):
        near = (np.hypot(row[index] - r, col[index] - c) for r, c in towns)
        if min(near, default=np.inf) > max(80, 2 * radii[0]):
            towns.append((int(row[index]), int(col[index])))
        if len(towns) == wanted:
            break
    ragged = fractal(rng, size, 16, 3, 0.6)
    for (r, c), radius in zip(towns, radii, strict=False):
        paint_town(rng, material, (r, c), float(radius), (water, ragged))


def paint_town(
    rng: np.random.Generator,
    material: Array,
    centre: tuple[int, int],
    radius: float,
    ground: tuple[Array, Array],
) -> None:
    """Paint one town: a ragged disc of streets, roofs and gardens, larger halls towards its edge."""
    size, reach = len(material), int(radius * 1.7)
    window = tuple(slice(max(at - reach, 0), min(at + reach, size)) for at in centre)
    rows, cols = np.mgrid[window].astype(np.float32)
    down, over = rows - centre[0], cols - centre[1]
    water, ragged = (layer[window] for layer in ground)
    angle = rng.uniform(0, np.pi)
    x, y = down * np.cos(angle) - over * np.sin(angle), down * np.sin(angle) + over * np.cos(angle)
    far = np.hypot(x * rng.uniform(0.8, 1.0), y * rng.uniform(1.0, 1.25)) / radius
    inside = (far + 0.24 * ragged < 0.9) & ~water
    salt = np.array([rng.integers(2**31)])
    lot = [np.floor(at / 1.9).astype(np.int32) for at in (x, y)]
    roof = chance_of(*lot, salt)
    dense = 1 - far
    town = np.full(x.shape, CODE["garden"], np.uint8)
    town[roof < 0.46 + 0.3 * dense] = CODE["tiles"]
    town[roof < 0.2 + 0.26 * dense] = CODE["slate"]
    town[roof < 0.03] = CODE["metal"]
    hall = [np.floor(at / step).astype(np.int32) for at, step in ((x, 9.5), (y, 7.5))]
    yard = chance_of(*hall, salt + 1) < np.where(far > 0.55, 0.12, 0.03)
    town[yard] = np.where(roof[yard] < 0.2, CODE["asphalt"], CODE["metal"])
    street = (edge(x / 9.5) * 9.5 < 0.6) | (edge(y / 7.5) * 7.5 < 0.6)
    town[street] = CODE["asphalt"]
    material[window] = np.where(inside, town, material[window])


def shine(rng: np.random.Generator, material: Array, parcels: Parcels, shade: Array) -> tuple[Array, Array]:
    """Return the factors on visible and infrared reflectance: light, canopy, moisture, rows, each parcel's own."""
    size = len(material)
    group = CLASS_OF[material]
    canopy = fractal(rng, size, 7, 2, 0.7)
    moisture = fractal(rng, size, 46, 4, 0.6)
    field = (group == 30) | (material == CODE["moist soil"]) | (material == CODE["dry soil"])
    tone = np.where(field, 0.26 * (parcels.chance * 389 % 1 - 0.5), 0).astype(np.float32)
    tone += np.where(field, 0.035 * np.sin(parcels.across_px * 1.7), 0)
    tone += np.where(field, 0.055, 0.02) * moisture
    tone += np.where(group == 20, 0.10, 0.015) * canopy
    tone += np.where(group == 10, 0, 0.045) * np.clip(shade, -2.5, 2.5)
    tone += np.where(group == 10, 0.05, 0) * moisture
    return 1 + tone, 1 + np.where(field & (group == 30), -0.35, 0.8) * tone
