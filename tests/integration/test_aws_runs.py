"""The status API: runs listed, shown, retried and cancelled; watches kept; by whom it may be."""

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from controls import controls_of, document_of, schedules_of
from geodl_core.aws.api.runs_api import ROUTES, Door, answer
from geodl_core.aws.ledger.ledger import move_run, read_run
from geodl_core.aws.site.secrets import read_tokens
from geodl_core.aws.steps.ingest import take_order
from geodl_core.domain.run.order import Order

EVENTS = Path(__file__).parents[1] / "events"
TOKENS = {name: f"gdl_{name}" for name in ("read", "publish", "admin")}


def known(_):
    entries = [
        {"name": name, "sha256": hashlib.sha256(text.encode()).hexdigest(), "scopes": [name]}
        for name, text in TOKENS.items()
    ]
    return read_tokens(json.dumps(entries))


class Client:
    """Asks as API Gateway does."""

    def __init__(self, cloud):
        self.controls, self.door = controls_of(cloud), Door(known)

    def ask(self, method, path, token="admin", body=None, **query):
        event = {"headers": {"authorization": f"Bearer {TOKENS[token]}"} if token else {}, "requestContext": {}}
        if query:
            event["queryStringParameters"] = {name: str(value) for name, value in query.items()}
        if body is not None:
            event["body"] = json.dumps(body)
        pattern, names = self._route(method, path)
        reply = answer(self.controls, self.door, (method, pattern), event, names)
        return reply.status, json.loads(reply.body or "null")

    @staticmethod
    def _route(method, path):
        parts = path.split("/")
        for verb, pattern in ROUTES:
            wanted = pattern.split("/")
            pairs = list(zip(parts, wanted, strict=False))
            if verb == method and len(parts) == len(wanted) and all(a == b or b[:1] == "<" for a, b in pairs):
                return pattern, {b[1:-1]: a for a, b in pairs if b[:1] == "<"}
        raise LookupError(path)


@pytest.fixture
def client(cloud):
    return Client(cloud)


def run(cloud, name, *states, watch=None):
    item = {"id": name, "collection": "scenes", "properties": {}, "assets": {"image": {"href": "https://h/a.tif"}}}
    run_id = take_order(cloud.deployment, Order(item, "water@0123", watch=watch), None).run_id
    for state in states:
        move_run(cloud.ledger, run_id, state, state)
    cloud.clock.now += 1
    return run_id


def test_runs_are_listed_page_by_page(cloud, client):
    """Those changed last come first, whatever their state; pages follow one another without gap."""
    ids = [run(cloud, f"s{n}", *states) for n, states in enumerate([(), ("running",), ("failed",), (), ("running",)])]
    status, page = client.ask("GET", "/runs", limit=2)
    seen = [one["id"] for one in page["runs"]]
    while "next" in page:
        status, page = client.ask("GET", "/runs", limit=2, before=page["next"]["before"])
        seen += [one["id"] for one in page["runs"]]
    assert status == 200
    assert seen == ids[::-1]
    assert [one["id"] for one in client.ask("GET", "/runs", state="running")[1]["runs"]] == [ids[4], ids[1]]


def test_runs_of_the_same_moment_are_on_one_page_each(cloud, client):
    """Where several changed at once a page's end among them leaves none out, and tells none twice."""
    ids = [run(cloud, f"s{n}", *states) for n, states in enumerate([(), ("running",), ("failed",)] * 3)]
    for run_id in ids[:-1]:
        key = {"pk": f"RUN#{run_id}", "sk": "RUN"}
        sets = {":at": 1_700_000_000}
        cloud.ledger.table.update_item(Key=key, UpdateExpression="SET updated = :at", ExpressionAttributeValues=sets)
    for limit in (1, 2, 4):
        page = client.ask("GET", "/runs", limit=limit)[1]
        seen = [one["id"] for one in page["runs"]]
        while "next" in page:
            page = client.ask("GET", "/runs", limit=limit, **page["next"])[1]
            seen += [one["id"] for one in page["runs"]]
        assert seen == [ids[-1], *sorted(ids[:-1])]
    assert client.ask("GET", "/runs", before="1700000000")[1]["runs"] == []
    assert client.ask("GET", "/runs", before="x,y")[0] == 400


