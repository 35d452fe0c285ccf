"""Decoder of YOLOX: cells of grids without anchors (Ge et al., YOLOX: exceeding YOLO series in 2021)."""

import math
from collections.abc import Iterator

import numpy as np

from geodl_core.domain.detection.anchors import Level, anchors_at, apply_offsets, count_anchors, read_strides
from geodl_core.domain.detection.decoder import Decoder, Found, Tensor
from geodl_core.domain.detection.dense import (
    check_tensors,
    choose_objects,
    columns,
    require_columns,
    require_finite,
    require_sigmoid,
    to_found,
)
from geodl_core.domain.detection.options import option
from geodl_core.errors import ModelError

_USUAL = ((8, 16, 32), (8, 16, 32, 64))


def decode_yolox(tensors: tuple[Tensor, ...], decoder: Decoder, size: tuple[int, int], threshold: float) -> list[Found]:
    """Decode (N, B, 5 + K) dx, dy, ln w, ln h, objectness, class scores, in strides of a cell.

    The centre is (d + the cell's column and row) × stride, the size exp × stride; cells follow each other stride by
    stride, row by row. The score is objectness × the best class score.

    Args:
        tensors: the one tensor.
        decoder: `classes`, `is_activated`, `first_label` are heeded, and of `settings` `strides`; without them 8, 16,
            32, and 64 where the number of boxes says so.
        size: height and width of the network's input.
        threshold: objects of a score above it are kept.

    Raises:
        ModelError: another shape, a number of boxes that no strides explain, or scores that are not finite.
    """
    (boxes,) = check_tensors(tensors, decoder, [("N", "B", columns(decoder, 5))])
    name = decoder.tensors[0]
    require_sigmoid(decoder)
    require_columns(boxes.shape[2], 6, name)
    levels = _levels(boxes.shape[1], decoder, size)
    found = []
    for image in boxes:
        require_finite(image[:, 4:], name)
        chosen = choose_objects(image[:, 4], image[:, 5:], threshold, decoder.is_activated)
        corners = apply_offsets(anchors_at(levels, chosen.rows), image[chosen.rows, :4])
        found.append(to_found(chosen, corners, decoder))
    return found


def _levels(count: int, decoder: Decoder, size: tuple[int, int]) -> tuple[Level, ...]:
    """Return the grids that have so many cells together."""
    given = None if option(decoder.settings, "strides") is None else read_strides(decoder.settings)
    for strides in _USUAL if given is None else (given,):
        for levels in _grids(strides, size):
            if count_anchors(levels) == count:
                return levels
    raise ModelError(
        f"output {decoder.tensors[0]!r}: {count} boxes do not fit the strides {given or _USUAL[1]} "
        f"of an input of {size[0]} × {size[1]} pixels"
    )


def _grids(strides: tuple[float, ...], size: tuple[int, int]) -> Iterator[tuple[Level, ...]]:
    """Return the grids of an input, whose last cells are whole ones, or partly beyond its edge."""
    for rounded in (math.floor, math.ceil):
        yield tuple(
            Level(
                rounded(size[0] / stride),
                rounded(size[1] / stride),
                (stride, stride),
                np.full((1, 2), stride, np.float32),
                offset=0,
            )
            for stride in strides
        )
