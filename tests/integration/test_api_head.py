"""HEAD requests are answered as GET is, without the body."""

import pytest
import requests

from geodl_core.catalog.sqlite import SqliteCatalog
from served import serving
from stac_documents import make_collection, make_item

PATHS = (
    "",
    "/conformance",
    "/collections",
    "/collections/c",
    "/collections/c/items?limit=1",
    "/collections/c/items/a",
    "/collections/c/queryables",
    "/search?limit=1",
    "/api",
    "/api.html",
    "/healthz",
    "/readyz",
    "/collections/none",
    "/none",
)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    with SqliteCatalog(folder / "catalog.db") as catalog:
        catalog.put_collection(make_collection("c"))
        catalog.put_item(make_item("a") | {"collection": "c"})
    with serving(folder / "catalog.db", folder / "log") as (_, address):
        yield address


@pytest.mark.parametrize("path", PATHS)
def test_head_says_what_get_says(url, path):
    """Status and headers are those of GET, and nothing follows; the connection can be used again."""
    with requests.Session() as session:
        got = session.get(url + path, timeout=10)
        head = session.head(url + path, timeout=10)
        again = session.get(url + path, timeout=10)
    assert (head.status_code, head.content) == (got.status_code, b"")
    for name in ("content-type", "content-length", "etag"):
        assert head.headers.get(name) == got.headers.get(name)
    assert again.content == got.content != b""


def test_head_knows_conditions_and_writes_nothing(url):
    """HEAD with the etag that is there gets 304; on a route that only writes it gets 405, as GET does."""
    etag = requests.head(f"{url}/collections/c/items/a", timeout=10).headers["etag"]
    known = requests.head(f"{url}/collections/c/items/a", headers={"If-None-Match": etag}, timeout=10)
    assert known.status_code == 304
    address = f"{url}/collections/c/bulk_items"
    assert requests.head(address, timeout=10).status_code == requests.get(address, timeout=10).status_code == 405


def test_the_description_names_no_head(url):
    """The OpenAPI description is as it was: what answers GET answers HEAD, as HTTP has it."""
    paths = requests.get(f"{url}/api", timeout=10).json()["paths"]
    assert not any("head" in methods for methods in paths.values())
