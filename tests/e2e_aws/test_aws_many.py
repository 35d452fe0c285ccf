"""On AWS, two hundred scenes at once and two GPUs: all are run, the urgent ones first, in bounded memory."""

import logging
import time

import pytest

from deployed import add_watch, executions, publish_many, runs
from emulator import launch
from geodl_core.domain.run.state import FINAL

pytestmark = [pytest.mark.aws, pytest.mark.postgres, pytest.mark.xdist_group("aws-hurt"), pytest.mark.timeout(600)]
LOG = logging.getLogger(__name__)
ORDINARY, URGENT = 180, 20
SLOTS = 2
"""GPUs of the deployment."""
MOST_BYTES = 512 << 20
"""Of the emulator, which holds the queue, the ledger, executions and jobs; it takes 0.2 GB without any."""


@pytest.fixture(scope="module")
def finished(hurt, meadow, tmp_path_factory):
    """The runs of ordinary scenes, and of urgent ones that were published after them, by watch; and the memory."""
    folder = tmp_path_factory.mktemp("many")
    add_watch(hurt, folder, "pastures", collections=["pastures"])
    add_watch(hurt, folder, "floods", collections=["floods"], priority=50)
    for watch, count in (("pastures", ORDINARY), ("floods", URGENT)):
        publish_many(hurt, [{**meadow(f"{watch}-{number}"), "collection": watch} for number in range(count)])
    most, until = 0, time.monotonic() + 500
    while time.monotonic() < until:
        time.sleep(2)
        most = max(most, launch.resident_bytes(hurt.emulator))
        found = {watch: runs(hurt, watch) for watch in ("pastures", "floods")}
        if sum(run["state"] in FINAL for some in found.values() for run in some) == ORDINARY + URGENT:
            return found, most
    raise AssertionError({watch: [run["state"] for run in some] for watch, some in found.items()})


def jobs_of_queue(stack, queue):
    """All jobs of a queue that succeeded, as Batch describes them."""
    batch = stack.client("batch")
    listed = batch.list_jobs(jobQueue=stack.outputs[queue], jobStatus="SUCCEEDED")["jobSummaryList"]
    ids = [one["jobId"] for one in listed]
    some = [ids[start : start + 100] for start in range(0, len(ids), 100)]
    return [job for these in some for job in batch.describe_jobs(jobs=these)["jobs"]]


def test_all_are_run_once(hurt, finished):
    """Each of two hundred scenes has one execution, one job and one result."""
    found, _ = finished
    both = [run for some in found.values() for run in some]
    assert [(run["state"], run["attempt"]) for run in both] == [("succeeded", 1)] * (ORDINARY + URGENT)
    assert len({run["result"]["id"] for run in both}) == ORDINARY + URGENT
    ids = {run["id"] for run in both}
    assert sorted(f"{name}-1" for name in ids) == sorted(
        one["name"] for one in executions(hurt) if one["name"].partition("-")[0] in ids
    )
    ran = [job for queue in ("ShardQueue", "UrgentQueue") for job in jobs_of_queue(hurt, queue)]
    ours = [job for job in ran if job["jobName"].partition("-")[0] in ids]
    assert (len(ours), {len(job["attempts"]) for job in ours}) == (ORDINARY + URGENT, {1})


def test_urgent_ones_go_first(hurt, finished):
    """While an urgent job waits no ordinary one is started: published last, they pass those that wait already."""
    found, _ = finished
    ours = {watch: {run["id"] for run in some} for watch, some in found.items()}
    ordinary, urgent = (
        [job for job in jobs_of_queue(hurt, queue) if job["jobName"].partition("-")[0] in ours[watch]]
        for queue, watch in (("ShardQueue", "pastures"), ("UrgentQueue", "floods"))
    )
    assert (len(ordinary), {job["schedulingPriority"] for job in urgent}) == (ORDINARY, {150})
    passed_by = [
        sum(job["createdAt"] < first["createdAt"] < first["startedAt"] < job["startedAt"] for job in ordinary)
        for first in urgent
    ]
    held_up_by = [
        sum(first["createdAt"] < job["startedAt"] < first["startedAt"] for job in ordinary) for first in urgent
    ]
    LOG.info("urgent jobs passed %s, and %s passed them", sorted(passed_by), sorted(held_up_by))
    assert max(passed_by) > SLOTS, "no urgent job found anybody to pass"
    assert max(held_up_by) <= SLOTS  # who got a slot before, and began a moment after


def test_memory_is_bounded(finished):
    """Two hundred runs leave what holds queue, ledger, executions and jobs at some hundred megabytes."""
    _, most = finished
    LOG.info("the emulator held %d MB at most", most >> 20)
    assert most < MOST_BYTES
