"""What is known of a detector's result: its files, and what its Item tells of its objects."""

from collections.abc import Mapping
from typing import Any

from geodl_core.domain.detection.choice import DetectionChoice, Format
from geodl_core.domain.plan.plan import tile_count
from geodl_core.domain.result.object_facts import ObjectFacts
from geodl_core.domain.result.result import (
    EMD_NAME,
    OBJECTS_FGB_NAME,
    OBJECTS_GEOJSON_NAME,
    OBJECTS_GPKG_NAME,
    OBJECTS_NAME,
    PREVIEW_NAME,
    DetectedScene,
    StoredFile,
)
from geodl_core.engine.origin import Origin
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.write_result import provenance_of
from geodl_core.errors import ModelError

NAMES: dict[Format, str] = {
    "parquet": OBJECTS_NAME,
    "gpkg": OBJECTS_GPKG_NAME,
    "geojson": OBJECTS_GEOJSON_NAME,
    "fgb": OBJECTS_FGB_NAME,
}


def object_files(planned: ScenePlan) -> tuple[str, ...]:
    """Return the files of a result, the Item apart."""
    return (*(NAMES[each] for each in choice_of(planned).formats), PREVIEW_NAME, EMD_NAME)


def detected_scene(
    planned: ScenePlan, origin: Origin, facts: ObjectFacts, files: Mapping[str, StoredFile]
) -> DetectedScene:
    """Return what is known of a result whose files are written."""
    source = dict(origin.source)
    # What the source covers is what was looked at; a mosaic's grid is all that is known of it.
    footprint: dict[str, Any] | None = None if origin.others or planned.job.area else source.get("geometry")
    is_whole = tile_count(planned.plan.grid, planned.plan.core_px) == 1
    return DetectedScene(
        provenance=provenance_of(planned, origin, files, footprint),
        counts=facts.counts,
        columns=facts.columns,
        geometry_types=facts.geometry_types,
        crs=facts.crs,
        largest_px=facts.largest_px,
        halo_px=None if is_whole else planned.plan.halo_px,
        cut=facts.cut,
    )


def choice_of(planned: ScenePlan) -> DetectionChoice:
    """Return what was asked of a detector.

    Raises:
        ModelError: the model is none.
    """
    if planned.job.detection is None:
        raise ModelError(f"the model {planned.model.name}: expected a detector")
    return planned.job.detection
