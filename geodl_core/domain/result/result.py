"""Results: what is known of a scene once it is classified, or its objects are found, and all is written."""

import hashlib
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from geodl_core.domain.classes import Storage
from geodl_core.domain.detection.table import Column
from geodl_core.domain.grid import Grid
from geodl_core.domain.model.model import Model
from geodl_core.domain.naming import output_collection_id
from geodl_core.domain.pixels.product import Product, ProductName

COG_NAME = "classification.tif"
SCORES_NAME = "probabilities.tif"
RASTER_NAMES: dict[ProductName, str] = {"classification": COG_NAME, "probabilities": SCORES_NAME}
TABLE_NAME = "classification.tif.aux.xml"
PREVIEW_NAME = "preview.png"
EMD_NAME = "model.emd"
OBJECTS_NAME = "detections.parquet"
OBJECTS_GPKG_NAME = "detections.gpkg"
OBJECTS_GEOJSON_NAME = "detections.geojson"
OBJECTS_FGB_NAME = "detections.fgb"
MAIN_ASSETS = ("classification", "detections")
"""Keys under which an Item has what it is about, and its classes: one or the other, by kind of result."""
MODEL_ARGUMENTS = (
    *("tile_size", "padding", "threshold", "test_time_augmentation", "merge_policy", "predict_background"),
    "return_probability_raster",
)
"""Given by `--arg`."""
DETECTION_ARGUMENTS = (
    *("score_threshold", "nms_overlap", "exclude_pad_detections", "tta_scales", "return_bboxes", "simplify"),
    *("merge_cut", "seam_measure", "run_nms", "max_overlap_ratio", "geometry", "area", "arcgis_fields"),
)
"""Of detectors, given by `--arg`."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a result."""

    href: str
    size_bytes: int
    checksum: str
    """Multihash (STAC file extension)."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What every result has: where it comes from, what made it, and its files."""

    source: Mapping[str, Any]
    """The source Item; of a mosaic the first."""
    source_href: str | None
    model: Model
    model_href: str
    """What names the model on a command line: its path, NAME@VERSION, or the text that it was given as."""
    model_item_href: str | None
    """Of the STAC Item that describes the model, where there is one."""
    job_id: str
    grid: Grid
    """Of the job: the pixels that the model saw."""
    files: Mapping[str, StoredFile]
    """By file name."""
    arguments: Mapping[str, Any]
    radiometry: Mapping[str, Any]
    bands: Mapping[str, str]
    """Wanted band → asset and band that it was read from."""
    collection: str
    software: Mapping[str, str]
    """Name → version of what computed it."""
    footprint: Mapping[str, Any] | None = None
    """GeoJSON of where there is a result; None: the grid's outline."""
    others: tuple[Mapping[str, Any], ...] = ()
    """Further Items of a mosaic, in order."""
    other_hrefs: tuple[str | None, ...] = ()
    warnings: tuple[str, ...] = ()
    """Where the scene may not be what its Item says, or what the model was made for."""


@dataclass(frozen=True, slots=True)
class ClassifiedScene:
    """A scene whose pixels were classified."""

    provenance: Provenance
    storage: Storage
    products: tuple[Product, ...]
    """The rasters that were written."""
    counts: Mapping[int, int]
    """Pixels of each stored value, nodata among them."""


@dataclass(frozen=True, slots=True)
class DetectedScene:
    """A scene in which objects were found; `OBJECTS_NAME` is among its files."""

    provenance: Provenance
    counts: Mapping[int, int]
    """Objects of each class id, those of all ids together being the rows of the table."""
    columns: tuple[Column, ...]
    """Of `OBJECTS_NAME`, in order."""
    geometry_types: tuple[str, ...]
    """As GeoJSON calls them; none where there are no objects."""
    crs: str
    """Of the geometries in every file but GeoJSON, where it always is OGC:CRS84: a code or WKT."""
    largest_px: float
    """Longest side of the largest object, in pixels of the grid; 0 where there are no objects."""
    halo_px: int | None
    """How far a tile was read beyond its core; None where one tile is the whole scene, so that nothing is cut."""
    cut: int | None = None
    """Objects that were cut where tiles end, and not united; None where that was not counted."""
    primary_geometry: str = "geometry"
    """Name of the column."""


Result = ClassifiedScene | DetectedScene


def class_rows(result: Result) -> list[dict[str, Any]]:
    """Return each class with value, name, colour, count and share in percent.

    Pixels are counted, and their share is of the valid ones; or objects, and their share is of all that have a class.
    """
    classes, counts = result.provenance.model.classes, result.counts
    total = sum(counts.get(entry.value, 0) for entry in classes)
    return [
        {
            "value": entry.value,
            "name": entry.name,
            "color_hint": "{:02X}{:02X}{:02X}".format(*entry.color),
            "count": counts.get(entry.value, 0),
            "percentage": round(100 * counts.get(entry.value, 0) / total, 4) if total else 0.0,
        }
        for entry in classes
    ]


def main_asset(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the asset that the Item of a result is about."""
    asset: dict[str, Any] = next(item["assets"][key] for key in MAIN_ASSETS if key in item["assets"])
    return asset


def source_key(source: Mapping[str, Any]) -> str:
    """Return `collection/id` of the source Item, its id alone where it has no collection."""
    return f"{source['collection']}/{source['id']}" if source.get("collection") else str(source["id"])


def sources_key(provenance: Provenance) -> str:
    """Return the source's key; of a mosaic those of all Items, sorted, so that it is the same in any order."""
    return ",".join(sorted(map(_placed_key, (provenance.source, *provenance.others))))


def _placed_key(source: Mapping[str, Any]) -> str:
    """Return a source's key; without a collection, with its place: rasters of one name may lie anywhere."""
    if source.get("collection") or not source.get("bbox"):
        return source_key(source)
    place = hashlib.sha256(repr(list(map(float, source["bbox"]))).encode()).hexdigest()
    return f"{source_key(source)}@{place[:8]}"


def mask_text(asset: str, values: Iterable[int | str]) -> str:
    """Return a mask as the command line takes it."""
    return f"{asset}={','.join(map(str, values))}"


def rerun_command(provenance: Provenance) -> str:
    """Return the command line that computes the same bytes again."""
    items = (provenance.source, *provenance.others)
    places = zip(items, (provenance.source_href, *provenance.other_hrefs), strict=True)
    words = ["geodl", "run", *(href or f"catalog:{source_key(item)}" for item, href in places)]
    words += ["--mosaic", "first"] if provenance.others else []
    words += ["--model", provenance.model_href]
    if provenance.collection != output_collection_id(provenance.model.name):
        words += ["--collection", provenance.collection]
    for name, value in provenance.arguments.items():
        words += _argument_words(name, value)
    return shlex.join(words)


def _argument_words(name: str, value: Any) -> list[str]:
    """Return an argument as the command line takes it."""
    if name == "bands":
        return [word for wanted, asset in value.items() for word in ("--band", f"{wanted}={asset}")]
    if name == "mask":
        return [word for asset, values in value.items() for word in ("--mask", mask_text(asset, values))]
    if name == "format":
        return [word for each in value for word in ("--format", str(each))]
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    if name in (*MODEL_ARGUMENTS, *DETECTION_ARGUMENTS):
        return ["--arg", f"{name}={text}"]
    return [f"--{name.replace('_', '-')}", text]
