"""Cells held for their use: each loaded once, ahead of need, within a budget, in as many threads as ask."""

import threading
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.errors import DataError
from geodl_core.io.scene.cells import Cell, CellKey, CellStore, Supply, cut

SIZE = 10
"""Bytes of a cell."""


class Source:
    """Cells that hold their own number, and a record of what was loaded."""

    def __init__(self, failing: Sequence[CellKey] = ()) -> None:
        self.loads: list[CellKey] = []
        self.failing = set(failing)
        self.lock = threading.Lock()
        self.gate = threading.Event()
        self.gate.set()

    def load(self, key: CellKey) -> Cell:
        assert self.gate.wait(20)
        with self.lock:
            self.loads.append(key)
            if key in self.failing:
                raise DataError(f"cell {key.row}, {key.col}")
        return Cell(np.array([[[key.row * 1000 + key.col]]]), None)


def needed(window: Hashable) -> list[CellKey]:
    """A window (row, col, height, width) needs the cells that it covers."""
    row, col, height, width = window  # type: ignore[misc]
    return [CellKey(0, r, c) for r in range(row, row + height) for c in range(col, col + width)]


def store_of(source: Source, pool: ThreadPoolExecutor, budget: int = 1 << 30, ahead: int = 2) -> CellStore:
    return CellStore(Supply(source.load, lambda _: SIZE, pool), needed, budget, ahead)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as threads:
        yield threads


def check(window: Hashable, found: list[tuple[CellKey, Cell]]) -> None:
    assert [key for key, _ in found] == needed(window)
    assert all(cell.values.item() == key.row * 1000 + key.col for key, cell in found)


def held(store: CellStore) -> int:
    return len(store._held)


TILES = [(row, col, 2, 2) for row in range(6) for col in range(5)]
"""Windows that overlap as tiles with a halo do; 7 × 6 cells."""


def test_each_cell_is_loaded_once(pool: ThreadPoolExecutor) -> None:
    """With budget enough every announced cell is loaded once, and nothing is held at the end."""
    source = Source()
    store = store_of(source, pool)
    store.announce(TILES)
    for window in TILES:
        check(window, store.take(window))
    assert len(source.loads) == len(set(source.loads)) == store.loaded == 42
    assert (held(store), store._bytes, len(store._pins), len(store._uses)) == (0, 0, 0, 0)


def test_a_row_is_enough(pool: ThreadPoolExecutor) -> None:
    """The budget of the rows that a row of windows shares with the next suffices to load each cell once."""
    source = Source()
    budget = (2 * 6 + 4) * SIZE
    store = store_of(source, pool, budget, ahead=1)
    store.announce(TILES)
    for window in TILES:
        check(window, store.take(window))
    assert store.loaded == 42
    assert store.most_bytes <= budget


@pytest.mark.parametrize(
    ("budget", "ahead", "expected"), [(0, 2, 4), (8, 0, 8), (7, 3, 6), (5, 1, 4), (0, 0, 0), (1000, 0, 40)]
)
def test_what_is_ahead_is_loaded_meanwhile(pool: ThreadPoolExecutor, budget: int, ahead: int, expected: int) -> None:
    """Announced windows are loaded before they are taken, as many as the budget allows, no fewer than told."""
    store = store_of(Source(), pool, budget * SIZE, ahead)
    store.announce([(0, col, 1, 2) for col in range(0, 40, 2)])
    assert store.loaded == expected


def test_dropped_at_the_last_use(pool: ThreadPoolExecutor) -> None:
    """A cell is held until the last announced window that needs it, and no longer."""
    store = store_of(Source(), pool)
    windows = [(0, 0, 1, 1), (0, 0, 1, 2), (0, 1, 1, 1), (0, 9, 1, 1)]
    store.announce(windows)
    for window, remaining in zip(windows, (3, 2, 1, 0), strict=True):
        store.take(window)
        assert held(store) == remaining


@settings(deadline=None, max_examples=60)
@given(st.permutations(range(len(TILES))), st.integers(0, 50), st.integers(0, 4), st.integers(1, 4))
def test_any_order_any_budget_any_threads(order: list[int], budget: int, ahead: int, threads: int) -> None:
    """Windows taken out of order, by several threads, in any budget, give their cells, and nothing is held at the end.

    What is held never exceeds the budget by more than the windows ahead and those at hand.
    """
    source = Source()
    with ThreadPoolExecutor(3) as loaders, ThreadPoolExecutor(threads) as takers:
        store = store_of(source, loaders, budget * SIZE, ahead)
        store.announce(TILES)
        windows = [TILES[number] for number in order]
        for window, found in zip(windows, takers.map(store.take, windows), strict=True):
            check(window, found)
    assert (held(store), store._bytes, len(store._pins), len(store._uses)) == (0, 0, 0, 0)
    assert store.loaded == len(source.loads)
    assert store.most_bytes <= budget * SIZE + 4 * SIZE * (ahead + threads)
    if budget >= 42:
        assert store.loaded == 42


def test_a_load_is_shared(pool: ThreadPoolExecutor) -> None:
    """Threads that want a cell while it is loaded wait for the one load."""
    source = Source()
    source.gate.clear()
    store = store_of(source, pool)
    store.announce([(0, 0, 1, 1), (0, 0, 1, 2), (0, 0, 2, 2)])
    with ThreadPoolExecutor(3) as takers:
        found = [takers.submit(store.take, window) for window in ((0, 0, 1, 1), (0, 0, 1, 2), (0, 0, 2, 2))]
        source.gate.set()
        for future, window in zip(found, ((0, 0, 1, 1), (0, 0, 1, 2), (0, 0, 2, 2)), strict=True):
            check(window, future.result(20))
    assert sorted(source.loads) == needed((0, 0, 2, 2))


