"""What a definition says of the form of a detector's answer: the name of its architecture, and keys of our own."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from geodl_core.domain.detection.decoder import Form
from geodl_core.domain.emd.definition import Emd
from geodl_core.errors import ModelError

FORMS: tuple[Form, ...] = get_args(Form)
WORDS: Mapping[str, tuple[str, ...]] = {
    "form": FORMS,
    "coordinates": ("pixels", "normalised"),
    "activation": ("none", "sigmoid", "softmax"),
    "background": ("first", "last", "none"),
    "classes": ("value", "position"),
}
"""Keys of Config that take one word of some."""
FLAGS = ("objectness", "suppressed")
"""Keys that are true or false."""
OTHERS = (
    *("outputs", "first_label", "score_scale", "order", "anchors", "variances", "strides", "min_sizes", "sizes"),
    *("grids", "zooms", "ratios", "scales", "offset", "is_rounded", "is_clipped", "is_multi_label", "encoding"),
    *("is_fitted", "anchor_order"),
    *("version", "scale_xy"),
)
KEYS = (*WORDS, *FLAGS, *OTHERS)
CLOSE = 0.8
"""Keys that are so alike are taken for slips of the pen."""
ANCHOR_KEYS = ("Grids", "Zooms", "Ratios", "Scales")
"""Of a definition written by training in ArcGIS, at its top or in ModelParameters."""
_YOLO: tuple[Form, ...] = ("yolo masks", "yolox", "yolo", "yolo heads", "finished", "yolo transposed")
_YOLO_8: tuple[Form, ...] = ("yolo masks", "finished", "yolo oriented", "yolo transposed", "yolo")
_NAMES: tuple[tuple[str, tuple[Form, ...]], ...] = (
    (r"yolox", ("yolox", "yolo")),
    (r"yolo.*(obb|oriented)", ("yolo oriented",)),
    (r"yolo.*seg", ("yolo masks",)),
    (r"yolov?10", ("finished", "yolo transposed")),
    (r"yolov?(8|9|1[1-9]|2\d)", _YOLO_8),
    (r"yolo", _YOLO),
    (r"rtdetr", ("detr", "torchvision", "finished", "yolo", "yolo transposed")),
    (r"detr", ("detr",)),
    (r"retinanet", ("torchvision", "retinanet raw", "ssd")),
    (r"ssd|singleshot", ("torchvision", "tensorflow", "ssd", "ssd raw")),
    (r"objectdetectionapi|tensorflow", ("tensorflow",)),
    (r"maskrcnn", ("torchvision", "keras mask-rcnn", "tensorflow")),
    (r"fasterrcnn", ("torchvision", "cntk faster-rcnn", "tensorflow")),
    (r"torchvision|mmdetection|mmdet", ("torchvision",)),
)
"""Patterns of architectures' names, the first that occurs counts, and the forms in which they answer."""
_FASTAI = {"encoding": "tanh", "activation": "sigmoid", "background": "last", "is_multi_label": True}
_FASTAI_ANCHORS = {"grids": [4, 2, 1], "zooms": [0.7, 1.0, 1.3], "ratios": [[1.0, 1.0], [1.0, 0.5], [0.5, 1.0]]}
"""Those of Esri's open FastaiSSD, which has them in its code."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a definition says of an answer's form."""

    name: str = ""
    """Of the architecture, as it is written."""
    forms: tuple[Form, ...] = ()
    """In which it may answer; empty: nothing is said."""
    is_form_said: bool = False
    """Whether it is the one form that Config names."""
    said: Mapping[str, Any] = field(default_factory=dict)
    """Keys of Config, in lower case."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The same, and what else is known of the architecture."""


