"""Who may do what on a server: tokens, scopes, rates, pages of others."""

import json
import logging
import time

import pytest
import requests

from applications import application
from commands import geodl
from geodl_core.catalog.api.app import ApiOptions
from geodl_core.service.access.auth import Rules, TokenUse
from geodl_core.service.access.oidc import OidcOptions
from geodl_core.service.access.rates import Rates
from geodl_core.service.access.scopes import SCOPES, granted, needed_scope, rule_for
from geodl_core.service.access.tokens import list_tokens
from geodl_core.service.server.app import Beside, ServerOptions
from identity import AUDIENCE, provider
from served import serving
from stac_documents import make_collection, make_item

GUARDED = ServerOptions(rules=Rules())
PRIVATE = ServerOptions(rules=Rules(is_private=True))
IDS = {"collection_id": "c", "item_id": "i", "asset": "data", "tileMatrixSetId": "WebMercatorQuad", "process_id": "p"}
IDS |= {"z": "0", "x": "0", "y": "0", "format": "png", "width": "8", "height": "8", "lon": "5", "lat": "5"}
STREAMS = ("/events", "/jobs/{job_id}/events")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server that asks for tokens to write."""
    with application(tmp_path_factory.mktemp("guarded"), GUARDED) as found:
        yield found


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    """A server that asks for tokens to read too."""
    with application(tmp_path_factory.mktemp("private"), PRIVATE) as found:
        yield found


def operations(app):
    """Return (method, template, path) of every route of an application, those of its own description too."""
    found = [(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods]
    found += [(method, route.path) for route in app.routes for method in getattr(route, "methods", None) or ()]
    return [(method, path, filled(path)) for method, path in sorted(set(found))]


def filled(path):
    for name, value in IDS.items():
        path = path.replace(f"{{{name}}}", value)
    while "{" in path:
        before, _, rest = path.partition("{")
        path = f"{before}0123456789abcdef{rest.partition('}')[2]}"
    return path


def test_every_route_has_a_decision(guarded):
    """Each route of the server is named by a rule that says who may use it; so none is forgotten."""
    found = operations(guarded.app)
    assert len(found) > 60
    assert not [(method, path) for method, path, asked in found if rule_for(method, asked) is None]
    needed = {needed_scope(method, asked) for method, _, asked in found}
    assert needed == {*SCOPES, "open"}


def test_every_route_asks_for_its_scope(private):
    """Without a token 401 with a challenge, with another scope 403 that names the one it lacks, with it an answer."""
    headers = {scope: private.token(scope) for scope in SCOPES}
    for method, path, asked in operations(private.app):
        needed = needed_scope(method, asked)
        answer = private.api.request(method, asked)
        if needed == "open":
            assert answer.status_code == 200, path
            continue
        assert answer.status_code == 401, (method, path)
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="geodl"'
        for scope in SCOPES:
            if path in STREAMS and needed in granted([scope]):
                continue
            status = private.api.request(method, asked, headers=headers[scope]).status_code
            if needed in granted([scope]):
                assert status not in (401, 403), (method, path, scope)
            else:
                refused = private.api.request(method, asked, headers=headers[scope])
                assert (status, f'scope="{needed}"' in refused.headers["WWW-Authenticate"]) == (403, True), path
                assert method == "HEAD" or f"lacks the scope {needed}" in refused.text


def test_reading_is_open_unless_private(guarded):
    """A server that is not private lets everybody read and search, and nobody else write."""
    for path in ("/", "/collections/c/items/i", "/search", "/watches", "/metrics", "/api"):
        assert guarded.api.get(path).status_code == 200, path
    assert guarded.api.post("/search", json={}).status_code == 200
    item = make_item("new")
    assert guarded.api.post("/collections/c/items", json=item).status_code == 401
    assert guarded.api.post("/collections/c/items", json=item, headers=guarded.token("read")).status_code == 403
    assert guarded.api.post("/collections/c/items", json=item, headers=guarded.token("worker")).status_code == 403
    assert guarded.api.get("/collections/c/items/new").status_code == 404
    assert guarded.api.post("/collections/c/items", json=item, headers=guarded.token("publish")).status_code == 201


def test_wrong_tokens_are_refused_everywhere(guarded):
    """A token that is not known is refused even where none is needed, and says nothing of why it is unknown."""
    good = guarded.token("publish")["Authorization"]
    for header in ("Bearer gdl_" + "A" * 43, "Bearer ", "Bearer", good + "x", "Digest x", good.replace("Bearer ", "")):
        answer = guarded.api.get("/collections", headers={"Authorization": header})
        assert (answer.status_code, 'error="invalid_token"' in answer.headers["WWW-Authenticate"]) == (401, True)
    several = [("Authorization", good), ("Authorization", good)]
    assert guarded.api.get("/collections", headers=several).status_code == 401
    assert guarded.api.get("/collections", headers={"Authorization": good.replace("Bearer", "bearer")}).is_success


def test_a_token_may_be_a_password(guarded):
    """Senders that know passwords alone, as Amazon SNS, give the token as one."""
    token = guarded.token("publish")["Authorization"].removeprefix("Bearer ")
    assert guarded.api.post("/collections/c/items", json=make_item("sns"), auth=("any", token)).status_code == 201
    assert guarded.api.post("/collections/c/items", json=make_item("no"), auth=("any", "wrong")).status_code == 401


def test_tokens_in_urls_are_refused(guarded):
    """A token in a URL would end in logs: such a request is refused, though `token` may name a page."""
    token = guarded.token("publish")["Authorization"].removeprefix("Bearer ")
    for query in (f"token={token}", f"access_token={token}", "access_token=x", f"q=a&x={token}", "token=eyJa.b.c"):
        answer = guarded.api.get(f"/collections?{query}")
        assert (answer.status_code, "header Authorization" in answer.json()["description"]) == (400, True)
        assert token not in answer.text
    page = guarded.api.get("/collections/c/items?limit=1").json()
    following = [link["href"] for link in page["links"] if link["rel"] == "next"]
    assert all(guarded.api.get(href).status_code == 200 for href in following)


def test_logs_name_the_caller_and_no_token(guarded, caplog):
    """The log says who wrote, by the token's name; the token is neither there nor in answers."""
    header = guarded.token("publish")
    with caplog.at_level(logging.INFO, logger="geodl.api"):
        guarded.api.delete("/collections/c/items/none", headers=header)
    (record,) = [record for record in caplog.records if record.message == "request"]
    assert record.facts["caller"].startswith("token:publish-")
    assert header["Authorization"].split()[1] not in json.dumps([vars(one) for one in caplog.records], default=str)


