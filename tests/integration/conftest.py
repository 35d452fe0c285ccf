"""The STAC API under test, over each backend that there is."""

from contextlib import contextmanager
from itertools import count

import pytest
from starlette.testclient import TestClient

from geodl_core.catalog.api.app import create_app
from geodl_core.catalog.sqlite import SqliteCatalog
from stac_documents import make_collection

_numbers = count()


@contextmanager
def embedded(folder):
    with SqliteCatalog(folder / "catalog.db") as catalog:
        yield catalog


BACKENDS = {"embedded": embedded}
"""Name → what opens an empty catalog, given a folder for it."""


@pytest.fixture(scope="module", params=BACKENDS)
def served(request, tmp_path_factory):
    """A catalog that is served, one a module of tests."""
    with BACKENDS[request.param](tmp_path_factory.mktemp("catalog")) as catalog:
        yield catalog


@pytest.fixture(scope="module")
def api(served):
    """A client of the API; tests keep apart by Collections of their own."""
    with TestClient(create_app(served), base_url="http://127.0.0.1:8080", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def collection(api):
    """The id of a new, empty Collection."""
    name = f"c{next(_numbers)}"
    assert api.post("/collections", json=make_collection(name)).status_code == 201
    return name
