"""Windows: growing, clipping and cutting agree with plain slicing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.window import Window, clip, grow, slices_within

edges = st.tuples(st.integers(-50, 50), st.integers(0, 60))
windows = st.builds(lambda v, h: Window(v[0], h[0], v[0] + v[1], h[0] + h[1]), edges, edges)


@given(windows, st.integers(0, 20))
def test_grow_and_shrink(window: Window, by_px: int) -> None:
    """Growing and then shrinking by as much gives the window back."""
    assert grow(grow(window, by_px), -by_px) == window
    assert grow(window, by_px).shape == (window.height + 2 * by_px, window.width + 2 * by_px)


@given(windows, st.integers(1, 30), st.integers(1, 30))
def test_clip_keeps_the_pixels_on_the_grid(window: Window, height: int, width: int) -> None:
    """A clipped window holds just those of the window's pixels that lie on the grid."""
    clipped = clip(window, height, width)
    pixels = {(row, col) for row in range(window.top, window.bottom) for col in range(window.left, window.right)}
    on_grid = {(row, col) for row, col in pixels if 0 <= row < height and 0 <= col < width}
    kept = {(row, col) for row in range(clipped.top, clipped.bottom) for col in range(clipped.left, clipped.right)}
    assert kept == on_grid
    assert clip(clipped, height, width) == clipped


@given(st.integers(1, 20), st.integers(1, 20), st.integers(-9, 9), st.integers(-9, 9), st.data())
def test_slices_within_cut_the_inner_window(height: int, width: int, top: int, left: int, data: st.DataObject) -> None:
    """The slices of a window cut just its pixels out of an array that holds a larger one."""
    outer = Window(top, left, top + height, left + width)
    rows = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
    cols = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
    inner = Window(top + rows[0], left + cols[0], top + rows[1], left + cols[1])
    positions = np.stack(np.mgrid[outer.top : outer.bottom, outer.left : outer.right])
    expected = np.stack(np.mgrid[inner.top : inner.bottom, inner.left : inner.right])
    np.testing.assert_array_equal(positions[:, *slices_within(inner, outer)], expected)


@pytest.mark.parametrize("inner", [Window(-1, 0, 1, 1), Window(0, -1, 1, 1), Window(0, 0, 5, 1), Window(0, 0, 1, 5)])
def test_slices_within_refuse_what_lies_outside(inner: Window) -> None:
    """A window that is not wholly inside another is refused instead of being cut short."""
    with pytest.raises(ValueError, match="does not lie inside"):
        slices_within(inner, Window(0, 0, 4, 4))


@pytest.mark.parametrize("edges", [(1, 0, 0, 1), (0, 1, 1, 0)])
def test_a_window_cannot_end_before_it_starts(edges: tuple[int, int, int, int]) -> None:
    """A window with its end before its start is refused; an empty one is a window."""
    with pytest.raises(ValueError, match="ends before it starts"):
        Window(*edges)
    assert Window(1, 1, 1, 1).shape == (0, 0)
