"""Overviews: rasters of half the size, by the most frequent value or the mean; NumPy alone, in few passes."""

from typing import Any

import numpy as np
import numpy.typing as npt

STRIP_PX = 1 << 18
"""Pixels looked at together: what is made of them meanwhile stays in a core's cache."""

Pixels = npt.NDArray[Any]


def level_shapes(height: int, width: int, block_px: int) -> tuple[tuple[int, int], ...]:
    """Return the (height, width) of all overviews, finest first: half of the one before, rounded up, down to a block.

    The same as GDAL's COG driver makes; none for an image that fits into a block.
    """
    shapes = []
    while height > block_px or width > block_px:
        height, width = -(-height // 2), -(-width // 2)
        shapes.append((height, width))
    return tuple(shapes)


def halve_mode(values: Pixels, nodata: float) -> Pixels:
    """Return the most frequent valid value of each 2 × 2 pixels.

    Of equally frequent ones the first in row order; nodata only where all four are.

    Args:
        values: (…, h, w) integers, both sides even.
        nodata: a value of that type.

    Returns:
        (…, h / 2, w / 2) of the same type.

    Raises:
        ValueError: a side is odd.
    """
    halved = _empty_half(values)
    for strip, half in _strips(values, halved):
        quarters = _quarters(strip)
        half[:] = _mode_of_valid(*quarters, nodata) if (strip == nodata).any() else _mode(*quarters)
    return halved


def halve_mean(values: Pixels, nodata: float) -> Pixels:
    """Return the mean of the valid ones of each 2 × 2 pixels, nodata where none is valid; NaN never is.

    Integers are rounded, halves up. Assumes nodata at an end of the range of values or beyond, where no mean can fall.

    Args:
        values: (C, h, w) float32, uint8 or uint16, both sides even.
        nodata: may be NaN for float32.

    Returns:
        (C, h / 2, w / 2) of the same type.

    Raises:
        ValueError: a side is odd.
    """
    halved = _empty_half(values)
    is_integer = values.dtype.kind in "iu"
    for strip, half in _strips(values, halved):
        valid = strip != nodata if is_integer else (strip == strip) & (strip != nodata)  # noqa: PLR0124  # NaN is not itself
        wide = strip.astype(np.uint32 if is_integer else np.float32, copy=False)
        if valid.all():
            total = _sum(*_quarters(wide))
            half[:] = (total + 2) >> 2 if is_integer else total * np.float32(0.25)
            continue
        total = _sum(*_quarters(np.where(valid, wide, wide.dtype.type(0))))
        count = _sum(*_quarters(valid.view(np.uint8)))
        # Exact: a sum of four has at most 18 bits.
        mean = total.astype(np.float32, copy=False) / np.maximum(count, 1).astype(np.float32)
        half[:] = np.floor(mean + np.float32(0.5)) if is_integer else mean
        half[count == 0] = nodata
    return halved


def _empty_half(values: Pixels) -> Pixels:
    *others, height, width = values.shape
    if height % 2 or width % 2:
        raise ValueError(f"expected even sides, found {height} × {width}")
    return np.empty((*others, height // 2, width // 2), values.dtype)


def _strips(values: Pixels, halved: Pixels) -> list[tuple[Pixels, Pixels]]:
    """Cut both into matching strips of whole rows; layers follow each other, since their heights are even."""
    rows, half = values.reshape(-1, values.shape[-1]), halved.reshape(-1, halved.shape[-1])
    step = max(1, STRIP_PX // max(1, 2 * rows.shape[1]))
    return [(rows[2 * top : 2 * (top + step)], half[top : top + step]) for top in range(0, len(half), step)]


def _quarters(strip: Pixels) -> tuple[Pixels, Pixels, Pixels, Pixels]:
    """Return upper left, upper right, lower left and lower right pixels, each contiguous."""
    upper, lower = strip[0::2], strip[1::2]
    a, b, c, d = (np.ascontiguousarray(rows[:, side::2]) for rows in (upper, lower) for side in (0, 1))
    return a, b, c, d


def _mode(a: Pixels, b: Pixels, c: Pixels, d: Pixels) -> Pixels:
    """Two alike outvote the rest or draw level with it; the first pair, else the first pixel, is the answer."""
    out = np.where(c == d, c, a)
    out = np.where((b == c) | (b == d), b, out)
    return np.where((a == b) | (a == c) | (a == d), a, out)


def _mode_of_valid(a: Pixels, b: Pixels, c: Pixels, d: Pixels, nodata: float) -> Pixels:
    """As `_mode`, where two that are nodata are no pair, and the first valid pixel stands for the first."""
    has_a, has_b, has_c = a != nodata, b != nodata, c != nodata
    out = np.where(has_a, a, np.where(has_b, b, np.where(has_c, c, d)))
    out = np.where(has_c & (c == d), c, out)
    out = np.where(has_b & ((b == c) | (b == d)), b, out)
    return np.where(has_a & ((a == b) | (a == c) | (a == d)), a, out)


def _sum(a: Pixels, b: Pixels, c: Pixels, d: Pixels) -> Pixels:
    total: Pixels = (a + b) + (c + d)
    return total
