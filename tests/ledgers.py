"""Ledgers for tests: emptied before each, with a clock that is set by hand, and orders to put into them."""

from contextlib import contextmanager
from dataclasses import replace

import sqlalchemy as sa

from geodl_core.domain.run.options import RunOptions
from geodl_core.domain.run.order import Order
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.leases import Crew, Failure, Planned, finished, lease_work, planned, shards_done
from geodl_core.service.ledger.runs import place_orders
from geodl_core.service.ledger.tables import METADATA, VERSION

DAY_S = 86_400
NOON = 20_000 * DAY_S + DAY_S / 2
TRANSIENT = Failure("StoreError", "the server does not answer", "try later", is_transient=True, state="failed")
PERMANENT = Failure("ItemError", "no red band", None, is_transient=False, state="invalid")


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now=NOON):
        self.now = now
        self.tick = 0
        """Seconds that pass with each look at it."""

    def __call__(self):
        self.now += self.tick
        return self.now

    def wait(self, seconds):
        self.now += seconds


@contextmanager
def empty_ledger(location, clock):
    """A ledger with nothing in it."""
    with Ledger(location, clock=clock) as ledger:
        clear(ledger)
        yield ledger


def clear(ledger):
    """Take everything out of a ledger."""
    with ledger.writing() as connection:
        there = set(sa.inspect(connection).get_table_names())
        for table in METADATA.tables.values():
            if table is not VERSION and table.name in there:
                connection.execute(table.delete())


def an_order(name="scene", **values):
    """An order for an Item of that name."""
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "collection": "s2",
        "geometry": None,
        "properties": {"datetime": "2024-05-01T00:00:00Z"},
        "assets": {"red": {"href": f"https://example.com/{name}/red.tif"}},
        "links": [],
    }
    order = Order(item, "landcover@0123456789ab", RunOptions())
    return replace(order, **values)


def place(ledger, *names, **values):
    """Place an order for each Item, and return the ids of their runs."""
    return [each.run_id for each in place_orders(ledger, [an_order(name, **values) for name in names])]


def crew(name="worker", **values):
    return Crew(name, **values)


def facts(shards=2, tiles=10, job="job", where="/out/job"):
    """What planning found out."""
    return Planned(job, where, shards, tiles)


def compute(ledger, result=("results", "result"), shards=2, by="worker"):
    """Do what is most urgent to its end: plan, shards, finish of one run; return its id."""
    work = lease_work(ledger, crew(by))
    assert work.kind == "plan"
    assert planned(ledger, work.lease, facts(shards, job=work.run.id))
    for _ in range(shards):
        shard = lease_work(ledger, crew(by))
        assert (shard.run.id, shard.kind) == (work.run.id, "shard")
        assert shards_done(ledger, shard.lease)
    end = lease_work(ledger, crew(by))
    assert (end.run.id, end.kind) == (work.run.id, "finish")
    assert finished(ledger, end.lease, result, None, "registered")
    return work.run.id
