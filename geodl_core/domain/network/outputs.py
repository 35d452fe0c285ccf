"""What the answers of a network are, as far as names and shapes tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from geodl_core.domain.network.graph import Graph, Tensor

Kind = Literal["scores", "mask", "class map", "detections", "scene", "unknown"]
Form = Literal[
    "", "boxes × values", "values × boxes", "boxes and scores", "boxes and masks", "four tensors", "finished boxes"
]
MOST_VALUES = 1024
"""Of a box; more along an axis are boxes."""
BOX_VALUES = 4
COARSE = 4
"""Pixels a cell, at least, of a detector's maps; those of classified pixels are finer."""
FINISHED_VALUES = (6, 7)
"""Four coordinates, score and class, before them the image's number in a batch."""
BOX_WORDS = ("box", "det", "bbox")
TF_WORDS = ("boxes", "scores", "classes", "num")


@dataclass(frozen=True, slots=True)
class OutputKind:
    """What a network answers."""

    kind: Kind
    form: Form
    """How detections are laid out, empty for the others."""
    tensors: tuple[str, ...]
    """Names of the outputs that carry it."""
    classes: int | None
    """Classes that are told apart, background included, where the shapes say so."""
    why: str
    """One sentence."""


def describe_outputs(graph: Graph) -> OutputKind:
    """Tell from names and shapes what a network answers; several at once are told by the first that is understood."""
    tests: tuple[Callable[[Graph], OutputKind | None], ...] = (
        *(_four_tensors, _masks, _pair, _maps),
        *(_raster, _finished, _boxes, _scene),
    )
    for test in tests:
        found = test(graph)
        if found is not None:
            return found
    names = tuple(tensor.name for tensor in graph.outputs)
    return OutputKind("unknown", "", names, None, f"{_list(graph.outputs)} is like no answer that is known.")


def _four_tensors(graph: Graph) -> OutputKind | None:
    """The TensorFlow object detection API: boxes, scores, classes, count."""
    found: dict[str, Tensor] = {}
    for word in TF_WORDS:
        fitting = [
            tensor for tensor in graph.outputs if word in tensor.name.lower() and "raw" not in tensor.name.lower()
        ]
        if not fitting:
            return None
        found[word] = fitting[0]
    if len({tensor.name for tensor in found.values()}) < len(TF_WORDS) or found["boxes"].shape[-1:] != (BOX_VALUES,):
        return None
    names = tuple(tensor.name for tensor in found.values())
    return OutputKind(
        "detections", "four tensors", names, None, f"{', '.join(names)} are boxes, scores, classes and their number."
    )


def _masks(graph: Graph) -> OutputKind | None:
    """Boxes with the masks of their objects, or with coefficients of prototypes of these."""
    for boxes in graph.outputs:
        if len(boxes.shape) != 3 or boxes.dtype.startswith(("int", "uint")) or _is_image_like(boxes, graph):
            continue
        for masks in graph.outputs:
            is_each = len(masks.shape) == 5 and masks.shape[1] == boxes.shape[1] and boxes.shape[2] in FINISHED_VALUES
            count = masks.shape[1] if len(masks.shape) == 4 else None
            widths = [size for size in boxes.shape[1:] if _is_values(size)]
            is_composed = count is not None and any(size > count + BOX_VALUES for size in widths if size is not None)
            if is_each or is_composed:
                what = "their masks" if is_each else "what their masks are composed of"
                why = f"{boxes} holds boxes, {masks} {what}."
                return OutputKind("detections", "boxes and masks", (boxes.name, masks.name), None, why)
    return None


def _maps(graph: Graph) -> OutputKind | None:
    """The undecoded maps of a detector: alike on every scale, halving from one to the next, all of them coarse."""
    image = _image(graph)
    maps = [tensor for tensor in graph.outputs if len(tensor.shape) in (4, 5) and tensor.dtype.startswith("float")]
    sides = sorted({tensor.shape[2] or 0 for tensor in maps}, reverse=True)
    channels = {
        tuple(sorted((tensor.shape[1] or 0, *map(str, tensor.shape[4:])) for tensor in maps if tensor.shape[2] == side))
        for side in sides
    }
    if image is None or len(maps) < len(graph.outputs) or len(sides) < 2 or len(channels) != 1 or sides[-1] == 0:
        return None
    is_coarse = max(image.shape[1] or 0, image.shape[2] or 0) >= COARSE * sides[0]
    if not is_coarse or any(first not in (2 * second, 2 * second - 1) for first, second in pairwise(sides)):
        return None
    names = tuple(tensor.name for tensor in maps)
    return OutputKind("detections", "", names, None, f"{_list(tuple(maps))} are undecoded maps of several scales.")


def _pair(graph: Graph) -> OutputKind | None:
    """Boxes and scores of equally many boxes, with or without the classes as a third."""
    for boxes in graph.outputs:
        if len(boxes.shape) not in (2, 3) or boxes.shape[-1] != BOX_VALUES or _is_image_like(boxes, graph):
            continue
        for scores in graph.outputs:
            is_same_count = scores.shape[: len(boxes.shape) - 1] == boxes.shape[:-1]
            if scores.name == boxes.name or not is_same_count or scores.dtype.startswith(("int", "uint")):
                continue
            classes = scores.shape[-1] if len(scores.shape) == len(boxes.shape) else None
            labels = [
                tensor.name
                for tensor in graph.outputs
                if tensor.dtype.startswith("int") and tensor.shape == scores.shape[: len(boxes.shape) - 1]
            ]
            names = (boxes.name, scores.name, *labels[:1])
            why = f"{boxes} holds four coordinates a box, {scores} scores for as many boxes."
            return OutputKind("detections", "boxes and scores", names, classes, why)
    return None