def test_runs_of_a_watch(cloud, client):
    """A watch's own runs can be asked for."""
    run(cloud, "a")
    mine = run(cloud, "b", watch="w")
    assert [one["id"] for one in client.ask("GET", "/runs", watch="w")[1]["runs"]] == [mine]


def test_a_run_is_shown_with_its_history(cloud, client):
    """What is known of a run, and what happened to it, oldest first, with times that people read."""
    run_id = run(cloud, "a", "running")
    status, told = client.ask("GET", f"/runs/{run_id}")
    assert (status, told["state"], told["item"]) == (200, "running", {"collection": "scenes", "id": "a"})
    assert told["created"].startswith("2024-10-04T12:00:00")
    _, history = client.ask("GET", f"/runs/{run_id}/history")
    assert [line["state"] for line in history["events"]] == ["queued", "claimed", "running"]
    assert client.ask("GET", f"/runs/{'0' * 64}")[0] == 404


def test_a_failed_run_is_retried(cloud, client):
    """A retry is another execution; one that runs or has succeeded is refused, the latter unless forced."""
    run_id = run(cloud, "a", "running")
    assert client.ask("POST", f"/runs/{run_id}/retry")[0] == 400
    move_run(cloud.ledger, run_id, "failed", "x")
    status, told = client.ask("POST", f"/runs/{run_id}/retry", token="publish")
    assert (status, told["state"], told["attempt"]) == (200, "claimed", 2)
    assert cloud.executions() == [f"{run_id}-1", f"{run_id}-2"]
    for state in ("running", "succeeded"):
        move_run(cloud.ledger, run_id, state, state)
    assert client.ask("POST", f"/runs/{run_id}/retry")[0] == 400
    status, told = client.ask("POST", f"/runs/{run_id}/retry", force="true")
    assert (told["attempt"], told["is_forced"]) == (3, True)


def test_a_cancelled_run_stops(cloud, client):
    """Its execution is stopped with it, and another cancellation changes nothing."""
    run_id = run(cloud, "a", "running")
    for _ in range(2):
        status, told = client.ask("DELETE", f"/runs/{run_id}")
        assert (status, told["state"]) == (200, "cancelled")
    arn = cloud.deployment.machine.replace(":stateMachine:", ":execution:") + f":{run_id}-1"
    assert cloud.deployment.states.describe_execution(executionArn=arn)["status"] == "ABORTED"


def test_watches_are_kept(cloud, client):
    """A watch is put, shown, paused and removed; one whose model or filter does not serve is refused."""
    document = {"name": "w", "model": "water", "collections": ["scenes"]}
    status, told = client.ask("PUT", "/watches/w", body=document)
    assert (status, told["watch"]) == (200, document)
    assert client.ask("POST", "/watches/w/pause")[1]["is_paused"]
    assert not client.ask("POST", "/watches/w/pause", paused="false")[1]["is_paused"]
    assert client.ask("POST", "/watches/w/pause")[1]["is_paused"]
    assert not client.ask("POST", "/watches/w/resume")[1]["is_paused"]
    assert [one["watch"]["name"] for one in client.ask("GET", "/watches")[1]["watches"]] == ["w"]
    assert client.ask("GET", "/watches/w")[1]["last_problem"] is None
    assert client.ask("POST", "/watches", body=document)[0] == 400
    assert client.ask("POST", "/watches", body=document | {"name": "v"})[0] == 201
    assert client.ask("DELETE", "/watches/v") == (204, None)
    for wrong, said in (
        ({"model": "fire"}, "no registered model"),
        ({"filter": "eo:cloud_cover <"}, "filter"),
        ({"name": "other"}, "name of the address"),
        ({"priority": 1_000}, "priority"),
    ):
        status, told = client.ask("PUT", "/watches/w", body=document | wrong)
        assert status in (400, 404)
        assert said in told["description"]
    assert client.ask("DELETE", "/watches/w")[0] == 204
    assert client.ask("GET", "/watches/w")[0] == 404


