"""Integer pixel rectangles on a grid."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels, end-exclusive; it may reach outside its grid (a read window at an edge does).

    Raises:
        ValueError: the end lies before the start.
    """

    top: int
    left: int
    bottom: int
    right: int

    def __post_init__(self) -> None:
        if self.bottom < self.top or self.right < self.left:
            raise ValueError(f"a window that ends before it starts: {self}")

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width


def grow(window: Window, by_px: int) -> Window:
    """Return the window with `by_px` more pixels on each of its four sides."""
    return Window(window.top - by_px, window.left - by_px, window.bottom + by_px, window.right + by_px)


def clip(window: Window, height: int, width: int) -> Window:
    """Return the part of the window that lies on a grid of that height and width (empty where none does)."""
    top, left = min(max(window.top, 0), height), min(max(window.left, 0), width)
    return Window(top, left, max(top, min(window.bottom, height)), max(left, min(window.right, width)))


def intersect(a: Window, b: Window) -> Window:
    """Return the pixels that lie in both windows (empty where none do)."""
    top, left = max(a.top, b.top), max(a.left, b.left)
    return Window(top, left, max(top, min(a.bottom, b.bottom)), max(left, min(a.right, b.right)))


def slices_within(inner: Window, outer: Window) -> tuple[slice, slice]:
    """Return the (row, col) slices that cut `inner` out of an array holding `outer`.

    Raises:
        ValueError: `inner` does not lie inside `outer`.
    """
    top, left = inner.top - outer.top, inner.left - outer.left
    if top < 0 or left < 0 or inner.bottom > outer.bottom or inner.right > outer.right:
        raise ValueError(f"{inner} does not lie inside {outer}")
    return slice(top, top + inner.height), slice(left, left + inner.width)
