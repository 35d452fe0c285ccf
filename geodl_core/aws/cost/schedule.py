"""How long scenes take under the limits that they meet: job for job, for a plan and for a plot.

Scenes are listed some thousand at a time, and a list is worked off before the next is made. A scene has a place in the
map of scenes, is planned by a function, submits its jobs, which Batch takes one after the other and its machines work
on in that order, and is finished (merged and registered) by functions, or by a job and a function. All of that is
first come, first served and takes the same time for each, so that one pass over the events is exact.
"""

import heapq
from array import array
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.aws.cost.setup import JOB_VCPUS, LISTED

SUBMITS_PER_S = 50.0
"""Jobs that Batch takes from an account in a second (AWS Batch user guide, "Service quotas")."""
FUNCTIONS_AT_ONCE = 1_000
"""Of an account and region, unless more was asked for (AWS Lambda developer guide, "Quotas")."""
MAP_CHILDREN = 10_000
"""Children of a Distributed Map that run at the same time (Step Functions developer guide, "Distributed Map")."""
INTERVALS = 240
MOST_JOBS = 5_000_000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Backfill:
    """Scenes that are alike, and the limits that hold for them."""

    scenes: int
    shards: int
    """Of each scene."""
    job_s: float
    max_vcpus: int
    """`MaxvCpus` of the machines that jobs run on, together."""
    job_vcpus: int = JOB_VCPUS
    scenes_at_once: int = MAP_CHILDREN
    """Executions that the map of scenes keeps running."""
    shards_at_once: int = MAP_CHILDREN
    """Jobs of a scene that are submitted and not ended."""
    plan_s: float = 6.0
    finish_s: float = 25.0
    """Merge and registration."""
    finishes_at_once: int | None = None
    """Where jobs merge, how many of those run at the same time; None where functions do."""
    boot_s: float = 240.0
    """From the first job until instances have started and pulled the image."""
    keep_s: float = 0.0
    """So long an instance waits for more work before it goes."""
    listed: int = LISTED
    """Scenes of a list."""
    list_s: float = 0.0
    """That making a list takes."""
    submits_per_s: float = SUBMITS_PER_S
    functions_at_once: int = FUNCTIONS_AT_ONCE

    @property
    def slots(self) -> int:
        """Jobs that run at the same time."""
        return self.max_vcpus // self.job_vcpus

    def __post_init__(self) -> None:
        counts = (self.scenes, self.shards, self.slots, self.scenes_at_once, self.shards_at_once, self.listed)
        if min(*counts, self.functions_at_once, self.finishes_at_once or 1) < 1:
            raise ValueError("expected a scene, a shard, and room for one of each at least")
        if self.scenes * self.shards > MOST_JOBS:
            raise ValueError(f"expected at most {MOST_JOBS:,} jobs, found {self.scenes * self.shards:,}")


@dataclass(frozen=True, slots=True)
class Course:
    """What happened when; times in seconds from the order on, each array rising."""

    asked: Backfill
    begun_s: Floats
    """When scenes got their places."""
    ready_s: Floats
    """When jobs could be submitted, were taken by Batch, and were started."""
    submitted_s: Floats
    started_s: Floats
    finished_s: Floats
    """When scenes were registered."""
    waiting_s: Floats
    """When functions, or merge jobs, were asked for that had to wait, and when they began."""
    served_s: Floats
    instance_s: float
    """That machines are paid for: starting, at work, and waiting for work."""

    @property
    def seconds(self) -> float:
        """Until the last scene was registered."""
        return float(self.finished_s[-1])

    @property
    def busy_s(self) -> float:
        """That jobs ran, together."""
        return len(self.started_s) * self.asked.job_s


@dataclass(frozen=True, slots=True)
class Series:
    """How much there was in equal intervals of time; all of the same length."""

    until_s: tuple[float, ...]
    """Ends of the intervals."""
    submitted: tuple[int, ...]
    """Jobs until then."""
    waiting: tuple[float, ...]
    """Jobs that were submitted and did not run yet: the mean of the interval."""
    running: tuple[float, ...]
    """The same of jobs that ran."""
    finished: tuple[int, ...]
    """Scenes until then."""


