"""Merge and register a plan whose shards were run apart."""

import json
import shutil
from datetime import datetime
from typing import Any

from geodl_core.domain.result.result import StoredFile
from geodl_core.engine.open_worker import products_of
from geodl_core.engine.plan_files import OpenPlan, fetch_parts, remove_parts, store_results, tasks_of
from geodl_core.engine.register_scene import Catalog, register_scene
from geodl_core.engine.run_scene import PARTS, result_id
from geodl_core.engine.write_result import classified_scene, file_names, write_result
from geodl_core.errors import DataError, InputError
from geodl_core.io.objects import join, read_object
from geodl_core.io.store import write_bytes

MERGED_NAME = "merged.json"
"""What merging leaves for registration: pixels of each class, size and checksum of each file."""
MOST_BYTES = 16 << 20


def merge_plan(opened: OpenPlan, shards: int | None, keeps_parts: bool) -> dict[int, int]:
    """Merge all parts of a plan, and write the files of the result beside it.

    Args:
        opened: the plan.
        shards: in how many it was run; as planned where None.
        keeps_parts: leave the parts where they are.

    Returns:
        Pixels of each stored value.

    Raises:
        DataError: a part is missing or damaged.
        StoreError: a file cannot be written.
    """
    tasks = tasks_of(opened, shards)
    fetch_parts(opened, tasks)
    scene = write_result(opened.planned, opened.origin, tasks, opened.folder)
    merged = {
        "job_id": scene.job_id,
        "counts": {str(value): count for value, count in sorted(scene.counts.items())},
        "files": {name: [file.size_bytes, file.checksum] for name, file in scene.files.items()},
    }
    write_bytes(opened.folder / MERGED_NAME, json.dumps(merged, indent=1).encode())
    store_results(opened, [*file_names(products_of(opened.planned)), MERGED_NAME])
    if not keeps_parts:
        remove_parts(opened, tasks)
        shutil.rmtree(opened.folder / PARTS, ignore_errors=True)
    return dict(scene.counts)


def register_plan(opened: OpenPlan, catalog: Catalog, now: datetime) -> dict[str, Any]:
    """Publish the Item of a plan that was merged.

    Raises:
        InputError: it was not merged.
        DataError: what merging left is damaged.
        CatalogError: the catalog does not take the Item.
    """
    location = join(opened.location, MERGED_NAME)
    try:
        merged = json.loads(read_object(location, MOST_BYTES))
        counts = {int(value): int(count) for value, count in merged["counts"].items()}
        files = {
            str(name): StoredFile(f"./{name}", int(size), str(sum_)) for name, (size, sum_) in merged["files"].items()
        }
        job_id = merged["job_id"]
    except InputError as error:
        raise InputError(f"{location}: {error.message}", hint="geodl merge PLAN makes it") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{location}: expected what geodl merge wrote, found something else ({error})") from error
    if job_id != opened.planned.plan.job_id:
        raise DataError(f"{location}: expected job {opened.planned.plan.job_id[:8]}, found {str(job_id)[:8]}")
    scene = classified_scene(opened.planned, opened.origin, counts, files)
    item = register_scene(scene, opened.folder, catalog, now, base=opened.location if opened.is_remote else None)
    store_results(opened, [f"{result_id(opened.planned)}.json"])
    return item
