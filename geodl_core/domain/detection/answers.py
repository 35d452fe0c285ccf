"""Tensors of a finished answer: with their batch, labels as whole numbers, boxes as corners in pixels."""

import re

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.decoder import Decoder, Tensor
from geodl_core.domain.detection.dense import Floats, to_pixels
from geodl_core.errors import ModelError

BOX_ORDERS = ("xyxy", "yxyx", "xywh", "cxcywh")
"""Corners; upper-left corner and size; centre and size."""


def with_batch(tensor: Tensor, rank: int) -> Tensor:
    """Return a tensor with a batch axis of 1 where it has one axis less than its rank with a batch."""
    return tensor[None] if tensor.ndim == rank - 1 else tensor


def whole_labels(labels: Tensor, name: str) -> npt.NDArray[np.int64]:
    """Return labels, which some networks give as floats, as whole numbers.

    Raises:
        ModelError: some are none.
    """
    floats = np.asarray(labels, np.float64)
    if not np.all(np.isfinite(floats)) or np.any(np.abs(floats - np.rint(floats)) > 1e-3):
        raise ModelError(f"output {name!r}: expected whole numbers as labels, found {floats[:3].tolist()} …")
    return np.rint(floats).astype(np.int64)


def box_order(decoder: Decoder, default: str) -> str:
    """Return the order of a box's four numbers, of `BOX_ORDERS`, by `settings["order"]` where it says so."""
    words = re.split(r"[\s,]+", str(decoder.settings.get("order", "")).lower())
    return next((word for word in words if word in BOX_ORDERS), default)


def corners_px(boxes: Tensor, order: str, decoder: Decoder, input_px: tuple[int, int]) -> Floats:
    """Return boxes as corners in pixels.

    Args:
        boxes: (…, 4) in that order.
        order: of `BOX_ORDERS`.
        decoder: says whether they are in pixels already.
        input_px: height and width of the network's input.

    Returns:
        (…, 4) xmin, ymin, xmax, ymax, float32.
    """
    a, b, c, d = np.moveaxis(np.asarray(boxes, np.float32), -1, 0)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused with a word for it later
        if order == "yxyx":
            a, b, c, d = b, a, d, c
        elif order == "xywh":
            c, d = a + c, b + d
        elif order == "cxcywh":
            a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
        corners = np.stack([a, b, c, d], axis=-1)
        return to_pixels(corners, decoder, input_px)
