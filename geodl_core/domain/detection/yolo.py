"""Decoders of YOLO's heads: centres and sizes, oriented boxes, masks of prototypes, maps with anchors.

The formulas are those of the papers and of the formats in which networks are exported: Redmon and Farhadi, YOLOv3
(2018); Bochkovskiy et al., YOLOv4 (2020); Wang et al., YOLOv7 (2022), whose bounded sizes are v5's.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from geodl_core.domain.detection.decoder import Decoder, Found, Tensor
from geodl_core.domain.detection.dense import (
    Chosen,
    Floats,
    Shape,
    check_tensors,
    choose_best,
    choose_objects,
    columns,
    join_parts,
    require_columns,
    require_finite,
    require_sigmoid,
    sigmoid,
    to_corners,
    to_found,
    to_pixels,
)
from geodl_core.domain.detection.options import arrays, numbers, one_of
from geodl_core.domain.detection.prototypes import compose_masks
from geodl_core.errors import ModelError


def decode_yolo(tensors: tuple[Tensor, ...], decoder: Decoder, size: tuple[int, int], threshold: float) -> list[Found]:
    """Decode (N, B, 5 + K) cx, cy, w, h, objectness, class scores; without objectness (N, B, 4 + K).

    The score is objectness × the best class score. Where scores are not activated, both are logits of sigmoids.

    Args:
        tensors: the one tensor.
        decoder: `coordinates`, `classes`, `has_objectness`, `is_activated`, `first_label` are heeded.
        size: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: another shape, or scores that are not finite.
    """
    (boxes,) = check_tensors(tensors, decoder, [("N", "B", columns(decoder, 4 + decoder.has_objectness))])
    found = []
    for image in boxes:
        chosen = _choose(image, decoder, threshold, image.shape[1])
        found.append(to_found(chosen, _corners(image, chosen, decoder, size), decoder))
    return found


def decode_yolo_transposed(
    tensors: tuple[Tensor, ...], decoder: Decoder, size: tuple[int, int], threshold: float
) -> list[Found]:
    """Decode (N, 4 + K, B) cx, cy, w, h, class scores, as v8 and later give them.

    Args:
        tensors: the one tensor.
        decoder: `coordinates`, `classes`, `is_activated`, `first_label` are heeded; there is no objectness.
        size: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: another shape, or scores that are not finite.
    """
    (boxes,) = check_tensors(tensors, decoder, [("N", columns(decoder, 4), "B")])
    return decode_yolo((boxes.swapaxes(1, 2),), dataclasses.replace(decoder, has_objectness=False), size, threshold)


def decode_yolo_oriented(
    tensors: tuple[Tensor, ...], decoder: Decoder, size: tuple[int, int], threshold: float
) -> list[Found]:
    """Decode (N, 4 + K + 1, B) cx, cy, w, h, class scores, angle.

    The angle is in radians from the x axis to the side of length w, towards the y axis, thus clockwise as seen. The
    corners follow each other in that sense, from the one that is upper left at angle 0. Normalised sizes count as
    shares of the input's width and height before they are turned.

    Args:
        tensors: the one tensor.
        decoder: `coordinates`, `classes`, `is_activated`, `first_label` are heeded; there is no objectness.
        size: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: another shape, or scores that are not finite.
    """
    (boxes,) = check_tensors(tensors, decoder, [("N", columns(decoder, 5), "B")])
    plain = dataclasses.replace(decoder, has_objectness=False)
    found = []
    for image in boxes.swapaxes(1, 2):
        chosen = _choose(image, plain, threshold, image.shape[1] - 1)
        corners = _turned(to_pixels(image[chosen.rows, :4], decoder, size), image[chosen.rows, -1])
        bounds = np.concatenate([corners.min(1), corners.max(1)], axis=1)
        found.append(dataclasses.replace(to_found(chosen, bounds, decoder), corners=corners))
    return found


def decode_yolo_masks(
    tensors: tuple[Tensor, ...], decoder: Decoder, size: tuple[int, int], threshold: float
) -> list[Found]:
    """Decode boxes with mask coefficients, and the prototypes that these combine.

    Without objectness boxes are (N, 4 + K + M, B), as v8 gives them; with objectness (N, B, 5 + K + M), as v5 does.
    How masks are sampled says `compose_masks`.

    Args:
        tensors: boxes; prototypes (N, M, h, w).
        decoder: `coordinates`, `classes`, `has_objectness`, `is_activated`, `first_label` are heeded.
        size: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: another shape, scores that are not finite, or such numbers in the mask of an object.
    """
    before = 4 + decoder.has_objectness
    masks = np.shape(tensors[1])[1] if len(tensors) == 2 and np.ndim(tensors[1]) == 4 else 0
    width = columns(decoder, before) if decoder.classes is None else before + decoder.classes + masks
    layout: Shape = ("N", "B", width) if decoder.has_objectness else ("N", width, "B")
    boxes, prototypes = check_tensors(tensors, decoder, [layout, ("N", "M", "h", "w")])
    found = []
    for image, basis in zip(boxes if decoder.has_objectness else boxes.swapaxes(1, 2), prototypes, strict=True):
        stop = image.shape[1] - masks
        chosen = _choose(image, decoder, threshold, stop)
        corners = _corners(image, chosen, decoder, size)
        drawn = compose_masks(image[chosen.rows, stop:], basis, corners, size)
        found.append(dataclasses.replace(to_found(chosen, corners, decoder), masks=drawn))
    return found


def decode_yolo_heads(
    tensors: tuple[Tensor, ...], decoder: Decoder, size: tuple[int, int], threshold: float
) -> list[Found]:
    """Decode undecoded maps, one a scale: (N, A × (5 + K), h, w), anchors outermost, or (N, A, h, w, 5 + K).

    With σ the sigmoid, c the cell's column and row, s the stride, which is the input's size over the map's:
    "v3": centre (σ(t) + c) s, size exp(t) × anchor; "v4": centre (g σ(t) − (g − 1) / 2 + c) s with g = `scale_xy`, size
    as v3; "v5" and "v7": centre (2 σ(t) − 0.5 + c) s, size (2 σ(t))² × anchor.

    Args:
        tensors: one a scale, in the order of the anchors.
        decoder: `classes`, `is_activated`, `first_label` are heeded, and of `settings` `anchors`: for each scale pairs
            (or all in one row) of width and height in pixels; `version`; for v4 `scale_xy`: one number, or one a scale.
            Where scores are activated, the sigmoids of the centres, and in v5 and v7 of the sizes, are taken as done.
        size: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: another shape, scores that are not finite, or settings that are missing or do not fit.
    """
    require_sigmoid(decoder)
    scales = _scales(decoder, len(tensors), size)
    maps = _maps(tensors, decoder, scales)
    found = []
    for number in range(len(maps[0])):
        parts = []
        for name, image, scale in zip(decoder.tensors, (each[number] for each in maps), scales, strict=True):
            require_finite(image[..., 4:], name)
            chosen = choose_objects(image[..., 4], image[..., 5:], threshold, decoder.is_activated)
            parts.append(to_found(chosen, _cell_boxes(image, chosen, scale), decoder))
        found.append(join_parts(parts))
    return found


def _choose(image: Floats, decoder: Decoder, threshold: float, stop: int) -> Chosen:
    """Choose among (B, ...) rows, whose class scores end before column `stop`."""
    name = decoder.tensors[0]
    first = 4 + decoder.has_objectness
    require_sigmoid(decoder)
    require_columns(stop, first + 1, name)
    require_finite(image[:, 4:stop], name)
    if decoder.has_objectness:
        return choose_objects(image[:, 4], image[:, first:stop], threshold, decoder.is_activated)
    return choose_best(image[:, first:stop], threshold, decoder.is_activated)


def _corners(image: Floats, chosen: Chosen, decoder: Decoder, size: tuple[int, int]) -> Floats:
    """Return the corners in pixels of chosen rows that begin with cx, cy, w, h."""
    return to_corners(to_pixels(image[chosen.rows, :4], decoder, size))


def _turned(boxes: Floats, angles: Floats) -> Floats:
    """Return the (n, 4, 2) corners of (n, 4) cx, cy, w, h turned about their centres; NaN where the angle is none."""
    with np.errstate(invalid="ignore"):
        cosines, sines = np.cos(angles)[:, None], np.sin(angles)[:, None]
    along = np.concatenate([cosines, sines], axis=1) * boxes[:, 2:3] / 2
    across = np.concatenate([-sines, cosines], axis=1) * boxes[:, 3:4] / 2
    centres = boxes[:, :2]
    corners = [centres - along - across, centres + along - across, centres + along + across, centres - along + across]
    return np.stack(corners, axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Scale:
    """How one map of a head becomes boxes."""

    anchors: Floats
    """(A, 2) width, height in pixels."""
    gain: float
    """By how much the sigmoid of a centre is stretched about the cell's middle."""
    is_bounded: bool
    """Whether sizes are squared sigmoids of up to four anchors; False: exponentials."""
    is_activated: bool
    size: tuple[int, int]
    """Height and width of the network's input."""


