"""The fused graph of a detector: stored pixel values in, the network's own answer out."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from geodl_core.domain.detection.size_inputs import size_input
from geodl_core.domain.model.model import Model
from geodl_core.errors import ModelError
from geodl_core.io.network.fuse import PIXELS, PREFIX, Feed, feed_constants, feed_nodes, fused_content
from geodl_core.io.network.graph import GraphFile
from geodl_core.io.network.rewrite import rewrite

AXES_OPSET = 13
"""From it on Squeeze takes its axes as an input."""


def fuse_detector(file: GraphFile, model: Model, feed: Feed, input_px: tuple[int, int], is_for_cpu: bool) -> bytes:
    """Build the graph that takes stored pixel values and gives the tensors that the detector's decoder takes.

    stored values → float → raised to the floor → × scale + offset → preprocessing graph → the network. Inputs beside
    the image, which tell its size, become constants.

    Args:
        file: the model's own graph, left as it is.
        model: a detector.
        feed: what comes before it.
        input_px: height and width at which it is run.
        is_for_cpu: whether operators are put in forms that onnxruntime's CPU provider computes faster.

    Returns:
        A serialised ONNX model: `geodl_pixels` (N, C, H, W) → the outputs named by the decoder, in its order.

    Raises:
        ModelError: larger than 2 GB, or an input that nothing is known of.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(file.proto)
    graph = proto.graph
    before = feed_nodes(model, feed, file.graph.opset, graph)
    if len(next(tensor.shape for tensor in file.graph.inputs if tensor.name == model.source.name)) == 3:
        before += _without_batch(before[-1], file.graph.opset, graph)
    nodes = [*before, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(feed_constants(feed.radiometry))
    for tensor in file.graph.inputs:
        if tensor.name != model.source.name:
            graph.initializer.append(numpy_helper.from_array(size_input(tensor, input_px), tensor.name))
    _set_ends(graph, model, feed)
    if is_for_cpu:
        rewrite(graph, file.graph.opset)
    return fused_content(proto, model.name)


def _without_batch(last: onnx.NodeProto, opset: int, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the node that takes the batch of 1 away, for a graph whose image has none; `last` feeds it."""
    name = last.output[0]
    last.output[0] = f"{PREFIX}batch"
    if opset >= AXES_OPSET:
        graph.initializer.append(numpy_helper.from_array(np.asarray([0], np.int64), f"{PREFIX}batch_axis"))
        return [helper.make_node("Squeeze", [f"{PREFIX}batch", f"{PREFIX}batch_axis"], [name], f"{PREFIX}Squeeze")]
    return [helper.make_node("Squeeze", [f"{PREFIX}batch"], [name], f"{PREFIX}Squeeze", axes=[0])]


def _set_ends(graph: onnx.GraphProto, model: Model, feed: Feed) -> None:
    if model.detector is None:
        raise ModelError(f"the model {model.name}: expected a detector")
    types: dict[str, Any] = {output.name: output for output in graph.output}
    wanted = [types[name] for name in model.detector.decoder.tensors]
    del graph.input[:]
    chip_type = helper.np_dtype_to_tensor_dtype(np.dtype(feed.chip_dtype))
    graph.input.append(helper.make_tensor_value_info(PIXELS, chip_type, ["n", "c", "h", "w"]))
    kept = [
        helper.make_tensor_value_info(output.name, output.type.tensor_type.elem_type or TensorProto.FLOAT, None)
        for output in wanted
    ]
    del graph.output[:]
    graph.output.extend(kept)
    # Sizes of the original would contradict another batch.
    del graph.value_info[:]