def test_watches_say_what_they_make_of_an_item(cloud, client):
    """As those of a server do: each check with its outcome, of all watches or of one; what is no Item is refused."""
    for name, collection in (("w", "scenes"), ("v", "others")):
        client.ask("PUT", f"/watches/{name}", body={"name": name, "model": "water", "collections": [collection]})
    item = {"type": "Feature", "id": "a", "collection": "scenes", "geometry": None, "properties": {}, "links": []}
    item["assets"] = {"image": {"href": "https://h/a.tif"}}
    status, told = client.ask("POST", "/watches/test", token="read", body=item)
    assert (status, {one["watch"]: one["matches"] for one in told["results"]}) == (200, {"w": True, "v": False})
    status, one = client.ask("POST", "/watches/v/test", token="read", body=item)
    assert status == 200
    assert one in told["results"]
    assert [check["name"] for check in one["checks"] if not check["passed"]] == ["collection"]
    for wrong in ({}, [], None, {"type": "FeatureCollection"}):
        assert client.ask("POST", "/watches/test", body=wrong)[0] == 400
    assert client.ask("POST", "/watches/x/test", body=item)[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [(verb, pattern) for verb, pattern in ROUTES if ROUTES[verb, pattern][1] not in ("read", "nobody")],
)
def test_writing_needs_a_token(client, method, path):
    """Nobody changes anything without a token of the scope; reading a token does not do."""
    path = path.replace("<run_id>", "0" * 64).replace("<name>", "w")
    assert client.ask(method, path, token=None)[0] == 401
    assert client.ask(method, path, token="read")[0] == 403
    TOKENS["unknown"] = "gdl_unknown"
    entries = [entry for entry in known(True) if entry.name != "unknown"]
    event = {"headers": {"Authorization": "Bearer gdl_unknown"}}
    pattern, names = Client._route(method, path)
    del TOKENS["unknown"]
    assert answer(client.controls, Door(lambda _: tuple(entries)), (method, pattern), event, names).status == 401


def test_the_gateway_may_vouch(cloud, client):
    """A request that API Gateway has authorised itself (IAM) needs no token of geodl's."""
    run_id = run(cloud, "a")
    event = {"headers": {}, "requestContext": {"authorizer": {"iam": {"userArn": "arn:aws:iam::1:user/x"}}}}
    reply = answer(client.controls, client.door, ("DELETE", "/runs/<run_id>"), event, {"run_id": run_id})
    assert reply.status == 200
    assert read_run(cloud.ledger, run_id).state == "cancelled"


def test_bodies_as_the_gateway_encodes_them(cloud, client):
    """A body in base64 is read, one that is no JSON is refused."""
    body = base64.b64encode(b'{"name": "w", "model": "none"}').decode()
    event = {"headers": {"authorization": "Bearer gdl_admin"}, "body": body, "isBase64Encoded": True}
    reply = answer(client.controls, client.door, ("PUT", "/watches/<name>"), event, {"name": "w"})
    assert "no registered model none" in reply.body
    reply = answer(
        client.controls, client.door, ("PUT", "/watches/<name>"), event | {"isBase64Encoded": False}, {"name": "w"}
    )
    assert "expected JSON" in reply.body


def test_a_table_that_is_down_is_said_to_be(cloud, client):
    """While the ledger does not answer, callers are told to come again."""

    away = replace(cloud.ledger, table=boto3.resource("dynamodb").Table("nowhere"))
    assert client.ask("GET", "/health", token=None) == (200, {"status": "ok"})
    client.controls = replace(client.controls, deployment=replace(cloud.deployment, ledger=away))
    assert client.ask("GET", "/health", token=None)[0] == 503
    assert client.ask("GET", "/runs")[0] == 503
    assert client.ask("GET", "/runs", state="lost")[0] == 400


