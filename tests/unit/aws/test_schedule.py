"""How long scenes take under limits: as a simulation that looks at every job at every event, and never faster."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.aws.cost.schedule import Backfill, limits, lower_bound_s, sample, simulate

# With fractions of their own, so that things of different kinds never fall together by chance, where nothing says who
# is first; of 1,024, so that sums are exact and what falls together by its nature does so to the last bit.
SMALL = {
    "scenes": st.integers(1, 14),
    "shards": st.integers(1, 6),
    "job_s": st.integers(1, 60).map(lambda whole: whole + 141 / 1024),
    "max_vcpus": st.integers(4, 40),
    "scenes_at_once": st.integers(1, 8),
    "shards_at_once": st.integers(1, 7),
    "plan_s": st.integers(0, 12).map(lambda whole: whole + 73 / 1024),
    "finish_s": st.integers(0, 30).map(lambda whole: whole + 30 / 1024),
    "finishes_at_once": st.none() | st.integers(1, 3),
    "boot_s": st.integers(0, 50).map(lambda whole: whole + 4 / 1024),
    "keep_s": st.integers(0, 40),
    "listed": st.integers(1, 9),
    "list_s": st.integers(0, 20).map(lambda whole: whole + 12 / 1024),
    "submits_per_s": st.sampled_from([1024 / 2009, 1024 / 995, 1024 / 495, 1024 / 255]),
    "functions_at_once": st.integers(1, 4),
}


def backfill(**more):
    return Backfill(**{"scenes": 1_000, "shards": 2, "job_s": 300.0, "max_vcpus": 256, **more})


class Brute:
    """The same by brute force: at each event all scenes, jobs, machines and functions are looked at."""

    def __init__(self, asked):
        self.asked, self.now = asked, 0.0
        self.unlisted, self.list_ready, self.waiting_scenes = asked.scenes, None, 0
        self.scenes, self.finished = [], []
        self.free_functions, self.functions_queue = asked.functions_at_once, deque()
        self.free_merges, self.merges_queue = asked.finishes_at_once, deque()
        self.unsubmitted, self.batch, self.first = deque(), deque(), None
        self.next_submit, self.machines = 0.0, [None] * asked.slots
        self.last_end = [None] * asked.slots
        self.paid, self.jobs = 0.0, 0

    def run(self):
        while len(self.finished) < self.asked.scenes:
            # Until nothing more happens at this moment.
            while self.tick():
                pass
            if len(self.finished) < self.asked.scenes:
                self.now = min(at for at in self.times() if at > self.now)
        used = [end for end in self.last_end if end is not None]
        return self.finished[-1], self.paid + len(used) * (self.asked.boot_s + self.asked.keep_s)

    def times(self):
        """Yield when something may happen next."""
        yield from (job["end"] for job in self.machines if job)
        yield from (scene["until"] for scene in self.scenes if scene["until"] is not None)
        yield self.next_submit
        yield from (at for at in (self.list_ready, self.first and self.first + self.asked.boot_s) if at is not None)

    def tick(self):
        return any([self.ends(), self.lists(), self.begins(), self.functions(), self.submits(), self.starts()])

    def ends(self):
        happened = False
        ended = [number for number, job in enumerate(self.machines) if job and job["end"] <= self.now]
        for number in sorted(ended, key=lambda one: self.machines[one]["number"]):
            scene, self.machines[number], happened = self.machines[number]["scene"], None, True
            scene["running"] -= 1
            if scene["held"]:
                scene["held"] -= 1
                self.unsubmitted.append(scene)
            if not scene["running"]:
                scene["state"] = "computed"
                (self.functions_queue if self.free_merges is None else self.merges_queue).append(scene)
        for scene in self.scenes:
            if scene["until"] is not None and scene["until"] <= self.now:
                happened, scene["until"] = True, None
                if scene["state"] == "planning":
                    self.free_functions += 1
                    scene["state"], scene["running"] = "running", self.asked.shards
                    count = min(self.asked.shards, self.asked.shards_at_once)
                    scene["held"] = self.asked.shards - count
                    self.unsubmitted.extend([scene] * count)
                else:
                    if self.free_merges is None:
                        self.free_functions += 1
                    else:
                        self.free_merges += 1
                    scene["state"] = "finished"
                    self.finished.append(self.now)
        return happened

    def lists(self):
        is_idle = not self.waiting_scenes and all(scene["state"] == "finished" for scene in self.scenes)
        if self.list_ready is None and self.unlisted and is_idle:
            self.list_ready = self.now + self.asked.list_s
        if self.list_ready is not None and self.list_ready <= self.now:
            self.waiting_scenes = min(self.asked.listed, self.unlisted)
            self.unlisted -= self.waiting_scenes
            self.list_ready = None
            return True
        return False

    def begins(self):
        going = sum(scene["state"] != "finished" for scene in self.scenes)
        if not self.waiting_scenes or going >= self.asked.scenes_at_once:
            return False
        self.waiting_scenes -= 1
        scene = {"state": "asked", "until": None, "running": 0, "held": 0}
        self.scenes.append(scene)
        self.functions_queue.append(scene)
        return True

    def functions(self):
        if self.functions_queue and self.free_functions:
            self.free_functions -= 1
            scene = self.functions_queue.popleft()
            is_plan = scene["state"] == "asked"
            scene["state"] = "planning" if is_plan else "finishing"
            scene["until"] = self.now + (self.asked.plan_s if is_plan else self.asked.finish_s)
            return True
        if self.merges_queue and self.free_merges:
            self.free_merges -= 1
            scene = self.merges_queue.popleft()
            scene["state"], scene["until"] = "finishing", self.now + self.asked.finish_s
            return True
        return False

    def submits(self):
        if not self.unsubmitted or self.next_submit > self.now:
            return False
        self.batch.append(self.unsubmitted.popleft())
        self.first = self.now if self.first is None else self.first
        self.next_submit = self.now + 1 / self.asked.submits_per_s
        return True

    def starts(self):
        free = [number for number, job in enumerate(self.machines) if job is None]
        if not self.batch or not free or self.now < self.first + self.asked.boot_s:
            return False
        # A machine that never ran, else the one that has been idle longest.
        number = min(free, key=lambda one: (self.last_end[one] is not None, self.last_end[one]))
        idle = 0 if self.last_end[number] is None else min(self.now - self.last_end[number], self.asked.keep_s)
        end = self.now + self.asked.job_s
        self.machines[number] = {"scene": self.batch.popleft(), "end": end, "number": self.jobs}
        self.jobs += 1
        self.last_end[number] = end
        self.paid += idle + self.asked.job_s
        return True


@settings(max_examples=150, deadline=None)
@given(**SMALL)
def test_it_goes_as_by_brute_force(**asked):
    """Of any small back-fill the end, and what machines are paid for, are those of a simulation of each job."""
    wanted = Backfill(**asked)
    course = simulate(wanted)
    seconds, paid = Brute(wanted).run()
    assert course.seconds == pytest.approx(seconds, abs=1e-6)
    assert course.instance_s == pytest.approx(paid, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    scenes=st.integers(1, 300),
    shards=st.integers(1, 20),
    job_s=st.floats(20, 600),
    max_vcpus=st.integers(4, 800),
    scenes_at_once=st.integers(1, 200),
    shards_at_once=st.integers(1, 30),
    submits_per_s=st.floats(0.5, 100),
    functions_at_once=st.integers(1, 50),
    list_s=st.floats(0, 500),
    listed=st.integers(1, 200),
)
def test_everything_is_done_and_no_limit_is_broken(**asked):
    """Of any back-fill all scenes finish, no limit is passed, and it takes what it must at least."""
    wanted = Backfill(**asked)
    course = simulate(wanted)
    jobs = wanted.scenes * wanted.shards
    assert len(course.finished_s) == wanted.scenes
    assert len(course.submitted_s) == len(course.started_s) == jobs
    for number in range(wanted.slots, jobs):
        assert course.started_s[number] >= course.started_s[number - wanted.slots] + wanted.job_s - 1e-6
    assert (np.diff(course.submitted_s) >= 1 / wanted.submits_per_s - 1e-6).all()
    assert (course.started_s >= course.submitted_s).all()
    assert course.seconds >= lower_bound_s(wanted) - 1e-6
    assert sum(limits(course).values()) == pytest.approx(1)


@settings(max_examples=40, deadline=None)
@given(scenes=st.integers(1, 60), shards=st.integers(1, 5), job_s=st.floats(20, 600), max_vcpus=st.integers(4, 80))
def test_the_series_of_a_plot_are_the_events(**asked):
    """What is drawn are the counts: their means over time are what jobs ran and waited together."""
    course = simulate(Backfill(**asked))
    series = sample(course, 50)
    width = course.seconds / 50
    assert (series.submitted[-1], series.finished[-1]) == (len(course.submitted_s), len(course.finished_s))
    assert sum(series.running) * width == pytest.approx(course.busy_s)
    assert sum(series.waiting) * width == pytest.approx(float((course.started_s - course.submitted_s).sum()), abs=1e-3)
    assert max(series.running) <= course.asked.slots + 1e-6
    assert list(series.submitted) == sorted(series.submitted)
    assert list(series.finished) == sorted(series.finished)


def test_one_scene_alone():
    """It is planned, waits for the first machine, and takes as long as its jobs, submitted one after the other."""
    course = simulate(backfill(scenes=1, keep_s=1_200.0))
    assert course.seconds == pytest.approx(6 + 240 + 300 + 25)
    assert course.instance_s == pytest.approx(2 * (240 + 300 + 1_200))
    assert lower_bound_s(course.asked) == pytest.approx(6 + 240 + 300 + 25)
    assert list(limits(course)) == ["each scene's own time", "first machines"]


def test_machines_bind_a_large_backfill():
    """A hundred thousand scenes on 64 GPUs: 200,000 jobs of five minutes, 64 at a time, are 10.85 days."""
    course = simulate(backfill(scenes=100_000))
    assert next(iter(limits(course))) == "machines"
    assert 200_000 * 300 / 64 < course.seconds < 200_000 * 300 / 64 * 1.01


def test_submits_bind_short_jobs():
    """Jobs of ten seconds on very many machines: Batch takes 50 a second, and that is the limit."""
    course = simulate(
        backfill(scenes=20_000, shards=10, job_s=10.0, max_vcpus=40_000, scenes_at_once=5_000, listed=20_000)
    )
    assert next(iter(limits(course))) == "jobs submitted a second"
    assert course.seconds == pytest.approx(200_000 / 50, rel=0.1)


def test_the_map_binds_where_few_scenes_may_run():
    """Ten scenes at a time leave machines idle."""
    course = simulate(backfill(scenes_at_once=10, boot_s=0.0))
    assert next(iter(limits(course))) == "scenes at once"
    assert course.seconds == pytest.approx(100 * (6 + 300 + 25), rel=0.01)


def test_functions_bind_where_few_run_at_once():
    """A thousand plans and merges, ten at a time."""
    course = simulate(backfill(functions_at_once=10, job_s=1.0, boot_s=0.0, max_vcpus=8_000))
    assert next(iter(limits(course))) == "functions at once"
    assert course.seconds == pytest.approx(1_000 * (6 + 25) / 10, rel=0.01)


def test_one_huge_scene_submits_as_many_jobs_as_its_map_lets():
    """Five thousand shards of which 256 may be under way: machines for more are of no use."""
    course = simulate(backfill(scenes=1, shards=5_000, shards_at_once=256, max_vcpus=4_000))
    assert next(iter(limits(course))) == "shards of a scene at once"
    assert course.seconds == pytest.approx(5_000 / 256 * 300, rel=0.1)


def test_making_lists_takes_its_time():
    """Between lists machines wait."""
    course = simulate(backfill(scenes=1_000, listed=100, list_s=3_000.0))
    assert next(iter(limits(course))) == "making lists"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_vcpus": 3}, "expected a scene"),
        ({"scenes": 0}, "expected a scene"),
        ({"shards": 0}, "expected a scene"),
        ({"scenes": 10_000_000}, "at most"),
    ],
)
def test_what_cannot_be_simulated_is_refused(change, said):
    """Without room for a job, or anything to do, or with more than memory holds."""
    with pytest.raises(ValueError, match=said):
        backfill(**change)
