"""What a planned scene will take on AWS, and scenes like it: shards, time, money; before anything runs there."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from geodl_core.aws.cost.cost import Entry, Work, backfill_entries, scene_entries
from geodl_core.aws.cost.schedule import Backfill, Course, simulate
from geodl_core.aws.cost.setup import (
    COLD_S,
    INGEST_S,
    JOB_VCPUS,
    LIST_ITEM_S,
    LISTED,
    PLAN_S,
    REGISTER_S,
    WAKE_S,
    Setup,
)
from geodl_core.aws.ledger.rates import FIRST_RATE, shard_pixels, shards_for
from geodl_core.aws.steps.estimate import estimate_merge, merge_way
from geodl_core.domain.grid import cell_area_m2
from geodl_core.domain.plan.plan import Plan, live_tiles, tile_count
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.write_scene import result_files
from geodl_core.errors import InputError
from geodl_core.io.package.package import ModelPackage

ASSUMED = "assumed; --rate says it, or --stack once the model has run there"


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast a model is on a machine of the deployment."""

    pixels_per_s: float = FIRST_RATE
    """Of a job, the start of its container included."""
    origin: str = ASSUMED


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a scene will take."""

    setup: Setup
    rate: Rate
    work: Work
    pixels: int
    """That are computed and kept."""
    area_km2: float | None
    """Of those; None where the scene has no place on Earth."""
    alone: Course
    """Where nothing runs before it: machines, functions and the database start for it."""
    stream: Course
    """Where it is one of many."""

    @property
    def compute_s(self) -> float:
        """Seconds that machines compute, together."""
        return self.work.shards * self.work.job_s

    def seconds(self, is_alone: bool) -> float:
        """Return how long it takes from the message to the result in the catalog."""
        course = self.alone if is_alone else self.stream
        return INGEST_S + (COLD_S if is_alone else 0.0) + course.seconds

    def entries(self, is_alone: bool) -> tuple[Entry, ...]:
        """Return what it uses."""
        return scene_entries(self.work, self.setup, self.alone if is_alone else self.stream, is_alone)


def scene_outlook(
    asked: tuple[Mapping[str, Any], ModelPackage, ScenePlan], shards: int | None, setup: Setup, rate: Rate
) -> Outlook:
    """Return what a planned scene will take.

    Args:
        asked: the Item, the model and the plan.
        shards: in how many it is to be run; None for as many as the deployment's plan function would choose.
        setup: of the deployment.
        rate: of the model.

    Raises:
        InputError: no live tile, or no room for a job.
    """
    item, package, planned = asked
    plan = planned.plan
    live = len(live_tiles(plan))
    if not live:
        raise InputError("no tile of the scene is live: there is nothing to compute, and hardly anything to pay")
    if setup.slots < 1:
        raise InputError(f"expected room for a job, 4 virtual processors, found {setup.max_vcpus}")
    of = shards_for(plan, shards, rate.pixels_per_s, setup.shard_s)
    merge = estimate_merge(planned)
    work = Work(
        shards=of,
        job_s=setup.occupied_s(shard_pixels(plan, of) / rate.pixels_per_s),
        merge=merge_way(planned),
        merge_s=merge.seconds,
        # Parts and result lie on the disk at the same time, about as large.
        result_bytes=merge.disk_bytes / 2,
        files=len(result_files(planned)),
        model_bytes=_model_bytes(package),
        item_bytes=len(json.dumps(item)),
        blocks=_blocks(plan),
        is_detector=planned.model.detector is not None,
    )
    pixels = round(plan.grid.height * plan.grid.width * live / tile_count(plan.grid, plan.core_px))
    cell = cell_area_m2(plan.grid)
    area = None if cell is None else pixels * cell / 1e6
    alone = _one(work, setup, COLD_S, WAKE_S if setup.has_database and setup.rests else 0.0)
    stream = _one(work, setup, 0.0, 0.0)
    return Outlook(setup, rate, work, pixels, area, simulate(alone), simulate(replace(stream, boot_s=0.0, keep_s=0.0)))


def backfill_course(outlook: Outlook, scenes: int) -> Course:
    """Return how a back-fill of so many scenes like one goes.

    Raises:
        InputError: more than can be simulated.
    """
    setup = outlook.setup
    listed = min(scenes, LISTED)
    try:
        one = _one(outlook.work, setup, 0.0, 0.0)
        return simulate(replace(one, scenes=scenes, scenes_at_once=setup.scenes_at_once, list_s=listed * LIST_ITEM_S))
    except ValueError as error:
        raise InputError(f"{scenes:,} scenes of {outlook.work.shards} shards: {error}") from error


def backfill_uses(outlook: Outlook, course: Course) -> tuple[Entry, ...]:
    """Return what a back-fill uses."""
    return backfill_entries(outlook.work, outlook.setup, course)


def used(entries: Iterable[Entry]) -> dict[str, float]:
    """Return how much of each priced thing is used, by the price's name."""
    sums: dict[str, float] = {}
    for entry in entries:
        sums[entry.price] = sums.get(entry.price, 0.0) + entry.count
    return sums


def _one(work: Work, setup: Setup, cold_s: float, wake_s: float) -> Backfill:
    """Return a scene as what is simulated."""
    return Backfill(
        scenes=1,
        shards=work.shards,
        job_s=work.job_s,
        max_vcpus=setup.slots * JOB_VCPUS,
        shards_at_once=setup.shards_at_once,
        plan_s=PLAN_S + cold_s,
        finish_s=work.merge_s + cold_s + REGISTER_S + cold_s + wake_s,
        finishes_at_once=setup.merge_slots(work.is_merged_by_job),
        boot_s=setup.boot_s,
        keep_s=setup.keep_s,
    )


def _model_bytes(package: ModelPackage) -> int:
    files = (package.file, package.preprocessing)
    return sum(file.proto.ByteSize() for file in files if file is not None)


def _blocks(plan: Plan) -> int:
    """Return how many blocks of the scene's rasters are read, if each is asked for on its own."""
    pixels = len(live_tiles(plan)) * plan.core_px[0] * plan.core_px[1]
    asked = 0.0
    for source in (*plan.sources, *(mask.source for mask in plan.masks)):
        height, width = source.block_px
        asked += pixels / (source.ratio or 1) ** 2 * source.shrink**2 / (height * width)
    return ceil(asked)
