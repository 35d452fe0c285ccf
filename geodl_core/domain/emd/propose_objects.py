"""A first EMD for a network that finds objects, or tells the classes of given ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.classes import default_color
from geodl_core.domain.detection.decode import DECODERS
from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.detection.evidence import UNTOLD
from geodl_core.domain.emd.propose import VALUES_QUESTION, Proposal, guess_bands, guess_layout, name_of
from geodl_core.domain.model.agreement import INSTANCES, OBJECTS, SCENE
from geodl_core.domain.model.detector import image_input
from geodl_core.domain.model.model import DEFAULT_THRESHOLD
from geodl_core.domain.model.object_classifier import DEFAULT_CROP_PX, scene_tensors
from geodl_core.domain.model.tensors import DEFAULT_CHIP_PX, Layout, sizes_of
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.errors import ModelError

MASKED = ("yolo masks", "keras mask-rcnn")
"""Forms whose answers always have masks."""
MASKED_TENSORS = 4
"""Of torchvision's, where masks are the last."""
MOST_PLACEHOLDERS = 1024
CHIPS_QUESTION = (
    "chips: they are of one size, with what lies around the object (CropSizeFixed 1, BlackenAroundFeature 0); was the "
    "network trained on others (geodl model edit EMD --set CropSizeFixed=0)?"
)


def propose_detector(
    graph: Graph, model_file: str, said: Mapping[str, Any], decoder: Decoder | None = None, labels: int | None = None
) -> Proposal:
    """Propose a definition of a network that finds objects.

    Form and coordinates of the answer are written down where the classes are said: without them some forms cannot be
    told from others.

    Args:
        graph: of the network.
        model_file: its file's name, for `ModelFile`.
        said: keys of the EMD that the user gave; they stand above what is guessed.
        decoder: how its answer becomes objects, None where that is open.
        labels: how many classes it tells apart, as far as is known.

    Raises:
        ModelError: the graph has no image input, or its channels are open and no bands were said; or what was said is
            of other models.
    """
    _refuse(said, ("ModelPadding",), "finds objects")
    source = image_input(graph)
    layout: Layout = said.get("ModelFormat") or guess_layout(source)
    questions: list[str] = []
    document: dict[str, Any] = {
        "Framework": "Onnx",
        **_configuration(said, decoder),
        "ModelFile": model_file,
        "ModelType": _type(decoder),
        **_size(source, layout, DEFAULT_CHIP_PX, said, questions),
        "ExtractBands": said.get("ExtractBands") or guess_bands(source.shape[layout.index("C")], questions),
        **_classes(said, decoder, labels, questions),
        "Threshold": DEFAULT_THRESHOLD,
        "ModelName": name_of(model_file),
        "ModelFormat": layout,
        "SupportsVariableTileSize": None in sizes_of(source, layout),
    }
    if decoder is not None and UNTOLD in decoder.why:
        questions.append(f"answer: {decoder.why} If it is otherwise, say so with --config (form, coordinates, …)")
    if "DataRange" not in said:
        questions.append(VALUES_QUESTION)
    kept = {key: value for key, value in said.items() if key != "ModelConfiguration"}
    return Proposal({**document, **kept}, tuple(questions))


def propose_object_classifier(graph: Graph, model_file: str, said: Mapping[str, Any]) -> Proposal:
    """Propose a definition of a network that tells the classes of given objects; see `propose_detector`."""
    _refuse(said, ("Padding", "ModelPadding", "ModelConfiguration"), "classifies given objects")
    source, _, count = scene_tensors(graph, len(said.get("Classes", ())))
    layout: Layout = said.get("ModelFormat") or guess_layout(source)
    questions: list[str] = []
    document: dict[str, Any] = {
        "Framework": "Onnx",
        "ModelFile": model_file,
        "ModelType": SCENE,
        **_size(source, layout, DEFAULT_CROP_PX, said, questions),
        "ExtractBands": said.get("ExtractBands") or guess_bands(source.shape[layout.index("C")], questions),
        "Classes": said.get("Classes") or _placeholders(0 if count != 1 else 1, count or 2),
        "CropSizeFixed": True,
        "BlackenAroundFeature": False,
        "ModelName": name_of(model_file),
        "ModelFormat": layout,
    }
    if "Classes" not in said:
        questions.append("classes: what are they called (--class VALUE:NAME[:#RRGGBB], one each)?")
    if "DataRange" not in said:
        questions.append(VALUES_QUESTION)
    return Proposal({**document, **said}, (*questions, CHIPS_QUESTION))


