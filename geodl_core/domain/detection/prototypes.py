"""Masks that a network composes of prototypes, cut to the objects' boxes."""

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.dense import Floats, sigmoid
from geodl_core.errors import ModelError


def compose_masks(coefficients: Floats, prototypes: Floats, boxes: Floats, size: tuple[int, int]) -> tuple[Floats, ...]:
    """Return the mask of each object over its box: the sigmoid of its combination of prototypes.

    Bolya et al., YOLACT (2019), section 3.2. Cell (i, j) of the h × w prototypes has its centre at the pixel
    ((j + 0.5) × width / w, (i + 0.5) × height / h). A box is divided into as many equal rows and columns as it has
    prototype cells, rounded up, at most h and w; in the middle of each part the combination is interpolated
    bilinearly, as logits, before the sigmoid. So the array spans the box exactly, samples in the image lie no further
    apart than prototype cells, and an outline is right to less than a cell. Beyond the image the outermost cells go on.

    Args:
        coefficients: (n, M) of the objects.
        prototypes: (M, h, w).
        boxes: (n, 4) xmin, ymin, xmax, ymax in pixels of the network's input.
        size: its height and width.

    Raises:
        ModelError: a box, a coefficient or a prototype is not a finite number.
    """
    if len(boxes) == 0:
        return ()
    for what, array in (("box", boxes), ("mask coefficient", coefficients), ("mask prototype", prototypes)):
        if not np.isfinite(array).all():
            raise ModelError(f"the network gives NaN: expected each {what} finite")
    return tuple(_mask(*each, prototypes, size) for each in zip(coefficients, boxes, strict=True))


def _mask(coefficients: Floats, box: Floats, prototypes: Floats, size: tuple[int, int]) -> Floats:
    """Return one object's mask; only the prototypes under its box are combined."""
    top, bottom, rows = _places(box[1], box[3], size[0], prototypes.shape[1])
    left, right, cols = _places(box[0], box[2], size[1], prototypes.shape[2])
    logits = np.tensordot(coefficients, prototypes[:, top:bottom, left:right], 1)
    return sigmoid(_interpolate(_interpolate(logits, rows).T, cols).T)


def _places(low: float, high: float, length: int, cells: int) -> tuple[int, int, npt.NDArray[np.float64]]:
    """Return the range of cells under one side of a box, and where in it the samples lie, in cells."""
    per_cell = length / cells
    count = int(np.clip(np.ceil((float(high) - float(low)) / per_cell), 1, cells))
    pixels = float(low) + (np.arange(count) + 0.5) * (float(high) - float(low)) / count
    places = np.clip(pixels / per_cell - 0.5, 0, cells - 1)
    first = int(places.min())
    return first, int(np.ceil(places.max())) + 1, places - first


def _interpolate(values: Floats, places: npt.NDArray[np.float64]) -> Floats:
    """Return values at places along the first axis, linearly between whole ones."""
    below = places.astype(np.int64)
    above = np.minimum(below + 1, len(values) - 1)
    share = (places - below).astype(np.float32)[:, None]
    return values[below] * (1 - share) + values[above] * share
