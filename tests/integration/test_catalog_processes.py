"""Several processes share one catalog file, and none that is killed takes an acknowledged Item along."""

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.query import ItemQuery

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from geodl_core.catalog.sqlite import SqliteCatalog
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
catalog = SqliteCatalog(path)
catalog.put_collection({"id": "c"})
for number in range(count):
    catalog.put_item({
        "type": "Feature", "id": f"{name}-{number}", "collection": "c",
        "geometry": {"type": "Point", "coordinates": [number % 180, 1]},
        "properties": {"datetime": "2024-01-01T00:00:00Z", "text": "x" * 5000}, "assets": {}, "links": [],
    })
    print(f"{name}-{number}", flush=True)
"""


def writer(path, name, count, log):
    return subprocess.Popen([sys.executable, "-c", WRITER, path, name, str(count)], cwd=ROOT, stdout=log)


def assert_sound(path, expected):
    with SqliteCatalog(path) as catalog:
        stored, token = set(), None
        while True:
            page = catalog.search(ItemQuery(limit=1000, token=token))
            stored |= {item["id"] for item in page.items}
            token = page.next_token
            if token is None:
                break
        written = [row.item_id for row in catalog.outbox(0, 100_000) if row.item_id]
    assert expected <= stored
    assert sorted(written) == sorted(stored)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT count(*) FROM items_rtree").fetchone() == (len(stored),)
    connection.close()


def test_processes_create_and_write_one_catalog(tmp_path):
    """Four processes that start at once make one catalog, and every Item of each is in it."""
    path = tmp_path / "catalog.db"
    logs = [(tmp_path / f"{name}.log").open("wb") for name in "abcd"]
    running = [writer(path, name, 25, log) for name, log in zip("abcd", logs, strict=True)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0, 0]
    for log in logs:
        log.close()
    assert_sound(path, {f"{name}-{number}" for name in "abcd" for number in range(25)})


def test_kill_loses_nothing_acknowledged(tmp_path):
    """Writers killed in the middle of their work leave a sound catalog with all that they acknowledged."""
    path = tmp_path / "catalog.db"
    logs = {name: tmp_path / f"{name}.log" for name in "ab"}
    opened = [log.open("wb") for log in logs.values()]
    running = [writer(path, name, 1_000_000, log) for name, log in zip(logs, opened, strict=True)]
    deadline = time.monotonic() + 30
    while any(log.stat().st_size < 100 for log in logs.values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for log in opened:
        log.close()
    # The last line may have been cut off; a whole one is an acknowledgement.
    acknowledged = {line for log in logs.values() for line in log.read_text().split("\n")[:-1]}
    assert len(acknowledged) > 20
    assert_sound(path, acknowledged)
