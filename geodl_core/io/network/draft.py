"""Changes to an ONNX graph, collected and then made at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

PREFIX = "geodl_rewritten_"


class Draft:
    """What is known of a graph, and the nodes that shall replace some of its own."""

    def __init__(self, graph: onnx.GraphProto, opset: int) -> None:
        self.graph = graph
        self.opset = opset
        self.makers = {name: node for node in graph.node for name in node.output}
        self.nodes: list[NodeProto] = []
        """Added since the last `replace`."""
        self._uses = Counter(_used(graph))
        self._readers = {name: node for node in graph.node for name in node.input}
        self._initial = {tensor.name: tensor for tensor in graph.initializer}
        # Weights that are inputs too may be given at each call.
        for value in graph.input:
            self._initial.pop(value.name, None)
        self._taken = {*self.makers, *self._uses, *self._initial, *(value.name for value in graph.input)}
        self._replaced: dict[str, list[NodeProto]] = {}
        self._weights: list[TensorProto] = []
        self._count = 0

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """Return the named tensor where the file holds it."""
        if name in self._initial:
            return numpy_helper.to_array(self._initial[name])
        node = self.makers.get(name)
        if node is None or node.op_type != "Constant" or node.attribute[0].name != "value":
            return None
        return numpy_helper.to_array(node.attribute[0].t)

    def floats(self, name: str) -> npt.NDArray[np.float32] | None:
        """Return the named tensor where the file holds it, as float32."""
        array = self.constant(name)
        return array if array is not None and array.dtype == np.float32 else None

    def reader(self, name: str) -> NodeProto | None:
        """Return the only node that uses a tensor; None where others do too, or the graph's outputs hold it."""
        return self._readers.get(name) if self._uses[name] == 1 else None

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node and return the name of its result."""
        name = self._name()
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def convolve(
        self,
        source: str,
        weights: npt.NDArray[np.float32],
        bias: npt.NDArray[np.float32] | None,
        geometry: Sequence[AttributeProto],
    ) -> str:
        """Add a convolution, its padding and steps given as ONNX has them, and return the name of its result."""
        constants = [weights] if bias is None else [weights, bias]
        name = self.add("Conv", [source, *(self._hold(constant) for constant in constants)])
        self.nodes[-1].attribute.extend(geometry)
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Hold a list of whole numbers and return its name."""
        return self._hold(np.asarray(values, np.int64))

    def declare_equal(self, names: Sequence[str], channels: int) -> None:
        """Say that tensors have one shape, which onnxruntime cannot see but needs for adding within a convolution."""
        shape: list[str | int | None] = [f"{names[0]}_n", channels, f"{names[0]}_h", f"{names[0]}_w"]
        self.graph.value_info.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names)

    def replace(self, node: NodeProto, result: str) -> None:
        """Put what was added in a node's place, its last result under the name `result`."""
        self.nodes[-1].output[0] = result
        self._replaced[node.output[0]] = self.nodes
        self.nodes = []

    def finish(self) -> None:
        """Change the graph; what nobody uses any longer is left out."""
        if not self._replaced:
            return
        before = {name for node in self.graph.node for name in node.input}
        news = {name for nodes in self._replaced.values() for node in nodes for name in node.output}
        nodes: list[NodeProto] = []
        for node in self.graph.node:
            if node.output and node.output[0] in self._replaced:
                nodes.extend(self._replaced[node.output[0]])
            # Of what follows a replaced node (normalisation, activation) the result is made already.
            elif not news.intersection(node.output):
                nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        while unused := self._unused(before):
            kept = [node for node in self.graph.node if not unused.issuperset(node.output)]
            del self.graph.node[:]
            self.graph.node.extend(kept)
        used = set(_used(self.graph))
        held = [tensor for tensor in self.graph.initializer if tensor.name in used or tensor.name not in before]
        del self.graph.initializer[:]
        self.graph.initializer.extend([*held, *self._weights])

    def _unused(self, before: set[str]) -> set[str]:
        """Return results that a node used before, and none does now."""
        used = set(_used(self.graph))
        makers = [node for node in self.graph.node if not used.intersection(node.output)]
        return {name for node in makers for name in node.output if before.intersection(node.output)}

    def _hold(self, values: npt.NDArray[Any]) -> str:
        name = self._name()
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _name(self) -> str:
        while True:
            self._count += 1
            name = f"{PREFIX}{self._count}"
            if name not in self._taken:
                return name


def _used(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the name of each tensor as often as it is used, branches and loops within included."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for item in node.attribute:
            for inner in (*item.graphs, *([item.g] if item.HasField("g") else [])):
                yield from _used(inner)
