"""Masks over the image, cut down to the boxes of their objects."""

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.decoder import Tensor
from geodl_core.domain.detection.dense import Floats, require_finite, to_float32
from geodl_core.errors import ModelError

MOST_SMALL_PX = 64
"""Masks no larger, and smaller than the image, are of their box: 28 × 28 as a rule, 56 × 56 where refined."""


def masks_per_image(masks: Tensor, name: str, counts: tuple[int, int], input_px: tuple[int, int]) -> Tensor:
    """Return the masks of each image as (B, h, w).

    Args:
        masks: (B, 1, h, w) or (B, h, w), maybe with a batch axis before them.
        name: of the tensor, for errors.
        counts: images, and objects an image.
        input_px: height and width of the network's input.

    Raises:
        ModelError: another shape, or neither of the input's size nor small.
    """
    images, objects = counts
    size = masks.shape[-2:]
    is_small = masks.ndim > 2 and max(size) <= MOST_SMALL_PX and size[0] < input_px[0] and size[1] < input_px[1]
    shapes = ((objects, *size), (objects, 1, *size), (images, objects, *size), (images, objects, 1, *size))
    fits = [shape for shape in shapes if masks.shape == shape and (len(shape) > 3 or images == 1)]
    if not fits or not (size == tuple(input_px) or is_small):
        raise ModelError(
            f"output {name!r}: expected masks of {objects} objects of {input_px[0]} × {input_px[1]} pixels, "
            f"({objects}, 1, {input_px[0]}, {input_px[1]}), found {masks.shape}"
        )
    return masks.reshape(images, objects, *size)


def masks_over_boxes(masks: Tensor, boxes: Floats, input_px: tuple[int, int], name: str) -> tuple[Floats, ...]:
    """Return each object's mask over its box, about one value a pixel.

    Masks in pixels of the image are read between their pixels where a box begins within one; beyond the image they
    are 0. Small masks are over their boxes already.

    Args:
        masks: (B, h, w) scores in [0, 1].
        boxes: (B, 4) xmin, ymin, xmax, ymax in pixels.
        input_px: height and width of the network's input.
        name: of the tensor, for errors.

    Raises:
        ModelError: masks that are not finite.
    """
    floats = to_float32(masks)
    require_finite(floats, name)
    if floats.shape[1:] != tuple(input_px):
        return tuple(floats)
    return tuple(_over_box(mask, box) for mask, box in zip(floats, boxes, strict=True))


def _over_box(mask: Floats, box: Floats) -> Floats:
    from scipy import ndimage  # noqa: PLC0415  # a third of a second, which all but masks do without

    if not np.all(np.isfinite(box)):
        return np.zeros((1, 1), np.float32)  # the check of boxes refuses it
    x0, y0, x1, y1 = box.astype(np.float64)
    rows, cols = _centres(y0, y1, mask.shape[0]), _centres(x0, x1, mask.shape[1])
    at = np.meshgrid(rows, cols, indexing="ij")
    values: Floats = ndimage.map_coordinates(mask, at, order=1, mode="grid-constant", cval=0.0, output=np.float32)
    return values


def _centres(low: float, high: float, most: int) -> npt.NDArray[np.float64]:
    """Return where the values over a side of a box lie, counted from the centre of the image's first pixel."""
    count = int(np.clip(np.rint(high - low), 1, most))
    return low + (np.arange(count) + 0.5) * (high - low) / count - 0.5
