"""Connected parts of what is linked, as SciPy finds them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geodl_core.domain.detection.seam_graph import parts_of


def least_members(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the least member of each thing's part."""
    links = coo_array((np.ones(len(one)), (one, other)), shape=(count, count))
    _, numbers = connected_components(links, directed=False)
    return np.unique(numbers, return_index=True)[1][numbers]


@given(st.integers(1, 60), st.integers(0, 2**32), st.floats(0, 2))
def test_parts_are_those_of_scipy(count: int, seed: int, density: float) -> None:
    """Each thing is told by the least member of all that it is linked with, loops and double links or not."""
    one, other = np.random.default_rng(seed).integers(0, count, (2, int(density * count)))
    np.testing.assert_array_equal(parts_of(count, one, other), least_members(count, one, other))


@pytest.mark.parametrize("order", ["rising", "falling", "by chance"])
def test_long_chains(order: str) -> None:
    """A chain of a hundred thousand links is one part, whatever its members' numbers."""
    members = np.arange(100_000)
    members = {"rising": members, "falling": members[::-1], "by chance": np.random.default_rng(1).permutation(members)}[
        order
    ]
    assert (parts_of(len(members), members[:-1], members[1:]) == 0).all()
