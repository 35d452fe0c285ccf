"""A remote catalog behaves as the embedded one does, over a real HTTP server on the loopback."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from geodl_core.catalog.open import open_catalog
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.catalog.stac_api import StacApiCatalog
from geodl_core.domain.query import ItemQuery
from geodl_core.errors import CatalogError, ItemError, QueryError

pytestmark = pytest.mark.enable_socket


def make_item(item_id, **more):
    properties = {"datetime": "2024-05-01T00:00:00Z", "n": 1}
    item = {"type": "Feature", "id": item_id, "collection": "c", "properties": properties, "assets": {}, "links": []}
    return item | {"geometry": {"type": "Point", "coordinates": [5, 50]}} | more


class Handler(BaseHTTPRequestHandler):
    """The few endpoints of a STAC API that geodl uses, over an embedded catalog."""

    def log_message(self, *_):
        pass

    def answer(self, status, document):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        server = self.server
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        server.seen.append((self.command, self.path, body, self.headers.get("Authorization")))
        if server.failures:
            return self.answer(*server.failures.pop(0))
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")][1:]
        match (self.command, parts):
            case ("GET", ["collections"]):
                return self.answer(200, {"collections": server.catalog.collections(), "links": []})
            case ("GET", ["collections", one]):
                return self.found(server.catalog.get_collection(one))
            case ("GET", ["collections", one, "items", item]):
                return self.found(server.catalog.get_item(one, item))
            case ("POST" | "PUT", ["collections", *_]):
                return self.write(parts, body)
            case ("DELETE", ["collections", one, "items", item]):
                return self.answer(200, {}) if server.catalog.delete_item(one, item) else self.found(None)
            case ("POST", ["search"]):
                return self.search(body)
        return self.answer(404, {"detail": "no such place"})

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def found(self, document):
        self.answer(404 if document is None else 200, document or {"detail": "not found"})

    def write(self, parts, body):
        catalog = self.server.catalog
        is_item = "items" in parts
        old = catalog.get_item(parts[1], body["id"]) if is_item else catalog.get_collection(body["id"])
        if self.command == "POST" and old is not None:
            return self.answer(409, {"detail": "exists"})
        try:
            (catalog.put_item if is_item else catalog.put_collection)(body)
        except CatalogError as err:
            return self.answer(404, {"code": "NotFound", "description": err.message})
        return self.answer(201, body)

    def search(self, body):
        query = ItemQuery(
            collections=tuple(body.get("collections", ())),
            ids=tuple(body.get("ids", ())),
            bbox=tuple(body["bbox"]) if "bbox" in body else None,
            intersects=body.get("intersects"),
            datetime=body.get("datetime"),
            filter=body.get("filter"),
            sortby=tuple((one["field"], one["direction"] == "asc") for one in body.get("sortby", ())),
            limit=body["limit"],
            token=body.get("token"),
        )
        page = self.server.catalog.search(query)
        links = []
        if page.next_token:
            follow = {"token": page.next_token}
            link = {"rel": "next", "href": f"http://{self.headers['Host']}/v1/search", "method": "POST"}
            merge = self.server.merge
            links = [link | {"body": follow if merge else body | follow} | ({"merge": True} if merge else {})]
        answer = {"type": "FeatureCollection", "features": list(page.items), "links": links}
        if self.server.says_matched:
            answer["numberMatched"] = self.server.catalog.count(query)
        self.answer(200, answer)


@pytest.fixture
def server(tmp_path):
    with SqliteCatalog(tmp_path / "catalog.db") as catalog, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.catalog, running.failures, running.seen = catalog, [], []
        running.merge, running.says_matched = True, True
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        running.url = f"http://127.0.0.1:{running.server_address[1]}/v1"
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def remote(server):
    with StacApiCatalog(server.url, pause_s=0.01) as opened:
        opened.put_collection({"id": "c"})
        yield opened


def test_round_trip(remote):
    """Collections and Items are created, replaced, read, listed and deleted."""
    remote.put_collection({"id": "c", "title": "again"})
    assert remote.get_collection("c") == {"id": "c", "title": "again"}
    assert remote.get_collection("none") is None
    assert [one["id"] for one in remote.collections()] == ["c"]
    remote.put_item(make_item("a/b ü"))
    remote.put_items([make_item("a/b ü", bbox=[5, 50, 5, 50]), make_item("b")])
    assert remote.get_item("c", "a/b ü") == make_item("a/b ü", bbox=[5, 50, 5, 50])
    assert remote.get_item("c", "none") is None
    assert remote.delete_item("c", "b") is True
    assert remote.delete_item("c", "b") is False


@pytest.mark.parametrize("merge", [True, False])
def test_search_pages(server, remote, merge):
    """All pages together hold each Item once, whichever way the service writes its next link."""
    server.merge = merge
    remote.put_items([make_item(f"i{number}") for number in range(7)])
    found, token = [], None
    while True:
        page = remote.search(ItemQuery(collections=("c",), sortby=(("id", True),), limit=3, token=token))
        found += [item["id"] for item in page.items]
        token = page.next_token
        if token is None:
            break
    assert found == [f"i{number}" for number in range(7)]


def test_every_restriction_arrives(remote):
    """Ids, boxes across the antimeridian, areas, months and filters restrict at the service."""
    fiji = {"type": "Point", "coordinates": [179.5, -17]}
    remote.put_items([make_item("a"), make_item("fiji", geometry=fiji)])
    square = {"type": "Polygon", "coordinates": [[[4, 49], [6, 49], [6, 51], [4, 51], [4, 49]]]}

    def ids(**query):
        return [item["id"] for item in remote.search(ItemQuery(**query)).items]

    assert ids(bbox=(170, -20, -170, -10)) == ["fiji"]
    assert ids(bbox=(0, 0, 10, 60)) == ids(intersects=square) == ids(ids=("a",)) == ["a"]
    assert sorted(ids(datetime="2024-05")) == sorted(ids(datetime="../2024-05-01T00:00:00Z")) == ["a", "fiji"]
    assert ids(filter="n = 1 and id = 'a'") == ["a"]
    assert ids(filter={"op": "=", "args": [{"property": "n"}, 2]}) == []


def test_count(server, remote):
    """The number of matches is what the service says; without one there is an error, no guess."""
    remote.put_items([make_item("a"), make_item("b")])
    assert remote.count(ItemQuery(limit=1)) == 2
    server.says_matched = False
    with pytest.raises(CatalogError, match="gives none"):
        remote.count(ItemQuery())


def test_an_indisposed_service_is_asked_again(server, remote):
    """Two failures of the service are passed over, the third is reported."""
    server.failures = [(503, {}), (500, {"detail": "busy"})]
    remote.put_item(make_item("a"))
    assert server.catalog.get_item("c", "a") is not None
    server.failures = [(503, {"detail": "down\nfor long"})] * 3
    with pytest.raises(CatalogError, match="answers 503: down for long"):
        remote.search(ItemQuery())
    assert server.failures == []


def test_a_refusal_is_not_repeated(server, remote):
    """An Item that the service refuses is an error with its words, in one short line, after one try."""
    server.failures = [(400, {"detail": "bad\n" * 200})]
    before = len(server.seen)
    with pytest.raises(ItemError, match="answers 400: bad bad") as caught:
        remote.put_item(make_item("a"))
    assert len(server.seen) == before + 1
    assert len(caught.value.message) < 300
    assert "\n" not in caught.value.message
    with pytest.raises(CatalogError, match="no collection"):
        remote.put_item(make_item("a") | {"collection": "missing"})


def test_what_is_no_stac_api_is_told(server, remote):
    """An answer that is no JSON is an error about the service."""
    for body in (b"<html>", b"[1]"):
        server.failures = [(200, body)]
        with pytest.raises(CatalogError, match="expected a STAC"):
            remote.search(ItemQuery())


def test_keys_travel_but_are_not_told(server):
    """Name, password and query string go with each request and appear in no message."""
    host = server.url.removeprefix("http://")
    with StacApiCatalog(f"http://me:s3cret@{host}/?api_key=k3y", pause_s=0.01) as remote:
        server.failures = [(403, {"detail": "k3y of me:s3cret is not welcome"})]
        with pytest.raises(CatalogError) as caught:
            remote.get_collection("c")
        _, path, _, authorization = server.seen[-1]
        assert parse_qs(urlsplit(path).query) == {"api_key": ["k3y"]}
        assert authorization.startswith("Basic ")
        for secret in ("k3y", "s3cret"):
            assert secret not in caught.value.message


def test_a_name_without_password_is_a_token(server):
    """A token goes with each request as RFC 6750 has it, and appears in no message; with a colon it is a name."""
    host = server.url.removeprefix("http://")
    with StacApiCatalog(f"http://gdl_t0k%2Fen@{host}/", pause_s=0.01) as remote:
        server.failures = [(401, {"detail": "gdl_t0k/en is not known"})]
        with pytest.raises(CatalogError, match=r"401: \*\*\* is not known") as caught:
            remote.get_collection("c")
        assert "https://TOKEN@host" in caught.value.hint
        assert server.seen[-1][3] == "Bearer gdl_t0k/en"
    with StacApiCatalog(f"http://key:@{host}/", pause_s=0.01) as remote:
        remote.get_collection("c")
        assert server.seen[-1][3].startswith("Basic ")


def test_nobody_there(server):
    """A port where nothing listens is one line with the address and without its keys."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_address[1]
    remote = StacApiCatalog(f"http://u:s3cret@127.0.0.1:{port}/?key=k3y", pause_s=0.01)
    with remote, pytest.raises(CatalogError, match="no connection in 3 tries") as caught:
        remote.collections()
    assert "s3cret" not in caught.value.message
    assert "k3y" not in caught.value.message


def test_open_catalog_tells_addresses_from_paths(server, tmp_path):
    """An http address is a service, anything else a file."""
    with open_catalog(server.url) as remote, open_catalog(str(tmp_path / "x.db")) as local:
        assert isinstance(remote, StacApiCatalog)
        assert isinstance(local, SqliteCatalog)


def test_bad_queries_do_not_travel(server, remote):
    """A filter, a time or a token that cannot be read is refused before anything is sent."""
    before = len(server.seen)
    for query in (ItemQuery(filter="n ="), ItemQuery(datetime="soon"), ItemQuery(token="?")):
        with pytest.raises(QueryError):
            remote.search(query)
    assert len(server.seen) == before
