"""How a detector's answer is laid out, and what a decoder makes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Form = Literal[
    "tensorflow",
    "torchvision",
    "detr",
    "yolo",
    "yolo transposed",
    "yolo oriented",
    "yolo masks",
    "yolo heads",
    "finished",
    "yolox",
    "ssd",
    "ssd raw",
    "retinanet raw",
    "cntk faster-rcnn",
    "keras mask-rcnn",
]
"""
tensorflow: boxes (N, B, 4) y, x, y, x in 0–1, scores, classes, count.
torchvision: boxes (B, 4) x, y, x, y in pixels, labels, scores, and with a fourth tensor masks (B, 1, H, W).
detr: logits (N, Q, K or K + 1), boxes (N, Q, 4) cx, cy, w, h in 0–1.
yolo: (N, B, 5 + K) cx, cy, w, h, objectness, class scores (v3, v4, v5, v7); `has_objectness` False: (N, B, 4 + K).
yolo transposed: (N, 4 + K, B) cx, cy, w, h, class scores (v8 and later).
yolo oriented: (N, 4 + K + 1, B) cx, cy, w, h, class scores, angle in radians.
yolo masks: (N, 4 + K + M, B) and prototypes (N, M, h, w); v5's with objectness is (N, B, 5 + K + M).
yolo heads: one tensor (N, A × (5 + K), h, w) or (N, A, h, w, 5 + K) a scale, undecoded, anchors from `settings`.
finished: (N, B, 6) x, y, x, y, score, class of the network's own suppression; 7 columns: the image's number first.
yolox: (N, B, 5 + K) offsets of a grid of strides 8, 16, 32 (and 64), sizes as logarithms.
ssd: boxes (N, B, 4) decoded, scores (N, B, K) with the background first.
ssd raw: offsets (N, B, 4) of anchors, and class scores or logits (N, B, K).
retinanet raw: class logits and offsets (N, B, 4) of anchors, as one tensor each or one a level.
cntk faster-rcnn: class scores (B, K), regions (B, 4), regressions (B, 4 K).
keras mask-rcnn: detections (N, B, 6) y, x, y, x in 0–1, class, score; masks (N, B, h, w, K) of each box.
"""
Coordinates = Literal["pixels", "normalised"]
Tensor = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Decoder:
    """How a network's answer becomes objects."""

    form: Form
    tensors: tuple[str, ...]
    """Names of the graph's outputs, in the order in which the form lists them."""
    coordinates: Coordinates
    """Of the boxes: pixels of the network's input, or its height and width as 1."""
    classes: int | None
    """Classes that are told apart, background left out; None where labels are open."""
    first_label: int = 0
    """What the network calls its first class; labels of decoded objects are the network's own."""
    has_objectness: bool = True
    is_activated: bool = True
    """Whether scores are in [0, 1] already; False: logits."""
    is_suppressed: bool = False
    """Whether the network suppresses overlapping boxes itself."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the definition says of the form: anchors, variances, strides, aspect ratios."""
    why: str = ""
    """One sentence on how it was recognised."""


@dataclass(frozen=True, slots=True)
class Found:
    """Objects of one image, as decoded: above the threshold, in no order, overlapping ones among them."""

    boxes: npt.NDArray[np.float32]
    """(N, 4) xmin, ymin, xmax, ymax in pixels of the network's input."""
    scores: npt.NDArray[np.float32]
    """(N,) in [0, 1]."""
    labels: npt.NDArray[np.int64]
    """(N,) the network's own: index of the class score + `first_label`, or the label it gives."""
    corners: npt.NDArray[np.float32] | None = None
    """(N, 4, 2) x, y of the corners of oriented boxes, in order round them; `boxes` then are their bounds."""
    masks: tuple[npt.NDArray[np.float32], ...] | None = None
    """One (h, w) array of scores in [0, 1] an object, to be drawn out over its box; inside above 0.5."""


def take_found(found: Found, rows: npt.NDArray[np.int64]) -> Found:
    """Return some objects, in the order given."""
    return Found(
        found.boxes[rows],
        found.scores[rows],
        found.labels[rows],
        None if found.corners is None else found.corners[rows],
        None if found.masks is None else tuple(found.masks[int(row)] for row in rows),
    )


Decode = Callable[[tuple[Tensor, ...], Decoder, tuple[int, int], float], list[Found]]
"""(tensors in the decoder's order, decoder, height and width of the network's input, threshold) → one `Found` an image
of the batch. Objects of a score *above* the threshold are kept."""
