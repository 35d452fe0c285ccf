"""OGC API – Processes over models and runs: described, ordered, listed, stopped, begun anew; and what is refused."""

import json
from contextlib import contextmanager
from urllib.parse import urlsplit

import jsonschema
import pytest
from starlette.testclient import TestClient

from geodl_core.catalog.api.app import create_app
from geodl_core.catalog.model_versions import reference
from geodl_core.domain.place.access import Access
from geodl_core.domain.place.address import read_allowed
from geodl_core.domain.run.options import RunOptions
from geodl_core.io.remote.access import access_in_force
from geodl_core.service.ledger.leases import beat, failed, finished, lease_work, planned
from geodl_core.service.ledger.runs import place_orders, read_payload, read_run
from geodl_core.service.routes.process_documents import CONFORMANCE, process_links
from geodl_core.service.routes.processes_api import processes_router
from geodl_core.service.services import Services
from ledgers import PERMANENT, Clock, an_order, clear, compute, crew, facts
from stac_documents import make_collection
from watched import opened, register, scene
from websites import send, website

BASE = "http://127.0.0.1:8080"
EXCEPTION = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0"


@contextmanager
def client_of(services):
    app = create_app(services.catalog)
    app.include_router(processes_router(services))
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """Catalog and ledger with a model `net` in two versions."""
    folder = tmp_path_factory.mktemp("processes")
    with opened(folder) as services:
        register(services, folder, seed=4)
        model = register(services, folder, seed=5)
        yield services, model


@pytest.fixture
def services(registered):
    return registered[0]


@pytest.fixture
def api(services):
    with client_of(services) as client:
        yield client


@pytest.fixture
def ledger(services):
    clear(services.ledger)
    return services.ledger


def execute(api, item, **inputs):
    return api.post("/processes/net/execution", json={"inputs": {"item": item, **inputs}})


def require_problem(answer, status, kind=None):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == (f"{EXCEPTION}/{kind}" if kind else "about:blank")
    assert document["status"] == status
    return document["detail"]


def test_models_are_processes(api, registered):
    """Each registered model is listed once, by its latest version, with links that lead to it."""
    found = api.get("/processes").json()
    (process,) = found["processes"]
    assert (process["id"], process["version"]) == ("net", registered[1]["properties"]["version"])
    assert process["jobControlOptions"] == ["async-execute", "dismiss"]
    (self_link,) = [link["href"] for link in process["links"] if link["rel"] == "self"]
    described = api.get(urlsplit(self_link).path).json()
    assert {name: described[name] for name in process} == process


def test_inputs_are_described_as_they_are_taken(api):
    """A description has a JSON Schema for each input; values that it allows are taken, and others refused."""
    inputs = api.get("/processes/net").json()["inputs"]
    assert set(RunOptions.model_fields) - {"arguments"} < set(inputs)
    assert {"item", "padding", "tile_size", "priority", "output_collection"} <= set(inputs)
    for described in inputs.values():
        jsonschema.Draft202012Validator.check_schema(described["schema"])
    jsonschema.validate(scene("described"), inputs["item"]["schema"])
    good = {"pad": "reflect", "padding": 4, "precision": "fp32", "strict": True, "priority": 3, "shards": 2}
    for name, value in good.items():
        jsonschema.validate(value, inputs[name]["schema"])
        assert execute(api, scene("described"), **{name: value}).status_code == 201
    for name, value in {"pad": "x", "padding": -1, "priority": 999, "shards": 0, "strict": "x"}.items():
        assert not jsonschema.Draft202012Validator(inputs[name]["schema"]).is_valid(value)
        require_problem(execute(api, scene("described"), **{name: value}), 400)


def test_a_version_may_be_named(api, registered):
    """`NAME@VERSION` is one version; a model or version that there is not is no process."""
    older = [model for model in api.get("/processes/net").json()["links"] if model["rel"] == "self"]
    assert older
    assert api.get(f"/processes/{reference(registered[1])}").json()["version"] == registered[1]["properties"]["version"]
    require_problem(api.get("/processes/other"), 404, "no-such-process")
    require_problem(api.get("/processes/net@ffffffff"), 404, "no-such-process")
    require_problem(api.post("/processes/other/execution", json={"inputs": {}}), 404, "no-such-process")


