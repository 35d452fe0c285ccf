"""Blending: weights of neighbouring tiles make one, and no tile that matters is left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.grid import Grid
from geodl_core.domain.pixels.blend import blend_weights, neighbours
from geodl_core.domain.plan.plan import Plan, pack_live, tile_at, tile_count, tile_shape
from geodl_core.domain.window import Window, grow, intersect


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan of up to a few tiles along each side, with any blending that fits."""
    core = (draw(st.integers(2, 24)), draw(st.integers(2, 24)))
    blend = draw(st.integers(1, min(core) // 2))
    height, width = (draw(st.integers(1, 4 * side)) for side in core)
    grid = Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), height, width)
    live = pack_live(np.ones(tile_shape(grid, core), np.bool_))
    halo = draw(st.integers(blend, blend + 40))
    return Plan("job", grid, core, halo, 1, blend, "reflect", (), "uint8", live)


def whole(plan: Plan) -> Window:
    return Window(0, 0, plan.grid.height, plan.grid.width)


def weights_in(plan: Plan, index: int, window: Window) -> np.ndarray:
    rows, cols = blend_weights(plan, tile_at(plan, index), window)
    assert (rows.dtype, cols.dtype) == (np.float32, np.float32)
    assert (rows.shape, cols.shape) == ((window.height,), (window.width,))
    return rows[:, None] * cols


@given(plans())
def test_weights_make_one(plan: Plan) -> None:
    """The weights of all tiles over a pixel sum to 1, unless it lies within the blending of the grid's border."""
    indices = range(tile_count(plan.grid, plan.core_px))
    total = sum(weights_in(plan, index, whole(plan)) for index in indices)
    rows, cols = tile_shape(plan.grid, plan.core_px)
    bottom, right = (
        min(side, count * core - plan.blend_px)
        for side, count, core in zip(plan.grid.shape, (rows, cols), plan.core_px, strict=True)
    )
    inside = total[plan.blend_px : bottom, plan.blend_px : right]
    np.testing.assert_allclose(inside, 1, atol=1e-6)
    assert (total > 0.249).all()
    assert (total < 1 + 1e-6).all()


@given(plans(), st.data())
def test_no_neighbour_is_left_out(plan: Plan, data: st.DataObject) -> None:
    """Every tile whose cell, grown by the blending, reaches a tile's core is among its neighbours, ascending."""
    count = tile_count(plan.grid, plan.core_px)
    index = data.draw(st.integers(0, count - 1))
    near = list(neighbours(plan, index))
    assert near == sorted(set(near))
    assert index in near
    assert len(near) <= 9
    _, cols = tile_shape(plan.grid, plan.core_px)
    height, width = plan.core_px
    core = tile_at(plan, index).core
    for other in range(count):
        row, col = divmod(other, cols)
        cell = Window(row * height, col * width, (row + 1) * height, (col + 1) * width)
        shared = intersect(grow(cell, plan.blend_px), core)
        if min(shared.shape) > 0:
            assert other in near
        if other not in near:
            assert not weights_in(plan, other, core).any()


@given(plans(), st.data())
def test_a_window_of_the_weights(plan: Plan, data: st.DataObject) -> None:
    """Weights in a window are those of the whole grid cut out, so that they do not depend on who asks."""
    index = data.draw(st.integers(0, tile_count(plan.grid, plan.core_px) - 1))
    rows = sorted(data.draw(st.lists(st.integers(0, plan.grid.height), min_size=2, max_size=2)))
    cols = sorted(data.draw(st.lists(st.integers(0, plan.grid.width), min_size=2, max_size=2)))
    window = Window(rows[0], cols[0], rows[1], cols[1])
    everywhere = weights_in(plan, index, whole(plan))
    np.testing.assert_array_equal(weights_in(plan, index, window), everywhere[slice(*rows), slice(*cols)])


@given(plans(), st.data())
def test_the_own_tile_weighs_most_in_its_core(plan: Plan, data: st.DataObject) -> None:
    """Nowhere in its core has a tile less weight than any of its neighbours."""
    index = data.draw(st.integers(0, tile_count(plan.grid, plan.core_px) - 1))
    core = tile_at(plan, index).core
    own = weights_in(plan, index, core)
    for other in neighbours(plan, index):
        assert (weights_in(plan, other, core) <= own + 1e-6).all()


@pytest.mark.parametrize("margin", [1, 2, 5])
def test_a_raised_cosine(margin: int) -> None:
    """Across a border the weights follow a raised cosine, half on either side of 1/2."""
    grid = Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), 10, 20)
    plan = Plan("job", grid, (10, 10), margin, 1, margin, "reflect", (), "uint8", b"\xc0")
    _, cols = blend_weights(plan, tile_at(plan, 0), Window(0, 10 - margin, 10, 10 + margin))
    t = (np.arange(-margin, margin) + 0.5) / margin
    np.testing.assert_allclose(cols, 0.5 - 0.5 * np.sin(0.5 * np.pi * t), atol=1e-6)
    np.testing.assert_allclose(cols + cols[::-1], 1, atol=1e-6)
