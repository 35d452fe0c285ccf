"""The fused graph: stored pixel values in, class indices or scores out, the network between."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from onnx import TensorProto, compose, helper, numpy_helper, version_converter

from geodl_core.domain.model.model import Model
from geodl_core.domain.scene.radiometry import Radiometry
from geodl_core.errors import ModelError
from geodl_core.io.network.graph import GraphFile
from geodl_core.io.network.rewrite import rewrite

RESIZE_OPSET = 11
"""From it on pixels can be told to have their centres where they have them."""
PREFIX = "geodl_"
PIXELS = f"{PREFIX}pixels"
CORE = f"{PREFIX}core"
CROP_OPSET = 10
"""From it on what a Slice keeps may be an input."""
BROADCAST_OPSET = 8
"""From it on Max takes one number a band."""
LEAST = -3.0e38
"""A score that no class has."""
ANSWER = f"{PREFIX}answer"
Step = tuple[str, list[str], dict[str, Any]]
"""An operator, its inputs beside the first, its attributes."""
TO_FLOAT: Step = ("Cast", [], {"to": TensorProto.FLOAT})


@dataclass(frozen=True, slots=True)
class Feed:
    """What happens to stored pixel values before the network."""

    radiometry: Radiometry
    """Scale and offset of each channel."""
    chip_dtype: str
    """NumPy's name of the type of the stored values."""
    preprocessing: GraphFile | None = None
    """A graph (N, C, H, W) float32 → what the network takes, run after scale and offset."""


@dataclass(frozen=True, slots=True)
class Yield:
    """What a fused graph gives."""

    scores: bool = False
    """Scores instead of class indices."""
    left_out: int | None = None
    """Class index that is never chosen."""
    is_for_cpu: bool = False
    """Whether operators are put in forms that onnxruntime's CPU provider computes faster."""
    classes_too: bool = False
    """With scores: a last channel holds the class index, chosen from the network's own answer. Scores that were made
    probabilities may tie where logits do not."""


def fuse(file: GraphFile, model: Model, feed: Feed, wanted: Yield = Yield()) -> bytes:  # frozen
    """Build the graph that takes stored pixel values and gives class indices.

    stored values → float → raised to the floor → × scale + offset → preprocessing graph → the network → result to the
    input's pixels where it is coarser → cut to the core → activation where it has none and one is needed → ArgMax
    (scores) or > threshold (mask).

    Args:
        file: the model's own graph, left as it is.
        model: what its tensors mean.
        feed: what comes before it.
        wanted: scores leave off the last step.

    Returns:
        A serialised ONNX model: `geodl_pixels` (N, C, H, W) and, from opset 10 on, `geodl_core` (4,) int64 (top, left,
        bottom, right of what is wanted of the answer) → `geodl_answer` (N, h, w), where a mask or class map may keep
        a channel axis of 1; scores (N, C, h, w) float32 in [0, 1].

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
    crops = file.graph.opset >= CROP_OPSET
    before = feed_nodes(model, feed, file.graph.opset, graph)
    after = _after(model, wanted, crops)
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(_constants(feed.radiometry, model, wanted))
    del graph.input[:]
    del graph.output[:]
    # Symbolic sizes of the original would contradict the cropped result.
    del graph.value_info[:]
    chip_type = helper.np_dtype_to_tensor_dtype(np.dtype(feed.chip_dtype))
    graph.input.append(helper.make_tensor_value_info(PIXELS, chip_type, ["n", "c", "h", "w"]))
    if crops:
        graph.input.append(helper.make_tensor_value_info(CORE, TensorProto.INT64, [4]))
    graph.output.append(helper.make_tensor_value_info(ANSWER, _answer_type(model, wanted), None))
    if wanted.is_for_cpu:
        rewrite(graph, file.graph.opset)
    return fused_content(proto, model.name)


def fused_content(proto: onnx.ModelProto, name: str) -> bytes:
    """Return a fused graph as onnxruntime reads it.

    Args:
        proto: the graph, which is changed.
        name: of the model, for errors.

    Raises:
        ModelError: it is larger than the 2 GB that one ONNX message may have.
    """
    # From IR 4 on weights need not be inputs, which lets the runtime fold them.
    proto.ir_version = max(proto.ir_version, 4)
    try:
        content: bytes = proto.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise ModelError(f"the ONNX model {name} is larger than the 2 GB that can be run") from error
    return content


def feed_nodes(model: Model, feed: Feed, opset: int, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes from `geodl_pixels` to the network's input; a preprocessing graph's weights go to `graph`.

    They need the constants of `feed_constants`.
    """
    radiometry = feed.radiometry
    is_identity = set(radiometry.scale) == {1.0} and set(radiometry.offset) == {0.0}
    steps: list[Step] = [("Cast", [], {"to": TensorProto.FLOAT})]
    if radiometry.floor:
        if opset < BROADCAST_OPSET:
            raise ModelError(
                f"dn_harmonised needs a network of ONNX opset {BROADCAST_OPSET} or later, found {opset}",
                hint="export the network with a later opset, or run it with --radiometry raw or reflectance",
            )
        steps.append(("Max", [f"{PREFIX}floor"], {}))
    if not is_identity:
        steps += [("Mul", [f"{PREFIX}scale"], {}), ("Add", [f"{PREFIX}offset"], {})]
    tail: list[Step] = []
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


