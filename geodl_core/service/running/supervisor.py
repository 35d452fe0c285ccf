"""What runs beside the answering of requests: loops in threads, workers in processes, stopped in order."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from geodl_core.errors import CatalogError
from geodl_core.service.numbers.metrics import Source
from geodl_core.service.running.loops import Loop, Step
from geodl_core.service.running.worker_processes import Staff, Workers

LOG = logging.getLogger("geodl.server")
TEND_S = 0.5
"""Between two looks at the workers."""


class Supervisor:
    """Runs steps and workers from its beginning to its end; a context manager.

    Args:
        steps: each is run in a thread of its own.
        staff: workers to keep running, and what is told the name of each that dies; None for none.
        grace_s: what is under way at the end may take so long.
    """

    def __init__(
        self, steps: tuple[Step, ...], staff: tuple[Staff, Callable[[str], None]] | None, grace_s: float
    ) -> None:
        self._stop = threading.Event()
        self._grace_s = grace_s
        self._deadline: float | None = None
        self._workers = None if staff is None else Workers(*staff)
        tended = () if self._workers is None else (Step("workers", self._tend, TEND_S),)
        self._loops = [Loop(step, self._stop) for step in (*tended, *steps)]

    def __enter__(self) -> Self:
        for loop in self._loops:
            loop.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        late = [loop.step.name for loop in self._loops if not loop.join(self._left_s())]
        if late:
            LOG.warning("did not end in time", extra={"facts": {"loops": late}})
        if self._workers is not None:
            # The loop that starts them has ended: none comes after these.
            self._workers.stop()
            self._workers.end(self._left_s)

    @property
    def is_stopping(self) -> bool:
        """Whether no new work is begun."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Begin nothing new, and tell workers to stop; what is under way goes on for a while."""
        if self._stop.is_set():
            return
        self._deadline = time.monotonic() + self._grace_s
        self._stop.set()
        for loop in self._loops:
            loop.wake()
        if self._workers is not None:
            self._workers.stop()

    def hurry(self) -> None:
        """Wait no longer for what is under way."""
        self._deadline = time.monotonic()

    def wake(self) -> None:
        """Let those steps look at once that follow what is written through the API."""
        for loop in self._loops:
            if loop.step.is_woken:
                loop.wake()

    def check(self) -> None:
        """Return if everything runs that should.

        Raises:
            CatalogError: something has ended or is stuck.
        """
        complaints = [text for loop in self._loops if (text := loop.complaint())]
        if complaints:
            raise CatalogError("; ".join(complaints))

    def numbers(self) -> tuple[Source, ...]:
        """Return what may be counted of it."""
        loops = {loop.step.name: loop for loop in self._loops}
        found = (
            Source(
                "geodl_loop_runs",
                "Times that a loop has looked for work.",
                lambda: {name: float(loop.runs) for name, loop in loops.items()},
                "loop",
                is_counter=True,
            ),
            Source(
                "geodl_loop_failures",
                "Times that a loop has failed.",
                lambda: {name: float(loop.failures) for name, loop in loops.items()},
                "loop",
                is_counter=True,
            ),
        )
        workers = self._workers
        if workers is None:
            return found
        return (
            *found,
            Source("geodl_worker_processes", "Worker processes of this server.", lambda: {"": float(workers.alive())}),
            Source(
                "geodl_worker_restarts",
                "Worker processes that died and were started anew.",
                lambda: {"": float(workers.restarts)},
                is_counter=True,
            ),
        )

    def _left_s(self) -> float:
        return self._grace_s if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _tend(self) -> int:
        if self._workers is not None and not self._stop.is_set():
            self._workers.tend()
        return 0
