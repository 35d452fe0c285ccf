"""What the ledger's queries look at: never at all runs, for those that are asked again and again."""

import pytest
from sqlalchemy import event

from geodl_core.service.ledger.leases import beat, lease_work, planned, shards_done
from geodl_core.service.ledger.next_unit import FEW_UNITS
from geodl_core.service.ledger.runs import RunFilter, history, list_runs, place_orders, prune_runs, read_run
from ledgers import Clock, an_order, crew, empty_ledger, facts

WHOLE = ("SCAN runs", "SCAN units", "SCAN history")


@pytest.mark.parametrize("count", [5, FEW_UNITS + 5])
def test_no_query_of_a_worker_goes_through_a_whole_table(tmp_path, count):
    """Polls, leases, heartbeats and look-ups are answered from indexes, as SQLite says, with few or many units open."""
    asked = []
    with empty_ledger(str(tmp_path / "catalog.db"), Clock()) as ledger:
        ids = [placed.run_id for placed in place_orders(ledger, [an_order(str(n)) for n in range(count)])]
        event.listen(ledger._engine, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
        plan = lease_work(ledger, crew())
        planned(ledger, plan.lease, facts(shards=1))
        shard = lease_work(ledger, crew())
        beat(ledger, shard.lease, 1)
        shards_done(ledger, shard.lease)
        lease_work(ledger, crew(kinds=("shard",)))
        read_run(ledger, ids[0][:8])
        history(ledger, ids[0])
        history(ledger, None, after=3)
        list_runs(ledger, RunFilter(states=("failed",)))
        list_runs(ledger, RunFilter(watch="fields"))
        prune_runs(ledger, 0.0)
        prune_runs(ledger, 1e12)
        with ledger.reading() as connection:
            for statement, values in asked:
                if statement.split()[0] in ("SELECT", "UPDATE", "DELETE"):
                    found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
                    steps = [row[3] for row in found]
                    assert not [step for step in steps if step in ("SCAN runs", "SCAN units", "SCAN history")], (
                        statement
                    )
    assert len(asked) > 30
