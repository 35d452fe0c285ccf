"""Which decoder an answer wants: by the definition, else by names, shapes and values of the answer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from geodl_core.domain.detection.configuration import FORMS, Configuration, read_configuration
from geodl_core.domain.detection.decode import DECODERS
from geodl_core.domain.detection.decoder import Decoder, Form
from geodl_core.domain.detection.evidence import Array, Evidence, gather_evidence, values_of
from geodl_core.domain.detection.fit_anchors import ANCHOR_KEYS, fit_retinanet_raw, fit_ssd, fit_ssd_raw
from geodl_core.domain.detection.fit_finished import (
    find_pair,
    fit_cntk_faster_rcnn,
    fit_detr,
    fit_finished,
    fit_keras_mask_rcnn,
    fit_tensorflow,
    fit_torchvision,
)
from geodl_core.domain.detection.fit_yolo import (
    fit_yolo,
    fit_yolo_heads,
    fit_yolo_masks,
    fit_yolo_oriented,
    fit_yolo_transposed,
    fit_yolox,
)
from geodl_core.domain.emd.definition import Emd
from geodl_core.domain.network.graph import Graph
from geodl_core.domain.network.outputs import describe_outputs
from geodl_core.errors import ModelError

Fit = Callable[[Evidence], Decoder | None]
FITS: dict[Form, Fit] = {
    "keras mask-rcnn": fit_keras_mask_rcnn,
    "cntk faster-rcnn": fit_cntk_faster_rcnn,
    "torchvision": fit_torchvision,
    "tensorflow": fit_tensorflow,
    "detr": fit_detr,
    "yolo masks": fit_yolo_masks,
    "finished": fit_finished,
    "yolox": fit_yolox,
    "yolo": fit_yolo,
    "yolo transposed": fit_yolo_transposed,
    "yolo oriented": fit_yolo_oriented,
    "ssd": fit_ssd,
    "ssd raw": fit_ssd_raw,
    "retinanet raw": fit_retinanet_raw,
    "yolo heads": fit_yolo_heads,
}
"""In the order in which they are tried: those that little else looks like come first."""
CERTAIN = 2.0
"""No score is above it: decoding then tries shapes and settings alone."""
RASTERS = {"scores": "class scores", "mask": "scores", "class map": "class numbers"}


def choose_decoder(emd: Emd, graph: Graph, probe: Mapping[str, Array] | None) -> Decoder:
    """Choose how a network's answer becomes objects.

    `ModelConfiguration` says it (`read_configuration` has the keys), or outputs' names, shapes and types, the number of
    Classes, and the values of one answer: whether boxes are shares of the image or pixels, whether class values are
    scores or logits, whether boxes are decoded. What is said stands above what is seen. Where the architecture that is
    named answers in none of its usual forms, the others are tried.

    Args:
        emd: the definition.
        graph: of its network.
        probe: what the network answered once, by the names of its outputs; None where it was not run. What then stays
            open is taken as is usual, and `why` says so.

    Raises:
        ModelError: the answer is a raster or a row of scores for the whole image; nothing tells what it is; it is not
            what the definition says; or settings that its form needs are missing or do not fit.
    """
    config = read_configuration(emd)
    _require_outputs(config, graph)
    evidence = gather_evidence(emd, graph, config, probe)
    decoder = _first_fit(evidence)
    if decoder is None:
        raise _unrecognised(emd, graph, evidence)
    decoder = _as_said(decoder, config)
    _require_settings(decoder)
    _try(decoder, evidence)
    return decoder


def _first_fit(evidence: Evidence) -> Decoder | None:
    config = evidence.config
    others = () if config.is_form_said else tuple(form for form in FITS if form not in config.forms)
    for form in (*config.forms, *others):
        decoder = FITS[form](evidence)
        if decoder is not None:
            return (
                decoder
                if form in config.forms or not config.forms
                else replace(decoder, why=f"ModelConfiguration is {config.name}, but {decoder.why}")
            )
    return None


def _as_said(decoder: Decoder, config: Configuration) -> Decoder:
    """Return a decoder with what the definition says of it."""
    settings, said = config.settings, config.said
    changed: dict[str, Any] = {}
    if "coordinates" in said:
        changed["coordinates"] = said["coordinates"]
    if "suppressed" in settings:
        changed["is_suppressed"] = settings["suppressed"]
    if "first_label" in said:
        changed["first_label"] = said["first_label"]
    keys = [key for key in said if key in ("form", "outputs", "coordinates", "suppressed", "first_label", "order")]
    by = f" (ModelConfiguration says {', '.join(keys)})" if keys else ""
    kept = {key: value for key, value in settings.items() if key not in ("form", "outputs")}
    return replace(decoder, **changed, settings={**decoder.settings, **kept}, why=f"{decoder.why}{by}.")


def _require_outputs(config: Configuration, graph: Graph) -> None:
    names = [tensor.name for tensor in graph.outputs]
    strange = [name for name in config.settings.get("outputs") or () if name not in names]
    if strange:
        raise ModelError(f"ModelConfiguration Config outputs: expected some of {', '.join(names)}, found {strange[0]}")


def _require_settings(decoder: Decoder) -> None:
    missing = [key for key in ("anchors", "version") if decoder.form == "yolo heads" and key not in decoder.settings]
    if missing:
        raise ModelError(
            f"{decoder.why} Nothing says the {' and '.join(missing)} of these maps",
            hint="say ModelConfiguration Config anchors, pairs of width and height in pixels for each map in the order "
            "of the outputs, and version, v3, v4, v5 or v7",
        )


def _try(decoder: Decoder, evidence: Evidence) -> None:
    """Decode the answer that is there, finding nothing: shapes and settings that do not fit show at once.

    Raises:
        ModelError: they do not.
    """
    tensors = [values_of(evidence, name) for name in decoder.tensors]
    known = tuple(np.nan_to_num(tensor) for tensor in tensors if tensor is not None)
    if evidence.input_px is not None and len(known) == len(tensors):
        scale = float(decoder.settings.get("score_scale", 1))
        DECODERS[decoder.form](known, decoder, evidence.input_px, CERTAIN * scale * scale)


def _unrecognised(emd: Emd, graph: Graph, evidence: Evidence) -> ModelError:
    """Return what is to be said of an answer that no decoder fits."""
    config = evidence.config
    outputs = "; ".join(map(str, evidence.outputs)) or "none"
    if config.is_form_said:
        return ModelError(
            f"ModelConfiguration Config form is {config.forms[0]}, but the outputs are not so: {outputs}",
            hint="Config outputs names those that carry it, in the order of the form",
        )
    name = emd.ModelName or emd.ModelFile or "the model"
    kind = describe_outputs(graph)
    if kind.kind in RASTERS:
        return ModelError(
            f"{name} is declared {emd.ModelType or 'ObjectDetection'}, but its output {kind.tensors[0]} is a raster of "
            f"{RASTERS[kind.kind]}: {kind.why}",
            hint="ModelType ImageClassification runs it",
        )
    if kind.kind == "scene":
        return ModelError(
            f"{name} is declared {emd.ModelType or 'ObjectDetection'}, but its output {kind.tensors[0]} is one row of "
            f"scores for the whole image: {kind.why}",
            hint="ModelType ObjectClassification runs it",
        )
    if find_pair(evidence) is not None and "anchors" not in config.settings:
        return ModelError(
            f"{name}: the outputs look like class values and offsets of anchors, but nothing says which: {outputs}",
            hint=f"say ModelConfiguration Config form ssd raw, and {', '.join(ANCHOR_KEYS)} (with strides), and "
            "variances; or form ssd where boxes are decoded, or retinanet raw",
        )
    classes = f"{len(emd.Classes)} Classes" if emd.Classes else "no Classes"
    return ModelError(
        f"{name}: nothing tells how its answer holds objects, with {classes}: {outputs}",
        hint=f"say ModelConfiguration Config form, one of {', '.join(FORMS)}, and outputs, coordinates, activation",
    )
