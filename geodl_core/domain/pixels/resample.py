"""Pixels of a raster at any places between them: nearest, bilinear, cubic, or the mean of an area."""

from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.grid import Coordinates
from geodl_core.domain.plan.placing import Resampling

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]
Taps = list[tuple[Index, Floats]]
"""For each output position along an axis: the pixels that count for it, and their weights."""
REACH_PX = 2
"""How far a kernel reads around a position, at most."""
OUTSIDE = -1e9
"""A place in no raster."""
MOST_SAMPLES = 4096
"""Of an area along an axis."""


def resample(
    values: npt.NDArray[Any], valid: Mask, at: tuple[Coordinates, Coordinates], kind: Resampling
) -> tuple[Floats, Mask]:
    """Return the values of bands at places between pixels, weighted by validity.

    A place is valid where the pixel in which it lies is. Beyond the outermost centres the border pixel is repeated.
    `cubic` is bilinear where one of its 16 pixels is invalid.

    Args:
        values: (C, h, w) of a raster's window.
        valid: (h, w), of all bands.
        at: (H, W) rows and columns in the window's pixels, whole numbers at their corners; infinite outside.
        kind: how.

    Returns:
        (C, H, W) float32, 0 where not valid, and (H, W).
    """
    at, inside = _within(at, valid.shape)
    if not valid.all():
        values = np.where(valid, values, 0)
    nearest = at[0].astype(np.int64), at[1].astype(np.int64)
    found = inside & valid[nearest]
    if kind == "nearest":
        result = values[:, *nearest].astype(np.float32, copy=False)
    else:
        result = _interpolate(values, valid, at, kind)
    return np.where(found, result, np.float32(0)), found


def average(values: npt.NDArray[Any], valid: Mask, at: tuple[Coordinates, Coordinates]) -> tuple[Floats, Mask]:
    """Return the means of the areas that larger pixels take of a raster; one is valid where half of its area is.

    Areas are sampled evenly, bilinearly, no sparser than the raster's pixels: where they are whole pixels the mean is
    exact, and nowhere is anything moved.

    Args:
        values: (C, h, w) of a raster's window.
        valid: (h, w), of all bands.
        at: (H + 1, W + 1) rows and columns of the larger pixels' centres, and of one more below and to the right.

    Returns:
        (C, H, W) float32, 0 where not valid, and (H, W).
    """
    rows, cols = (np.where(np.isfinite(axis), axis, OUTSIDE) for axis in at)
    down = rows[1:, :-1] - rows[:-1, :-1], cols[1:, :-1] - cols[:-1, :-1]
    along = rows[:-1, 1:] - rows[:-1, :-1], cols[:-1, 1:] - cols[:-1, :-1]
    counts = _samples(down), _samples(along)
    planes = np.concatenate([np.where(valid, values, 0), valid[None]], dtype=np.float32, casting="unsafe")
    sums = np.zeros((len(planes), *down[0].shape), np.float64)
    for u in (np.arange(counts[0]) + 0.5) / counts[0] - 0.5:
        for v in (np.arange(counts[1]) + 0.5) / counts[1] - 0.5:
            sample = (
                rows[:-1, :-1] + u * down[0] + v * along[0],
                cols[:-1, :-1] + u * down[1] + v * along[1],
            )
            sample, inside = _within(sample, valid.shape)
            sums += np.where(inside, _weighted(planes, _taps_at(sample, valid.shape, "bilinear")), 0)
    weights = sums[-1]
    found = weights >= counts[0] * counts[1] * (0.5 - 1e-6)
    return np.where(found, sums[:-1] / np.where(found, weights, 1), 0).astype(np.float32), found


def linear_taps(position: Coordinates, size: int, start: int = 0) -> Taps:
    """Return the two pixels between whose centres each position lies; the border pixel is repeated.

    Args:
        position: in pixels, whole numbers at centres.
        size: of the part of the axis that is there.
        start: of that part.
    """
    low = np.floor(position).astype(np.int64)
    t = (position - low).astype(np.float32)
    low = low - start
    return [(np.clip(low, 0, size - 1), 1 - t), (np.clip(low + 1, 0, size - 1), t)]


def cubic_taps(position: Coordinates, size: int, start: int = 0) -> Taps:
    """Return the four pixels around each position with Keys' weights (a = -1/2, as GDAL); arguments as before."""
    low = np.floor(position).astype(np.int64)
    t = position - low
    weights = (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    return [
        (np.clip(low - start + step - 1, 0, size - 1), weight.astype(np.float32)) for step, weight in enumerate(weights)
    ]


def _interpolate(
    values: npt.NDArray[Any], valid: Mask, at: tuple[Coordinates, Coordinates], kind: Resampling
) -> Floats:
    taps = _taps_at(at, valid.shape, kind)
    if valid.all():
        return _weighted(values, taps)
    if kind == "cubic":
        whole = np.logical_and.reduce([valid[row, col] for row, col, _ in taps])
        return np.where(whole, _weighted(values, taps), _interpolate(values, valid, at, "bilinear"))
    weights = _weighted(valid[None], taps)
    sums = _weighted(values, taps)
    return np.asarray(sums / np.where(weights > 0, weights, np.float32(1)), np.float32)


def _within(
    at: tuple[Coordinates, Coordinates], shape: tuple[int, ...]
) -> tuple[tuple[Coordinates, Coordinates], Mask]:
    """Return places with those outside of an array put to its corner, and which lie inside."""
    rows, cols = at
    inside = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
    return (np.where(inside, rows, 0), np.where(inside, cols, 0)), inside


def _taps_at(
    at: tuple[Coordinates, Coordinates], shape: tuple[int, ...], kind: Resampling
) -> list[tuple[Index, Index, Floats]]:
    make_taps = cubic_taps if kind == "cubic" else linear_taps
    across = make_taps(at[1] - 0.5, shape[1])
    return [
        (row, col, row_weight * col_weight)
        for row, row_weight in make_taps(at[0] - 0.5, shape[0])
        for col, col_weight in across
    ]


def _weighted(values: npt.NDArray[Any], taps: list[tuple[Index, Index, Floats]]) -> Floats:
    sums = np.zeros((len(values), *taps[0][0].shape), np.float32)
    for row, col, weight in taps:
        sums += values[:, row, col] * weight
    return sums


def _samples(step: tuple[Coordinates, Coordinates]) -> int:
    """Return how many samples along a larger pixel's side are no sparser than the pixels that it is a mean of."""
    length = float(np.median(np.hypot(*step)))
    return max(1, ceil(min(length, MOST_SAMPLES) - 1e-6))
