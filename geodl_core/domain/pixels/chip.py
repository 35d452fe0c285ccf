"""Pixels of a read window: where they lie in the scene, how coarse bands are brought to the grid, what is invented."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.pixels.resample import Floats, Taps, cubic_taps, linear_taps
from geodl_core.domain.plan.job import Pad
from geodl_core.domain.plan.placing import Resampling

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


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


def upsample(
    coarse: npt.NDArray[Any], valid: Mask, rows: tuple[Index, int], cols: tuple[Index, int], how: tuple[int, Resampling]
) -> tuple[Floats, Mask]:
    """Bring a coarse band to the grid: between pixel centres, weighted by validity.

    The centre of fine pixel i lies at (i + 0.5) / ratio - 0.5 in coarse pixels. Beyond the outermost centres the
    border pixel is repeated. `cubic` is bilinear where a pixel that it would need is not valid.

    Args:
        coarse: (h, w) window of the coarse band that holds every pixel needed (`REACH_PX` more around, inside the
            scene).
        valid: (h, w) of the same.
        rows: fine row of each output row, and the coarse row at which the window starts.
        cols: the same for columns.
        how: fine pixels along a coarse one, and what is done between centres.

    Returns:
        (H, W) float32 values and their validity: that of the coarse pixel in which the fine one lies.
    """
    ratio, kind = how
    place = np.ix_(rows[0] // ratio - rows[1], cols[0] // ratio - cols[1])
    values, nearest = coarse.astype(np.float32), valid[place]
    if kind == "nearest":
        return np.where(nearest, values[place], np.float32(0)), nearest
    make_taps = cubic_taps if kind == "cubic" else linear_taps
    taps = [
        make_taps((fine + 0.5) / ratio - 0.5, size, start)
        for (fine, start), size in zip((rows, cols), coarse.shape, strict=True)
    ]
    if valid.all():
        return _interpolate(values, taps), nearest
    if kind == "cubic":
        whole = _all_of(valid, taps)
        smooth = _interpolate(np.where(valid, values, np.float32(0)), taps)
        plain, _ = upsample(coarse, valid, rows, cols, (ratio, "bilinear"))
        return np.where(whole, smooth, plain), nearest
    weights = _interpolate(valid.astype(np.float32), taps)
    sums = _interpolate(np.where(valid, values, np.float32(0)), taps)
    blended = np.where(nearest, sums / np.where(nearest, weights, np.float32(1)), np.float32(0))
    return blended.astype(np.float32, copy=False), nearest


def _interpolate(values: Floats, taps: list[Taps]) -> Floats:
    rows, cols = taps
    lines: Floats = np.add.reduce([values[index] * weight[:, None] for index, weight in rows], dtype=np.float32)
    return np.asarray(np.add.reduce([lines[:, index] * weight for index, weight in cols], dtype=np.float32))


def _all_of(valid: Mask, taps: list[Taps]) -> Mask:
    """Say where each pixel that counts is valid."""
    rows, cols = taps
    lines = np.logical_and.reduce([valid[index] for index, _ in rows])
    return np.asarray(np.logical_and.reduce([lines[:, index] for index, _ in cols]))


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
