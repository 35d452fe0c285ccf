"""Pixels of a read window: where they lie in the scene, how coarse bands are brought to the grid, what is invented."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.job import Pad

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Chip:
    """What one read window holds."""

    pixels: npt.NDArray[Any]
    """(C, H, W), values as stored; 0 where a band has none."""
    valid: Mask
    """(H, W), True = measured in every band and not masked; False for nodata and for all that lies outside the scene.
    Masked pixels keep their values, which their neighbours' results may depend on."""


def padded_indices(start: int, stop: int, size: int, pad: Pad) -> tuple[Index, Mask]:
    """Return for positions start…stop - 1 along an axis which pixel of 0…size - 1 stands there.

    `reflect` mirrors at the centre of the border pixel, again and again where the scene is small, so that what a
    position shows depends on the scene alone, never on the tile. So does `network`, for what completes a step.

    Returns:
        (stop - start,) indices, and whether the position lies inside the scene.
    """
    positions = np.arange(start, stop, dtype=np.int64)
    inside = (positions >= 0) & (positions < size)
    if pad in ("reflect", "network") and size > 1:
        period = 2 * (size - 1)
        folded = np.abs(positions) % period
        return np.minimum(folded, period - folded), inside
    return np.clip(positions, 0, size - 1), inside


def upsample_bilinear(
    coarse: npt.NDArray[Any], valid: Mask, rows: tuple[Index, int], cols: tuple[Index, int], ratio: int
) -> tuple[Floats, Mask]:
    """Bring a coarse band to the grid: bilinear between pixel centres, weighted by validity.

    The centre of fine pixel i lies at (i + 0.5) / ratio - 0.5 in coarse pixels. Beyond the outermost centres the
    border pixel is repeated.

    Args:
        coarse: (h, w) window of the coarse band that holds every pixel needed (one more around, inside the scene).
        valid: (h, w) of the same.
        rows: fine row of each output row, and the coarse row at which the window starts.
        cols: the same for columns.
        ratio: fine pixels along a coarse one.

    Returns:
        (H, W) float32 values and their validity: that of the coarse pixel in which the fine one lies.
    """
    row_taps = _taps(rows, ratio, coarse.shape[0])
    col_taps = _taps(cols, ratio, coarse.shape[1])
    nearest = valid[np.ix_(rows[0] // ratio - rows[1], cols[0] // ratio - cols[1])]
    values = coarse.astype(np.float32)
    if valid.all():
        return _interpolate(values, row_taps, col_taps), nearest
    weights = _interpolate(valid.astype(np.float32), row_taps, col_taps)
    sums = _interpolate(np.where(valid, values, np.float32(0)), row_taps, col_taps)
    blended = np.where(nearest, sums / np.where(nearest, weights, np.float32(1)), np.float32(0))
    return blended.astype(np.float32, copy=False), nearest


def _taps(axis: tuple[Index, int], ratio: int, size: int) -> tuple[Index, Index, Floats]:
    """Return the two coarse positions between which each fine one lies, and the weight of the second."""
    fine, start = axis
    position = (fine + 0.5) / ratio - 0.5
    low = np.floor(position).astype(np.int64)
    weight: Floats = (position - low).astype(np.float32)
    return np.clip(low - start, 0, size - 1), np.clip(low + 1 - start, 0, size - 1), weight


def _interpolate(values: Floats, rows: tuple[Index, Index, Floats], cols: tuple[Index, Index, Floats]) -> Floats:
    low, high, weight = rows
    lines = values[low] * (1 - weight)[:, None] + values[high] * weight[:, None]
    low, high, weight = cols
    return (lines[:, low] * (1 - weight) + lines[:, high] * weight).astype(np.float32, copy=False)


def to_class_ids(indices: npt.NDArray[Any], valid: Mask, lookup: npt.NDArray[Any], nodata: int) -> npt.NDArray[Any]:
    """Turn class indices into stored values: the class id where valid, nodata elsewhere.

    Args:
        indices: (H, W) class index of each pixel.
        valid: (H, W).
        lookup: (K,) class id of each index, in the storage type.
        nodata: a value that is no class id.
    """
    ids: npt.NDArray[Any] = lookup[indices]
    ids[~valid] = nodata
    return ids
