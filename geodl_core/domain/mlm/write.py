"""The STAC Item of a model (MLM extension 1.5.2), from its definition and its graph."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.emd.definition import Emd
from geodl_core.domain.mlm.bands import write_bands
from geodl_core.domain.mlm.carry import carry, document
from geodl_core.domain.mlm.outputs import detector_dimensions
from geodl_core.domain.mlm.read import mlm_keys
from geodl_core.domain.mlm.scaling import write_scaling
from geodl_core.domain.model.model import Model
from geodl_core.domain.model.object_classifier import ObjectClassifier
from geodl_core.domain.model.tensors import Layout
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.domain.result.result import StoredFile

MODELS = "models"
"""The Collection of registered models."""
VERSION_LENGTH = 12
STAC_VERSION = "1.1.0"
EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("mlm/v1.5.2", "classification/v2.0.0", "file/v2.1.0", "version/v1.2.0")
)
EO_EXTENSION = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"
WORLD = (-180.0, -90.0, 180.0, 90.0)
ALWAYS = ("1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
"""MLM's best practices: a model without a place and a time is of all of them."""
TASKS = {
    "objectdetection": "object-detection",
    "objectiondetection": "object-detection",
    "instancedetection": "instance-segmentation",
    "imageclassification": "semantic-segmentation",
    "classifypixels": "semantic-segmentation",
    "changedetection": "semantic-segmentation",
    "objectclassification": "classification",
    "objecttracking": "object-detection",
    "cyclegan": "generative",
    "pix2pixhd": "generative",
    "superresolution": "super-resolution",
}
"""ModelType in lower case → MLM task; pixel-wise classification is called segmentation there."""
DATA_TYPES = frozenset(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)) | {
    "float16",
    "float32",
    "float64",
}
ONNX_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is measured of a model's files."""

    model: StoredFile
    """The network, as ONNX."""
    emd: StoredFile
    preprocessing: StoredFile | None = None
    """What the definition's `PreprocessingModel` names."""
    parameters: int | None = None
    """How many weights the network has; None where nobody counted."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A network from outside."""

    source: Tensor
    results: tuple[Tensor, ...]
    """The one that tells classes first."""
    layout: Layout
    decoder: Decoder | None = None
    """Of a network that finds objects."""


def mlm_item(
    emd: Emd, loaded: Model | ObjectClassifier, graph: Graph, facts: ModelFacts, now: datetime
) -> dict[str, Any]:
    """Return the Item of a model: id `<name>-<first 12 of the content hash>`, in the Collection `models`.

    Args:
        emd: the definition.
        loaded: what it means.
        graph: of its network.
        facts: hrefs, sizes and checksums of its files.
        now: for `created` and `updated`.
    """
    model = loaded.model if isinstance(loaded, ObjectClassifier) else loaded
    stamp = now.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    own = {
        "created": stamp,
        "updated": stamp,
        "version": model.digest[:VERSION_LENGTH],
        "deprecated": False,
        "geodl:model": model.name,
        "geodl:model_sha256": model.digest,
    }
    return describe(emd, _signature(loaded, model, graph), facts, own)


def _signature(loaded: Model | ObjectClassifier, model: Model, graph: Graph) -> Signature:
    decoder = model.detector.decoder if model.detector else None
    answer = loaded.answer if isinstance(loaded, ObjectClassifier) else model.result.name
    first = decoder.tensors if decoder else (answer,)
    by_name = {tensor.name: tensor for tensor in graph.outputs}
    others = [name for name in by_name if name not in first]
    results = tuple(by_name[name] for name in (*first, *others))
    return Signature(model.source, results, model.layout, decoder)


