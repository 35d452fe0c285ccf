"""The last step of an execution: the result's Item into the catalog, the run brought to its end, the Item published."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from geodl_core.aws.ledger.ledger import CloudRun, DynamoLedger, move_run
from geodl_core.aws.ledger.rates import read_rate
from geodl_core.aws.ledger.runs import current_run
from geodl_core.domain.grid import cell_area_m2
from geodl_core.domain.plan.plan import Plan, live_tiles
from geodl_core.engine.merge_plan import register_plan
from geodl_core.engine.plan_files import opened_plan
from geodl_core.engine.register_scene import Catalog


@dataclass(frozen=True, slots=True)
class RegisterSite:
    """Where results are registered."""

    ledger: DynamoLedger
    open_catalog: Callable[[], AbstractContextManager[Catalog]]
    publish: Callable[[Catalog, dict[str, Any]], object]
    """Tells the topic of an Item that the catalog has now."""
    now: Callable[[], datetime]


def register_stage(site: RegisterSite, event: dict[str, Any]) -> dict[str, Any]:
    """Publish the Item of a run that was merged; the same again changes nothing but the Item's time stamps.

    Args:
        site: catalog and ledger.
        event: run_id, attempt and plan.

    Returns:
        run_id, and collection and id of the Item; where the result was registered here and now also square_km, the
        area that was computed, and job_s, about how long jobs took for it: by the pace of the model's last first shard,
        None where that is not known.

    Raises:
        InputError: the run was ended, or another attempt has taken its place.
        CatalogError: the catalog or the ledger does not answer.
    """
    run: CloudRun = current_run(site.ledger, event)
    if run.state == "succeeded" and run.result is not None:
        result = {name: str(value) for name, value in run.result.items()}
        with site.open_catalog() as catalog:
            kept = catalog.get_item(result["collection"], result["id"])
            if kept is not None:
                site.publish(catalog, kept)
        return {"run_id": run.id, **result}
    with opened_plan(str(event["plan"])) as opened, site.open_catalog() as catalog:
        item = register_plan(opened, catalog, site.now())
        result = {"collection": str(item["collection"]), "id": str(item["id"])}
        move_run(site.ledger, run.id, "succeeded", "registered", result=result)
        # Last: whoever hears of it finds it. To be told twice is harmless; a retry comes back to here.
        site.publish(catalog, item)
        return {"run_id": run.id, **result, **_measures(site.ledger, run.model, opened.planned.plan)}


def _measures(ledger: DynamoLedger, model: str, plan: Plan) -> dict[str, float | None]:
    pixels = len(live_tiles(plan)) * plan.core_px[0] * plan.core_px[1]
    rate = read_rate(ledger, model)
    area = cell_area_m2(plan.grid)
    return {
        "square_km": None if area is None else pixels * area / 1e6,
        "job_s": None if rate is None else pixels / rate,
    }
