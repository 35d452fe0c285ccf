"""The catalog's schema as a resource of CloudFormation: always answered, over a real PostgreSQL where one is needed."""

import importlib.util
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import boto3
import psycopg
import pytest

from geodl_core.aws.site import catalogs
from geodl_core.aws.steps import migrate
from geodl_core.aws.steps.migrate import migrate_stage
from geodl_core.catalog.pgstac.catalog import PgstacCatalog
from geodl_core.errors import CatalogError, InputError, StoreError
from postgres import PASSWORD, database
from stac_documents import make_collection

APP = Path(__file__).parents[2] / "functions" / "migrate" / "app.py"
STACK = "arn:aws:cloudformation:us-east-1:123456789012:stack/geodl/1"


@dataclass
class Waiting:
    """CloudFormation as it waits for an answer."""

    url: str = ""
    answers: list = field(default_factory=list)
    headers: list = field(default_factory=list)
    refusals: int = 0
    """So many answers are refused first."""

    def event(self, kind, **more):
        """Return what CloudFormation asks."""
        told = {"StackId": STACK, "RequestId": "r-1", "LogicalResourceId": "Schema", "ResourceType": "Custom::Schema"}
        return {"RequestType": kind, "ResponseURL": self.url, **told, "ResourceProperties": {}, **more}


@pytest.fixture
def waiting():
    """A web server that takes one answer after another."""
    found = Waiting()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.refusals -= 1
            if found.refusals < 0:
                found.answers.append(json.loads(body))
                found.headers.append(dict(self.headers))
            self.send_response(200 if found.refusals < 0 else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}/answer?X-Amz-Signature=s3cret"
        yield found
        server.shutdown()
        thread.join()


@contextmanager
def empty_database(request):
    """The address of a database that is no catalog yet."""
    with database(request.getfixturevalue("postgres"), "template0") as dsn:
        yield dsn


@pytest.mark.postgres
def test_a_catalog_is_made_and_left_alone(request, waiting):
    """Create makes a catalog of an empty database, Update leaves it as it is with all in it, Delete does nothing."""
    with empty_database(request) as dsn:
        created = migrate_stage(waiting.event("Create"), lambda: dsn, 300)
        assert created["status"] == "SUCCESS"
        assert "pgstac" in created["reason"]
        with PgstacCatalog(dsn) as catalog:
            catalog.put_collection(make_collection("kept"))
        same = {"PhysicalResourceId": waiting.answers[0]["PhysicalResourceId"]}
        assert migrate_stage(waiting.event("Update", **same), lambda: dsn, 300)["status"] == "SUCCESS"
        assert migrate_stage(waiting.event("Delete", **same), lambda: dsn, 300)["status"] == "SUCCESS"
        with PgstacCatalog(dsn) as catalog:
            assert catalog.get_collection("kept")["id"] == "kept"
    for answer in waiting.answers:
        assert {name: answer[name] for name in ("StackId", "RequestId", "LogicalResourceId")} == {
            "StackId": STACK,
            "RequestId": "r-1",
            "LogicalResourceId": "Schema",
        }
        assert answer["PhysicalResourceId"] == same["PhysicalResourceId"]
        assert len(json.dumps(answer)) < 4_096
    # A signed URL holds for the headers that were signed, and Content-Type was not.
    assert {headers["Content-Type"] for headers in waiting.headers} == {""}