def _scales(decoder: Decoder, count: int, size: tuple[int, int]) -> list[_Scale]:
    """Read the settings of maps with anchors."""
    version = one_of(decoder.settings, "version", ("v3", "v4", "v5", "v7"))
    anchors = arrays(decoder.settings, "anchors")
    if len(anchors) != count or any(each.size % 2 for each in anchors):
        raise ModelError(
            f"detector: expected anchors as pairs for each of {count} outputs, "
            f"found shapes {[each.shape for each in anchors]}"
        )
    gains = numbers(decoder.settings, "scale_xy") if version == "v4" else np.array([1.0 if version == "v3" else 2.0])
    if len(gains) not in {1, count}:
        raise ModelError(f"detector: scale_xy has {len(gains)} numbers, expected one or {count}")
    is_bounded = version in {"v5", "v7"}
    return [
        _Scale(each.reshape(-1, 2).astype(np.float32), float(gain), is_bounded, decoder.is_activated, size)
        for each, gain in zip(anchors, np.broadcast_to(gains, count), strict=True)
    ]


def _maps(tensors: tuple[Tensor, ...], decoder: Decoder, scales: list[_Scale]) -> list[Floats]:
    """Return views (N, A, h, w, 5 + K) of maps in either layout."""
    shapes: list[Shape] = []
    for index, (tensor, scale) in enumerate(zip(tensors, scales, strict=True)):
        each, count = columns(decoder, 5), len(scale.anchors)
        flat = each * count if isinstance(each, int) else f"{count} × ({each})"
        is_flat = np.ndim(tensor) == 4
        shapes.append(
            ("N", flat, f"h{index}", f"w{index}") if is_flat else ("N", count, f"h{index}", f"w{index}", each)
        )
    maps = []
    for name, tensor, scale in zip(decoder.tensors, check_tensors(tensors, decoder, shapes), scales, strict=True):
        view = tensor
        if tensor.ndim == 4:
            channels, anchors = tensor.shape[1], len(scale.anchors)
            if channels % anchors:
                raise ModelError(f"output {name!r}: expected {anchors} anchors times 5 + K channels, found {channels}")
            view = tensor.reshape(len(tensor), anchors, -1, *tensor.shape[2:]).transpose(0, 1, 3, 4, 2)
        require_columns(view.shape[4], 6, name)
        maps.append(view)
    return maps


def _cell_boxes(image: Floats, chosen: Chosen, scale: _Scale) -> Floats:
    """Return the corners in pixels of chosen cells of one (A, h, w, 5 + K) map."""
    anchor, row, col = np.unravel_index(chosen.rows, image.shape[:3])
    values = image[anchor, row, col, :4]
    stride = np.array([scale.size[1] / image.shape[2], scale.size[0] / image.shape[1]], np.float32)
    centres, sizes = values[:, :2], values[:, 2:]
    if not scale.is_activated:
        centres = sigmoid(centres)
        sizes = sigmoid(sizes) if scale.is_bounded else sizes
    centres = centres * np.float32(scale.gain) - np.float32((scale.gain - 1) / 2)
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = (2 * sizes) ** 2 if scale.is_bounded else np.exp(sizes)
        cells = np.stack([col, row], axis=1).astype(np.float32)
        return to_corners(np.concatenate([(centres + cells) * stride, sizes * scale.anchors[anchor]], axis=1))
