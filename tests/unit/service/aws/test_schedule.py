"""How long a back-fill takes: never faster than its limits allow, and everything is done."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.service.aws.schedule import Backfill, lower_bound_s, simulate


def backfill(**more):
    return Backfill(**{"scenes": 1_000, "shards": 2, "job_s": 300.0, "max_vcpus": 256, **more})


@settings(max_examples=40, deadline=None)
@given(
    scenes=st.integers(1, 300),
    shards=st.integers(1, 20),
    job_s=st.floats(20, 600),
    max_vcpus=st.integers(4, 800),
    scenes_at_once=st.integers(1, 200),
    submits_per_s=st.floats(0.5, 100),
)
def test_everything_is_done_and_no_limit_is_broken(**asked):
    """Of any back-fill all scenes finish, no more jobs run than there is room for, and it takes what it must."""
    wanted = Backfill(**asked)
    series = simulate(wanted)
    assert series.finished[-1] == wanted.scenes
    assert series.submitted[-1] == wanted.scenes * wanted.shards
    assert max(series.running) <= wanted.slots
    assert series.seconds >= lower_bound_s(wanted) * 0.95
    step = series.at_s[1] - series.at_s[0] if len(series.at_s) > 1 else series.at_s[0]
    steps = zip(series.submitted, series.submitted[1:], strict=False)
    assert all(after - before <= step * wanted.submits_per_s + 1 for before, after in steps)
    assert list(series.finished) == sorted(series.finished)


def test_one_scene_alone():
    """It is planned, waits for the first instance, and takes as long as its jobs."""
    series = simulate(backfill(scenes=1), step_s=1.0)
    assert series.seconds == pytest.approx(6 + 240 + 300 + 25, abs=5)


def test_instances_bind_a_large_backfill():
    """A hundred thousand scenes on 64 GPUs: 200,000 jobs of five minutes, 64 at a time, are 10.85 days."""
    wanted = backfill(scenes=100_000)
    series = simulate(wanted)
    assert series.limit == "instances"
    assert series.seconds == pytest.approx(200_000 * 300 / 64, rel=0.02)


def test_submits_bind_short_jobs():
    """Jobs of ten seconds on very many machines: Batch takes 50 a second, and that is the limit."""
    wanted = backfill(scenes=20_000, shards=10, job_s=10.0, max_vcpus=40_000, scenes_at_once=5_000)
    series = simulate(wanted)
    assert series.limit == "submits"
    assert series.seconds == pytest.approx(200_000 / 50, rel=0.15)


def test_the_map_binds_where_few_scenes_may_run():
    """Ten scenes at a time leave machines idle."""
    series = simulate(backfill(scenes_at_once=10, boot_s=0.0))
    assert series.limit == "scenes at once"
    assert max(series.running) <= 20
    assert series.seconds == pytest.approx(100 * (6 + 300 + 25), rel=0.15)


@pytest.mark.parametrize("change", [{"max_vcpus": 3}, {"scenes": 0}, {"shards": 0}])
def test_nothing_to_run_on_is_refused(change):
    """Without room for a job, or anything to do, there is nothing to simulate."""
    with pytest.raises(ValueError, match="expected a scene"):
        simulate(backfill(**change))
