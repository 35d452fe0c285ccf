"""How far an ONNX network's answer reaches, by following the image through its graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import floor, lcm
from typing import Any

import numpy as np
import onnx
from onnx import helper, inliner

from geodl_core.domain.model.tensors import Layout
from geodl_core.domain.network.reach import Reach
from geodl_core.domain.network.receptive_field import IMAGE, radius
from geodl_core.errors import ModelError
from geodl_core.io.network.constants import compute, constant_of, initializer
from geodl_core.io.network.layouts import LAYOUTS
from geodl_core.io.network.mixing import MIXING
from geodl_core.io.network.reshapes import RESHAPES
from geodl_core.io.network.trace import Call, Constant, Pixels, Role, Traced
from geodl_core.io.network.windows import WINDOWS

OPERATORS = {**WINDOWS, **LAYOUTS, **RESHAPES, **MIXING}
ORIGIN = "graph"
SIZES = (161280, 645120)
"""Sides that a graph of open size is followed at: multiples of every usual stride, so that halvings come out even."""
MALFORMED = (ValueError, IndexError, TypeError, KeyError, AttributeError, ArithmeticError)
"""What a node raises whose attributes or inputs are not those of its operator."""
DEFAULT_DOMAINS = ("", "ai.onnx")

Values = dict[str, Traced]


class Walk:
    """The tensors of a graph, followed at one size of the image.

    Args:
        proto: the model; its local functions must be inlined.
        image: the input's name.
        layout: of the input.
        size_px: side of the image wherever the graph leaves it open.
    """

    def __init__(self, proto: onnx.ModelProto, image: str, layout: Layout, size_px: int) -> None:
        self.opset = max((entry.version for entry in proto.opset_import if entry.domain in DEFAULT_DOMAINS), default=1)
        self.notes: dict[str, None] = {}
        self.values: Values = {tensor.name: initializer(tensor) for tensor in proto.graph.initializer}
        self.values |= {tensor.values.name: Constant(tuple(tensor.dims)) for tensor in proto.graph.sparse_initializer}
        self.is_global = False
        self.failure: ModelError | None = None
        """Why the walk stopped, if it did."""
        for value in proto.graph.input:
            if value.name == image:
                self.values[image] = _image(value, layout, size_px)
            elif value.name not in self.values:
                self.values[value.name] = Constant(None)
        if not isinstance(self.values.get(image), Pixels):
            raise ModelError(f"the graph: expected an input {image}, found none")
        self.image = self.values[image]
        try:
            self._follow(proto.graph.node)
        except ModelError as error:
            self.failure = error

    def _follow(self, nodes: Iterable[onnx.NodeProto]) -> None:
        for node in nodes:
            inputs = [self._value(node, name) if name else None for name in node.input]
            inner = [entry.g for entry in node.attribute if entry.type == onnx.AttributeProto.GRAPH]
            if inner:
                self._follow_inner(node, inputs, inner)
                continue
            try:
                results = self._step(node, inputs)
            except MALFORMED as error:
                shapes = [value.shape for value in inputs if value is not None]
                raise ModelError(
                    f"the node {node.name}, {node.op_type}: does not fit its inputs {shapes} ({error})"
                ) from error
            self.values.update((name, value) for name, value in zip(node.output, results, strict=False) if name)

    def _value(self, node: onnx.NodeProto, name: str) -> Traced:
        found = self.values.get(name)
        if found is None:
            raise ModelError(
                f"the node {node.name}, {node.op_type}: its input {name} comes from nothing that is followed"
            )
        return found

    def _step(self, node: onnx.NodeProto, inputs: list[Traced | None]) -> Sequence[Traced]:
        pixels = [value for value in inputs if isinstance(value, Pixels)]
        if node.op_type in ("Shape", "Size") and pixels:
            return [_shape(node, pixels[0])]
        if not pixels:
            if node.domain not in DEFAULT_DOMAINS:
                return [Constant(None) for _ in node.output]
            return compute(node, [value for value in inputs if not isinstance(value, Pixels)], self.opset)
        call = Call(node.op_type, node.name, _attributes(node), inputs, self.opset, self.notes)
        # A part of the network that sees the whole tile already decides; where that part ends no longer matters.
        self.is_global |= any(value.is_global for value in pixels)
        operator = OPERATORS.get(node.op_type) if node.domain in DEFAULT_DOMAINS else None
        if operator is None:
            raise call.error("is not known here, so how far it reaches is not either")
        results = operator(call)
        self.is_global |= any(isinstance(value, Pixels) and value.is_global for value in results)
        return results

    def _follow_inner(
        self, node: onnx.NodeProto, inputs: Sequence[Traced | None], inner: Sequence[onnx.GraphProto]
    ) -> None:
        """Follow the branch that a known condition chooses; other subgraphs only if no pixels enter."""
        condition = inputs[0] if node.op_type == "If" else None
        if isinstance(condition, Constant) and condition.value is not None:
            key = "then_branch" if bool(condition.value.all()) else "else_branch"
            branch = next(entry.g for entry in node.attribute if entry.name == key)
            self.values |= {tensor.name: initializer(tensor) for tensor in branch.initializer}
            self._follow(branch.node)
            self.values |= {
                name: self.values[value.name] for name, value in zip(node.output, branch.output, strict=True)
            }
            return
        read = {name for graph in inner for name in _read(graph)} | set(node.input)
        if any(isinstance(self.values.get(name), Pixels) for name in read):
            raise ModelError(f"the node {node.name}, {node.op_type}: pixels enter a branch or a loop")
        self.values |= {name: Constant(None) for name in node.output if name}


def walk_reach(
    proto: onnx.ModelProto,
    input_name: str,
    layout: Layout,
    reasons: list[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Reach | None:
    """Follow the image through the graph and tell how far its answers reach.

    What holds at two sizes of the image holds at all; a graph of fixed size is followed at that one.

    Args:
        proto: the model.
        input_name: the input that takes the image.
        layout: of that input.
        reasons: takes why there is no answer.
        outputs: those that count; all where it is None.

    Returns:
        The reach, or None where the graph holds something that is not known here.

    Raises:
        ModelError: there is no such input, or it has not four dimensions.
    """
    reasons = [] if reasons is None else reasons
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    names = [value.name for value in proto.graph.output if outputs is None or value.name in outputs]
    found: list[Reach] = []
    for size in SIZES:
        walk = Walk(proto, input_name, layout, size)
        if walk.failure is not None and not walk.is_global:
            reasons.append(walk.failure.message)
            return None
        reach = _reach(walk, names)
        if reach is None:
            reasons.append("no output depends on the image")
            return None
        found.append(reach)
        if size not in _sides(walk):
            return reach
    first, second = found
    if first.radius_px != second.radius_px or first.stride_px != second.stride_px:
        note = "resizes, slices or pools by numbers that do not follow the size of the tile"
        return Reach(None, 1, True, ORIGIN, (*first.notes, note))
    return first


def answer_step(proto: onnx.ModelProto, input_name: str, output_name: str, layout: Layout) -> int | None:
    """Return how many input pixels lie along one pixel of an output, None where that is not a whole number, or unknown.

    Args:
        proto: the model.
        input_name: the input that takes the image.
        output_name: the output that is meant.
        layout: of both.
    """
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    answer = Walk(proto, input_name, layout, SIZES[0]).values.get(output_name)
    if not isinstance(answer, Pixels) or answer.axis("row") is None or answer.axis("col") is None:
        return None
    step = answer.rows.step
    return int(step) if step == answer.cols.step and step >= 1 and step.denominator == 1 else None


def _reach(walk: Walk, names: Sequence[str]) -> Reach | None:
    """Return the reach of the outputs together."""
    tensors = [walk.values.get(name) for name in names]
    seen = [tensor for tensor in tensors if isinstance(tensor, Pixels)]
    notes = dict(walk.notes)
    if walk.failure is not None:
        notes[f"was followed only up to {walk.failure.message}"] = None
        seen = seen or [tensor for tensor in walk.values.values() if isinstance(tensor, Pixels)]
    elif not seen:
        return None
    is_global = walk.failure is not None
    farthest, stride = 0, 1
    for tensor in seen:
        crops = _crops(walk, tensor, notes)
        sides = [radius(field, crop) for field, crop in zip((tensor.rows, tensor.cols), crops, strict=True)]
        farthest = max(farthest, *sides)
        stride = lcm(stride, tensor.rows.period_px, tensor.cols.period_px)
        is_global |= tensor.is_global or (tensor.is_placed and tensor.axis("row") is not None)
        if tensor.is_placed and tensor.axis("row") is not None:
            notes["joins the image with constants that differ from place to place"] = None
        if "list" in tensor.roles or "both" in tensor.roles:
            notes["the answer is a list: the reach is that of the cells it comes from"] = None
    if not is_global and farthest >= min(_sides(walk)):
        is_global = True
        notes[f"an answer reaches {farthest} pixels, the whole of the tile"] = None
    elif is_global:
        notes[f"apart from that an answer reaches {farthest} pixels"] = None
    return Reach(None if is_global else farthest, stride, is_global, ORIGIN, tuple(notes))


def _crops(walk: Walk, tensor: Pixels, notes: dict[str, None]) -> tuple[int, int]:
    """Return the pixels above and left of a raster's first element, taking its border as equally wide on all sides."""
    if tensor.axis("row") is None or tensor.axis("col") is None:
        return 0, 0
    crops: list[int] = []
    for size, field, side in zip(tensor.grid, (tensor.rows, tensor.cols), _sides(walk), strict=True):
        left = side - size * field.step
        crops.append(floor(left / 2))
        if left and left != 2 * crops[-1]:
            notes[f"the answer lacks {left} pixels of the image, which cannot be the same on both sides"] = None
    return crops[0], crops[1]


