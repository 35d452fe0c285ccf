"""A picture of the objects that were found, over the scene."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio._err import CPLE_BaseError  # what GDAL raises where rasterio gives it no class of its own
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from geodl_core.domain.classes import ClassEntry
from geodl_core.domain.detection.detections import Detections, take
from geodl_core.errors import StoreError
from geodl_core.io.cog.preview import PREVIEW_PX
from geodl_core.io.store import write_bytes

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) red, green, blue."""
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

PLAIN = 236
"""Grey of what is not there."""
DIMMED = 0.8
"""The scene's share of its brightness, so that colours stand out."""
DOT_PX = 3
"""Side of the smallest dot."""
LEAST_OUTLINE_PX = 8
"""Smaller objects are filled: within their outlines and its edges nothing would be seen of the ground."""
BOLD_PX = 16
"""Larger ones have lines of two pixels."""
EDGE = (16, 16, 16)
"""Round all lines, so that they are seen on any ground."""
MOST_DRAWN = 50_000
"""More objects than this are shown as their density."""
SMOOTHING = 4
"""Times that it is averaged with its neighbour along each side: the binomial 1 4 6 4 1, as wide as a pixel."""
PNG_LEVEL = 3
"""GDAL's own, 6, takes three times as long and saves a tenth."""
CHUNK_OBJECTS = 2048
"""Traced at a time."""


def write_detections_preview(
    target: Path,
    background: Picture | None,
    detections: Detections,
    classes: Sequence[ClassEntry],
    shape: tuple[int, int],
) -> None:
    """Write a PNG of objects in the colours of their classes, at most 1024 pixels on its longer side.

    Objects have their outlines, small ones are dots of their size, of three pixels at least, and very many are shown
    as density. Large ones are drawn first, so that small ones within are seen.

    Args:
        target: the file.
        background: (h, w, 3) the whole grid in any size; None: plain grey.
        detections: in pixels of the grid.
        classes: of the model, with colours.
        shape: height and width of the grid.

    Raises:
        StoreError: it cannot be written.
    """
    share = min(1.0, PREVIEW_PX / max(shape))
    size = max(1, round(shape[0] * share)), max(1, round(shape[1] * share))
    picture = _ground(background, size)
    scale = size[1] / shape[1], size[0] / shape[0]
    if len(detections) > MOST_DRAWN:
        _draw_density(picture, detections, scale, _colours(detections, classes))
    elif len(detections):
        _draw_objects(picture, detections, scale, _colours(detections, classes))
    try:
        content = _png(picture)
    except (RasterioError, CPLE_BaseError) as error:
        raise StoreError(f"{target}: cannot be made: {error}") from error
    write_bytes(target, content)


def _ground(background: Picture | None, size: tuple[int, int]) -> Picture:
    """Return the background in the picture's size, a little darker."""
    if background is None:
        return np.full((*size, 3), PLAIN, np.uint8)
    rows, cols = (
        ((np.arange(side) + 0.5) * have / side).astype(np.int64)
        for side, have in zip(size, background.shape[:2], strict=True)
    )
    return np.asarray(np.rint(background[rows[:, None], cols] * DIMMED), np.uint8)


def _colours(detections: Detections, classes: Sequence[ClassEntry]) -> Picture:
    """Return (N, 3) the colour of each object, that of the edge where the model knows no such class."""
    ids, at = np.unique(detections.class_ids, return_inverse=True)
    known = {entry.value: entry.color for entry in classes}
    return np.array([known.get(int(value), EDGE) for value in ids], np.uint8)[at]


def _bounds(detections: Detections, scale: tuple[float, float]) -> Floats:
    """Return (N, 4) the boxes in the picture."""
    return np.asarray(detections.boxes, np.float64) * (*scale, *scale)


def _draw_density(picture: Picture, detections: Detections, scale: tuple[float, float], colours: Picture) -> None:
    """Mix the colours of objects into the picture by how many lie at a pixel."""
    height, width, _ = picture.shape
    x0, y0, x1, y1 = detections.boxes.T
    cols, rows = (
        ((low + high) * np.float32(share / 2)).astype(np.int64).clip(0, size - 1)
        for low, high, share, size in ((x0, x1, scale[0], width), (y0, y1, scale[1], height))
    )
    places = rows * width + cols
    layers = [np.bincount(places, weight, height * width) for weight in (None, *colours.T)]
    count, *sums = _smoothed(np.asarray(layers, np.float32).reshape(-1, height, width))
    typical = np.percentile(count[count > 0], 90)
    opacity = np.sqrt((count / typical).clip(0, 1))[..., None]
    mixed = np.stack(sums, -1) / np.maximum(count, np.finfo(np.float32).tiny)[..., None]
    picture[:] = np.rint(picture * (1 - opacity) + mixed.clip(0, 255) * opacity)


