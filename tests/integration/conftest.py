"""The STAC API under test, over each backend that there is."""

import os
import threading
import time
from contextlib import contextmanager
from itertools import count

import pytest
import uvicorn
from starlette.testclient import TestClient

from cloud import ENVIRONMENT, make_cloud, moto_server
from geodl_core.catalog.api.app import create_app
from geodl_core.catalog.pgstac.catalog import PgstacCatalog
from geodl_core.catalog.sqlite import SqliteCatalog
from postgres import database, running
from stac_documents import make_collection

_numbers = count()


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL on the loopback; only tests in the group `postgres` may ask for it."""
    with running() as server:
        yield server


@contextmanager
def embedded(request):
    yield str(request.getfixturevalue("tmp_path_factory").mktemp("catalog") / "catalog.db")


@contextmanager
def pgstac(request):
    with database(request.getfixturevalue("postgres")) as dsn:
        yield dsn


BACKENDS = {"embedded": embedded, "pgstac": pgstac}
"""Name → what makes the place of an empty catalog, given a fixture's request."""
EACH_BACKEND = [
    pytest.param(name, marks=[pytest.mark.postgres] if name == "pgstac" else [], id=name) for name in BACKENDS
]


@pytest.fixture(scope="module", params=EACH_BACKEND)
def place(request):
    """The path or address of an empty catalog, one a module of tests."""
    with BACKENDS[request.param](request) as location:
        yield location


@pytest.fixture(scope="module")
def served(place):
    """A catalog that is served, one a module of tests."""
    kind = PgstacCatalog if place.startswith("postgresql:") else SqliteCatalog
    with kind(place) as catalog:
        yield catalog


@pytest.fixture(scope="module")
def api(served):
    """A client of the API; tests keep apart by Collections of their own."""
    with TestClient(create_app(served), base_url="http://127.0.0.1:8080", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def address(served):
    """The address of a server of the API on the loopback."""
    server = uvicorn.Server(uvicorn.Config(create_app(served), port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def collection(api):
    """The id of a new, empty Collection."""
    name = f"c{next(_numbers)}"
    assert api.post("/collections", json=make_collection(name)).status_code == 201
    return name


@pytest.fixture(scope="session")
def aws_endpoint():
    """The endpoint of AWS as moto plays it, one a session."""
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture
def cloud(aws_endpoint, monkeypatch):
    """A deployment of its own."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GEODL_"))]:
        monkeypatch.delenv(name)
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": aws_endpoint}).items():
        monkeypatch.setenv(name, value)
    return make_cloud()
