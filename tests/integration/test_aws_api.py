"""The STAC API as a function: open to read, closed to write, and each write is told to the topic."""

import hashlib
import json

import boto3
import pytest
import requests
from starlette.testclient import TestClient

from geodl_core.aws.api import small_pages
from geodl_core.aws.api.api_app import create_api
from geodl_core.aws.api.judge import judge
from geodl_core.aws.site.catalogs import catalog_opener
from geodl_core.aws.site.secrets import catalog_address, read_secret, read_tokens, token_reader
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.errors import InputError, StoreError
from stac_documents import make_collection, make_item

TOKENS = {"writer": ["publish"], "reader": ["read"]}


def tokens(_):
    entries = [
        {"name": name, "sha256": hashlib.sha256(f"gdl_{name}".encode()).hexdigest(), "scopes": scopes}
        for name, scopes in TOKENS.items()
    ]
    return read_tokens(json.dumps(entries))


@pytest.fixture
def told():
    return []


@pytest.fixture
def make(tmp_path, told):
    """Return a function that makes a client; `fails` is what publishing raises."""

    def client(is_private=False, fails=None):
        def publish():
            told.append(1)
            if fails:
                raise fails

        app = create_api(catalog, tokens, publish, is_private=is_private)
        return TestClient(app, base_url="https://abc.execute-api.us-east-1.amazonaws.com")

    with SqliteCatalog(tmp_path / "catalog.db") as catalog:
        yield client


def bearer(name):
    return {"Authorization": f"Bearer gdl_{name}"}


def test_everybody_reads_and_nobody_writes(make, told):
    """Without a token the catalog can be searched, and nothing changed; the links name the gateway's host."""
    api = make()
    landing = api.get("/").json()
    assert {link["href"] for link in landing["links"] if link["rel"] == "self"} == {str(api.base_url) + "/"}
    assert api.post("/search", json={"limit": 1}).status_code == 200
    for headers, status in (({}, 401), (bearer("nobody"), 401), (bearer("reader"), 403), ({"Authorization": "x"}, 401)):
        assert api.post("/collections", json=make_collection("c"), headers=headers).status_code == status
    assert api.get("/collections").json()["collections"] == []
    assert told == []


def test_a_write_is_told(make, told):
    """Each accepted write calls the topic once; a search, a refused write and a read do not."""
    api = make()
    assert api.post("/collections", json=make_collection("c"), headers=bearer("writer")).status_code == 201
    assert api.post("/collections/c/items", json=make_item("i"), headers=bearer("writer")).status_code == 201
    assert len(told) == 2
    assert api.post("/collections", json=make_collection("c"), headers=bearer("writer")).status_code == 409
    api.post("/search", json={})
    api.get("/collections/c/items/i")
    assert len(told) == 2


def test_a_topic_that_is_down_loses_no_write(make, told):
    """What was written stays written and is answered as such; the next write tells of it."""
    api = make(fails=StoreError("the topic does not answer"))
    assert api.post("/collections", json=make_collection("c"), headers=bearer("writer")).status_code == 201
    assert api.get("/collections/c").status_code == 200


def test_a_private_catalog_asks_readers_too(make):
    """Where reading needs a token nothing is told without one, but that the function lives."""
    api = make(is_private=True)
    assert api.get("/collections").status_code == 401
    assert api.get("/collections", headers=bearer("reader")).status_code == 200
    assert api.get("/healthz").status_code == 200


def pages(api, body):
    """The ids of each page of a search, and the sizes of the answers."""
    found, sizes = [], []
    while body is not None:
        answer = api.post("/search", json=body)
        assert answer.status_code == 200
        found.append([item["id"] for item in answer.json()["features"]])
        sizes.append(len(answer.content))
        body = next((link["body"] for link in answer.json()["links"] if link["rel"] == "next"), None)
    return found, sizes


def test_a_page_ends_before_it_is_larger_than_an_answer(make, monkeypatch):
    """Whatever `limit` says, a page has the Items that fit, one at least; all of them come, once, forwards and back."""
    monkeypatch.setattr(small_pages, "MOST_ITEMS", 20)
    monkeypatch.setattr(small_pages, "PAGE_BYTES", 60_000)
    api = make()
    api.post("/collections", json=make_collection("c"), headers=bearer("writer"))
    for number in range(30):
        # Small ones, large ones, and one that is larger than a page.
        text = "ä" * (100_000 if number == 17 else 5_000 if number > 9 else 10)
        item = make_item(f"i{number:02}", datetime=f"2025-01-{number + 1:02}T00:00:00Z", text=text)
        assert api.post("/collections/c/items", json=item, headers=bearer("writer")).status_code == 201
    search = {"collections": ["c"], "limit": 10_000, "sortby": [{"field": "datetime", "direction": "asc"}]}
    found, sizes = pages(api, search)
    assert [name for page in found for name in page] == [f"i{number:02}" for number in range(30)]
    assert all(size <= 60_000 for page, size in zip(found, sizes, strict=True) if len(page) > 1)
    assert ["i17"] in found
    assert 10 <= len(found[0]) <= 20
    last = api.post("/search", json=search).json()
    for _ in found[1:]:
        last = api.post("/search", json=next(x["body"] for x in last["links"] if x["rel"] == "next")).json()
    back = [[item["id"] for item in last["features"]]]
    while before := next((link["body"] for link in last["links"] if link["rel"] == "prev"), None):
        last = api.post("/search", json=before).json()
        back.insert(0, [item["id"] for item in last["features"]])
    assert [name for page in back for name in page] == [f"i{number:02}" for number in range(30)]