def test_a_fault_of_the_deployment_is_told(cloud, client):
    """What neither the caller nor another try can mend is answered with what is wrong, too."""
    cloud.s3.put_object(Bucket=cloud.bucket.name, Key="models/bad/0123/bad-0123.json", Body=b"no JSON")
    status, told = client.ask("PUT", "/watches/w", body={"name": "w", "model": "bad"})
    assert (status, told["code"], "bad-0123.json" in told["description"]) == (500, "DataError", True)


def test_a_private_deployment_tells_nobody(client):
    """Where reading needs a token each route but that of health does; one that may do more may read."""
    client.door = replace(client.door, is_private=True)
    for verb, pattern in ROUTES:
        path = pattern.replace("<run_id>", "0" * 64).replace("<name>", "w")
        assert client.ask(verb, path, token=None)[0] == (200 if pattern == "/health" else 401)
    assert client.ask("GET", "/runs", token="read")[0] == 200
    assert client.ask("GET", "/runs", token="admin")[0] == 200


def test_a_scan_is_asked_for(client):
    """The function is called with the watch's name, and nobody waits for it; a paused watch may be scanned for."""
    client.ask("PUT", "/watches/w", body=document_of())
    client.ask("POST", "/watches/w/pause")
    assert client.ask("POST", "/watches/w/scan") == (200, {"watch": "w", "asked": True})
    assert client.controls.functions.asked == [(client.controls.scan_function, "Event", {"watch": "w"})]
    assert client.ask("GET", "/watches/w")[1]["scan"] is None
    client.ask("PUT", "/watches/v", body={"name": "v", "model": "water"})
    status, told = client.ask("POST", "/watches/v/scan")
    assert (status, "mode schedule" in told["description"]) == (400, True)
    assert client.ask("POST", "/watches/none/scan")[0] == 404
    assert len(client.controls.functions.asked) == 1


def test_a_watch_put_over_http_has_its_schedule(client):
    """Put, pause and delete reach Scheduler, too."""
    client.ask("PUT", "/watches/w", body=document_of())
    assert schedules_of(client.controls)["w"]["State"] == "ENABLED"
    client.ask("POST", "/watches/w/pause")
    assert schedules_of(client.controls)["w"]["State"] == "DISABLED"
    client.ask("DELETE", "/watches/w")
    assert schedules_of(client.controls) == {}


def test_a_backfill_over_http(client):
    """A window of days is asked for as dates, times or seconds, and is listed with what became of it."""
    client.ask("PUT", "/watches/w", body=document_of())
    status, first = client.ask("POST", "/watches/w/backfill", body={"since": "2025-03-01", "until": "2025-11-01"})
    assert (status, first["status"]) == (200, "RUNNING")
    assert (first["since"], first["until"]) == ("2025-03-01T00:00:00Z", "2025-11-01T00:00:00Z")
    same = {"since": 1740787200, "until": "2025-11-01T00:00:00Z"}
    assert client.ask("POST", "/watches/w/backfill", body=same)[1] == first
    assert client.ask("GET", "/watches/w/backfills") == (200, {"backfills": [first]})
    wrongs = [None, {}, {"since": 1}, {"since": 1, "until": 2, "upto": 3}]
    wrongs += [{"since": since, "until": until} for since, until in (("x", 2), (2, 1), (True, 2), (1, 1e300))]
    for wrong in wrongs:
        assert client.ask("POST", "/watches/w/backfill", body=wrong)[0] == 400, wrong
    assert client.ask("POST", "/watches/none/backfill", body=same)[0] == 404
    assert client.ask("GET", "/watches/none/backfills")[0] == 404
