"""Merge the parts of a detector's run: each object once, in an order that does not depend on the shards."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geodl_core.domain.detection.choice import DetectionChoice
from geodl_core.domain.detection.detections import Detections, join, outlines_of, take
from geodl_core.domain.detection.seams import merge_tiles, ordered
from geodl_core.domain.detection.suppress import nms_polygons
from geodl_core.engine.detect_shards import OPEN, SETTLED, rule_of
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.result_place import Task
from geodl_core.io.parts.found import read_detections
from geodl_core.io.parts.parts import PartReader


@dataclass(frozen=True, slots=True)
class FoundObjects:
    """The objects of a whole scene."""

    detections: Detections
    largest_px: float
    """Longest side of the largest box; 0 where there is none."""
    cut: int
    """Objects that are larger than the overlap of tiles, and so were cut and not united."""


def merge_detections(planned: ScenePlan, tasks: Sequence[Task]) -> FoundObjects:
    """Return the objects of all parts: those that shards left open merged, and all in one order.

    Args:
        planned: the job.
        tasks: every shard with its part.

    Raises:
        DataError: a part is missing, damaged, or of another plan.
    """
    settled, still_open = [], []
    for task in tasks:
        part = PartReader(task.path, task.header)
        try:
            settled.append(read_detections(part, SETTLED))
            still_open.append(read_detections(part, OPEN))
        finally:
            part.close()
    merged = merge_tiles(join(still_open), planned.plan, rule_of(planned))
    every = ordered(join([*settled, merged]))
    choice = planned.job.detection
    if choice is not None and choice.run_nms:
        every = _suppressed(every, choice)
    sides = every.boxes[:, 2:] - every.boxes[:, :2]
    return FoundObjects(every, float(sides.max(initial=0.0)), int(np.count_nonzero(every.cuts)))


def _suppressed(detections: Detections, choice: DetectionChoice) -> Detections:
    """Return what ArcGIS's Non Maximum Suppression leaves: of polygons of a class that overlap, the best."""
    outlines = outlines_of(detections)
    kept = nms_polygons(outlines, detections.scores, detections.class_ids, choice.max_overlap_ratio)
    return take(detections, kept)
