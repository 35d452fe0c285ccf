"""Watches in DynamoDB: kept, changed, paused, removed; each change counts."""

import random

import pytest

from geodl_core.aws.ledger.watches import (
    keep_remark,
    list_cloud_watches,
    pause_cloud_watch,
    put_cloud_watch,
    read_cloud_watch,
    read_remark,
    remove_cloud_watch,
    revision_of_watches,
)
from geodl_core.domain.watch.watch import read_watch
from geodl_core.errors import InputError
from geodl_core.service.watches.verdict import Remark


def watch(name="w", **more):
    return read_watch({"name": name, "model": "water", **more}, name)


def test_a_watch_is_kept_as_it_was_written(cloud):
    """What is read is what was put, with when it was made and changed."""
    put = watch(aoi="12.5,47.5,13,48", filter="eo:cloud_cover < 20", options={"arguments": {"threshold": 0.25}})
    kept = put_cloud_watch(cloud.ledger, put, replaces=False)
    assert read_cloud_watch(cloud.ledger, "w") == kept
    assert kept.watch == put
    assert not kept.is_paused
    changed = put_cloud_watch(cloud.ledger, watch(priority=5), replaces=True)
    assert (changed.created, changed.watch.priority) == (kept.created, 5)
    assert changed.updated > kept.updated


def test_every_change_has_a_revision(cloud):
    """Adding, replacing, pausing and removing each change the number that followers look at."""
    seen = [revision_of_watches(cloud.ledger)]
    for change in (
        lambda: put_cloud_watch(cloud.ledger, watch("a"), replaces=False),
        lambda: put_cloud_watch(cloud.ledger, watch("b"), replaces=False),
        lambda: put_cloud_watch(cloud.ledger, watch("a", priority=1), replaces=True),
        lambda: pause_cloud_watch(cloud.ledger, "a", is_paused=True),
        lambda: remove_cloud_watch(cloud.ledger, "b"),
    ):
        change()
        seen.append(revision_of_watches(cloud.ledger))
    assert seen == [0, 1, 2, 3, 4, 5]
    (left,) = list_cloud_watches(cloud.ledger)
    assert (left.watch.name, left.is_paused, left.watch.priority) == ("a", True, 1)
    assert put_cloud_watch(cloud.ledger, watch("a"), replaces=True).is_paused


def test_names_are_taken_and_missed(cloud):
    """A name that is taken is refused, one that is missed is told with those that there are."""
    put_cloud_watch(cloud.ledger, watch("here"), replaces=False)
    with pytest.raises(InputError, match="there is one already"):
        put_cloud_watch(cloud.ledger, watch("here"), replaces=False)
    for call in (read_cloud_watch, remove_cloud_watch):
        with pytest.raises(InputError, match="no watch there; there are: here"):
            call(cloud.ledger, "there")


def test_more_watches_than_one_request_gives(cloud):
    """A hundred and thirty watches are all listed."""
    for number in range(130):
        put_cloud_watch(cloud.ledger, watch(f"w{number:03}"), replaces=False)
    assert len(list_cloud_watches(cloud.ledger)) == 130


def test_an_area_that_is_too_large_is_refused(cloud):
    """DynamoDB's rows are bounded: a watch beyond that is told so, not cut."""

    numbers = random.Random(1)
    ring = [[round(numbers.uniform(0, 50), 12), round(numbers.uniform(0, 50), 12)] for _ in range(60_000)]
    parts = [[[*ring[i : i + 3], ring[i]]] for i in range(0, len(ring), 3)]
    big = watch().model_copy(update={"aoi": str({"type": "MultiPolygon", "coordinates": parts})})
    with pytest.raises(InputError, match="packed"):
        put_cloud_watch(cloud.ledger, big, replaces=False)


def test_the_last_remark_stays(cloud):
    """Of what a watch passed over the last is told, and how many there were."""
    assert read_remark(cloud.ledger, "w") is None
    for number in range(3):
        keep_remark(cloud.ledger, Remark("w", f"c/i{number}", "no model"))
    told = read_remark(cloud.ledger, "w")
    assert (told["count"], told["item"], told["text"]) == (3, "c/i2", "no model")
