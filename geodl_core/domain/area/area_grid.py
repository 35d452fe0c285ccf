"""Areas of interest on a grid: their shape in pixels, the tiles they meet, the pixels inside."""

import numpy as np
import numpy.typing as npt
import shapely

from geodl_core.domain.area.area import Area, area_bbox, area_shape
from geodl_core.domain.area.area_drawing import drawn_pieces
from geodl_core.domain.grid import Coordinates, Grid, bbox_wgs84, outline_wgs84
from geodl_core.domain.pixels.chip import Mask
from geodl_core.domain.plan.plan import tile_shape
from geodl_core.domain.window import Window
from geodl_core.errors import ItemError

CROSSINGS_AT_ONCE = 20_000_000


def area_on_grid(area: Area, grid: Grid) -> shapely.Geometry:
    """Return the part of an area around a grid in pixels: x = column, y = row, whole numbers are pixels' corners.

    Its sides lie within a tenth of a pixel of where they belong.

    Returns:
        A valid Polygon or MultiPolygon, cut one pixel outside the grid.

    Raises:
        ItemError: the area does not meet the grid, or cannot be drawn in its CRS.
    """
    pieces = drawn_pieces(area_shape(area), grid)
    merged = pieces[0] if len(pieces) == 1 else shapely.union_all(pieces)
    parts = [part for part in shapely.get_parts(merged) if part.geom_type == "Polygon" and part.area > 0]
    shape = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    # A little smaller than the grid, so that an area that only touches it does not count.
    if not shapely.intersects(shape, shapely.box(1e-6, 1e-6, grid.width - 1e-6, grid.height - 1e-6)):
        places = [_text(box) for box in (area_bbox(area), bbox_wgs84(outline_wgs84(grid)))]
        raise ItemError(
            f"the area of interest does not meet the scene: it lies at {places[0]}, the scene at {places[1]}",
            hint="both are west, south, east, north in degrees",
        )
    return shape


def cells_meeting(shape_px: shapely.Geometry, grid: Grid, core_px: tuple[int, int]) -> Mask:
    """Say for each tile whether its core meets a shape: every tile that has pixels inside, and few others.

    Squares of tiles that lie wholly inside or outside are not looked at further.

    Args:
        shape_px: as `area_on_grid` returns it.
        grid: the grid.
        core_px: height and width of a core.

    Returns:
        (tile rows, tile columns).
    """
    shapely.prepare(shape_px)
    rows, cols = tile_shape(grid, core_px)
    step = 1 << (max(rows, cols) - 1).bit_length()
    meets, is_open = np.ones((1, 1), np.bool_), np.ones((1, 1), np.bool_)
    while True:
        row, col = np.nonzero(is_open)
        cells = _squares(row, col, (step * core_px[0], step * core_px[1]), grid)
        found = shapely.intersects(shape_px, cells)
        meets[row, col] = found
        if step == 1:
            return meets
        is_open[row, col] = found & ~shapely.contains_properly(shape_px, cells)
        step //= 2
        finer = np.s_[: -(-rows // step), : -(-cols // step)]
        meets, is_open = (level.repeat(2, 0).repeat(2, 1)[finer] for level in (meets, is_open))


def area_mask(shape_px: shapely.Geometry, window: Window) -> Mask:
    """Say which pixels' centres lie inside a shape; of centres on its sides, those at its left and upper ones do.

    GDAL's rasterize computes in coordinates of its window, so that where a side runs through centres, to rounding, a
    pixel depends on the window asked for (426 of 1,200 windows in a trial). Here a crossing of a side with a row of
    centres is computed from the side alone.

    Args:
        shape_px: as `area_on_grid` returns it; read only, so that threads may share it.
        window: of any size and place; outside the grid there is no area.

    Returns:
        (h, w), True inside.
    """
    if 0 in window.shape:
        return np.zeros(window.shape, np.bool_)
    upper, lower = _sides(shape_px, window)
    if (np.maximum(upper[:, 0], lower[:, 0]) < window.left).all():
        # No side touches the window, so what holds for a pixel holds for all.
        row, _ = _crossings(upper, lower, Window(window.top, window.left, window.top + 1, window.right))
        return np.full(window.shape, len(row) % 2 == 1)
    flips = np.zeros((window.height, window.width + 1), np.bool_)
    step = max(1, CROSSINGS_AT_ONCE // max(1, len(upper)))
    for top in range(window.top, window.bottom, step):
        rows = Window(top, window.left, min(top + step, window.bottom), window.right)
        row, col = _crossings(upper, lower, rows)
        np.logical_xor.at(flips, (row - window.top, col - window.left), np.True_)
    return np.asarray(np.bitwise_xor.accumulate(flips.view(np.uint8)[:, :-1], axis=1).view(np.bool_))


def _squares(
    row: npt.NDArray[np.int64], col: npt.NDArray[np.int64], size_px: tuple[int, int], grid: Grid
) -> npt.NDArray[np.object_]:
    """Return the parts on the grid of the squares in those rows and columns of squares."""
    top, left = row * size_px[0], col * size_px[1]
    bottom, right = np.minimum(top + size_px[0], grid.height), np.minimum(left + size_px[1], grid.width)
    return np.asarray(shapely.box(left, top, right, bottom))


def _sides(shape_px: shapely.Geometry, window: Window) -> tuple[Coordinates, Coordinates]:
    """Return the (N, 2) upper and lower ends of the sides that may cross a row of the window, within or left of it."""
    points, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(shape_px)), return_index=True)
    is_side = ring[1:] == ring[:-1]
    start, end = points[:-1][is_side], points[1:][is_side]
    goes_down = (start[:, 1] <= end[:, 1])[:, None]
    upper, lower = np.where(goes_down, start, end), np.where(goes_down, end, start)
    is_near = (upper[:, 1] < window.bottom) & (lower[:, 1] > window.top)
    is_near &= np.minimum(upper[:, 0], lower[:, 0]) < window.right
    return upper[is_near], lower[is_near]


def _crossings(
    upper: Coordinates, lower: Coordinates, window: Window
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (row, col) of each crossing of a side with a row of centres; col is the first one not left of it.

    Columns left of the window count as its first, those right of it as the one behind its last.
    """
    first = np.clip(_first_centre(upper[:, 1]), window.top, window.bottom)
    count = np.clip(_first_centre(lower[:, 1]), window.top, window.bottom) - first
    side = np.repeat(np.arange(len(upper)), count)
    row = np.arange(len(side)) + np.repeat(first - (np.cumsum(count) - count), count)
    (x, y), (lower_x, lower_y) = upper[side].T, lower[side].T
    crossing = x + (row + 0.5 - y) * (lower_x - x) / (lower_y - y)
    return row, np.clip(_first_centre(crossing), window.left, window.right)


def _first_centre(position: Coordinates) -> npt.NDArray[np.int64]:
    """Return the first pixel whose centre does not lie before a position, without rounding."""
    pixel = np.floor(position)
    return np.asarray((pixel + (position - pixel > 0.5)).astype(np.int64))


def _text(box: tuple[float, float, float, float]) -> str:
    return ", ".join(f"{degrees:.5g}" for degrees in box)
