"""Arguments of detectors: which are offered, how they are read, and what is refused."""

import json
from dataclasses import replace

import pytest

from geodl_core.domain.detection.decoder import Form
from geodl_core.domain.emd.definition import parse_emd
from geodl_core.domain.model.arguments import arguments_of, describe_argument, read_arguments, split_arguments
from geodl_core.domain.model.detector import make_detector
from geodl_core.domain.model.detector_arguments import detector_arguments
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.errors import InputError

USUAL = [
    *("threshold", "score_threshold", "padding", "tile_size", "batch_size", "nms_overlap", "exclude_pad_detections"),
    *("test_time_augmentation", "tta_scales", "merge_cut", "seam_measure", "run_nms", "max_overlap_ratio"),
    *("geometry", "area", "arcgis_fields"),
]
BOXES: dict[Form, tuple[Tensor, ...]] = {
    "yolo transposed": (Tensor("y", "float32", (None, 6, 100)),),
    "yolo oriented": (Tensor("y", "float32", (None, 7, 100)),),
    "torchvision": (
        Tensor("boxes", "float32", (None, 4)),
        Tensor("labels", "int64", (None,)),
        Tensor("scores", "float32", (None,)),
    ),
    "finished": (Tensor("y", "float32", (1, 100, 6)),),
}


def detector(form: Form = "yolo transposed", size=(256, 320), batch=None, **keys):
    document = {
        "ModelFile": "x.onnx",
        "ModelType": "ObjectDetection",
        "ModelConfiguration": {"Name": "", "Config": {"form": form, "coordinates": "pixels"}},
        "ImageHeight": 256,
        "ImageWidth": 320,
        "ExtractBands": [0, 1, 2],
        "Classes": [{"Value": value, "Name": str(value)} for value in (1, 2)],
        **keys,
    }
    outputs = BOXES[form]
    graph = Graph((Tensor("x", "float32", (batch, 3, *size)),), outputs, (None,) * len(outputs), 17, "ab")
    return make_detector(parse_emd(json.dumps(document), "m.emd"), graph, "m", None)


def names_of(model):
    return [argument.name for argument in arguments_of(model)]


def test_which_are_offered():
    """Batches where a network takes any, outlines where it gives some; all else always."""
    assert names_of(detector()) == USUAL
    assert names_of(detector(batch=1)) == [name for name in USUAL if name != "batch_size"]
    outlined = [*USUAL[:9], "return_bboxes", "simplify", *USUAL[9:]]
    assert names_of(detector("yolo oriented")) == outlined
    one = [name for name in outlined if name != "batch_size"]
    # A network that tells images apart by nothing gets one at a time.
    assert names_of(detector("torchvision")) == one


def test_defaults_are_the_definition_s():
    """Threshold, context, tile and suppression default to what definition and network say."""
    defaults = {argument.name: argument.default for argument in arguments_of(detector(Threshold=0.35, Padding=48))}
    assert defaults["threshold"] == defaults["score_threshold"] == 0.35
    assert defaults["padding"] == 48
    assert defaults["tile_size"] == 320
    assert defaults["nms_overlap"] == 0.45
    assert defaults["test_time_augmentation"] is False
    of_arcgis = detector(Framework="arcgis.learn.models._inferencing", test_time_augmentation=True)
    told = {argument.name: argument for argument in arguments_of(of_arcgis)}
    assert told["nms_overlap"].default == 0.1
    assert told["test_time_augmentation"].default is True
    assert told["padding"].default == 64
    assert "a quarter of ImageHeight" in told["padding"].help
    suppressed = {argument.name: argument.default for argument in arguments_of(detector("finished", batch=1))}
    assert suppressed["nms_overlap"] == 1


def test_the_tile_is_told():
    """Of a network of fixed size it is said that other tiles are resized."""
    told = {argument.name: describe_argument(argument) for argument in arguments_of(detector())}
    assert "256 × 320 are resized" in told["tile_size"]
    free = {argument.name: describe_argument(argument) for argument in arguments_of(detector(size=(None, None)))}
    assert "resized" not in free["tile_size"]
    assert told["tta_scales"].startswith("tta_scales  numbers above 0, up to 8, with commas between, default 1: ")
    assert told["seam_measure"].startswith("seam_measure  one of iou, ios, default iou: ")


def test_every_value_is_read():
    """Texts become values, ArcGIS's way of writing them too."""
    text = "threshold .3;padding 32;tile_size 512;batch_size 2;nms_overlap 0.2;exclude_pad_detections False;merge_cut 1"
    more = [
        "tta_scales=0.5,1",
        "seam_measure=IOS",
        "geometry=point",
        "area=yes",
        "max_overlap_ratio=0.4",
        "run_nms=True",
    ]
    found = read_arguments(detector(), split_arguments([text, *more]))
    assert found == {
        "threshold": 0.3,
        "padding": 32,
        "tile_size": 512,
        "batch_size": 2,
        "nms_overlap": 0.2,
        "exclude_pad_detections": False,
        "merge_cut": True,
        "tta_scales": "0.5,1",
        "seam_measure": "ios",
        "geometry": "point",
        "area": True,
        "max_overlap_ratio": 0.4,
        "run_nms": True,
    }


@pytest.mark.parametrize(
    "text",
    [
        *("threshold=1.5", "threshold=nan", "padding=-1", "padding=1.5", "tile_size=0", "batch_size=0"),
        *("nms_overlap=2", "tta_scales=0", "tta_scales=1,", "tta_scales=nan", "tta_scales=9", "tta_scales=inf"),
        *("seam_measure=giou", "geometry=line", "area=maybe", "max_overlap_ratio=-0.1", "simplify=1"),
        *("return_bboxes=true", "return_probability_raster=true", "merge_policy=max", "predict_background=false"),
    ],
)
def test_what_is_refused(text):
    """Values outside their domain, and arguments of other models, are refused by name."""
    with pytest.raises(InputError, match=text.split("=")[0]):
        read_arguments(detector(), split_arguments([text]))


def test_a_classifier_has_none_of_them():
    """Without a detector there are no arguments of one."""
    assert detector_arguments(replace(detector(), detector=None)) == ()