def labels_seen(decoder: Decoder, answer: Mapping[str, npt.NDArray[Any]], input_px: tuple[int, int]) -> int:
    """Return how many classes a network tells apart, by the labels of one answer where nothing else tells.

    Args:
        decoder: how the answer becomes objects.
        answer: by the names of the outputs.
        input_px: height and width of the network's input.
    """
    if decoder.classes is not None:
        return decoder.classes
    tensors = tuple(np.nan_to_num(answer[name]) for name in decoder.tensors)
    found = DECODERS[decoder.form](tensors, decoder, input_px, 0.0)
    highest = max((int(each.labels.max()) for each in found if each.labels.size), default=decoder.first_label)
    return min(max(highest - decoder.first_label + 1, 1), MOST_PLACEHOLDERS)


def _refuse(said: Mapping[str, Any], keys: tuple[str, ...], what: str) -> None:
    for key in keys:
        if key in said:
            raise ModelError(f"{key}: a network that {what} has none", hint="--type says what it does")


def _type(decoder: Decoder | None) -> str:
    if decoder is None:
        return OBJECTS
    is_masked = decoder.form in MASKED or (decoder.form == "torchvision" and len(decoder.tensors) == MASKED_TENSORS)
    return INSTANCES if is_masked else OBJECTS


def _configuration(said: Mapping[str, Any], decoder: Decoder | None) -> dict[str, Any]:
    """Return `ModelConfiguration`: what was said, and what was found where that is certain."""
    given = said.get("ModelConfiguration") or {}
    is_certain = decoder is not None and "Classes" in said and UNTOLD not in decoder.why
    found = {"form": decoder.form, "coordinates": decoder.coordinates} if decoder is not None and is_certain else {}
    config = {**found, **given.get("Config", {})}
    configuration = {**given, **({"Config": config} if config else {})}
    return {"ModelConfiguration": configuration} if configuration else {}


def _size(
    source: Tensor, layout: Layout, usual_px: int, said: Mapping[str, Any], questions: list[str]
) -> dict[str, int]:
    height, width = sizes_of(source, layout)
    if (height is None or width is None) and "ImageHeight" not in said:
        questions.append(
            "size: the network takes any; how large were the pictures that it was trained on (--tile-size)?"
        )
    return {"ImageHeight": height or usual_px, "ImageWidth": width or usual_px}


def _classes(
    said: Mapping[str, Any], decoder: Decoder | None, labels: int | None, questions: list[str]
) -> dict[str, Any]:
    if "Classes" in said:
        return {"Classes": said["Classes"]}
    question = "classes: what are they called (--class VALUE:NAME[:#RRGGBB], one each)?"
    if decoder is None or labels is None:
        questions.append(question)
        return {}
    known = f"The network is taken to tell {labels} apart: {decoder.why}"
    open_ended = (
        f"The network does not tell how many there are; one answer had labels up to {decoder.first_label + labels - 1}."
    )
    questions.append(f"{question} {open_ended if decoder.classes is None else known}")
    return {"Classes": _placeholders(decoder.first_label, labels)}


def _placeholders(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {"Value": first + place, "Name": f"Class {first + place}", "Color": list(default_color(place))}
        for place in range(count)
    ]
