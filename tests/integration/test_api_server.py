"""`geodl serve` as a process of its own: commands and pystac-client use it; it is stopped, and killed."""

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pystac_client
import pytest
import requests

from commands import geodl, run_json
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.query import ItemQuery
from networks import conv_network, write_emd
from scenes import write_scene
from served import serving
from stac_documents import make_collection, make_item

CLIENT = """
import sys, requests
url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
session = requests.Session()
for number in range(count):
    item = {
        "type": "Feature", "stac_version": "1.1.0", "id": f"{name}-{number}", "links": [], "assets": {},
        "geometry": {"type": "Point", "coordinates": [number % 180, 1]},
        "properties": {"datetime": "2024-01-01T00:00:00Z", "text": "x" * 5000},
    }
    answer = session.post(f"{url}/collections/c/items", json=item)
    if answer.status_code != 201:
        sys.exit(answer.text)
    print(f"{name}-{number}", flush=True)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server, and the folder that it serves from."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder / "catalog.db", folder / "log") as (_, url):
        yield url, folder


def test_serve_answers_and_stops_when_told(tmp_path):
    """The server prints its address, logs each request as JSON, and ends well on SIGTERM; what it took is kept."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with serving(tmp_path / "catalog.db", tmp_path / "log") as (process, url):
            assert requests.get(f"{url}/readyz", timeout=10).json() == {"status": "ready"}
            name = f"c{int(number)}"
            assert requests.post(f"{url}/collections", json=make_collection(name), timeout=10).status_code == 201
            process.send_signal(number)
            assert process.wait(timeout=20) == 0
        lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert [one["event"] for one in lines] == ["serving", "request", "request"]
        lines = lines[1:]
        assert [(one["method"], one["path"], one["status"]) for one in lines] == [
            ("GET", "/readyz", 200),
            ("POST", "/collections", 201),
        ]
        assert all(one["ms"] > 0 and one["level"] == "info" and one["at"] for one in lines)
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=10)
    with SqliteCatalog(tmp_path / "catalog.db") as catalog:
        assert [one["id"] for one in catalog.collections()] == ["c15", "c2"]


def test_requests_under_way_are_answered_before_the_end(tmp_path):
    """A server that is told to stop in the middle of a request answers it first."""
    with serving(tmp_path / "catalog.db", tmp_path / "log") as (process, url):
        requests.post(f"{url}/collections", json=make_collection("c"), timeout=10)
        lock = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(
                requests.post(f"{url}/collections/c/items", json=make_item("a"), timeout=20).status_code
            )
        )
        thread.start()
        threading.Event().wait(0.5)  # so that the request is waiting for the lock
        process.send_signal(signal.SIGTERM)
        threading.Event().wait(0.5)
        lock.execute("ROLLBACK")
        lock.close()
        assert process.wait(timeout=20) == 0
        thread.join()
    assert answers == [201]


