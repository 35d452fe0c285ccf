"""The heartbeat of a worker: keeps its lease while it works, tells how far it is, and notices when the work is gone."""

import logging
import threading
import time
from types import TracebackType
from typing import Self

from geodl_core.errors import GeodlError, UnavailableError
from geodl_core.service.ledger.leases import Work
from geodl_core.service.ledger.runs import plain
from geodl_core.service.workers.queue import Queue

LOG = logging.getLogger("geodl.work")
PROGRESS_S = 1.0
"""Between two reports of progress."""
BEATS = 6
"""Heartbeats in the life of a lease, where there is no progress."""
MOST_LINES = 1_000
"""That wait to be told; further ones are in the worker's own log alone."""


class WorkStoppedError(Exception):
    """The work should go no further: the worker is told to stop, or the work is no longer its own."""


class Heart:
    """Beats while work is done; a context manager.

    Args:
        queue: where the work came from.
        work: that was lent.
        stop: set when the worker should end.
    """

    def __init__(self, queue: Queue, work: Work, stop: threading.Event) -> None:
        self._queue = queue
        self._work = work
        self._stop = stop
        self._lost = threading.Event()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._tiles = 0
        self._lines: list[tuple[str, str]] = []
        self._thread = threading.Thread(target=self._beat_on, name="heart", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    @property
    def is_lost(self) -> bool:
        """Whether the work is no longer this worker's."""
        return self._lost.is_set()

    def add_tiles(self, count: int) -> None:
        """Count finished tiles; threads may do so.

        Raises:
            WorkStoppedError: the work should go no further.
        """
        with self._lock:
            self._tiles += count
        self.check()

    def check(self) -> None:
        """Return if the work should go on.

        Raises:
            WorkStoppedError: it should not.
        """
        if self._lost.is_set() or self._stop.is_set():
            raise WorkStoppedError

    def note(self, text: str, level: str = "info") -> None:
        """Add a line to the run's log."""
        LOG.info(text, extra={"facts": {"run": self._work.run.id, "level_said": level}})
        with self._lock:
            if len(self._lines) < MOST_LINES:
                self._lines.append((level, plain(text)))

    def flush(self) -> None:
        """Tell at once what has not been told yet."""
        self._tell(is_due=True)

    def confirm(self) -> None:
        """Make sure, before something is done that others would see, that the work still is this worker's.

        Raises:
            WorkStoppedError: it is not.
            UnavailableError: that cannot be told now.
        """
        self._tell(is_due=True)
        if self._lost.is_set():
            raise WorkStoppedError

    def _beat_on(self) -> None:
        last = time.monotonic()
        while not self._done.wait(PROGRESS_S):
            is_due = time.monotonic() - last > self._work.expires_s / BEATS
            try:
                if self._tell(is_due):
                    last = time.monotonic()
            except UnavailableError as error:
                # The lease may hold until the ledger answers again; if not, that will be noticed then.
                LOG.warning(error.message, extra={"facts": {"run": self._work.run.id}})
            except GeodlError as error:
                # A server that refuses will not hear of the end of this work either.
                LOG.warning(error.message, extra={"facts": {"run": self._work.run.id}})
                self._lost.set()
            if self._lost.is_set():
                return

    def _tell(self, is_due: bool) -> bool:
        with self._lock:
            tiles, lines = self._tiles, self._lines
            if not (is_due or tiles or lines):
                return False
            self._tiles, self._lines = 0, []
        try:
            if not self._queue.beat(self._work.lease, tiles, lines):
                self._lost.set()
        except UnavailableError:
            with self._lock:
                self._tiles, self._lines = self._tiles + tiles, [*lines, *self._lines]
            raise
        return True
