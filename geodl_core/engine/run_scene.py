"""Run a scene from end to end in one process: plan → shards → merge → write → register."""

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from geodl_core.domain.classes import choose_storage, lookup_table
from geodl_core.domain.href import hide_secrets
from geodl_core.domain.job import Arguments, arguments_json
from geodl_core.domain.model.model import Model
from geodl_core.domain.plan import Shard, live_tiles, shard_count, shard_tiles
from geodl_core.domain.result.attribute_table import attribute_table_xml
from geodl_core.domain.result.result import (
    COG_NAME,
    EMD_NAME,
    PREVIEW_NAME,
    TABLE_NAME,
    ClassifiedScene,
    StoredFile,
    output_collection_id,
    output_item_id,
    safe_name,
)
from geodl_core.engine.merge_scene import merge_scene
from geodl_core.engine.plan_scene import ScenePlan, plan_scene
from geodl_core.engine.register_scene import Catalog, register_scene
from geodl_core.engine.run_shard import run_shard
from geodl_core.engine.session import Provider, open_session, usable_cores
from geodl_core.engine.worker import Worker
from geodl_core.io.class_cog import ClassRaster, write_preview
from geodl_core.io.cog import SceneReader
from geodl_core.io.network.graph import Feed, fuse
from geodl_core.io.package import ModelPackage
from geodl_core.io.parts import is_part_whole
from geodl_core.io.stac import item_href
from geodl_core.io.store import held_folder, multihash, storage_errors, write_bytes

PARTS = "parts"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run, and where its results go."""

    item: Mapping[str, Any]
    """Source Item with absolute hrefs."""
    package: ModelPackage
    model: Model
    """Of the package."""
    arguments: Arguments
    out: Path
    collection: str | None = None
    """Output Collection; by default `geodl-<model name>`."""
    shards: int | None = None
    threads: int | None = None
    batch_size: int = 1
    """Tiles given to a network of open batch at a time."""
    provider: Provider = "auto"
    is_forced: bool = False
    """Compute anew what exists."""
    keeps_parts: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a watching person wants to know."""

    stage: Literal["planned", "resumed", "tiles", "merging", "registering"]
    plan: ScenePlan | None = None
    """With `planned`."""
    tiles: int = 0
    """Finished just now (`tiles`), found finished (`resumed`), to do (`planned`)."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run."""

    item: dict[str, Any]
    """As the catalog has it."""
    folder: Path
    is_computed: bool
    """False where it had been computed before."""


def run_scene(
    request: RunRequest, catalog: Catalog, clock: Callable[[], datetime], listen: Callable[[Event], None]
) -> RunResult:
    """Run one job, or find its result.

    What a killed run left behind is used: whole parts are kept, everything unfinished is removed.

    Args:
        request: what to run.
        catalog: where the result is registered.
        clock: tells the time, once, for the Item.
        listen: told what happens.

    Raises:
        GeodlError: as the stages do; nothing half-written is left then, and nothing registered.
    """
    model = request.model
    planned = plan_scene(request.item, model, request.arguments)
    collection = request.collection or output_collection_id(model.name)
    item_id = output_item_id(planned.job.item_id, model.name, planned.plan.job_id)
    folder = request.out / safe_name(collection) / safe_name(item_id)
    with held_folder(folder):
        existing = catalog.get_item(collection, item_id)
        if existing and not request.is_forced and _is_complete(existing, folder):
            return RunResult(existing, folder, is_computed=False)
        if request.is_forced:
            shutil.rmtree(folder / PARTS, ignore_errors=True)
        parts = _run_shards(request, planned, folder / PARTS, listen)
        listen(Event("merging"))
        scene = _write_result(request, planned, parts, folder)
        listen(Event("registering"))
        item = register_scene(scene, folder, catalog, clock())
        if not request.keeps_parts:
            shutil.rmtree(folder / PARTS, ignore_errors=True)
    return RunResult(item, folder, is_computed=True)


def _is_complete(item: Mapping[str, Any], folder: Path) -> bool:
    """Say whether every file of a registered result is there with the size that the Item gives."""
    expected = {Path(asset["href"]).name: asset.get("file:size") for asset in item["assets"].values()}
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in expected.items())


