"""Cells: the pieces in which a raster is decoded, whole blocks of its file; and the panels that keep them few."""

from dataclasses import dataclass

from geodl_core.domain.window import Window

CELL_PX = 512
"""Side of a cell at least: smaller blocks are decoded several at a time."""
STRIP_CELL_ROWS = 64
"""Rows of a cell of a file stored in strips, which can only be decoded in full width."""


@dataclass(frozen=True, slots=True)
class Cells:
    """A raster cut into cells of whole blocks."""

    height: int
    width: int
    """Of the raster, in its own pixels."""
    cell_px: tuple[int, int]
    """Height and width of a cell; those at the lower and right border may be smaller."""


def cut_cells(shape: tuple[int, int], block_px: tuple[int, int]) -> Cells:
    """Cut a raster of that height and width, stored in blocks of that height and width."""
    height, width = shape
    is_in_strips = block_px[1] >= width > 2 * CELL_PX
    least = (STRIP_CELL_ROWS if is_in_strips else CELL_PX, CELL_PX)
    cell_height, cell_width = (
        side * max(1, wanted // side) for side, wanted in zip(map(max, block_px, (1, 1)), least, strict=True)
    )
    return Cells(height, width, (min(cell_height, height), min(cell_width, width)))


def cells_touching(cells: Cells, window: Window) -> list[tuple[int, int]]:
    """Return (row, column) of the cells in which a window's pixels lie, row by row."""
    height, width = cells.cell_px
    return [
        (row, col)
        for row in range(window.top // height, -(-window.bottom // height))
        for col in range(window.left // width, -(-window.right // width))
    ]


def cell_window(cells: Cells, row: int, col: int) -> Window:
    """Return a cell's pixels."""
    height, width = cells.cell_px
    top, left = row * height, col * width
    return Window(top, left, min(top + height, cells.height), min(left + width, cells.width))


def panel_width_px(read_height_px: int, bytes_per_px: int, budget_bytes: int) -> int:
    """Return how wide a panel of tiles may be so that the cells which its next row needs again fit a budget.

    Going through a panel's tiles row by row, what was decoded for one row and reaches into the next is kept: at
    most the rows of one read window, and a cell above and below.
    """
    rows = read_height_px + 2 * CELL_PX
    return max(1, budget_bytes // (rows * bytes_per_px))
