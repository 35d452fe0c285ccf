"""What a server does again and again beside answering: steps in threads that survive errors."""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from geodl_core.domain.place.href import scrub
from geodl_core.errors import GeodlError, UnavailableError

LOG = logging.getLogger("geodl.loops")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
"""After a failure; it doubles with each further one."""
SILENCE_S = 600.0
"""A step that takes longer counts as stuck."""


@dataclass(frozen=True, slots=True)
class Step:
    """A bounded piece of work, done again and again."""

    name: str
    run: Callable[[], int]
    """Does it, and returns how much there was to do; 0 lets it rest."""
    rest_s: float
    """Until it looks again, where there was nothing to do and nothing wakes it."""
    is_woken: bool = False
    """Whether a write through the API ends its rest."""


class Loop:
    """A step in a thread of its own.

    Args:
        step: what to do.
        stop: set when it should end.
    """

    def __init__(self, step: Step, stop: threading.Event) -> None:
        self.step = step
        self.runs = 0
        self.failures = 0
        """In all."""
        self.in_a_row = 0
        """Failures since the last success."""
        self._stop = stop
        self._wake = threading.Event()
        self._begun: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"loop-{step.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """End its rest."""
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for its end; return whether it has come."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def complaint(self) -> str | None:
        """Return what is wrong with it, None where nothing is."""
        begun = self._begun
        if not self._thread.is_alive() and not self._stop.is_set():
            return f"{self.step.name} has ended"
        if begun is not None and time.monotonic() - begun > SILENCE_S:
            return f"{self.step.name} has not come back for {SILENCE_S:.0f} s"
        return None

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            done = self._once()
            if done is None:
                self._stop.wait(_pause_s(self.in_a_row))
            elif done == 0:
                self._wake.wait(self.step.rest_s)

    def _once(self) -> int | None:
        """Do the step; return how much there was to do, None where it failed."""
        self._begun = time.monotonic()
        facts = {"loop": self.step.name}
        try:
            done = self.step.run()
        except GeodlError as error:
            self._count_failure()
            level = logging.WARNING if isinstance(error, UnavailableError) else logging.ERROR
            LOG.log(level, scrub(error.message), extra={"facts": facts | {"failures": self.in_a_row}})
            return None
        except Exception:  # the adapter: a fault in one of them must not end it, or the server
            self._count_failure()
            LOG.exception("unexpected", extra={"facts": facts | {"failures": self.in_a_row}})
            return None
        finally:
            self._begun = None
            self.runs += 1
        self.in_a_row = 0
        return done

    def _count_failure(self) -> None:
        self.failures += 1
        self.in_a_row += 1


def _pause_s(failures: int) -> float:
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
    return longest * (0.5 + 0.5 * random.random())  # noqa: S311  # so that several servers do not fail in step
