"""ONNX files: read from outside, and fused with the arithmetic before and after the network."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import TensorProto, compose, helper, numpy_helper, version_converter

from geodl_core.domain.model.model import Model
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.domain.radiometry import Radiometry
from geodl_core.errors import ModelError
from geodl_core.io.network.external import embed_external

MIN_OPSET = 7
"""Before it, arithmetic does not broadcast."""
RESIZE_OPSET = 11
"""From it on pixels can be told to have their centres where they have them."""
PREFIX = "geodl_"
PIXELS = f"{PREFIX}pixels"
ANSWER = f"{PREFIX}answer"
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


@dataclass(frozen=True, slots=True)
class Feed:
    """What happens to stored pixel values before the network."""

    radiometry: Radiometry
    """Scale and offset of each channel."""
    chip_dtype: str
    """NumPy's name of the type of the stored values."""
    preprocessing: GraphFile | None = None
    """A graph (N, C, H, W) float32 → what the network takes, run after scale and offset."""


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


def fuse(file: GraphFile, model: Model, feed: Feed, gives_scores: bool = False) -> bytes:
    """Build the graph that takes stored pixel values and gives class indices.

    stored values → float → × scale + offset → preprocessing graph → the network → result to the input's pixels where
    it is coarser → activation where it has none and one is needed → ArgMax (scores) or > threshold (mask).

    Args:
        file: the model's own graph, left as it is.
        model: what its tensors mean.
        feed: what comes before it.
        gives_scores: leave off the last step, for scores to be blended.

    Returns:
        A serialised ONNX model: `geodl_pixels` (N, C, H, W) → `geodl_answer` (N, h, w), where a mask or class map
        may keep a channel axis of 1; with `gives_scores` (N, C, h, w) float32 in [0, 1].

    Raises:
        ModelError: larger than the 2 GB that one ONNX message may have, a coarse result of an early opset, or a
            preprocessing graph of another kind.
    """
    if model.halo.coarsening > 1 and file.graph.opset < RESIZE_OPSET:
        raise ModelError(
            f"the network's result is {model.halo.coarsening} times coarser than its input, "
            f"which needs ONNX opset {RESIZE_OPSET} or later, found {file.graph.opset}",
            hint="export the network with a later opset",
        )
    proto = onnx.ModelProto()
    proto.CopyFrom(file.proto)
    graph = proto.graph
    before = _before(model, feed, file.graph.opset, graph)
    after = _after(model, gives_scores)
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(_constants(feed.radiometry, model))
    del graph.input[:]
    del graph.output[:]
    # Symbolic sizes of the original would contradict the cropped result.
    del graph.value_info[:]
    chip_type = helper.np_dtype_to_tensor_dtype(np.dtype(feed.chip_dtype))
    graph.input.append(helper.make_tensor_value_info(PIXELS, chip_type, ["n", "c", "h", "w"]))
    graph.output.append(helper.make_tensor_value_info(ANSWER, _answer_type(model, gives_scores), None))
    # From IR 4 on weights need not be inputs, which lets the runtime fold them.
    proto.ir_version = max(proto.ir_version, 4)
    try:
        content: bytes = proto.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise ModelError(f"the ONNX model {model.name} is larger than the 2 GB that can be run") from error
    return content


