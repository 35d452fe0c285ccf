"""What the STAC Item of a scene in which objects were found tells of them."""

from collections.abc import Mapping
from math import ceil
from typing import Any

from geodl_core.domain.detection.detector import MARGIN_PX
from geodl_core.domain.detection.table import Column
from geodl_core.domain.result.particulars import Asset, Particulars, class_fields, crs_fields
from geodl_core.domain.result.result import (
    EMD_NAME,
    OBJECTS_FGB_NAME,
    OBJECTS_GEOJSON_NAME,
    OBJECTS_GPKG_NAME,
    OBJECTS_NAME,
    DetectedScene,
)

GEOJSON_CRS = "OGC:CRS84"
"""RFC 7946, section 4."""
FORMATS = (
    ("detections_gpkg", OBJECTS_GPKG_NAME, "GeoPackage", "application/geopackage+sqlite3"),
    ("detections_geojson", OBJECTS_GEOJSON_NAME, "GeoJSON", "application/geo+json"),
    ("detections_fgb", OBJECTS_FGB_NAME, "FlatGeobuf", "application/vnd.flatgeobuf"),
)
"""Key, file, name and media type of each format that the objects may be written in beside GeoParquet."""


def detected_particulars(scene: DetectedScene, source: str, sources: str) -> Particulars:
    """Return what an Item tells of found objects alone.

    Args:
        scene: the result.
        source: what its source is called in a title.
        sources: the same in a sentence, each Item named.
    """
    name = scene.provenance.model.name
    others: tuple[Asset, ...] = tuple(
        (key, file, _other_asset(scene, file, (called, media)))
        for key, file, called, media in FORMATS
        if file in scene.provenance.files
    )
    return Particulars(
        title=f"Objects found in {source} by {name}",
        lineage=f"Object detection in {sources} by model {name}.",
        extensions=("table/v1.2.0", "vector/v0.1.0"),
        properties={
            "geodl:detections": sum(scene.counts.values()),
            "geodl:largest_object_px": round(float(scene.largest_px), 2),
            "geodl:cut_objects": scene.cut,
            "geodl:halo_px": scene.halo_px,
        },
        assets=(("detections", OBJECTS_NAME, _object_asset(scene)),),
        further=others,
    )


def halo_warning(properties: Mapping[str, Any]) -> str | None:
    """Say that objects may have been cut where tiles meet; None where all were small enough, or cut ones are joined.

    Args:
        properties: of the Item of a result.
    """
    halo, cut = properties.get("geodl:halo_px"), properties.get("geodl:cut_objects")
    largest = properties.get("geodl:largest_object_px", 0)
    if halo is None or cut == 0 or properties.get("geodl:arguments", {}).get("merge_cut"):
        return None
    safe = max(0, 2 * (halo - MARGIN_PX))
    if largest <= safe:
        return None
    how_many = "larger ones may be" if cut is None else f"{cut:,} {'was' if cut == 1 else 'were'}"
    return (
        f"the largest object is {largest:g} pixels long, but a halo of {halo} is sure of {safe} alone: {how_many} cut "
        f"where tiles meet. Run again with --max-object {ceil(largest)}px or more, or with --arg merge_cut=true"
    )


def _object_asset(scene: DetectedScene) -> dict[str, Any]:
    model, files = scene.provenance.model, scene.provenance.files
    return {
        "title": f"Objects found by {model.name}",
        "type": "application/vnd.apache.parquet",
        "roles": ["data", "detections"],
        **_table_fields(scene, scene.crs),
        "table:columns": [_column_fields(column) for column in scene.columns],
        "table:primary_geometry": scene.primary_geometry,
        "classification:classes": class_fields(scene),
        "mlm:name": model.name,
        "processing:expression": {"format": "emd", "expression": files[EMD_NAME].href},
    }


def _other_asset(scene: DetectedScene, file: str, named: tuple[str, str]) -> dict[str, Any]:
    called, media = named
    return {
        "title": f"Objects found by {scene.provenance.model.name}, as {called}",
        "type": media,
        "roles": ["data", "detections"],
        **_table_fields(scene, GEOJSON_CRS if file == OBJECTS_GEOJSON_NAME else scene.crs),
    }


def _table_fields(scene: DetectedScene, crs: str) -> dict[str, Any]:
    return {
        **crs_fields(crs),
        "table:row_count": sum(scene.counts.values()),
        "vector:geometry_types": list(scene.geometry_types),
    }


def _column_fields(column: Column) -> dict[str, str]:
    described = {"description": column.description} if column.description else {}
    return {"name": column.name, "type": column.type, **described}