def test_bodies_are_refused_before_lambda_does(make):
    """A body that Lambda would not take gets an answer that says how large one may be."""
    item = make_item("i", text="x" * (5 << 20))
    answer = make().post("/collections/c/items", json=item, headers=bearer("writer"))
    assert answer.status_code == 413


def test_tokens_of_a_secret(cloud):
    """Tokens are read from their secret, and again after some minutes; one that is no list is refused unseen."""

    client = boto3.client("secretsmanager")
    text = json.dumps([{"name": "a", "sha256": hashlib.sha256(b"gdl_a").hexdigest(), "scopes": ["admin"]}])
    client.create_secret(Name=cloud.table, SecretString=text)
    assert [token.name for token in token_reader(lambda: client, cloud.table)(False)] == ["a"]
    assert token_reader(lambda: client, "")(False) == ()
    with pytest.raises(InputError, match="ResourceNotFoundException"):
        read_secret(client, "nowhere")
    with pytest.raises(InputError) as caught:
        read_tokens('{"gdl_secret": 1}')
    assert "gdl_secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:p@h/d"),
        (
            '{"username": "u", "password": "p@ss/w", "host": "h", "port": 5433, "dbname": "d"}',
            "postgresql://u:p%40ss%2Fw@h:5433/d",
        ),
        ('{"username": "u", "password": "p", "host": "h"}', "postgresql://u:p@h:5432/postgres"),
        (
            '{"engine": "postgres", "username": "u", "password": "p", "host": "h", "port": 5432, "dbname": "d"}',
            "postgresql://u:p@h:5432/d?sslmode=require",
        ),
    ],
)
def test_the_catalogs_address_of_a_secret(text, address):
    """A secret has the address itself, or what RDS keeps of a database."""
    assert catalog_address(text) == address


def test_a_secret_that_is_none_is_not_shown():
    """What is wrong with a secret is said without it."""
    with pytest.raises(InputError) as caught:
        catalog_address('{"password": "hunter2"}')
    assert "hunter2" not in str(caught.value)


def test_a_new_token_is_good_within_seconds(monkeypatch):
    """One that is not known is looked for again, but not for each request: strangers' tokens are not to cost a read."""
    kept, reads, now = ["old"], [], [1000.0]

    class Secrets:
        def get_secret_value(self, SecretId):
            reads.append(SecretId)
            tokens = [(name, hashlib.sha256(f"gdl_{name}".encode()).hexdigest()) for name in kept]
            return {"SecretString": json.dumps([{"name": n, "sha256": s, "scopes": ["read"]} for n, s in tokens])}

    monkeypatch.setattr("geodl_core.aws.site.secrets.time.monotonic", lambda: now[0])
    tokens = token_reader(Secrets, "secret")

    def status(name):
        refusal = judge(tokens, {}, {"authorization": f"Bearer {name}"}, "read")
        return 200 if refusal is None else refusal.status

    assert (status("gdl_old"), status("gdl_new"), len(reads)) == (200, 401, 1)
    kept.append("new")
    now[0] += 6
    assert (status("gdl_new"), len(reads)) == (200, 2)
    assert ([status("gdl_stranger") for _ in range(9)], status("no-token-at-all"), len(reads)) == ([401] * 9, 401, 2)
    kept.remove("old")
    assert status("gdl_old") == 200
    now[0] += 301
    assert (status("gdl_old"), len(reads)) == (401, 3)


@pytest.mark.parametrize("text", ["gdl_a/b\n", " gdl_a/b"])
def test_a_stac_api_of_somebody_else_is_shown_the_token_of_a_secret(text):
    """The token goes to that API with each request; a secret that is no token is refused unseen."""

    class Secrets:
        def get_secret_value(self, SecretId):
            return {"SecretString": text if SecretId == "token" else "two words"}

    with catalog_opener(Secrets, "https://stac.example.com/v1", "token")() as catalog:
        assert catalog.url == "https://stac.example.com/v1"
        request = catalog._session.prepare_request(requests.Request("GET", catalog.url))
    assert request.headers["Authorization"] == "Bearer gdl_a/b"
    with pytest.raises(InputError) as caught:
        catalog_opener(Secrets, "https://stac.example.com/v1", "other")()
    assert "two words" not in str(caught.value)
    with pytest.raises(InputError, match="found none"):
        catalog_opener(Secrets, "", "")
