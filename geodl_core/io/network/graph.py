"""ONNX files, read from outside."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import helper

from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.errors import ModelError
from geodl_core.io.network.external import embed_external

MIN_OPSET = 7
"""Before it, arithmetic does not broadcast."""
RESHAPING = (
    *("Cast", "Clip", "DepthToSpace", "Identity", "Pad", "Reshape", "Resize", "Slice", "Squeeze", "Transpose"),
    *("Unsqueeze", "Upsample"),
)
"""Operators that leave scores scores."""


@dataclass(frozen=True, slots=True)
class GraphFile:
    """An ONNX model in memory, external data included."""

    proto: onnx.ModelProto
    graph: Graph


def load_graph(content: bytes, origin: str, beside: Path | Callable[[str], bytes] | None = None) -> GraphFile:
    """Read an ONNX model.

    Args:
        content: the file's bytes.
        origin: what to call it in errors.
        beside: the folder in which its external data may lie, or what reads it by name; None where it must have none.

    Raises:
        ModelError: not ONNX, a graph without tensors, or external data that is missing or lies elsewhere.
    """
    try:
        proto = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{origin}: expected an ONNX model, found a file that is none ({reason})") from error
    digest = hashlib.sha256(content)
    for data in embed_external(proto, origin, beside):
        digest.update(data)
    if not proto.graph.output:
        raise ModelError(f"{origin}: expected an ONNX model, found a file without a graph")
    weights = {tensor.name for tensor in proto.graph.initializer}
    graph = Graph(
        inputs=tuple(_tensor(value, origin) for value in proto.graph.input if value.name not in weights),
        outputs=tuple(_tensor(value, origin) for value in proto.graph.output),
        activations=tuple(_activation(proto.graph, value.name) for value in proto.graph.output),
        opset=next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0),
        digest=digest.hexdigest(),
    )
    if graph.opset < MIN_OPSET:
        raise ModelError(f"{origin}: expected ONNX opset {MIN_OPSET} or later, found {graph.opset}")
    return GraphFile(proto, graph)


def read_graph_file(path: Path) -> GraphFile:
    """Read an ONNX model from a file, its external data from the same folder.

    Raises:
        ModelError: there is no such file, or as `load_graph`.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: expected an ONNX model, found no file that can be read") from error
    return load_graph(content, str(path), path.parent)


def _activation(graph: onnx.GraphProto, name: str) -> str | None:
    """Return `Softmax` or `Sigmoid` where one computes the tensor, apart from operators that only reshape."""
    makers = {output: node for node in graph.node for output in node.output}
    for _ in range(len(graph.node)):
        node = makers.get(name)
        if node is None or node.op_type not in (*RESHAPING, "Softmax", "Sigmoid"):
            return None
        if node.op_type not in RESHAPING:
            return str(node.op_type)
        name = node.input[0]
    return None


def _tensor(value: onnx.ValueInfoProto, origin: str) -> Tensor:
    kind = value.type.tensor_type
    sizes = tuple(size.dim_value if size.dim_value > 0 else None for size in kind.shape.dim)
    try:
        return Tensor(value.name, str(helper.tensor_dtype_to_np_dtype(kind.elem_type)), sizes)
    except KeyError as error:
        raise ModelError(f"{origin}: {value.name}: expected a tensor of numbers, found something else") from error
