"""Where tiles meet every object is there once, whole, and the same however the tiles were shared out."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import simulate_seams
from geodl_core.domain.detection import seam_graph
from geodl_core.domain.detection.detections import (
    CUT_BOTTOM,
    CUT_LEFT,
    CUT_RIGHT,
    CUT_TOP,
    Detections,
    join,
    no_detections,
    take,
)
from geodl_core.domain.detection.detector import MARGIN_PX
from geodl_core.domain.detection.seams import SeamRule, cut_sides, merge_tiles, ordered, owned, settle
from geodl_core.domain.detection.suppress import nms
from geodl_core.domain.plan.plan import Plan, tile_at, tile_count
from geodl_core.domain.window import Window
from simulate_seams import MARGIN, Tally, detect, judge, plan_of, truth_of

WITHIN_HALO = [(4, 8), (8, 32), (32, 112)]


def bytes_of(found: Detections) -> list[bytes]:
    columns = [found.boxes, found.scores, found.class_ids, found.tiles, found.cuts]
    outlines = [] if found.outlines is None else [b"".join(shapely.to_wkb(found.outlines))]
    return [*(f"{column.dtype}{column.shape}".encode() + column.tobytes() for column in columns), *outlines]


def told_of(plan: Plan, *rows: tuple[int, tuple[float, float, float, float], float]) -> Detections:
    """Return candidates of (tile, box, score)."""
    parts = []
    for tile, box, score in rows:
        boxes = np.array([box], np.float32)
        cuts = cut_sides(boxes, tile_at(plan, tile).read, plan.grid.shape)
        one = np.array([score], np.float32)
        parts.append(Detections(boxes, one, np.zeros(1, np.int32), np.array([tile], np.int32), cuts))
    return join(parts)


@given(st.integers(0, 2**32), st.sampled_from([0.0, 3.0]))
def test_every_centre_has_one_owner(seed: int, margin: float) -> None:
    """Without margin each object is one tile's, on borders and corners too; with one, the neighbours' within it."""
    plan = plan_of(3, core=20, halo=10)
    centres = np.random.default_rng(seed).integers(0, 120, (50, 2)) / 2
    boxes = np.hstack([centres - 1, centres + 1]).astype(np.float32)
    owners = np.stack([owned(boxes, tile_at(plan, tile).core, margin) for tile in range(9)])
    for column, (x, y) in zip(owners.T, centres, strict=True):
        cores = [tile_at(plan, tile).core for tile in range(9)]
        wanted = [
            core.left - margin <= x < core.right + margin and core.top - margin <= y < core.bottom + margin
            for core in cores
        ]
        assert column.tolist() == wanted
    assert margin or (owners.sum(0) == 1).all()


def test_sides_are_cut_where_the_scene_goes_on() -> None:
    """A box that ends at or near a side of the read window is cut there, unless the scene ends there too."""
    read, boxes = (
        Window(-10, 90, 110, 210),
        np.array(
            [[90, 20, 120, 40], [91.5, 20, 120, 108], [93, -10, 207, 107], [150, 60, 215, 110], [120, 60, 130, 70]],
            np.float32,
        ),
    )
    within = cut_sides(boxes, read, (400, 400))
    assert within.tolist() == [CUT_LEFT, CUT_LEFT | CUT_BOTTOM, 0, CUT_RIGHT | CUT_BOTTOM, 0]
    assert cut_sides(boxes, read, (110, 200)).tolist() == [CUT_LEFT, CUT_LEFT, 0, 0, 0]
    assert cut_sides(boxes, Window(10, 90, 110, 210), (400, 400))[2] == CUT_TOP


@pytest.mark.parametrize("unites", [False, True])
@pytest.mark.parametrize("threshold", [0.1, 0.5])
@pytest.mark.parametrize("sizes", WITHIN_HALO)
def test_objects_within_the_halo_are_there_once(sizes, threshold: float, unites: bool) -> None:
    """None is lost, doubled or in pieces round every border and corner, nor is what lies within them."""
    plan = plan_of(5)
    for seed in range(2):
        boxes, classes = truth_of(plan, sizes, seed, tries=1000)
        told = detect(plan, boxes, classes, seed + 50)
        assert len(told) > 1.3 * len(boxes), "the seams are not tried"
        rule = SeamRule(threshold, unites=unites)
        assert judge(merge_tiles(told, plan, rule), boxes, classes) == Tally(len(boxes), 0, 0, 0)


@pytest.mark.parametrize("most", [seam_graph.MOST_LOOKALIKES, 0])
def test_what_lies_closely_within_another_is_kept(monkeypatch, most: int) -> None:
    """Objects that overlap another of their class by far more than the threshold stay where tiles tell them apart."""
    monkeypatch.setattr(seam_graph, "MOST_LOOKALIKES", most)
    plan = plan_of(5)
    boxes, classes = truth_of(plan, (40, 112), 4, nested=0.85)
    told = detect(plan, boxes, classes, 5)
    assert judge(merge_tiles(told, plan, SeamRule(0.3)), boxes, classes) == Tally(len(boxes), 0, 0, 0)
    suppressed = take(told, nms(told.boxes, told.scores, told.class_ids, 0.3))
    assert judge(suppressed, boxes, classes).lost > 20


def test_a_margin_of_the_whole_halo_doubles_nothing(monkeypatch) -> None:
    """Where tiles keep all that they see, and the rule knows it, each object is there once."""
    plan = plan_of(4)
    monkeypatch.setattr(simulate_seams, "MARGIN", float(plan.halo_px))
    boxes, classes = truth_of(plan, (8, 100), 2, tries=1500)
    told = detect(plan, boxes, classes, 3)
    found = merge_tiles(told, plan, SeamRule(margin_px=plan.halo_px))
    assert judge(found, boxes, classes) == Tally(len(boxes), 0, 0, 0)


@pytest.mark.parametrize("sizes", [(128, 192), (192, 320), (320, 640)])
def test_pieces_are_united(sizes) -> None:
    """Objects that no tile saw whole become whole, and what lies within them stays; by default their pieces stay."""
    plan = plan_of(8)
    for seed in range(2):
        boxes, classes = truth_of(plan, sizes, seed, tries=600)
        told = detect(plan, boxes, classes, seed + 50)
        united = merge_tiles(told, plan, SeamRule(unites=True))
        assert judge(united, boxes, classes) == Tally(len(boxes), 0, 0, 0)
        assert not united.cuts.any()
        apart = merge_tiles(told, plan, SeamRule())
        assert judge(apart, boxes, classes).pieces > 0
        assert apart.cuts.any()


def test_outlines_are_compared_themselves() -> None:
    """Slanting objects side by side, whose boxes overlap by more than half, all stay, each once."""
    plan, chance = plan_of(3, core=64, halo=32), np.random.default_rng(0)
    stripes = [shapely.Polygon([(x, 60), (x + 6, 60), (x + 36, 30), (x + 30, 30)]) for x in range(20, 130, 9)]
    boxes = np.array([stripe.bounds for stripe in stripes])
    told = detect(plan, boxes, np.zeros(len(boxes), np.int32), 1)
    rows = [int(np.abs(boxes - box).max(1).argmin()) for box in told.boxes]
    moved = [shapely.affinity.translate(stripes[row], *chance.uniform(-1, 1, 2)) for row in rows]
    told = replace(told, boxes=shapely.bounds(moved).astype(np.float32), outlines=np.array(moved, object))
    assert len(told) > len(stripes)
    found = merge_tiles(told, plan, SeamRule(0.1))
    seen = [int(shapely.area(shapely.intersection(stripes, outline)).argmax()) for outline in found.outlines]
    assert sorted(seen) == list(range(len(stripes)))
    assert len(merge_tiles(replace(told, outlines=None), plan, SeamRule(0.1))) < len(stripes)


def test_united_outlines_are_the_union() -> None:
    """The outline of an object in three pieces is their union, its score the best, and no side is cut any more."""
    plan = plan_of(3, core=64, halo=16)
    road = shapely.affinity.rotate(shapely.box(5, 90, 187, 98), 12)
    parts = []
    for tile in (3, 4, 5):
        read = tile_at(plan, tile).read
        piece = road.intersection(shapely.box(read.left, read.top, read.right, read.bottom))
        box = np.array([piece.bounds], np.float32)
        cuts = cut_sides(box, read, plan.grid.shape)
        numbers = np.array([tile], np.int32)
        outlines = np.array([piece], object)
        score = np.array([tile / 10], np.float32)
        parts.append(Detections(box, score, np.full(1, 7, np.int32), numbers, cuts, outlines))
    found = merge_tiles(join(parts), plan, SeamRule(unites=True))
    assert (len(found), found.class_ids[0], found.cuts[0]) == (1, 7, 0)
    assert found.scores[0] == np.float32(0.5)
    assert found.outlines[0].symmetric_difference(road).area < 1e-6
    assert len(merge_tiles(join(parts), plan, SeamRule())) == 3


def test_the_best_copy_stays() -> None:
    """Whole before cut, then the core's own before the margin's, then the higher score."""
    plan = plan_of(2)  # cores of 256, halo 64: the border between tiles 0 and 1 is at x = 256
    whole = told_of(plan, (0, (150, 50, 262, 80), 0.4), (1, (192, 50, 262, 80), 0.9))
    assert merge_tiles(whole, plan, SeamRule()).tiles.tolist() == [0]
    own = told_of(plan, (0, (240, 50, 270, 80), 0.4), (1, (241, 50, 270, 80), 0.9))
    assert merge_tiles(own, plan, SeamRule()).tiles.tolist() == [0]
    better = told_of(plan, (0, (241, 50, 269, 80), 0.4), (1, (242, 50, 271, 80), 0.9))
    assert merge_tiles(better, plan, SeamRule()).tiles.tolist() == [1]
    alone = told_of(plan, (1, (236, 50, 266, 80), 0.2))
    assert merge_tiles(alone, plan, SeamRule()).tiles.tolist() == [1]


def test_of_two_pieces_the_larger_stays() -> None:
    """Where two tiles saw most of one object, what shows more of it stays, whatever the scores."""
    plan = plan_of(2)
    pieces = told_of(plan, (0, (186, 50, 320, 80), 0.9), (1, (192, 50, 386, 80), 0.4))
    assert (pieces.cuts > 0).all()
    assert merge_tiles(pieces, plan, SeamRule()).boxes.tolist() == [[192, 50, 386, 80]]


def test_a_large_piece_does_not_go_for_a_small_object_in_it() -> None:
    """Of its true size the overlap is less than the piece shows: both stay, though it is above the threshold."""
    plan = plan_of(2)
    both = told_of(plan, (0, (100, 50, 320, 200), 0.5), (1, (258, 80, 318, 180), 0.9))
    assert len(merge_tiles(both, plan, SeamRule(0.1))) == 2


def test_a_piece_of_what_another_tile_saw_whole_goes() -> None:
    """Though both overlap little; what lies within the whole one without being a piece of it stays."""
    plan = plan_of(2)
    long = told_of(plan, (0, (10, 50, 316, 80), 0.5), (1, (192, 51, 316, 80), 0.9), (1, (250, 55, 270, 70), 0.9))
    found = merge_tiles(long, plan, SeamRule(0.5))
    assert found.boxes.tolist() == [[10, 50, 316, 80], [250, 55, 270, 70]]


def test_a_piece_of_a_slanting_object_goes() -> None:
    """A piece that lies within the box of what another tile saw whole, and fills little of it, goes too."""
    plan = plan_of(2)
    slanting = told_of(plan, (0, (10, 50, 316, 250), 0.5), (1, (192, 50, 316, 120), 0.9))
    assert merge_tiles(slanting, plan, SeamRule(0.5)).tiles.tolist() == [0]


def test_neighbours_cut_side_by_side_are_not_united() -> None:
    """Two long objects, one above the other and overlapping a little, become two objects, not one."""
    plan = plan_of(2)
    upper = [(0, (100, 50, 320, 80), 0.9), (1, (192, 50, 420, 80), 0.8)]
    lower = [(0, (90, 76, 320, 106), 0.7), (1, (192, 76, 400, 106), 0.95)]
    found = merge_tiles(told_of(plan, *upper, *lower), plan, SeamRule(0.1, unites=True))
    assert sorted(found.boxes.tolist()) == [[90, 76, 400, 106], [100, 50, 420, 80]]
    assert sorted(found.scores.tolist()) == [np.float32(0.9), np.float32(0.95)]


def candidates_by_chance(plan: Plan, seed: int, is_outlined: bool) -> Detections:
    """Return objects of any size round the seams as tiles might tell them, with ties, each suppressed by itself."""
    chance, parts = np.random.default_rng(seed), [no_detections()]
    height, width = plan.grid.shape
    for index in range(tile_count(plan.grid, plan.core_px)):
        tile = tile_at(plan, index)
        count = int(chance.integers(0, 9))
        centres = chance.integers(
            (tile.core.left - 4, tile.core.top - 4), (tile.core.right + 4, tile.core.bottom + 4), (count, 2)
        )
        sides = chance.choice([2, 4, 10, 24, 60], (count, 2))
        boxes = np.hstack([centres - sides / 2, centres + sides / 2])
        low, high = (
            (max(0, tile.read.left), max(0, tile.read.top)),
            (min(width, tile.read.right), min(height, tile.read.bottom)),
        )
        boxes = np.hstack([np.clip(boxes[:, :2], low, high), np.clip(boxes[:, 2:], low, high)]).astype(np.float32)
        kept = owned(boxes, tile.core, 4) & (boxes[:, 2:] > boxes[:, :2]).all(1)
        boxes = boxes[kept]
        scores, classes = chance.integers(5, 9, len(boxes)) / 10, chance.integers(0, 2, len(boxes))
        turned = [shapely.affinity.rotate(shapely.box(*box), int(chance.integers(0, 2)) * 180 + 0.0) for box in boxes]
        outlines = np.array([*turned, None], object)[:-1] if is_outlined else None
        cuts = cut_sides(boxes, tile.read, plan.grid.shape)
        tiles = np.full(len(boxes), index, np.int32)
        found = Detections(boxes, scores.astype(np.float32), classes.astype(np.int32), tiles, cuts, outlines)
        parts.append(take(found, nms(boxes, scores, classes, 0.5)))
    return join(parts)


RULES = st.builds(
    SeamRule,
    threshold=st.sampled_from([0.0, 0.3, 0.5]),
    measure=st.sampled_from(["iou", "ios"]),
    margin_px=st.just(4),
    unites=st.booleans(),
)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), RULES, st.booleans(), st.integers(1, 6))
def test_shards_do_not_change_the_result(seed: int, rule: SeamRule, is_outlined: bool, shards: int) -> None:
    """Any split of the tiles into shards, settled in any order and in steps, gives the same bytes as all at once."""
    plan, chance = plan_of(4, core=32, halo=12), np.random.default_rng(seed + 1)
    told = candidates_by_chance(plan, seed, is_outlined)
    wanted = bytes_of(merge_tiles(told, plan, rule))
    assert bytes_of(merge_tiles(take(told, chance.permutation(len(told))), plan, rule)) == wanted
    shard_of = chance.integers(0, shards, 16)
    settled, left, tiles = [], [], []
    for shard in chance.permutation(shards).tolist():
        own = np.flatnonzero(shard_of == shard)
        rows = chance.permutation(np.flatnonzero(np.isin(told.tiles, own)))
        done, still_open = settle(take(told, rows), own, plan, rule)
        settled, left, tiles = [*settled, done], [*left, still_open], [*tiles, own]
    half = shards // 2
    done, still_open = settle(join(left[:half]), np.concatenate([np.zeros(0, int), *tiles[:half]]), plan, rule)
    merged = merge_tiles(join([still_open, *left[half:]]), plan, rule)
    assert bytes_of(ordered(join([merged, done, *settled]))) == wanted


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), RULES)
def test_what_goes_leaves_its_better(seed: int, rule: SeamRule) -> None:
    """Every candidate is there still or overlaps an object of its class; objects far from seams all stay."""
    plan = plan_of(4, core=32, halo=12)
    told = candidates_by_chance(plan, seed, is_outlined=False)
    found = merge_tiles(told, plan, rule)
    for box, label, tile in zip(told.boxes, told.class_ids, told.tiles, strict=True):
        same = found.boxes[found.class_ids == label]
        assert ((same[:, :2] < box[2:]) & (same[:, 2:] > box[:2])).all(1).any()
        core = tile_at(plan, int(tile)).core
        if (box[:2] >= (core.left + 7, core.top + 7)).all() and (box[2:] <= (core.right - 7, core.bottom - 7)).all():
            assert (same == box).all(1).any()


def test_only_seams_between_shards_stay_open() -> None:
    """Of a shard, what no other tile sees is settled; a shard of all tiles leaves nothing open."""
    plan = plan_of(6, core=64, halo=16)
    boxes, classes = truth_of(plan, (4, 20), 1, tries=2000)
    told = detect(plan, boxes, classes, 2)
    upper = np.arange(18)
    done, still_open = settle(take(told, np.isin(told.tiles, upper)), upper, plan, SeamRule())
    assert 0 < len(still_open) < len(done)
    assert (still_open.boxes[:, 3] > 3 * 64 - 16 - 30).all()
    assert len(settle(told, np.arange(36), plan, SeamRule())[1]) == 0


def test_the_order_of_rows_is_total() -> None:
    """Rows that differ in the score alone, or in the outline alone, come in one order too."""
    square, hole = shapely.box(0, 0, 4, 4), shapely.box(0, 0, 4, 4).difference(shapely.box(1, 1, 2, 2))
    boxes, alike = np.tile(np.array([0, 0, 4, 4], np.float32), (3, 1)), np.zeros(3, np.int32)
    scores, outlines = np.array([0.5, 0.6, 0.6], np.float32), np.array([square, square, hole], object)
    found = Detections(boxes, scores, alike, alike, alike.astype(np.uint8), outlines)
    for rows in permutations(range(3)):
        assert bytes_of(ordered(take(found, np.array(rows)))) == bytes_of(ordered(found))


def test_nothing_gives_nothing() -> None:
    """No candidates give no objects, of the types that objects have."""
    assert bytes_of(merge_tiles(no_detections(), plan_of(2), SeamRule())) == bytes_of(no_detections())


@pytest.mark.parametrize("words", [{"threshold": 1.5}, {"margin_px": -1}])
def test_rules_that_make_no_sense_are_refused(words) -> None:
    """A threshold is in [0, 1] and a margin not negative."""
    with pytest.raises(ValueError, match="expected a threshold"):
        SeamRule(**words)


def test_the_margin_is_the_detectors() -> None:
    """The simulation keeps what a run keeps."""
    assert MARGIN == MARGIN_PX
