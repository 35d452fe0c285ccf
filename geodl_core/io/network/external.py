"""Weights that an ONNX model keeps outside itself: taken in, from beside it alone."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx import TensorProto

from geodl_core.errors import ModelError

MAX_BYTES = 2 << 30


def embed_external(
    proto: onnx.ModelProto, origin: str, beside: Path | Callable[[str], bytes] | None
) -> Iterator[bytes]:
    """Take a model's external data into it, and yield the content of each file used, in the order of their names.

    Args:
        proto: the model; changed.
        origin: what to call it in errors.
        beside: the folder of the files, or what reads one by name; None where there must be none.

    Raises:
        ModelError: a name that leads elsewhere, or data that is missing or too short.
    """
    tensors = [tensor for tensor in _tensors(proto) if tensor.data_location == TensorProto.EXTERNAL]
    if not tensors:
        return
    placed = [(tensor, {entry.key: entry.value for entry in tensor.external_data}) for tensor in tensors]
    names = sorted({facts.get("location", "") for _, facts in placed})
    if beside is None:
        raise ModelError(f"{origin}: keeps weights outside itself, in {', '.join(names)}")
    read = _reader(beside, origin) if isinstance(beside, Path) else beside
    contents = {name: read(_harmless(name, origin)) for name in names}
    for tensor, facts in placed:
        try:
            start, length = int(facts.get("offset", 0)), int(facts.get("length", -1))
        except ValueError as error:
            raise ModelError(f"{origin}: {tensor.name}: expected an offset and a length of its data") from error
        content = contents[facts.get("location", "")]
        end = len(content) if length < 0 else start + length
        if not 0 <= start <= end <= len(content):
            raise ModelError(f"{origin}: {tensor.name}: expected its data at {start}–{end}, found {len(content)} bytes")
        tensor.raw_data = content[start:end]
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]
    yield from (contents[name] for name in names)


def _tensors(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor of a model, those of branches, constants and functions among them."""
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _graph_tensors(graph)


def _harmless(name: str, origin: str) -> str:
    """Return a name that means a file beside the model, on any system."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    windows = PureWindowsPath(name)
    if not parts or ".." in parts or parts[0] == "/" or windows.drive or "\0" in name:
        raise ModelError(f"{origin}: expected weights beside the model, found {name!r}")
    return "/".join(parts)


def _reader(folder: Path, origin: str) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        path = folder / name
        try:
            if not path.resolve().is_relative_to(folder.resolve()):
                raise ModelError(
                    f"{origin}: expected weights beside the model, found a link that leads elsewhere: {name}"
                )
            if path.stat().st_size > MAX_BYTES:
                raise ModelError(f"{origin}: {name} is larger than the 2 GB that can be run")
            return path.read_bytes()
        except OSError as error:
            raise ModelError(f"{origin}: keeps weights in {name}, which cannot be read") from error

    return read
