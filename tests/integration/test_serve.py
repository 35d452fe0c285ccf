"""`geodl serve` with workers: what is published is run once, whatever happens to servers and workers."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from commands import geodl
from geodl_core.service.ledger.database import Ledger
from geodl_core.service.ledger.runs import RunFilter, history, list_runs
from orders import OPTIONS, make_works, run_now, wait_for
from postgres import PASSWORD, database
from runs import data_files
from served import serving
from stac_documents import make_collection, make_item

NAME = "scenes"


@pytest.fixture
def works(tmp_path, monkeypatch):
    """A scene, a model and an empty ledger."""
    for name in ("GEODL_OUT", "GEODL_CATALOG", "GEODL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return make_works(tmp_path)


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A scene that takes a worker some seconds."""
    for name in ("GEODL_OUT", "GEODL_CATALOG", "GEODL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return make_works(tmp_path, (2600, 2600))


def serve(works, *arguments, workers=1, log="log"):
    """Return a server of the works' catalog."""
    words = ("--out", works.out, "--threads", 1, *arguments)
    cache = {"GEODL_CACHE": str(works.folder / "cache")}
    return serving(works.catalog, works.folder / log, *words, workers=workers, **cache)


def lines(works, log="log"):
    return [json.loads(line) for line in (works.folder / log).read_text().splitlines()]


def pids(works, log="log"):
    """Return the processes of all workers that a server has started."""
    return [one["pid"] for one in lines(works, log) if one["event"] == "worker started"]


def is_alive(pid):
    """Say whether a process runs; one that has ended may wait for whoever reaps the orphans here."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def watch(works, url, **options):
    """Add the Collection, and a watch over it."""
    document = {"name": "all", "model": works.model, "collections": [NAME], "options": OPTIONS | options}
    assert requests.post(f"{url}/collections", json=make_collection(NAME), timeout=20).status_code == 201
    answer = requests.post(f"{url}/watches", json=document, timeout=20)
    assert answer.status_code in (200, 201), answer.text


def publish(works, url, item_id="scene"):
    item = works.item | {"id": item_id, "collection": NAME}
    answer = requests.post(f"{url}/collections/{NAME}/items", json=item, timeout=30)
    assert answer.status_code == 201, answer.text


def runs(works):
    with Ledger(works.catalog) as ledger:
        return list_runs(ledger, RunFilter(limit=1_000))


def events(works):
    with Ledger(works.catalog) as ledger:
        return [event.text for event in history(ledger, None)]


def wait_for_runs(works, count=1):
    """Wait until so many runs have succeeded, and return all runs."""
    wait_for(lambda: sum(run.state == "succeeded" for run in runs(works)) == count, f"end: {events(works)}")
    return runs(works)


def parts(works):
    return {path: path.stat().st_mtime_ns for path in works.out.glob("*/*/parts/*.part")}


def files(run):
    return data_files(Path(run.place))


def whole(works, *arguments):
    """Return the data files of `geodl run` for the same scene."""
    item = works.folder / "whole.json"
    item.write_text(json.dumps(works.item | {"id": "scene", "collection": NAME}))
    bands = [word for name, band in OPTIONS["bands"].items() for word in ("--band", f"{name}={band}")]
    words = [
        "--model",
        works.model,
        "--arg",
        "tile_size=96",
        *bands,
        "-o",
        works.folder / "whole",
        "--json",
        *arguments,
    ]
    result = geodl("run", item, *words, "--catalog", works.catalog, cwd=works.folder)
    assert result.returncode == 0, result.stderr
    (folder,) = {path.parent for path in (works.folder / "whole").glob("**/classification.tif")}
    return data_files(folder)


def test_what_is_published_is_run_and_shown(works):
    """A posted Item starts the run of a watch; result, tiles, numbers and log lines are there; all ends in order."""
    with serve(works) as (process, url):
        watch(works, url)
        publish(works, url)
        (run,) = wait_for_runs(works)
        job = requests.get(f"{url}/jobs/{run.id}", timeout=10).json()
        assert job["status"] == "successful"
        item = requests.get(
            f"{url}/collections/{run.result_collection}/items/{run.result_id}", headers={"Accept": "*/*"}, timeout=10
        ).json()
        links = {link["rel"]: link["href"] for link in item["links"]}
        document = requests.get(links["tilejson"], timeout=20).json()
        assert document["tiles"]
        preview = requests.get(links["preview"].replace("/map", "/preview.png"), timeout=20)
        assert preview.headers["content-type"] == "image/png"
        numbers = requests.get(f"{url}/metrics", timeout=10).text
        assert 'geodl_runs{state="succeeded"} 1.0' in numbers
        assert "geodl_worker_processes 1.0" in numbers
        landing = requests.get(url, timeout=10).json()
        relations = {link["rel"].rpartition("/")[2] for link in landing["links"]}
        assert relations >= {"service-desc", "service-doc", "processes", "job-list", "watches", "metrics"}
        assert any("ogcapi-processes" in one for one in landing["conformsTo"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    said = lines(works)
    assert [one for one in said if one.get("run") == run.id and one["event"] == "work ends"]
    assert not [one for one in said if one["level"] in ("warning", "error")]
    assert not any(is_alive(pid) for pid in pids(works))
    assert files(run) == whole(works)


def test_a_server_that_stops_hands_back_its_shards(large):
    """Told to stop, a server ends soon, its worker with it, and nothing is lost: the next one goes on with the rest."""
    with serve(large) as (process, url):
        watch(large, url, shards=12)
        publish(large, url)
        wait_for(lambda: len(parts(large)) >= 3, "third part")
        stream = requests.get(f"{url}/events", headers={"Accept": "text/event-stream"}, stream=True, timeout=30)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=25) == 0
        stream.close()
        assert time.monotonic() - began < 20
    assert not any(is_alive(pid) for pid in pids(large))
    kept = parts(large)
    (run,) = runs(large)
    assert run.state == "running"
    assert any("handed back" in text for text in events(large))
    with serve(large, log="second") as (_, url):
        seen = {}

        def is_over():
            seen.update({path: at for path, at in parts(large).items() if path in kept})
            return run_now(large, run.id).state == "succeeded"

        wait_for(is_over, "success")
    assert seen
    assert all(kept[path] == at for path, at in seen.items())
    assert files(run_now(large, run.id)) == whole(large, "--shards", "12")


def test_a_server_killed_hard_leaves_nothing_behind(large):
    """Killed with SIGKILL, a server takes its workers along; what it had acknowledged is run by the next one."""
    with serve(large) as (process, url):
        watch(large, url, shards=12)
        publish(large, url)
        publish(large, url, "other")
        wait_for(lambda: len(parts(large)) >= 2, "second part")
        process.kill()
        process.wait()
        wait_for(lambda: not any(is_alive(pid) for pid in pids(large)), "end of the worker")
    with serve(large, log="second"):
        found = wait_for_runs(large, 2)
    assert {run.attempt for run in found} == {1}
    expected = whole(large, "--shards", "12")
    assert all(files(run) == expected for run in found)


def test_a_worker_killed_hard_is_replaced(large):
    """A worker killed with SIGKILL is started anew, and its shards are lent again at once, not when they are missed."""
    with serve(large) as (_, url):
        watch(large, url, shards=12)
        publish(large, url)
        wait_for(lambda: len(parts(large)) >= 2, "second part")
        os.kill(pids(large)[0], signal.SIGKILL)
        (run,) = wait_for_runs(large)
        assert len(pids(large)) == 2
        assert "geodl_worker_restarts_total 1.0" in requests.get(f"{url}/metrics", timeout=10).text
        assert requests.get(f"{url}/readyz", timeout=10).status_code == 200
    assert run.attempt == 1
    assert any(text.partition(": the worker ")[2].endswith(" ended") for text in events(works=large))
    assert files(run) == whole(large, "--shards", "12")


def test_two_servers_on_one_database(works):
    """Two servers share the work: each Item is run once, whoever took it, though many publish the same at a time."""
    with serve(works) as (first, one), serve(works, log="other") as (_, other):
        watch(works, one)
        names = [f"scene{number}" for number in range(8)]
        item = works.item | {"collection": NAME}

        def send(number):
            url = (one, other)[number % 2]
            document = item | {"id": names[number // 6 % len(names)]}
            return requests.post(f"{url}/publish", json=document, timeout=30).status_code

        with ThreadPoolExecutor(12) as pool:
            assert set(pool.map(send, range(6 * len(names)))) == {200}
        wait_for(lambda: sum(run.state == "succeeded" for run in runs(works)) >= 2, "two results")
        first.kill()
        found = wait_for_runs(works, len(names))
    assert sorted(run.item_id for run in found) == names
    assert {run.attempt for run in found} == {1}
    assert len({run.result_id for run in found}) == len(names)
    orders = [text for text in events(works) if text.startswith("ordered by")]
    assert len(orders) == len(names)


def test_a_folder_is_watched(works):
    """What is put into a watched folder is published, into the Collection that was named, and run."""
    folder = works.folder / "incoming"
    folder.mkdir()
    with serve(works, "--watch-folder", f"{NAME}={folder}") as (_, url):
        watch(works, url)
        document = json.dumps({**works.item, "id": "dropped", "collection": NAME})
        (folder / "item.part").write_text(document)
        (folder / "item.part").rename(folder / "item.json")
        (run,) = wait_for_runs(works)
    assert run.item_id == "dropped"


@pytest.mark.postgres
def test_a_server_on_postgresql(tmp_path, postgres):
    """A server of a PostgreSQL catalog keeps its tokens there, outlives its restart, and logs no password."""
    with database(postgres) as dsn:
        made = geodl("token", "add", "admin", "--scope", "admin", cwd=tmp_path, GEODL_CATALOG=dsn)
        assert made.returncode == 0, made.stderr
        header = {"Authorization": f"Bearer {made.stdout.strip()}"}
        with serving(dsn, tmp_path / "log", "--token-required", "--out", tmp_path / "out", workers=1) as (process, url):
            wait_for(lambda: requests.get(f"{url}/readyz", timeout=20).status_code == 200, "readiness")
            assert requests.post(f"{url}/collections", json=make_collection(NAME), timeout=20).status_code == 401
            answer = requests.post(f"{url}/collections", json=make_collection(NAME), headers=header, timeout=20)
            assert answer.status_code == 201
            item = make_item("i")
            answer = requests.post(f"{url}/collections/{NAME}/items", json=item, headers=header, timeout=20)
            assert answer.status_code == 201
            wait_for(lambda: "geodl_outbox_lag 0.0" in requests.get(f"{url}/metrics", timeout=20).text, "dispatch")
            postgres.stop()
            assert requests.get(f"{url}/readyz", timeout=30).status_code == 503
            assert requests.get(f"{url}/healthz", timeout=30).status_code == 200
            answer = requests.delete(f"{url}/collections/{NAME}", headers=header, timeout=30)
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
            postgres.start()
            wait_for(lambda: requests.get(f"{url}/readyz", timeout=20).status_code == 200, "readiness")
            assert requests.delete(f"{url}/collections/{NAME}", headers=header, timeout=30).status_code == 204
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=40) == 0
    log = (tmp_path / "log").read_text()
    assert PASSWORD not in log
    assert quote(PASSWORD, safe="") not in log
    # A worker that starts while the database is away says so in a plain line, and is started anew.
    said = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert not [line for line in said if line["level"] == "error"]
    assert not any(is_alive(line["pid"]) for line in said if line["event"] == "worker started")
