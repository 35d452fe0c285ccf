"""What the server refuses before it looks at a request closely, and how it behaves when the catalog fails."""

import json

import pytest
from starlette.testclient import TestClient

from geodl_core.catalog.api.app import ApiOptions, create_app
from geodl_core.catalog.open import open_catalog
from stac_documents import make_collection, make_item

BASE = "http://127.0.0.1:8080"
JSON = {"Content-Type": "application/json"}
SMALL = ApiOptions(body_bytes=20_000, document_bytes=5_000)


@pytest.fixture
def catalog(place):
    with open_catalog(place) as opened:
        opened.delete_collection("c")
        opened.put_collection(make_collection("c"))
        yield opened


def client(catalog, options=None, base=BASE):
    return TestClient(create_app(catalog, options), base_url=base, raise_server_exceptions=False)


def in_chunks(body):
    """A body that does not say how long it is."""
    yield from (body[start : start + 1000] for start in range(0, len(body), 1000))


@pytest.mark.parametrize("send", [lambda body: body, in_chunks], ids=["whole", "chunked"])
def test_large_bodies_are_refused(catalog, send):
    """A body beyond the limit gets 413, whether it says its length or not; one Item may be less than many."""
    large = json.dumps(make_item("x", note="x" * 6_000)).encode()
    many = {"type": "FeatureCollection", "features": [make_item(f"i{number}", note="x" * 500) for number in range(10)]}
    with client(catalog, SMALL) as api:
        for method, address in (
            ("POST", "/collections/c/items"),
            ("PUT", "/collections/c/items/x"),
            ("PATCH", "/collections/c/items/x"),
            ("POST", "/collections"),
            ("POST", "/search"),
            ("POST", "/aggregate"),
        ):
            answer = api.request(method, address, content=send(large), headers=JSON)
            assert (answer.status_code, "bytes at most" in answer.json()["description"]) == (413, True), address
        answer = api.post("/collections/c/items", content=send(large * 4), headers=JSON)
        assert answer.status_code == 413
        assert api.post("/collections/c/items", json=many).status_code == 201
        assert api.get("/collections/c/items/x").status_code == 404


def test_an_item_of_ten_megabytes_is_refused(catalog):
    """The limits that a server has by default keep an Item of 10 MB out."""
    with client(catalog) as api:
        answer = api.post("/collections/c/items", json=make_item("x", note="x" * 10_000_000))
        assert answer.status_code == 413


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:8080", 200),
        ("evil.example.com", 421),
        ("127.0.0.1.evil.example.com:8080", 421),
        ("[", 421),
        ("", 421),
    ],
)
def test_only_names_of_this_machine_are_answered_to(catalog, host, status):
    """A page elsewhere that points a name of its own at the loopback gets nothing."""
    with client(catalog) as api:
        assert api.get("/", headers={"Host": host}).status_code == status


def test_forwarded_headers_are_believed_only_if_told(catalog):
    """Links follow X-Forwarded-* headers behind a proxy that is trusted, and nowhere else."""
    headers = {"X-Forwarded-Host": "stac.example.com", "X-Forwarded-Proto": "https", "X-Forwarded-For": "1.2.3.4"}
    with client(catalog) as api:
        assert api.get("/collections", headers=headers).json()["links"][1]["href"] == f"{BASE}/"
        forwarded = {"Forwarded": "host=stac.example.com;proto=https"}
        assert api.get("/collections", headers=forwarded).json()["links"][1]["href"] == f"{BASE}/"
    trusting = ApiOptions(trusts_forwarded=True, hosts=frozenset({"stac.example.com"}))
    with client(catalog, trusting) as api:
        root = api.get("/collections", headers=headers).json()["links"][1]["href"]
        assert root == "https://stac.example.com/"


def test_other_sites_may_read_only_if_told(catalog):
    """Without a setting no page of another site may read an answer; with it, those named may, and may write."""
    origin = {"Origin": "https://map.example.com"}
    with client(catalog) as api:
        assert "access-control-allow-origin" not in api.get("/", headers=origin).headers
    with client(catalog, ApiOptions(cors_origins=("https://map.example.com",))) as api:
        assert api.get("/", headers=origin).headers["access-control-allow-origin"] == "https://map.example.com"
        assert "access-control-allow-origin" not in api.get("/", headers={"Origin": "https://evil.com"}).headers
        asks = {**origin, "Access-Control-Request-Method": "DELETE"}
        assert api.options("/collections/c", headers=asks).status_code == 200


def test_health_and_readiness(catalog):
    """A process that answers is healthy; it is ready while its catalog can be read, and says so when it cannot."""
    with client(catalog) as api:
        assert api.get("/healthz").status_code == 200
        assert api.get("/readyz").status_code == 200
        catalog.close()
        assert api.get("/healthz").status_code == 200
        answer = api.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
        for refused in (api.get("/search"), api.post("/collections/c/items", json=make_item("a"))):
            assert refused.status_code == 503
            assert refused.headers["retry-after"]


def test_faults_are_not_shown(catalog, monkeypatch):
    """A fault of geodl's own is 500 without its insides."""
    monkeypatch.setattr(type(catalog), "find", lambda *_: 1 / 0)
    with client(catalog) as api:
        answer = api.get("/search")
    assert answer.status_code == 500
    assert "division" not in answer.text


def test_unknown_places(catalog):
    """What is nowhere gets 404, a method that does not go 405, as errors of the API."""
    with client(catalog) as api:
        assert api.get("/nowhere").json() == {"code": "NotFound", "description": "Not Found"}
        assert api.delete("/search").json()["code"] == "MethodNotAllowed"


def test_the_environment_has_no_say(catalog, monkeypatch, tmp_path):
    """Variables and .env files that stac-fastapi would read change nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("ROOT_PATH=/elsewhere\nSTAC_FASTAPI_TITLE=other\n")
    monkeypatch.setenv("ROOT_PATH", "/elsewhere")
    monkeypatch.setenv("STAC_FASTAPI_TITLE", "other")
    monkeypatch.setenv("ENABLE_RESPONSE_MODELS", "true")
    with client(catalog) as api:
        page = api.get("/").json()
    assert page["title"] == "geodl"
    assert page["links"][0]["href"] == f"{BASE}/"
