"""Checks of decoded objects: what a detector cannot mean is refused, or left out and counted."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.decoder import Decoder, Found, take_found
from geodl_core.errors import ModelError

SLACK = 1e-3
"""By which a score may be above 1 or below 0: half precision, and sums that are rounded."""
PERCENT = 100.0
INSIDE_OUT_PX = 0.5
"""By which a side may be negative and still be none: rounding."""
NORMALISED_AT_MOST = 1.5
MOST_PX = 2.0**24
"""Coordinates beyond are as good as infinite: a float32 tells no pixels apart there."""
SMALLEST_PX = 16
"""Inputs of this side and more are larger than any box that is given as shares of them."""
FEWEST_TELLING = 4
"""Boxes of one image by which the whole answer is judged: fewer may be odd ones, of which a large scene has some."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Objects that may be used."""

    found: Found
    dropped: int
    """Boxes left out: without an area, or inside out among others that are not."""


def check_found(found: Found, decoder: Decoder, input_px: tuple[int, int]) -> Checked:
    """Check the objects of one image; objects may reach beyond it, as they do where a tile cuts them.

    Scores are brought to [0, 1]: divided by `settings["score_scale"]`, 100 where a network gives percent, then cut to
    the range if they are off by rounding. Boxes without an area are left out and counted, and single ones inside out.

    Args:
        found: as decoded, boxes in pixels of the network's input.
        decoder: by which it was; `why` is said in errors.
        input_px: height and width of the network's input.

    Raises:
        ModelError: boxes that are not finite, scores outside [0, 1], most boxes inside out, most boxes far outside the
            image, or boxes that are shares of the image where pixels are expected.
    """
    scores = _checked_scores(found.scores, decoder)
    boxes = np.asarray(found.boxes, np.float32)
    wrong = int(np.count_nonzero(~(np.abs(boxes) <= MOST_PX).all(axis=1)))
    if wrong:
        raise ModelError(
            f"the network gives boxes that are NaN or infinite, {wrong} of {len(boxes)} above the threshold",
            hint="look at what the network is fed: bands, DataRange and nodata; half precision overflows at 65504",
        )
    _require_order(boxes, decoder)
    _require_place(boxes, decoder, input_px)
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    if found.corners is not None:
        one, two, three, four = np.moveaxis(np.asarray(found.corners, np.float64), 1, 0)
        # Twice the area by the diagonals; a negative side makes it negative.
        (x, y), (u, v) = (three - one).T, (four - two).T
        has_area &= x * v - u * y > 0
    kept = np.flatnonzero(has_area)
    return Checked(take_found(replace(found, boxes=boxes, scores=scores), kept), len(boxes) - len(kept))


def score_scale(decoder: Decoder) -> float:
    """Return what the network calls a score of 1.

    Raises:
        ModelError: `settings["score_scale"]` is no number above 0.
    """
    said = decoder.settings.get("score_scale", 1.0)
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said < np.inf:
        raise ModelError(f"ModelConfiguration Config score_scale: expected 1 or 100, found {said!r}")
    return float(said)


def _checked_scores(raw: npt.NDArray[np.float32], decoder: Decoder) -> npt.NDArray[np.float32]:
    """Return scores in [0, 1]."""
    scores = np.asarray(raw, np.float32) / np.float32(score_scale(decoder))
    if not np.isfinite(scores).all():
        raise ModelError("the network gives scores that are NaN or infinite")
    low, high = scores.min(initial=0), scores.max(initial=0)
    if high > 1 + SLACK:
        percent = f"if the model gives percent, say ModelConfiguration Config score_scale {PERCENT:g}; "
        raise ModelError(
            f"the network gives scores up to {high:.4g}, expected 0 to 1 ({decoder.why or decoder.form})",
            hint=f"{percent if high <= PERCENT + SLACK else ''}"
            "if it gives logits, say ModelConfiguration Config activation sigmoid or softmax",
        )
    if low < -SLACK:
        raise ModelError(
            f"the network gives scores down to {low:.4g}, expected 0 to 1 ({decoder.why or decoder.form})",
            hint="if it gives logits, say ModelConfiguration Config activation sigmoid or softmax",
        )
    clipped: npt.NDArray[np.float32] = np.clip(scores, 0, 1)
    return clipped


def _require_order(boxes: npt.NDArray[np.float32], decoder: Decoder) -> None:
    sides = boxes[:, 2:] - boxes[:, :2]
    turned = int(np.count_nonzero((sides < -INSIDE_OUT_PX).any(axis=1)))
    if turned * 2 > len(boxes) >= FEWEST_TELLING:
        raise ModelError(
            f"{turned} of {len(boxes)} boxes are inside out, xmax below xmin or ymax below ymin, such as "
            f"{_first(boxes, (sides < -INSIDE_OUT_PX).any(axis=1))} ({decoder.why or decoder.form})",
            hint="their numbers stand in another order than is assumed: say ModelConfiguration Config order, "
            "cxcywh (centre and size), xywh, yxyx or xyxy",
        )


def _require_place(boxes: npt.NDArray[np.float32], decoder: Decoder, input_px: tuple[int, int]) -> None:
    if not len(boxes):
        return
    said = decoder.why or decoder.form
    size = np.asarray(input_px[::-1], np.float32)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    is_far = ((centres < -size) | (centres > 2 * size)).any(axis=1)
    if np.count_nonzero(is_far) * 2 > len(boxes) >= FEWEST_TELLING:
        other = "pixels" if decoder.coordinates == "normalised" else "normalised"
        raise ModelError(
            f"{np.count_nonzero(is_far)} of {len(boxes)} boxes lie far outside the image of {input_px[1]} × "
            f"{input_px[0]} pixels, such as {_first(boxes, is_far)} ({said})",
            hint=f"coordinates are taken as {decoder.coordinates}: say ModelConfiguration Config coordinates {other} "
            "if they are, or the form that it has",
        )
    # Slivers of objects in the corner are as small, but begin at the image's border or beyond.
    is_inside = (boxes[:, :2] > 0).all(axis=1)
    is_tiny = bool((np.abs(boxes) <= NORMALISED_AT_MOST).all()) and min(input_px) >= SMALLEST_PX
    if decoder.coordinates == "pixels" and is_tiny and np.count_nonzero(is_inside) * 2 > len(boxes):
        raise ModelError(
            f"all {len(boxes)} boxes lie within {NORMALISED_AT_MOST:g} pixels of the image's corner, such as "
            f"{_first(boxes, is_inside)} ({said})",
            hint="if coordinates are shares of the image's height and width, say ModelConfiguration Config "
            "coordinates normalised",
        )


def _first(boxes: npt.NDArray[np.float32], mask: Any) -> str:
    return "[" + ", ".join(f"{number:.4g}" for number in boxes[np.asarray(mask)][0]) + "]"
