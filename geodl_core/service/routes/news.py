"""What happens to runs, read from the ledger once for all who listen."""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from geodl_core.domain.run.state import ACTIVE
from geodl_core.errors import UnavailableError
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.runs import Event, history
from geodl_core.service.ledger.tables import HISTORY, RUNS

LOG = logging.getLogger("geodl.events")
LOOK_S = 0.5
"""Between two looks into the ledger, while anybody listens."""
TROUBLE_S = 5.0
"""After the ledger did not answer."""
PAGE = 1_000
KEPT = 5_000
"""Lines of history that are kept for those who listen; who is further behind reads them from the ledger."""
MOST_ACTIVE = 500
"""Runs whose progress is told at a time: those that were heard of last."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    tiles_done: int
    tiles: int


class News:
    """The latest of all runs. One task looks into the ledger while anybody listens, however many that are.

    Args:
        ledger: is asked in a thread.
        look_s: between two looks.
    """

    def __init__(self, ledger: Ledger, look_s: float = LOOK_S) -> None:
        self._ledger = ledger
        self._look_s = look_s
        self._recent: deque[Event] = deque(maxlen=KEPT)
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._listeners = 0
        self._since: int | None = None
        """Behind which all lines are kept; None: not known yet."""
        self.seq = 0
        """Of the last line of history that was seen."""
        self.progress: dict[str, Progress] = {}
        """Of the runs under way."""
        self.looks = 0
        """Into the ledger, so far."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Count somebody who listens, for as long as the block lasts."""
        self._listeners += 1
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._look_on())
        try:
            yield
        finally:
            self._listeners -= 1

    def changed(self) -> Callable[[float], Awaitable[bool]]:
        """Return what waits for news that come from now on, so many seconds; it tells whether there are any."""
        coming = self._changed

        async def wait(seconds: float) -> bool:
            try:
                await asyncio.wait_for(coming.wait(), seconds)
            except TimeoutError:
                return False
            return True

        return wait

    async def lines(self, after: int, run_id: str | None) -> tuple[list[Event], int]:
        """Return the next lines of history behind a `seq`, of a run or of all, and how far has been looked."""
        # Of all runs numbers grow in the order in which lines become visible.
        upto = max(after, self.seq)
        if self._since is not None and after >= self._since:
            fresh = itertools.takewhile(lambda event: event.seq > after, reversed(self._recent))
            return [event for event in fresh if run_id in (None, event.run_id)][::-1], upto
        events = await asyncio.to_thread(history, self._ledger, run_id, after, PAGE)
        return events, events[-1].seq if events else upto

    async def _look_on(self) -> None:
        self._since = None
        self._recent.clear()
        self.seq = self._since = await self._patiently(lambda: last_seq(self._ledger))
        self._wake()
        while self._listeners:
            events, progress = await self._patiently(self._look)
            self.looks += 1
            is_new = bool(events) or progress != self.progress
            self._recent.extend(events)
            if len(self._recent) == KEPT:
                self._since = self._recent[0].seq - 1
            self.seq, self.progress = events[-1].seq if events else self.seq, progress
            if is_new:
                self._wake()
            await asyncio.sleep(self._look_s)
        self._since = None

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _look(self) -> tuple[list[Event], dict[str, Progress]]:
        return history(self._ledger, None, self.seq, PAGE), progress_of_all(self._ledger)

    async def _patiently(self, look: Callable[[], Any]) -> Any:
        while True:
            try:
                return await asyncio.to_thread(look)
            except UnavailableError as error:
                LOG.warning(error.message)
                await asyncio.sleep(TROUBLE_S)


class NewsRooms:
    """The news of each event loop: a server has one, tests have many.

    Args:
        ledger: whose runs.
        look_s: between two looks.
    """

    def __init__(self, ledger: Ledger, look_s: float = LOOK_S) -> None:
        self._ledger, self._look_s = ledger, look_s
        self._rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, News] = WeakKeyDictionary()

    def here(self) -> News:
        """Return the news of the loop that runs."""
        loop = asyncio.get_running_loop()
        if loop not in self._rooms:
            self._rooms[loop] = News(self._ledger, self._look_s)
        return self._rooms[loop]


def last_seq(ledger: Ledger) -> int:
    """Return the number of the last line of history, 0 where there is none."""
    with ledger.reading() as connection:
        return int(connection.execute(sa.select(sa.func.max(HISTORY.c.seq))).scalar() or 0)


def progress_of_all(ledger: Ledger) -> dict[str, Progress]:
    """Return how far the runs under way are, by their ids."""
    query = (
        sa.select(RUNS.c.id, RUNS.c.tiles_done, RUNS.c.tiles)
        .where(RUNS.c.state.in_(ACTIVE), RUNS.c.tiles > 0)
        .order_by(RUNS.c.updated.desc())
        .limit(MOST_ACTIVE)
    )
    with ledger.reading() as connection:
        return {row.id: Progress(row.tiles_done, row.tiles) for row in connection.execute(query)}
