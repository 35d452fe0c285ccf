"""Queries of the table that take several requests: each page once, none more than is needed."""

from itertools import pairwise

import pytest

from geodl_core.aws.ledger import found_runs
from geodl_core.aws.ledger.found_runs import Count, count_runs, find_run
from geodl_core.aws.ledger.ledger import DynamoLedger, StatePage, list_by_state, query_pages
from geodl_core.domain.run.state import STATES
from geodl_core.errors import InputError


class Table:
    """A table whose every query has the same pages; notes where each request began."""

    name = "runs"

    def __init__(self, pages):
        self._pages, self.begun = pages, []

    def query(self, **asked):
        begin = asked.get("ExclusiveStartKey", 0)
        self.begun.append(begin)
        page = {"Items": [], "Count": 0, **self._pages[begin]}
        return page if begin + 1 == len(self._pages) else page | {"LastEvaluatedKey": begin + 1}


def ledger(*pages):
    return DynamoLedger(Table(pages), lambda: 0.0)


def test_pages_are_asked_for_when_they_are_wanted():
    """Each page begins where the one before ended; who stops looking asks no more."""
    there = ledger({"Items": [1]}, {}, {"Items": [2, 3]})
    assert [one for page in query_pages(there) for one in page["Items"]] == [1, 2, 3]
    assert there.table.begun == [0, 1, 2]
    next(query_pages(there))
    assert there.table.begun[3:] == [0]


def test_runs_are_counted_over_all_pages(monkeypatch):
    """Beyond a great number counting stops, and says so where there is more."""
    monkeypatch.setattr(found_runs, "MOST_COUNTED", 5)
    assert count_runs(ledger({"Count": 2}, {"Count": 0}, {"Count": 1})) == dict.fromkeys(STATES, Count(3))
    assert set(count_runs(ledger({"Count": 4}, {"Count": 4})).values()) == {Count(8)}
    more = ledger({"Count": 4}, {"Count": 1}, {"Count": 9})
    assert set(count_runs(more).values()) == {Count(5, is_all=False)}
    assert max(more.table.begun) == 1


def test_an_id_is_looked_for_until_a_page_has_it():
    """Empty pages are passed over, and what comes after the first hits is not asked for."""
    there = ledger({}, {"Items": [{"id": "0123456789"}, {"id": "01234567ab"}]}, {"Items": [{"id": "01234567ff"}]})
    with pytest.raises(InputError, match=r"several begin so: 0123456789, 01234567ab$"):
        find_run(there, "01234567")
    assert there.table.begun == [0, 1]
    nowhere = ledger({}, {})
    with pytest.raises(InputError, match="no run 01234567"):
        find_run(nowhere, "01234567")
    assert all(second == 1 - first for first, second in pairwise(nowhere.table.begun))


def test_a_list_ends_at_its_limit():
    """As many pages are asked for as the limit takes, also where a filter leaves pages empty."""
    names = ("id", "state", "attempt", "priority", "item_id", "model", "created", "updated", "not_before", "is_forced")
    rows = [dict.fromkeys(names, number) for number in range(6)]
    there = ledger({"Items": rows[:2]}, {}, {"Items": rows[2:5]}, {"Items": rows[5:]})
    assert [run.id for run in list_by_state(there, "failed", StatePage(4))] == [0, 1, 2, 3]
    assert there.table.begun == [0, 1, 2]
