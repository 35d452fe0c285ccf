"""Write what a detector's shards found: GeoParquet and other formats, preview and definition."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from geodl_core.domain.detection.choice import SCENE_CRS, DetectionChoice
from geodl_core.domain.detection.detections import Detections
from geodl_core.domain.detection.table import VectorFacts, VectorSpec
from geodl_core.domain.result.object_facts import ObjectFacts
from geodl_core.domain.result.result import EMD_NAME, OBJECTS_NAME, PREVIEW_NAME, DetectedScene
from geodl_core.engine.detected_scene import NAMES, choice_of, detected_scene, object_files
from geodl_core.engine.merge_detections import merge_detections
from geodl_core.engine.origin import Origin
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.result_place import Task
from geodl_core.engine.write_result import stored_file
from geodl_core.io.store import write_bytes
from geodl_core.io.vector.background import scene_background
from geodl_core.io.vector.geoparquet import write_geoparquet
from geodl_core.io.vector.preview import write_detections_preview


def write_detections(planned: ScenePlan, origin: Origin, tasks: Sequence[Task], folder: Path) -> DetectedScene:
    """Merge the parts and write every file of the result but the Item.

    Raises:
        DataError: a part is missing or damaged.
        StoreError: a file cannot be written.
    """
    found = merge_detections(planned, tasks)
    choice = choice_of(planned)
    spec = _spec(planned, origin, choice)
    # The catalog's own file has the same columns for every model and every user.
    written = write_geoparquet(folder / OBJECTS_NAME, found.detections, replace(spec, arcgis_fields=False))
    for each in choice.formats:
        if each != "parquet":
            # Half a second for GDAL's readers and pandas, which GeoParquet alone does without.
            from geodl_core.io.vector.files import write_vector  # noqa: PLC0415

            write_vector(folder / NAMES[each], found.detections, spec, each)
    _write_preview(folder / PREVIEW_NAME, found.detections, planned)
    write_bytes(folder / EMD_NAME, origin.emd_text)
    files = {name: stored_file(folder / name) for name in object_files(planned)}
    return detected_scene(planned, origin, _facts(written, found.largest_px, found.cut), files)


def _spec(planned: ScenePlan, origin: Origin, choice: DetectionChoice) -> VectorSpec:
    grid = planned.plan.grid
    items = (origin.source, *origin.others)
    # Of a mosaic, nothing tells here from which Item an object's pixels are: all are named.
    moments = {item.get("properties", {}).get("datetime") for item in items}
    moment = moments.pop() if len(moments) == 1 else None
    return VectorSpec(
        grid=grid,
        classes=planned.model.classes,
        source_id=" ".join(str(item["id"]) for item in items),
        job_id=planned.plan.job_id,
        model=planned.model.name,
        version=planned.model.version,
        source_datetime=moment if isinstance(moment, str) else None,
        crs=grid.crs if choice.crs == SCENE_CRS else choice.crs,
        geometry=choice.geometry,
        with_area=choice.has_area,
        arcgis_fields=choice.arcgis_fields,
    )


def _facts(written: VectorFacts, largest_px: float, cut: int) -> ObjectFacts:
    return ObjectFacts(written.counts, written.columns, written.geometry_types, written.crs, largest_px, cut)


def _write_preview(target: Path, detections: Detections, planned: ScenePlan) -> None:
    plan = planned.plan
    write_detections_preview(target, scene_background(plan), detections, planned.model.classes, plan.grid.shape)