def simulate(asked: Backfill) -> Course:
    """Return how scenes go."""
    run = _Run(asked)
    run.open_list(0.0)
    while run.events:
        at, _, act, scene = heapq.heappop(run.events)
        act(at, scene)
    run.finished = array("d", sorted(run.finished))
    return Course(
        asked=asked,
        begun_s=np.array(run.begun),
        ready_s=np.array(run.ready),
        submitted_s=np.array(run.submitted),
        started_s=np.array(run.started),
        finished_s=np.array(run.finished),
        waiting_s=np.array(run.waiting),
        served_s=np.array(run.served),
        instance_s=run.instance_s(),
    )


def lower_bound_s(asked: Backfill) -> float:
    """Return how long it takes at least: what Batch takes, what machines compute, what the maps let run."""
    jobs = asked.scenes * asked.shards
    around = asked.list_s + asked.plan_s + asked.finish_s
    submits = (jobs - 1) / asked.submits_per_s + asked.job_s
    compute = asked.boot_s + ceil(jobs / asked.slots) * asked.job_s
    alone = asked.plan_s + ceil(asked.shards / min(asked.shards_at_once, asked.slots)) * asked.job_s + asked.finish_s
    lists = ceil(asked.scenes / asked.listed) * asked.list_s
    return max(around + submits, around + compute, lists + ceil(asked.scenes / asked.scenes_at_once) * alone)


def sample(course: Course, intervals: int = INTERVALS) -> Series:
    """Return how much there was in so many intervals."""
    edges = np.linspace(0.0, course.seconds, intervals + 1)
    submitted, started = _mean(course.submitted_s, edges), _mean(course.started_s, edges)
    ended = _mean(course.started_s + course.asked.job_s, edges)
    return Series(
        until_s=tuple(edges[1:].tolist()),
        submitted=tuple(_so_far(course.submitted_s, edges[1:]).tolist()),
        waiting=tuple((submitted - started).tolist()),
        running=tuple((started - ended).tolist()),
        finished=tuple(_so_far(course.finished_s, edges[1:]).tolist()),
    )


