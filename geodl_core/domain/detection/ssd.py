"""Decoders of SSD's heads (Liu et al., Single shot multibox detector, 2016): decoded boxes, or offsets of anchors."""

import numpy as np

from geodl_core.domain.detection.anchors import (
    Level,
    anchors_at,
    apply_offsets,
    count_anchors,
    grid_levels,
    stride_levels,
)
from geodl_core.domain.detection.answers import box_order, corners_px
from geodl_core.domain.detection.decoder import Decoder, Found, Tensor
from geodl_core.domain.detection.dense import (
    Chosen,
    Floats,
    Shape,
    check_tensors,
    choose_best,
    choose_every,
    require_finite,
    sigmoid,
    softmax,
    to_corners,
    to_found,
)
from geodl_core.domain.detection.options import numbers, one_of, option
from geodl_core.errors import ModelError

_SHAPES: tuple[Shape, Shape] = (("N", "B", 4), ("N", "B", "K"))


def decode_ssd(tensors: tuple[Tensor, ...], decoder: Decoder, size: tuple[int, int], threshold: float) -> list[Found]:
    """Decode boxes (N, B, 4) and scores (N, B, K).

    Labels count the classes without the background. Each box is one object, of its best class.

    Args:
        tensors: boxes, xmin, ymin, xmax, ymax; scores.
        decoder: `coordinates`, `classes`, `is_activated`, `first_label` are heeded, and of `settings` `background`:
            "first" (default), "last" or "none" (default where there are as many scores as classes); `activation`:
            "softmax" (default) or "sigmoid", where scores are not activated; `is_multi_label`: every class above the
            threshold is an object (default False); `order`, where the box's numbers come in another.
        size: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: another shape, another number of classes, scores that are not finite, a strange setting.
    """
    boxes, scores = check_tensors(tensors, decoder, _SHAPES)
    order = box_order(decoder, "xyxy")
    found = []
    for image, of_image in zip(boxes, scores, strict=True):
        chosen = _choose(of_image, decoder, threshold)
        found.append(to_found(chosen, corners_px(image[chosen.rows], order, decoder, size), decoder))
    return found


def decode_ssd_raw(
    tensors: tuple[Tensor, ...], decoder: Decoder, size: tuple[int, int], threshold: float
) -> list[Found]:
    """Decode offsets (N, B, 4) of anchors and class scores or logits (N, B, K).

    With an anchor cx, cy, w, h and variances u, v the box is centred at cx + u dx w, cy + u dy h, and is w exp(v dw) by
    h exp(v dh) large. Encoding "tanh" is that of fast.ai's course (2018, lesson 9), whose offsets come as y, x, h, w:
    the centre moves by tanh(d) / 2 of a cell, the size is 1 + tanh(d) / 2 of the anchor's.

    Args:
        tensors: offsets; scores.
        decoder: as for `decode_ssd`, and of `settings` the anchors: `anchors`, (B, 4) cx, cy, w, h with the input's
            width and height as 1; or `grids`, `zooms`, `ratios` (see `grid_levels`); or `strides`, `min_sizes` (see
            `stride_levels`), cut to the input as UltraFace does unless `is_clipped` is False. Besides `variances`
            (default 0.1 and 0.2), `encoding`: "offsets" (default), or "tanh" with `grids`.
        size: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: as by `decode_ssd`; anchors that are missing or are not as many as boxes.
    """
    offsets, scores = check_tensors(tensors, decoder, _SHAPES)
    anchors, levels = _anchors(offsets.shape[1], decoder, size)
    variances = numbers(decoder.settings, "variances", (0.1, 0.2))
    if len(variances) != 2:
        raise ModelError(f"detector: expected variances of centre and size, found {variances.tolist()}")
    encoding = one_of(decoder.settings, "encoding", ("offsets", "tanh"), "offsets")
    if encoding == "tanh" and not levels:
        raise ModelError("detector: the encoding tanh is of anchors on grids, found anchors one by one")
    found = []
    for image, of_image in zip(offsets, scores, strict=True):
        chosen = _choose(of_image, decoder, threshold)
        own, moved = anchors[chosen.rows], image[chosen.rows]
        if encoding == "tanh":
            boxes = _tanh_boxes(own, moved, _steps(levels)[chosen.rows])
        else:
            boxes = apply_offsets(own, moved, (float(variances[0]), float(variances[1])))
        found.append(to_found(chosen, boxes, decoder))
    return found