def _sides(walk: Walk) -> tuple[int, int]:
    assert isinstance(walk.image, Pixels)
    return walk.image.grid


def _image(value: onnx.ValueInfoProto, layout: Layout, size_px: int) -> Pixels:
    sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
    if len(sizes) != 4:
        raise ModelError(f"the graph: expected an image of four dimensions, found {value.name} of {len(sizes)}")
    row, col = layout.index("H"), layout.index("W")
    roles: list[Role] = [""] * 4
    roles[row], roles[col] = "row", "col"
    shape = tuple(size if size > 0 else size_px if axis in (row, col) else 1 for axis, size in enumerate(sizes))
    return Pixels(shape, tuple(roles), IMAGE, IMAGE, (shape[row], shape[col]))


def _shape(node: onnx.NodeProto, pixels: Pixels) -> Constant:

    if node.op_type == "Size":
        return constant_of(np.asarray(np.prod(pixels.shape), np.int64))
    attributes = _attributes(node)
    return constant_of(np.asarray(pixels.shape[attributes.get("start", 0) : attributes.get("end")], np.int64))


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    found: dict[str, Any] = {"_outputs": len(node.output)}
    for entry in node.attribute:
        value = helper.get_attribute_value(entry)
        found[entry.name] = value.decode() if isinstance(value, bytes) else value
    return found


def _read(graph: onnx.GraphProto) -> Iterable[str]:
    for node in graph.node:
        yield from node.input
        for entry in node.attribute:
            if entry.type == onnx.AttributeProto.GRAPH:
                yield from _read(entry.g)
