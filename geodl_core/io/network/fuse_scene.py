"""The fused graph of a network that answers for the whole image: stored pixel values in, scores out."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from geodl_core.domain.model.object_classifier import ObjectClassifier
from geodl_core.io.network.fuse import PREFIX, Feed, Yield, fuse
from geodl_core.io.network.graph import GraphFile


def fuse_scene(file: GraphFile, classifier: ObjectClassifier, feed: Feed, wanted: Yield) -> bytes:
    """Build the graph that takes stored pixel values and gives the scores of each image.

    The answer is given the shape of an image of one pixel; all else is as for networks that classify pixels.

    Args:
        file: the model's own graph, left as it is.
        classifier: what its tensors mean.
        feed: what comes before it.
        wanted: as for `fuse`; with scores.

    Returns:
        A serialised ONNX model: `geodl_pixels` (N, C, H, W) → `geodl_answer` (N, K, 1, 1) float32 in [0, 1].

    Raises:
        ModelError: as `fuse`.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(file.proto)
    pixel = classifier.model.result
    # The batch stays what it is, all else is the row.
    sizes = [{"N": 0, "C": -1, "H": 1, "W": 1}[axis] for axis in classifier.model.layout]
    shape = numpy_helper.from_array(np.asarray(sizes, np.int64), f"{PREFIX}scene_shape")
    proto.graph.initializer.append(shape)
    node = helper.make_node("Reshape", [classifier.answer, shape.name], [pixel.name], f"{PREFIX}scene_Reshape")
    proto.graph.node.append(node)
    return fuse(GraphFile(proto, file.graph), classifier.model, feed, wanted)
