"""Several Items of one date and orbit as one scene: their order, and where each lies on the grid that they share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyproj
import pyproj.exceptions

from geodl_core.domain.grid import OUTLINE_POINTS_PER_SIDE, Grid, is_same_crs, map_to_pixel, pixel_to_map
from geodl_core.domain.pixels.chip import Mask
from geodl_core.domain.plan.plan import Layer, Plan, live_bits, tile_at, tile_count, tile_shape
from geodl_core.domain.window import Window
from geodl_core.errors import InputError, ItemError

Order = Literal["first", "cloud"]
ORDERS: tuple[Order, ...] = ("first", "cloud")
MOST_SPREAD = 20
"""Pixels of a mosaic for each that its Items have: beyond it they lie too far apart to be one scene."""
TIMES = ("datetime", "start_datetime", "end_datetime")


def order_items(items: Sequence[Mapping[str, Any]], order: Order) -> list[Mapping[str, Any]]:
    """Return Items in the order in which a pixel is looked for.

    Args:
        items: as given.
        order: `first` as given; `cloud`: the least cloudy first (`eo:cloud_cover`; Items without it last), then by
            time and id.

    Raises:
        InputError: one is given twice.
    """
    keys = [(item.get("collection"), item["id"], str(item.get("bbox"))) for item in items]
    twice = next((key[1] for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise InputError(f"--mosaic: expected different Items, found {twice} twice")
    return list(items) if order == "first" else sorted(items, key=_cloudiness)


def _cloudiness(item: Mapping[str, Any]) -> tuple[float, datetime, str]:
    properties = item.get("properties") or {}
    cover = properties.get("eo:cloud_cover")
    share = float(cover) if isinstance(cover, int | float) and not isinstance(cover, bool) else np.inf
    times = (_instant(properties[name]) for name in TIMES if properties.get(name))
    return share, next(times, _instant(None)), str(item["id"])


def window_on(grid: Grid, other: Grid) -> tuple[Window, bool]:
    """Return the pixels of a grid, which may reach beyond it, that another one covers, and whether just those.

    Raises:
        ItemError: the other cannot be shown in the grid's CRS.
    """
    corners = np.array([(0, 0), (other.height, 0), (0, other.width), other.shape], float)
    if is_same_crs(grid.crs, other.crs):
        found = np.array([map_to_pixel(grid, *pixel_to_map(other, row, col)) for row, col in corners])
        top, left = map(int, np.rint(found[0]))
        if np.allclose(found - (top, left), corners, rtol=0, atol=1e-3):
            return Window(top, left, top + other.height, left + other.width), True
    t = np.linspace(0.0, 1.0, OUTLINE_POINTS_PER_SIDE)
    rows = np.concatenate([t * 0, t, t * 0 + 1, t]) * other.height
    cols = np.concatenate([t, t * 0 + 1, t, t * 0]) * other.width
    places = np.array([pixel_to_map(other, row, col) for row, col in zip(rows, cols, strict=True)])
    try:
        x, y = pyproj.Transformer.from_crs(other.crs, grid.crs, always_xy=True).transform(*places.T)
    except pyproj.exceptions.ProjError:
        x = y = [np.inf]
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ItemError(f"a raster in {other.crs[:40]} cannot be shown in {grid.crs[:40]}, that of the first Item")
    positions = np.array([map_to_pixel(grid, *place) for place in zip(x, y, strict=True)])
    (top, left), (bottom, right) = np.floor(positions.min(0)) - 1, np.ceil(positions.max(0)) + 1
    return Window(int(top), int(left), int(bottom), int(right)), False


def shared_grid(first: Grid, windows: Sequence[Window]) -> tuple[Grid, list[Window]]:
    """Return the grid on the first one's pixel lines that holds all windows, and the windows on it.

    Args:
        first: on which the windows are counted.
        windows: of all Items.

    Raises:
        ItemError: they lie far apart.
    """
    top, left = min(window.top for window in windows), min(window.left for window in windows)
    moved = [shift(window, -top, -left) for window in windows]
    whole = Window(0, 0, max(window.bottom for window in moved), max(window.right for window in moved))
    covered = sum(window.height * window.width for window in moved)
    if whole.height * whole.width > MOST_SPREAD * covered:
        raise ItemError(
            f"the Items lie far apart: a grid of {whole.width} × {whole.height} pixels would hold them",
            hint="without --mosaic they are run one by one",
        )
    return part_grid(first, Window(top, left, top + whole.height, left + whole.width)), moved


def part_grid(grid: Grid, window: Window) -> Grid:
    """Return the grid of a window, which may reach beyond its grid."""
    a, b, _, d, e, _ = grid.transform
    x, y = pixel_to_map(grid, window.top, window.left)
    return Grid(grid.crs, (a, b, x, d, e, y), window.height, window.width)


def shift(window: Window, rows: int, cols: int) -> Window:
    """Return a window moved by so many rows and columns."""
    return Window(window.top + rows, window.left + cols, window.bottom + rows, window.right + cols)


def layer_plan(plan: Plan, layer: Layer) -> Plan:
    """Return a plan of one of a mosaic's Items alone, on its own part of the grid, to read it by; no tile is live."""
    grid = part_grid(plan.grid, layer.window)
    return replace(
        plan,
        grid=grid,
        sources=layer.sources,
        masks=layer.masks,
        layers=(),
        live=bytes((tile_count(grid, plan.core_px) + 7) // 8),
        area=None,
        panel_cols=0,
    )


def live_of_layers(grid: Grid, core_px: tuple[int, int], layers: Iterable[tuple[Window, Plan]]) -> Mask:
    """Say for each (row, column) of a mosaic's tiles whether it touches a live tile of an Item's own plan.

    Args:
        grid: of the mosaic.
        core_px: of its tiles.
        layers: where each Item lies, and its plan on just that part of the grid.
    """
    live = np.zeros(tile_shape(grid, core_px), np.bool_)
    for window, plan in layers:
        for index in np.flatnonzero(live_bits(plan)):
            core = shift(tile_at(plan, int(index)).core, window.top, window.left)
            live[_tiles(core.top, core.bottom, core_px[0]), _tiles(core.left, core.right, core_px[1])] = True
    return live


def _tiles(start: int, stop: int, side: int) -> slice:
    return slice(start // side, -(-stop // side))


def chip_dtype_of(names: Iterable[str]) -> str:
    """Return the type that holds the chips of all Items."""
    common = str(np.result_type(*map(np.dtype, names)))
    return common if common in ("uint8", "uint16", "int16") else "float32"


def joint_properties(items: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Return the named properties that all Items share; times that differ become a span (STAC: `datetime` null)."""
    facts = [item.get("properties") or {} for item in items]
    first = facts[0]
    shared = {name: first[name] for name in names if name in first and all(name in other for other in facts)}
    shared = {name: value for name, value in shared.items() if all(other[name] == value for other in facts)}
    if all(other.get(name) == first.get(name) for other in facts for name in TIMES):
        return shared
    starts = [other.get("start_datetime") or other.get("datetime") for other in facts]
    ends = [other.get("end_datetime") or other.get("datetime") for other in facts]
    span = {
        "datetime": None,
        "start_datetime": min(filter(None, starts), key=_instant, default=None),
        "end_datetime": max(filter(None, ends), key=_instant, default=None),
    }
    return {**shared, **span}


def _instant(text: Any) -> datetime:
    """Return a time; one that cannot be read is the earliest."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def fill_of(scale: Sequence[float], offset: Sequence[float], floor: Sequence[float]) -> npt.NDArray[np.float32]:
    """Return (C, 1, 1): what a stored 0 becomes."""
    return scaled(np.zeros((len(scale), 1, 1), np.float32), scale, offset, floor)


def scaled(
    pixels: npt.NDArray[np.float32], scale: Sequence[float], offset: Sequence[float], floor: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Return (C, h, w) max(stored, floor) × scale + offset in float32, as the network's graph computes it."""
    factors, summands = (np.asarray(values, np.float32)[:, None, None] for values in (scale, offset))
    if floor:
        pixels = np.maximum(pixels, np.asarray(floor, np.float32)[:, None, None])
    return np.asarray(pixels * factors + summands, np.float32)
