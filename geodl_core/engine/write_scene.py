"""Write the result of any model: rasters, or a table of objects; and what registration must know of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geodl_core.domain.detection.table import Column
from geodl_core.domain.result.object_facts import ObjectFacts
from geodl_core.domain.result.result import DetectedScene, Result, StoredFile
from geodl_core.engine.detected_scene import detected_scene, object_files
from geodl_core.engine.open_worker import products_of
from geodl_core.engine.origin import Origin
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.result_place import Task
from geodl_core.engine.write_result import classified_scene, file_names, write_result


@dataclass(frozen=True, slots=True)
class SceneFacts:
    """What is known of a result beside its files, once it is merged."""

    counts: Mapping[int, int]
    """Pixels of each stored value, or objects of each class."""
    footprint: Mapping[str, Any] | None
    """GeoJSON of where there is a result."""
    objects: ObjectFacts | None
    """Of a detector."""


def write_scene(planned: ScenePlan, origin: Origin, tasks: Sequence[Task], folder: Path) -> Result:
    """Merge the parts and write every file of the result but the Item.

    Raises:
        DataError: a part is missing or damaged.
        StoreError: a file cannot be written.
    """
    if planned.model.detector is None:
        return write_result(planned, origin, tasks, folder)
    from geodl_core.engine.write_detections import write_detections  # noqa: PLC0415  # tables: paid by detectors alone

    return write_detections(planned, origin, tasks, folder)


def result_files(planned: ScenePlan) -> tuple[str, ...]:
    """Return the files of a result, the Item apart."""
    if planned.model.detector is None:
        return file_names(products_of(planned))
    return object_files(planned)


def scene_of(planned: ScenePlan, origin: Origin, facts: SceneFacts, files: Mapping[str, StoredFile]) -> Result:
    """Return what is known of a result whose files are written."""
    if facts.objects is None:
        return classified_scene(planned, origin, facts.counts, files, facts.footprint)
    return detected_scene(planned, origin, facts.objects, files)


def facts_json(scene: Result) -> dict[str, Any]:
    """Return what `read_facts` reads."""
    document: dict[str, Any] = {
        "counts": {str(value): count for value, count in sorted(scene.counts.items())},
        "footprint": scene.provenance.footprint,
    }
    if isinstance(scene, DetectedScene):
        document["objects"] = {
            "columns": [[column.name, column.type, column.description] for column in scene.columns],
            "geometry_types": list(scene.geometry_types),
            "crs": scene.crs,
            "largest_px": scene.largest_px,
            "cut": scene.cut,
        }
    return document


def read_facts(document: Mapping[str, Any]) -> SceneFacts:
    """Return what `facts_json` tells.

    Raises:
        ValueError, KeyError, TypeError: the document is another.
    """
    counts = {int(value): int(count) for value, count in document["counts"].items()}
    footprint = document["footprint"]
    if footprint is not None and not isinstance(footprint, dict):
        raise TypeError("footprint: expected an object")
    told = document.get("objects")
    if told is None:
        return SceneFacts(counts, footprint, None)
    columns = tuple(Column(str(name), str(kind), str(text)) for name, kind, text in told["columns"])
    types = tuple(map(str, told["geometry_types"]))
    objects = ObjectFacts(counts, columns, types, str(told["crs"]), float(told["largest_px"]), int(told["cut"]))
    return SceneFacts(counts, footprint, objects)