def _before(model: Model, feed: Feed, opset: int, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes before the network; the weights of a preprocessing graph are added to `graph`."""
    radiometry = feed.radiometry
    is_identity = set(radiometry.scale) == {1.0} and set(radiometry.offset) == {0.0}
    steps: list[tuple[str, list[str], dict[str, Any]]] = [("Cast", [], {"to": TensorProto.FLOAT})]
    if not is_identity:
        steps += [("Mul", [f"{PREFIX}scale"], {}), ("Add", [f"{PREFIX}offset"], {})]
    tail: list[tuple[str, list[str], dict[str, Any]]] = []
    if model.layout == "NHWC":
        tail.append(("Transpose", [], {"perm": [0, 2, 3, 1]}))
    if model.source.dtype != "float32":
        tail.append(("Cast", [], {"to": helper.np_dtype_to_tensor_dtype(np.dtype(model.source.dtype))}))
    if feed.preprocessing is None:
        return _chain("before", PIXELS, [*steps, *tail], model.source.name)
    inner = _preprocessing(feed.preprocessing, opset)
    graph.initializer.extend(inner.initializer)
    opened, closed = inner.input[0].name, inner.output[0].name
    last = _chain("feed", closed, [*tail, ("Identity", [], {})], model.source.name)
    return [*_chain("before", PIXELS, steps, opened), *inner.node, *last]


def _preprocessing(file: GraphFile, opset: int) -> onnx.GraphProto:
    """Return a preprocessing graph in the network's opset, its names kept apart, its weights no inputs.

    Raises:
        ModelError: it cannot be brought to that opset, or has more than one input or output.
    """
    if len(file.graph.inputs) != 1 or len(file.graph.outputs) != 1:
        raise ModelError("PreprocessingModel: expected one input and one output")
    proto = file.proto
    try:
        if file.graph.opset != opset:
            proto = version_converter.convert_version(proto, opset)
        graph: onnx.GraphProto = compose.add_prefix(proto, f"{PREFIX}preprocess_").graph
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"PreprocessingModel: cannot be brought to the network's ONNX opset {opset}") from error
    weights = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(kept)
    return graph


def _after(model: Model, gives_scores: bool) -> list[onnx.NodeProto]:
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    if model.layout == "NHWC" and len(model.result.shape) == 4:
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    if model.halo.coarsening > 1:
        # Whole numbers of 64 bits cannot be resized.
        kind = TensorProto.INT32 if model.output == "class map" else TensorProto.FLOAT
        steps.append(("Cast", [], {"to": kind}))
        steps.append(("Resize", [f"{PREFIX}region", f"{PREFIX}coarsening"], _resize_attributes(model)))
    if model.output == "mask" and not model.is_activated:
        steps.append(("Sigmoid", [], {}))
    elif model.output == "scores" and gives_scores and not model.is_activated:
        # Over the last axis, where every opset means a pixel's scores; before 13 it is all axes from the named one on.
        steps.append(("Transpose", [], {"perm": [0, 2, 3, 1]}))
        steps.append(("Softmax", [], {"axis": 3}))
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    if model.output == "scores" and not gives_scores:
        steps.append(("ArgMax", [], {"axis": 1, "keepdims": 0}))
    elif model.output == "mask" and not gives_scores:
        steps += [("Cast", [], {"to": TensorProto.FLOAT}), ("Greater", [f"{PREFIX}threshold"], {})]
    steps.append(("Cast", [], {"to": _answer_type(model, gives_scores)}))
    return _chain("after", model.result.name, steps, ANSWER)


def _resize_attributes(model: Model) -> dict[str, Any]:
    """Return how a coarse result is brought to the input's pixels: scores between centres, classes by the nearest."""
    if model.output == "class map":
        return {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}


def _chain(
    stage: str, start: str, steps: list[tuple[str, list[str], dict[str, Any]]], end: str
) -> list[onnx.NodeProto]:
    """Return nodes that take `start` through the steps to `end`, each with its extra inputs and attributes."""
    nodes = []
    current = start
    for number, (operator, extra, attributes) in enumerate(steps):
        following = end if number == len(steps) - 1 else f"{PREFIX}{stage}_{number}"
        name = f"{PREFIX}{stage}_{number}_{operator}"
        nodes.append(helper.make_node(operator, [current, *extra], [following], name, **attributes))
        current = following
    return nodes


def _constants(radiometry: Radiometry, model: Model) -> list[TensorProto]:
    values = {"scale": radiometry.scale, "offset": radiometry.offset}
    arrays = {name: np.asarray(numbers, np.float32).reshape(1, -1, 1, 1) for name, numbers in values.items()}
    if model.output == "mask":
        arrays["threshold"] = np.asarray(model.threshold, np.float32)
    if model.halo.coarsening > 1:
        spatial = [model.halo.coarsening] * 2
        arrays["region"] = np.asarray([], np.float32)
        arrays["coarsening"] = np.asarray([1] * (len(model.result.shape) - 2) + spatial, np.float32)
    return [numpy_helper.from_array(array, f"{PREFIX}{name}") for name, array in arrays.items()]


def _answer_type(model: Model, gives_scores: bool) -> int:
    """Return the smallest type of class indices; a class map keeps the values that the model writes."""
    if gives_scores:
        return int(TensorProto.FLOAT)
    if model.output == "class map":
        return int(TensorProto.INT32)
    return int(TensorProto.UINT8 if len(model.indices_to_ids) <= 256 else TensorProto.UINT16)


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
