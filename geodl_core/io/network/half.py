"""fp16: a fused graph whose network computes in 16 bits, between inputs and outputs that stay as they are."""

from collections.abc import Iterator

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import TensorProto, helper, numpy_helper, shape_inference

from geodl_core.errors import ModelError
from geodl_core.io.network.fuse import PREFIX

HALF = "_half"
"""Follows the name of a tensor of which there is a version of 16 bits; the bare name is the one of 32."""
LARGEST = float(np.finfo(np.float16).max)
SMALLEST = float(np.finfo(np.float16).smallest_subnormal)
OWN = tuple(
    f"{PREFIX}{stage}_" for stage in ("before", "preprocess", "feed", "core", "after", "scores", "class", "Concat")
)
"""How the names of geodl's nodes around the network start."""
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
FULL_OPERATORS = frozenset(
    (
        # Sums and powers leave the range of 16 bits, or lose what they add.
        *("CumSum", "Exp", "LogSoftmax", "Pow", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd"),
        *("ReduceSum", "ReduceSumSquare", "Softmax"),
        # Their type is an attribute or fixed.
        *("Bernoulli", "ConstantOfShape", "EyeLike", "Multinomial", "NonMaxSuppression", "Range", "RandomNormal"),
        *("RandomNormalLike", "RandomUniform", "RandomUniformLike", "SequenceEmpty"),
        # Quantised already.
        *("ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul"),
        "QuantizeLinear",
    )
)
"""Operators that stay in 32 bits."""
FULL_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
"""Operator → inputs that are of 32 bits whatever the others are."""


def to_half(fused: bytes) -> bytes:
    """Return a fused graph with weights and arithmetic of the network in fp16.

    In 32 bits stay geodl's own nodes before and after the network, all that the stored values pass until and with the
    first layer (they may be too large for 16 bits), sums and powers, weights outside of fp16's range, and arithmetic
    with sizes (16 bits count to 2048).
    onnxruntime.transformers.float16 is not used: it keeps a node in 32 bits but rounds what passes from it to the
    next such node, so that stored values over 2048 lose their last digits before they are scaled.

    Raises:
        ModelError: not an ONNX model, or its types cannot be followed.
    """
    proto = _load(fused)
    graph = proto.graph
    _constants_to_weights(graph)
    kinds = _kinds(graph)
    floats = {name for name, kind in kinds.items() if kind == TensorProto.FLOAT}
    stay = _raw_nodes(graph) | _counting_nodes(graph)
    large = {tensor.name for tensor in graph.initializer if tensor.name in floats and _is_large(tensor)}
    made: set[str] = set()
    for number, node in enumerate(graph.node):
        names = [name for name in (*node.input, *node.output) if name]
        stays = number in stay or large.intersection(names) or not kinds.keys() >= set(names)
        if not stays and not _is_full(node):
            made |= _rename(node, floats)
    _join(graph, made)
    # Types of what was renamed, and of 32 bits where there are 16 now.
    del graph.value_info[:]
    try:
        content: bytes = proto.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise ModelError("the ONNX model is larger than the 2 GB that can be run") from error
    return content


def is_half(fused: bytes) -> bool:
    """Say whether a graph has weights in fp16.

    Raises:
        ModelError: not an ONNX model.
    """
    try:
        graph = onnx.load_model_from_string(fused).graph
    except (DecodeError, ValueError) as error:
        raise ModelError("expected an ONNX model, found bytes that are none") from error
    return any(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer)


def _load(fused: bytes) -> onnx.ModelProto:
    """Return the graph with the type of every tensor that can be followed."""
    try:
        return shape_inference.infer_shapes(onnx.load_model_from_string(fused))
    except (DecodeError, ValueError, shape_inference.InferenceError) as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise ModelError(f"the ONNX model cannot be turned into fp16: {reason}") from error


def _constants_to_weights(graph: onnx.GraphProto) -> None:
    """Make weights of constants, whose small values shall not become 0."""
    kept = []
    for node in graph.node:
        values = [entry.t for entry in node.attribute if entry.name == "value"]
        if node.op_type != "Constant" or not values:
            kept.append(node)
            continue
        tensor = graph.initializer.add()
        tensor.CopyFrom(values[0])
        tensor.name = node.output[0]
    del graph.node[:]
    graph.node.extend(kept)


def _kinds(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the element type of each tensor."""
    values = (*graph.input, *graph.output, *graph.value_info)
    kinds = {value.name: int(value.type.tensor_type.elem_type) for value in values}
    return {**kinds, **{tensor.name: int(tensor.data_type) for tensor in graph.initializer}}


def _raw_nodes(graph: onnx.GraphProto) -> set[int]:
    """Return the nodes that stored values pass before they are in a layer's sums, the layer included."""
    weights = {tensor.name for tensor in graph.initializer}
    raw = {value.name for value in graph.input if value.name not in weights}
    found = set()
    for number, node in enumerate(graph.node):
        if raw.intersection(node.input):
            found.add(number)
            raw |= set() if node.op_type in LAYERS else set(node.output)
    return found


def _counting_nodes(graph: onnx.GraphProto) -> set[int]:
    """Return the nodes that compute with nothing but sizes and constants."""
    constant = {"", *(tensor.name for tensor in graph.initializer)}
    sizes: set[str] = set()
    found = set()
    for number, node in enumerate(graph.node):
        given = set(node.input) - constant
        if node.op_type in ("Shape", "Size") or (given and given <= sizes):
            found.add(number)
            sizes |= set(node.output)
        elif not given:
            constant |= set(node.output)
    return found


def _is_large(tensor: onnx.TensorProto) -> bool:
    values = numpy_helper.to_array(tensor)
    return bool(values.size) and not bool((np.abs(values) <= LARGEST).all())


def _is_full(node: onnx.NodeProto) -> bool:
    is_own = node.name.startswith(OWN)
    return is_own or node.domain not in ("", "ai.onnx") or node.op_type in FULL_OPERATORS or bool(list(_inner(node)))


def _inner(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs within a node, such as the branches of If."""
    for entry in node.attribute:
        if entry.HasField("g"):
            yield entry.g
        yield from entry.graphs


def _used_within(graph: onnx.GraphProto) -> set[str]:
    """Return the names that the graphs within the nodes of a graph use, which may be those of tensors outside."""
    names: set[str] = set()
    for node in graph.node:
        for inner in _inner(node):
            names |= {name for entry in inner.node for name in entry.input} | _used_within(inner)
            names |= {value.name for value in inner.output}
    return names


def _rename(node: onnx.NodeProto, floats: set[str]) -> set[str]:
    """Make a node take and give the versions of 16 bits; return the bare names of what it gives."""
    full = FULL_INPUTS.get(node.op_type, ())
    for position, name in enumerate(node.input):
        if name in floats and position not in full:
            node.input[position] = name + HALF
    given = {name for name in node.output if name in floats}
    for position, name in enumerate(node.output):
        if name in given:
            node.output[position] = name + HALF
    for entry in node.attribute:
        if node.op_type == "Cast" and entry.name == "to" and entry.i == TensorProto.FLOAT:
            entry.i = TensorProto.FLOAT16
    return given


def _join(graph: onnx.GraphProto, made: set[str]) -> None:
    """Add what turns one version of a tensor into the other, where both are used."""
    used = {name for node in graph.node for name in node.input}
    full = used | _used_within(graph) | {value.name for value in graph.output}
    weights = {tensor.name for tensor in graph.initializer}
    halves = [_half_weight(tensor) for tensor in graph.initializer if tensor.name + HALF in used]
    kept = [tensor for tensor in graph.initializer if tensor.name in full]
    inputs = [value for value in graph.input if value.name not in weights]
    nodes = [_cast(value.name, to_half=True) for value in inputs if value.name + HALF in used]
    for node in graph.node:
        nodes.append(node)
        bare = [name.removesuffix(HALF) for name in node.output]
        nodes += [_cast(name, to_half=False) for name in bare if name in made and name in full]
        nodes += [_cast(name, to_half=True) for name in node.output if name not in made and name + HALF in used]
    del graph.node[:], graph.initializer[:], graph.input[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*kept, *halves])
    graph.input.extend(inputs)


def _half_weight(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """Return a weight in 16 bits; what is not 0 stays so, since something may be divided by it."""
    values = numpy_helper.to_array(tensor)
    rounded = values.astype(np.float16)
    lost = (rounded == 0) & (values != 0)
    rounded[lost] = np.copysign(np.float16(SMALLEST), values[lost])
    return numpy_helper.from_array(rounded, tensor.name + HALF)


def _cast(name: str, to_half: bool) -> onnx.NodeProto:
    ends, kind = (name, name + HALF), TensorProto.FLOAT16
    if not to_half:
        ends, kind = (name + HALF, name), TensorProto.FLOAT
    return helper.make_node("Cast", [ends[0]], [ends[1]], f"{PREFIX}cast_{ends[1]}", to=kind)
