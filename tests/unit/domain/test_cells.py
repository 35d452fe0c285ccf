"""Cells: whole blocks that partition a raster, and those that a window touches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.plan.cells import (
    CELL_PX,
    STRIP_CELL_ROWS,
    Cells,
    cell_window,
    cells_touching,
    cut_cells,
    panel_width_px,
)
from geodl_core.domain.window import Window, intersect

sides = st.integers(1, 4000)
blocks = st.sampled_from([1, 16, 32, 100, 128, 256, 333, 512, 1024, 2048, 5000])


def count_of(cells: Cells) -> tuple[int, int]:
    return -(-cells.height // cells.cell_px[0]), -(-cells.width // cells.cell_px[1])


@given(sides, sides, blocks, blocks)
def test_cells_partition_the_raster(height: int, width: int, rows: int, cols: int) -> None:
    """Every pixel lies in one cell, no cell reaches outside, and none cuts a block of the file."""
    cells = cut_cells((height, width), (rows, cols))
    rows_of, cols_of = count_of(cells)
    windows = [[cell_window(cells, row, col) for col in range(cols_of)] for row in range(rows_of)]
    tops = [line[0].top for line in windows] + [windows[-1][0].bottom]
    lefts = [window.left for window in windows[0]] + [windows[0][-1].right]
    assert (tops[0], tops[-1], lefts[0], lefts[-1]) == (0, height, 0, width)
    for row, line in enumerate(windows):
        for col, window in enumerate(line):
            assert window == Window(tops[row], lefts[col], tops[row + 1], lefts[col + 1])
            assert window.height > 0
            assert window.width > 0
    assert all(top % rows == 0 for top in tops[:-1])
    assert all(left % cols == 0 for left in lefts[:-1])


@given(sides, sides, blocks, blocks, st.data())
def test_cells_that_a_window_touches(height: int, width: int, rows: int, cols: int, data: st.DataObject) -> None:
    """They are those that share a pixel with it, each once, row by row."""
    cells = cut_cells((height, width), (rows, cols))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(top, left, data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width)))
    every = list(np.ndindex(count_of(cells)))
    shared = [intersect(cell_window(cells, *at), window) for at in every]
    expected = [at for at, part in zip(every, shared, strict=True) if part.height and part.width]
    assert cells_touching(cells, window) == expected


@pytest.mark.parametrize(
    ("shape", "block", "cell"),
    [
        ((4000, 4000), (256, 256), (512, 512)),
        ((4000, 4000), (512, 512), (512, 512)),
        ((4000, 4000), (1024, 1024), (1024, 1024)),
        ((4000, 4000), (200, 300), (400, 300)),
        ((4000, 4000), (1, 4000), (STRIP_CELL_ROWS, 4000)),
        ((4000, 4000), (24, 4000), (48, 4000)),
        ((4000, 4000), (128, 4000), (128, 4000)),
        ((4000, 1000), (1, 1000), (CELL_PX, 1000)),
        ((300, 200), (512, 512), (300, 200)),
        ((10, 3000), (1, 3000), (10, 3000)),
    ],
)
def test_how_large_cells_are(shape: tuple[int, int], block: tuple[int, int], cell: tuple[int, int]) -> None:
    """About 512 pixels a side in whole blocks; few rows where a file is in strips of its full width."""
    assert cut_cells(shape, block).cell_px == cell


@given(st.integers(1, 5000), st.integers(1, 40), st.integers(0, 1 << 32))
def test_panels_fit_their_budget(rows: int, each: int, budget: int) -> None:
    """The rows of a read window with a cell above and below fit, as wide as may be, and a panel is never empty."""
    width = panel_width_px(rows, each, budget)
    taken = (rows + 2 * CELL_PX) * each
    assert width == 1 or width * taken <= budget
    assert width >= 1
    assert (width + 1) * taken > budget
