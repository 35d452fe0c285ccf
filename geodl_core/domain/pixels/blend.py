"""Blending: how the scores of neighbouring tiles become one where a network's answer depends on the whole tile."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from geodl_core.domain.plan.plan import Plan, Tile, tile_shape
from geodl_core.domain.window import Window

Weights = npt.NDArray[np.float32]


def neighbours(plan: Plan, index: int) -> Iterator[int]:
    """Yield the tiles whose blended scores may reach a tile's core, itself among them, ascending."""
    rows, cols = tile_shape(plan.grid, plan.core_px)
    row, col = divmod(index, cols)
    for near_row in range(max(row - 1, 0), min(row + 2, rows)):
        for near_col in range(max(col - 1, 0), min(col + 2, cols)):
            yield near_row * cols + near_col


def blend_weights(plan: Plan, tile: Tile, window: Window) -> tuple[Weights, Weights]:
    """Return the weights of a tile's scores in a window, along rows and along columns.

    A raised cosine (Hann) over `blend_px` on either side of each border of the tile's cell: 1/2 on the border, and
    with the neighbour's weight 1 everywhere.

    Returns:
        (h,) and (w,) float32; a pixel's weight is the product of its row's and its column's.
    """
    height, width = plan.core_px
    _, cols = tile_shape(plan.grid, plan.core_px)
    row, col = divmod(tile.index, cols)
    return (
        _ramps(np.arange(window.top, window.bottom), row * height, height, plan.blend_px),
        _ramps(np.arange(window.left, window.right), col * width, width, plan.blend_px),
    )


def _ramps(positions: npt.NDArray[np.int64], start: int, length: int, margin: int) -> Weights:
    centres = positions + 0.5
    rise = np.clip((centres - start) / margin, -1, 1)
    fall = np.clip((start + length - centres) / margin, -1, 1)
    weights: Weights = (_raised(rise) * _raised(fall)).astype(np.float32)
    return weights


def _raised(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 0.5 * (1 + np.sin(0.5 * np.pi * t))
