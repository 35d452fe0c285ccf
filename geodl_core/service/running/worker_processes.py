"""Worker processes of a server: started, started anew when they die, stopped in order."""

import logging
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

LOG = logging.getLogger("geodl.workers")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0
"""Before a worker that died is started anew; it doubles with each further death."""
LOOK_S = 0.1
SOUND_S = 60.0
"""Who lived so long died of its work; who died sooner cannot live."""
LOOP_DEATHS = 5
"""So many early deaths in a row are said to be a crash loop."""


@dataclass(frozen=True, slots=True)
class Staff:
    """How workers are started."""

    command: tuple[str, ...]
    """Ends when its standard input is closed: so a worker outlives its server by no more than a tile."""
    count: int
    name: str = "worker"
    """Of this server's workers in lists; each process adds numbers of its own."""


class _Place:
    """One worker's place: the process that fills it now, and how it went with those before."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = ""
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.not_before = 0.0
        self.early_deaths = 0


class Workers:
    """Keeps as many worker processes running as were asked for. One thread uses it.

    Args:
        staff: how they are started.
        mourn: is told the name of each that has died.
        clock: seconds, of back-off.
    """

    def __init__(self, staff: Staff, mourn: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.restarts = 0
        self._staff = staff
        self._mourn = mourn
        self._clock = clock
        self._places = [_Place(number) for number in range(staff.count)]

    def alive(self) -> int:
        """Return how many run."""
        return sum(place.process is not None and place.process.poll() is None for place in self._places)

    def tend(self) -> int:
        """Start those that are missing and may be started; return how many were."""
        started = 0
        for place in self._places:
            if place.process is not None and place.process.poll() is not None:
                self._bury(place)
            if place.process is None and self._clock() >= place.not_before:
                self._start(place)
                started += 1
        return started

    def stop(self) -> None:
        """Tell all workers to stop: they finish the tile that they are at, and hand back the rest."""
        for process in self._processes():
            process.terminate()

    def end(self, left_s: Callable[[], float]) -> int:
        """Wait for all workers to end, and kill those that do not; return how many were killed.

        Args:
            left_s: says how long to wait from now on; it may change its mind.
        """
        killed = 0
        for process in self._processes():
            while process.poll() is None and left_s() > 0:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(min(LOOK_S, left_s()))
            if process.poll() is None:
                LOG.warning("a worker did not stop in time", extra={"facts": {"pid": process.pid}})
                process.kill()
                process.wait()
                killed += 1
            if process.stdin:
                process.stdin.close()
        return killed

    def _processes(self) -> Sequence["subprocess.Popen[bytes]"]:
        return [place.process for place in self._places if place.process is not None]

    def _start(self, place: _Place) -> None:
        place.starts += 1
        place.name = f"{self._staff.name}-{place.number}.{place.starts}"
        # What it says goes where the server's own log goes; its standard output is nobody's.
        place.process = subprocess.Popen(
            [*self._staff.command, "--name", place.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            close_fds=True,
        )
        place.started = self._clock()
        LOG.info("worker started", extra={"facts": {"worker": place.name, "pid": place.process.pid}})

    def _bury(self, place: _Place) -> None:
        process, now = place.process, self._clock()
        assert process is not None
        if process.stdin:
            process.stdin.close()
        is_early = now - place.started < SOUND_S
        place.early_deaths = place.early_deaths + 1 if is_early else 0
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** max(0, place.early_deaths - 1)) if is_early else 0.0
        place.process, place.not_before = None, now + pause_s
        self.restarts += 1
        facts = {"worker": place.name, "pid": process.pid, "status": process.returncode, "again_s": pause_s}
        LOG.warning("worker died", extra={"facts": facts})
        self._mourn(place.name)
        if place.early_deaths == LOOP_DEATHS:
            LOG.error(
                "a worker dies again and again: what it said last is above",
                extra={"facts": facts | {"deaths": place.early_deaths}},
            )
