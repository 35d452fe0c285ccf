"""How long a back-fill takes under the limits that it meets, simulated in steps: for a plan, and for a plot."""

from collections import deque
from dataclasses import dataclass
from math import ceil
from typing import Literal

SUBMITS_PER_S = 50.0
"""Jobs that Batch takes from an account in a second (AWS Batch service quotas)."""
MAP_CHILDREN = 10_000
"""Children of a Distributed Map that run at the same time, by default (Step Functions, state-map-distributed)."""
MOST_STEPS = 400_000
ROUNDING_S = 1e-6
"""Of sums of steps."""

Limit = Literal["submits", "instances", "scenes at once", "nothing"]


@dataclass(frozen=True, slots=True)
class Backfill:
    """A back-fill, and the limits that hold for it."""

    scenes: int
    shards: int
    """Of each scene."""
    job_s: float
    max_vcpus: int
    """`MaxvCpus` of the compute environments, together."""
    job_vcpus: int = 4
    scenes_at_once: int = 1_000
    """Executions that the map keeps running."""
    plan_s: float = 6.0
    finish_s: float = 25.0
    """Merge and registration."""
    boot_s: float = 240.0
    """From the first job to the first instance that has pulled the image."""
    submits_per_s: float = SUBMITS_PER_S

    @property
    def slots(self) -> int:
        """Jobs that run at the same time."""
        return self.max_vcpus // self.job_vcpus


@dataclass(frozen=True, slots=True)
class Series:
    """What happened, at each step; all of the same length."""

    at_s: tuple[float, ...]
    submitted: tuple[int, ...]
    """Jobs so far."""
    waiting: tuple[int, ...]
    """Jobs that were submitted and do not run yet."""
    running: tuple[int, ...]
    finished: tuple[int, ...]
    """Scenes so far."""
    limit: Limit
    """What bound it most of the time."""

    @property
    def seconds(self) -> float:
        """Until the last scene was finished."""
        return self.at_s[-1]


def simulate(backfill: Backfill, step_s: float | None = None) -> Series:
    """Return how a back-fill goes.

    Scenes are planned as places in the map come free; a scene's jobs are submitted one after the other as fast as Batch
    takes them, wait for a slot, and run; after a scene's last job it is merged and registered, and its place is free.

    Args:
        backfill: what is to be done, and the limits.
        step_s: of the simulation; None for a part of a job's time, so that jobs end where steps do.

    Raises:
        ValueError: nothing can run, or it would take very many steps.
    """
    if backfill.slots < 1 or min(backfill.scenes, backfill.shards, backfill.scenes_at_once) < 1:
        raise ValueError("expected a scene, a shard, a scene at a time and room for a job at least")
    step = step_s or _step_s(backfill)
    state = _State(backfill)
    rows: list[tuple[float, int, int, int, int]] = []
    bound: dict[Limit, int] = {}
    now = 0.0
    while state.finished < backfill.scenes:
        if len(rows) >= MOST_STEPS:
            raise ValueError(f"expected an end within {MOST_STEPS:,} steps of {step:g} s")
        now = (len(rows) + 1) * step
        limit = state.advance(now, step)
        bound[limit] = bound.get(limit, 0) + 1
        rows.append((now, state.submitted, state.queued, state.active, state.finished))
    at_s, submitted, waiting, running, finished = zip(*rows, strict=True)
    return Series(at_s, submitted, waiting, running, finished, max(bound, key=lambda name: bound[name]))


def lower_bound_s(backfill: Backfill) -> float:
    """Return how long it takes at least: what Batch takes, what instances compute, what the map lets run."""
    jobs = backfill.scenes * backfill.shards
    submits = jobs / backfill.submits_per_s
    compute = ceil(jobs / backfill.slots) * backfill.job_s
    alone = backfill.plan_s + backfill.job_s + backfill.finish_s
    places = ceil(backfill.scenes / backfill.scenes_at_once) * alone
    return max(submits, compute, places)


def _step_s(backfill: Backfill) -> float:
    """Return a twentieth of a job's time, or a larger part of it where that would be too many steps."""
    parts = next((n for n in (20, 10, 5, 2) if lower_bound_s(backfill) * n / backfill.job_s < MOST_STEPS / 4), 1)
    return backfill.job_s / parts


class _State:
    """Where a back-fill is."""

    def __init__(self, backfill: Backfill) -> None:
        self.asked = backfill
        self.finished = self.submitted = self.queued = self.active = 0
        self._begun = 0
        self._left: deque[int] = deque()
        """Jobs not yet submitted, of scenes that are planned."""
        self._planning: deque[tuple[float, int]] = deque()
        """When, and how many scenes."""
        self._ending: deque[tuple[float, int]] = deque()
        self._finishing: deque[tuple[float, int]] = deque()
        self._ended = self._gathered = 0
        self._first_job: float | None = None
        self._credit = 0.0

    def advance(self, now: float, step: float) -> Limit:
        """Go on to a time; return what held it back."""
        asked = self.asked
        done = _due(self._ending, now)
        self.active -= done
        self._ended += done
        # Jobs run in the order of their scenes, so that a scene is whole when so many have ended.
        whole = self._ended // asked.shards - self._gathered
        if whole:
            self._gathered += whole
            self._finishing.append((now + asked.finish_s, whole))
        self.finished += _due(self._finishing, now)
        open_places = asked.scenes_at_once - (self._begun - self.finished)
        begun = min(open_places, asked.scenes - self._begun)
        if begun > 0:
            self._begun += begun
            self._planning.append((now + asked.plan_s, begun))
        planned = _due(self._planning, now)
        if planned:
            self._left.append(planned * asked.shards)
        self._submit(now, step)
        self._start(now)
        return self._limit()

    def _submit(self, now: float, step: float) -> None:
        self._credit = min(self._credit + step * self.asked.submits_per_s, max(1.0, step * self.asked.submits_per_s))
        while self._left and self._credit >= 1:
            count = min(self._left[0], int(self._credit))
            self._credit -= count
            self.submitted += count
            self.queued += count
            self._first_job = now if self._first_job is None else self._first_job
            if count == self._left[0]:
                self._left.popleft()
            else:
                self._left[0] -= count

    def _start(self, now: float) -> None:
        if self._first_job is None or now < self._first_job + self.asked.boot_s:
            return
        count = min(self.asked.slots - self.active, self.queued)
        if count > 0:
            self.queued -= count
            self.active += count
            self._ending.append((now + self.asked.job_s, count))

    def _limit(self) -> Limit:
        if self.active >= self.asked.slots:
            return "instances"
        if self._left:
            return "submits"
        if self._begun < self.asked.scenes:
            return "scenes at once"
        return "nothing"


def _due(events: deque[tuple[float, int]], now: float) -> int:
    """Take away and count what is due."""
    count = 0
    while events and events[0][0] <= now + ROUNDING_S:
        count += events.popleft()[1]
    return count
