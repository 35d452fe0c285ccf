"""MLM Items of networks that find or classify objects: tasks, dimensions, classes, and back."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from geodl_core.domain.detection.decoder import Decoder, Form
from geodl_core.domain.emd.definition import parse_emd
from geodl_core.domain.mlm.carry import document
from geodl_core.domain.mlm.outputs import detector_dimensions
from geodl_core.domain.mlm.read import emd_from_mlm, mlm_keys
from geodl_core.domain.mlm.write import ModelFacts, Signature, describe
from geodl_core.domain.network.graph import Tensor
from geodl_core.domain.result.result import StoredFile
from schemas import require_valid

FACTS = ModelFacts(StoredFile("./net.onnx", 10, "1220" + "ab" * 32), StoredFile("./net.emd", 5, "1220" + "cd" * 32))
OWN = {
    "created": "2026-03-01T10:00:00Z",
    "updated": "2026-03-01T10:00:00Z",
    "version": "0123456789ab",
    "deprecated": False,
    "geodl:model": "net",
    "geodl:model_sha256": "0123456789ab" + "0" * 52,
}
BASE = {"ModelFile": "net.onnx", "ModelType": "ObjectDetection", "Classes": [{"Value": 3, "Name": "Ship"}]}
IMAGE = Tensor("image", "float32", (1, 3, 640, 640))
Outputs = list[tuple[tuple[int | None, ...], str]]
"""Shape, and the first letters of its dimensions' names."""
LAYOUTS: list[tuple[Form, Outputs]] = [
    ("tensorflow", [((1, 100, 4), "bdc"), ((1, 100), "bd"), ((1, 100), "bd"), ((1,), "b")]),
    ("torchvision", [((None, 4), "dc"), ((None,), "d"), ((None,), "d"), ((None, 1, 640, 640), "dchw")]),
    ("torchvision", [((1, 100, 5), "bdc"), ((1, 100), "bd"), ((1, 100, 160, 160), "bdhw")]),
    ("detr", [((1, 300, 91), "bdc"), ((1, 300, 4), "bdc")]),
    ("yolo", [((1, 25200, 85), "bda")]),
    ("yolo transposed", [((1, 84, 8400), "bad")]),
    ("yolo oriented", [((1, 20, 8400), "bad")]),
    ("yolo masks", [((1, 116, 8400), "bad"), ((1, 32, 160, 160), "bmhw")]),
    ("yolo heads", [((1, 255, 80, 80), "bahw"), ((1, 255, 40, 40), "bahw")]),
    ("yolo heads", [((1, 3, 80, 80, 85), "bahwa"), ((1, 3, 40, 40, 85), "bahwa")]),
    ("finished", [((1, 300, 6), "bda")]),
    ("finished", [((None, 7), "da")]),
    ("yolox", [((1, 8400, 85), "bda")]),
    ("ssd", [((1, 4420, 4), "bdc"), ((1, 4420, 2), "bdc")]),
    ("ssd raw", [((1, 4420, 4), "bdc"), ((1, 4420, 2), "bdc")]),
    ("retinanet raw", [((1, 76725, 80), "bdc"), ((1, 76725, 4), "bdc")]),
    ("retinanet raw", [((1, 720, 80, 80), "bchw"), ((1, 720, 40, 40), "bchw"), ((1, 36, 80, 80), "bchw"),
                       ((1, 36, 40, 40), "bchw")]),
    ("cntk faster-rcnn", [((100, 5), "dc"), ((100, 4), "dc"), ((100, 20), "da")]),
    ("keras mask-rcnn", [((1, 100, 6), "bda"), ((1, 100, 28, 28, 81), "bdhwc")]),
]  # fmt: skip


def signature(form: Form, outputs: Outputs) -> Signature:
    tensors = tuple(Tensor(f"out{number}", "float32", shape) for number, (shape, _) in enumerate(outputs))
    names = tuple(tensor.name for tensor in tensors)
    decoder = Decoder(form, names, "pixels", None, has_objectness=form != "yolo masks")
    return Signature(IMAGE, (*tensors, Tensor("other", "float32", (1, 2, 3, 4, 5, 6))), "NCHW", decoder)


def item_of(shown: Signature, **keys: Any) -> dict[str, Any]:
    emd = parse_emd(json.dumps({**BASE, **keys}), "test")
    item: dict[str, Any] = json.loads(json.dumps(describe(emd, shown, FACTS, OWN)))
    return item


def test_every_form_is_here() -> None:
    """What follows is said of all forms."""
    assert {form for form, _ in LAYOUTS} == set(get_args(Form))