def describe(emd: Emd, signature: Signature, facts: ModelFacts, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Item of any model; whatever MLM has no word for goes into its hyperparameters.

    Args:
        emd: the definition.
        signature: of the network.
        facts: hrefs, sizes and checksums of its files.
        own: further properties; `geodl:model` and `version` make the id.
    """
    name = str(own["geodl:model"])
    bands = _bands(emd, signature)
    definitions = list({band["name"]: band for band in bands}.values())
    said: dict[str, Any] = {
        "title": emd.ModelName or name,
        "description": emd.Description,
        "datetime": None,
        "start_datetime": ALWAYS[0],
        "end_datetime": ALWAYS[1],
        **own,
        "gsd": _gsd(emd),
        **_mlm(emd, signature, facts, name),
        "bands": definitions or None,
    }
    item = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [*EXTENSIONS, *([EO_EXTENSION] if any("eo:common_name" in band for band in bands) else [])],
        "id": f"{name}-{own['version']}",
        "collection": MODELS,
        "geometry": _world(),
        "bbox": list(WORLD),
        "properties": {key: value for key, value in said.items() if value is not None or key == "datetime"},
        "links": [{"rel": "collection", "href": "../../collection.json", "type": "application/json"}],
        "assets": _assets(facts, definitions),
    }
    found, _ = mlm_keys(item)
    carried = carry(document(emd), found)
    if carried:
        item["properties"]["mlm:hyperparameters"] = carried  # type: ignore[index]
    return item


def _mlm(emd: Emd, signature: Signature, facts: ModelFacts, name: str) -> dict[str, Any]:
    return {
        "mlm:name": _mlm_name(emd, name),
        "mlm:architecture": _architecture(emd),
        "mlm:tasks": _tasks(emd),
        "mlm:framework": "ONNX",
        "mlm:input": [_input(emd, signature, facts)],
        "mlm:output": [_output(emd, tensor, signature, number) for number, tensor in enumerate(signature.results)],
        "mlm:batch_size_suggestion": emd.BatchSize,
        "mlm:total_parameters": facts.parameters,
    }


def _mlm_name(emd: Emd, name: str) -> str:
    """Return a name as MLM takes it: three characters at least, a letter first, a letter or digit last."""
    for candidate in (emd.ModelName or "", name):
        if re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\- ]+[a-zA-Z0-9]", candidate):
            return candidate
    return f"model-{name.strip('_.-')}".rstrip("-")


def _architecture(emd: Emd) -> str:
    configuration = emd.ModelConfiguration
    name = configuration.get("Name") if isinstance(configuration, dict) else configuration
    return str(name or "unknown")


def _tasks(emd: Emd) -> list[str]:
    task = TASKS.get(str(emd.ModelType).lower())
    return [task] if task else []


def _input(emd: Emd, signature: Signature, facts: ModelFacts) -> dict[str, Any]:
    bands = [band["name"] for band in _bands(emd, signature)]
    names = _dimensions(signature, "bands" if bands else "channel")
    scaling = document(emd)
    described = {
        "name": signature.source.name or "input",
        "bands": bands,
        "input": _structure(signature.source, names),
        "value_scaling": write_scaling(scaling.get("DataRange"), scaling.get("NormalizationStats"), len(bands)),
    }
    if facts.preprocessing:
        link = {"href": facts.preprocessing.href, "type": ONNX_TYPE}
        described["pre_processing_function"] = {"format": "onnx", "expression": link}
    return described


def _output(emd: Emd, tensor: Tensor, signature: Signature, number: int) -> dict[str, Any]:
    order = detector_dimensions(signature.decoder, tensor) if signature.decoder else None
    order = order or _names(emd, signature).get(len(tensor.shape))
    order = order or [f"axis-{chr(97 + axis)}" for axis in range(len(tensor.shape))]
    described = {
        "name": tensor.name or f"output{number}",
        "tasks": _tasks(emd),
        "result": _structure(tensor, order),
    }
    classes = _classes(emd)
    return described | ({"classification:classes": classes} if classes and number == 0 else {})


def _names(emd: Emd, signature: Signature) -> dict[int, list[str]]:
    """Return what the dimensions of an answer are called by their number, where no decoder tells."""
    is_detecting = "semantic-segmentation" not in _tasks(emd) and "classification" not in _tasks(emd)
    return {
        1: ["detection"],
        2: ["batch", "detection" if is_detecting else "class"],
        3: ["batch", "detection", "attribute"] if is_detecting else ["batch", "height", "width"],
        4: _dimensions(signature, "class"),
    }


def _structure(tensor: Tensor, names: list[str]) -> dict[str, Any]:
    shape = [-1 if size is None else size for size in tensor.shape]
    data_type = tensor.dtype if tensor.dtype in DATA_TYPES else "other"
    return {"shape": shape or [1], "dim_order": names or ["batch"], "data_type": data_type}


def _dimensions(signature: Signature, channel: str) -> list[str]:
    if len(signature.source.shape) != 4:
        return [*("batch", channel, "height", "width", "depth")[: len(signature.source.shape)]]
    return (
        ["batch", "height", "width", channel] if signature.layout == "NHWC" else ["batch", channel, "height", "width"]
    )


def _classes(emd: Emd) -> list[dict[str, Any]]:
    """Return classes that three readers take: value, name (few letters), description (the name as it is), no title."""
    found: list[dict[str, Any]] = []
    for entry in emd.Classes or []:
        name = re.sub(r"[^0-9A-Za-z_-]+", "-", entry.Name).strip("-").lower() or f"class-{entry.Value}"
        described: dict[str, Any] = {"value": entry.Value, "name": name, "description": entry.Name or name}
        if entry.Color is not None and min(entry.Color) >= 0:
            described["color_hint"] = "{:02X}{:02X}{:02X}".format(*entry.Color)
        if described not in found:
            found.append(described)
    return found


def _bands(emd: Emd, signature: Signature) -> list[dict[str, Any]]:
    """Return the bands of ExtractBands, else one for each channel."""
    if emd.ExtractBands is not None:
        return write_bands(emd.ExtractBands)
    shape = signature.source.shape
    axis = 3 if signature.layout == "NHWC" else 1
    return write_bands(range((shape[axis] or 0) if len(shape) == 4 else 0))


def _gsd(emd: Emd) -> float | None:
    """Return MinCellSize where it is in metres on the ground for sure: in a UTM zone of WGS 84."""
    size = document(emd).get("MinCellSize")
    if not isinstance(size, dict) or not isinstance(size.get("spatialReference"), dict):
        return None
    wkid, metres = size["spatialReference"].get("latestWkid"), size.get("x")
    is_utm = isinstance(wkid, int) and (32601 <= wkid <= 32660 or 32701 <= wkid <= 32760)
    return float(metres) if is_utm and isinstance(metres, int | float) and metres > 0 else None


def _assets(facts: ModelFacts, bands: list[dict[str, Any]]) -> dict[str, Any]:
    model: dict[str, Any] = {
        "title": "Network",
        "type": ONNX_TYPE,
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "onnx",
    }
    if bands:
        # MLM wants them among the properties, where STAC 1.1 lets them stand only if an asset has them too.
        model["bands"] = bands
    emd = {
        "title": "Model definition, verbatim",
        "type": "application/json",
        "roles": ["metadata", "mlm:model-definition"],
    }
    assets = {"model": _asset(facts.model, model), "emd": _asset(facts.emd, emd)}
    if facts.preprocessing:
        before = {"title": "What happens to pixel values before the network", "type": ONNX_TYPE, "roles": ["metadata"]}
        assets["preprocessing"] = _asset(facts.preprocessing, before)
    return assets


def _asset(file: StoredFile, described: Mapping[str, Any]) -> dict[str, Any]:
    return {"href": file.href, **described, "file:size": file.size_bytes, "file:checksum": file.checksum}


def _world() -> dict[str, Any]:
    west, south, east, north = WORLD
    return {
        "type": "Polygon",
        "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
    }