def _smoothed(layers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (K, H, W) layers smoothed, with what lies beyond the border mirrored at it."""
    beyond = SMOOTHING // 2
    smooth: npt.NDArray[Any] = np.pad(layers, ((0, 0), (beyond, beyond), (beyond, beyond)), "symmetric")
    for _ in range(SMOOTHING):
        smooth = (smooth[:, 1:] + smooth[:, :-1]) / 2
        smooth = (smooth[:, :, 1:] + smooth[:, :, :-1]) / 2
    return np.asarray(smooth, np.float32)


def _draw_objects(picture: Picture, detections: Detections, scale: tuple[float, float], colours: Picture) -> None:
    """Draw outlines and dots, the largest objects first, all with a dark edge."""
    bounds = _bounds(detections, scale)
    sides = bounds[:, 2:] - bounds[:, :2]
    order = np.argsort(-sides.prod(axis=1), kind="stable")
    is_dot = sides.max(axis=1) < LEAST_OUTLINE_PX
    is_bold = sides.min(axis=1) >= BOLD_PX
    height, width = picture.shape[:2]
    # Each pixel holds the rank of the object that is drawn there last; lines get their width by the highest near it.
    ranks = np.full(picture.shape[:2], -1, np.int32)
    for is_wide in (True, False):
        thin = np.full(picture.shape[:2], -1, np.int32)
        drawn = np.flatnonzero(is_bold[order] == is_wide)
        for first in range(0, len(drawn), CHUNK_OBJECTS):
            part = drawn[first : first + CHUNK_OBJECTS]
            dots, others = part[is_dot[order[part]]], part[~is_dot[order[part]]]
            for some, (lines, of) in (
                (others, _outlines(take(detections, order[others]), scale)),
                (dots, _fillings(bounds[order[dots]])),
            ):
                points, line = _points(lines)
                cols, rows = points.clip(0, (width - 1, height - 1)).T
                thin[rows, cols] = some[of[line]]
        np.maximum(ranks, _bold(thin) if is_wide else thin, out=ranks)
    is_drawn = ranks >= 0
    # Bold twice over, back by a pixel, is a pixel more on all sides.
    picture[_bold(_bold(np.pad(is_drawn, ((0, 1), (0, 1)))))[1:, 1:] & ~is_drawn] = EDGE
    picture[is_drawn] = colours[order[ranks[is_drawn]]]


def _bold(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the greatest of each pixel and those before it, above it and both."""
    bold = values.copy()
    np.maximum(bold[1:], values[:-1], out=bold[1:])
    np.maximum(bold[:, 1:], bold[:, :-1].copy(), out=bold[:, 1:])
    return bold


def _fillings(bounds: Floats) -> tuple[Floats, Integers]:
    """Return the rows of pixels that fill boxes as `_outlines` does, each three pixels wide and high at least."""
    middles = (bounds[:, :2] + bounds[:, 2:]) / 2
    first = np.minimum(np.floor(bounds[:, :2]), np.floor(middles) - DOT_PX // 2)
    last = np.maximum(np.ceil(bounds[:, 2:]) - 1, first + DOT_PX - 1)
    down = np.column_stack([first, first[:, :1], last[:, 1:]])
    points, of = _points(down)
    return np.column_stack([points, last[of, 0], points[:, 1]]).astype(np.float64), of


def _outlines(detections: Detections, scale: tuple[float, float]) -> tuple[Floats, Integers]:
    """Return (M, 4) lines x, y, x, y between middles of the picture's pixels, and (M,) the object of each, in order."""
    if detections.outlines is None:
        x0, y0, x1, y1 = _bounds(detections, scale).T
        left, top = np.floor(x0), np.floor(y0)
        right, bottom = np.maximum(np.ceil(x1) - 1, left), np.maximum(np.ceil(y1) - 1, top)
        ring = np.stack([left, top, right, top, right, bottom, left, bottom, left, top], 1).reshape(-1, 5, 2)
        return np.concatenate([ring[:, :-1], ring[:, 1:]], 2).reshape(-1, 4), np.repeat(np.arange(len(ring)), 4)
    import shapely  # noqa: PLC0415  # a quarter of a second, which boxes alone do without

    parts, of_part = shapely.get_parts(detections.outlines, return_index=True)
    rings, of_ring = shapely.get_rings(parts, return_index=True)
    points, of_point = shapely.get_coordinates(rings, return_index=True)
    points = points * scale - 0.5
    follows = of_point[1:] == of_point[:-1]
    lines = np.concatenate([points[:-1], points[1:]], 1)[follows]
    return lines, of_part[of_ring[of_point[1:][follows]]]


def _points(lines: Floats) -> tuple[Integers, Integers]:
    """Return (P, 2) x, y of the pixels along (M, 4) lines, and (P,) the line of each."""
    across = lines[:, 2:] - lines[:, :2]
    steps = np.ceil(np.abs(across).max(axis=1, initial=0)).astype(np.int64)
    count = steps + 1
    line = np.repeat(np.arange(len(lines)), count)
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    at = lines[line, :2] + across[line] * (step / np.maximum(steps[line], 1))[:, None]
    return np.rint(at).astype(np.int64), line


def _png(picture: Picture) -> bytes:
    height, width, count = picture.shape
    profile = {"driver": "PNG", "count": count, "height": height, "width": width, "dtype": "uint8"}
    with MemoryFile() as memory, warnings.catch_warnings():
        # Pictures have no place on Earth.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(**profile, ZLEVEL=PNG_LEVEL) as target:
            target.write(np.moveaxis(picture, -1, 0))
        return bytes(memory.getbuffer())
