"""A STAC Item of a model (MLM extension, 1.4 to 1.6) read as an Esri model definition."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from geodl_core.domain.emd.definition import Emd, parse_emd
from geodl_core.domain.mlm.bands import read_bands
from geodl_core.domain.mlm.carry import is_carried, with_carried
from geodl_core.domain.mlm.loose_json import assets, mapping, objects, texts
from geodl_core.domain.mlm.scaling import read_scaling
from geodl_core.errors import ModelError

MODEL_ROLE = "mlm:model"
MODEL_TYPES = {
    "instance-segmentation": "InstanceDetection",
    "object-detection": "ObjectDetection",
    "detection": "ObjectDetection",
    "semantic-segmentation": "ImageClassification",
    "segmentation": "ImageClassification",
    "panoptic-segmentation": "ImageClassification",
    "classification": "ObjectClassification",
    "scene-classification": "ObjectClassification",
}
"""MLM task → ModelType; of several tasks the first of this order counts."""
IMPLIED = {"instance-segmentation": ("object-detection", "detection")}
"""Tasks that another one does too."""


@dataclass(frozen=True, slots=True)
class MlmReading:
    """What an Item says of a model."""

    emd: Emd
    warnings: tuple[str, ...]
    """What the Item says and a definition cannot, each by name."""


def emd_from_mlm(item: Mapping[str, Any], emd_text: bytes | None = None) -> MlmReading:
    """Return the definition of the model that an Item describes.

    Args:
        item: the Item, with the MLM extension.
        emd_text: the content of its asset `emd`, which wins over all that the Item itself says.

    Raises:
        ModelError: no ONNX asset, or nothing that makes a definition.
    """
    onnx_asset(item)
    if emd_text is not None:
        return MlmReading(parse_emd(emd_text, f"Item {item.get('id')}: emd"), ())
    keys, warnings = mlm_keys(item)
    return MlmReading(parse_emd(json.dumps(keys), f"Item {item.get('id')}"), warnings)


def onnx_asset(item: Mapping[str, Any]) -> str:
    """Return the key of the asset that is the model as ONNX.

    Raises:
        ModelError: there is none; says which model assets there are.
    """
    models = [(key, asset) for key, asset in assets(item) if MODEL_ROLE in texts(asset.get("roles"))]
    # Items before 1.4 and careless ones leave the role out; the file's name still says what it is.
    for key, asset in [*models, *assets(item)]:
        if _is_onnx(asset):
            return key
    found = ", ".join(f"{key} ({asset.get('mlm:artifact_type') or asset.get('type')})" for key, asset in models)
    raise ModelError(
        f"Item {item.get('id')}: expected a model asset in ONNX, found {found or 'no model asset'}",
        hint="export the network to ONNX and describe that file in an EMD",
    )


def mlm_keys(item: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return an EMD's keys as far as an Item says them, and warnings of what they leave out; needs no asset."""
    properties = mapping(item.get("properties"))
    warnings: list[str] = []
    source = _main_input(properties, warnings)
    shape = _sizes(mapping(source.get("input")))
    keys: dict[str, Any] = _names(item, properties)
    hyperparameters = mapping(properties.get("mlm:hyperparameters"))
    keys["ModelType"] = _model_type(properties, [] if is_carried("ModelType", hyperparameters) else warnings)
    keys |= _chip(source, shape)
    bands = read_bands(item, source, warnings)
    if bands:
        keys["ExtractBands"] = bands
    keys |= read_scaling(source.get("value_scaling"), len(bands) or shape.get("bands", 0), warnings)
    keys |= _functions(properties, source, warnings)
    sensor = properties.get("constellation") or properties.get("platform")
    if isinstance(sensor, str) and sensor:
        keys["InputRastersProps"] = {"SensorName": sensor}
    batch = properties.get("mlm:batch_size_suggestion")
    if isinstance(batch, int) and batch > 0:
        keys["BatchSize"] = batch
    classes = _classes(properties, warnings)
    if classes:
        keys["Classes"] = classes
    return with_carried(keys, hyperparameters), tuple(warnings)