def _run_shards(request: RunRequest, planned: ScenePlan, folder: Path, listen: Callable[[Event], None]) -> list[Path]:
    """Run the shards whose parts are not there yet; return all parts in order."""
    plan = planned.plan
    of = shard_count(plan, request.shards)
    shards = [Shard(n, of) for n in range(of)]
    paths = [folder / f"{shard.n:05d}-of-{of:05d}.part" for shard in shards]
    listen(Event("planned", planned, len(live_tiles(plan))))
    missing, found = [], 0
    for shard, path in zip(shards, paths, strict=True):
        tiles = shard_tiles(plan, shard)
        if is_part_whole(path, plan.job_id, tiles):
            found += len(tiles)
        else:
            missing.append((shard, path))
    if found:
        listen(Event("resumed", tiles=found))
    if not missing:
        return paths
    # The pool ends before the reader closes the files that its threads read.
    with SceneReader(plan) as reader, ThreadPoolExecutor(request.threads or usable_cores()) as pool:
        worker = _worker(request, planned, (reader, pool), listen)
        for shard, path in missing:
            run_shard(plan, shard, worker, path)
    return paths


def _worker(
    request: RunRequest,
    planned: ScenePlan,
    crew: tuple[SceneReader, Executor],
    listen: Callable[[Event], None],
) -> Worker:
    model = planned.model
    feed = Feed(planned.radiometry, planned.plan.chip_dtype, request.package.preprocessing)
    fused = fuse(request.package.file, model, feed, gives_scores=planned.plan.blend_px > 0)
    storage = choose_storage(entry.value for entry in model.classes)
    return Worker(
        reader=crew[0],
        pool=crew[1],
        session=open_session(fused, request.provider),
        storage=storage,
        lookup=lookup_table(model.indices_to_ids, storage),
        is_class_map=model.output == "class map",
        is_cropping=model.halo.is_cropping,
        threshold=model.threshold,
        batch=model.batch or request.batch_size,
        is_batch_fixed=model.batch is not None,
        threads=request.threads or usable_cores(),
        on_tiles=lambda count: listen(Event("tiles", tiles=count)),
    )


def _write_result(request: RunRequest, planned: ScenePlan, parts: list[Path], folder: Path) -> ClassifiedScene:
    """Merge the parts and write every file of the result but the Item."""
    model, plan = planned.model, planned.plan
    storage = choose_storage(entry.value for entry in model.classes)
    raster = ClassRaster(plan.grid, storage, model.classes)
    counts = merge_scene(plan, parts, raster, folder / COG_NAME, request.arguments.compress)
    write_bytes(folder / TABLE_NAME, attribute_table_xml(model.classes, counts))
    write_preview(folder / PREVIEW_NAME, folder / COG_NAME, raster)
    write_bytes(folder / EMD_NAME, request.package.emd_text)
    names = (COG_NAME, TABLE_NAME, PREVIEW_NAME, EMD_NAME)
    source_href = item_href(dict(request.item))
    return ClassifiedScene(
        source=request.item,
        source_href=source_href,
        model=model,
        model_href=_model_word(request.package),
        model_item_href=request.package.item_href,
        job_id=plan.job_id,
        grid=plan.grid,
        storage=storage,
        counts=counts,
        files={name: _stored(folder / name) for name in names},
        arguments=arguments_json(request.arguments),
        radiometry=_radiometry_json(planned),
        bands={
            str(wanted): f"{band.asset}:{band.index + 1}"
            for wanted, band in zip(model.bands, planned.bands, strict=True)
        },
        collection=request.collection or output_collection_id(model.name),
        software=_software(),
    )


def _model_word(package: ModelPackage) -> str:
    """Return what names the model on a command line; a model that came as text is that text."""
    return package.emd_text.decode() if package.location == "<text>" else hide_secrets(package.location)


def _software() -> dict[str, str]:
    """Return the versions of what computed a result, by name."""
    names = ("geodl", "rasterio", "onnx", "onnxruntime", "onnxruntime-gpu")
    installed = {str(found.metadata["Name"]).lower() for found in metadata.distributions()}
    return {name: metadata.version(name) for name in names if name in installed}


def _stored(path: Path) -> StoredFile:
    with storage_errors(path):
        return StoredFile(f"./{path.name}", path.stat().st_size, multihash(path))


def _radiometry_json(planned: ScenePlan) -> dict[str, Any]:
    radiometry = planned.radiometry
    facts = {
        "kind": radiometry.kind,
        "scale": list(radiometry.scale),
        "offset": list(radiometry.offset),
        "source_range": list(radiometry.source_range) if radiometry.source_range else None,
    }
    return {name: value for name, value in facts.items() if value is not None}
