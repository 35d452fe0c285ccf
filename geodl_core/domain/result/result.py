"""A classified scene: what is known once it is computed and written."""

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from geodl_core.domain.classes import Storage
from geodl_core.domain.grid import Grid
from geodl_core.domain.model.model import Model
from geodl_core.domain.pixels.product import Product, ProductName

MOST_NAME_BYTES = 200
"""File systems take 255; drafts and suffixes need some."""
COG_NAME = "classification.tif"
SCORES_NAME = "probabilities.tif"
RASTER_NAMES: dict[ProductName, str] = {"classification": COG_NAME, "probabilities": SCORES_NAME}
TABLE_NAME = "classification.tif.aux.xml"
PREVIEW_NAME = "preview.png"
EMD_NAME = "model.emd"
MODEL_ARGUMENTS = (
    *("tile_size", "padding", "threshold", "test_time_augmentation", "merge_policy", "predict_background"),
    "return_probability_raster",
)
"""Given by `--arg`."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a result."""

    href: str
    size_bytes: int
    checksum: str
    """Multihash (STAC file extension)."""


@dataclass(frozen=True, slots=True)
class ClassifiedScene:
    """What is known once a scene is classified and written."""

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
    storage: Storage
    products: tuple[Product, ...]
    """The rasters that were written."""
    counts: Mapping[int, int]
    """Pixels of each stored value, nodata among them."""
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


def output_item_id(source_id: str, model_name: str, job_id: str) -> str:
    """Return `<item id>_<model name>_<first 8 of job id>`."""
    return f"{source_id}_{model_name}_{job_id[:8]}"


def safe_name(identifier: str) -> str:
    """Return a file name for an id of anybody: the id itself where it is a plain name, else a part of it and its hash.

    Ids come from URLs and may hold anything: slashes, `..`, drive letters, more letters than a file system takes.
    """
    is_plain = re.fullmatch(r"[\w+=@~-][\w .+=@~-]*", identifier) and not identifier.endswith((".", " "))
    if is_plain and len(identifier.encode()) <= MOST_NAME_BYTES:
        return identifier
    kept = re.sub(r"[^\w-]+", "-", identifier).strip("-")[: MOST_NAME_BYTES // 8]
    return f"{kept}-{hashlib.sha256(identifier.encode()).hexdigest()[:12]}".lstrip("-")


def output_collection_id(model_name: str) -> str:
    """Return the Collection in which a model's results lie unless the user names another."""
    return f"geodl-{model_name}"


def class_rows(scene: ClassifiedScene) -> list[dict[str, Any]]:
    """Return each class with value, name, colour, pixels and share of the valid pixels in percent."""
    total = sum(scene.counts.get(entry.value, 0) for entry in scene.model.classes)
    return [
        {
            "value": entry.value,
            "name": entry.name,
            "color_hint": "{:02X}{:02X}{:02X}".format(*entry.color),
            "count": scene.counts.get(entry.value, 0),
            "percentage": round(100 * scene.counts.get(entry.value, 0) / total, 4) if total else 0.0,
        }
        for entry in scene.model.classes
    ]


def source_key(source: Mapping[str, Any]) -> str:
    """Return `collection/id` of the source Item, its id alone where it has no collection."""
    return f"{source['collection']}/{source['id']}" if source.get("collection") else str(source["id"])


def source_name(item_id: str, is_mosaic: bool) -> str:
    """Return what a result's id says of its source."""
    return f"{item_id}_mosaic" if is_mosaic else item_id


def sources_key(scene: ClassifiedScene) -> str:
    """Return the source's key; of a mosaic those of all Items, sorted, so that it is the same in any order."""
    return ",".join(sorted(map(_placed_key, (scene.source, *scene.others))))


def _placed_key(source: Mapping[str, Any]) -> str:
    """Return a source's key; without a collection, with its place: rasters of one name may lie anywhere."""
    if source.get("collection") or not source.get("bbox"):
        return source_key(source)
    place = hashlib.sha256(repr(list(map(float, source["bbox"]))).encode()).hexdigest()
    return f"{source_key(source)}@{place[:8]}"


def mask_text(asset: str, values: Iterable[int | str]) -> str:
    """Return a mask as the command line takes it."""
    return f"{asset}={','.join(map(str, values))}"


def rerun_command(scene: ClassifiedScene) -> str:
    """Return the command line that computes the same bytes again."""
    places = zip((scene.source, *scene.others), (scene.source_href, *scene.other_hrefs), strict=True)
    words = ["geodl", "run", *(href or f"catalog:{source_key(item)}" for item, href in places)]
    words += ["--mosaic", "first"] if scene.others else []
    words += ["--model", scene.model_href]
    if scene.collection != output_collection_id(scene.model.name):
        words += ["--collection", scene.collection]
    for name, value in scene.arguments.items():
        if name == "bands":
            words += [word for wanted, asset in value.items() for word in ("--band", f"{wanted}={asset}")]
        elif name == "mask":
            words += [word for asset, values in value.items() for word in ("--mask", mask_text(asset, values))]
        elif name in MODEL_ARGUMENTS:
            words += ["--arg", f"{name}={value}"]
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words)
