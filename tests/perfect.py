"""A detector that sees every object it is shown, and scenes in which objects are where the test says.

A scene has five bands: class + 1, and the distances of a pixel to the left, top, right and bottom side of its object.
Every fourth pixel tells the box of its object, cut to the tile, as real detectors do; what is cut has a lower score.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from items import write_item
from networks import save, write_emd
from scenes import write_raster

TILE = 256
STEP = 4
NAMES = ("Car", "Ship", "Plane")


def write_objects(folder: Path, boxes: Sequence[Sequence[int]], shape: tuple[int, int], **more: Any) -> Path:
    """Write a scene with objects (xmin, ymin, xmax, ymax, class index), later over earlier ones; return its Item."""
    bands = np.zeros((5, *shape), np.uint16)
    for x0, y0, x1, y1, kind in boxes:
        rows, cols = np.mgrid[max(y0, 0) : min(y1, shape[0]), max(x0, 0) : min(x1, shape[1])]
        bands[:, rows, cols] = np.stack([np.full_like(rows, kind + 1), cols - x0, rows - y0, x1 - cols, y1 - rows])
    raster = write_raster(folder / "scene.tif", bands, **{"cell": 1.0, **more})
    return write_item(folder, {"image": {"href": raster}})


def write_detector(folder: Path, tile: int = TILE, batch: Any = "n", **keys: Any) -> Path:
    """Write the detector and its EMD; its answer is (N, B, 4 + K): cx, cy, w, h in pixels, scores."""
    kinds, half = len(NAMES), -(-tile // STEP)
    places = np.arange(0, tile, STEP, dtype=np.float32)
    weights = {
        "starts": np.asarray([0, 0], np.int64),
        "ends": np.asarray([tile, tile], np.int64),
        "axes": np.asarray([2, 3], np.int64),
        "steps": np.asarray([STEP, STEP], np.int64),
        "cols": np.broadcast_to(places, (half, half)).reshape(1, 1, half, half).copy(),
        "rows": np.broadcast_to(places[:, None], (half, half)).reshape(1, 1, half, half).copy(),
        "zero": np.asarray(0, np.float32),
        "side": np.asarray(tile, np.float32),
        "one": np.asarray(1, np.float32),
        "two": np.asarray(2, np.float32),
        "half": np.asarray(0.5, np.float32),
        "least": np.asarray(0.4, np.float32),
        "kinds": np.arange(1, kinds + 1, dtype=np.float32).reshape(1, kinds, 1, 1),
        "shape": np.asarray([0, 4 + kinds, half * half], np.int64),
    }
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Slice", ["image", "starts", "ends", "axes", "steps"], "seen", {}),
        ("Split", ["seen"], "kind left top right bottom", {"axis": 1, "num_outputs": 5}),
        *_sides(),
        ("Sub", ["x1", "x0"], "w", {}),
        ("Sub", ["y1", "y0"], "h", {}),
        ("Mul", ["w", "h"], "visible", {}),
        ("Add", ["left", "right"], "width", {}),
        ("Add", ["top", "bottom"], "height", {}),
        ("Mul", ["width", "height"], "area", {}),
        ("Max", ["area", "one"], "whole", {}),
        ("Div", ["visible", "whole"], "share", {}),
        ("Mul", ["share", "least"], "more", {}),
        ("Add", ["more", "half"], "score", {}),
        ("Equal", ["kind", "kinds"], "is_kind", {}),
        ("Cast", ["is_kind"], "one_hot", {"to": TensorProto.FLOAT}),
        ("Mul", ["one_hot", "score"], "scores", {}),
        *_centres(),
        ("Concat", ["cx", "cy", "w", "h", "scores"], "all", {"axis": 1}),
        ("Reshape", ["all", "shape"], "flat", {}),
        ("Transpose", ["flat"], "boxes", {"perm": [0, 2, 1]}),
    ]
    nodes = [helper.make_node(kind, inputs, out.split(), **attributes) for kind, inputs, out, attributes in steps]
    graph = helper.make_graph(
        nodes,
        "perfect",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 5, tile, tile])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [batch, half * half, 4 + kinds])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.checker.check_graph(graph)
    save(graph, folder / "net.onnx", opset=18)
    named = enumerate(NAMES)
    classes = [{"Value": 10 + number, "Name": name, "Color": [200, 60 * number, 40]} for number, name in named]
    emd = {
        "ModelType": "ObjectDetection",
        "ModelConfiguration": {"Name": "YOLOv5", "Config": {"objectness": False, "coordinates": "pixels"}},
        "ImageHeight": tile,
        "ImageWidth": tile,
        "ExtractBands": [0, 1, 2, 3, 4],
        "Classes": classes,
        "Threshold": 0.3,
    }
    return write_emd(folder, **{**emd, **keys})


def _sides() -> list[tuple[str, list[str], str, dict[str, Any]]]:
    return [
        ("Sub", ["cols", "left"], "x0_", {}),
        ("Max", ["x0_", "zero"], "x0", {}),
        ("Sub", ["rows", "top"], "y0_", {}),
        ("Max", ["y0_", "zero"], "y0", {}),
        ("Add", ["cols", "right"], "x1_", {}),
        ("Min", ["x1_", "side"], "x1", {}),
        ("Add", ["rows", "bottom"], "y1_", {}),
        ("Min", ["y1_", "side"], "y1", {}),
    ]


def _centres() -> list[tuple[str, list[str], str, dict[str, Any]]]:
    return [
        ("Add", ["x0", "x1"], "cx_", {}),
        ("Div", ["cx_", "two"], "cx", {}),
        ("Add", ["y0", "y1"], "cy_", {}),
        ("Div", ["cy_", "two"], "cy", {}),
    ]
