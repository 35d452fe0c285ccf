"""A model of every kind that tests know, each with its definition in a folder of its own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import detectors
from detectors_finished import (
    answering_network,
    cntk_answer,
    detr_answer,
    finished_answer,
    keras_answer,
    some_objects,
    tensorflow_answer,
    torchvision_answer,
)
from networks import class_map_network, conv_network, mask_network, mean_network, save, stride_network, write_emd
from perfect import write_detector

SIZE = (96, 128)
KNOWN = detectors.known_boxes(5, 6)
TURNED = detectors.known_boxes(9, 5, (256, 256))
OBJECTS = some_objects(SIZE)
HEADS = {"anchors": [list(map(list, level)) for level in detectors.ANCHORS], "version": "v5"}
ULTRAFACE = {"min_sizes": [list(sizes) for sizes in detectors.MIN_SIZES], "strides": [8, 16, 32, 64]}

Write = Callable[[Path], Path]


def unfollowed_network(path: Path) -> Path:
    """Write a network with an operator of onnxruntime's own, whose reach only a run tells: one pixel."""
    kernel = np.random.default_rng(1).standard_normal((3, 2, 3, 3)).astype("float32")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "k"], ["c"], pads=[1] * 4),
            helper.make_node("Gelu", ["c"], ["y"], domain="com.microsoft"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [numpy_helper.from_array(kernel, "k")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return path


def sized_network(path: Path) -> Path:
    """Write a network that halves the image and brings it back to a size that it computes from the image's."""
    kernel = np.random.default_rng(1).standard_normal((3, 2, 2, 2)).astype("float32")
    numbers = {"start": [2], "end": [4], "one": [1], "head": [0], "two": [2]}
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["half"], strides=[2, 2]),
        helper.make_node("Shape", ["half"], ["shape"]),
        helper.make_node("Shape", ["x"], ["whole"]),
        helper.make_node("Slice", ["whole", "start", "end"], ["sides"]),
        helper.make_node("Slice", ["shape", "head", "two"], ["rest"]),
        helper.make_node("Concat", ["rest", "sides"], ["sizes"], axis=0),
        helper.make_node("Resize", ["half", "", "", "sizes"], ["y"], mode="nearest"),
    ]
    graph = helper.make_graph(
        nodes,
        "sized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [
            numpy_helper.from_array(kernel, "k"),
            *(numpy_helper.from_array(np.asarray(array, np.int64), name) for name, array in numbers.items()),
        ],
    )
    return save(graph, path)


