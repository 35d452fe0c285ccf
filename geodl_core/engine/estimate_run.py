"""What a run will take, before it is run: tiles, memory, time, size of the result."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from geodl_core.domain.plan.plan import live_tiles, shard_count, tile_at, tile_count
from geodl_core.engine.find_objects import find_objects
from geodl_core.engine.open_finder import open_finder
from geodl_core.engine.open_worker import BASE_BYTES, Means, crew_of, open_worker, products_of, tile_bytes
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.rates import rate_key, recorded_rate
from geodl_core.engine.worker import answered_window, infer, read_chip
from geodl_core.io.package.package import ModelPackage
from geodl_core.io.scene.scene_reader import READ_BYTES

CLASS_BYTES_PER_PX = 0.25
"""Of a class map with overviews, compressed: measured 0.15 (large fields) to 0.3 (speckle)."""
SCORE_SHARE = 0.8
"""Of what scores take uncompressed, overviews included."""
CALIBRATED_SHARE = 0.85
"""A run reaches so much of what a tile alone promises."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take."""

    live: int
    tiles: int
    """In all; those that are not live are skipped."""
    pixels: int
    """Computed and kept: of the cores of live tiles."""
    overhead: float
    """Pixels that the network sees for each of them, halo included."""
    threads: int
    memory_bytes: int
    """Of the process, about."""
    pixels_per_s: float | None
    rate_origin: str
    output_bytes: int | None
    """None: of objects, nobody knows how many there are."""
    shards: int

    @property
    def seconds(self) -> float | None:
        """Return how long it takes, None where no rate is known."""
        return None if self.pixels_per_s is None else self.pixels / self.pixels_per_s

    def as_json(self, shards: int | None = None) -> dict[str, Any]:
        """Return it for machines, with the number of shards that was asked for."""
        return {**asdict(self), "shards": max(1, min(shards or self.shards, self.live)), "seconds": self.seconds}

    def lines(self, shards: int | None) -> Iterator[str]:
        """Yield it for people, one fact a line."""
        skipped = self.tiles - self.live
        yield f"skipped  {skipped} of {self.tiles} tiles ({100 * skipped / self.tiles:.0f} %)"
        yield f"work     {self.pixels / 1e6:,.1f} Mpx; the network sees {self.overhead:.2f} × that, with context"
        yield f"memory   about {self.memory_bytes / 2**20:,.0f} MiB with {self.threads} tiles at a time"
        if self.seconds is None:
            yield f"time     not known: {self.rate_origin}"
        else:
            yield f"time     about {_duration(self.seconds)} ({self.rate_origin})"
        if self.output_bytes is not None:
            yield f"output   about {self.output_bytes / 1e6:,.1f} MB"
        yield f"shards   {shards or self.shards}"


def estimate_run(planned: ScenePlan, package: ModelPackage, means: Means, is_calibrated: bool = False) -> Estimate:
    """Return what a run will take.

    Args:
        planned: the job.
        package: of its model.
        means: of this machine.
        is_calibrated: whether a tile is inferred to find the rate.
    """
    plan = planned.plan
    live = live_tiles(plan)
    threads, _ = crew_of(planned, means)
    rate = recorded_rate(means.cache, rate_key(planned, threads, means.provider))
    origin = "at the rate of the last run"
    if len(live) and is_calibrated:
        rate, origin = _calibrated(planned, package, means), "from a tile inferred just now"
    if rate is None:
        origin = "nothing was run yet; --calibrate infers a tile"
    height, width = plan.core_px
    tiles = tile_count(plan.grid, plan.core_px)
    pixels = round(plan.grid.height * plan.grid.width * len(live) / tiles)
    reads = (height + 2 * plan.halo_px) * (width + 2 * plan.halo_px)
    products = products_of(planned)
    size = pixels * CLASS_BYTES_PER_PX
    for product in products[1:]:
        size += pixels * product.samples * (4 if product.dtype == "float32" else 1) * SCORE_SHARE
    return Estimate(
        live=len(live),
        tiles=tiles,
        pixels=pixels,
        overhead=reads / (height * width),
        threads=threads,
        memory_bytes=BASE_BYTES + min(READ_BYTES, plan.grid.width * height * 8) + threads * tile_bytes(planned),
        pixels_per_s=rate,
        rate_origin=origin,
        output_bytes=round(size) if products else None,
        shards=shard_count(plan),
    )


def _calibrated(planned: ScenePlan, package: ModelPackage, means: Means) -> float:
    """Infer a live tile twice, the first time to warm up, and return useful pixels a second of all threads."""
    plan = planned.plan
    live = live_tiles(plan)
    tile = tile_at(plan, int(live[len(live) // 2]))
    seconds = 0.0
    if planned.model.detector is not None:
        with open_finder(planned, package, means, (_ignore, _ignore)) as finder:
            threads = finder.threads
            for _ in range(2):
                start = time.perf_counter()
                find_objects(plan, [tile], finder)
                seconds = time.perf_counter() - start
    else:
        with open_worker(planned, package, means, _ignore) as worker:
            threads = worker.threads
            chip = read_chip(tile, worker.reader)
            answered = answered_window(plan, tile, worker.network)
            for _ in range(2):
                start = time.perf_counter()
                infer(chip.pixels[None], answered, tile.core, worker.network)
                seconds = time.perf_counter() - start
    return tile.core.height * tile.core.width / seconds * threads * CALIBRATED_SHARE


def _ignore(count: int) -> None:
    """Take no notice of what was finished."""


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h"
