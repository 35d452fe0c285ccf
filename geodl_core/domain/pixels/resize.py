"""Chips made smaller or larger, as pictures are: for networks that take another size than the tile."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.pixels.resample import Floats


def resize(pixels: npt.NDArray[Any], shape: tuple[int, int]) -> Floats:
    """Return (…, H, W) pixels at another height and width: bilinear, and where smaller averaged over what they cover.

    Corners stay corners: pixel i of n has its centre at (i + 0.5) / n of the side. What a picture becomes does not
    depend on those beside it.

    Returns:
        (…, h, w) float32.
    """
    values = np.asarray(pixels, np.float32)
    height, width = values.shape[-2:]
    if (height, width) == shape:
        return values
    flat = values.reshape(-1, height, width)
    low = _weights(height, shape[0]) @ flat.transpose(1, 0, 2).reshape(height, -1)
    small = _weights(width, shape[1]) @ low.reshape(-1, width).T
    pictures = small.reshape(shape[1], shape[0], -1).transpose(2, 1, 0)
    return np.ascontiguousarray(pictures, np.float32).reshape(*values.shape[:-2], *shape)


def fitted(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Return the largest height and width of a picture's proportions that lie within a target, at least 1 pixel."""
    scale = min(target[0] / size[0], target[1] / size[1])
    height, width = (max(1, min(round(side * scale), most)) for side, most in zip(size, target, strict=True))
    return height, width


@lru_cache(maxsize=16)
def _weights(size: int, target: int) -> Any:
    """Return the (target, size) share of each pixel in each new one: a triangle as wide as the coarser of the two.

    Sparse, since few pixels have a share: a tenth of the time of a full product, and none of its threads.
    """
    from scipy.sparse import csr_array  # noqa: PLC0415  # a tenth of a second, which most runs spare

    reach = max(size / target, 1.0)
    centres = (np.arange(target) + 0.5) * size / target - 0.5
    distance = np.abs(centres[:, None] - np.arange(size)) / reach
    weights = np.maximum(1 - distance, 0)
    return csr_array((weights / weights.sum(1, keepdims=True)).astype(np.float32))