def test_uses_are_noted_without_making_requests_wait(tmp_path):
    """When a token was used is written down by whoever keeps the server, not by the request."""
    use = TokenUse()
    with application(tmp_path, GUARDED, Beside(use=use)) as server:
        header = server.token("read")
        server.api.get("/collections", headers=header)
        assert list_tokens(server.services.ledger)[0].last_used is None
        assert use.flush(server.services.ledger) == 1
        assert list_tokens(server.services.ledger)[0].last_used <= time.time()
        assert use.flush(server.services.ledger) == 0


def test_a_revoked_token_opens_nothing_more(tmp_path):
    """From the moment that another process revokes a token it is refused; a new one is known at once."""
    with application(tmp_path, GUARDED) as server:
        header = server.token("publish")
        assert server.api.delete("/collections/c/items/none", headers=header).status_code == 404
        name = list_tokens(server.services.ledger)[0].name
        place = server.services.ledger.location
        assert geodl("token", "revoke", name, "--catalog", place, cwd=tmp_path).returncode == 0
        assert server.api.delete("/collections/c/items/none", headers=header).status_code == 401
        made = geodl("token", "add", "other", "--scope", "publish", "--catalog", place, cwd=tmp_path)
        header = {"Authorization": f"Bearer {made.stdout.strip()}"}
        assert server.api.delete("/collections/c/items/none", headers=header).status_code == 404


def test_tokens_of_a_provider(tmp_path):
    """On a server that believes a provider its tokens do what their scopes say; geodl's own do too."""
    with provider() as idp:
        oidc = OidcOptions(idp.issuer, AUDIENCE, allows_http_loopback=True)
        with application(tmp_path, ServerOptions(rules=Rules(is_private=True), oidc=oidc)) as server:

            def status(token, method="POST"):
                header = {"Authorization": f"Bearer {token}"}
                return server.api.request(method, "/collections", json=make_collection("new"), headers=header)

            assert status(idp.token(scope="geodl:read")).status_code == 403
            assert status(idp.token(), "GET").status_code == 200
            assert status(idp.token()).status_code == 201
            assert status(idp.token(exp=1)).status_code == 401
            assert "expired" in status(idp.token(exp=1)).headers["WWW-Authenticate"].lower()
            assert server.api.get("/", headers=server.token("read")).status_code == 200
        idp.is_down = True
        with application(tmp_path, ServerOptions(rules=Rules(), oidc=oidc)) as server:
            answer = server.api.get("/", headers={"Authorization": f"Bearer {idp.token()}"})
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert server.api.get("/", headers=server.token("read")).status_code == 200


def test_rates(tmp_path):
    """Beyond its budget a caller gets 429 and is told when to come again; others, writes and probes go on."""
    options = ServerOptions(rules=Rules(), rates=Rates(reads=8, writes=2))
    with application(tmp_path, options) as server:
        one, other = server.token("publish"), server.token("publish", "read")
        assert [server.api.get("/collections", headers=one).status_code for _ in range(10)] == [200] * 8 + [429] * 2
        answer = server.api.post("/search", json={}, headers=one)
        assert (answer.status_code, 1 <= int(answer.headers["Retry-After"]) <= 60) == (429, True)
        assert answer.json()["code"] == "TooManyRequests"
        assert server.api.get("/collections", headers=other).status_code == 200
        assert server.api.get("/collections").status_code == 200
        found = [server.api.delete("/collections/c/items/none", headers=one).status_code for _ in range(3)]
        assert found == [404, 404, 429]
        assert server.api.get("/healthz").status_code == 200


