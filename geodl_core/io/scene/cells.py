"""Decoded cells of rasters: each decoded once, ahead of need, within a budget of bytes."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from geodl_core.domain.pixels.chip import Mask

Key = TypeVar("Key", bound=Hashable)


class CellKey(NamedTuple):
    """Which cell of which of a scene's files."""

    file: int
    row: int
    col: int


@dataclass(frozen=True, slots=True)
class Cell:
    """Decoded pixels."""

    values: npt.NDArray[Any]
    """(bands, h, w) as stored."""
    valid: Mask | None
    """(h, w), valid in all bands; None where every pixel is."""


@dataclass(frozen=True, slots=True)
class Supply:
    """Where cells come from."""

    load: Callable[[CellKey], Cell]
    size_bytes: Callable[[CellKey], int]
    pool: Executor
    """Loads them."""


class CellStore:
    """Holds cells from their first need to their last.

    Windows that were announced are loaded ahead, as many as the budget allows and no fewer than `least_ahead`; what
    no announced window needs any more is dropped at once, and over the budget what was used longest ago. Several
    threads may `take` at once.

    Args:
        supply: where cells come from.
        needed: the cells of a window.
        budget_bytes: of all cells held.
        least_ahead: windows loaded ahead whatever the budget, so that reading never waits for its turn.
    """

    def __init__(
        self, supply: Supply, needed: Callable[[Any], Sequence[CellKey]], budget_bytes: int, least_ahead: int
    ) -> None:
        self._supply, self._needed = supply, needed
        self._budget, self._least_ahead = budget_bytes, least_ahead
        self._lock = Lock()
        self._held: OrderedDict[CellKey, Future[Cell]] = OrderedDict()
        self._bytes = 0
        self._uses: Counter[CellKey] = Counter()
        self._pins: Counter[CellKey] = Counter()
        self._announced: Iterator[Hashable] = iter(())
        self._next: Hashable | None = None
        self._ahead: Counter[Hashable] = Counter()
        self._early: Counter[Hashable] = Counter()
        self._is_told = False
        self.most_bytes = 0
        """Held at a time, so far."""
        self.loaded = 0
        """Cells, those loaded again among them."""

    def announce(self, windows: Sequence[Hashable]) -> None:
        """Tell which windows will be taken, each as often as told and about in this order, in place of those before."""
        with self._lock:
            self._is_told = True
            self._uses = Counter(key for window in windows for key in self._needed(window))
            self._announced = iter(windows)
            self._next = next(self._announced, None)
            self._ahead.clear()
            self._early.clear()
            self._pins.clear()
            for key in [key for key in self._held if key not in self._uses]:
                self._drop(key)
            self._look_ahead()

    def take(self, window: Hashable) -> list[tuple[CellKey, Cell]]:
        """Return the cells of a window, waiting for those that are not loaded yet.

        Raises:
            GeodlError: as loading does.
        """
        keys = self._needed(window)
        with self._lock:
            futures = [self._want(key) for key in keys]
            if window in self._ahead:
                _less(self._ahead, window)
            else:
                if self._next is not None:
                    self._early[window] += 1
                self._pins.update(keys)
            self._look_ahead()
        try:
            return [(key, future.result()) for key, future in zip(keys, futures, strict=True)]
        finally:
            with self._lock:
                self._release(keys)

    def _want(self, key: CellKey) -> "Future[Cell]":
        future = self._held.get(key)
        if future is None:
            future = self._held[key] = self._supply.pool.submit(self._supply.load, key)
            self._bytes += self._supply.size_bytes(key)
            self.most_bytes = max(self.most_bytes, self._bytes)
            self.loaded += 1
        self._held.move_to_end(key)
        return future

    def _look_ahead(self) -> None:
        while self._next is not None:
            window = self._next
            if window in self._early:
                _less(self._early, window)
            else:
                keys = self._needed(window)
                more = sum(self._supply.size_bytes(key) for key in keys if key not in self._held)
                if self._bytes + more > self._budget and len(self._ahead) >= self._least_ahead:
                    return
                for key in keys:
                    self._want(key)
                self._pins.update(keys)
                self._ahead[window] += 1
            self._next = next(self._announced, None)

    def _release(self, keys: Iterable[CellKey]) -> None:
        for key in keys:
            _less(self._pins, key)
            _less(self._uses, key)
            future = self._held.get(key)
            is_failed = future is not None and future.done() and future.exception() is not None
            # Where nothing was announced a cell may be wanted again, as when neighbours are blended.
            is_done_with = self._is_told and key not in self._uses and key not in self._pins
            if is_failed or is_done_with:
                self._drop(key)
        if self._bytes > self._budget:
            for key in [key for key in self._held if key not in self._pins]:
                if self._bytes <= self._budget:
                    break
                self._drop(key)

    def _drop(self, key: CellKey) -> None:
        if self._held.pop(key, None) is not None:
            self._bytes -= self._supply.size_bytes(key)


def _less(counter: Counter[Key], key: Key) -> None:
    if counter[key] <= 1:
        del counter[key]
    else:
        counter[key] -= 1


def cut(cells: Iterable[tuple[tuple[int, int], npt.NDArray[Any]]], target: npt.NDArray[Any]) -> None:
    """Copy arrays to their places in a target that they may overlap.

    Args:
        cells: ((top, left) within the target, negative where they begin before it, and (…, h, w) values).
        target: (…, H, W), changed in place.
    """
    height, width = target.shape[-2:]
    for (top, left), values in cells:
        rows, cols = values.shape[-2:]
        first_row, first_col = max(-top, 0), max(-left, 0)
        last_row, last_col = min(height - top, rows), min(width - left, cols)
        place = np.s_[..., top + first_row : top + last_row, left + first_col : left + last_col]
        target[place] = values[..., first_row:last_row, first_col:last_col]