def test_serve_refuses_what_is_not_safe(tmp_path):
    """Other addresses, catalogs that are served already, and ports in use are errors in plain words."""
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.com"):
        result = geodl("serve", "--host", host, "--port", 0, cwd=tmp_path)
        assert (result.returncode, "the catalog has none" in result.stderr) == (2, True)
        assert "geodl token add NAME" in result.stderr
    result = geodl("serve", "--catalog", "https://stac.example.com", "--port", 0, cwd=tmp_path)
    assert (result.returncode, "expected a catalog file" in result.stderr) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = geodl("serve", "--port", taken.getsockname()[1], cwd=tmp_path)
    assert (result.returncode, "expected a free port" in result.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_run_search_and_rerun_through_the_server(server, tmp_path):
    """A run registers its result through the API; `geodl search` and pystac-client find it there."""
    url, _ = server
    item, _ = write_scene(tmp_path, (60, 70))
    conv_network(tmp_path / "net.onnx")
    emd = write_emd(tmp_path)
    env = {"GEODL_CACHE": str(tmp_path / "cache")}
    for arguments in ((), ("--arg", "padding=8", "--force")):
        said = run_json(item, "--model", emd, "-o", tmp_path / "out", "--catalog", url, *arguments, cwd=tmp_path, **env)
    found = geodl("search", "--catalog", url, "--json", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    features = json.loads(found.stdout)["features"]
    assert len(features) >= 1
    ids = {one["id"] for one in features}
    assert any(one in json.dumps(said) for one in ids)
    table = geodl("search", "--catalog", url, "--sortby", "-datetime", cwd=tmp_path)
    assert all(one in table.stdout for one in ids)
    client = pystac_client.Client.open(url)
    search = client.search(filter='"geodl:model" IS NOT NULL', filter_lang="cql2-text", sortby="-properties.created")
    items = list(search.items())
    assert {one.id for one in items} == ids
    assert search.matched() == len(ids)
    for one in items:
        assert any(Path(link.href).name == item.name for link in one.get_links("derived_from"))
        assert one.get_collection().id == one.collection_id
        assert all(Path(asset.href).is_file() for asset in one.assets.values())
    assert [one.id for one in client.get_collections()] == [items[0].collection_id]


def test_models_are_registered_through_the_server(server, tmp_path):
    """`geodl model add` and `list` work on a served catalog as on a file."""
    url, folder = server
    conv_network(tmp_path / "net.onnx")
    emd = write_emd(tmp_path)
    added = geodl("model", "add", emd, "--catalog", url, "--store", folder / "models", cwd=tmp_path)
    assert added.returncode == 0, added.stderr
    listed = geodl("model", "list", "--catalog", url, "--json", cwd=tmp_path)
    assert len(json.loads(listed.stdout)["features"]) == 1


def client(url, name, count, log):
    return subprocess.Popen([sys.executable, "-c", CLIENT, url, name, str(count)], stdout=log, stderr=subprocess.STDOUT)


def assert_sound(path, expected):
    """Each Item is there once, in space and in the outbox too, and SQLite finds no damage."""
    with SqliteCatalog(path) as catalog:
        found, token = set(), None
        while True:
            page = catalog.search(ItemQuery(limit=1000, token=token))
            found |= {item["id"] for item in page.items}
            token = page.next_token
            if token is None:
                break
        written = [row.item_id for row in catalog.outbox(0, 100_000) if row.item_id]
    assert expected <= found
    assert sorted(written) == sorted(found)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT count(*) FROM items_rtree").fetchone() == (len(found),)
    connection.close()


def test_kill_loses_no_acknowledged_item(tmp_path):
    """A server killed while two clients write has every Item that it acknowledged, and goes on when started anew."""
    path = tmp_path / "catalog.db"
    acknowledged = set()
    for turn in range(2):
        with serving(path, tmp_path / "log") as (process, url):
            if turn == 0:
                assert requests.post(f"{url}/collections", json=make_collection("c"), timeout=10).status_code == 201
            logs = {name: tmp_path / f"{name}{turn}.log" for name in "ab"}
            opened = [log.open("wb") for log in logs.values()]
            pairs = zip(logs, opened, strict=True)
            running = [client(url, f"{name}{turn}", 1_000_000, log) for name, log in pairs]
            while any(log.stat().st_size < 300 for log in logs.values()):
                assert all(one.poll() is None for one in running), [log.read_text() for log in logs.values()]
                threading.Event().wait(0.05)
            process.send_signal(signal.SIGKILL)
            process.wait()
            for one in running:
                one.wait(timeout=60)
            for log in opened:
                log.close()
        before = len(acknowledged)
        known = [line for log in logs.values() for line in log.read_text().splitlines()]
        acknowledged |= {line for line in known if line.startswith(("a", "b")) and line[1:2] == str(turn)}
        assert len(acknowledged) > before + 40
        assert_sound(path, acknowledged)


def test_four_clients_write_at_once(tmp_path):
    """Four processes publish through one server, and four more write the file itself, without an error."""
    path = tmp_path / "catalog.db"
    with serving(path, tmp_path / "log") as (_, url):
        requests.post(f"{url}/collections", json=make_collection("c"), timeout=10)
        logs = [(tmp_path / f"{name}.log").open("wb") for name in "abcd"]
        running = [client(url, name, 20, log) for name, log in zip("abcd", logs, strict=True)]
        with SqliteCatalog(path) as direct:
            for number in range(40):
                direct.put_item(make_item(f"direct-{number}") | {"collection": "c"})
        assert [one.wait(timeout=60) for one in running] == [0] * 4
        for log in logs:
            log.close()
    expected = {f"{name}-{number}" for name in "abcd" for number in range(20)}
    assert_sound(path, expected | {f"direct-{number}" for number in range(40)})