def _raster(graph: Graph) -> OutputKind | None:
    """Scores, a mask or a class map over the image."""
    for tensor in graph.outputs:
        if len(tensor.shape) not in (3, 4) or not _is_image_like(tensor, graph):
            continue
        channels = _channels(tensor, graph)
        if tensor.dtype.startswith(("int", "uint", "bool")):
            why = f"{tensor} holds one whole number a pixel."
            return OutputKind("class map", "", (tensor.name,), None, why)
        if channels == 1:
            return OutputKind("mask", "", (tensor.name,), 2, f"{tensor} holds one score a pixel.")
        many = "scores" if channels is None else f"{channels} scores"
        return OutputKind("scores", "", (tensor.name,), channels, f"{tensor} holds {many} a pixel.")
    return None


def _finished(graph: Graph) -> OutputKind | None:
    """One row a box that suppression left over."""
    for tensor in graph.outputs:
        is_few = len(tensor.shape) == 3 and (tensor.shape[1] is None or tensor.shape[1] <= MOST_VALUES)
        is_flat = len(tensor.shape) == 2 and tensor.shape[0] is None and _is_named(tensor)
        if tensor.shape[-1:] and tensor.shape[-1] in FINISHED_VALUES and (is_few or is_flat):
            why = f"{tensor} holds a row of {tensor.shape[-1]} a box: coordinates, score and class."
            return OutputKind("detections", "finished boxes", (tensor.name,), None, why)
    return None


def _boxes(graph: Graph) -> OutputKind | None:
    """The undivided answer of the YOLO family."""
    for tensor in graph.outputs:
        if len(tensor.shape) != 3 or tensor.dtype.startswith(("int", "uint")):
            continue
        middle, last = tensor.shape[1], tensor.shape[2]
        if _is_values(last) and last is not None and (middle is None or middle > last):
            classes = last - BOX_VALUES - 1
            why = f"{tensor} holds, a box, four coordinates, its own score and {classes} class scores."
            return OutputKind("detections", "boxes × values", (tensor.name,), classes, why)
        if _is_values(middle) and middle is not None and (last is None or last > middle):
            classes = middle - BOX_VALUES
            why = f"{tensor} holds, a box along the last axis, four coordinates and {classes} class scores."
            return OutputKind("detections", "values × boxes", (tensor.name,), classes, why)
    return None


def _scene(graph: Graph) -> OutputKind | None:
    """One answer for the whole image."""
    for tensor in graph.outputs:
        sizes = tensor.shape
        is_row = len(sizes) == 2 or (len(sizes) == 4 and 1 in (sizes[2], sizes[1]) and sizes.count(1) >= 2)
        if is_row and not _is_named(tensor):
            classes = next((size for size in sizes[1:] if size not in (None, 1)), 2 if sizes[1] == 1 else None)
            why = f"{tensor} holds one row of scores for the whole image."
            return OutputKind("scene", "", (tensor.name,), classes, why)
    return None


def _is_image_like(tensor: Tensor, graph: Graph) -> bool:
    return _row_axis(tensor, graph) is not None


def _row_axis(tensor: Tensor, graph: Graph) -> int | None:
    """Return the axis of rows where two neighbouring axes may be the image's, scaled or cropped alike."""
    image = _image(graph)
    if image is None or len(tensor.shape) not in (3, 4):
        return None
    pairs = ((image.shape[2], image.shape[3]), (image.shape[1], image.shape[2]))
    rows = (1,) if len(tensor.shape) == 3 else (2, 1)
    # Rows stay where they are in most networks; only then are other places tried.
    tries = [*((row, pairs[0 if row == 2 else 1]) for row in rows), *((row, pair) for row in rows for pair in pairs)]
    for row, (first, second) in tries:
        height, width = tensor.shape[row : row + 2]
        if None in (first, second) and height is None and width is None:
            return row
        if _is_scaled(height, width, first, second):
            return row
    return None


def _is_scaled(height: int | None, width: int | None, first: int | None, second: int | None) -> bool:
    if height is None or width is None or first is None or second is None or min(height, width) < 8:
        return False
    return height * second == width * first or height - first == width - second


def _channels(tensor: Tensor, graph: Graph) -> int | None:
    """Return the channels of a raster: those of the axis that is not the image's."""
    if len(tensor.shape) == 3:
        return 1
    return tensor.shape[1 if _row_axis(tensor, graph) == 2 else 3]


def _image(graph: Graph) -> Tensor | None:
    return next((tensor for tensor in graph.inputs if len(tensor.shape) == 4), None)


def _is_values(size: int | None) -> bool:
    return size is not None and BOX_VALUES < size <= MOST_VALUES


def _is_named(tensor: Tensor) -> bool:
    return any(word in tensor.name.lower() for word in BOX_WORDS)


def _list(tensors: tuple[Tensor, ...]) -> str:
    return "; ".join(map(str, tensors)) or "no output"
