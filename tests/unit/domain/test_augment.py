"""Test-time augmentation: what was turned is turned back, and scores are merged pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from geodl_core.domain.pixels.augment import (
    AS_IT_IS,
    DIHEDRAL,
    FLIPS,
    MERGE_POLICIES,
    Turn,
    merge_scores,
    turn,
    turn_back,
)

pixels = arrays.arrays(np.uint16, arrays.array_shapes(min_dims=2, max_dims=4, max_side=5))
scores = st.lists(
    arrays.arrays(np.float32, (2, 3), elements=st.floats(0, 1, width=32)),
    min_size=1,
    max_size=8,
)


@given(pixels, st.sampled_from(DIHEDRAL))
def test_turning_back_inverts_turning(values: np.ndarray, way: Turn) -> None:
    """A chip that is turned and turned back is as it was, whatever its shape."""
    turned = turn(values, way)
    assert turned.flags.c_contiguous
    assert turned.shape[-2:] == (values.shape[-2:] if way.quarters % 2 == 0 else values.shape[:-3:-1])
    np.testing.assert_array_equal(turn_back(turned, way), values)


def test_the_ways_to_look() -> None:
    """There are eight, all unlike, the chip as it lies first; flips keep height and width."""
    chip = np.arange(6).reshape(1, 2, 3)
    assert len({(turn(chip, way).shape, turn(chip, way).tobytes()) for way in DIHEDRAL}) == 8
    assert len({turn(chip, way).tobytes() for way in FLIPS}) == 4
    assert {turn(chip, way).shape for way in FLIPS} == {(1, 2, 3)}
    assert set(FLIPS) <= set(DIHEDRAL)
    for ways in (AS_IT_IS, FLIPS, DIHEDRAL):
        np.testing.assert_array_equal(turn(chip, ways[0]), chip)


def test_a_way_to_look() -> None:
    """Quarter turns are counter-clockwise and come before mirroring."""
    assert turn(np.array([[1, 2], [3, 4]]), Turn(1, False)).tolist() == [[2, 4], [1, 3]]
    assert turn(np.array([[1, 2], [3, 4]]), Turn(1, True)).tolist() == [[4, 2], [3, 1]]


@given(scores, st.sampled_from(MERGE_POLICIES))
def test_merging_against_numpy(every: list[np.ndarray], policy: str) -> None:
    """Mean, largest or smallest of each pixel, in float32; what was given stays as it is."""
    before = [array.copy() for array in every]
    merged = merge_scores(iter(every), policy)  # type: ignore[arg-type]
    assert merged.dtype == np.float32
    expected = getattr(np, policy)(np.stack(every).astype(np.float64), axis=0)
    np.testing.assert_allclose(merged, expected, rtol=1e-6)
    for array, kept in zip(every, before, strict=True):
        np.testing.assert_array_equal(array, kept)


@given(scores)
def test_scores_are_taken_in_order(every: list[np.ndarray]) -> None:
    """The mean is the sum from the first to the last, to the last bit, so that it is the same in every run."""
    total = np.zeros((2, 3), np.float32)
    for array in every:
        total = total + array
    np.testing.assert_array_equal(merge_scores(every, "mean"), total / np.float32(len(every)))


@given(st.permutations(range(8)), st.sampled_from(["max", "min"]))
def test_largest_and_smallest_know_no_order(order: list[int], policy: str) -> None:
    """The largest and smallest score is the same in any order."""
    every = np.random.default_rng(0).random((8, 3, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(merge_scores(every[order], policy), merge_scores(every, policy))  # type: ignore[arg-type]


def test_an_even_handed_network() -> None:
    """A network that is the same for all turns gives what it gives without them."""
    chip = np.random.default_rng(1).random((2, 6, 6)).astype(np.float32)
    looks = (turn_back(np.sqrt(turn(chip, way)), way) for way in DIHEDRAL)
    np.testing.assert_array_equal(merge_scores(looks, "max"), np.sqrt(chip))


def test_nothing_to_merge() -> None:
    """Without scores there is nothing to merge."""
    with pytest.raises(ValueError, match="expected scores"):
        merge_scores([], "mean")
