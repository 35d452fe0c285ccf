"""What decoders of dense heads share: shapes that are checked, activations, the choice of a class, corners of boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.decoder import Decoder, Found, Tensor
from geodl_core.errors import ModelError

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Shape = tuple[int | str, ...]
"""Lengths; a letter stands for any, the same wherever it occurs."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Boxes that pass, as rows of a head, each with a class; by rising row."""

    rows: Rows
    """(n,) index of the box, leading axes taken together."""
    classes: Rows
    """(n,) index of the class score."""
    scores: Floats
    """(n,)."""


def check_tensors(tensors: Sequence[Tensor], decoder: Decoder, shapes: Sequence[Shape]) -> tuple[Floats, ...]:
    """Return the tensors as float32, their shapes being as expected; those that are float32 are not copied.

    Raises:
        ModelError: another number of tensors, another number of axes, a length that does not fit.
    """
    if not len(tensors) == len(decoder.tensors) == len(shapes):
        raise ModelError(
            f"a decoder of the form {decoder.form!r} takes {len(shapes)} tensors, "
            f"found {len(tensors)} for the outputs {list(decoder.tensors)}"
        )
    known: dict[str, int] = {}
    for name, tensor, shape in zip(decoder.tensors, tensors, shapes, strict=True):
        wanted = [known.get(length, length) if isinstance(length, str) else length for length in shape]
        found = np.shape(tensor)
        if len(found) != len(wanted) or any(
            isinstance(want, int) and want != have for want, have in zip(wanted, found, strict=True)
        ):
            raise ModelError(f"output {name!r}: expected the shape ({', '.join(map(str, wanted))}), found {found}")
        known.update({length: have for length, have in zip(shape, found, strict=True) if isinstance(length, str)})
    return tuple(map(to_float32, tensors))


def to_float32(tensor: Tensor) -> Floats:
    """Return numbers as float32; what is too large for it becomes infinite, without a warning."""
    with np.errstate(over="ignore"):
        return np.asarray(tensor, np.float32)


def columns(decoder: Decoder, others: int) -> int | str:
    """Return how many numbers a box has: the others, and a score a class."""
    return f"{others} + K" if decoder.classes is None else others + decoder.classes


def require_columns(found: int, least: int, name: str) -> None:
    """Check that a box has scores.

    Raises:
        ModelError: it has fewer numbers than `least`.
    """
    if found < least:
        raise ModelError(f"output {name!r}: expected at least {least} numbers a box, found {found}")


def require_finite(scores: Floats, name: str) -> None:
    """Check scores before they are compared: what is not a number is above no threshold and would vanish.

    Raises:
        ModelError: a score is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        count = int((~np.isfinite(scores)).sum())
        raise ModelError(
            f"output {name!r}: the network gives NaN: expected finite scores, "
            f"found {count} of {scores.size} that are not",
            hint="Check how pixels are scaled for it; a network in half precision may overflow.",
        )


def require_sigmoid(decoder: Decoder) -> None:
    """Check that logits of a form whose scores are sigmoids are not said to be others.

    Raises:
        ModelError: the settings say softmax.
    """
    said = decoder.settings.get("activation")
    if not decoder.is_activated and said not in {None, "sigmoid"}:
        raise ModelError(f"detector: scores of the form {decoder.form!r} are sigmoids, found the activation {said!r}")


def sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), which overflows nowhere; NaN stays NaN."""
    one = np.float32(1)
    return one / (one + np.exp(-np.maximum(logits, np.float32(-88))))


def softmax(logits: Floats) -> Floats:
    """Return the softmax over the last axis."""
    scores: Floats = logits - logits.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    return scores


def choose_best(scores: Floats, threshold: float, is_activated: bool = True) -> Chosen:
    """Choose the best class of each box, of equals the first, and the boxes whose best is above the threshold.

    Args:
        scores: (..., K), any strides; logits of a sigmoid where not `is_activated`.
        threshold: in [0, 1]; compared in float32, and a score that equals it does not pass.
        is_activated: whether scores are in [0, 1] already.
    """
    best = scores.max(-1)
    if not is_activated:
        best = sigmoid(best)
    rows = np.flatnonzero(best > threshold)
    places = np.unravel_index(rows, best.shape)
    return Chosen(rows, scores[places].argmax(-1), best[places])


def choose_objects(objectness: Floats, scores: Floats, threshold: float, is_activated: bool = True) -> Chosen:
    """Choose the best class of each box by its score times the objectness; assumes class scores of at most 1.

    Args:
        objectness: (...).
        scores: (..., K) of the classes; both are logits of sigmoids where not `is_activated`.
        threshold: in [0, 1]; a product that equals it does not pass.
        is_activated: whether objectness and scores are in [0, 1] already.
    """
    if not is_activated:
        objectness = sigmoid(objectness)
    likely = np.flatnonzero(objectness > threshold)
    places = np.unravel_index(likely, objectness.shape)
    of_class = choose_best(scores[places], -np.inf, is_activated)
    products = of_class.scores * objectness[places]
    passing = products > threshold
    return Chosen(likely[passing], of_class.classes[passing], products[passing])


def choose_every(scores: Floats, threshold: float) -> Chosen:
    """Choose every class above the threshold; a box of several occurs several times.

    Args:
        scores: (B, K) in [0, 1].
        threshold: in [0, 1]; a score that equals it does not pass.
    """
    rows, classes = np.nonzero(scores > threshold)
    return Chosen(rows, classes, scores[rows, classes])


def to_found(chosen: Chosen, boxes: Floats, decoder: Decoder) -> Found:
    """Return the chosen objects with their (n, 4) corners in pixels."""
    return Found(boxes, chosen.scores, chosen.classes + decoder.first_label)


def join_parts(parts: Sequence[Found]) -> Found:
    """Return the objects of an image that several maps of a head found."""
    return Found(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


def to_corners(boxes: Floats) -> Floats:
    """Turn (n, 4) cx, cy, w, h into xmin, ymin, xmax, ymax."""
    centres, halves = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def to_pixels(boxes: Floats, decoder: Decoder, size: tuple[int, int]) -> Floats:
    """Return (n, 4) boxes, of corners or centres and sizes, in pixels of the network's input (height, width)."""
    if decoder.coordinates == "pixels":
        return boxes
    height, width = size
    return boxes * np.array([width, height, width, height], np.float32)