def row_network(path: Path) -> Path:
    """Write a network that answers with one row of three scores an image."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["y"], axis=1),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])
    row = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    return save(helper.make_graph(nodes, "row", [image], [row]), path)


def _pixels(build: Callable[[Path], Path], **keys: Any) -> Write:
    def write(folder: Path) -> Path:
        build(folder / "net.onnx")
        return write_emd(folder, **keys)

    return write


def _preprocessed(folder: Path) -> Path:
    conv_network(folder / "net.onnx")
    before = helper.make_graph(
        [helper.make_node("Abs", ["x"], ["y"])],
        "before",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, "h", "w"])],
    )
    save(before, folder / "before.onnx")
    return write_emd(folder, Padding=None, PreprocessingModel="before.onnx")


def _detector(folder: Path, size: tuple[int, int], classes: int, config: dict[str, Any] | None) -> Path:
    keys: dict[str, Any] = {} if config is None else {"ModelConfiguration": {"Name": "", "Config": config}}
    return write_emd(
        folder,
        ModelType="ObjectDetection",
        ImageHeight=size[0],
        ImageWidth=size[1],
        ExtractBands=[0, 1, 2],
        Padding=16,
        Classes=[{"Value": 20 + index, "Name": f"c{index}"} for index in range(classes)],
        **keys,
    )


def _dense(
    build: Callable[..., Path], config: dict[str, Any] | None = None, known: detectors.Known = KNOWN, **how: Any
) -> Write:
    def write(folder: Path) -> Path:
        build(folder / "net.onnx", known, **how)
        return _detector(folder, known.size, known.classes, config)

    return write


def _finished(outputs: dict[str, np.ndarray], config: dict[str, Any] | None = None) -> Write:
    def write(folder: Path) -> Path:
        answering_network(folder / "net.onnx", outputs, SIZE)
        return _detector(folder, SIZE, 3, config)

    return write


PIXELS: dict[str, Write] = {
    "scores, padded": _pixels(conv_network),
    "scores": _pixels(conv_network, Padding=None),
    "scores, strides": _pixels(stride_network, Padding=None),
    "scores, sized": _pixels(sized_network, Padding=None),
    "scores, unfollowed": _pixels(unfollowed_network, Padding=None),
    "scores, unfollowed and padded": _pixels(unfollowed_network),
    "scores, preprocessed": _preprocessed,
    "scores, global": _pixels(mean_network, Padding=None),
    "mask": _pixels(mask_network, Padding=None, Classes=[{"Value": 1, "Name": "yes", "Color": [1, 2, 3]}]),
    "class map": _pixels(
        class_map_network, Classes=[{"Value": value, "Name": str(value), "Color": [1, 2, value]} for value in (2, 7)]
    ),
}
ROWS: dict[str, Write] = {"row": _pixels(row_network, ModelType="ObjectClassification", ExtractBands=[0, 1, 2])}
DETECTORS: dict[str, Write] = {
    "perfect": write_detector,
    "yolo": _dense(detectors.yolo_network),
    "yolo, normalised": _dense(detectors.yolo_network, coordinates="normalised"),
    "yolo, no objectness": _dense(detectors.yolo_network, has_objectness=False),
    "yolo, logits": _dense(detectors.yolo_network, is_activated=False),
    "yolo transposed": _dense(detectors.yolo_transposed_network),
    "yolo oriented": _dense(
        detectors.yolo_oriented_network, {"form": "yolo oriented", "coordinates": "pixels"}, TURNED
    ),
    "yolo masks": _dense(detectors.yolo_masks_network, known=TURNED),
    "yolo heads": _dense(detectors.yolo_heads_network, HEADS),
    "yolo heads, five axes": _dense(detectors.yolo_heads_network, HEADS, is_flat=False),
    "yolo heads of v3": _dense(detectors.yolo_heads_network, {**HEADS, "version": "v3"}, version="v3"),
    "yolox": _dense(detectors.yolox_network),
    "ssd": _dense(detectors.ssd_network),
    "ssd, pixels": _dense(detectors.ssd_network, coordinates="pixels"),
    "ssd raw": _dense(detectors.ssd_raw_network, ULTRAFACE),
    "retinanet raw": _dense(detectors.retinanet_network),
    "retinanet raw, levels": _dense(detectors.retinanet_network, is_per_level=True),
    "tensorflow": _finished(tensorflow_answer(OBJECTS, SIZE)),
    "torchvision": _finished(torchvision_answer(OBJECTS)),
    "torchvision, masks": _finished(torchvision_answer(OBJECTS, has_masks=True)),
    "detr by softmax": _finished(detr_answer(OBJECTS, SIZE)),
    "detr by sigmoid": _finished(detr_answer(OBJECTS, SIZE, activation="sigmoid")),
    "finished": _finished(finished_answer(OBJECTS)),
    "finished, class first": _finished(
        finished_answer(OBJECTS, order="class score xyxy"), {"order": "class score xyxy"}
    ),
    "finished with image": _finished(finished_answer(OBJECTS, order="image xyxy class score", rows=5)),
    "cntk faster-rcnn": _finished(cntk_answer(OBJECTS)),
    "keras mask-rcnn": _finished(keras_answer(OBJECTS, SIZE), {"form": "keras mask-rcnn"}),
}
DEMO = Path(__file__).parents[1] / "scripts" / "models"


def write_every_model(folder: Path) -> dict[str, Path]:
    """Write a model of every kind; return the paths of their definitions, and of the demo models, by kind."""
    return write_models(folder, {**PIXELS, **ROWS, **DETECTORS}) | {path.stem: path for path in DEMO.glob("*/*.emd")}


def write_models(folder: Path, kinds: Mapping[str, Write]) -> dict[str, Path]:
    """Write models of some kinds; return the paths of their definitions by kind."""
    found = {}
    for number, (kind, write) in enumerate(kinds.items()):
        place = folder / str(number)
        place.mkdir(parents=True)
        found[kind] = write(place)
    return found