def test_an_execution_is_an_order(api, ledger, registered):
    """A request places an order of the latest version, with its options and arguments, and says where it is."""
    inputs = {"bands": {"value": {"red": "red"}}, "padding": 8, "output_collection": "out", "priority": 7}
    body = {"inputs": {"item": {"value": scene(), "mediaType": "application/geo+json"}, **inputs}}
    answer = api.post("/processes/net/execution", json=body, headers={"Prefer": "respond-async"})
    assert answer.status_code == 201, answer.text
    status = answer.json()
    assert answer.headers["location"] == f"{BASE}/jobs/{status['jobID']}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert (status["status"], status["processID"], status["type"], status["progress"]) == (
        "accepted",
        "net",
        "process",
        0,
    )
    run = read_run(ledger, status["jobID"])
    assert run.model == reference(registered[1])
    assert dict(run.options) == {"arguments": {"padding": 8}, "bands": {"red": "red"}}
    assert (run.collection, run.priority, run.item_id, run.item_collection) == ("out", 7, "i", "scenes")
    assert read_payload(ledger, run.payload)["assets"]["red"]["href"] == "https://example.com/i/red.tif"
    again = api.post("/processes/net/execution", json=body)
    assert again.json()["jobID"] == status["jobID"]
    assert "preference-applied" not in again.headers
    assert api.get(answer.headers["location"].removeprefix(BASE)).json() == status


def test_an_item_is_taken_from_the_catalog(api, services, ledger):
    """`{collection, id}` means an Item that is there; one that is not, or a model, is refused."""
    services.catalog.put_collection(make_collection("scenes"))
    services.catalog.put_items([scene("kept")])
    answer = execute(api, {"collection": "scenes", "id": "kept"})
    assert read_run(ledger, answer.json()["jobID"]).item_id == "kept"
    assert "no Item" in require_problem(execute(api, {"collection": "scenes", "id": "gone"}), 400)
    model = services.catalog.read_collection("models")
    assert model is not None
    require_problem(execute(api, {"collection": "models", "id": "net"}), 400)


def test_an_item_is_fetched_from_public_servers_alone(api, ledger):
    """`{href}` is asked of public servers; one on this machine, or a path, is refused unless the operator allows it."""
    with website(lambda handler: send(handler, 200, json.dumps(scene("fetched")).encode())) as site:
        href = f"http://127.0.0.1:{site.port}/item.json"
        assert "refused" in require_problem(execute(api, {"href": href}), 400)
        for path in ("/tmp/item.json", "file:///tmp/item.json", "s3://bucket/item.json"):
            require_problem(execute(api, {"href": path}), 400)
        with access_in_force(Access(allowed_hosts=read_allowed(urlsplit(href).netloc))):
            answer = execute(api, {"href": href})
    assert read_run(ledger, answer.json()["jobID"]).item_id == "fetched"


@pytest.mark.parametrize(
    "href",
    ["/etc/passwd", "file:///etc/passwd", "red.tif", "../red.tif", "/vsicurl/http://x/y.tif", "<VRTDataset/>", "x:y"],
)
def test_files_of_the_server_are_not_read(api, services, ledger, href):
    """An Item in a request may not name files of this machine, but below the folders that the server was given."""
    item = scene()
    item["assets"]["red"]["href"] = href
    require_problem(execute(api, item), 400)
    assert api.get("/jobs").json()["jobs"] == []


def test_relative_hrefs_start_where_the_item_lies(api, ledger):
    """An Item that says where it lies may name its files from there."""
    item = scene(links=[{"rel": "self", "href": "https://example.com/a/item.json"}])
    item["assets"]["red"]["href"] = "./b/red.tif"
    run = read_run(ledger, execute(api, item).json()["jobID"])
    assert read_payload(ledger, run.payload)["assets"]["red"]["href"] == "https://example.com/a/b/red.tif"


def test_files_below_the_folders_are_read(services, ledger, tmp_path):
    """Where the server was given a folder, Items may name its files, and not those beside it."""
    (tmp_path / "in").mkdir()
    wider = Services(services.catalog, ledger, tmp_path, local_roots=(tmp_path / "in",))
    with client_of(wider) as api:
        for path, status in (("in/a.tif", 201), ("in/../b.tif", 400), ("b.tif", 400)):
            item = scene()
            item["assets"]["red"]["href"] = str(tmp_path / path)
            assert execute(api, item).status_code == status, path


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"inputs": []},
        {"inputs": {}},
        {"inputs": {"item": None}},
        {"inputs": {"item": "x"}},
        {"inputs": {"item": {"type": "Feature"}}},
        {"inputs": {"item": {"type": "FeatureCollection", "features": []}}},
        {"inputs": {"item": {"href": 5}}},
        {"inputs": {"item": scene(), "colour": "red"}},
        {"inputs": {"item": scene(), "aoi": "/etc/passwd"}},
        {"inputs": {"item": scene(), "snap": "/etc/passwd"}},
        {"inputs": {"item": scene(), "output_collection": "a/b"}},
        {"inputs": {"item": scene(), "priority": True}},
        {"inputs": {"item": {**scene(), "geometry": {"type": "Polygon", "coordinates": "x"}}}},
        {"inputs": {"item": scene()}, "outputs": {"map": {}}},
        {"inputs": {"item": scene()}, "outputs": {"item": {"transmissionMode": "reference"}}},
        {"inputs": {"item": scene()}, "subscriber": {"successUri": "https://example.com"}},
    ],
)
def test_what_cannot_be_run_is_refused(api, ledger, body):
    """A body that makes no order gets 400 with a line about why, and leaves no run."""
    require_problem(api.post("/processes/net/execution", json=body), 400)
    assert api.get("/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"inputs": {"item": NaN}}', "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "application/x-www-form-urlencoded", 415),
    ],
)
def test_bodies_that_are_no_json_are_refused(api, content, kind, status):
    """Broken JSON is refused, and so is what a page of another site could send without leave."""
    require_problem(api.post("/processes/net/execution", content=content, headers={"Content-Type": kind}), status)


