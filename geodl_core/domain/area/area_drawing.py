"""Areas drawn in pixels: their sides are straight in degrees, and seldom so on a grid."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyproj
import pyproj.exceptions
import shapely

from geodl_core.domain.grid import WGS84, Coordinates, Grid
from geodl_core.errors import ItemError

TOLERANCE_PX = 0.05
"""How far a line between neighbouring points may lie from the side it stands for, at three places of it."""
FIRST_POINTS = 16
"""Sides are cut in at least so many along an area's extent before they are measured."""
MAX_HALVINGS = 24
MAX_POINTS = 5_000_000
LATTICE = 33
"""Points a side by which a grid's surroundings in degrees are found."""
MARGIN = 0.02
"""Of the grid's size, by which its surroundings reach further."""
WIDEST_DEG = 300
OVERLAP_DEG = 1e-9
"""Of the halves of the Earth in which a wide area is drawn, so that they become one again."""

Box = tuple[float, float, float, float]
"""West, south, east, north."""


def drawn_pieces(shape: shapely.Geometry, grid: Grid) -> list[shapely.Geometry]:
    """Return the parts of an area on a grid and one pixel around it in pixels: x = column, y = row.

    Sides are straight in longitude and latitude (RFC 7946, section 3.1.1), so they are given points in between until
    they lie within a tenth of a pixel of where they belong.

    Args:
        shape: Polygon or MultiPolygon in degrees.
        grid: the grid.

    Returns:
        Valid polygons, which may overlap; whole numbers are pixels' corners.

    Raises:
        ItemError: the grid has no place on Earth, or a part of the area none in the grid's CRS.
    """
    earth = _earth(grid)
    frame = (-1.0, -1.0, grid.width + 1.0, grid.height + 1.0)
    return [_cut(_drawn(piece, earth), frame) for piece in _around(shape, earth)]


@dataclass(frozen=True, slots=True)
class _Earth:
    """Where a grid lies on Earth."""

    to_pixels: Callable[[Coordinates], Coordinates]
    """(N, 2) longitude, latitude → column, row; not finite where there is none."""
    boxes: tuple[Box, ...]
    """The grid's surroundings; longitudes run on beyond 180 without a jump."""