@pytest.mark.parametrize(("form", "outputs"), LAYOUTS)
def test_dimensions_are_named(form: Form, outputs: Outputs) -> None:
    """Each axis of an answer is called what it is, in its order; outputs that no decoder takes stay axes."""
    described = item_of(signature(form, outputs))["properties"]["mlm:output"]
    for (shape, letters), output in zip(outputs, described[:-1], strict=True):
        names = output["result"]["dim_order"]
        assert "".join(name[0] for name in names) == letters
        assert len(set(names)) == len(shape)
        assert output["tasks"] == ["object-detection"]
    assert described[-1]["result"]["dim_order"][0] == "axis-a"
    assert described[0]["classification:classes"][0]["value"] == 3


@pytest.mark.shared
@pytest.mark.parametrize(("form", "outputs"), LAYOUTS)
def test_items_of_detectors_are_valid(shared: Path, form: Form, outputs: Outputs) -> None:
    """The Item of a detector of every form is valid STAC with all its extensions."""
    item = item_of(signature(form, outputs), ModelConfiguration={"Name": "YOLOX", "Config": {"strides": [8]}})
    assert set(item["stac_extensions"]) <= set(require_valid(item, shared))


@pytest.mark.shared
def test_the_item_of_an_object_classifier_is_valid(shared: Path) -> None:
    """One row of scores an image is the task classification, over batch and class."""
    row = Signature(Tensor("x", "float32", (None, 3, 224, 224)), (Tensor("y", "float32", (None, 5)),), "NCHW")
    item = item_of(row, ModelType="ObjectClassification", CropSizeFixed=1)
    assert set(item["stac_extensions"]) <= set(require_valid(item, shared))
    properties = item["properties"]
    assert properties["mlm:tasks"] == ["classification"]
    assert properties["mlm:output"][0]["result"]["dim_order"] == ["batch", "class"]
    assert emd_from_mlm(item).emd.ModelType == "ObjectClassification"
    assert emd_from_mlm(item).emd.CropSizeFixed is True


@pytest.mark.parametrize(
    "configuration",
    [
        "YOLOv8",
        {"Name": "RT-DETR"},
        {"Name": "SSD", "Config": {"min_sizes": [[10, 16], [32, 48]], "strides": [8, 16], "variances": [0.1, 0.2]}},
        {"Config": {"form": "yolo heads", "anchors": [[[10, 13], [16, 30]]], "version": "v5"}},
    ],
)
def test_a_configuration_comes_back(configuration: Any) -> None:
    """What a definition says of its answer comes back as it was, its name as the architecture."""
    item = item_of(signature(*LAYOUTS[0]), ModelConfiguration=configuration, Threshold=0.25)
    name = configuration if isinstance(configuration, str) else configuration.get("Name", "unknown")
    assert item["properties"]["mlm:architecture"] == name
    reading = emd_from_mlm(item)
    assert reading.warnings == ()
    assert document(reading.emd)["ModelConfiguration"] == configuration
    assert reading.emd.Threshold == 0.25


@pytest.mark.parametrize(
    ("tasks", "type_", "left_out"),
    [
        (["object-detection"], "ObjectDetection", None),
        (["detection"], "ObjectDetection", None),
        (["instance-segmentation"], "InstanceDetection", None),
        (["object-detection", "instance-segmentation"], "InstanceDetection", None),
        (["object-detection", "classification"], "ObjectDetection", "classification"),
        (["scene-classification"], "ObjectClassification", None),
    ],
)
def test_tasks_of_others(tasks: list[str], type_: str, left_out: str | None) -> None:
    """Tasks become the ModelType that does them; masks come with boxes, and what is left out is named."""
    item = {
        "id": "theirs",
        "properties": {"mlm:tasks": tasks, "mlm:input": [{"name": "x", "bands": ["B04"]}]},
        "assets": {"net": {"href": "net.onnx", "roles": ["mlm:model"]}},
    }
    keys, warnings = mlm_keys(item)
    assert keys["ModelType"] == type_
    assert [left_out in warning for warning in warnings if left_out] == [True] * bool(left_out)
    assert len(warnings) == bool(left_out)


def test_rows_and_columns_of_masks() -> None:
    """Networks of YOLOv5's kind, whose boxes have a score of their own, hold a box a row; later ones a column."""
    boxes = Tensor("boxes", "float32", (1, 25200, 117))
    rows = Decoder("yolo masks", ("boxes", "prototypes"), "pixels", None, has_objectness=True)
    assert detector_dimensions(rows, boxes) == ["batch", "detection", "attribute"]


def test_what_is_no_output_of_the_decoder() -> None:
    """Outputs beside those of the decoder, and shapes that its form never has, have no names."""
    decoder = Decoder("yolo", ("boxes",), "pixels", None)
    assert detector_dimensions(decoder, Tensor("more", "float32", (1, 2, 3))) is None
    assert detector_dimensions(decoder, Tensor("boxes", "float32", (1, 2, 3, 4))) is None