def test_a_job_tells_how_far_it_is(api, ledger):
    """Status, progress, message and times are those of the run, and links fit the state."""
    job = f"/jobs/{execute(api, scene()).json()['jobID']}"
    work = lease_work(ledger, crew())
    assert api.get(job).json()["status"] == "running"
    planned(ledger, work.lease, facts(shards=1, tiles=8))
    beat(ledger, lease_work(ledger, crew()).lease, 3)
    status = api.get(job).json()
    assert (status["status"], status["progress"], status["message"]) == ("running", 37, "running")
    assert "started" in status
    assert "finished" not in status
    assert {link["rel"] for link in status["links"]} >= {"self", "monitor"}
    for link in status["links"]:
        if link["rel"] != "monitor":
            assert api.get(link["href"].removeprefix(BASE)).status_code == 200
    assert api.get(job[: len("/jobs/") + 8]).json()["jobID"] == status["jobID"]


def test_results_are_stac_items(api, services, ledger):
    """A run's result is its Item by value, with this server's links, and its address."""
    services.catalog.put_collection(make_collection("results"))
    services.catalog.put_items([scene("result", "results")])
    job = f"/jobs/{execute(api, scene()).json()['jobID']}"
    require_problem(api.get(f"{job}/results"), 404, "result-not-ready")
    compute(ledger)
    status = api.get(job).json()
    assert (status["status"], status["progress"]) == ("successful", 100)
    (results,) = [link["href"] for link in status["links"] if link["rel"].endswith("/results")]
    found = api.get(results.removeprefix(BASE)).json()
    assert found["item"]["mediaType"] == "application/geo+json"
    assert found["item"]["value"]["id"] == "result"
    assert found["link"]["href"] == f"{BASE}/collections/results/items/result"
    assert {link["rel"]: link["href"] for link in found["item"]["value"]["links"]}["self"] == found["link"]["href"]
    services.catalog.delete_item("results", "result")
    require_problem(api.get(f"{job}/results"), 410)


def test_failed_runs_say_why(api, ledger):
    """A run that was invalid has no results but a reason, also where they are asked for."""
    job = f"/jobs/{execute(api, scene()).json()['jobID']}"
    failed(ledger, lease_work(ledger, crew()).lease, PERMANENT)
    status = api.get(job).json()
    assert (status["status"], status["message"]) == ("failed", "ItemError: no red band")
    assert status["geodl"]["state"] == "invalid"
    assert "no red band" in require_problem(api.get(f"{job}/results"), 400)


def test_jobs_are_dismissed_and_begun_anew(api, ledger):
    """DELETE stops a run, retry and rerun queue it; what cannot be is a conflict."""
    job = f"/jobs/{execute(api, scene()).json()['jobID']}"
    require_problem(api.post(f"{job}/retry"), 409)
    assert api.delete(job).json()["status"] == "dismissed"
    assert api.delete(job).json()["status"] == "dismissed"
    require_problem(api.get(f"{job}/results"), 404, "result-not-ready")
    again = api.post(f"{job}/retry").json()
    assert (again["status"], again["geodl"]["attempt"]) == ("accepted", 2)
    finished(ledger, lease_work(ledger, crew()).lease, ("r", "x"), facts(), "found")
    require_problem(api.post(f"{job}/retry"), 409)
    assert api.delete(job).json()["status"] == "successful"
    assert api.post(f"{job}/rerun").json()["geodl"]["is_forced"]
    events = api.get(f"{job}/history").json()["events"]
    assert [event["state"] for event in events] == [
        *("queued", "cancelled", "queued", "claimed", "succeeded", "queued")
    ]
    assert api.get(f"{job}/history", params={"after": events[2]["seq"]}).json()["events"] == events[3:]


