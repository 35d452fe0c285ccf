"""Proposed definitions of networks that find or classify objects: what one answer tells, what is asked, what runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import detectors
import detectors_finished
from geodl_core.domain.detection.decode import decode_answer
from geodl_core.domain.emd.definition import Emd, read_emd
from geodl_core.domain.emd.propose import Proposal
from geodl_core.domain.emd.write import write_emd
from geodl_core.engine.load_any import load_any, model_in
from geodl_core.engine.propose_model import propose_model
from geodl_core.errors import ModelError
from geodl_core.io.network.graph import read_graph_file
from geodl_core.io.package.package import load_package
from networks import save

KNOWN = detectors.known_boxes(1, 12)
FOUND = detectors_finished.some_objects()
SIZE = (96, 128)
FOUR = [{"Value": value, "Name": f"kind {value}"} for value in range(4)]
THREE = [{"Value": value, "Name": f"kind {value}"} for value in (1, 2, 3)]


def made(form: str, path: Path) -> Path:
    """Write the network of a form: of four classes where its boxes are dense, of three where it gives them itself."""
    dense = {
        "yolo": lambda: detectors.yolo_network(path, KNOWN),
        "yolo normalised": lambda: detectors.yolo_network(path, KNOWN, "normalised"),
        "yolo without objectness": lambda: detectors.yolo_network(path, KNOWN, has_objectness=False),
        "yolo transposed": lambda: detectors.yolo_transposed_network(path, KNOWN),
        "yolo oriented": lambda: detectors.yolo_oriented_network(path, KNOWN),
        "yolo masks": lambda: detectors.yolo_masks_network(path, KNOWN),
        "yolo heads": lambda: detectors.yolo_heads_network(path, KNOWN),
        "yolox": lambda: detectors.yolox_network(path, KNOWN),
        "ssd": lambda: detectors.ssd_network(path, KNOWN),
        "ssd raw": lambda: detectors.ssd_raw_network(path, KNOWN),
        "retinanet raw": lambda: detectors.retinanet_network(path, KNOWN),
        "retinanet levels": lambda: detectors.retinanet_network(path, KNOWN, is_per_level=True),
    }
    finished = {
        "tensorflow": lambda: detectors_finished.tensorflow_answer(FOUND, SIZE),
        "torchvision": lambda: detectors_finished.torchvision_answer(FOUND),
        "torchvision masks": lambda: detectors_finished.torchvision_answer(FOUND, True),
        "detr": lambda: detectors_finished.detr_answer(FOUND, SIZE),
        "detr of sigmoids": lambda: detectors_finished.detr_answer(FOUND, SIZE, activation="sigmoid"),
        "finished": lambda: detectors_finished.finished_answer(FOUND),
        "cntk faster-rcnn": lambda: detectors_finished.cntk_answer(FOUND),
        "keras mask-rcnn": lambda: detectors_finished.keras_answer(FOUND, SIZE),
    }
    return dense[form]() if form in dense else detectors_finished.answering_network(path, finished[form]())


def proposed(path: Path, **said: Any) -> Proposal:
    return propose_model(read_graph_file(path), path.name, said)


def written(proposal: Proposal, path: Path) -> Path:
    """Write a proposal beside its network, as the command does."""
    emd = path.with_suffix(".emd")
    emd.write_text(write_emd(read_emd(json.dumps(proposal.document), "p").emd))
    return emd


CERTAIN = [
    ("yolo", FOUR, "yolo", "pixels"),
    ("yolo normalised", FOUR, "yolo", "normalised"),
    ("yolo without objectness", FOUR, "yolo", "pixels"),
    ("yolo transposed", FOUR, "yolo transposed", "pixels"),
    ("yolo oriented", FOUR, "yolo oriented", "pixels"),
    ("yolo masks", FOUR, "yolo masks", "pixels"),
    ("yolox", FOUR, "yolox", "pixels"),
    ("ssd", FOUR, "ssd", "normalised"),
    ("retinanet raw", FOUR, "retinanet raw", "pixels"),
    ("retinanet levels", FOUR, "retinanet raw", "pixels"),
    ("tensorflow", THREE, "tensorflow", "normalised"),
    ("torchvision", THREE, "torchvision", "pixels"),
    ("torchvision masks", THREE, "torchvision", "pixels"),
    ("detr", THREE, "detr", "normalised"),
    ("detr of sigmoids", THREE, "detr", "normalised"),
    ("finished", FOUR[:3], "finished", "pixels"),
    ("cntk faster-rcnn", THREE, "cntk faster-rcnn", "pixels"),
    ("keras mask-rcnn", THREE, "keras mask-rcnn", "normalised"),
]
"""Network, its classes, and the form and coordinates that its answer shows."""


@pytest.mark.parametrize(("name", "classes", "form", "coordinates"), CERTAIN)
def test_what_an_answer_shows_is_written_down(
    tmp_path: Path, name: str, classes: list[dict[str, Any]], form: str, coordinates: str
) -> None:
    """With the classes said, form and coordinates stand in the definition, and it finds just what is known."""
    path = made(name, tmp_path / "net.onnx")
    proposal = proposed(path, Classes=classes, ExtractBands=[0, 1, 2], DataRange=[0, 1], Threshold=0.2)
    assert proposal.open_questions == ()
    assert proposal.document["ModelConfiguration"] == {"Config": {"form": form, "coordinates": coordinates}}
    package = load_package(str(written(proposal, path)), is_strict=True)
    detector = model_in(load_any(package)).detector
    assert detector is not None
    assert (detector.decoder.form, detector.decoder.coordinates) == (form, coordinates)
    with np.errstate(over="ignore"):
        answer = detectors_finished.run_once(path)
    size = KNOWN.size if classes is FOUR else SIZE
    (found,) = decode_answer(tuple(answer[each] for each in detector.decoder.tensors), detector.decoder, size, 0.2)
    known = KNOWN.boxes if classes is FOUR else FOUND.boxes
    order = np.argsort(-found.found.scores)
    boxes = found.found.boxes[order]
    if found.found.corners is not None:
        # Bounds of slanting boxes: their centres are known.
        boxes, known = ((each[:, :2] + each[:, 2:]) / 2 for each in (boxes, known))
    np.testing.assert_allclose(boxes, known, atol=0.05)
    places = KNOWN.labels if classes is FOUR else FOUND.kinds
    ids = [detector.labels[label] for label in found.found.labels[order].tolist()]
    assert ids == [classes[place]["Value"] for place in places]


def test_coordinates_that_are_found_stand(tmp_path: Path) -> None:
    """What is written down holds against what another answer would show: a definition reads alike for ever."""
    path = made("yolo normalised", tmp_path / "net.onnx")
    emd = written(proposed(path, Classes=FOUR), path)
    made("yolo", path)
    detector = model_in(load_any(load_package(str(emd)))).detector
    assert detector is not None
    assert detector.decoder.coordinates == "normalised"


PLACEHOLDERS = [
    ("yolo", [0, 1, 2, 3]),
    ("yolo transposed", [0, 1, 2, 3]),
    ("yolo masks", [0, 1, 2, 3]),
    ("yolox", [0, 1, 2, 3]),
    ("ssd", [1, 2, 3, 4]),
    ("retinanet raw", [0, 1, 2, 3]),
    ("tensorflow", [1, 2, 3]),
    ("torchvision", [1, 2, 3]),
    ("detr", [0, 1, 2]),
    ("finished", [0, 1, 2]),
    ("cntk faster-rcnn", [1, 2, 3]),
    ("keras mask-rcnn", [1, 2, 3]),
]


@pytest.mark.parametrize(("name", "values"), PLACEHOLDERS)
def test_classes_that_nobody_said(tmp_path: Path, name: str, values: list[int]) -> None:
    """Without classes there are placeholders for those that the answer tells, they are asked for, and it runs."""
    path = made(name, tmp_path / "net.onnx")
    proposal = proposed(path)
    assert [entry["Value"] for entry in proposal.document["Classes"]] == values
    assert "ModelConfiguration" not in proposal.document
    assert {question.partition(":")[0] for question in proposal.open_questions} == {"bands", "classes", "values"}
    assert model_in(load_any(load_package(str(written(proposal, path)), is_strict=True))).output == "objects"


def test_what_is_proposed(tmp_path: Path) -> None:
    """Type, size, layout and threshold of a detector are said, in the documented order; what was said stands."""
    path = made("yolo", tmp_path / "net.onnx")
    document = proposed(path).document
    assert (document["ModelType"], document["ImageHeight"], document["ImageWidth"]) == ("ObjectDetection", 256, 320)
    assert (document["ModelFormat"], document["Threshold"]) == ("NCHW", 0.5)
    assert document["SupportsVariableTileSize"] is False
    keys = list(Emd.model_fields)
    assert list(document) == sorted(document, key=keys.index)
    said = {"Padding": 16, "ModelName": "Ships", "Threshold": 0.25, "ModelType": "ObjectDetection", "Version": "1"}
    assert {key: proposed(path, **said).document[key] for key in said} == said


@pytest.mark.parametrize("name", ["yolo masks", "torchvision masks", "keras mask-rcnn"])
def test_masks_make_instances(tmp_path: Path, name: str) -> None:
    """A network that gives masks is an InstanceDetection."""
    assert proposed(made(name, tmp_path / "net.onnx")).document["ModelType"] == "InstanceDetection"


@pytest.mark.parametrize(
    ("name", "said", "config"),
    [
        ("ssd raw", "anchors", {"min_sizes": detectors.MIN_SIZES, "strides": [8, 16, 32, 64]}),
        ("yolo heads", "Nothing says the anchors and version", {"anchors": detectors.ANCHORS, "version": "v5"}),
    ],
)
def test_what_an_answer_does_not_show_is_asked(tmp_path: Path, name: str, said: str, config: dict[str, Any]) -> None:
    """Anchors of undecoded answers are an open question; once they are said the definition runs."""
    path = made(name, tmp_path / "net.onnx")
    proposal = proposed(path, Classes=FOUR)
    (question,) = [each for each in proposal.open_questions if each.startswith("answer: ")]
    assert said in question
    assert "--config" in question
    with pytest.raises(ModelError, match="anchors"):
        load_any(load_package(str(written(proposal, path))))
    config = json.loads(json.dumps(config))
    proposal = proposed(path, Classes=FOUR, ModelConfiguration={"Name": "Mine", "Config": config})
    assert proposal.document["ModelConfiguration"]["Name"] == "Mine"
    assert config.items() <= proposal.document["ModelConfiguration"]["Config"].items()
    detector = model_in(load_any(load_package(str(written(proposal, path)), is_strict=True))).detector
    assert detector is not None
    assert detector.decoder.form == name
    assert not [each for each in proposal.open_questions if each.startswith("answer: ")]


def test_boxes_that_no_answer_has(tmp_path: Path) -> None:
    """Where the network found nothing in what it was shown, coordinates are asked for and not written down."""
    nothing = detectors_finished.Objects(
        np.zeros((0, 4), "float32"), np.zeros(0, "float32"), np.zeros(0, np.int64), np.zeros((0, *SIZE), "float32")
    )
    answer = detectors_finished.torchvision_answer(nothing)
    path = detectors_finished.answering_network(tmp_path / "net.onnx", answer)
    proposal = proposed(path, Classes=THREE)
    assert "ModelConfiguration" not in proposal.document
    (question,) = [each for each in proposal.open_questions if each.startswith("answer: ")]
    assert "coordinates" in question
    said = {"Config": {"coordinates": "pixels"}}
    document = proposed(path, Classes=THREE, ModelConfiguration=said).document
    assert document["ModelConfiguration"]["Config"]["coordinates"] == "pixels"


@pytest.mark.parametrize(
    ("name", "said", "words"),
    [
        ("yolo", {"Classes": FOUR[:2]}, "tells 4 classes apart"),
        ("yolo", {"ExtractBands": [0], "ImageHeight": 99, "ImageWidth": 99}, "ExtractBands.*ImageHeight is 99"),
        ("yolo", {"ModelPadding": 4}, "ModelPadding"),
        ("yolo", {"ModelConfiguration": {"Config": {"form": "detr"}}}, "form is detr"),
        ("yolo", {"ModelConfiguration": {"Config": {"cordinates": "pixels"}}}, "cordinates is not known"),
        ("yolo", {"ModelType": "ImageClassification"}, "does not fit"),
        ("yolo", {"ModelType": "ObjectClassification"}, "one row of scores"),
        ("ssd raw", {"ModelConfiguration": {"Config": {"form": "ssd raw"}}}, "ssd raw"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, name: str, said: dict[str, Any], words: str) -> None:
    """What is said and does not fit the network is a ModelError, all of it at once, not an open question."""
    with pytest.raises(ModelError, match=words):
        proposed(made(name, tmp_path / "net.onnx"), **said)


def scene_network(path: Path, count: int, sizes: tuple[Any, ...] = ("n", 3, "h", "w")) -> Path:
    """A network that gives `count` scores an image."""
    weights = np.random.default_rng(1).standard_normal((3, count)).astype("float32")
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["m", "weights"], ["y"]),
        ],
        "scene",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [sizes[0], count])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return save(graph, path)


@pytest.mark.parametrize(("count", "values"), [(1, [1]), (2, [0, 1]), (5, [0, 1, 2, 3, 4])])
def test_object_classifiers(tmp_path: Path, count: int, values: list[int]) -> None:
    """One row of scores an image classifies objects: chips, crop rules and classes are proposed, and it runs."""
    path = scene_network(tmp_path / "net.onnx", count, (1, 3, 48, 64))
    proposal = proposed(path)
    document = proposal.document
    assert document["ModelType"] == "ObjectClassification"
    assert (document["ImageHeight"], document["ImageWidth"], document["ExtractBands"]) == (48, 64, [0, 1, 2])
    assert (document["CropSizeFixed"], document["BlackenAroundFeature"]) == (True, False)
    assert [entry["Value"] for entry in document["Classes"]] == values
    questions = {question.partition(":")[0] for question in proposal.open_questions}
    assert questions == {"bands", "classes", "values", "chips"}
    loaded = load_any(load_package(str(written(proposal, path)), is_strict=True))
    assert model_in(loaded).chip_px == (48, 64)


def test_object_classifiers_of_any_size(tmp_path: Path) -> None:
    """Where the network takes any size it is asked for; padding and the like are refused."""
    path = scene_network(tmp_path / "net.onnx", 3)
    proposal = proposed(path)
    assert (proposal.document["ImageHeight"], proposal.document["ImageWidth"]) == (224, 224)
    assert any(question.startswith("size: ") for question in proposal.open_questions)
    for key in ("Padding", "ModelPadding"):
        with pytest.raises(ModelError, match=key):
            proposed(path, **{key: 8})
