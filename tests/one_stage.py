"""One stage of a run in a process of its own: what it did, and which packages that took.

Imports stand within the stages: what each of them takes is what is asked.

`python one_stage.py STAGE FOLDER [PATH …]`: in the folder lie `scene.json`, `model.json` and `models.json` (of the
registry) and what earlier stages left in `work`; packages are imported from the paths first. Prints a JSON object.
"""
# ruff: noqa: PLC0415

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHARDS = 2


def ingest(folder: Path) -> Any:
    """Match the scene with two watches; return the orders' ids."""
    from geodl_core.domain.run.order import order_id
    from geodl_core.domain.watch.envelopes import read_envelope
    from geodl_core.domain.watch.match import index_watches, match_item
    from geodl_core.domain.watch.orders import orders_of
    from geodl_core.domain.watch.watch import read_watch

    said = {"model": "net", "collections": ["scenes"], "filter": "eo:cloud_cover < 20 or datetime is not null"}
    index = index_watches(
        [
            read_watch({"name": "all", **said}, "watch"),
            read_watch({"name": "here", **said, "aoi": "0,40,30,60"}, "watch"),
        ]
    )
    message = {"Type": "Notification", "TopicArn": "t", "Message": (folder / "scene.json").read_text()}
    body = {"Records": [{"body": json.dumps(message)}]}
    found = [one.item for one in read_envelope(body, "event").messages if one.item is not None]
    return [order_id(orders_of(watch, item, "net@0123")) for item in found for watch in match_item(index, item)]


def plan(folder: Path) -> Any:
    """Plan the scene for the registered model; return the job's id."""
    from geodl_core.catalog.model_files import load_registered
    from geodl_core.domain.plan.job import Arguments
    from geodl_core.engine.load_model import load_model
    from geodl_core.engine.origin import origin_of
    from geodl_core.engine.plan_files import RunWishes, write_plan
    from geodl_core.engine.plan_mosaic import plan_items
    from geodl_core.io.stac import read_item

    package = load_registered(json.loads((folder / "model.json").read_text()))
    item, model = read_item(str(folder / "scene.json")), load_model(package)
    arguments = Arguments(tile_size_px=None if model.detector else 96)
    planned = plan_items([item], model, arguments)
    write_plan(
        str(folder / "work"), planned, package, origin_of([item], package, arguments, "results"), RunWishes(SHARDS)
    )
    return planned.plan.job_id


def load(folder: Path) -> Any:
    """Load models of many kinds; return what a plan takes of each."""
    from geodl_core.catalog.model_files import load_registered
    from geodl_core.engine.load_model import load_model

    items = json.loads((folder / "models.json").read_text())
    models = {kind: load_model(load_registered(item)) for kind, item in items.items()}
    return {
        kind: [model.digest, model.halo.px, model.halo.origin, model.bytes_per_px, list(model.notes)]
        for kind, model in models.items()
    }


def shard(folder: Path) -> Any:
    """Compute all parts; return how many."""
    from geodl_core.cli.main import geodl

    for number in range(SHARDS):
        geodl(["shard", str(folder / "work"), str(number), str(SHARDS), "--quiet"], standalone_mode=False)
    return SHARDS


def merge(folder: Path) -> Any:
    """Merge the parts, which stay; return what was found of each class."""
    from geodl_core.engine.merge_plan import merge_plan
    from geodl_core.engine.plan_files import opened_plan

    with opened_plan(str(folder / "work")) as opened:
        return {str(value): count for value, count in merge_plan(opened, None, keeps_parts=True).items()}


def register(folder: Path) -> Any:
    """Publish what was merged; return the Item's id."""
    from geodl_core.catalog.sqlite import SqliteCatalog
    from geodl_core.engine.merge_plan import register_plan
    from geodl_core.engine.plan_files import opened_plan

    with opened_plan(str(folder / "work")) as opened, SqliteCatalog(folder / "results.db") as catalog:
        return register_plan(opened, catalog, NOW)["id"]


STAGES = {stage.__name__: stage for stage in (ingest, load, plan, shard, merge, register)}


def packages() -> list[str]:
    """Return the packages that were imported, those of Python apart."""
    return sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))


if __name__ == "__main__":
    name, where, *paths = sys.argv[1:]
    sys.path[:0] = paths
    began = time.process_time()
    answer = STAGES[name](Path(where))
    took = time.process_time() - began
    places = sorted({module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)})
    sys.stdout.write(json.dumps({"answer": answer, "packages": packages(), "cpu_s": took, "files": places}) + "\n")
