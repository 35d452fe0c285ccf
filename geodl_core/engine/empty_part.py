"""The part of a shard without tiles: what `run_tasks` would write, with no network opened."""

from geodl_core.domain.detection.detections import join
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.result_place import Task
from geodl_core.errors import InputError
from geodl_core.io.parts.parts import write_part


def write_empty_part(planned: ScenePlan, task: Task) -> None:
    """Write the part of a shard that has no tiles.

    Raises:
        InputError: it has some.
        StoreError: it cannot be written.
    """
    if task.header.tiles:
        raise InputError(f"shard {task.shard.n} of {task.shard.of}: expected one without tiles, it has some")
    with write_part(task.path, task.header) as part:
        if planned.model.detector is None:
            return
        from geodl_core.engine.detect_shards import OPEN, SETTLED  # noqa: PLC0415  # paid by detectors alone
        from geodl_core.io.parts.found import add_detections  # noqa: PLC0415

        add_detections(part, SETTLED, join([]))
        add_detections(part, OPEN, join([]))
