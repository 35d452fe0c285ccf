"""The outbox of an embedded catalog is kept short without holding up those who write."""

import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from geodl_core.catalog import sqlite
from geodl_core.catalog.sqlite import PRUNED, SqliteCatalog
from stac_documents import make_collection, make_item

START = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def catalog(tmp_path):
    """A catalog whose row of number n in the outbox is of minute n; the first is that of the Collection."""
    minutes = iter(range(1, 10_000))
    with SqliteCatalog(tmp_path / "catalog.db", clock=lambda: START + timedelta(minutes=next(minutes))) as opened:
        opened.put_collection(make_collection("c"))
        yield opened


def fill(catalog, count):
    """Rows 2 … count + 1, quickly."""
    connection = sqlite3.connect(catalog.path)
    rows = [(f"i{n}", (START + timedelta(minutes=n)).isoformat()) for n in range(2, count + 2)]
    with connection:
        connection.executemany("INSERT INTO outbox (op, collection, id, etag, at) VALUES ('create','c',?,'e',?)", rows)
    connection.close()


def numbers(catalog):
    return [row.seq for row in catalog.outbox(0, 100_000)]


@pytest.mark.parametrize(
    ("before_seq", "minute", "kept"),
    [(0, 99, range(1, 11)), (4, 99, range(5, 11)), (99, 4, range(4, 11)), (99, 99, []), (2, 4, range(3, 11))],
)
def test_only_what_is_read_and_old_goes(catalog, before_seq, minute, kept):
    """Rows go that are both at or before a number and older than a time; how many is told."""
    fill(catalog, 9)
    assert catalog.prune_outbox(before_seq, START + timedelta(minutes=minute)) == 10 - len(kept)
    assert numbers(catalog) == list(kept)
    assert catalog.prune_outbox(before_seq, START + timedelta(minutes=minute)) == 0


def test_times_of_any_zone_and_fraction_are_compared(catalog):
    """The time is compared as a time: other zones and parts of a second change nothing."""
    fill(catalog, 9)
    here = timezone(timedelta(hours=-7))
    assert catalog.prune_outbox(99, (START + timedelta(minutes=3)).astimezone(here)) == 2
    assert catalog.prune_outbox(99, START + timedelta(minutes=3, microseconds=1)) == 1
    assert numbers(catalog) == list(range(4, 11))


def test_gaps_and_rows_that_stay_between_do_not_matter(catalog):
    """Many rows go in many steps, around such as are too young."""
    fill(catalog, 3 * PRUNED)
    connection = sqlite3.connect(catalog.path)
    with connection:
        connection.execute("UPDATE outbox SET at = '2030-01-01T00:00:00+00:00' WHERE seq % 500 = 0")
        connection.execute("DELETE FROM outbox WHERE seq BETWEEN 700 AND 1900")
    connection.close()
    before = numbers(catalog)
    kept = [seq for seq in before if seq % 500 == 0 or seq > 2_600]
    assert catalog.prune_outbox(2_600, datetime(2029, 1, 1, tzinfo=UTC)) == len(before) - len(kept)
    assert numbers(catalog) == kept


def test_numbers_are_not_used_again(catalog):
    """The outbox goes on counting where it was, even after all of it went."""
    fill(catalog, 9)
    catalog.prune_outbox(99, START + timedelta(days=1))
    catalog.put_item(make_item("new") | {"collection": "c"})
    assert numbers(catalog) == [11]


def test_writers_get_their_turn_in_between(catalog, monkeypatch):
    """An Item that is written while thousands of rows go is stored after a few of them, not after all."""
    monkeypatch.setattr(sqlite, "PRUNED", 50)
    fill(catalog, 5_000)
    seen = []

    def write():
        with SqliteCatalog(catalog.path) as other:
            other.put_item(make_item("meanwhile") | {"collection": "c"})
            seen.append(len(numbers(other)))

    pruning = threading.Thread(target=lambda: catalog.prune_outbox(5_000, START + timedelta(days=99)))
    pruning.start()
    while len(numbers(catalog)) > 4_900:
        pass
    write()
    pruning.join()
    assert seen[0] > 100
    assert len(numbers(catalog)) == 2
