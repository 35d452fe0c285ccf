"""The step of an execution that merges parts, as `geodl merge` does, which takes its place where it does not fit."""

from pathlib import Path
from typing import Any

from geodl_core.domain.plan.plan import live_tiles
from geodl_core.engine.empty_part import write_empty_part
from geodl_core.engine.merge_plan import merge_plan
from geodl_core.engine.plan_files import opened_plan, store_part, tasks_of
from geodl_core.errors import OutOfMemoryError


def merge_stage(event: dict[str, Any], cache: Path | None = None) -> dict[str, Any]:
    """Merge the parts of a run; one that was merged is left as it is.

    Args:
        event: plan; a plan without live tiles needs no parts.
        cache: folder in which models are kept; None keeps none.

    Returns:
        plan, and how many pixels or objects there are.

    Raises:
        OutOfMemoryError: there is too little memory for it, here.
        GeodlError: as `opened_plan` and `merge_plan`.
    """
    plan = str(event["plan"])
    try:
        with opened_plan(plan, cache) as opened:
            if not len(live_tiles(opened.planned.plan)):
                for task in tasks_of(opened):
                    write_empty_part(opened.planned, task)
                    store_part(opened, task)
            counts = merge_plan(opened, None, keeps_parts=False)
    except MemoryError as error:
        # Lambda tells the name of the class alone, and numpy's has another one.
        raise OutOfMemoryError(f"{plan}: merging its parts takes more memory than there is") from error
    return {"plan": plan, "count": sum(counts.values())}