def _earth(grid: Grid) -> _Earth:
    lattice = np.linspace(-MARGIN, 1 + MARGIN, LATTICE)
    cols, rows = np.meshgrid(lattice * grid.width, lattice * grid.height)
    a, b, c, d, e, f = grid.transform
    x, y = a * cols + b * rows + c, d * cols + e * rows + f
    try:
        lon, lat = _transformer(grid.crs, is_over=False).transform(x, y, direction="INVERSE")
        place = np.isfinite(lon) & np.isfinite(lat)
        if not place.any():
            raise ItemError(f"the scene has no place on Earth when read as {grid.crs[:60]}")
        middle = np.flatnonzero(place)[np.count_nonzero(place) // 2]
        is_over = _is_cylindrical(grid.crs, lon.flat[middle], lat.flat[middle])
        forward = _transformer(grid.crs, is_over=is_over)
        lon, lat = forward.transform(x, y, direction="INVERSE")
    except pyproj.exceptions.ProjError as error:
        raise ItemError(f"the scene has no place on Earth when read as {grid.crs[:60]}") from error
    inverse = ~grid.affine

    def to_pixels(points: Coordinates) -> Coordinates:
        x, y = forward.transform(points[:, 0], points[:, 1])
        with np.errstate(invalid="ignore"):  # infinite times zero, where there is no place
            return np.column_stack(
                [inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f]
            )

    centre = lon.flat[middle]
    with np.errstate(invalid="ignore"):
        east = lon - centre if is_over else (lon - centre + 180) % 360 - 180
    poles = [pole for pole in (-90.0, 90.0) if _is_near(to_pixels(np.array([[centre, pole]])), grid)]
    return _Earth(to_pixels, tuple(_boxes(float(centre), east, lat, None if is_over else poles)))


def _is_cylindrical(crs: str, lon: float, lat: float) -> bool:
    """Say whether x grows evenly with longitude on and on, so that a grid may run on over the CRS's border."""
    x, _ = _transformer(crs, is_over=True).transform(lon + np.array([0, 120, 360]), np.full(3, lat))
    third, turn = x[1] - x[0], x[2] - x[0]
    return bool(np.isfinite(x).all() and turn != 0 and abs(turn - 3 * third) < 1e-6 * abs(turn))


def _is_near(pixel: Coordinates, grid: Grid) -> bool:
    share = pixel[0] / (grid.width, grid.height)
    return bool(((share >= -MARGIN) & (share <= 1 + MARGIN)).all())


def _boxes(centre: float, east: Coordinates, lat: Coordinates, poles: list[float] | None) -> Iterator[Box]:
    """Give the boxes in degrees that hold a grid; two halves that meet where one would meet itself.

    Args:
        centre: longitude of the grid's centre.
        east: (n, n) degrees from there to the points of the lattice.
        lat: (n, n) latitudes of these.
        poles: latitudes of the poles that lie on the grid, None on a cylinder, where nothing meets itself.
    """
    if not (np.isfinite(east).all() and np.isfinite(lat).all()):
        south, north = -90.0, 90.0
    else:
        steps = [max(float(np.abs(np.diff(values, axis=axis)).max()) for axis in (0, 1)) for values in (east, lat)]
        south, north = max(-90.0, float(lat.min()) - steps[1]), min(90.0, float(lat.max()) + steps[1])
        if poles is None or (not poles and np.ptp(east) + 2 * steps[0] < WIDEST_DEG):
            yield centre + float(east.min()) - steps[0], south, centre + float(east.max()) + steps[0], north
            return
        south, north = min([south, *poles]), max([north, *poles])
    yield centre - 180 - OVERLAP_DEG, south, centre + OVERLAP_DEG, north
    yield centre - OVERLAP_DEG, south, centre + 180 + OVERLAP_DEG, north


def _around(shape: shapely.Geometry, earth: _Earth) -> Iterator[shapely.Geometry]:
    """Give the parts of an area that lie in a grid's surroundings, their longitudes running on as these do."""
    west, _, east, _ = shape.bounds
    for left, south, right, north in earth.boxes:
        turned = []
        for turn in (-720, -360, 0, 360, 720):
            if west + turn < right and east + turn > left:
                part = _cut(shape, (left - turn, south, right - turn, north))
                turned.append(shapely.transform(part, lambda points, turn=turn: points + np.array([turn, 0])))
        merged = turned[0] if len(turned) == 1 else shapely.union_all(turned)
        polygons = [part for part in shapely.get_parts(merged) if part.geom_type == "Polygon" and part.area > 0]
        if polygons:
            yield shapely.MultiPolygon(polygons)


def _cut(shape: shapely.Geometry, box: Box) -> shapely.Geometry:
    left, bottom, right, top = shape.bounds
    is_inside = box[0] <= left and box[1] <= bottom and right <= box[2] and top <= box[3]
    return shape if is_inside else shapely.intersection(shape, shapely.box(*box))


def _drawn(shape: shapely.Geometry, earth: _Earth) -> shapely.Geometry:
    """Return polygons in degrees as valid ones in pixels, with as many points more as it takes.

    Raises:
        ItemError: a part has no place in the grid's CRS.
    """
    left, bottom, right, top = shape.bounds
    shape = shapely.segmentize(shape, max(right - left, top - bottom) / FIRST_POINTS)
    kind, points, (rings, *parts) = shapely.to_ragged_array([shape])
    ring = np.repeat(np.arange(len(rings) - 1), np.diff(rings))
    pixels, ring = _densified(points, ring, earth.to_pixels)
    starts = np.searchsorted(ring, np.arange(len(rings)))
    drawn = shapely.from_ragged_array(kind, pixels, (starts, *parts))[0]
    return drawn if shapely.is_valid(drawn) else shapely.make_valid(drawn, method="structure", keep_collapsed=False)


def _densified(
    points: Coordinates, ring: npt.NDArray[np.int64], to_pixels: Callable[[Coordinates], Coordinates]
) -> tuple[Coordinates, npt.NDArray[np.int64]]:
    """Return rings in pixels, their sides halved until straight lines stand for them.

    Args:
        points: (N, 2) in degrees.
        ring: (N,) which ring a point belongs to, ascending.
        to_pixels: as in `_Earth`.

    Returns:
        (M, 2) pixels and (M,) rings.
    """
    pixels = to_pixels(points)
    is_open = np.append(ring[1:] == ring[:-1], False)
    for _ in range(MAX_HALVINGS):
        if not np.isfinite(pixels).all() or len(points) > MAX_POINTS:
            break
        sides = np.flatnonzero(is_open)
        bent = sides[_is_bent((points[sides], points[sides + 1]), (pixels[sides], pixels[sides + 1]), to_pixels)]
        if not len(bent):
            return pixels, ring
        is_open[:] = False
        is_open[bent] = True
        middle = (points[bent] + points[bent + 1]) / 2
        points, pixels = (
            np.insert(old, bent + 1, new, axis=0) for old, new in ((points, middle), (pixels, to_pixels(middle)))
        )
        ring, is_open = np.insert(ring, bent + 1, ring[bent]), np.insert(is_open, bent + 1, np.True_)
    raise ItemError(
        "the area of interest cannot be drawn in the scene's CRS: a part of it has no place there",
        hint="give an area closer to the scene",
    )


def _is_bent(
    ends: tuple[Coordinates, Coordinates],
    pixels: tuple[Coordinates, Coordinates],
    to_pixels: Callable[[Coordinates], Coordinates],
) -> npt.NDArray[np.bool_]:
    """Say which sides lie away from the straight line between their ends; quarters show an S whose middle does not."""
    apart = np.zeros(len(ends[0]))
    for share in (0.25, 0.5, 0.75):
        found = to_pixels(ends[0] + share * (ends[1] - ends[0]))
        straight = pixels[0] + share * (pixels[1] - pixels[0])
        with np.errstate(invalid="ignore"):
            apart = np.maximum(apart, np.hypot(*(found - straight).T))
    return np.asarray(~(apart <= TOLERANCE_PX))


@lru_cache(maxsize=64)
def _transformer(crs: str, is_over: bool) -> pyproj.Transformer:
    """Return the way from longitude and latitude; `is_over`: longitudes run on beyond the CRS's border."""
    return pyproj.Transformer.from_crs(WGS84, crs, always_xy=True, force_over=is_over)