@pytest.mark.parametrize("is_announced", [True, False])
def test_loads_that_fail(pool: ThreadPoolExecutor, is_announced: bool) -> None:
    """A failing load raises where its cell is taken, is tried again by the next take, and spoils no other window."""
    bad = CellKey(0, 1, 1)
    source = Source([bad])
    store = store_of(source, pool)
    windows = [(0, 0, 2, 2), (1, 1, 2, 2), (3, 3, 2, 2)]
    if is_announced:
        store.announce(windows)
    for window in windows[:2]:
        with pytest.raises(DataError, match="cell 1, 1"):
            store.take(window)
    check(windows[2], store.take(windows[2]))
    source.failing.clear()
    check(windows[0], store.take(windows[0]))
    check(windows[1], store.take(windows[1]))
    assert source.loads.count(bad) >= 2
    if is_announced:
        assert (held(store), store._bytes, len(store._pins)) == (0, 0, 0)


def test_a_failed_load_ahead_is_tried_once_more(pool: ThreadPoolExecutor) -> None:
    """A cell that failed for one window is loaded anew for the next that was announced with it."""
    bad = CellKey(0, 0, 0)
    source = Source([bad])
    store = store_of(source, pool)
    store.announce([(0, 0, 1, 1), (0, 0, 1, 2)])
    with pytest.raises(DataError):
        store.take((0, 0, 1, 1))
    source.failing.clear()
    check((0, 0, 1, 2), store.take((0, 0, 1, 2)))
    assert source.loads.count(bad) == 2
    assert held(store) == 0


def test_without_announcement(pool: ThreadPoolExecutor) -> None:
    """What nobody announced is kept within the budget, used longest ago dropped first."""
    source = Source()
    store = store_of(source, pool, 3 * SIZE)
    a, b, c, d = ((0, col, 1, 1) for col in range(4))
    for window in (a, b, c, a, d):
        check(window, store.take(window))
    assert [key.col for key in store._held] == [2, 0, 3]
    store.take(a)
    store.take(c)
    assert store.loaded == 4
    store.take(b)
    assert store.loaded == 5
    assert store._bytes == 3 * SIZE


def test_a_window_larger_than_the_budget(pool: ThreadPoolExecutor) -> None:
    """A window that exceeds the budget alone is given all the same, and then let go."""
    store = store_of(Source(), pool, 2 * SIZE)
    check((0, 0, 4, 4), store.take((0, 0, 4, 4)))
    assert store._bytes <= 2 * SIZE
    assert store.most_bytes == 16 * SIZE


def test_what_was_not_announced_is_let_go(pool: ThreadPoolExecutor) -> None:
    """Once windows were announced, a window that was not leaves nothing behind."""
    source = Source()
    store = store_of(source, pool)
    store.announce([(0, 0, 1, 2), (0, 2, 1, 2)])
    check((5, 5, 1, 1), store.take((5, 5, 1, 1)))
    for window in ((0, 0, 1, 2), (0, 2, 1, 2)):
        check(window, store.take(window))
    assert held(store) == 0
    assert store.loaded == 5


def test_announcing_anew(pool: ThreadPoolExecutor) -> None:
    """A second announcement takes the place of the first: what was held is used, and what it does not need let go."""
    source = Source()
    store = store_of(source, pool, 4 * SIZE, ahead=1)
    store.announce([(0, 0, 1, 2), (0, 2, 1, 2)])
    second = [(0, 2, 1, 2), (7, 0, 1, 2)]
    store.announce(second)
    for window in second:
        check(window, store.take(window))
    assert source.loads.count(CellKey(0, 0, 2)) == 1
    assert held(store) == 0


def test_reading_before_announcing(pool: ThreadPoolExecutor) -> None:
    """What was read before the announcement is used by it, and let go where it needs it no more."""
    source = Source()
    store = store_of(source, pool)
    check((0, 0, 1, 1), store.take((0, 0, 1, 1)))
    check((9, 9, 1, 1), store.take((9, 9, 1, 1)))
    store.announce([(0, 0, 1, 2)])
    check((0, 0, 1, 2), store.take((0, 0, 1, 2)))
    assert store.loaded == 3
    assert held(store) == 0


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(1, 12), st.data())
def test_cutting(height: int, width: int, rows: int, cols: int, data: st.DataObject) -> None:
    """Arrays that lie across a target's borders put there what lies within."""
    target = np.full((2, rows, cols), -1)
    places = [(data.draw(st.integers(-9, 12)), data.draw(st.integers(-9, 12))) for _ in range(3)]
    numbers = count(1)
    cells = [(place, np.full((2, height, width), next(numbers))) for place in places]
    wide = np.full((2, 60, 60), -1)
    for (top, left), values in cells:
        wide[:, 20 + top : 20 + top + height, 20 + left : 20 + left + width] = values
    inside = [cell for cell in cells if -height < cell[0][0] < rows and -width < cell[0][1] < cols]
    cut(inside, target)
    np.testing.assert_array_equal(target, wide[:, 20 : 20 + rows, 20 : 20 + cols])


def test_equal_windows_are_taken_as_often_as_told(pool: ThreadPoolExecutor) -> None:
    """Windows that are told more than once are held for each time, in any order of taking, and then let go."""
    source = Source()
    store = store_of(source, pool)
    windows = [(0, 0, 1, 2), (0, 1, 1, 2), (0, 0, 1, 2), (0, 0, 1, 2), (0, 1, 1, 2)]
    store.announce(windows)
    for window in reversed(windows):
        check(window, store.take(window))
    assert sorted(source.loads) == needed((0, 0, 1, 3))
    assert held(store) == 0
