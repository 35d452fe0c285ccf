"""The STAC Item of a result, as a plain document."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from geodl_core.domain.grid import bbox_wgs84, cell_area_m2, outline_wgs84
from geodl_core.domain.naming import output_item_id, safe_name, source_name
from geodl_core.domain.result.classified_item import classified_particulars
from geodl_core.domain.result.detected_item import detected_particulars
from geodl_core.domain.result.particulars import Asset, Particulars, crs_fields
from geodl_core.domain.result.result import (
    EMD_NAME,
    PREVIEW_NAME,
    DetectedScene,
    Provenance,
    Result,
    StoredFile,
    rerun_command,
    sources_key,
)
from geodl_core.domain.scene.mosaic import joint_properties

STAC_VERSION = "1.1.0"
EXTENSIONS = ("classification/v2.0.0", "file/v2.1.0", "processing/v1.2.0", "projection/v2.0.0", "version/v1.2.0")
"""Of every result."""
COPIED_PROPERTIES = ("datetime", "start_datetime", "end_datetime", "platform", "constellation", "instruments", "gsd")


def extension_url(name: str) -> str:
    """Return the schema of a STAC extension, named as `table/v1.2.0`."""
    return f"https://stac-extensions.github.io/{name}/schema.json"


def build_item(result: Result, now: datetime) -> dict[str, Any]:
    """Return the output Item.

    Args:
        result: what was computed and written.
        now: when it is built, for `created`, `updated` and `processing:datetime`.
    """
    provenance, told = result.provenance, _particulars(result)
    item_id = output_item_id(_source_name(provenance), provenance.model.name, provenance.job_id)
    geometry = dict(provenance.footprint or outline_wgs84(provenance.grid))
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [extension_url(name) for name in sorted((*EXTENSIONS, *told.extensions))],
        "id": item_id,
        "collection": provenance.collection,
        "geometry": geometry,
        "bbox": list(bbox_wgs84(geometry)),
        "properties": _properties(provenance, told, now),
        "links": _links(provenance, item_id),
        "assets": {key: {**_file_fields(provenance.files[name]), **fields} for key, name, fields in _assets(told)},
    }


def _particulars(result: Result) -> Particulars:
    provenance = result.provenance
    ids = ", ".join(str(item["id"]) for item in (provenance.source, *provenance.others))
    source, sources = _source_name(provenance), f"a mosaic of Items {ids}" if provenance.others else f"Item {ids}"
    if isinstance(result, DetectedScene):
        return detected_particulars(result, source, sources)
    return classified_particulars(result, source, sources)


def _properties(provenance: Provenance, told: Particulars, now: datetime) -> dict[str, Any]:
    stamp = now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    grid, model = provenance.grid, provenance.model
    properties = joint_properties([provenance.source, *provenance.others], COPIED_PROPERTIES)
    # Of a middle pixel: exact on equal-area grids, within a few tenths of a percent on a UTM tile.
    area = cell_area_m2(grid)
    crs = crs_fields(grid.crs)
    properties.update(
        {
            "title": told.title,
            "created": stamp,
            "updated": stamp,
            "version": provenance.job_id[:8],
            "deprecated": False,
            "proj:code": crs["proj:code"],
            "proj:shape": list(grid.shape),
            "proj:transform": list(grid.transform),
            "processing:level": "L4",
            "processing:datetime": stamp,
            "processing:software": dict(provenance.software),
            "processing:lineage": told.lineage,
            "geodl:job_id": provenance.job_id,
            "geodl:source": sources_key(provenance),
            "geodl:model": model.name,
            "geodl:model_version": model.version,
            "geodl:model_sha256": model.digest,
            "geodl:arguments": dict(provenance.arguments),
            "geodl:bands": dict(provenance.bands),
            "geodl:radiometry": dict(provenance.radiometry),
            "geodl:warnings": list(provenance.warnings) or None,
            **told.properties,
            "geodl:pixel_area_m2": None if area is None else round(area, 6),
            "geodl:rerun": rerun_command(provenance),
            **crs,
        }
    )
    return {key: value for key, value in properties.items() if value is not None or key in ("datetime", "proj:code")}


def _source_name(provenance: Provenance) -> str:
    return source_name(str(provenance.source["id"]), is_mosaic=bool(provenance.others))


def _links(provenance: Provenance, item_id: str) -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = [
        {"rel": "self", "href": f"./{safe_name(item_id)}.json", "type": "application/geo+json"},
        {"rel": "collection", "href": "../collection.json", "type": "application/json"},
    ]
    items, hrefs = (provenance.source, *provenance.others), (provenance.source_href, *provenance.other_hrefs)
    sources = zip(items, hrefs, strict=False)
    links += [{"rel": "derived_from", "href": href, "type": _type_of(source)} for source, href in sources if href]
    links.append(
        {
            "rel": "derived_from",
            "href": provenance.model_item_href or provenance.files[EMD_NAME].href,
            "type": "application/geo+json" if provenance.model_item_href else "application/json",
            "title": f"Model {provenance.model.name}",
            "mlm:name": provenance.model.name,
        }
    )
    return links


def _type_of(source: Mapping[str, Any]) -> str:
    """Return the media type of what a source Item was read from: itself, or the raster that it was made of."""
    said = next((str(link.get("type")) for link in source.get("links", ()) if link.get("rel") == "self"), "")
    return said if said.startswith(("image/", "application/x-")) else "application/geo+json"


def _assets(told: Particulars) -> list[Asset]:
    preview = {"title": "Preview", "type": "image/png", "roles": ["thumbnail", "overview"]}
    emd = {
        "title": "Model definition, verbatim",
        "type": "application/json",
        "roles": ["metadata", "mlm:model-definition"],
    }
    return [*told.assets, ("preview", PREVIEW_NAME, preview), ("model", EMD_NAME, emd), *told.further]


def _file_fields(file: StoredFile) -> dict[str, Any]:
    return {"href": file.href, "file:size": file.size_bytes, "file:checksum": file.checksum}
