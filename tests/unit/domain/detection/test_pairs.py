"""Pairs that overlap are all found, each once, for boxes of any size, place and number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.domain.detection.pairs import count_of, extents_of, find_runs, pairs_of


def boxes_by_chance(seed: int, count: int, scale: float = 1.0, is_round: bool = False) -> np.ndarray:
    """Return boxes with sides from 1 to 1000 pixels, some of them without width."""
    chance = np.random.default_rng(seed)
    centres, sides = chance.uniform(-300, 300, (count, 2)), np.exp(chance.uniform(0, np.log(1000), (count, 2)))
    sides[chance.random(count) < 0.1, 0] = 0
    boxes = np.hstack([centres - sides / 2, centres + sides / 2])
    return (np.round(boxes) if is_round else boxes) * scale


def shared_area(a, b) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def found(extents, runs) -> dict[frozenset[int], float]:
    pairs = [(int(i), int(j), float(a)) for block in pairs_of(extents, runs) for i, j, a in zip(*block, strict=True)]
    areas = {frozenset((i, j)): area for i, j, area in pairs}
    assert len(areas) == len(pairs), "a pair was found twice"
    return areas


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 60),
    scale=st.sampled_from([1e-7, 0.003, 1.0, 1e6]),
    is_round=st.booleans(),
    groups=st.sampled_from([1, 3, 10**12]),
)
def test_all_pairs_are_found_once(seed: int, count: int, scale: float, is_round: bool, groups: int) -> None:
    """Among themselves and between two sets, exactly the pairs of a group that share area are found, with that area."""
    boxes = boxes_by_chance(seed, count, scale, is_round)
    chance = np.random.default_rng(seed + 1)
    labels, half = chance.integers(0, 3, count) * (groups // 3), chance.random(count) < 0.5
    extents = extents_of(boxes, labels)
    wanted = {
        frozenset((i, j)): area
        for i in range(count)
        for j in range(i)
        if labels[i] == labels[j] and (area := shared_area(boxes[i], boxes[j])) > 0
    }
    rows = np.arange(count)
    assert found(extents, find_runs(extents, rows)) == wanted
    across = {pair: area for pair, area in wanted.items() if half[list(pair)].sum() == 1}
    assert found(extents, find_runs(extents, rows[half], rows[~half])) == across


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_sizes_too_different_for_an_iou_are_left_out(ratio: float) -> None:
    """With a least ratio every pair whose IoU is above it is found, and fewer are looked at."""
    boxes = boxes_by_chance(7, 400)
    extents, rows = extents_of(boxes, np.zeros(400, int)), np.arange(400)
    every, fewer = (find_runs(extents, rows, ratio=least) for least in (0, ratio))
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = found(extents, fewer)
    for (i, j), area in ((tuple(pair), area) for pair, area in found(extents, every).items()):
        assert (area / (areas[i] + areas[j] - area) <= ratio) or frozenset((i, j)) in kept
    assert count_of(fewer) < count_of(every)


def test_boxes_far_apart_are_not_looked_at() -> None:
    """What is looked at follows the boxes: 100,000 that lie apart, of sizes from 4 to 4000, ask for few pairs."""
    chance = np.random.default_rng(1)
    sides = np.exp(chance.uniform(np.log(4), np.log(4000), 100_000))
    corners = chance.uniform(0, 400_000, (100_000, 2))
    extents = extents_of(np.hstack([corners, corners + sides[:, None]]), np.zeros(100_000, int))
    assert count_of(find_runs(extents, np.arange(100_000))) < 40 * 100_000


@pytest.mark.parametrize("strange", [np.nan, np.inf])
def test_only_finite_boxes_are_paired(strange: float) -> None:
    """A coordinate that is no finite number is refused."""
    with pytest.raises(ValueError, match="expected finite numbers"):
        extents_of([[0, 0, strange, 1]], [0])
