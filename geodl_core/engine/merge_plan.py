"""Merge and register a plan whose shards were run apart."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from geodl_core.domain.naming import safe_name
from geodl_core.domain.result.result import StoredFile
from geodl_core.engine.plan_files import OpenPlan, fetch_parts, remove_parts, store_beside, store_results, tasks_of
from geodl_core.engine.register_scene import Catalog, register_scene
from geodl_core.engine.result_place import MERGED_NAME, PARTS, result_id
from geodl_core.engine.write_scene import SceneFacts, facts_json, read_facts, result_files, scene_of, write_scene
from geodl_core.errors import DataError, InputError
from geodl_core.io.remote.objects import delete, is_remote, join, object_size, read_object
from geodl_core.io.store import write_bytes

MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Merged:
    """What merging leaves for registration."""

    facts: SceneFacts
    files: Mapping[str, StoredFile]


def merge_plan(opened: OpenPlan, shards: int | None, keeps_parts: bool) -> dict[int, int]:
    """Merge all parts of a plan, and write the files of the result beside it.

    Args:
        opened: the plan.
        shards: in how many it was run; as planned where None.
        keeps_parts: leave the parts where they are.

    Returns:
        Pixels of each stored value, or objects of each class. A plan that was merged before, and whose files are there,
        is left as it is.

    Raises:
        DataError: a part is missing or damaged.
        RefusedError: a file may not be read, written or removed.
        StoreError: a file cannot be written.
    """
    before = merged_before(opened.location, opened.results, opened.planned.plan.job_id)
    if before is not None:
        return dict(before.facts.counts)
    tasks = tasks_of(opened, shards)
    fetch_parts(opened, tasks)
    scene = write_scene(opened.planned, opened.origin, tasks, opened.folder)
    merged = {
        "job_id": scene.provenance.job_id,
        "facts": facts_json(scene),
        "files": {name: [file.size_bytes, file.checksum] for name, file in scene.provenance.files.items()},
    }
    write_bytes(opened.folder / MERGED_NAME, json.dumps(merged, indent=1).encode())
    store_results(opened, result_files(opened.planned))
    # Last: where it is, everything is.
    store_beside(opened, MERGED_NAME)
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
    merged = _read_merged(opened.location, opened.planned.plan.job_id)
    scene = scene_of(opened.planned, opened.origin, merged.facts, merged.files)
    item = register_scene(
        scene, opened.folder, catalog, now, base=opened.results if is_remote(opened.results) else None
    )
    store_results(opened, [f"{safe_name(result_id(opened.planned))}.json"])
    return item


def merged_before(location: str, results: str, job_id: str) -> Merged | None:
    """Return what an earlier merge of a job left, where all its files are there still; else None.

    Args:
        location: folder or URL of the job's plan.
        results: folder or URL of the result's files.
        job_id: of the job; what was merged of another one does not serve it.

    Raises:
        RefusedError: a file may not be read.
        StoreError: the store does not answer.
    """
    try:
        merged = _read_merged(location, job_id)
    except (InputError, DataError):
        return None
    is_whole = all(object_size(join(results, name)) == file.size_bytes for name, file in merged.files.items())
    return merged if is_whole else None


def forget_merged(opened: OpenPlan) -> None:
    """Take away what an earlier merge left for registration, so that the next one merges anew."""
    delete(join(opened.location, MERGED_NAME))


def _read_merged(folder: str, job_id: str) -> Merged:
    """Return what merging left.

    Raises:
        InputError: it was not merged.
        DataError: it is damaged, or of another job.
    """
    location = join(folder, MERGED_NAME)
    try:
        found = json.loads(read_object(location, MOST_BYTES))
        facts = read_facts(found["facts"])
        files = {
            str(name): StoredFile(f"./{name}", int(size), str(checksum))
            for name, (size, checksum) in found["files"].items()
        }
        merged_id = found["job_id"]
    except InputError as error:
        raise InputError(f"{location}: {error.message}", hint="geodl merge PLAN makes it") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{location}: expected what geodl merge wrote, found something else ({error})") from error
    if merged_id != job_id:
        raise DataError(f"{location}: expected job {job_id[:8]}, found {str(merged_id)[:8]}")
    return Merged(facts, files)