def test_guessing_is_limited(tmp_path):
    """Requests with wrong tokens use up the budget of their address, however many tokens they try."""
    with application(tmp_path, ServerOptions(rules=Rules(is_private=True), rates=Rates(reads=3))) as server:
        tried = [{"Authorization": f"Bearer gdl_{number}"} for number in range(5)]
        assert [server.api.get("/", headers=header).status_code for header in tried] == [401] * 3 + [429] * 2
        assert server.api.get("/", headers=server.token("read")).status_code == 200


def test_pages_of_others_change_nothing(tmp_path):
    """A page of another site can neither start nor stop anything on a server that asks for no tokens."""
    with application(tmp_path) as server:
        for origin in ("https://evil.example", "null", "http://127.0.0.1:9999", "http://127.0.0.1.evil.example:8080"):
            answer = server.api.post("/watches/x/pause", headers={"Origin": origin})
            assert (answer.status_code, "--cors-origin" in answer.json()["description"]) == (403, True)
        for headers in ({}, {"Origin": "http://127.0.0.1:8080"}):
            assert server.api.post("/watches/x/pause", headers=headers).status_code == 404
        assert server.api.get("/collections", headers={"Origin": "https://evil.example"}).status_code == 200
        assert server.api.get("/collections", headers={"Host": "evil.example"}).status_code == 421
    options = ServerOptions(ApiOptions(cors_origins=("https://map.example",)))
    with application(tmp_path, options) as server:
        answer = server.api.post("/search", json={}, headers={"Origin": "https://map.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "https://map.example"


def test_refusals_reach_pages_that_may_ask(tmp_path):
    """A page of an allowed site sees why it was refused; its browser's question beforehand needs no token."""
    api = ApiOptions(cors_origins=("https://map.example",))
    with application(tmp_path, ServerOptions(api, Rules(is_private=True))) as server:
        asks = {"Origin": "https://map.example", "Access-Control-Request-Method": "POST"}
        asks["Access-Control-Request-Headers"] = "authorization,content-type"
        answer = server.api.options("/collections/c/items", headers=asks)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "https://map.example")
        answer = server.api.get("/collections", headers={"Origin": "https://map.example"})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (401, "https://map.example")
        assert server.api.options("/collections/c/items").status_code in (401, 405)


def test_listening_beyond_this_machine_needs_a_token(tmp_path):
    """A server for others is refused while nobody has a token; then it asks for it to write, and can be read."""
    place = tmp_path / "catalog.db"
    for more in (("--host", "0.0.0.0"), ("--proxied",), ("--private",), ("--token-required",)):
        result = geodl("serve", "--port", 0, "--catalog", place, *more, cwd=tmp_path)
        assert (result.returncode, "geodl token add NAME" in result.stderr) == (2, True), more
    assert not place.exists()
    made = geodl("token", "add", "admin", "--scope", "admin", "--catalog", place, "--expires", "90d", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert token not in made.stderr
    listed = geodl("token", "list", "--catalog", place, cwd=tmp_path)
    assert ("admin" in listed.stdout, token in listed.stdout) == (True, False)
    (row,) = json.loads(geodl("token", "list", "--json", "--catalog", place, cwd=tmp_path).stdout)
    assert (row["name"], row["scopes"], row["expired"]) == ("admin", ["admin"], False)
    with serving(place, tmp_path / "log", "--host", "0.0.0.0", "--host-name", "127.0.0.1") as (_, url):
        assert requests.get(f"{url}/collections", timeout=10).status_code == 200
        assert requests.get(f"{url}/collections", headers={"Host": "other"}, timeout=10).status_code == 421
        body = make_collection("c")
        assert requests.post(f"{url}/collections", json=body, timeout=10).status_code == 401
        header = {"Authorization": f"Bearer {token}"}
        assert requests.post(f"{url}/collections", json=body, headers=header, timeout=10).status_code == 201
    assert token not in (tmp_path / "log").read_text()


def test_wrong_options_are_refused(tmp_path):
    """Options that make no sense together are errors in plain words."""
    for more, said in (
        (("--oidc-issuer", "https://idp.example.com"), "expected both"),
        (("--oidc-issuer", "http://idp.example.com", "--oidc-audience", "x"), "expected an https address"),
        (("--rate", "fast"), "expected two whole numbers"),
        (("--watch-folder", "c=nowhere"), "expected a folder"),
    ):
        result = geodl("serve", "--port", 0, "--catalog", tmp_path / "c.db", *more, cwd=tmp_path)
        assert (result.returncode, said in result.stderr) == (2, True), (more, result.stderr)
    for expires in ("90", "0d", "soon", "-1d"):
        result = geodl("token", "add", "x", "--scope", "read", "--expires", expires, "--catalog", tmp_path / "c.db")
        assert (result.returncode, "expected a time as 12h" in result.stderr) == (2, True), expires
