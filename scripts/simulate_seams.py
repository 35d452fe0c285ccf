"""Print how many objects are lost, doubled or left in pieces where tiles meet, by the size of objects and the halo.

    python scripts/simulate_seams.py

Objects straddle every border and corner of the tiles; half of them hold a smaller one of their class and one of another
class. A perfect detector looks at each tile: it finds what its read window shows of every object, clipped to the
window, with every side off by up to 1.5 pixels and a score by chance.
"""

from dataclasses import dataclass

import numpy as np

from geodl_core.domain.detection.detections import Detections, join, take
from geodl_core.domain.detection.seams import SeamRule, cut_sides, merge_tiles, owned
from geodl_core.domain.detection.suppress import nms
from geodl_core.domain.grid import Grid
from geodl_core.domain.plan.plan import Plan, pack_live, tile_at, tile_count
from geodl_core.domain.window import clip

CORE, HALO, MARGIN, JITTER = 256, 64, 8.0, 1.5
SIZES = ((4, 8), (8, 32), (32, 112), (112, 128), (128, 192), (192, 320), (320, 640))


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of true objects."""

    truth: int
    lost: int
    """True objects that no result shows whole."""
    doubled: int
    """Results that show an object whole which another shows too."""
    pieces: int
    """Results that show no object whole."""


def plan_of(tiles: int, core: int = CORE, halo: int = HALO) -> Plan:
    """Return a square plan of so many tiles a side."""
    grid = Grid("EPSG:32632", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), tiles * core, tiles * core)
    return Plan("job", grid, (core, core), halo, 1, 0, "reflect", (), "uint8", pack_live(np.ones((tiles, tiles), bool)))


def truth_of(plan: Plan, sizes: tuple[float, float], seed: int, nested: float = 0.5, tries: int = 4000):
    """Return boxes (N, 4) and classes of true objects round every border and corner of tiles.

    Objects of one class do not touch, but for those that lie within others; those are `nested` times as large.
    """
    chance, core, side = np.random.default_rng(seed), plan.core_px[0], plan.grid.height
    boxes, classes = [], []
    for _ in range(tries):
        width, height = np.exp(chance.uniform(*np.log(sizes), 2))
        across = round(chance.uniform(0, side) / core) * core + chance.uniform(-14, 14)
        along = chance.uniform(0, side) if chance.random() < 0.8 else round(chance.uniform(0, side) / core) * core
        x, y = (across, along) if chance.random() < 0.5 else (along, across)
        box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        others = np.array(boxes).reshape(-1, 4)
        is_beside = ((box[:2] < others[:, 2:] + 6) & (box[2:] > others[:, :2] - 6)).all(1).any()
        if box.min() >= 0 and box.max() <= side and not is_beside:
            boxes.append(box)
            classes.append(0)
    for box in boxes[::2]:
        inner = nested * (box[2:] - box[:2])
        for label in (0, 1):
            corner = box[:2] + chance.uniform(0.2, 0.8, 2) * (box[2:] - box[:2] - inner)
            if inner.min() >= 4:
                boxes.append(np.concatenate([corner, corner + inner]))
                classes.append(label)
    return np.array(boxes), np.array(classes, np.int32)


def detect(plan: Plan, boxes, classes, seed: int) -> Detections:
    """Return what a perfect detector tells of all tiles."""
    chance, found = np.random.default_rng(seed), []
    for index in range(tile_count(plan.grid, plan.core_px)):
        tile = tile_at(plan, index)
        seen = clip(tile.read, *plan.grid.shape)
        low, high = (seen.left, seen.top), (seen.right, seen.bottom)
        shown = np.hstack([np.clip(boxes[:, :2], low, high), np.clip(boxes[:, 2:], low, high)])
        rows = np.flatnonzero(((shown[:, 2:] - shown[:, :2]) > 2).all(1))
        moved = shown[rows] + chance.uniform(-JITTER, JITTER, (len(rows), 4))
        moved = np.hstack([np.clip(moved[:, :2], low, high), np.clip(moved[:, 2:], low, high)]).astype(np.float32)
        kept = owned(moved, tile.core, MARGIN) & ((moved[:, 2:] - moved[:, :2]) > 0).all(1)
        moved, rows = moved[kept], rows[kept]
        scores = chance.uniform(0.3, 1, len(rows)).astype(np.float32)
        cuts, tiles = cut_sides(moved, tile.read, plan.grid.shape), np.full(len(rows), index, np.int32)
        found.append(Detections(moved, scores, classes[rows], tiles, cuts))
    return join(found)


def judge(found: Detections, boxes, classes, within: float = 2.01) -> Tally:
    """Compare with the truth: an object is shown whole by a box no side of which is further off than that."""
    off = np.abs(found.boxes[:, None].astype(np.float64) - boxes).max(2)
    whole = (off <= within) & (found.class_ids[:, None] == classes)
    shown, pieces = int(whole.any(0).sum()), int((~whole.any(1)).sum())
    return Tally(len(boxes), len(boxes) - shown, len(found) - pieces - shown, pieces)


def outcomes(told: Detections, plan: Plan, boxes, classes) -> list[Tally]:
    """Return what becomes of candidates: by one suppression over the scene, merged, merged with pieces united."""
    whole = take(told, nms(told.boxes, told.scores, told.class_ids, SeamRule().threshold))
    merged = [merge_tiles(told, plan, SeamRule(unites=unites)) for unites in (False, True)]
    return [judge(found, boxes, classes) for found in (whole, *merged)]


def main() -> None:
    plan = plan_of(8)
    print(f"Tiles of {CORE} px, halo {HALO} px, margin {MARGIN:g} px, sides off by up to {JITTER:g} px. Each cell:")
    print("true objects that nothing shows whole / those shown twice / pieces and others left over.\n")
    print("| sides, px | objects | told by tiles | one NMS over the scene | merged | merged, pieces united |")
    print("|---|---|---|---|---|---|")
    for sizes in SIZES:
        boxes, classes = truth_of(plan, sizes, 1)
        told = detect(plan, boxes, classes, 2)
        cells = [f"{each.lost} / {each.doubled} / {each.pieces}" for each in outcomes(told, plan, boxes, classes)]
        print("|", " | ".join([f"{sizes[0]}–{sizes[1]}", str(len(boxes)), str(len(told)), *cells]), "|")


if __name__ == "__main__":
    main()
