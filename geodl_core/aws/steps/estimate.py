"""What merging a run will take, from its plan alone; and with that, where it is merged: in a function, or as a job."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from geodl_core.domain.plan.plan import live_tiles
from geodl_core.engine.open_worker import products_of
from geodl_core.engine.plan_scene import ScenePlan

MergeWay = Literal["raster", "vector", "batch"]

FUNCTION_S = 600.0
"""Of the 900 s that AWS gives a function at most: a machine of theirs may be half as fast as usual."""
FUNCTION_BYTES = 2_400 << 20
"""Of the 3,008 MB that the template gives the functions that merge."""
DISK_BYTES = 9 << 30
"""Of the 10 GB that a function's /tmp has at most: parts and results lie in it at the same time."""

# Measured on two cores of an AMD EPYC: class maps of 4096 and 8192 pixels a side were merged at 63 to 67 million pixels
# a second, in 40 MB beside what the program takes. A function of 3,008 MB has 1.7 virtual cores: half is expected.
RASTER_PX_PER_S = 30e6
BASE_BYTES = 250 << 20
STORE_BYTES_PER_S = 40e6
"""To and from S3, of a function: lower than what is seen, 60 to 90 MB/s."""
CLASS_BYTES_PER_PX = 0.3
"""Of a class map with overviews, compressed: 0.15 (large fields) to 0.3 (speckle)."""
SCORE_SHARE = 0.8
"""Of what scores take uncompressed, overviews included."""
BLOCK_PX = 512

OBJECTS_PER_MPX = 2_000.0
"""More than crowns of a forest or cars of a car park at 30 cm."""
OBJECTS_PER_S = 40_000.0
OBJECT_BYTES = 1_000
OUTLINED_BYTES = 6_000
"""Of an object with an outline, while it is merged and written."""
OUTLINED = ("oriented", "masks", "mask-rcnn")
"""Ends of the forms of answers whose objects have outlines; torchvision's may."""
FUNCTION_FORMATS = frozenset({"parquet", "geojson"})
"""GPKG and FlatGeobuf are written by GDAL's vector drivers, which the function does not have."""


@dataclass(frozen=True, slots=True)
class MergeEstimate:
    """What merging will take."""

    seconds: float
    memory_bytes: float
    disk_bytes: float

    @property
    def fits(self) -> bool:
        """Whether a function has as much."""
        return self.seconds <= FUNCTION_S and self.memory_bytes <= FUNCTION_BYTES and self.disk_bytes <= DISK_BYTES


def merge_way(planned: ScenePlan) -> MergeWay:
    """Return where a run is merged. Without live tiles there is no part to merge, which only the functions make."""
    is_empty = not len(live_tiles(planned.plan))
    if not is_empty and not estimate_merge(planned).fits:
        return "batch"
    if planned.model.detector is None:
        return "raster"
    if is_empty:
        return "vector"
    choice = planned.job.detection
    return "vector" if choice is not None and FUNCTION_FORMATS.issuperset(choice.formats) else "batch"


def estimate_merge(planned: ScenePlan) -> MergeEstimate:
    """Return what merging a run will take in a function, on the safe side."""
    return _rasters(planned) if planned.model.detector is None else _objects(planned)


def _rasters(planned: ScenePlan) -> MergeEstimate:
    plan = planned.plan
    pixels = plan.grid.height * plan.grid.width
    live = len(live_tiles(plan)) * plan.core_px[0] * plan.core_px[1]
    products = products_of(planned)
    sizes = [product.samples * np.dtype(product.dtype).itemsize for product in products]
    stored = live * CLASS_BYTES_PER_PX + sum(live * size * SCORE_SHARE for size in sizes[1:])
    # A row of blocks of the largest raster, at its overviews too, and as many that wait to be written.
    held = 4 * plan.grid.width * BLOCK_PX * max(sizes)
    seconds = pixels * sum(sizes) / RASTER_PX_PER_S + 2 * stored / STORE_BYTES_PER_S
    return MergeEstimate(seconds, BASE_BYTES + held, 2 * stored)


def _objects(planned: ScenePlan) -> MergeEstimate:
    plan = planned.plan
    live = len(live_tiles(plan)) * plan.core_px[0] * plan.core_px[1]
    objects = live / 1e6 * OBJECTS_PER_MPX
    choice = planned.job.detection
    form = "" if planned.model.detector is None else planned.model.detector.decoder.form
    each = OUTLINED_BYTES if form == "torchvision" or form.endswith(OUTLINED) else OBJECT_BYTES
    formats = len(choice.formats) if choice is not None else 1
    stored = objects * each / 4 * (1 + formats)
    seconds = objects * formats / OBJECTS_PER_S + 2 * stored / STORE_BYTES_PER_S
    return MergeEstimate(seconds, BASE_BYTES + objects * each, 2 * stored)
