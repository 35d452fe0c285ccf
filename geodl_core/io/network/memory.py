"""How much memory an ONNX network's activations take at once."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import onnx
from onnx import helper, inliner

from geodl_core.domain.model.tensors import Layout
from geodl_core.io.network.shapes import infer_types, shapes_of, with_size

ARENA_FACTOR = 2.0
"""What onnxruntime holds for its tensors, as a multiple of those that are live: its arena's gaps, and its own buffers.

A bound. Growth of the resident set from before the first run to its most in six (onnxruntime 1.31, CPU, one thread,
arena on, no memory patterns, graphs fused as for a run): the yardstick's U-Net 1.31 at 512 pixels, 1.46 at 640, 1.30 at
1024, 1.53 at 1136; landcover 1.36; water 1.17; Dynamic World 1.73 at 300, 2.04 at 512, 1.66 at 640, 2.01 at 1024;
Esri's CNTK land classifier 1.47. With memory patterns the U-Net takes 2.77 at 1136 pixels, with an arena that grows by
what is asked (kSameAsRequested) 1.94.
"""
USUAL_ITEM_BYTES = 4
"""Of an element whose type is not inferred: a float32."""


def peak_bytes_per_px(proto: onnx.ModelProto, chip_px: tuple[int, int], layout: Layout) -> float | None:
    """Return the bytes of activations that are held at once, at most, for each pixel of the image.

    Nodes run in the order of the file. A tensor lives from its making to its last use, the image from the start, the
    graph's outputs to the end; weights, and what is computed from them alone, do not count.

    Args:
        proto: the model.
        chip_px: height and width that the image has where the graph leaves them open; multiples of the total stride.
        layout: of the image.

    Returns:
        The bytes, None where the size of a tensor that depends on the image cannot be told.
    """
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    fixed, pixels = with_size(proto, chip_px, layout)
    sizes = _sizes(fixed, layout, chip_px)
    peak = None if sizes is None else _peak(fixed.graph, sizes)
    return None if peak is None else peak / pixels


def _sizes(fixed: onnx.ModelProto, layout: Layout, chip_px: tuple[int, int]) -> dict[str, int] | None:
    """Return the bytes of each tensor that follows from the image, None where one of them cannot be told."""
    types = infer_types(fixed)
    shapes = shapes_of(fixed, layout, chip_px, types)
    sizes: dict[str, int] = {}
    for name, has_pixels in _from_image(fixed.graph).items():
        shape = shapes.get(name)
        if shape is not None:
            sizes[name] = prod(shape) * _item_bytes(types.get(name))
        elif has_pixels:
            return None
    return sizes


def _from_image(graph: onnx.GraphProto) -> dict[str, bool]:
    """Return the tensors that follow from the image, each with whether its values do or only its size."""
    weights = {tensor.name for tensor in graph.initializer}
    found = {value.name: True for value in graph.input if value.name not in weights}
    for node in graph.node:
        read = [found[name] for name in _read(node) if name in found]
        if read:
            has_pixels = any(read) and node.op_type not in ("Shape", "Size")
            found.update((name, has_pixels) for name in node.output if name)
    return found


def _peak(graph: onnx.GraphProto, sizes: dict[str, int]) -> int:
    """Return the most bytes that are live at once."""
    last = {value.name: -1 for value in graph.input}
    for index, node in enumerate(graph.node):
        last |= dict.fromkeys((*_read(node), *node.output), index)
    last |= {value.name: len(graph.node) for value in graph.output}
    live = sum(sizes.get(value.name, 0) for value in graph.input)
    peak = live
    for index, node in enumerate(graph.node):
        made = [name for name in node.output if name]
        live += sum(sizes.get(name, 0) for name in made)
        peak = max(peak, live)
        live -= sum(sizes.get(name, 0) for name in {*_read(node), *made} if last[name] == index)
    return peak


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the tensors that a node reads, those that its branches take from outside included."""
    yield from filter(None, node.input)
    for entry in node.attribute:
        if entry.type == onnx.AttributeProto.GRAPH:
            for inner in entry.g.node:
                yield from _read(inner)


def _item_bytes(kind: onnx.TypeProto.Tensor | None) -> int:
    try:
        return helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize if kind else USUAL_ITEM_BYTES
    except KeyError:
        return USUAL_ITEM_BYTES