def _choose(values: Floats, decoder: Decoder, threshold: float) -> Chosen:
    """Choose among (B, K) scores or logits, leaving out the background."""
    name = decoder.tensors[1]
    require_finite(values, name)
    columns = _foreground(values.shape[1], decoder)
    if not decoder.is_activated:
        activation = one_of(decoder.settings, "activation", ("softmax", "sigmoid"), "softmax")
        values = softmax(values) if activation == "softmax" else sigmoid(values)
    choose = choose_every if option(decoder.settings, "is_multi_label", False) else choose_best
    return choose(values[:, columns], threshold)


def _foreground(count: int, decoder: Decoder) -> slice:
    """Return the columns of the classes among so many scores."""
    default = "none" if decoder.classes == count else "first"
    background = one_of(decoder.settings, "background", ("none", "first", "last"), default)
    columns = slice(int(background == "first"), count - (background == "last"))
    classes = columns.stop - columns.start
    if classes < 1 or decoder.classes not in {None, classes}:
        expected = "at least one class" if decoder.classes is None else f"{decoder.classes} classes"
        raise ModelError(
            f"output {decoder.tensors[1]!r}: expected scores of {expected}, background {background}, "
            f"found {count} scores a box"
        )
    return columns


def _anchors(count: int, decoder: Decoder, size: tuple[int, int]) -> tuple[Floats, tuple[Level, ...]]:
    """Return (B, 4) cx, cy, w, h in pixels, and the levels where anchors lie on grids."""
    settings = decoder.settings
    height, width = size
    limits = np.array([width, height, width, height], np.float32)
    levels: tuple[Level, ...] = ()
    if option(settings, "anchors") is not None:
        anchors = _given_anchors(option(settings, "anchors")) * limits
    elif option(settings, "grids") is not None:
        levels = grid_levels(settings, size)
        anchors = _every(levels)
    elif option(settings, "min_sizes") is not None:
        anchors = _every(stride_levels(settings, size))
        anchors = np.minimum(anchors, limits) if option(settings, "is_clipped", True) else anchors
    else:
        raise ModelError(
            f"detector: output {decoder.tensors[0]!r} gives offsets of anchors, but nothing says which",
            hint="Name anchors, or grids, zooms and ratios, or strides and min_sizes.",
        )
    if len(anchors) != count:
        raise ModelError(
            f"output {decoder.tensors[0]!r}: expected a box for each of {len(anchors)} anchors, found {count}"
        )
    return anchors, levels


def _given_anchors(given: object) -> Floats:
    try:
        anchors = np.asarray(given, np.float32)
    except (TypeError, ValueError):
        anchors = np.zeros(0, np.float32)
    if anchors.ndim != 2 or anchors.shape[1] != 4 or not np.isfinite(anchors).all():
        raise ModelError(f"detector: expected anchors as rows of cx, cy, w, h, found the shape {anchors.shape}")
    return anchors


def _every(levels: tuple[Level, ...]) -> Floats:
    return anchors_at(levels, np.arange(count_anchors(levels)))


def _steps(levels: tuple[Level, ...]) -> Floats:
    """Return (B, 2) width and height in pixels of the cell of each anchor."""
    return np.concatenate([np.full((len(level), 2), level.step, np.float32) for level in levels])


def _tanh_boxes(anchors: Floats, offsets: Floats, steps: Floats) -> Floats:
    """Return corners of anchors that are moved and stretched by y, x, h, w within bounds."""
    moves = np.tanh(offsets[:, [1, 0, 3, 2]]) / 2
    centres = anchors[:, :2] + moves[:, :2] * steps
    return to_corners(np.concatenate([centres, anchors[:, 2:] * (1 + moves[:, 2:])], axis=1))
