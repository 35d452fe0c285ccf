"""What the benches of detectors need beside a model, each made by a process of its own.

    python -m scripts.benchmarks.object_yardstick mosaic IMAGE SIDE RASTER
    python -m scripts.benchmarks.object_yardstick blank SIDE RASTER
    python -m scripts.benchmarks.object_yardstick parts PLAN OBJECTS CELL SHARDS

`mosaic` fills a square raster with an image, mirrored where it ends. `blank` writes a square raster of zeros, which
takes no room. `parts` writes what the shards of a plan would have found, of objects in cells of so many pixels, and
prints how many shards there are (0: as planned), how many candidates their tiles tell, and how many of these stay open.
"""

import json
import sys

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rasterio.windows import Window

from geodl_core.domain.detection.detections import Detections, take
from geodl_core.domain.detection.detector import MARGIN_PX
from geodl_core.domain.detection.seam_graph import views_of
from geodl_core.domain.detection.seams import settle
from geodl_core.domain.plan.plan import Plan, shard_tiles, tile_shape
from geodl_core.engine.detect_shards import OPEN, SETTLED, rule_of
from geodl_core.engine.plan_files import opened_plan, tasks_of
from geodl_core.io.parts.found import add_detections
from geodl_core.io.parts.parts import write_part

SEED = 7
SIDES_PX = (10.0, 40.0)
JITTER_PX = 1.5
"""By which two tiles differ on a side of an object."""
BLOCK_PX = 512
TILED = {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX, "dtype": "uint8", "count": 3}


def mosaic(image: str, side: str, raster: str) -> None:
    """Write a raster of an image and its mirror images."""
    with rasterio.open(image) as source:
        pixels, place = source.read(), {"crs": source.crs, "transform": source.transform}
    size = int(side)
    rows, cols = (np.pad(np.arange(had), (0, max(0, size - had)), "symmetric")[:size] for had in pixels.shape[1:])
    packed = {"compress": "deflate", "predictor": 2, "interleave": "pixel"}
    with rasterio.open(raster, "w", height=size, width=size, **TILED, **packed, **place) as target:
        for top in range(0, size, BLOCK_PX):
            band = rows[top : top + BLOCK_PX]
            target.write(pixels[:, band][:, :, cols], window=Window(0, top, size, len(band)))
        target.build_overviews([2, 4, 8])


def blank(side: str, raster: str) -> None:
    """Write a raster none of whose blocks is stored."""
    place = {"crs": CRS.from_epsg(32633), "transform": from_origin(300_000, 5_300_000, 0.3, 0.3)}
    with rasterio.open(raster, "w", height=int(side), width=int(side), sparse_ok=True, **TILED, **place):
        pass


def parts(plan: str, objects: str, cell_px: str, shards: str) -> None:
    """Write the parts of a plan as its shards do."""
    left_open = 0
    with opened_plan(plan) as opened:
        planned, tasks = opened.planned, tasks_of(opened, int(shards) or None)
        told = candidates(planned.plan, int(objects), int(cell_px), [entry.value for entry in planned.model.classes])
        told = take(told, np.argsort(told.tiles, kind="stable"))
        for task in tasks:
            tiles = shard_tiles(planned.plan, task.shard)
            starts, stops = (np.searchsorted(told.tiles, tiles, side=side) for side in ("left", "right"))
            rows = np.concatenate([np.arange(*ends) for ends in zip(starts, stops, strict=True)])
            settled, still_open = settle(take(told, rows), tiles, planned.plan, rule_of(planned))
            left_open += len(still_open)
            with write_part(task.path, task.header) as part:
                add_detections(part, SETTLED, settled)
                add_detections(part, OPEN, still_open)
    print(json.dumps({"shards": len(tasks), "candidates": len(told), "open": left_open}))


def candidates(plan: Plan, objects: int, cell_px: int, class_ids: list[int]) -> Detections:
    """Return what tiles tell of objects all over a scene: near seams two or four tiles tell of one, each a little off.

    Args:
        plan: how the tiles lie.
        objects: how many, one a cell, of sides from 10 to 40 pixels.
        cell_px: side of a cell.
        class_ids: that they have.
    """
    chance = np.random.default_rng(SEED)
    cells = np.stack(np.divmod(np.arange(objects), plan.grid.width // cell_px)[::-1], axis=1)
    sides = chance.uniform(*SIDES_PX, (objects, 2))
    corners = cells * cell_px + chance.uniform(0, 1, (objects, 2)) * (cell_px - sides)
    boxes, centres = np.hstack([corners, corners + sides]), corners + sides / 2
    kinds, scores = chance.choice(class_ids, objects), chance.uniform(0.25, 1, objects)
    shape, core = np.asarray(tile_shape(plan.grid, plan.core_px))[::-1], np.asarray(plan.core_px[::-1])
    rows, tiles = [], []
    for step in np.ndindex(3, 3):
        seen = (centres // core).astype(np.int64) + step - 1
        inside = np.flatnonzero(((seen >= 0) & (seen < shape)).all(1))
        tile = seen[inside] @ (1, shape[0])
        cores, centre = views_of(plan, tile).cores, centres[inside]
        kept = ((centre >= cores[:, :2] - MARGIN_PX) & (centre < cores[:, 2:] + MARGIN_PX)).all(1)
        rows.append(inside[kept])
        tiles.append(tile[kept].astype(np.int32))
    row = np.concatenate(rows)
    moved = (boxes[row] + chance.uniform(-JITTER_PX, JITTER_PX, (len(row), 4))).astype(np.float32)
    score = (scores[row] * chance.uniform(0.9, 1, len(row))).astype(np.float32)
    return Detections(moved, score, kinds[row].astype(np.int32), np.concatenate(tiles), np.zeros(len(row), np.uint8))


if __name__ == "__main__":
    {"mosaic": mosaic, "blank": blank, "parts": parts}[sys.argv[1]](*sys.argv[2:])