@pytest.mark.postgres
def test_a_database_that_wakes_is_waited_for(request, waiting, monkeypatch):
    """Where the database does not answer at first it is asked again."""
    monkeypatch.setattr(catalogs, "PAUSE_S", 0.01)
    server = request.getfixturevalue("postgres")
    with database(server) as dsn:
        name = dsn.rpartition("/")[2]
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        timer = threading.Timer(0.5, server.execute, [f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"])
        timer.start()
        try:
            assert migrate_stage(waiting.event("Update"), lambda: dsn, 300)["status"] == "SUCCESS"
        finally:
            timer.join()


@pytest.mark.postgres
def test_why_it_failed_is_told_without_secrets(request, waiting, monkeypatch):
    """A user who may not do it is named the cause; of the address no more is told than where the database is."""
    monkeypatch.setattr(migrate, "WAKE_S", 0.0)
    server = request.getfixturevalue("postgres")
    with empty_database(request) as dsn:
        server.execute("CREATE ROLE poor LOGIN PASSWORD 'p@or/s3cret'")
        try:
            poor = dsn.replace(f"geodl:{quote(PASSWORD, safe='')}", f"poor:{quote('p@or/s3cret', safe='')}")
            with psycopg.connect(poor):
                pass
            told = [migrate_stage(waiting.event("Create"), lambda: poor, 300)]
        finally:
            server.execute("DROP ROLE poor")
        told.append(migrate_stage(waiting.event("Create"), lambda: poor, 300))
    assert [one["status"] for one in told] == ["FAILED", "FAILED"]
    assert "expected the extension postgis, which this user may not create" in told[0]["reason"]
    assert "password authentication failed" in told[1]["reason"]
    assert [answer["Reason"] for answer in waiting.answers] == [one["reason"] for one in told]
    for one in told:
        assert "s3cret" not in one["reason"]
        assert "p%40or" not in one["reason"]


def test_others_errors_are_told_without_what_they_quote(waiting, monkeypatch):
    """An error that nobody foresaw is an answer, too, without the address that it quotes."""
    address = "postgresql://u:p%40ss@127.0.0.1:1/d"
    quoting = ValueError(f"{address} and p@ss and p%40ss are wrong,\nsee https://h/x?token=t1")

    def fail(_):
        raise quoting

    monkeypatch.setattr("geodl_core.catalog.pgstac.connections.connect", fail)
    told = migrate_stage(waiting.event("Create"), lambda: address, 300)
    assert told == {
        "status": "FAILED",
        "reason": "ValueError: … and … and … are wrong, see https://h/x",
    }
    assert waiting.answers[0]["Reason"] == told["reason"]


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        (
            "Create",
            CatalogError("postgresql://h/d: down", hint="start it"),
            "CatalogError: postgresql://h/d: down (hint",
        ),
        ("Update", SystemExit(3), "SystemExit: 3"),
        ("Move", None, "expected Create, Update or Delete, found Move"),
    ],
)
def test_whatever_happens_is_answered(waiting, kind, error, words):
    """No failure keeps CloudFormation waiting, whatever it comes from."""

    def read():
        raise error

    assert migrate_stage(waiting.event(kind), read, 300)["reason"].startswith(words)
    assert [answer["Status"] for answer in waiting.answers] == ["FAILED"]


def test_time_that_runs_out_is_answered(waiting):
    """An answer goes out before Lambda ends the function."""
    held = threading.Event()
    try:
        started = time.monotonic()
        told = migrate_stage(waiting.event("Create"), lambda: str(held.wait(60)), migrate.ANSWER_S + 0.2)
        assert time.monotonic() - started < migrate.ANSWER_S
    finally:
        held.set()
    assert told["status"] == "FAILED"
    assert "longer than" in told["reason"]
    assert waiting.answers[0]["Reason"] == told["reason"]


def test_an_answer_that_is_refused_is_sent_again(waiting):
    """Two refusals are overcome; with more the function fails, for Lambda to call it again, and tells no signature."""
    waiting.refusals = 2
    assert migrate_stage(waiting.event("Delete"), str, 300)["status"] == "SUCCESS"
    assert len(waiting.answers) == 1
    waiting.refusals = 9
    with pytest.raises(StoreError, match="HTTP 503") as caught:
        migrate_stage(waiting.event("Delete"), str, 300)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "http://example.com/x", "ftp://127.0.0.1/x"])
def test_answers_go_to_https_alone(waiting, url):
    """Nothing is done where the answer could go nowhere, or anywhere: HTTP is for emulators on this machine."""
    event = {**waiting.event("Delete"), "ResponseURL": url}
    with pytest.raises(InputError, match="ResponseURL: expected https"):
        migrate_stage(event, str, 300)


@pytest.mark.postgres
def test_the_function(request, cloud, waiting, monkeypatch):
    """The handler reads the secret that it is told of; without one CloudFormation hears of that."""
    pytest.importorskip("aws_lambda_powertools", reason="the extra aws is not installed")
    monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", "true")

    class Context:
        function_name = invoked_function_arn = aws_request_id = "x"
        memory_limit_in_mb = 512

        def get_remaining_time_in_millis(self):
            return 300_000

    def call():
        spec = importlib.util.spec_from_file_location("functions_migrate", APP)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.handler(waiting.event("Update"), Context())

    assert "GEODL_CATALOG_SECRET" in call()["reason"]
    with database(request.getfixturevalue("postgres")) as dsn:
        boto3.client("secretsmanager").create_secret(Name=f"{cloud.table}-dsn", SecretString=dsn)
        monkeypatch.setenv("GEODL_CATALOG_SECRET", f"{cloud.table}-dsn")
        assert call()["status"] == "SUCCESS"
    assert [answer["Status"] for answer in waiting.answers] == ["FAILED", "SUCCESS"]