def test_logs_are_read_on(api, ledger):
    """What workers said is listed, and from where it was read last."""
    job = f"/jobs/{execute(api, scene()).json()['jobID']}"
    beat(ledger, lease_work(ledger, crew()).lease, 0, [("info", "one"), ("warning", "two")])
    lines = api.get(f"{job}/logs").json()["lines"]
    assert [(line["level"], line["text"], line["worker"]) for line in lines] == [
        ("info", "one", "worker"),
        ("warning", "two", "worker"),
    ]
    assert api.get(f"{job}/logs", params={"after": lines[0]["seq"]}).json()["lines"] == lines[1:]


@pytest.mark.parametrize("job_id", ["0" * 64, "abcdef12", "abc", "%25%25%25%25%25%25%25%25", "x" * 190])
@pytest.mark.parametrize("path", ["", "/results", "/history", "/logs"])
def test_jobs_that_there_are_not(api, job_id, path):
    """An id that means no run is 404, as the standard names it."""
    require_problem(api.get(f"/jobs/{job_id}{path}"), 404, "no-such-job")


@pytest.fixture
def many(ledger):
    """Nine runs, of which some ended."""
    clock = Clock(1_700_000_000.0)
    before, ledger.clock = ledger.clock, clock
    clock.tick = 10
    orders = [
        an_order(f"s{n}", model=f"m{n % 2}@0123456789ab", watch="w" if n < 4 else None, priority=-n) for n in range(9)
    ]
    ids = [each.run_id for each in place_orders(ledger, orders)]
    clock.tick = 0
    work = lease_work(ledger, crew())
    clock.wait(100)
    finished(ledger, work.lease, ("r", "x"), facts(), "found")
    failed(ledger, lease_work(ledger, crew()).lease, PERMANENT)
    yield ids
    ledger.clock = before


def test_lists_are_filtered_and_linked(api, many):
    """The standard's parameters and geodl's own choose jobs, and `next` links lead through all of them once."""

    def names(**query):
        return sorted(job["geodl"]["item"]["id"] for job in api.get("/jobs", params=query).json()["jobs"])

    everything = [f"s{n}" for n in range(9)]
    assert names() == names(type="process") == everything
    assert names(type="other") == names(status="dismissed") == []
    assert names(status="successful") == ["s0"]
    assert names(status=["failed", "successful"]) == ["s0", "s1"]
    assert names(status="failed", state="failed") == []
    assert names(state="invalid") == ["s1"]
    assert names(processID="m0") == everything[::2]
    assert names(processID=["m0", "m1@0123456789ab"]) == everything
    assert names(watch="w") == everything[:4]
    assert names(item="s2/s3") == ["s3"]
    assert names(minDuration=50) == ["s0"]
    assert names(maxDuration=50) == ["s1"]
    created = api.get("/jobs", params={"item": "s2/s4"}).json()["jobs"][0]["created"]
    assert names(datetime=f"{created}/..") == everything[4:]
    assert names(datetime=f"../{created}") == everything[:5]
    assert names(since="2023-11-14T22:14:40Z") == ["s0", "s1", *everything[7:]]
    found, url = [], "/jobs?limit=2&status=accepted"
    while url:
        page = api.get(url).json()
        assert len(page["jobs"]) <= 2
        found += [job["geodl"]["item"]["id"] for job in page["jobs"]]
        url = next((link["href"].removeprefix(BASE) for link in page["links"] if link["rel"] == "next"), None)
    assert found == everything[:1:-1]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "status=nearly",
        "state=x",
        "datetime=yesterday",
        "since=x",
        "before=x",
        "item=",
        "minDuration=-1",
    ],
)
def test_odd_parameters_are_refused(api, query):
    """A parameter outside its domain is 400, with its name."""
    assert query.partition("=")[0] in require_problem(api.get(f"/jobs?{query}"), 400).lower() + query


def test_the_landing_page_gets_its_links(api):
    """Classes of conformance are of the standard, and each link of the landing page leads somewhere."""
    assert all(uri.startswith("http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/") for uri in CONFORMANCE)
    for relation, path, _, _ in process_links():
        assert relation.startswith("http://www.opengis.net/def/rel/ogc/1.0/")
        assert api.get(f"/{path}").status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "watch=%00",
        "processID=a%00b",
        "item=s2/%00",
        "before=1,%00",
        "before=x,y",
        "minDuration=nan",
        "since=9999-99-99",
    ],
)
def test_lists_of_what_no_database_takes_are_refused(api, query):
    """Whatever stands in a question for jobs, the answer says that it does not serve, not that the server is away."""
    require_problem(api.get(f"/jobs?{query}"), 400)


def test_places_beyond_any_history_are_refused(api, ledger):
    """A number that no line of history can have is refused, and no fault of the server."""
    run_id = place_orders(ledger, [an_order()])[0].run_id
    for what in ("history", "logs"):
        require_problem(api.get(f"/jobs/{run_id}/{what}?after={10**20}"), 400)