def _after(model: Model, wanted: Yield, crops: bool) -> list[onnx.NodeProto]:
    steps: list[Step] = []
    if model.layout == "NHWC" and len(model.result.shape) == 4:
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    if model.halo.coarsening > 1:
        # Whole numbers of 64 bits cannot be resized.
        kind = TensorProto.INT32 if model.output == "class map" else TensorProto.FLOAT
        steps.append(("Cast", [], {"to": kind}))
        steps.append(("Resize", [f"{PREFIX}region", f"{PREFIX}coarsening"], _resize_attributes(model)))
    if crops:
        steps.append(("Slice", [f"{PREFIX}core_start", f"{PREFIX}core_stop", f"{PREFIX}core_axes"], {}))
    typed: Step = ("Cast", [], {"to": _answer_type(model, wanted)})
    bounds = []
    if crops:
        for end, first, last in (("start", "zero", "two"), ("stop", "two", "four")):
            inputs = [CORE, f"{PREFIX}{first}", f"{PREFIX}{last}"]
            bounds.append(helper.make_node("Slice", inputs, [f"{PREFIX}core_{end}"], f"{PREFIX}core_{end}_Slice"))
    scores, decision = _activation_steps(model, wanted), _decision_steps(model, wanted)
    if not (wanted.scores and wanted.classes_too):
        steps += scores if wanted.scores else [*scores, *decision]
        return [*bounds, *_chain("after", model.result.name, [*steps, typed], ANSWER)]
    cut, each, chosen = (f"{PREFIX}{name}" for name in ("cut", "each", "chosen"))
    return [
        *bounds,
        *_chain("after", model.result.name, [*steps, TO_FLOAT], cut),
        *_chain("scores", cut, [*scores, typed], each),
        *_chain("class", cut, [*decision, TO_FLOAT], chosen),
        helper.make_node("Concat", [each, chosen], [ANSWER], f"{PREFIX}Concat", axis=1),
    ]


def _activation_steps(model: Model, wanted: Yield) -> list[Step]:
    """Return what turns logits into scores, where scores are needed."""
    if model.is_activated:
        return []
    if model.output == "mask":
        return [("Sigmoid", [], {})]
    if model.output == "scores" and wanted.scores:
        # Over the last axis, where every opset means a pixel's scores; before 13 it is all axes from the named one on.
        there, back = {"perm": [0, 2, 3, 1]}, {"perm": [0, 3, 1, 2]}
        return [("Transpose", [], there), ("Softmax", [], {"axis": 3}), ("Transpose", [], back)]
    return []


def _decision_steps(model: Model, wanted: Yield) -> list[Step]:
    """Return what turns scores into class indices."""
    if model.output == "scores":
        is_open = wanted.left_out is None
        left_out: list[Step] = [] if is_open else [TO_FLOAT, ("Add", [f"{PREFIX}left_out"], {})]
        return [*left_out, ("ArgMax", [], {"axis": 1, "keepdims": int(wanted.classes_too)})]
    if model.output == "mask":
        return [TO_FLOAT, ("Greater", [f"{PREFIX}threshold"], {})]
    return []


def _resize_attributes(model: Model) -> dict[str, Any]:
    """Return how a coarse result is brought to the input's pixels: scores between centres, classes by the nearest."""
    if model.output == "class map":
        return {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}


def _chain(stage: str, start: str, steps: list[Step], end: str) -> list[onnx.NodeProto]:
    """Return nodes that take `start` through the steps to `end`, each with its extra inputs and attributes."""
    nodes = []
    current = start
    for number, (operator, extra, attributes) in enumerate(steps):
        following = end if number == len(steps) - 1 else f"{PREFIX}{stage}_{number}"
        name = f"{PREFIX}{stage}_{number}_{operator}"
        nodes.append(helper.make_node(operator, [current, *extra], [following], name, **attributes))
        current = following
    return nodes


def _constants(radiometry: Radiometry, model: Model, wanted: Yield) -> list[TensorProto]:
    bounds = (("zero", 0), ("two", 2), ("four", 4))
    arrays: dict[str, Any] = {name: np.asarray([number], np.int64) for name, number in bounds}
    rank = len(model.result.shape)
    arrays["core_axes"] = np.asarray([rank - 2, rank - 1], np.int64)
    if wanted.left_out is not None:
        bias = np.zeros(len(model.indices_to_ids), np.float32)
        bias[wanted.left_out] = LEAST
        arrays["left_out"] = bias.reshape(1, -1, 1, 1)
    if model.output == "mask":
        arrays["threshold"] = np.asarray(model.threshold, np.float32)
    if model.halo.coarsening > 1:
        spatial = [model.halo.coarsening] * 2
        arrays["region"] = np.asarray([], np.float32)
        arrays["coarsening"] = np.asarray([1] * (len(model.result.shape) - 2) + spatial, np.float32)
    weights = [numpy_helper.from_array(array, f"{PREFIX}{name}") for name, array in arrays.items()]
    return [*feed_constants(radiometry), *weights]


def feed_constants(radiometry: Radiometry) -> list[TensorProto]:
    """Return what `feed_nodes` refer to: scale, offset and floor, one number a band."""
    values = {"scale": radiometry.scale, "offset": radiometry.offset, "floor": radiometry.floor}
    arrays = {name: np.asarray(numbers, np.float32) for name, numbers in values.items() if numbers}
    return [numpy_helper.from_array(array.reshape(1, -1, 1, 1), f"{PREFIX}{name}") for name, array in arrays.items()]


def _answer_type(model: Model, wanted: Yield) -> int:
    """Return the smallest type of class indices; a class map keeps the values that the model writes."""
    if wanted.scores:
        return int(TensorProto.FLOAT)
    if model.output == "class map":
        return int(TensorProto.INT32)
    return int(TensorProto.UINT8 if len(model.indices_to_ids) <= 256 else TensorProto.UINT16)
