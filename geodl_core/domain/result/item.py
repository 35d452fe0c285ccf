"""The STAC Item of a classified scene, as a plain document."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from geodl_core.domain.classes import ClassEntry
from geodl_core.domain.grid import Grid, bbox_wgs84, cell_area_m2, cell_size, outline_wgs84
from geodl_core.domain.pixels.product import Product
from geodl_core.domain.result.result import (
    COG_NAME,
    EMD_NAME,
    PREVIEW_NAME,
    SCORES_NAME,
    TABLE_NAME,
    ClassifiedScene,
    StoredFile,
    class_rows,
    output_item_id,
    rerun_command,
    safe_name,
    source_name,
    sources_key,
)
from geodl_core.domain.scene.mosaic import joint_properties

STAC_VERSION = "1.1.0"
EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in (
        "classification/v2.0.0",
        "file/v2.1.0",
        "processing/v1.2.0",
        "projection/v2.0.0",
        "raster/v2.0.0",
        "version/v1.2.0",
    )
)
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
COPIED_PROPERTIES = ("datetime", "start_datetime", "end_datetime", "platform", "constellation", "instruments", "gsd")


def build_item(scene: ClassifiedScene, now: datetime) -> dict[str, Any]:
    """Return the output Item.

    Args:
        scene: the result.
        now: when it is built, for `created`, `updated` and `processing:datetime`.
    """
    item_id = output_item_id(_source_name(scene), scene.model.name, scene.job_id)
    geometry = dict(scene.footprint or outline_wgs84(scene.grid))
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(EXTENSIONS),
        "id": item_id,
        "collection": scene.collection,
        "geometry": geometry,
        "bbox": list(bbox_wgs84(geometry)),
        "properties": _properties(scene, now),
        "links": _links(scene, item_id),
        "assets": _assets(scene),
    }


def _properties(scene: ClassifiedScene, now: datetime) -> dict[str, Any]:
    stamp = now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    properties = joint_properties([scene.source, *scene.others], COPIED_PROPERTIES)
    ids = ", ".join(str(item["id"]) for item in (scene.source, *scene.others))
    source = f"a mosaic of Items {ids}" if scene.others else f"Item {ids}"
    total = scene.grid.height * scene.grid.width
    # Of a middle pixel: exact on equal-area grids, within a few tenths of a percent on a UTM tile.
    area = cell_area_m2(scene.grid)
    valid = total - scene.counts.get(scene.storage.nodata, 0)
    properties.update(
        {
            "title": f"{_source_name(scene)} classified by {scene.model.name}",
            "created": stamp,
            "updated": stamp,
            "version": scene.job_id[:8],
            "deprecated": False,
            "proj:code": _code(scene.grid),
            "proj:shape": list(scene.grid.shape),
            "proj:transform": list(scene.grid.transform),
            "processing:level": "L4",
            "processing:datetime": stamp,
            "processing:software": dict(scene.software),
            "processing:lineage": f"Pixel classification of {source} by model {scene.model.name}.",
            "geodl:job_id": scene.job_id,
            "geodl:source": sources_key(scene),
            "geodl:model": scene.model.name,
            "geodl:model_version": scene.model.version,
            "geodl:model_sha256": scene.model.digest,
            "geodl:arguments": dict(scene.arguments),
            "geodl:bands": dict(scene.bands),
            "geodl:radiometry": dict(scene.radiometry),
            "geodl:warnings": list(scene.warnings) or None,
            "geodl:valid_percentage": round(100 * valid / total, 4),
            "geodl:pixel_area_m2": None if area is None else round(area, 6),
            "geodl:rerun": rerun_command(scene),
        }
    )
    if properties["proj:code"] is None:
        properties["proj:wkt2"] = scene.grid.crs
    return {key: value for key, value in properties.items() if value is not None or key in ("datetime", "proj:code")}


def _source_name(scene: ClassifiedScene) -> str:
    return source_name(str(scene.source["id"]), is_mosaic=bool(scene.others))


def _links(scene: ClassifiedScene, item_id: str) -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = [
        {"rel": "self", "href": f"./{safe_name(item_id)}.json", "type": "application/geo+json"},
        {"rel": "collection", "href": "../collection.json", "type": "application/json"},
    ]
    sources = zip((scene.source, *scene.others), (scene.source_href, *scene.other_hrefs), strict=False)
    links += [{"rel": "derived_from", "href": href, "type": _type_of(source)} for source, href in sources if href]
    links.append(
        {
            "rel": "derived_from",
            "href": scene.model_item_href or scene.files[EMD_NAME].href,
            "type": "application/geo+json" if scene.model_item_href else "application/json",
            "title": f"Model {scene.model.name}",
            "mlm:name": scene.model.name,
        }
    )
    return links


def _type_of(source: Mapping[str, Any]) -> str:
    """Return the media type of what a source Item was read from: itself, or the raster that it was made of."""
    said = next((str(link.get("type")) for link in source.get("links", ()) if link.get("rel") == "self"), "")
    return said if said.startswith(("image/", "application/x-")) else "application/geo+json"


def _assets(scene: ClassifiedScene) -> dict[str, Any]:
    classes = [_stac_class(entry, row) for entry, row in zip(scene.model.classes, class_rows(scene), strict=True)]
    cog = {
        "title": f"Classes of {scene.model.name}",
        "type": COG_TYPE,
        "roles": ["data", "classification"],
        "data_type": scene.storage.dtype,
        "nodata": scene.storage.nodata,
        "raster:spatial_resolution": max(cell_size(scene.grid)),
        "raster:sampling": "area",
        "classification:classes": classes,
        "bands": [
            {
                "name": "class",
                "description": "Class id of each pixel",
                "data_type": scene.storage.dtype,
                "nodata": scene.storage.nodata,
                "classification:classes": classes,
            }
        ],
        "mlm:name": scene.model.name,
        "processing:expression": {"format": "emd", "expression": scene.files[EMD_NAME].href},
    }
    title = "Raster attribute table and category names (GDAL)"
    table = {"title": title, "type": "application/xml", "roles": ["metadata"]}
    preview = {"title": "Preview", "type": "image/png", "roles": ["thumbnail", "overview"]}
    emd = {
        "title": "Model definition, verbatim",
        "type": "application/json",
        "roles": ["metadata", "mlm:model-definition"],
    }
    described: list[tuple[str, str, dict[str, Any]]] = [
        ("classification", COG_NAME, cog),
        ("attribute_table", TABLE_NAME, table),
        ("preview", PREVIEW_NAME, preview),
        ("model", EMD_NAME, emd),
    ]
    described += [("probabilities", SCORES_NAME, _score_asset(scene, product)) for product in scene.products[1:]]
    return {key: {**_file_fields(scene.files[name]), **fields} for key, name, fields in described}


def _score_asset(scene: ClassifiedScene, product: Product) -> dict[str, Any]:
    nodata = "nan" if math.isnan(product.nodata) else int(product.nodata)
    scaled = {"raster:scale": product.scale, "raster:offset": 0.0} if product.scale != 1 else {}
    fields = {"data_type": product.dtype, "nodata": nodata, **scaled}
    return {
        "title": f"Scores of {scene.model.name}, one band a class",
        "type": COG_TYPE,
        "roles": ["data", "probability"],
        **fields,
        "raster:spatial_resolution": max(cell_size(scene.grid)),
        "raster:sampling": "area",
        "bands": [
            {"name": entry.name, "description": f"Score of class {entry.value}, 0 to 1", **fields}
            for entry in scene.model.classes
        ],
        "mlm:name": scene.model.name,
    }


def _file_fields(file: StoredFile) -> dict[str, Any]:
    return {"href": file.href, "file:size": file.size_bytes, "file:checksum": file.checksum}


def _stac_class(entry: ClassEntry, row: Mapping[str, Any]) -> dict[str, Any]:
    name = re.sub(r"[^0-9A-Za-z_-]+", "-", entry.name).strip("-").lower() or f"class-{entry.value}"
    return {
        "value": entry.value,
        "name": name,
        "title": entry.name,
        "description": entry.name,
        "color_hint": row["color_hint"],
        "count": row["count"],
        "percentage": row["percentage"],
    }


def _code(grid: Grid) -> str | None:
    return grid.crs if re.fullmatch(r"[A-Z]+:\w+", grid.crs) else None
