"""Where the parts and files of a job lie, and whether they are there."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geodl_core.domain.naming import output_item_id, safe_name, source_name
from geodl_core.domain.plan.plan import Plan, Shard, live_tiles, plan_digest
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.io.parts.parts import PartHeader
from geodl_core.io.remote.objects import delete, is_remote, join, list_names, object_size

PARTS = "parts"
MERGED_NAME = "merged.json"
"""What merging leaves for registration: pixels or objects of each class, size and checksum of each file."""


@dataclass(frozen=True, slots=True)
class Task:
    """One shard to run."""

    shard: Shard
    path: Path
    """Of its part."""
    header: PartHeader


def result_id(planned: ScenePlan) -> str:
    """Return the id of a job's output Item."""
    source = source_name(planned.job.item_id, is_mosaic=bool(planned.job.mosaic))
    return output_item_id(source, planned.model.name, planned.plan.job_id)


def result_folder(out: Path, planned: ScenePlan, collection: str) -> Path:
    """Return where a job's results lie."""
    return out / safe_name(collection) / safe_name(result_id(planned))


def shard_tasks(plan: Plan, of: int, folder: Path) -> list[Task]:
    """Return all shards of a plan, with their parts in a folder."""
    digest, live = plan_digest(plan), len(live_tiles(plan))
    tasks = []
    for shard in (Shard(n, of) for n in range(of)):
        tiles = live * (shard.n + 1) // of - live * shard.n // of
        header = PartHeader(plan.job_id, shard.n, of, tiles, digest)
        tasks.append(Task(shard, folder / f"{shard.n:05d}-of-{of:05d}.part", header))
    return tasks


def is_result_whole(item: Mapping[str, Any], place: str) -> bool:
    """Say whether every file of a registered result is in its folder, or under its URL, with the Item's size.

    An Item that names no file with its size is none of ours, whoever has put it there.
    """
    sizes = ((asset["href"], asset.get("file:size")) for asset in item["assets"].values())
    expected = {Path(href).name: size for href, size in sizes if size is not None}
    return bool(expected) and all(object_size(join(place, name)) == size for name, size in expected.items())


def forget_work(place: str) -> None:
    """Take away parts and what merging left at a folder or URL, so that everything is computed anew."""
    delete(join(place, MERGED_NAME))
    if is_remote(place):
        for name in list_names(join(place, PARTS)):
            delete(join(place, PARTS, name))
    else:
        shutil.rmtree(Path(place) / PARTS, ignore_errors=True)