def _names(item: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    try:
        href = str(mapping(dict(assets(item))[onnx_asset(item)]).get("href", ""))
    except ModelError:
        href = ""
    version = properties.get("version")
    # geodl's own Items have the content hash as their version, which is no version of the definition.
    is_own = version and str(properties.get("geodl:model_sha256", "")).startswith(str(version))
    found = {
        "ModelName": properties.get("mlm:name"),
        "Version": None if is_own else version,
        "Description": properties.get("description"),
        "ModelConfiguration": properties.get("mlm:architecture"),
        "ModelFile": _file_name(href),
    }
    return {key: value for key, value in found.items() if isinstance(value, str) and value and value != "unknown"}


def _main_input(properties: Mapping[str, Any], warnings: list[str]) -> Mapping[str, Any]:
    inputs = objects(properties.get("mlm:input"))
    if not inputs:
        warnings.append("mlm:input says nothing of what the model takes")
        return {}
    chosen = next((entry for entry in inputs if entry.get("bands")), inputs[0])
    others = [str(entry.get("name")) for entry in inputs if entry is not chosen]
    if others:
        warnings.append(f"mlm:input: a definition has one input; left out: {', '.join(others)}")
    if chosen.get("variables"):
        warnings.append(f"mlm:input: its variables {chosen['variables']} are left out")
    lost = [key for key in ("resize_type", "norm_type") if chosen.get(key)]
    warnings.extend(f"mlm:input: {key} {chosen[key]!r} is left out" for key in lost)
    return chosen


def _sizes(structure: Mapping[str, Any]) -> dict[str, int]:
    """Return the size of each named dimension, -1 where it is open; `channel` counts as `bands`."""
    order, shape = texts(structure.get("dim_order")), structure.get("shape")
    if not isinstance(shape, list) or len(shape) != len(order):
        return {}
    sizes = {name: size for name, size in zip(order, shape, strict=True) if isinstance(size, int)}
    for name in ("channel", "channels"):
        if name in sizes:
            sizes.setdefault("bands", sizes[name])
    return sizes


def _chip(source: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for key, name in (("ImageHeight", "height"), ("ImageWidth", "width")):
        if sizes.get(name, 0) > 0:
            keys[key] = sizes[name]
    if sizes.get("height") == sizes.get("width") == -1:
        keys["SupportsVariableTileSize"] = True
    order = texts(mapping(source.get("input")).get("dim_order"))
    if order and order[-1] in ("bands", "channel", "channels"):
        keys["ModelFormat"] = "NHWC"
    return keys


def _model_type(properties: Mapping[str, Any], warnings: list[str]) -> str:
    outputs = objects(properties.get("mlm:output"))
    tasks = texts(properties.get("mlm:tasks")) or [task for entry in outputs for task in texts(entry.get("tasks"))]
    known = [task for task in MODEL_TYPES if task in tasks]
    if not known:
        warnings.append(f"mlm:tasks: expected one of {', '.join(MODEL_TYPES)}, found {', '.join(tasks) or 'none'}")
        return tasks[0] if tasks else "ImageClassification"
    implied = IMPLIED.get(known[0], ())
    others = [task for task in tasks if MODEL_TYPES.get(task) != MODEL_TYPES[known[0]] and task not in implied]
    if others:
        warnings.append(f"mlm:tasks: a definition has one task, {known[0]}; left out: {', '.join(others)}")
    return MODEL_TYPES[known[0]]


def _functions(properties: Mapping[str, Any], source: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    keys = {}
    for entry in objects(_list_of(source.get("pre_processing_function"))):
        expression = entry.get("expression")
        href = expression.get("href") if isinstance(expression, Mapping) else expression
        if (
            str(entry.get("format", "")).lower() == "onnx"
            and isinstance(href, str)
            and "PreprocessingModel" not in keys
        ):
            keys["PreprocessingModel"] = _file_name(href)
        else:
            warnings.append(f"mlm:input: the pre_processing_function {_shown(entry)} is left out")
    warnings.extend(
        f"mlm:output: the post_processing_function {_shown(entry)} is left out"
        for output in objects(properties.get("mlm:output"))
        for entry in objects(_list_of(output.get("post_processing_function")))
    )
    return keys


def _classes(properties: Mapping[str, Any], warnings: list[str]) -> list[dict[str, Any]]:
    outputs = [entry for entry in objects(properties.get("mlm:output")) if objects(entry.get("classification:classes"))]
    if len(outputs) > 1:
        others = ", ".join(str(entry.get("name")) for entry in outputs[1:])
        warnings.append(f"mlm:output: classes are those of {outputs[0].get('name')}; left out: {others}")
    classes = []
    for entry in objects(outputs[0]["classification:classes"]) if outputs else []:
        value = entry.get("value")
        if not isinstance(value, int) or isinstance(value, bool):
            warnings.append(f"mlm:output: a class without a whole number as its value is left out: {_shown(entry)}")
            continue
        # Items that geodl writes hold the name in `description`: `name` takes few letters, and MLM no `title`.
        name = entry.get("title") or entry.get("description") or entry.get("name") or f"class {value}"
        color = re.fullmatch(r"#?([0-9A-Fa-f]{6})", str(entry.get("color_hint")))
        described: dict[str, Any] = {"Value": value, "Name": str(name)}
        if color:
            described["Color"] = list(bytes.fromhex(color[1]))
        classes.append(described)
    return classes


def _is_onnx(asset: Mapping[str, Any]) -> bool:
    said = f"{asset.get('mlm:artifact_type')} {asset.get('type')}".lower()
    return "onnx" in said or _path(str(asset.get("href", ""))).lower().endswith(".onnx")


def _file_name(href: str) -> str:
    """Return the last part of an href's path."""
    return unquote(_path(href)).rsplit("/", 1)[-1]


def _path(href: str) -> str:
    try:
        return urlsplit(href).path
    except ValueError:  # brackets that hold no address
        return href


def _list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _shown(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
