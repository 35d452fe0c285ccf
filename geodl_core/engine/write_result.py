"""Write what a run's shards computed: rasters, attribute table, preview and definition, and what is known of them."""

import math
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from geodl_core.domain.classes import choose_storage
from geodl_core.domain.pixels.product import Product
from geodl_core.domain.plan.job import arguments_json
from geodl_core.domain.result.attribute_table import attribute_table_xml
from geodl_core.domain.result.result import (
    COG_NAME,
    EMD_NAME,
    PREVIEW_NAME,
    RASTER_NAMES,
    TABLE_NAME,
    ClassifiedScene,
    Provenance,
    StoredFile,
)
from geodl_core.engine.merge_scene import merge_scene
from geodl_core.engine.open_worker import products_of
from geodl_core.engine.origin import Origin
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.result_place import Task
from geodl_core.io.cog.preview import write_preview
from geodl_core.io.scene.footprint import read_footprint
from geodl_core.io.stac import item_href
from geodl_core.io.store import multihash, storage_errors, write_bytes


def write_result(planned: ScenePlan, origin: Origin, tasks: Sequence[Task], folder: Path) -> ClassifiedScene:
    """Merge the parts and write every file of the result but the Item.

    Raises:
        DataError: a part is missing or damaged.
        StoreError: a file cannot be written.
    """
    model = planned.model
    counts = merge_scene(planned.plan, tasks, products_of(planned), model, (folder, planned.job.compress))
    write_bytes(folder / TABLE_NAME, attribute_table_xml(model.classes, counts))
    write_preview(folder / PREVIEW_NAME, folder / COG_NAME, model.classes)
    write_bytes(folder / EMD_NAME, origin.emd_text)
    files = {name: stored_file(folder / name) for name in file_names(products_of(planned))}
    footprint = read_footprint(folder / COG_NAME, planned.plan.grid)
    return classified_scene(planned, origin, counts, files, footprint)


def file_names(products: Sequence[Product]) -> tuple[str, ...]:
    """Return the files of a result, the Item apart."""
    return (*(RASTER_NAMES[product.name] for product in products), TABLE_NAME, PREVIEW_NAME, EMD_NAME)


def classified_scene(
    planned: ScenePlan,
    origin: Origin,
    counts: Mapping[int, int],
    files: Mapping[str, StoredFile],
    footprint: Mapping[str, Any] | None,
) -> ClassifiedScene:
    """Return what is known of a class map whose files are written."""
    return ClassifiedScene(
        provenance=provenance_of(planned, origin, files, footprint),
        storage=choose_storage(entry.value for entry in planned.model.classes),
        products=products_of(planned),
        counts=counts,
    )


def provenance_of(
    planned: ScenePlan, origin: Origin, files: Mapping[str, StoredFile], footprint: Mapping[str, Any] | None
) -> Provenance:
    """Return where a result comes from, whose files are written."""
    model, plan = planned.model, planned.plan
    return Provenance(
        source=origin.source,
        source_href=item_href(dict(origin.source)),
        model=model,
        model_href=origin.model_word,
        model_item_href=origin.model_item_href,
        job_id=plan.job_id,
        grid=plan.grid,
        files=files,
        arguments=arguments_json(origin.arguments),
        radiometry=_radiometry_json(planned),
        bands={
            str(wanted): f"{band.asset}:{band.index + 1}"
            for wanted, band in zip(model.bands, planned.bands, strict=True)
        },
        collection=origin.collection,
        software=_software(),
        warnings=planned.warnings,
        footprint=footprint,
        others=origin.others,
        other_hrefs=tuple(item_href(dict(other)) for other in origin.others),
    )


def _software() -> dict[str, str]:
    """Return the versions of what computed a result, by name."""
    names = ("geodl", "rasterio", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def stored_file(path: Path) -> StoredFile:
    """Return a file's size and checksum."""
    with storage_errors(path):
        return StoredFile(f"./{path.name}", path.stat().st_size, multihash(path))


def _radiometry_of_layers(planned: ScenePlan) -> list[dict[str, Any]]:
    """Return scale and offset of a mosaic's Items, where theirs differ."""
    found = [layer.radiometry for layer in planned.plan.layers if layer.radiometry]
    return [{"scale": list(each.scale), "offset": list(each.offset)} for each in found]


def _radiometry_json(planned: ScenePlan) -> dict[str, Any]:
    radiometry = planned.radiometry
    facts = {
        "kind": radiometry.kind,
        "rule": planned.rule or None,
        "scale": list(radiometry.scale),
        "offset": list(radiometry.offset),
        "floor": [None if math.isinf(value) else value for value in radiometry.floor] or None,
        "source_range": list(radiometry.source_range) if radiometry.source_range else None,
        "items": _radiometry_of_layers(planned) or None,
    }
    return {name: value for name, value in facts.items() if value is not None}