def read_configuration(emd: Emd) -> Configuration:
    """Read `ModelConfiguration`: a name, or an object of `Name` and `Config`.

    Names are Esri's (ObjectDetectionAPI, FasterRCNN, MaskRCNN, FastaiSSD, SingleShotDetector, RetinaNet, YOLOv3,
    DETReg, MMDetection) and those of today (YOLOv5, YOLOv8, YOLO-OBB, YOLOX, SSD, DETR, RT-DETR, TorchVision …); case,
    dashes and spaces do not matter. `Config` may hold, case aside:

    | key | values | says |
    |---|---|---|
    | form | one of `Form` | how the answer is laid out |
    | outputs | names | the outputs that carry it, in the order of the form |
    | coordinates | pixels, normalised | of boxes |
    | order | xyxy, yxyx, xywh, cxcywh; for rows also `class score` | of a box's numbers |
    | objectness | true, false | whether a score of the box stands before those of the classes |
    | activation | none, sigmoid, softmax | what makes scores of the class values; none: they are scores |
    | background | first, last, none | which class score is that of no object |
    | suppressed | true, false | whether the network leaves no overlapping boxes |
    | score_scale | 1, 100 | what the network calls certain |
    | first_label | 0, 1 | what the network calls its first class |
    | classes | value, position | how labels are matched with Classes |
    | anchors, version, scale_xy | numbers | of YOLO's undecoded maps |
    | variances, anchors, strides, min_sizes, grids, zooms, ratios, encoding, is_clipped | numbers | of SSD's anchors |
    | is_multi_label | true, false | whether a box of SSD is of every class that is likely |
    | sizes, strides, scales, ratios, offset, is_rounded | numbers | of RetinaNet's anchors |

    Raises:
        ModelError: a key that is nearly one of these, or a value that none of them takes.
    """
    written = emd.ModelConfiguration
    name = written.get("Name") if isinstance(written, dict) else written
    config = written.get("Config") if isinstance(written, dict) else None
    pairs = config.items() if isinstance(config, dict) else ()
    said = {
        str(key).lower(): value.lower() if str(key).lower() in WORDS and isinstance(value, str) else value
        for key, value in pairs
    }
    for key, value in said.items():
        _require_known(key, value)
    text = name if isinstance(name, str) else ""
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    framework = (emd.Framework or "").lower()
    forms: tuple[Form, ...] = next((forms for pattern, forms in _NAMES if re.search(pattern, plain)), ())
    if "maskrcnn" in plain and framework == "keras":
        forms = ("keras mask-rcnn",)
    if "fasterrcnn" in plain and framework == "cntk":
        forms = ("cntk faster-rcnn",)
    if "form" in said:
        forms = tuple(form for form in FORMS if form == said["form"])
    return Configuration(text, forms, "form" in said, said, {**_usual(emd, plain), **said})


def _usual(emd: Emd, plain: str) -> dict[str, Any]:
    """Return settings that follow from the architecture and the definition's other keys."""
    extras = {**((emd.ModelParameters.model_extra or {}) if emd.ModelParameters else {}), **(emd.model_extra or {})}
    anchors = {key.lower(): value for key, value in extras.items() if key.capitalize() in ANCHOR_KEYS and value}
    if "fastaissd" in plain or "singleshotdetector" in plain or "dynamicssd" in plain:
        return {**_FASTAI, **(anchors or (_FASTAI_ANCHORS if "fastaissd" in plain else {}))}
    if "retinanet" in plain:
        return anchors
    if version := re.search(r"yolov?([3457])", plain):
        return {"version": f"v{version[1]}"}
    if any(word in plain for word in ("rtdetr", "deformabledetr", "detreg", "dinodetr", "conditionaldetr")):
        return {"activation": "sigmoid", "suppressed": True}
    return anchors


def _require_known(key: str, value: Any) -> None:
    if key not in KEYS:
        if close := difflib.get_close_matches(key, KEYS, 1, CLOSE):
            raise ModelError(f"ModelConfiguration Config: the key {key} is not known", hint=f"is {close[0]} meant?")
        return  # Others keep what they need for training there.
    if key in WORDS and value not in WORDS[key]:
        raise ModelError(f"ModelConfiguration Config {key}: expected one of {', '.join(WORDS[key])}, found {value!r}")
    if key in FLAGS and not isinstance(value, bool):
        raise ModelError(f"ModelConfiguration Config {key}: expected true or false, found {value!r}")
    if key == "first_label" and value not in (0, 1):
        raise ModelError(f"ModelConfiguration Config {key}: expected 0 or 1, found {value!r}")
    if key == "score_scale" and value not in (1, 100):
        raise ModelError(f"ModelConfiguration Config {key}: expected 1 or 100, found {value!r}")
    if key == "outputs" and not (isinstance(value, list) and value and all(isinstance(each, str) for each in value)):
        raise ModelError(f"ModelConfiguration Config {key}: expected a list of names, found {value!r}")