def limits(course: Course, points: int = 40 * INTERVALS) -> dict[str, float]:
    """Return what held scenes back, as shares of the time: the greatest first, none that never did."""
    asked = course.asked
    at = (np.arange(points) + 0.5) * (course.seconds / points)
    begun, finished = _so_far(course.begun_s, at), _so_far(course.finished_s, at)
    submitted, started = _so_far(course.submitted_s, at), _so_far(course.started_s, at)
    running = started - _so_far(course.started_s, at - asked.job_s)
    left_of_list = np.minimum(asked.scenes, (finished // asked.listed + 1) * asked.listed) - begun
    holds: Mapping[str, npt.NDArray[np.bool_]] = {
        "machines": running >= asked.slots,
        "first machines": (submitted > 0) & (started == 0),
        "jobs submitted a second": _so_far(course.ready_s, at) > submitted,
        "functions at once": _so_far(course.waiting_s, at) > _so_far(course.served_s, at),
        "making lists": (begun == finished) & (finished < asked.scenes),
        "shards of a scene at once": (asked.shards > asked.shards_at_once) & (running > 0),
        "scenes at once": (begun - finished >= asked.scenes_at_once) & (left_of_list > 0),
    }
    shares: dict[str, float] = {}
    open_yet = np.ones(points, bool)
    for name, held in holds.items():
        shares[name] = float((held & open_yet).mean())
        open_yet &= ~held
    shares["each scene's own time"] = float(open_yet.mean())
    return dict(sorted(((name, share) for name, share in shares.items() if share), key=lambda one: -one[1]))


def _mean(times: Floats, edges: npt.NDArray[np.floating[Any]]) -> Floats:
    """Return the mean of how many there were so far, in each interval: it grows by a time's distance to its end."""
    before = np.concatenate(([0.0], np.cumsum(times)))
    count = _so_far(times, edges)
    area = count * edges - before[count]
    mean: Floats = np.diff(area) / np.diff(edges)
    return mean


def _so_far(times: Floats, at: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
    return np.searchsorted(times, at, side="right")


class _Pool:
    """Things of which only some run at the same time; who comes first is served first."""

    def __init__(self, size: int, run: "_Run") -> None:
        self.free, self._run = size, run
        self._queue: deque[tuple[float, Callable[[float, int], None], int]] = deque()

    def ask(self, at: float, lasts_s: float, act: Callable[[float, int], None], scene: int) -> None:
        """Have something done; `act` is called when it is."""
        if self.free:
            self.free -= 1
            self._run.later(at + lasts_s, act, scene)
        else:
            self._run.waiting.append(at)
            self._queue.append((lasts_s, act, scene))

    def release(self, at: float) -> None:
        """Let the next one begin."""
        if not self._queue:
            self.free += 1
            return
        lasts_s, act, scene = self._queue.popleft()
        self._run.served.append(at)
        self._run.later(at + lasts_s, act, scene)


class _Run:
    """Where scenes are."""

    def __init__(self, asked: Backfill) -> None:
        self.asked = asked
        self.events: list[tuple[float, tuple[bool, int], Callable[[float, int], None], int]] = []
        """Time, order among those of the same time (jobs' ends first), what happens, and to which scene."""
        self.begun, self.ready, self.submitted, self.started = (array("d") for _ in range(4))
        self.waiting, self.served, self.finished = (array("d") for _ in range(3))
        self._order = count()
        self._functions = _Pool(asked.functions_at_once, self)
        merges = asked.finishes_at_once
        self._merges = self._functions if merges is None else _Pool(merges, self)
        self._next_submit = 0.0
        self._open = 0
        """Scenes of the list that have no place yet; and those of it that are not finished."""
        self._unfinished = 0
        self._left: dict[int, int] = {}
        """Jobs of a scene that are not submitted, and those that have not ended, where not all go at once."""
        self._running: dict[int, int] = {}
        self._idle_s = 0.0

    def later(self, at: float, act: Callable[[float, int], None], scene: int) -> None:
        """Let something happen."""
        heapq.heappush(self.events, (at, (act != self._ended, next(self._order)), act, scene))

    def open_list(self, at: float) -> None:
        """Make the next list of scenes."""
        self._open = self._unfinished = min(self.asked.listed, self.asked.scenes - len(self.begun))
        self.later(at + self.asked.list_s, self._listed, -1)

    def instance_s(self) -> float:
        """Return what machines are paid for, each from its start until it has waited long enough in vain."""
        used = min(self.asked.slots, len(self.started))
        return len(self.started) * self.asked.job_s + self._idle_s + used * (self.asked.boot_s + self.asked.keep_s)

    def _listed(self, at: float, _: int) -> None:
        for _ in range(min(self._open, self.asked.scenes_at_once)):
            self._begin(at)

    def _begin(self, at: float) -> None:
        self._open -= 1
        self.begun.append(at)
        self._functions.ask(at, self.asked.plan_s, self._planned, len(self.begun) - 1)

    def _planned(self, at: float, scene: int) -> None:
        self._functions.release(at)
        now = min(self.asked.shards, self.asked.shards_at_once)
        self._left[scene], self._running[scene] = self.asked.shards - now, self.asked.shards
        for _ in range(now):
            end = self._job(at)
            if now < self.asked.shards:
                self.later(end, self._ended, scene)
        if now == self.asked.shards:
            # Nobody waits for any but the last one.
            self._running[scene] = 1
            self.later(end, self._ended, scene)

    def _job(self, at: float) -> float:
        """Submit a job that is ready; return when it ends, as all before it are known."""
        asked, number = self.asked, len(self.started)
        submitted = max(at, self._next_submit)
        self._next_submit = submitted + 1 / asked.submits_per_s
        before = self.started[number - asked.slots] + asked.job_s if number >= asked.slots else None
        first = submitted if not number else self.submitted[0]
        started = max(submitted, first + asked.boot_s, before or 0.0)
        if before is not None:
            self._idle_s += min(started - before, asked.keep_s)
        self.ready.append(at)
        self.submitted.append(submitted)
        self.started.append(started)
        return started + asked.job_s

    def _ended(self, at: float, scene: int) -> None:
        self._running[scene] -= 1
        if self._left[scene]:
            self._left[scene] -= 1
            self.later(self._job(at), self._ended, scene)
        if not self._running[scene]:
            del self._running[scene], self._left[scene]
            self._merges.ask(at, self.asked.finish_s, self._finished, scene)

    def _finished(self, at: float, _: int) -> None:
        self._merges.release(at)
        self.finished.append(at)
        self._unfinished -= 1
        if self._open:
            self._begin(at)
        elif not self._unfinished and len(self.begun) < self.asked.scenes:
            self.open_list(at)
