"""Exports from and imports into a STAC API, over a real HTTP server on the loopback."""

import json
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from geodl_core.catalog.api.app import create_app
from geodl_core.catalog.exchange.export import export_catalog
from geodl_core.catalog.exchange.import_items import ImportOptions, import_items
from geodl_core.catalog.exchange.read_items import read_items
from geodl_core.catalog.exchange.source import Source
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.catalog.stac_api import BULK_ITEMS, StacApiCatalog
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import CatalogError, ItemError
from stac_documents import make_collection, make_item

COUNT = BULK_ITEMS + 100


@contextmanager
def served(path):
    """A catalog file, a client of it over HTTP, and the (method, path, status) of each request."""
    seen = []

    def noting(app):
        async def noted(scope, receive, send):
            async def note(message):
                if message["type"] == "http.response.start":
                    seen.append((scope["method"], scope["path"], message["status"]))
                await send(message)

            await app(scope, receive, note)

        return noted

    with SqliteCatalog(path) as catalog:
        config = uvicorn.Config(noting(create_app(catalog)), port=0, log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            with StacApiCatalog(f"http://127.0.0.1:{port}", pause_s=0.01) as remote:
                yield catalog, remote, seen
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def service(tmp_path):
    with served(tmp_path / "served.db") as (catalog, remote, seen):
        catalog.put_collection(make_collection("c"))
        yield catalog, remote, seen


def items(count, **more):
    return [make_item(f"i{n:05}", **more) | {"collection": "c"} for n in range(count)]


def posts(seen):
    return [path for method, path, _ in seen if method == "POST"]


def without_links(one):
    return {key: value for key, value in one.items() if key != "links"}


def test_many_items_go_in_few_requests(service):
    """Items are written through the bulk route of a server that has one, and replaced the same way."""
    catalog, remote, seen = service
    remote.put_items(items(COUNT))
    assert posts(seen) == ["/collections/c/bulk_items"] * 2
    assert catalog.count(ItemQuery()) == COUNT
    remote.put_items(items(COUNT, text="new"))
    assert catalog.count(ItemQuery(filter="text = 'new'")) == COUNT
    assert sum(path == "/api" for _, path, _ in seen) == 1
    remote.put_items(items(1))
    assert posts(seen)[-1] == "/collections/c/items"
    assert seen[-1][:2] == ("PUT", "/collections/c/items/i00000")


def test_requests_with_many_items_are_not_too_large(service):
    """Large Items go in as many requests as their size asks for; one that the server takes for none is told as that."""
    catalog, remote, seen = service
    large = items(12, text="x" * 1_000_000)
    remote.put_items(large)
    assert len(posts(seen)) == 2
    assert catalog.count(ItemQuery()) == 12
    with pytest.raises(ItemError, match=r"answers 400: .*geometry"):
        remote.put_items([*items(2), make_item("bad") | {"collection": "c", "geometry": {"type": "Point"}}])
    with pytest.raises(CatalogError, match="answers 404: no collection 'none'"):
        remote.put_items([make_item(name) | {"collection": "none"} for name in "ab"])


def test_order_and_the_last_of_twins_count(service):
    """Of two Items with one id the later is kept; Items of several Collections may be mixed."""
    catalog, remote, _ = service
    catalog.put_collection(make_collection("d"))
    twins = [make_item("a", n=n) | {"collection": name} for n in range(3) for name in "ccd"]
    remote.put_items(twins)
    assert [catalog.get_item(name, "a")["properties"]["n"] for name in "cd"] == [2, 2]


@pytest.mark.parametrize("form", ["stac-geoparquet", "static", "ndjson"])
def test_from_one_service_to_another(tmp_path, service, form):
    """An export from a service, imported into another and exported from there, has the same Items and bytes."""
    catalog, remote, seen = service
    links = [{"rel": "via", "href": "https://example.com/x"}, {"rel": "about", "href": "https://example.com/y"}]
    catalog.put_items([one | {"links": links} for one in items(250, gsd=10)])
    assert remote.can_sort()
    source = Source(remote, ItemQuery(), is_sorted=True, is_remote=True)
    export_catalog(source, tmp_path / "one", form, False, lambda _: None)
    assert seen.count(("POST", "/search", 200)) == 3
    with served(tmp_path / "other.db") as (other, there, requests):
        done = import_items(read_items(tmp_path / "one"), there, ImportOptions())
        assert (done.items, done.collections) == (250, ["c"])
        assert sum("bulk_items" in path for path in posts(requests)) == 1
        export_catalog(Source(there, ItemQuery(), is_remote=True), tmp_path / "two", form, False, lambda _: None)
        assert [without_links(one) for one in other.search(ItemQuery(sortby=(("id", True),), limit=300)).items] == [
            without_links(one) for one in catalog.search(ItemQuery(sortby=(("id", True),), limit=300)).items
        ]
    names = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert names
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)


def test_bad_items_among_many_are_found(tmp_path, service):
    """Of a batch that a service refuses, the good Items are written and the bad ones named with their lines."""
    catalog, remote, _ = service
    lines = items(40)
    lines[17]["links"] = [{"rel": "derived_from", "href": f"{remote.url}/collections/c/items/i00017"}]
    (tmp_path / "a.ndjson").write_text("\n".join(map(json.dumps, lines)))
    done = import_items(read_items(tmp_path / "a.ndjson"), remote, ImportOptions(keeps_going=True))
    assert (done.items, done.failed, catalog.count(ItemQuery())) == (39, 1, 39)
    assert done.problems[0].startswith(f"{tmp_path / 'a.ndjson'}: line 18: ")
    assert "to itself" in done.problems[0]


def test_a_service_that_is_gone_ends_an_import(tmp_path):
    """A service that stops answering is an error at once, not one bad Item after the other."""
    (tmp_path / "a.ndjson").write_text("\n".join(map(json.dumps, items(40))))
    with served(tmp_path / "served.db") as (_, remote, _):
        url = remote.url
    with StacApiCatalog(url, pause_s=0.01) as gone, pytest.raises(CatalogError, match="no connection"):
        import_items(read_items(tmp_path / "a.ndjson"), gone, ImportOptions(keeps_going=True))
